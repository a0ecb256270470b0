"""The way into a running guest: `labkit shell` knocks at its launcher."""

from __future__ import annotations

import signal
import socket

from labkit.errors import NamespaceGone
from labkit.machine.find import Machine
from labkit.machine.signals import Waiter
from labkit.machine.uml import front, host
from labkit.machine.uml.line import MTU, Frame, pack, unpack
from labkit.machine.uml.relay import Loop

__all__ = ["visit"]


def visit(machine: Machine, argv: list[str]) -> int:
    """Run labkit's command `argv` in the guest of `machine`, on this terminal; return its exit status.

    Raises NamespaceGone when the guest has ended."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(host.door(machine.pid))
    except OSError as error:
        raise _gone(machine) from error
    loop, waiter = Loop(), Waiter()
    signal.signal(signal.SIGWINCH, lambda _number, _frame: None)

    def send(frame: Frame) -> None:
        try:
            connection.send(pack(frame))
        except OSError as error:
            raise _gone(machine) from error

    def read() -> None:
        try:
            data = connection.recv(MTU)
        except OSError:
            data = b""
        if not data:
            raise _gone(machine)
        command.received(unpack(data)[1])

    command = front.Front(loop, send, 1, front.request(argv))
    loop.reading(connection.fileno(), read)
    loop.reading(waiter.descriptor, lambda: command.signals(waiter.signals()))
    command.start()
    try:
        while not command.finished:
            loop.turn()
    finally:
        command.restore()
    return command.status


def _gone(machine: Machine) -> NamespaceGone:
    return NamespaceGone(f"the lab machine of '{machine.name}' has ended", "see: labkit shell")
