"""A Docker engine of its own: in its own network, mounts and processes, with its own images, and no way to a registry.

Of the computer it uses the kernel and the programs of the package docker.io. It sets up no bridge and no packet filter,
loads no module, and nothing of it is left.
"""

from __future__ import annotations

import contextlib
import glob
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

APART = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")
START = """
mount -t tmpfs tmpfs /run
[ ! -d /lib/modules ] || mount -t tmpfs -o ro tmpfs /lib/modules
ip link set lo up
dockerd --data-root "$0/data" --exec-root "$0/run" --pidfile "$0/pid" --host "unix://$0/socket" --log-level warn \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --cgroup-parent "/$1" &
wait $!
"""


@dataclass
class Engine:
    """A running engine. `docker` runs Docker's own command line on it."""

    folder: Path

    def docker(self, *words: str, limit: float = 600) -> subprocess.CompletedProcess[str]:
        """Run `docker WORDS`; stdout and stderr together."""
        return subprocess.run(
            ["docker", *words],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
        )

    def environment(self) -> dict[str, str]:
        """Return the variables by which Docker's clients find this engine and no other."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        socket = f"unix://{self.folder}/socket"
        return kept | {"DOCKER_HOST": socket, "DOCKER_CONFIG": str(self.folder / "client"), "DOCKER_BUILDKIT": "0"}

    def load(self, root: Path, name: str, changes: Sequence[str] = ()) -> None:
        """The image `name` holds what is in the folder `root`, and remembers `changes` (lines of a Dockerfile)."""
        options = [word for change in changes for word in ("--change", change)]
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(
                ["docker", "import", *options, "-", name],
                env=self.environment(),
                stdin=tar.stdout,
                stdout=subprocess.DEVNULL,
                check=True,
            )


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Yields an engine; it, its containers and its images are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="labkit-engine-", dir="/var/tmp"))
    with (folder / "log").open("w") as log:
        command = [*APART, "sh", "-ec", START, str(folder), folder.name]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        one = Engine(folder)
        deadline = time.monotonic() + 60
        while one.docker("version").returncode != 0:
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, f"dockerd does not answer: {(folder / 'log').read_text()[-2000:]}"
            time.sleep(0.2)
        yield one
    finally:
        process.kill()  # and with it, by --kill-child, process 1 of its PID namespace, and everything in that
        process.wait()
        _remove(folder)


def _remove(folder: Path) -> None:
    """The engine's files and control groups are gone, once the kernel has let go of them."""
    deadline = time.monotonic() + 30
    while subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], capture_output=True).returncode != 0:
        assert time.monotonic() < deadline, f"failed to remove {folder}"
        time.sleep(0.2)
    for top in [*glob.glob(f"/sys/fs/cgroup/*/{folder.name}"), f"/sys/fs/cgroup/{folder.name}"]:
        for group, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(group)
