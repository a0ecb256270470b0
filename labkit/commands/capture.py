"""labkit capture: what goes over these links, line by line as it comes, or as pcapng to a file or a pipe."""

from __future__ import annotations

import argparse
import io
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from types import FrameType
from typing import IO, Any, Protocol, Self

from labkit.commands.output import abandon, ensure_lab_machine, put, refused, seconds, whole_number
from labkit.errors import Refused, WrongUse
from labkit.packets.capturing import Capture, capture
from labkit.packets.frames import Frame
from labkit.packets.pcap import Writer
from labkit.state.read import snapshot

__all__ = ["add_arguments", "main"]

PAUSE = 0.01  # seconds between two looks at what has come


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit capture` understands."""
    parser.description = (
        "Print each frame that crosses the links of these namespaces, in both directions and in one time order, one a "
        "line: seconds since the first one, where it was seen, whether it came in or went out, what it is. Ctrl-C ends "
        "it, with a last line on standard error: how many frames, how many dropped."
    )
    parser.epilog = (
        "examples: `labkit capture red blue`, `labkit capture red/eth0 --filter icmp -c 4`, "
        "`labkit capture red -w - | wireshark -k -i -`"
    )
    parser.add_argument(
        "where",
        nargs="+",
        metavar="NAMESPACE[/INTERFACE]",
        help="red: all its links; red/eth0: that one; `host` is the first namespace",
    )
    parser.add_argument(
        "-w",
        dest="file",
        metavar="FILE",
        help="write frames as pcapng instead of lines; - is standard output. What was in FILE is replaced once the "
        "capture has begun; FILE grows as frames come and can be read meanwhile. When the disk is full, the frames "
        "before that stay in it, whole",
    )
    parser.add_argument(
        "--filter", default="", metavar="EXPRESSION", help="only frames that match, as in tcpdump: 'arp or icmp'"
    )
    parser.add_argument("-c", dest="count", type=whole_number, metavar="COUNT", help="end after so many frames")
    parser.add_argument("--seconds", type=seconds, metavar="N", help="end after so many seconds")
    parser.add_argument(
        "--full", action="store_true", help="print ephemeral ports, identifiers and sequence numbers, too"
    )


def main(arguments: argparse.Namespace) -> int:
    """Capture until Ctrl-C, the count, the time or the reader's leaving; return 0."""
    ensure_lab_machine("capture")
    _check_stdout(arguments.file)
    seen = capture(*arguments.where, filter=arguments.filter)
    with seen, _sink(arguments) as sink, _Ending(arguments) as ending:
        _tell(f"capturing on {', '.join(arguments.where)}; Ctrl-C ends it")
        try:
            _record(seen, sink, ending)
        except BrokenPipeError:
            if not ending.asked:
                return 0
        seen.stop()
    _tell(f"{_counted(ending.count)}, {seen.dropped} dropped")
    for note in seen.notes:
        _tell(f"note: {note}")
    return 0


def _check_stdout(file: str | None) -> None:
    """Refuse to write pcapng to a terminal, or to a standard output that is closed. Raises WrongUse."""
    if file == "-" and (sys.stdout is None or sys.stdout.isatty()):
        what = "closed" if sys.stdout is None else "a terminal, and pcapng is not text"
        raise WrongUse(
            f"failed to write the capture: standard output is {what}",
            "leave -w out, or pipe it: labkit capture red -w - | tcpdump -n -r -",
        )


def _record(seen: Capture, sink: _Sink, ending: _Ending) -> None:
    """Hand frames over as they come, then those that had come when it ended."""
    while not ending.over():
        _hand_over(seen.follow(quiet=0), sink, ending)
        if sink.reader_left():
            raise BrokenPipeError
        time.sleep(PAUSE)
    seen.stop()
    _hand_over(iter(seen.frames), sink, ending)


def _hand_over(frames: Iterator[Frame], sink: _Sink, ending: _Ending) -> None:
    some = list(islice(frames, ending.left()))
    if some:
        sink.write(some)
        ending.count += len(some)


def _counted(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _tell(sentence: str) -> None:
    """Say it on standard error, if there is one: a terminal that went away ends no capture."""
    with suppress(OSError, AttributeError):
        print(f"labkit: {sentence}", file=sys.stderr, flush=True)


class _Ending:
    """When it is over: asked by a signal, so many frames, so much time. A second Ctrl-C does what it always does."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.asked = False
        self.count = 0
        self.most: int | None = arguments.count
        self.deadline = None if arguments.seconds is None else time.monotonic() + arguments.seconds
        self._before: dict[int, Any] = {}

    def over(self) -> bool:
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return self.asked or late or self.left() == 0

    def left(self) -> int | None:
        return None if self.most is None else self.most - self.count

    def __enter__(self) -> Self:
        with suppress(ValueError):  # only the main thread may
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def __exit__(self, *_: object) -> None:
        self._restore()


class _Sink(Protocol):
    """Where frames go."""

    def write(self, frames: Sequence[Frame]) -> None:
        """Hand them to the reader now. Raises BrokenPipeError when it has left, Refused when the disk is full."""

    def reader_left(self) -> bool:
        """Return whether nobody can read them any more."""


@contextmanager
def _sink(arguments: argparse.Namespace) -> Iterator[_Sink]:
    if arguments.file is None:
        yield _Lines(arguments.full, arguments.where)
        return
    stdout = arguments.file == "-"
    name = "standard output" if stdout else f"'{arguments.file}'"
    file = _opened(arguments.file, name)
    try:
        yield _Packets(file, name, ours=not stdout)
    finally:
        with suppress(OSError):  # all that matters was written before
            file.close()


def _opened(path: str, name: str) -> IO[bytes]:
    try:
        return open(sys.stdout.fileno(), "wb", closefd=False) if path == "-" else open(path, "wb")
    except OSError as error:
        raise refused(f"write the capture to {name}", error) from error


class _Lines:
    """One line a frame, in columns as wide as the links that are there now need."""

    def __init__(self, full: bool, places: Sequence[str]) -> None:
        self.full = full
        self.first: int | None = None
        there = snapshot(*dict.fromkeys(place.partition("/")[0] for place in places))
        links = [(state.name, f"{state.name}/{link.ifname}") for state in there.values() for link in state.links]
        self.width = max((len(link) for name, link in links if name in places or link in places), default=0)

    def write(self, frames: Sequence[Frame]) -> None:
        put("".join(self._line(frame) for frame in frames))

    def _line(self, frame: Frame) -> str:
        self.first = frame.time_ns if self.first is None else self.first
        self.width = max(self.width, len(frame.where))
        since = (frame.time_ns - self.first) / 1e9
        return f"{since:11.6f}  {frame.where:<{self.width}}  {frame.direction:<3}  {frame.summary(full=self.full)}\n"

    def reader_left(self) -> bool:
        return sys.stdout is not None and _reader_left(sys.stdout)


class _Packets:
    """Pcapng. A file of `ours` is whole also after a failure: what was half written is cut off."""

    def __init__(self, file: IO[bytes], name: str, *, ours: bool = False) -> None:
        self.file, self.name, self.ours = file, name, ours
        self.count = self.size = 0
        with self._failing():
            self.writer = Writer(file)
            self._flush()

    def write(self, frames: Sequence[Frame]) -> None:
        with self._failing():
            for frame in frames:
                self.writer.add(frame)
            self._flush()
        self.count += len(frames)

    def _flush(self) -> None:
        self.writer.flush()
        with suppress(OSError):  # a pipe has no place to be at
            self.size = self.file.tell()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OSError | Refused:
        if self.ours:
            with suppress(OSError):  # not a regular file
                os.ftruncate(self.file.fileno(), self.size)
        abandon(self.file)
        if isinstance(error, BrokenPipeError):
            return BrokenPipeError()
        failed = refused(f"write the capture to {self.name}", error)
        return Refused(failed.message, f"written before that: {_counted(self.count)}", failed.errno)

    def reader_left(self) -> bool:
        return _reader_left(self.file)


def _reader_left(file: IO[Any]) -> bool:
    """Return whether the other end of a pipe, socket or terminal was closed: without this, who prints nothing because
    nothing comes would never know."""
    poll = select.poll()
    with suppress(io.UnsupportedOperation, ValueError):
        poll.register(file.fileno(), 0)
    return bool(poll.poll(0))
