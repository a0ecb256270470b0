"""As whom do tests run, and what do they see of the computer?

As root there are two worlds, and neither needs an account: *user* is an unused uid with an empty home; *root* is root
with an empty home. Both see the project at its own path, but it is a copy, in a private mount namespace, so that the
checkout stays as it is and may lie where that uid could never go; and both live in a PID namespace, so that nothing
outlives its group. Started by an ordinary user, *user* is that user in the checkout, and *root* needs a sudo that asks
for no password.
"""

from __future__ import annotations

import contextlib
import glob
import os
import random
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOT_COPIED = (".venv", "course", ".mypy_cache", ".ruff_cache", ".ipynb_checkpoints")
KEPT = ("LANG", "LC_ALL", "TERM", "TZ", "CI", "LABKIT_SCREENSHOTS")
APART = (
    *("setpriv", "--pdeathsig", "KILL"),  # a killed runner takes its group along
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation",
    "private",
    "sh",
    "-ec",
)
PLACE = """
umask 022
mount --bind "$PROJECT/.venv" "$WORK/venv"
if [ -n "$COVER" ]; then mount -t tmpfs -o mode=755 labkit-test "$COVER"; mkdir -p "$PROJECT"; fi
mount --bind "$WORK/project" "$PROJECT"
mount --bind "$WORK/venv" "$PROJECT/.venv"
cd "$PROJECT"
exec "$@"
"""


@dataclass
class World:
    """A way to run a command: the words before it, and its environment. `missing` says why there is no such world."""

    name: str
    results: str
    prefix: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    missing: str = ""
    machines: dict[str, str] = field(default_factory=dict)

    def run(self, command: Sequence[str], limit: float) -> int:
        """Run `command` in the project; return its exit status, 124 if it had to be ended after `limit` seconds."""
        words = [*self.prefix, *command]
        process = subprocess.Popen(
            words, cwd=PROJECT, env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return 124
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def no_machine(self, kind: str) -> str:
        """Return "" when a lab machine of `kind` starts in this world, otherwise labkit's sentence about why not."""
        if kind not in self.machines:
            command = [*self.prefix, ".venv/bin/labkit", "run", "--machine", kind, "--", "true"]
            result = subprocess.run(
                command, cwd=PROJECT, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
            why = f"no lab machine of kind {kind} here: {result.stderr.strip()[-300:]}"
            self.machines[kind] = why if result.returncode else ""
        return self.machines[kind]


@contextlib.contextmanager
def worlds() -> Iterator[tuple[World, World]]:
    """Yields the ordinary user's world and root's; all that they leave is removed."""
    work = tempfile.mkdtemp(prefix="labkit-test-", dir="/tmp")
    os.chmod(work, 0o755)
    try:
        yield _as_root(work) if os.geteuid() == 0 else _as_user(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _as_root(work: str) -> tuple[World, World]:
    uid = unused_uid()
    results = _folder(work, "results", uid)
    _folder(work, "venv", 0)
    project = os.path.join(work, "project")
    shutil.copytree(PROJECT, project, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    os.mkdir(os.path.join(project, ".venv"))
    _give(project, uid)
    placing = {"PROJECT": PROJECT, "WORK": work, "COVER": closed_ancestor(PROJECT)}
    apart = [*APART, PLACE, "sh"]
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    mine = _environment(work, "user", uid) | placing
    root = _environment(work, "root", 0) | placing
    refused = subprocess.run([*apart, "true"], cwd="/", env=root, capture_output=True, text=True)
    if refused.returncode != 0:
        reason = f"no private mount namespace, even as root: {refused.stderr.strip()}"
        return World("user", results, missing=reason), World("root", results, environment=root)
    return World("user", results, [*apart, *become], mine), World("root", results, apart, root)


def _as_user(work: str) -> tuple[World, World]:
    results = _folder(work, "results", os.getuid())
    user = World("user", results, environment=_environment(work, "user", os.getuid()))
    root = World("root", results, environment=_environment(work, "root", os.getuid()))
    if subprocess.run(["sh", "-c", "sudo -n true"], capture_output=True).returncode != 0:
        root.missing = "needs root, or a sudo that asks for no password"
    root.environment["PYTHONDONTWRITEBYTECODE"] = "1"  # no files of root's in the user's checkout
    root.prefix = ["sudo", "-n", "env", *(f"{name}={value}" for name, value in root.environment.items())]
    return user, root


def _environment(work: str, name: str, uid: int) -> dict[str, str]:
    """What a newly logged-in user has; nothing of the one who started the tests but language and terminal."""
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    sbin = "/usr/local/sbin:/usr/sbin:/sbin:" if name == "root" else ""
    return kept | {
        "HOME": _folder(work, f"home-{name}", uid),
        "TMPDIR": _folder(work, f"tmp-{name}", uid),
        "USER": "root" if name == "root" else "labkit-test",
        "LOGNAME": "root" if name == "root" else "labkit-test",
        "SHELL": "/bin/sh",
        "PATH": f"{PROJECT}/.venv/bin:{sbin}/usr/local/bin:/usr/bin:/bin",
        "GIT_CONFIG_COUNT": "1",  # git looks at a copy that belongs to another uid
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }


def _folder(work: str, name: str, uid: int) -> str:
    path = os.path.join(work, name)
    os.mkdir(path, 0o755)
    if os.geteuid() == 0:
        os.chown(path, uid, uid)
    return path


def _give(top: str, uid: int) -> None:
    for folder, names, files in os.walk(top):
        os.chown(folder, uid, uid)
        for name in [*names, *files]:
            os.chown(os.path.join(folder, name), uid, uid, follow_symlinks=False)


def unused_uid() -> int:
    """Return a uid that no account, no range of subordinate uids and no process has."""
    taken = {os.stat(path).st_uid for path in glob.glob("/proc/[0-9]*") if os.path.exists(path)}
    ranges = []
    for name, width in (("/etc/passwd", 0), ("/etc/group", 0), ("/etc/subuid", 1)):
        with contextlib.suppress(OSError), open(name) as file:
            for line in file:
                fields = line.strip().split(":")
                start = int(fields[1 if width else 2])
                ranges.append(range(start, start + (int(fields[2]) if width else 1)))
    while True:
        uid = random.randrange(20_000, 60_000)
        if uid not in taken and not any(uid in some for some in ranges):
            return uid


def closed_ancestor(path: str) -> str:
    """Return the topmost folder above `path` that others may not enter, or ""."""
    parts = path.split("/")
    for length in range(2, len(parts)):
        folder = "/".join(parts[:length])
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return folder
    return ""
