"""Streams between descriptors and the line, and the loop that waits for all of them. The same on both sides."""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from labkit.machine.uml.line import BODY, WINDOW, Frame, Kind, LineBroken

__all__ = ["Loop", "Session", "close_writing", "keep"]

Send = Callable[[Frame], None]
Close = Callable[[int], object]
_READ, _WRITE = select.POLLIN, select.POLLOUT


def keep(_descriptor: int) -> None:
    """Leave a descriptor open: it is somebody else's."""


def close_writing(descriptor: int) -> None:
    """Tell the other side of a connection that nothing more comes, and close this descriptor of it."""
    with socket.socket(fileno=descriptor) as connection, suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


class Loop:
    """Waits for descriptors, and calls who asked for each."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._calls: dict[int, dict[int, Callable[[], None]]] = {}

    def watch(self, descriptor: int, event: int, call: Callable[[], None] | None) -> None:
        """Call `call` whenever `descriptor` is ready for `event` (_READ or _WRITE); None: no longer."""
        calls = self._calls.setdefault(descriptor, {})
        if call is None:
            calls.pop(event, None)
        else:
            calls[event] = call
        if calls:
            self._poll.register(descriptor, sum(calls))
        else:
            del self._calls[descriptor]
            with suppress(KeyError):
                self._poll.unregister(descriptor)

    def reading(self, descriptor: int, call: Callable[[], None] | None) -> None:
        """Call `call` whenever `descriptor` has something to read, or has ended."""
        self.watch(descriptor, _READ, call)

    def writing(self, descriptor: int, call: Callable[[], None] | None) -> None:
        """Call `call` whenever `descriptor` takes something."""
        self.watch(descriptor, _WRITE, call)

    def turn(self, timeout: float | None = None) -> None:
        """Wait, at most `timeout` seconds, and make the calls."""
        try:
            ready = self._poll.poll(None if timeout is None else timeout * 1000)
        except InterruptedError:
            return
        for descriptor, events in ready:
            failed = events & (select.POLLHUP | select.POLLERR | select.POLLNVAL)
            for event in (_READ, _WRITE):
                call = self._calls.get(descriptor, {}).get(event)
                if call and (events & event or failed):
                    call()


class _Source:
    """From a descriptor to the line, as far as the other side's window goes."""

    def __init__(self, session: Session, channel: int, descriptor: int, close: Close) -> None:
        self.session, self.channel, self.descriptor, self._close = session, channel, descriptor, close
        self.credit, self.open = WINDOW, True
        session.loop.reading(descriptor, self.read)

    def read(self) -> None:
        try:
            data = os.read(self.descriptor, min(self.credit, BODY))
        except BlockingIOError:
            return
        except OSError:  # a terminal whose other side is gone, a connection that was reset
            data = b""
        if not data:
            self.close()
            self.session.send(Frame(self.session.number, self.channel, Kind.END))
            self.session.changed()
            return
        self.credit -= len(data)
        if self.credit == 0:
            self.session.loop.reading(self.descriptor, None)
        self.session.send(Frame(self.session.number, self.channel, Kind.DATA, data))

    def more(self, count: int) -> None:
        if self.open and self.credit == 0 and count:
            self.session.loop.reading(self.descriptor, self.read)
        self.credit += count

    def close(self) -> None:
        if self.open:
            self.open = False
            self.session.loop.reading(self.descriptor, None)
            self._close(self.descriptor)


class _Sink:
    """From the line to a descriptor."""

    def __init__(self, session: Session, channel: int, descriptor: int, close: Close) -> None:
        self.session, self.channel, self.descriptor, self._close = session, channel, descriptor, close
        self.waiting: deque[bytes] = deque()
        self.held, self.ending, self.open = 0, False, True

    def data(self, data: bytes) -> None:
        if not self.open:
            self.session.credit(self.channel, len(data))
            return
        self.held += len(data)
        if self.held > WINDOW:
            raise LineBroken("more than the window allows")
        self.waiting.append(data)
        self.session.loop.writing(self.descriptor, self.write)

    def write(self) -> None:
        try:
            written = os.write(self.descriptor, self.waiting[0][:4096])
        except BlockingIOError:
            return
        except OSError:  # nobody reads any more
            taken, self.waiting = sum(map(len, self.waiting)), deque()
            self.close()
            self.session.credit(self.channel, taken)
            self.session.send(Frame(self.session.number, self.channel, Kind.BREAK))
            self.session.broke(self.channel)
            return
        rest = self.waiting.popleft()[written:]
        if rest:
            self.waiting.appendleft(rest)
        self.held -= written
        self.session.credit(self.channel, written)
        if not self.waiting:
            self.session.loop.writing(self.descriptor, None)
            if self.ending:
                self.close()
                self.session.changed()

    def end(self) -> None:
        self.ending = True
        if not self.waiting:
            self.close()
            self.session.changed()

    def close(self) -> None:
        if self.open:
            self.open = False
            self.session.loop.writing(self.descriptor, None)
            self._close(self.descriptor)


class Session:
    """One connection or command: its streams, on this side of the line.

    `told` is called with each TELL; `done` when every stream has ended; `broken` when nobody reads a stream here."""

    def __init__(self, loop: Loop, send: Send, number: int, done: Callable[[], None] | None = None) -> None:
        self.loop, self.send, self.number, self.done = loop, send, number, done
        self.broken: Callable[[int], None] | None = None
        self.sources: dict[int, _Source] = {}
        self.sinks: dict[int, _Sink] = {}

    def source(self, channel: int, descriptor: int, close: Close = os.close) -> None:
        """`channel` is read from `descriptor`, and `close` is called with that at its end."""
        self.sources[channel] = _Source(self, channel, descriptor, close)

    def sink(self, channel: int, descriptor: int, close: Close = os.close) -> None:
        """`channel` is written to `descriptor`, and `close` is called with that at its end."""
        self.sinks[channel] = _Sink(self, channel, descriptor, close)

    def received(self, frame: Frame) -> None:
        """Take a frame about one of the streams. Raises LineBroken."""
        if frame.kind == Kind.CREDIT and frame.channel in self.sources:
            self.sources[frame.channel].more(frame.number())
        elif frame.kind == Kind.BREAK and frame.channel in self.sources:
            self.sources[frame.channel].close()
            self.changed()
        elif frame.kind == Kind.DATA and frame.channel in self.sinks:
            self.sinks[frame.channel].data(frame.body)
        elif frame.kind == Kind.END and frame.channel in self.sinks:
            self.sinks[frame.channel].end()

    def credit(self, channel: int, count: int) -> None:
        """The other side may send `count` bytes more."""
        if count:
            self.send(Frame(self.number, channel, Kind.CREDIT, count.to_bytes(4, "big")))

    def broke(self, channel: int) -> None:
        """Nobody reads `channel` here any more."""
        if self.broken:
            self.broken(channel)
        self.changed()

    def changed(self) -> None:
        """A stream ended: perhaps it was the last."""
        if self.done and not any(stream.open for stream in self._streams()):
            done, self.done = self.done, None
            done()

    def _streams(self) -> list[_Source | _Sink]:
        return [*self.sources.values(), *self.sinks.values()]

    def close(self) -> None:
        """Every stream is closed on this side."""
        for stream in self._streams():
            stream.close()
