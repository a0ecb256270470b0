"""How do frames get from several namespaces into one list, while Python is busy with something else?

Each `Source` is one namespace. Its capture begins on a plain packet socket (ready in 0.1 ms); a thread makes a ring
beside it (8 ms) and, from one moment of the kernel's clock on, the ring is what counts. Another thread, the reader,
copies what has come. At the end every frame with a time up to the end is in, and none after it.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from labkit.errors import LabkitError
from labkit.net import here
from labkit.packets import links
from labkit.packets.closing import close_elsewhere
from labkit.packets.frames import Frame
from labkit.packets.inside import inside
from labkit.packets.ring import (
    ARPHRD_LOOPBACK,
    BLOCK,
    SO_TIMESTAMPNS,
    Record,
    Ring,
    bind,
    drops,
    open_plain,
    read_plain,
    records,
)

__all__ = ["Recorder", "Source"]

RING_BYTES = 32 << 20  # for all rings of one capture together
PATIENCE = 0.002  # seconds: a capture that ends sooner needs no ring
OVERLAP = 0.005  # seconds that the plain socket is kept beside the ring, for frames on their way

_clock: list[socket.socket] = []


def _start_clock() -> None:
    """Make the kernel stamp frames as they arrive. It does so only while somebody asks, and starts within 0.3 ms:
    one socket of this process goes on asking."""
    if not _clock:
        _clock.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        _clock[0].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        time.sleep(0.0004)


class Source:
    """The packet sockets of one namespace. `indexes` maps ifindex to name; `only` is the link it is bound to, or 0."""

    def __init__(self, namespace: str, indexes: dict[int, str], only: int, program: bytes) -> None:
        self.namespace = namespace
        self.indexes = dict(indexes)
        self.only = only
        self.program = program
        self.ring: Ring | None = None
        self.switched_ns = 0  # before: the plain socket counts; from then on: the ring
        self.parsed: list[Record] = []
        self.blocks: list[bytes] = []
        self.count = self.bytes = self.beyond = self.lost = 0
        self.notes: list[str] = []
        self.last_ns = 0  # of the newest block
        self.limit = self.most = 0  # frames, bytes: set by the Recorder
        self.plain: socket.socket | None = open_plain(program)

    def bind(self) -> None:
        assert self.plain is not None
        bind(self.plain, self.only)

    def make_ring(self, blocks: int) -> Ring:
        return inside(self.namespace, lambda: Ring(self.program, blocks))

    def sockets(self) -> list[socket.socket]:
        return [sock for sock in (self.plain, self.ring.sock if self.ring else None) if sock is not None]

    def full(self) -> bool:
        """Return whether a bound is reached."""
        return self.count >= self.limit or self.bytes >= self.most

    def read(self, room: bytearray) -> None:
        """Take everything that is ready, up to the bounds; count what is beyond."""
        while self.plain is not None:
            try:
                record = read_plain(self.plain, room)
            except OSError:  # the link went down or away: `trouble` asks
                break
            if record is None:
                break
            if self.switched_ns and record.time_ns >= self.switched_ns:
                continue
            if self.full():
                self.beyond += 1
                continue
            self.parsed.append(record)
            self.count += 1
            self.bytes += len(record.data)
        if self.ring is not None:
            for count, last_ns, block in self.ring.take():
                self.last_ns = last_ns
                if last_ns < self.switched_ns:
                    continue
                if self.full():
                    self.beyond += count
                    continue
                self.blocks.append(bytes(block))
                self.count += count
                self.bytes += len(block)

    def settled(self, moment: int) -> bool:
        """Return whether nothing from before `moment` waits to be read."""
        return self.ring is None or self.last_ns > moment or not self.ring.waiting()

    def count_lost(self) -> None:
        """Ask the socket that counts how many frames the kernel dropped."""
        sock = self.ring.sock if self.ring is not None else self.plain
        with suppress(OSError):
            if sock is not None:
                self.lost += drops(sock)

    def trouble(self, sock: socket.socket) -> None:
        """The kernel reported an error on a socket: note whether the link is gone."""
        with suppress(OSError):
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if self.only and links.name_of(sock, self.only) is None:
                self._note(f"link '{self.indexes[self.only]}' in namespace '{self.namespace}' was deleted meanwhile")

    def _parse(self) -> None:
        """Take the blocks apart, and find the names of links that appeared after the start."""
        if self.blocks:
            for block in self.blocks:
                self.parsed += [record for record in records(block) if record.time_ns >= self.switched_ns]
            self.blocks.clear()
            self._trim()
        seen = {record.link for record in self.parsed if isinstance(record.link, int)}
        for index in seen - self.indexes.keys():
            for sock in self.sockets():
                name = links.name_of(sock, index)
                if name:
                    self.indexes[index] = name

    def frames(self, end_ns: int, forget: bool = False) -> list[Frame]:
        """Return the frames up to `end_ns`, as they came. forget: give up the memory that they took."""
        self._parse()
        wanted = [record for record in self.parsed if record.time_ns <= end_ns]
        if forget:
            self.parsed = [record for record in self.parsed if record.time_ns > end_ns]
            self._trim()
        return [self._frame(record) for record in wanted if not _shown_twice(record)]

    def _frame(self, record: Record) -> Frame:
        link = record.link
        return Frame(
            record.time_ns,
            self.namespace,
            link if isinstance(link, str) else self.indexes.get(link, f"if{link}"),
            "out" if record.outgoing else "in",
            record.data,
            record.length,
            links.linktype(record.hardware),
        )

    def _trim(self) -> None:
        """Blocks are taken whole: what is in them beyond a bound goes now."""
        self.count = self.bytes = 0
        for record in self.parsed:
            if self.full():
                break
            self.count += 1
            self.bytes += len(record.data)
        self.beyond += len(self.parsed) - self.count
        del self.parsed[self.count :]

    def close(self) -> None:
        self.count_lost()
        self._parse()
        close_elsewhere(*[thing for thing in (self.ring, self.plain) if thing is not None])
        self.ring = self.plain = None

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _shown_twice(record: Record) -> bool:
    return record.hardware == ARPHRD_LOOPBACK and record.outgoing


class Recorder:
    """Sources being read. `limit`: frames; `most`: bytes."""

    def __init__(self, sources: Sequence[Source], limit: int, most: int) -> None:
        self.sources = list(sources)
        self.lock = threading.Lock()
        self.ended = False
        self._over = threading.Event()
        self._room = bytearray(1 << 18)
        self.end_ns = 0
        self._wake = os.eventfd(0)
        self._poll = select.epoll()  # unlike poll(), it hears what is registered while it waits
        self._owners: dict[int, tuple[Source, socket.socket]] = {}
        _start_clock()
        try:
            for source in self.sources:
                source.limit, source.most = limit, most
                source.bind()
                self._watch(source)
        except BaseException:
            self._release()
            raise
        self._poll.register(self._wake, select.EPOLLIN)
        self._reader = threading.Thread(target=self._read, name="labkit-capture", daemon=True)
        self._reader.start()
        threading.Thread(target=self._move_to_rings, name="labkit-rings", daemon=True).start()

    def _watch(self, source: Source) -> None:
        for sock in source.sockets():
            if sock.fileno() not in self._owners:
                self._owners[sock.fileno()] = (source, sock)
                self._poll.register(sock, select.EPOLLIN)

    def _read(self) -> None:
        while True:
            events = self._poll.poll()
            with self.lock:
                if self.ended:
                    return
                for descriptor, event in events:
                    if descriptor not in self._owners:
                        continue
                    source, sock = self._owners[descriptor]
                    if event & select.EPOLLERR:
                        source.trouble(sock)
                    source.read(self._room)

    def _move_to_rings(self) -> None:
        if self._over.wait(PATIENCE):
            return
        blocks = max(4, min(64, RING_BYTES // BLOCK // len(self.sources)))
        for source in self.sources:
            if self.ended:
                return
            try:
                ring = source.make_ring(blocks)
            except (LabkitError, OSError):  # the plain socket goes on; a dead namespace is told at the end
                continue
            try:
                ring.map()
                bind(ring.sock, source.only)
            except OSError:
                ring.close()
                continue
            with self.lock:
                if self.ended:
                    close_elsewhere(ring)
                    return
                source.count_lost()
                source.ring, source.switched_ns = ring, time.time_ns()
                self._watch(source)
            time.sleep(OVERLAP)
            with self.lock:
                if self.ended or source.plain is None:
                    return
                source.read(self._room)
                self._poll.unregister(source.plain)
                del self._owners[source.plain.fileno()]
                plain, source.plain = source.plain, None
            close_elsewhere(plain)

    def settle(self, patience: float = 0.1) -> int:
        """Take everything that arrived before this moment, and return the moment (ns)."""
        if here.on_user_mode_linux():
            time.sleep(0.001)  # there, what was sent may still wait for the one processor that this thread holds
        moment = time.time_ns()
        deadline = time.monotonic() + patience
        while True:
            with self.lock:
                if self.ended:
                    return self.end_ns
                for source in self.sources:
                    source.read(self._room)
                if all(source.settled(moment) for source in self.sources) or time.monotonic() > deadline:
                    return moment
            time.sleep(0.0005)

    def stop(self) -> None:
        """End at this moment; sockets, memory and threads are given back. Stopping again changes nothing."""
        try:
            moment = self.settle()
        finally:
            with self.lock:
                first, self.ended = not self.ended, True
            if first:
                self._over.set()
                os.eventfd_write(self._wake, 1)
                self._reader.join()
                self._release()
        if first:
            self.end_ns = moment

    def frames(self, end_ns: int, forget: bool = False) -> list[Frame]:
        """Return the frames up to `end_ns`, in the order of the kernel's clock."""
        with self.lock:
            found = [frame for source in self.sources for frame in source.frames(end_ns, forget)]
        found.sort(key=lambda frame: (frame.time_ns, frame.direction == "in"))  # a clock that ticks slowly: first out
        return found

    def lost(self) -> int:
        """Return how many frames the kernel dropped for want of memory."""
        with self.lock:
            for source in self.sources:
                source.count_lost()
            return sum(source.lost for source in self.sources)

    def beyond(self) -> int:
        """Return how many frames came after a bound was reached."""
        return sum(source.beyond for source in self.sources)

    def _release(self) -> None:
        for source in self.sources:
            source.close()
        self._poll.close()
        os.close(self._wake)
