"""The line between the computer and a guest, both ends in one process: streams arrive whole, or the line is broken."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from labkit.machine.uml.line import BODY, WINDOW, Frame, Kind, LineBroken, Numbering, pack, tell, unpack
from labkit.machine.uml.relay import Loop, Session

FRAME = Frame(7, 1, Kind.DATA, b"bytes")


class End:
    """One side: a loop, a session, and the socket of the line, as host and guest have it."""

    def __init__(self, line: socket.socket) -> None:
        self.loop, self.line, self.frames = Loop(), line, []
        self.sent, self.came = Numbering(), Numbering()
        self.finished: list[bool] = []
        self.session = Session(self.loop, self.send, 1, lambda: self.finished.append(True))
        line.setblocking(False)
        self.loop.reading(line.fileno(), self.read)

    def send(self, frame: Frame) -> None:
        self.line.send(self.sent.pack(frame))

    def read(self) -> None:
        frame = self.came.unpack(self.line.recv(20_000))
        assert frame is not None
        self.frames.append(frame)
        self.session.received(frame)


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, two:
        for end in (one, two):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        yield End(one), End(two)


@pytest.fixture
def pipe() -> Iterator[Callable[[], tuple[int, int]]]:
    """Makes pipes whose ends do not block; what is still open after the test is closed."""
    made: list[tuple[int, int]] = []  # descriptor, inode: a number that was closed may be another's by now

    def make() -> tuple[int, int]:
        read, write = os.pipe()
        for descriptor in (read, write):
            made.append((descriptor, os.fstat(descriptor).st_ino))
            os.set_blocking(descriptor, False)
        return read, write

    yield make
    for descriptor, inode in made:
        with suppress(OSError):
            if os.fstat(descriptor).st_ino == inode:
                os.close(descriptor)


def turn(*ends: End, times: int = 1) -> None:
    for _ in range(times):
        for end in ends:
            end.loop.turn(0)


def read(descriptor: int, size: int = 1 << 20) -> bytes | None:
    """Return what is there; b"" at the end; None when nothing is there yet."""
    try:
        return os.read(descriptor, size)
    except BlockingIOError:
        return None


@pytest.mark.parametrize("seed", range(20))
def test_streams_in_both_directions_arrive_whole_whatever_the_chunks(ends, pipe, seed):
    dice = random.Random(seed)
    streams = {0: (ends[0], ends[1]), 1: (ends[1], ends[0]), 2: (ends[1], ends[0])}
    data = {channel: dice.randbytes(dice.choice([0, 1, BODY, WINDOW, WINDOW + 1, 500_000])) for channel in streams}
    rest, came, into, out = dict(data), dict.fromkeys(streams, b""), {}, {}
    for channel, (sender, receiver) in streams.items():
        source, into[channel] = pipe()
        out[channel], sink = pipe()
        sender.session.source(channel, source)
        receiver.session.sink(channel, sink)
    while out:
        for channel in list(into):
            if dice.random() < 0.5:
                with suppress(BlockingIOError):
                    rest[channel] = rest[channel][os.write(into[channel], rest[channel][: dice.randint(1, 70_000)]) :]
            if not rest[channel]:
                os.close(into.pop(channel))
        turn(*dice.sample(ends, 2), times=dice.randint(1, 3))
        for channel in list(out):
            if dice.random() < 0.3 and (chunk := read(out[channel], dice.randint(1, 70_000))) is not None:
                came[channel] += chunk
                if not chunk:
                    os.close(out.pop(channel))
    turn(*ends, times=5)
    assert came == data
    assert [end.finished for end in ends] == [[True], [True]]
    for end in ends:
        for channel in streams:  # nothing of a stream comes after its end
            kinds = [frame.kind for frame in end.frames if frame.channel == channel and frame.kind != Kind.CREDIT]
            assert kinds == [Kind.DATA] * (len(kinds) - 1) + [Kind.END] * bool(kinds)


def test_a_slow_reader_holds_the_sender_at_the_window(ends, pipe):
    source, into = pipe()
    out, sink = pipe()
    ends[0].session.source(0, source)
    ends[1].session.sink(0, sink)
    sent = 0
    for _ in range(500):
        with suppress(BlockingIOError):
            sent += os.write(into, bytes(4096))
        turn(*ends)
    carried = sum(len(frame.body) for frame in ends[1].frames if frame.kind == Kind.DATA)
    assert carried <= WINDOW + 65_536  # a window, and what the reader's pipe holds
    assert ends[1].session.sinks[0].held <= WINDOW
    assert sent < 500 * 4096
    came = 0
    while came < sent:
        turn(*ends)
        came += len(read(out) or b"")
    assert came == sent


def test_a_reader_that_goes_away_stops_the_sender(ends, pipe):
    source, into = pipe()
    out, sink = pipe()
    broken: list[int] = []
    ends[1].session.broken = broken.append
    ends[0].session.source(0, source)
    ends[1].session.sink(0, sink)
    os.write(into, b"x")
    turn(*ends, times=3)
    assert read(out) == b"x"
    os.close(out)
    os.write(into, b"y" * 10_000)
    turn(*ends, times=6)
    assert broken == [0]
    assert Kind.BREAK in [frame.kind for frame in ends[0].frames]
    with pytest.raises(BrokenPipeError):
        os.write(into, b"z")
    assert [end.finished for end in ends] == [[True], [True]]


def test_what_comes_after_a_break_is_credited_and_dropped(ends, pipe):
    out, sink = pipe()
    ends[1].session.sink(0, sink)
    os.close(out)
    for _ in range(4):
        ends[1].session.received(Frame(1, 0, Kind.DATA, b"x" * 100))
        ends[1].loop.turn(0)
    turn(*ends, times=10)
    credit = sum(frame.number() for frame in ends[0].frames if frame.kind == Kind.CREDIT)
    assert credit == 400


def test_more_than_the_window_breaks_the_line(ends, pipe):
    _, sink = pipe()
    ends[1].session.sink(0, sink)
    for _ in range(WINDOW // BODY):
        ends[1].session.received(Frame(1, 0, Kind.DATA, bytes(BODY)))
    with pytest.raises(LineBroken, match="window"):
        ends[1].session.received(Frame(1, 0, Kind.DATA, b"x"))


def test_a_frame_is_packed_and_unpacked():
    assert unpack(pack(FRAME, 9)) == (9, FRAME)
    assert Numbering().unpack(Numbering().pack(FRAME)) == FRAME
    assert tell(3, exit=0).told() == {"exit": 0}


def test_a_missing_or_repeated_frame_breaks_the_line():
    sender, receiver = Numbering(), Numbering()
    frames = [sender.pack(FRAME) for _ in range(3)]
    assert receiver.unpack(frames[0]) == FRAME
    with pytest.raises(LineBroken, match="frame 2 came where 1 was due"):
        receiver.unpack(frames[2])
    with pytest.raises(LineBroken, match="frame 0 came where 1 was due"):
        receiver.unpack(frames[0])
    assert receiver.unpack(frames[1]) == FRAME


def test_numbers_start_again_after_the_last():
    sender, receiver = Numbering(), Numbering()
    sender.next = receiver.next = 0xFFFFFFFF
    assert [receiver.unpack(sender.pack(FRAME)) for _ in range(2)] == [FRAME, FRAME]


def test_the_guests_own_frames_are_none_of_the_lines():
    assert Numbering().unpack(b"\xff" * 12 + b"\x08\x06" + bytes(28)) is None


@pytest.mark.parametrize(
    "broken",
    [
        lambda: unpack(b"short"),
        lambda: unpack(pack(FRAME)[:9] + b"\x63"),
        lambda: Frame(0, 0, Kind.TELL, b"{").told(),
        lambda: Frame(0, 0, Kind.TELL, b"[1]").told(),
        lambda: Frame(0, 0, Kind.TELL, b"\xff\xfe\xfd").told(),
        lambda: Frame(0, 0, Kind.CREDIT, b"\0").number(),
    ],
)
def test_what_makes_no_sense_breaks_the_line(broken):
    with pytest.raises(LineBroken):
        broken()
