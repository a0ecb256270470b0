"""What tests of the lab machine share: kernels on a kernelspec of their own, and a count of what is left behind."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import LabkitError
from labkit.machine import kernelspec
from labkit.machine.uml import needs

KINDS = ("net", "mnt", "pid", "ipc", "uts")
LABKIT = [sys.executable, "-m", "labkit.cli"]


def no_uml() -> str:
    """Return why no guest can be started here; "" where one can."""
    try:
        needs.program()
    except LabkitError as error:
        return str(error)
    return ""


with_uml = pytest.mark.skipif(no_uml() != "", reason=no_uml() or "User-Mode Linux is here")


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Return whether `condition` came true within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _started(pid: int) -> int:
    """Return when a process started (proc(5), stat, field 22); PIDs start again after the last."""
    with suppress(OSError):
        return int(_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])
    return sys.maxsize


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


@dataclass
class Watch:
    """All that one test starts, found by a token in the environment, and the namespaces it had.

    What User-Mode Linux starts has no environment of the test's, but maps the guest's memory, a file whose path has
    the token where TMPDIR has it (see guests)."""

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
                if self.token not in _text(f"/proc/{entry}/environ") and not (
                    os.readlink(f"/proc/{entry}/exe").endswith("linux.uml")
                    and self.token in _text(f"/proc/{entry}/maps")
                ):
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


class Guests:
    """Starts guests, whose memory and whose course are folders of the test's own, and counts what is left."""

    def __init__(self, watch: Watch, folder: Path) -> None:
        self.watch, self.memory, self.course = watch, folder / watch.token, folder / "course"
        self.started: list[subprocess.Popen[Any]] = []
        self.memory.mkdir()
        self.course.mkdir()
        self.environment = {**watch.environment, "TMPDIR": str(self.memory), "LABKIT_MEMORY": "256"}
        self.environment.pop("LABKIT_COURSE", None)

    def start(self, *command: str, before: Sequence[str] = (), **options: Any) -> subprocess.Popen[Any]:
        """Start `labkit run --machine uml`, after the words `before`."""
        words = [*before, *LABKIT, "run", "--machine", "uml", "--", *command]
        options = {"stdin": subprocess.DEVNULL, "cwd": self.course, "env": self.environment} | options
        self.started.append(subprocess.Popen(words, **options))
        return self.started[-1]

    def end(self) -> None:
        """End what still runs, and close its streams."""
        for process in self.started:
            process.kill()
            with suppress(OSError, ValueError):
                process.communicate(timeout=5)

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run it to its end; a single word is for sh."""
        words = ["sh", "-c", *command] if len(command) == 1 else command
        text = options.pop("input", None)
        pipe = subprocess.PIPE
        options = {"stdin": pipe if text is not None else subprocess.DEVNULL, "text": True} | options
        process = self.start(*words, stdout=pipe, stderr=pipe, **options)
        try:
            out, err = process.communicate(text, timeout=60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def processes(self) -> list[int]:
        """Return the PIDs of User-Mode Linux, the first one first."""
        return sorted(self.watch.named("linux.uml"), key=_started)

    def left(self) -> list[str]:
        """Return what is left: processes, files of the guest's, its launcher's door."""
        doors = {f"@labkit-uml-{pid}" for pid in self.launchers}
        with open("/proc/net/unix", encoding="ascii", errors="replace") as sockets:
            names = [line.split()[-1] for line in sockets]
        files = [name for name in os.listdir(self.memory) if name.startswith("labkit-")]
        return [*self.watch.left(), *files, *(name for name in names if name in doors or self.watch.token in name)]

    @property
    def launchers(self) -> list[int]:
        return self.watch.named("labkit-uml")


@pytest.fixture
def guests(watch: Watch, tmp_path: Path) -> Iterator[Guests]:
    """Guests of the test's own; after the test, nothing is left of them."""
    guests = Guests(watch, tmp_path)
    yield guests
    guests.end()
    assert wait_until(lambda: not guests.left(), 1), guests.left()


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
