"""Process 1 of the lab machine: prepares it, starts the one child it is for, reaps, and ends with the launcher.

When process 1 ends, the kernel kills every process of the PID namespace, and with the last process the network
namespaces and mounts go: this is why nothing can be left behind.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time

from labkit.machine import private
from labkit.machine.signals import Waiter, original_dispositions
from labkit.net import libc

__all__ = ["NAME", "die_with_parent", "main"]

NAME = "labkit-init"  # what /proc/PID/comm says
_PR_SET_PDEATHSIG = 1


def main(control: int, report: int) -> None:
    """Be process 1. Returns only in the child, the one the machine is for; process 1 itself never returns.

    `control`: bytes from the launcher, each the number of a signal to pass on; its end is the launcher's death.
    `report`: closed when the lab machine is ready; what is written there before is why it cannot be."""
    die_with_parent(control)
    _set_name(NAME)
    try:
        waiter = Waiter(control)
        private.prepare()
    except BaseException as error:  # noqa: BLE001 - whatever it is, the launcher has to know
        import traceback

        message = error.report() if isinstance(error, private.CannotPrepare) else ""
        os.write(report, (message + "\0" + "".join(traceback.format_exception(error))).encode()[:60_000])
        os._exit(1)
    os.close(report)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(control)
        libc.prctl(_PR_SET_PDEATHSIG, 0)
        _set_name("python3")
        original_dispositions(waiter)
        return
    _serve(child, control, waiter)


def _serve(child: int, control: int, waiter: Waiter) -> None:
    """Pass signals on and reap, until the child ends or the launcher does.

    A signal to the whole process group (Ctrl-C, a shell's kill %1, Jupyter's interrupt) reaches launcher, init and
    child alike; the launcher cannot tell, and asks to pass it on. Init gets such a signal itself, some time before or
    just after it is asked: then it does not."""
    own: dict[int, float] = {}  # signal -> when init itself got it, and was not asked yet
    while True:
        ready = waiter.wait()
        asked = os.read(control, 512) if control in ready else None
        if asked == b"":
            os._exit(128 + signal.SIGKILL)
        _note(own, waiter)
        for number in set(asked or b""):
            if number not in own:
                time.sleep(0.05)
                _note(own, waiter)
            if time.monotonic() - own.pop(number, -math.inf) > 5:
                os.kill(child, number)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(1)
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)


def die_with_parent(pipe: int) -> None:
    """Be killed when the parent ends. `pipe`: the reading end of one that only the parent can write to; it tells
    whether the parent ended before the kernel was asked."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    poll = select.poll()
    poll.register(pipe, select.POLLHUP)
    if poll.poll(0):
        os._exit(1)


def _note(own: dict[int, float], waiter: Waiter) -> None:
    own.update(dict.fromkeys(waiter.signals(), time.monotonic()))


def _set_name(name: str) -> None:
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(name)
