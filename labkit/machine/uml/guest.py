"""Process 1 of the guest: prepares it, and runs what the launcher on the computer asks for, each as a child.

It is started by the guest's kernel, with nothing but the computer's files, read-only. What it runs are labkit's own
commands ("run", "shell", "grade"...), in the guest's first namespaces: a lab machine is made there as on any computer.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from labkit.machine import find, kernel, launch, private, run
from labkit.machine.signals import Waiter, original_dispositions
from labkit.machine.uml.line import MTU, Frame, Kind, Numbering, open_card, tell
from labkit.machine.uml.relay import Loop, Session, close_writing
from labkit.net import libc

__all__ = ["main"]

_COVERED = ("/run", "/tmp", "/var/tmp")  # noqa: S108 - the guest's own, in its memory
_OWN = "/run/labkit-guest"
# A computer has these loaded. Their settings must be there to be stated, and root in a lab machine loads none.
_MODULES = ("ipv6", "ip_tables", "ip6_tables", "br_netfilter", "nf_conntrack", "nfnetlink_log")
_KILLED = re.compile(r"Out of memory: Killed process \d+ \((.*?)\)")
_ = (launch, run)  # imported now, for every child


def main(command: Callable[[list[str]], int]) -> None:
    """Be process 1; never return. `command` runs one of labkit's commands and returns its exit status."""
    Guest(command).serve()


