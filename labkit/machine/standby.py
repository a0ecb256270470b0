"""Who answers when there is no lab machine? A process that was forked before anybody tried to take one.

Once unshare(2) has moved a process's children into a new PID namespace, it can start no thread (clone(2), EINVAL), and
once that namespace's process 1 has died, no child either (fork(2), ENOMEM). A Jupyter kernel needs both. So the process
that says why there is no lab machine stands by from the start, and is dismissed when the machine is ready.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from labkit.machine import launch
from labkit.machine.signals import Waiter
from labkit.net import libc

__all__ = ["Standby"]

_PR_SET_PDEATHSIG = 1


class Standby:
    """A process that waits for a reason, and then runs `answer(reason)`. It dies with the process that made it."""

    def __init__(self, answer: Callable[[str], int]) -> None:
        read, self._tell = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._tell)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Jupyter's interrupt goes to the whole process group
            with suppress(OSError):  # elsewhere than on Linux there is no such request
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            with open(read, encoding="utf-8") as told:
                reason = told.read()
            if not reason or os.getppid() != parent:  # it ended before the request was made
                os._exit(1)
            raise SystemExit(answer(reason))
        os.close(read)

    def dismiss(self) -> None:
        """The process is gone: it is not needed."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._tell)

    def answer(self, reason: str, server: int | None = None) -> int:
        """Let it answer; return its exit status. It ends with `server` (a PID) and with a signal that ends this one."""
        with open(self._tell, "w", encoding="utf-8") as tell:
            tell.write(reason)
        waiter = Waiter()
        watched = launch.watch(server) if hasattr(os, "pidfd_open") else None
        if watched is not None:
            waiter.watch(watched)
        parent = os.getppid()
        while True:
            ready, came = waiter.wait(None if watched or not server else 2.0), waiter.signals()
            orphaned = watched is None and server == parent != os.getppid()
            if watched in ready or orphaned or {signal.SIGHUP, signal.SIGTERM} & came:
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
            ended, status = os.waitpid(self._pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
