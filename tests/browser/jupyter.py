"""A real `labkit lab`, started and ended by tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent.parent
LABKIT = str(PROJECT / ".venv" / "bin" / "labkit")


def wait_for(what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Return what `condition` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@dataclass
class Jupyter:
    """A running JupyterLab on a learner's copy of the course."""

    process: subprocess.Popen[str]
    course: Path
    url: str  # with the token, as printed for the learner

    @property
    def address(self) -> str:
        return self.url.split("/lab")[0]

    @property
    def token(self) -> str:
        return self.url.rpartition("token=")[2]

    def ask(self, path: str, data: dict[str, Any] | None = None, token: str | None = None) -> Any:
        """Ask the server's REST interface."""
        request = urllib.request.Request(f"{self.address}/api/{path}")
        request.add_header("Authorization", f"token {self.token if token is None else token}")
        if data is not None:
            request.data = json.dumps(data).encode()
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def stop(self, how: signal.Signals) -> int:
        """Send a signal and return the exit status; at most 20 seconds."""
        self.process.send_signal(how)
        return self.process.wait(20)

    def children(self) -> list[int]:
        """Return every process below the server, the lab machines' included."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    parents[int(path.parent.name)] = int(fields[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found[1:]


@contextlib.contextmanager
def jupyter(course: Path) -> Iterator[Jupyter]:
    """Yields a JupyterLab started as a learner starts it."""
    log = course.parent / "labkit-lab.log"
    with open(log, "w") as file:
        process = subprocess.Popen(
            [LABKIT, "lab", "--no-browser", "--port", "0", "--dir", str(course)],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:

        def printed() -> str | None:
            assert process.poll() is None, log.read_text()
            url = re.search(r"http://127\.0\.0\.1:\d+/lab\S*token=\w+", log.read_text())
            return url[0] if url else None

        yield Jupyter(process, course, wait_for("JupyterLab prints its address", printed))
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
