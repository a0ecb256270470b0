"""Keeps the guest's processes together, and lets none outlive the launcher.

    launcher ── guard (a session of its own) ── linux.uml ── its helpers, and one process for each of the guest's

User-Mode Linux is many processes, and when its first one is killed the others stay. So the guard and the launcher are
both subreapers (prctl(2)): whatever loses its parent comes to them, and the one that is left kills it."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import socket
from contextlib import suppress

from labkit.machine import init
from labkit.machine.signals import Waiter, original_dispositions
from labkit.machine.uml import calls, landlock, registers
from labkit.net import libc

__all__ = ["NAME", "adopt_orphans", "end_children", "start"]

NAME = "labkit-guard"
_PR_SET_CHILD_SUBREAPER, _PR_CAPBSET_DROP = 36, 24
_OF_FILES = (0, 1, 2, 3, 4)  # CAP_CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID: the files of others than root


def adopt_orphans() -> None:
    """Whatever this process's children leave behind becomes its child."""
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children() -> None:
    """No child of this process is left, nor a child of theirs, and so on."""
    while True:
        for pid in _children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def start(command: list[str], scratch: str, writable: list[str], *, card: int, console: int, control: int) -> int:
    """Start the guard, and under it User-Mode Linux by `command`; return the guard's PID.

    `control`: a pipe's reading end whose end means that the launcher is gone. `card`, `console`: the guest's."""
    pid = os.fork()
    if pid == 0:
        try:
            _guard(command, scratch, writable, card, console, control)
        finally:
            os._exit(1)
    return pid


def _guard(command: list[str], scratch: str, writable: list[str], card: int, console: int, control: int) -> None:
    os.setsid()
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(NAME)
    adopt_orphans()
    waiter = Waiter(control)
    read, write = os.pipe()
    mine, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        os.close(write)
        mine.close()
        init.die_with_parent(read)
        original_dispositions(waiter)
        _become(command, scratch, writable, card, console, theirs)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in (control, write, mine.fileno(), waiter.descriptor, waiter.wakeup):
            with suppress(OSError):
                os.close(int(name))
    asked = _Asked(waiter, mine, [scratch, *writable])
    status = 0
    while True:
        ready = waiter.wait()
        if control in ready:
            break
        asked.serve(ready)
        with suppress(ChildProcessError):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
    end_children()
    shutil.rmtree(scratch, ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


class _Asked:
    """The calls that the guest's processes must ask for; where to ask comes over a socket."""

    def __init__(self, waiter: Waiter, place: socket.socket, writable: list[str]) -> None:
        self.waiter, self.place, self.writable, self.listener = waiter, place, writable, -1
        waiter.watch(place.fileno())

    def serve(self, ready: set[int]) -> None:
        """Take the place where they ask, or answer one."""
        if self.listener in ready and not calls.answer(self.listener, self.writable):
            self.waiter.forget(self.listener)
            self.listener = -1
        if self.place.fileno() in ready:
            _, descriptors, _, _ = socket.recv_fds(self.place, 1, 1)
            self.waiter.forget(self.place.fileno())
            self.place.close()
            for self.listener in descriptors:
                self.waiter.watch(self.listener)


def _become(
    command: list[str], scratch: str, writable: list[str], card: int, console: int, asking: socket.socket
) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(console, 1)
    os.dup2(console, 2)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in (card, asking.fileno()):
            with suppress(OSError):
                os.close(int(name))
    os.set_inheritable(card, True)
    os.chdir("/")
    # The guest's kernel and its processes take turns; on one processor that is a quarter cheaper than between two.
    os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})  # noqa: S311 - to spread guests
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # of all of the guest's memory
    if os.geteuid() == 0:
        _keep_capabilities(_OF_FILES)
    landlock.restrict([scratch, "/dev/null", *writable])
    listener = calls.install()
    if listener is not None:
        socket.send_fds(asking, [b"\0"], [listener])
        os.close(listener)
    asking.close()
    environment = {"TMPDIR": scratch, "HOME": scratch, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    environment["LD_PRELOAD"] = os.path.join(scratch, registers.NAME)
    os.execve(command[0], command, environment)  # noqa: S606


def _keep_capabilities(wanted: tuple[int, ...]) -> None:
    """After execve(2), root has only these (capabilities(7)): none over the computer's network, above all."""
    with suppress(OSError):  # no CAP_SETPCAP: then there is little to lose; or past the last one
        for number in range(64):
            if number not in wanted:
                libc.prctl(_PR_CAPBSET_DROP, number)


def _children() -> list[int]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError, IndexError), open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
            state, parent = stat.read().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state != "Z":
                found.append(int(entry))
    return found