class Command:
    """A command that the launcher asked for: its request, in parts, then its process."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.pid = 0
        self.terminal = -1
        self.status: int | None = None
        self.drained = False


class Memory:
    """The guest's memory, in MB, which must not get so short that the kernel does nothing but read programs anew.

    A kernel ends a process when no memory is left at all. Without swap, what it gives away before that are the pages of
    the programs that run, which it then reads again and again: that can go on for minutes. So process 1 looks, the more
    often the less is left, and has the kernel end the largest process before (proc(5), /proc/sysrq-trigger, f)."""

    SHORT = 0.05  # of the whole memory
    FASTEST = 200.0  # MB a second that programs here can fill

    def __init__(self) -> None:
        self.due = 0.0
        self.file = -1

    def watch(self) -> None:
        """Begin: /proc is there."""
        self.file = os.open("/proc/meminfo", os.O_RDONLY | os.O_CLOEXEC)

    def look(self) -> float | None:
        """Look where it is time; return in how many seconds to look again, None for never."""
        if self.file < 0:
            return None
        now = time.monotonic()
        if now >= self.due:
            total, _, available = (int(line.split()[1]) / 1024 for line in os.pread(self.file, 256, 0).splitlines()[:3])
            spare = available - self.SHORT * total
            if spare < 0:
                with open("/proc/sysrq-trigger", "w", encoding="ascii") as trigger:
                    trigger.write("f")
                spare = self.FASTEST / 2  # what it frees is not free at once
            self.due = now + max(spare / self.FASTEST, 0.05)
        return self.due - now


class Guest:
    """The guest's side of the line."""

    def __init__(self, command: Callable[[list[str]], int]) -> None:
        self.command = command
        self.loop = Loop()
        self.line = open_card()
        self.sent, self.came = Numbering(), Numbering()
        self.sessions: dict[int, Session] = {}
        self.commands: dict[int, Command] = {}
        self.waiter = Waiter()
        self.messages = -1
        self.memory = Memory()

    def serve(self) -> None:
        """Say that the guest is up, and do what is asked."""
        self.loop.reading(self.line.fileno(), self._read)
        self.loop.reading(self.waiter.descriptor, self._signals)
        self.send(tell(0, up=True))
        while True:
            self.loop.turn(self.memory.look())

    def send(self, frame: Frame) -> None:
        """Send a frame; wait while the line is full."""
        self.line.send(self.sent.pack(frame))

    def _read(self) -> None:
        frame = self.came.unpack(self.line.recv(MTU + 14))
        if frame is None:
            return
        if frame.kind == Kind.TELL:
            self._told(frame.session, frame.told())
        elif frame.session in self.sessions:
            self.sessions[frame.session].received(frame)

    def _told(self, number: int, what: dict[str, Any]) -> None:
        if "prepare" in what:
            prepare(what["prepare"])
            self._watch_memory()
            self.memory.watch()
            self.send(tell(0, ready=True))
        elif "port" in what:
            self._connect(number, what["port"])
        elif "part" in what:
            self.commands.setdefault(number, Command()).parts.append(what["part"])
        elif "start" in what:
            self._try_start(number)
        elif number in self.commands and self.commands[number].pid:
            self._steer(self.commands[number], what)

    def _steer(self, command: Command, what: dict[str, Any]) -> None:
        if "signal" in what:
            with suppress(ProcessLookupError):
                os.kill(command.pid, what["signal"])
        if "size" in what and command.terminal >= 0:
            _set_size(command.terminal, what["size"])

    def _connect(self, number: int, port: int) -> None:
        """Connect to a port of the kernel, which listens already."""
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setblocking(False)
        session = Session(self.loop, self.send, number, lambda: self._forget(number))
        self.sessions[number] = session
        session.sink(0, os.dup(connection.fileno()), close_writing)
        session.source(1, connection.detach())

    def _forget(self, number: int) -> None:
        self.sessions.pop(number, None)

    def _try_start(self, number: int) -> None:
        """Start the command; where that fails, its exit status is 1, and the reason is on its stderr."""
        try:
            self._start(number, self.commands[number])
        except (OSError, ValueError, KeyError) as error:
            self.commands.pop(number, None)
            self.sessions.pop(number, None)
            self.send(Frame(number, 2, Kind.DATA, f"labkit: failed to start in the guest: {error}\n".encode()))
            self.send(tell(number, exit=1))

    def _start(self, number: int, command: Command) -> None:
        request = json.loads("".join(command.parts))
        session = Session(self.loop, self.send, number, lambda: self._drained(number))
        self.sessions[number] = session
        theirs: list[int] = []
        if any(request["terminal"]):
            command.terminal, slave = os.openpty()
            _set_size(command.terminal, request["size"])
        mine: dict[int, int] = {}
        for channel in range(3):
            if request["terminal"][channel]:
                theirs.append(slave)
            else:
                read, write = os.pipe()
                theirs.append(read if channel == 0 else write)
                mine[channel] = write if channel == 0 else read
        sockets = kernel.listen(request["kernel"], "127.0.0.1") if request["kernel"] else {}
        command.pid = os.fork()
        if command.pid == 0:
            self._become(request, theirs, sockets)
        for descriptor in set(theirs):
            os.close(descriptor)
        for sock in sockets.values():
            sock.close()
        if command.terminal >= 0:
            os.set_blocking(command.terminal, False)
            if request["terminal"][0]:
                session.sink(0, os.dup(command.terminal))
            session.source(1 if request["terminal"][1] else 2, command.terminal)
        for channel, descriptor in mine.items():
            os.set_blocking(descriptor, False)
            (session.sink if channel == 0 else session.source)(channel, descriptor)
        self.send(tell(number, started=True))

    def _become(self, request: dict[str, Any], theirs: Iterable[int], sockets: dict[str, socket.socket]) -> None:
        """In the child: be the command. Never returns."""
        status = 1
        try:
            original_dispositions(self.waiter)
            os.setsid()
            for channel, descriptor in enumerate(theirs):
                os.dup2(descriptor, channel)
            if any(request["terminal"]):
                fcntl.ioctl(request["terminal"].index(True), termios.TIOCSCTTY, 0)
            _close_all_but({0, 1, 2, *(sock.fileno() for sock in sockets.values())})
            os.environ.clear()
            os.environ.update(request["environment"])
            if not os.access(os.environ.get("IPYTHONDIR") or os.path.expanduser("~"), os.W_OK):
                os.environ["IPYTHONDIR"] = "/tmp/ipython"  # noqa: S108 - in the guest's memory
            for folder in (request["folder"], "/"):
                with suppress(OSError):
                    os.chdir(folder)
                    break
            if request["argv"][:1] == ["shell"]:
                _wait_for_machine()
            status = kernel.serve(request["argv"], sockets) if sockets else self.command(request["argv"])
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
            raise
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _signals(self) -> None:
        if signal.SIGCHLD not in self.waiter.signals():
            return
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                for number, command in list(self.commands.items()):
                    if command.pid == pid:
                        code = os.waitstatus_to_exitcode(status)
                        command.status = code if code >= 0 else 128 - code
                        if 0 in self.sessions[number].sinks:
                            self.sessions[number].sinks[0].close()
                        self.sessions[number].changed()
                        self._ended(number)

    def _drained(self, number: int) -> None:
        self.commands[number].drained = True
        self._ended(number)

    def _ended(self, number: int) -> None:
        """Say so when the command has ended and all that it wrote has been sent."""
        command = self.commands.get(number)
        if command and command.status is not None and command.drained:
            del self.commands[number], self.sessions[number]
            os.sync()
            self.send(tell(number, exit=command.status))

    def _watch_memory(self) -> None:
        """The kernel's messages say which process it ended because the memory was used up."""
        with suppress(OSError):
            self.messages = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self.messages, 0, os.SEEK_END)
            self.loop.reading(self.messages, self._message)

    def _message(self) -> None:
        with suppress(OSError):  # a message that was overwritten before it was read
            killed = _KILLED.search(os.read(self.messages, 8192).decode(errors="replace"))
            if killed:
                self.send(tell(0, out_of_memory=killed[1]))


