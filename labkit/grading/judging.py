"""How is a judge called, and what if it does not answer? The side of the caller."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

from labkit.check import Exercise, Result

__all__ = ["Judge"]

LOADING = 60.0  # seconds, for the modules that checks need; several judges of a busy computer load them at once
PATIENCE = 60.0  # seconds for all checks of an exercise, beside what they themselves ask for
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class Judge:
    """A judge's process for one exercise; it waits for judge(), and ends with the block."""

    def __init__(self, exercise: Exercise, solutions: str) -> None:
        self.exercise = exercise
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "labkit.grading.judge", exercise.id, solutions],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_until_ready(self, timeout: float = LOADING) -> str:
        """Wait until everything is loaded; return why not, or "" if it is."""
        message = self._line(time.monotonic() + timeout)
        return "" if message.get("ready") else str(message.get("error", "the judge did not start"))

    def judge(self, where: str) -> list[Result]:
        """Return a result for every check of the machine `where`: "here", or the PID of its process 1."""
        assert self._process.stdin is not None
        end = time.monotonic() + PATIENCE + sum(check.within for check in self.exercise.checks)
        try:
            self._process.stdin.write(f"{where}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            return self.exercise.not_run("the judge ended before it was asked")
        results: list[Result] = []
        reason = ""
        while True:
            message = self._line(end)
            if "result" not in message:
                reason = str(message.get("error", "")) if "end" not in message else ""
                break
            results.append(Result(**{**message["result"], "hints": tuple(message["result"]["hints"])}))
        missing = self.exercise.checks[len(results) :]
        return results + [check.not_run(f"was not asked: {reason or 'the judge ended'}") for check in missing]

    def _line(self, end: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()  # select() ends at descriptor 1,024
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self._unread:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return {"error": "the judge did not finish in time and was stopped"}
            block = os.read(descriptor, 65_536)
            if not block:
                return {"error": "the judge ended"}
            self._unread += block
        line, _, self._unread = self._unread.partition(b"\n")
        message = json.loads(line)
        assert isinstance(message, dict)
        return message
