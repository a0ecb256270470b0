"""What tests of the lab machine share: kernels on a kernelspec of their own, and a count of what is left behind."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from labkit.machine import kernelspec

KINDS = ("net", "mnt", "pid", "ipc", "uts")
LABKIT = [sys.executable, "-m", "labkit.cli"]


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Return whether `condition` came true within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@dataclass
class Watch:
    """All that one test starts, found by a token in the environment, and the namespaces it had."""

    token: str = field(default_factory=lambda: secrets.token_hex(8))
    held: dict[str, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "LABKIT_TEST": self.token}

    def processes(self) -> dict[int, str]:
        """Return the test's processes: PID -> name."""
        found = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                with open(f"/proc/{entry}/environ", "rb") as environment:
                    if self.token.encode() not in environment.read():
                        continue
                with open(f"/proc/{entry}/comm", encoding="utf-8") as name:
                    found[int(entry)] = name.read().strip()
        return found

    def named(self, name: str) -> list[int]:
        return sorted(pid for pid, found in self.processes().items() if found == name)

    def remember(self) -> None:
        """Take hold of the namespaces that the test's processes are in, so that their numbers stay theirs."""
        self.forget()
        own = {os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}
        for pid in self.processes():
            for kind in KINDS:
                with suppress(OSError):
                    path = f"/proc/{pid}/ns/{kind}"
                    if os.readlink(path) not in own | self.held.keys():
                        descriptor = os.open(path, os.O_RDONLY)
                        self.held[os.readlink(f"/proc/self/fd/{descriptor}")] = descriptor

    def forget(self) -> None:
        """Let go of them."""
        while self.held:
            os.close(self.held.popitem()[1])

    def left(self) -> list[str]:
        """Return what is still there: processes, and whatever process is in or holds one of the namespaces."""
        left = [f"process {pid} {name}" for pid, name in self.processes().items()]
        for entry in filter(str.isdigit, os.listdir("/proc") if self.held else []):
            with suppress(OSError):
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                    if entry == str(os.getpid()) or stat.read().rpartition(")")[2].split()[0] in "ZX":
                        continue
                held = [f"/proc/{entry}/ns/{kind}" for kind in KINDS]
                held += [f"/proc/{entry}/fd/{number}" for number in os.listdir(f"/proc/{entry}/fd")]
                for path in held:
                    with suppress(OSError):
                        if os.readlink(path) in self.held:
                            left.append(f"{os.readlink(path)} of {path}")
        return left


@pytest.fixture
def watch() -> Iterator[Watch]:
    """A count of what the test leaves behind; whatever it is, it is ended after the test."""
    watch = Watch()
    yield watch
    for pid in watch.processes():
        if pid != os.getpid():
            with suppress(OSError):
                os.kill(pid, 9)
    watch.forget()


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder of Jupyter data with the kernelspec `labkit`, on Jupyter's path; home and logs are temporary."""
    prefix = tmp_path_factory.mktemp("prefix")
    kernelspec.install(str(prefix))
    settings = {
        "JUPYTER_PATH": str(prefix / "share" / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(prefix / "runtime"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(prefix / "ipython"),
        "XDG_STATE_HOME": str(prefix / "state"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield str(prefix)
