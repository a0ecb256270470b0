"""The launcher of kind `uml`: boots a guest, has one command run in it, and ends with it.

It holds the computer's side of everything: the kernel's ports, the terminal, the door for `labkit shell`. The guest can
say only what a frame can say (see line): bytes of a stream that was opened here, an exit status, "out of memory"."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from labkit.errors import Unavailable
from labkit.machine import launch, private
from labkit.machine.signals import Waiter
from labkit.machine.uml import guard, needs, registers
from labkit.machine.uml.front import Front
from labkit.machine.uml.line import MTU, Frame, Kind, LineBroken, Numbering, pack, tell, unpack
from labkit.machine.uml.relay import Loop, Session, close_writing

__all__ = ["NAME", "door", "start"]

NAME = "labkit-uml"  # what /proc/PID/comm says of a launcher
_BOOT = 60.0  # seconds


def door(pid: int) -> str:
    """Return the name of the abstract socket of launcher `pid` (unix(7)): it needs no file, and goes with its owner."""
    return f"\0{NAME}-{pid}"


def start(
    asked: dict[str, Any],
    *,
    writable: list[str],
    files: dict[str, str] | None = None,
    sockets: dict[str, socket.socket] | None = None,
    server: int | None = None,
    report: Callable[[str], None] | None = None,
) -> int:
    """Boot a guest, run the request `asked` in it (see front), and return its exit status. Nothing is left.

    `writable`: the computer's folders that the guest may write. `files`: path -> text of files that the guest needs,
    and might not see because they lie in a folder of temporary files. `sockets`: they listen; each connection goes to
    the same port in the guest. `server`: a PID whose death ends the guest. `report` is called with a sentence about
    what befell the guest; without it, that goes to stderr. Raises Unavailable, saying why it cannot."""
    launcher = _Launcher(asked, writable, files or {}, sockets or {}, report or _say)
    watched = launch.watch(server)
    try:
        launcher.boot()
        return launcher.run(watched)
    finally:
        launcher.end()


class _Launcher:
    def __init__(
        self,
        asked: dict[str, Any],
        writable: list[str],
        files: dict[str, str],
        sockets: dict[str, socket.socket],
        report: Callable[[str], None],
    ) -> None:
        self.loop, self.waiter = Loop(), Waiter()
        self.writable, self.files, self.sockets, self.report = writable, files, sockets, report
        self.memory = needs.memory()
        self.sent, self.came = Numbering(), Numbering()
        self.queue: deque[bytes] = deque()
        self.sessions: dict[int, Callable[[Frame], None]] = {}
        self.last = 1
        self.front = Front(self.loop, self.send, 1, asked)
        self.sessions[1] = self.front.received
        self.console = b""
        self.up = self.ready = False
        self.guard = 0
        self.status: int | None = None
        self.scratch = ""

    def boot(self) -> None:
        """Start User-Mode Linux. Raises Unavailable where this computer lacks what it needs."""
        program = needs.program()
        self.scratch = tempfile.mkdtemp(prefix=f"labkit-{os.getpid()}-", dir=needs.memory_folder(self.memory))
        registers.write(self.scratch)
        self.line, card = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.line.setblocking(False)
        read, write = os.pipe()
        control, self.control = os.pipe()
        with open("/proc/self/comm", "w", encoding="ascii") as comm:
            comm.write(NAME)
        guard.adopt_orphans()
        command = _command(program, self.memory, self.scratch, card.fileno())
        self.guard = guard.start(
            command, self.scratch, self.writable, card=card.fileno(), console=write, control=control
        )
        card.close()
        os.close(write)
        os.close(control)
        self.loop.reading(self.line.fileno(), self._read)
        self.loop.reading(read, lambda: self._hear(read))
        self.loop.reading(self.waiter.descriptor, self._signals)
        signal.signal(signal.SIGWINCH, lambda _number, _frame: None)

    def run(self, watched: int | None) -> int:
        """Serve until the command has ended, the guest has, or the server has; return the exit status."""
        if watched is not None:
            self.loop.reading(watched, lambda: self._stop(128 + signal.SIGKILL))
        started = time.monotonic()
        while self.status is None:
            self.loop.turn(None if self.ready else 1.0)
            if self.front.finished:
                self._stop(self.front.status)
            if not self.ready and time.monotonic() - started > _BOOT:
                raise Unavailable(*needs.explain(self._said() or "it did not start within a minute"))
        if not self.ready and self.status < 0:
            raise Unavailable(*needs.explain(self._said()))
        return abs(self.status)

    def end(self) -> None:
        """The guest, its processes and its files are gone; the terminal is as it was."""
        self.front.restore()
        if self.guard:
            os.close(self.control)
            with suppress(ChildProcessError):
                os.waitpid(self.guard, 0)
            guard.end_children()
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def send(self, frame: Frame) -> None:
        """Send a frame to the guest, now or when the line takes it."""
        self.queue.append(self.sent.pack(frame))
        self._write()

    def _write(self) -> None:
        while self.queue:
            try:
                self.line.send(self.queue[0])
            except BlockingIOError:
                self.loop.writing(self.line.fileno(), self._write)
                return
            except OSError:  # the guest has ended: the guard will say so
                self.queue.clear()
                return
            self.queue.popleft()
        self.loop.writing(self.line.fileno(), None)

    def _read(self) -> None:
        for _ in range(64):
            try:
                data = self.line.recv(MTU + 14)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.loop.reading(self.line.fileno(), None)
                return
            try:
                frame = self.came.unpack(data)
                if frame is not None:
                    self._take(frame)
            except (LineBroken, TypeError, ValueError) as error:  # a frame that root in the guest made up
                self.report(f"the line to the guest broke, and the lab machine ends: {error}")
                self._stop(1)
                return

    def _take(self, frame: Frame) -> None:
        if frame.session:
            if frame.session in self.sessions:
                self.sessions[frame.session](frame)
            return
        what = frame.told() if frame.kind == Kind.TELL else {}
        if "up" in what:
            shutil.rmtree(self.scratch, ignore_errors=True)  # the guest has all of it open
            self.send(tell(0, prepare=self._setup()))
        elif "ready" in what and not self.ready:
            self.ready = True
            self._open_door()
            self.front.start()
            for sock in self.sockets.values():
                self.loop.reading(sock.fileno(), lambda sock=sock: self._accept(sock))  # type: ignore[misc]
        elif "out_of_memory" in what:
            self.report(
                f"the lab machine's memory, {self.memory} MB, was used up, and its kernel ended the process "
                f"'{str(what['out_of_memory'])[:40]}'; more memory: LABKIT_MEMORY={self.memory * 2}"
            )

    def _setup(self) -> dict[str, Any]:
        home = os.path.expanduser("~")
        keep = [sys.prefix, sys.base_prefix, private.SOURCE, os.getcwd(), home]
        return {
            "write": self.writable,
            "keep": sorted({os.path.realpath(path) for path in keep} | {os.path.abspath(path) for path in keep}),
            "files": self.files,
            "name": platform.node()[:60],
        }

    def _accept(self, listening: socket.socket) -> None:
        """A connection to one of the kernel's ports goes on to the same port in the guest."""
        with suppress(OSError):
            connection, _ = listening.accept()
            connection.setblocking(False)
            port = listening.getsockname()[1]
            number = self._number()
            session = Session(self.loop, self.send, number, lambda: self._forget(number))
            self.sessions[number] = session.received
            self.send(tell(number, port=port))
            session.sink(1, os.dup(connection.fileno()), close_writing)
            session.source(0, connection.detach())

    def _open_door(self) -> None:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(door(os.getpid()))
        listening.listen(8)
        self._door = listening
        self.loop.reading(listening.fileno(), lambda: self._admit(listening))

    def _admit(self, listening: socket.socket) -> None:
        """Somebody wants a command in the guest: this user, or nobody."""
        visitor, _ = listening.accept()
        credentials = visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
        if struct.unpack("iII", credentials)[1] != os.geteuid():
            visitor.close()
            return
        _Visitor(self, visitor)

    def _number(self) -> int:
        self.last += 1
        return self.last

    def _forget(self, number: int) -> None:
        self.sessions.pop(number, None)

    def _signals(self) -> None:
        came = self.waiter.signals()
        if self.ready:
            self.front.signals(came)
        elif {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT} & came:
            self._stop(128 + min(came & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}))
        if signal.SIGCHLD in came:
            with suppress(ChildProcessError):
                while True:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                    if pid == 0:
                        break
                    if pid == self.guard:
                        self._guest_ended(os.waitstatus_to_exitcode(status))

    def _guest_ended(self, code: int) -> None:
        if self.status is None:
            if self.ready:
                self.report(f"the lab machine ended by itself: {needs.explain_end(self._said(), code)}")
            self._stop(-(code if code > 0 else 1))

    def _stop(self, status: int) -> None:
        if self.status is None:
            self.status = status

    def _hear(self, console: int) -> None:
        """Remember the last words of the guest's kernel."""
        text = os.read(console, 65_536)
        self.console = (self.console + text)[-8192:]
        if not text:
            self.loop.reading(console, None)

    def _said(self) -> str:
        return self.console.decode(errors="replace")