def prepare(setup: dict[str, Any]) -> None:
    """The guest's file systems are as a computer's: the real files, read-only but for `write`, and own temporary ones.

    `setup`: "write": folders; "keep": folders that the guest's own /run and /tmp must not hide; "files": path -> text
    of those to write; "name": the host's."""
    os.umask(0o022)
    libc.mount("proc", "/proc", "proc", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    with suppress(OSError):
        libc.mount("sysfs", "/sys", "sysfs", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    for folder, kind, options in (("/dev/pts", "devpts", "ptmxmode=0666"), ("/dev/shm", "tmpfs", "mode=1777")):  # noqa: S108
        os.makedirs(folder, exist_ok=True)
        libc.mount(kind, folder, kind, 0, options)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        with suppress(FileExistsError):
            os.symlink(target, f"/dev/{name}")
    for folder in _COVERED:
        if os.path.isdir(folder) and os.path.realpath(folder) == folder:
            libc.mount("tmpfs", folder, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=1777")
    for path in setup["keep"]:
        if path.startswith(tuple(f"{folder}/" for folder in _COVERED)) and not os.path.exists(path):
            _mount_real(path, libc.MS_RDONLY)
    for path in setup["write"]:
        _mount_real(path, 0)
    for path, text in setup["files"].items():
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
    _provide_modules()
    _use_legacy_iptables()
    socket.sethostname(setup["name"])
    private.set_lo_up()


def _mount_real(path: str, flags: int) -> None:
    """The computer's folder `path` is there, at its own path."""
    os.makedirs(path, exist_ok=True)
    libc.mount("none", path, "hostfs", flags, path)


def _provide_modules() -> None:
    """The kernel finds its modules when it needs one, and so does `modprobe` where /lib/modules is."""
    modules = "/usr/lib/uml/modules"
    os.makedirs(f"{_OWN}/lib")
    os.symlink(modules, f"{_OWN}/lib/modules")
    with suppress(OSError):
        libc.mount(modules, "/lib/modules", flags=libc.MS_BIND)
    with open(f"{_OWN}/modprobe", "w", encoding="ascii") as script:
        script.write(f'#!/bin/sh\nexec /sbin/modprobe -d {_OWN} "$@"\n')
    os.chmod(f"{_OWN}/modprobe", 0o755)  # noqa: S103 - a program
    with open("/proc/sys/kernel/modprobe", "w", encoding="ascii") as setting:
        setting.write(f"{_OWN}/modprobe\n")
    subprocess.run([f"{_OWN}/modprobe", "-a", *_MODULES], check=False)  # what it says is on the guest's console


def _use_legacy_iptables() -> None:
    """`iptables` is iptables-legacy: this kernel has no nftables for IPv4."""
    nft, legacy = (f"/usr/sbin/xtables-{name}-multi" for name in ("nft", "legacy"))
    if os.path.exists(nft) and os.path.exists(legacy):
        libc.mount(legacy, nft, flags=libc.MS_BIND)


def _wait_for_machine() -> None:
    """Wait until the guest's first lab machine is ready, at most five seconds: a visitor may come as early as that."""
    for _ in range(250):
        if find.running():
            return
        time.sleep(0.02)


def _set_size(terminal: int, size: list[int]) -> None:
    with suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


def _close_all_but(wanted: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in wanted:
            with suppress(OSError):
                os.close(int(name))
