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
    namespaces: set[str] = field(default_factory=set)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "LABKIT_TEST": self.token}

    def processes(self) -> dict[int, str]:
        """Return the test's processes: PID -> name. Remembers their namespaces."""
        found = {}
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                with open(f"/proc/{entry}/environ", "rb") as environment:
                    if self.token.encode() not in environment.read():
                        continue
                with open(f"/proc/{entry}/comm", encoding="utf-8") as name:
                    found[int(entry)] = name.read().strip()
                for kind in ("net", "mnt", "pid", "ipc", "uts"):
                    self.namespaces.add(os.readlink(f"/proc/{entry}/ns/{kind}"))
        return found

    def named(self, name: str) -> list[int]:
        return sorted(pid for pid, found in self.processes().items() if found == name)

    def left(self) -> list[str]:
        """Return what is still there: processes, namespaces that a process is in or holds, mounts of them."""
        left = [f"process {pid} {name}" for pid, name in self.processes().items()]
        own = {os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt", "pid", "ipc", "uts", "user")}
        gone = self.namespaces - own
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                for kind in os.listdir(f"/proc/{entry}/ns"):
                    link = os.readlink(f"/proc/{entry}/ns/{kind}")
                    if link in gone:
                        left.append(f"namespace {link} of process {entry}")
                for number in os.listdir(f"/proc/{entry}/fd"):
                    link = os.readlink(f"/proc/{entry}/fd/{number}")
                    if link in gone:
                        left.append(f"namespace {link} held by process {entry}")
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
