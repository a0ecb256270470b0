"""A command in the guest, seen from the terminal that asked for it: its streams, its signals, its exit status."""

from __future__ import annotations

import json
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable
from typing import Any

from labkit.machine.signals import FORWARDED
from labkit.machine.uml.line import Frame, Kind, tell
from labkit.machine.uml.relay import Loop, Session, keep

__all__ = ["Front", "request"]

_PART = 4000  # characters of a request in one frame: at most 6 bytes of JSON each... and escapes


def request(argv: list[str], *, kernel: str = "") -> dict[str, Any]:
    """Return what the guest is asked to run: labkit's command `argv`, here and with this environment.

    `kernel`: the connection file, where `argv` are the arguments of a Jupyter kernel."""
    terminal = [os.isatty(channel) for channel in range(3)]
    environment = dict(os.environ)
    for name in ("LABKIT_MACHINE", "JPY_PARENT_PID", "TMPDIR", "XDG_RUNTIME_DIR"):
        environment.pop(name, None)
    return {
        "argv": argv,
        "kernel": kernel,
        "folder": os.getcwd(),
        "environment": environment,
        "terminal": terminal,
        "size": _size(),
    }


class Front:
    """Runs a request over `send`, with this process's stdin, stdout and stderr."""

    def __init__(self, loop: Loop, send: Callable[[Frame], None], number: int, asked: dict[str, Any]) -> None:
        self.send, self.number, self.status = send, number, -1
        self.finished = False
        self.session = Session(loop, send, number)
        self.session.broken = lambda _channel: self.signal(signal.SIGPIPE)
        self._settings: list[Any] | None = None
        self._asked = asked

    def start(self) -> None:
        """Ask for it."""
        text = json.dumps(self._asked)
        for at in range(0, len(text), _PART):
            self.send(tell(self.number, part=text[at : at + _PART]))
        self.session.sink(1, 1, keep)
        self.session.sink(2, 2, keep)
        self.send(tell(self.number, start=True))
        if _may_read():
            self.session.source(0, 0, keep)
        if self._asked["terminal"][0] and self._asked["terminal"][1] and _may_read():
            self._settings = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSADRAIN)

    def received(self, frame: Frame) -> None:
        """Take a frame of this session."""
        if frame.kind != Kind.TELL:
            self.session.received(frame)
        elif "exit" in (what := frame.told()):
            self.status = int(what["exit"])
            if 0 in self.session.sources:
                self.session.sources[0].close()
            self.session.done = self._finish
            for sink in self.session.sinks.values():
                sink.end()
            self.session.changed()

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        self.send(tell(self.number, signal=int(number)))

    def signals(self, came: set[int]) -> None:
        """Pass on the signals that came to this process."""
        for number in came & set(FORWARDED):
            self.signal(number)
        if signal.SIGWINCH in came:
            self.send(tell(self.number, size=_size()))

    def restore(self) -> None:
        """The terminal is as it was."""
        if self._settings is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._settings)
            self._settings = None

    def _finish(self) -> None:
        self.restore()
        self.finished = True


def _may_read() -> bool:
    """Return whether stdin is there, and not a terminal that belongs to another job."""
    try:
        os.fstat(0)
        return not os.isatty(0) or os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _size() -> list[int]:
    for stream in (sys.__stdout__, sys.__stdin__, sys.__stderr__):
        try:
            columns, rows = os.get_terminal_size(stream.fileno() if stream else 1)
            return [rows, columns]
        except (OSError, ValueError):
            continue
    return [24, 80]
