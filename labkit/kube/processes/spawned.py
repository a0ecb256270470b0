"""The spawner as a program: whose child is every process of a pod?

One process a cluster, small and with few modules loaded, so that a fork of it is cheap. Its standard input is the
socket of its owner, a `spawner.Spawner`: one message a request, JSON, with the socket that the answer goes to; what it
says there by itself is who has ended. It is PID 1 of a PID namespace, so that the kernel ends all that it has started
when it ends, and it ends with its owner.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, NoReturn

from labkit.kube.processes.container import become
from labkit.kube.processes.log import Log
from labkit.kube.processes.messages import send
from labkit.kube.processes.pauses import Pauses, rename
from labkit.net import libc

__all__ = ["NAME", "main"]

NAME = "labkit-pods"  # what ps says
_MOST = 1 << 18  # bytes of a message
_TOGETHER = 16  # messages


class Start(NamedTuple):
    """A container that is to be begun: where the answer goes, its log, and what `become` wants to know."""

    answer: socket.socket
    log: Log
    what: dict[str, Any]


class Program:
    """The process. It does one thing at a time, and nothing that could last."""

    def __init__(self, owner: socket.socket, alive: int, pauses: Pauses) -> None:
        self.owner = owner
        self.pauses = pauses
        self.logs: dict[int, Log] = {}  # of the containers that run, by PID
        self._readers: dict[int, Callable[[], object]] = {}
        self._poll = select.epoll()
        self._woken, waker = socket.socketpair()
        waker.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(waker.detach(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.read(owner.fileno(), self._listen)
        self.read(alive, lambda: os._exit(0))  # the owner has ended
        self.read(self._woken.fileno(), self._reap)

    def read(self, descriptor: int, reader: Callable[[], object]) -> None:
        """Call `reader` whenever there is something to read."""
        self._readers[descriptor] = reader
        self._poll.register(descriptor, select.EPOLLIN)

    def unread(self, descriptor: int) -> None:
        """Read it no more."""
        if self._readers.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def run(self) -> None:
        """Do what the owner asks, until it has gone."""
        send(self.owner, {"pid_namespace": os.stat("/proc/self/ns/pid").st_ino})
        while True:
            for descriptor, _ in self._poll.poll():
                self._readers.get(descriptor, lambda: None)()

    def _listen(self) -> None:
        """Do what the owner asks: all that waits, so that containers which are to start together do."""
        starts: list[Start] = []
        with suppress(BlockingIOError):
            for _ in range(_TOGETHER):
                data, handed, _, _ = self.owner.recvmsg(_MOST, socket.CMSG_SPACE(4), socket.MSG_DONTWAIT)
                descriptors = [int.from_bytes(value[:4], sys.byteorder) for _, _, value in handed]
                if not data:
                    os._exit(0)
                request = json.loads(data)
                if not descriptors:
                    self._signal(**request)
                    continue
                answer = socket.socket(fileno=descriptors[0])
                with _told(answer):
                    if request.pop("verb") == "sandboxes":
                        self._sandboxes(answer, **request)
                    elif request["image"] == "pause" and not request["command"]:
                        self._pause(answer, request["sandbox"])
                    else:
                        starts.append(Start(answer, Log(request.pop("log")), request))
        self._begin(starts)

    def _sandboxes(self, answer: socket.socket, hostnames: list[str]) -> None:
        """Make pauses, and answer for each with its PID and a netlink socket of its network namespace."""
        for pid, opened in self.pauses.make(hostnames):
            send(answer, {"pid": pid}, pid, [opened.fileno()])
        answer.close()

    def _pause(self, answer: socket.socket, sandbox: int) -> None:
        """A container that does nothing needs no fork."""
        pid = self.pauses.join(sandbox)
        send(answer, {"pid": pid}, pid)
        answer.close()

    def _begin(self, starts: list[Start]) -> None:
        """Fork containers, one right after the other: what we write to between two forks is copied each time.

        Each answer is the PID; the container keeps the answer's socket open until it has begun."""
        pids = []
        for start in starts:
            pid = os.fork()
            if pid == 0:
                _be(start)
            pids.append(pid)
        for pid, start in zip(pids, starts, strict=True):
            start.log.close_writer()
            self.logs[pid] = start.log
            self.read(start.log.reader, functools.partial(self._copy, start.log))
            with _told(start.answer):
                send(start.answer, {"pid": pid}, pid)
            start.answer.close()

    def _copy(self, output: Log) -> None:
        with suppress(BlockingIOError):
            if not output.copy():
                self.unread(output.reader)

    def _signal(self, pids: Iterable[int], number: int) -> None:
        """Send a signal to processes that are still our children, and to all of a container's session."""
        for pid in pids:
            with suppress(ProcessLookupError):
                (os.killpg if pid in self.logs else os.kill)(pid, number)

    def _reap(self) -> None:
        """Tell of everybody who has ended, while the kernel still knows who that is, and then let them go."""
        with suppress(BlockingIOError):
            self._woken.recv(4096)
        with suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                pid = ended.si_pid
                log = self.logs.pop(pid, None)
                if log is not None:
                    with suppress(ProcessLookupError):  # what a container has left behind ends with it
                        os.killpg(pid, signal.SIGKILL)
                    self.unread(log.reader)
                    log.close()
                if self.pauses.forget(pid) or log is not None:
                    status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                    send(self.owner, {"status": status}, pid)
                os.waitpid(pid, 0)


def _be(start: Start) -> NoReturn:
    """Be a container in this process, whatever happens."""
    status = 1
    try:
        status = become(start.answer, start.log.writer, **start.what)
    finally:
        os._exit(status)


@contextmanager
def _told(answer: socket.socket) -> Iterator[None]:
    """Say what the kernel refuses inside the block to whoever waits for the answer."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):  # nobody waits any more
            send(answer, {"failed": error.filename or "", "errno": error.errno})
        answer.close()


def main() -> None:
    """Be the process: the child of the one that was started, since only a child is in the new PID namespace."""
    owner = socket.socket(fileno=os.dup(0))
    os.set_inheritable(owner.fileno(), False)
    alive = os.pidfd_open(os.getppid())
    sysctls = json.loads(owner.recv(_MOST))
    libc.unshare(libc.CLONE_NEWPID)
    if os.fork():
        os._exit(0)
    rename(NAME)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # so that a container's collector leaves shared memory alone
    gc.disable()
    Program(owner, alive, Pauses(sysctls, NAME)).run()


if __name__ == "__main__":
    main()