def _say(sentence: str) -> None:
    print(f"labkit: {sentence}", file=sys.stderr)


class _Visitor:
    """One `labkit shell`: its frames go to the guest and back, under a session number of the launcher's."""

    def __init__(self, launcher: _Launcher, connection: socket.socket) -> None:
        self.launcher, self.connection = launcher, connection
        self.number = launcher._number()
        self.queue: deque[bytes] = deque()
        connection.setblocking(False)
        launcher.sessions[self.number] = self.to_visitor
        launcher.loop.reading(connection.fileno(), self.from_visitor)

    def from_visitor(self) -> None:
        try:
            data = self.connection.recv(MTU)
            frame = unpack(data)[1] if data else None
        except BlockingIOError:
            return
        except (OSError, LineBroken):
            frame = None
        if frame is None:
            self.leave()
        else:
            self.launcher.send(frame._replace(session=self.number))

    def to_visitor(self, frame: Frame) -> None:
        self.queue.append(pack(frame._replace(session=1)))
        self.write()

    def write(self) -> None:
        while self.queue:
            try:
                self.connection.send(self.queue[0])
            except BlockingIOError:
                self.launcher.loop.writing(self.connection.fileno(), self.write)
                return
            except OSError:
                self.queue.clear()
                break
            self.queue.popleft()
        self.launcher.loop.writing(self.connection.fileno(), None)

    def leave(self) -> None:
        """The visitor is gone: its command is ended."""
        self.launcher.loop.reading(self.connection.fileno(), None)
        self.launcher.loop.writing(self.connection.fileno(), None)
        self.connection.close()
        self.launcher.sessions.pop(self.number, None)
        self.launcher.send(tell(self.number, signal=int(signal.SIGHUP)))
        self.launcher.send(tell(self.number, signal=int(signal.SIGKILL)))


def _command(program: str, memory: int, scratch: str, card: int) -> list[str]:
    """Return the command line: words for the program, for the guest's kernel, and for its first process."""
    return [
        program,
        f"mem={memory}M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "quiet",
        "initcall_blacklist=raid6_select_algo",  # speed tests of code that is not used here: most of the boot
        "con=null",
        "con0=null,fd:1",
        f"vec0:transport=fd,fd={card},depth=64,mtu={MTU}",
        f"uml_dir={scratch}",
        f'init="{sys.executable}"',
        "--",
        "-P",
        "-m",
        "labkit.in_guest",
    ]
