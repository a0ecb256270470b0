"""What goes over these links from now on? capture() says, until it is stopped."""

from __future__ import annotations

import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import IO, Self

from labkit.errors import LabkitError, NotFound, WrongUse
from labkit.net.here import ensure_lab_machine
from labkit.net.namespace import inode
from labkit.packets import filters, links
from labkit.packets.frames import Frame, Frames
from labkit.packets.inside import inside
from labkit.packets.recorder import Recorder, Source

__all__ = ["Capture", "capture"]

VERB = "capture on"


def capture(
    *where: str,
    filter: str = "",  # noqa: A002
    limit: int = 100_000,
    bytes: int = 64 << 20,  # noqa: A002
    snap: int = filters.SNAP,
) -> Capture:
    """Return a Capture of every frame, in both directions, on the links `where`, in one time order.

    It begins with `with capture("red") as seen:` or `seen = capture("red").start()`: on return every frame is seen
    (within 1 ms). It ends with the block or `seen.stop()`: all that arrived before is in, nothing that came after.

    where: "red" (all links of namespace red, also later ones), "red/eth0", "host/br0"; several at once.
    filter: a tcpdump expression, run by the kernel. limit: frames kept of each namespace; bytes: kept of each
    namespace, about 64 more a frame; what comes beyond is counted in `.dropped`. snap: bytes kept of each frame.
    On `lo` each frame is shown once, as tcpdump does. Links are not put into promiscuous mode; a veth and the ports
    of a bridge hear everything anyway.

    Raises NotFound (a namespace or link that is not there), WrongUse (a bad filter), CommandNotInstalled (tcpdump).
    Same as: ip netns exec red tcpdump -n -e -i eth0. Source: packet(7)."""
    ensure_lab_machine(f"{VERB} {' '.join(where)}")
    if not where:
        raise WrongUse(
            "failed to capture: nothing named to capture on", "name a namespace, 'red', or a link, 'red/eth0'"
        )
    for place in where:
        if not place.partition("/")[0]:
            raise WrongUse(
                f"failed to capture on '{place}': it names no namespace",
                "write 'red' (all links of namespace red), 'red/eth0', or 'host/br0'",
            )
    return Capture(where, filter, limit, bytes, snap)


class Capture(Frames):
    """Frames being recorded, and then those that were. While it runs, reading it shows what arrived until now."""

    def __init__(self, where: tuple[str, ...], expression: str, limit: int, most: int, snap: int) -> None:
        super().__init__(())
        self.places = where
        self.filter = expression
        self.limit, self.most, self.snap = limit, most, snap
        self._recorder: Recorder | None = None
        self._inodes: dict[str, int] = {}
        self._final = False
        self._lock = threading.RLock()  # a view reads it in another thread than that which stops it

    @property
    def running(self) -> bool:
        """Whether frames are being recorded."""
        return self._recorder is not None and not self._final

    @property
    def command(self) -> str:
        """The equivalent shell commands, one for each place."""
        return "\n".join(_command(place, self.filter) for place in self.places)

    def start(self) -> Self:
        """Begin. On return, every frame from now on is seen. Beginning again starts over, with no frames."""
        if self.running:
            raise WrongUse("failed to start the capture: it is running already", "stop it first: .stop()")
        wanted: dict[str, list[str]] = {}
        for place in self.places:
            namespace, _, link = place.partition("/")
            wanted.setdefault(namespace, []).append(link)
        sources: list[Source] = []
        try:
            for namespace, names in wanted.items():
                sources.append(inside(namespace, partial(self._source, namespace, names)))
                self._inodes[namespace] = inode(namespace)
            recorder = Recorder(sources, self.limit, self.most)
        except BaseException:
            for source in sources:
                source.close()
            raise
        self._recorder, self._final, self._frames, self._notes, self._dropped = recorder, False, (), (), 0
        weakref.finalize(self, recorder.stop).atexit = False
        return self

    def _source(self, namespace: str, names: list[str]) -> Source:
        """Open the plain socket. Runs inside the namespace."""
        if "" in names:
            indexes = dict(socket.if_nameindex())
            return Source(namespace, indexes, 0, filters.for_kernel(self.filter, linktype=None, snap=self.snap))
        indexes = {links.index_of(name, namespace, VERB): name for name in names}
        if len(indexes) > 1:
            program = filters.for_kernel(self.filter, indexes=indexes, linktype=None, snap=self.snap)
            return Source(namespace, indexes, 0, program)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
            kind = links.linktype(links.hardware_type(question, names[0]))
        if self.filter and kind == links.UNKNOWN:
            raise WrongUse(
                f"failed to {VERB} '{names[0]}' in namespace '{namespace}': no filter can be made for its frames"
            )
        program = filters.for_kernel(self.filter, linktype=kind, snap=self.snap)
        return Source(namespace, indexes, next(iter(indexes)), program)

    def stop(self) -> Self:
        """End. All that arrived before is in, nothing that comes after. Stopping again changes nothing."""
        with self._lock:
            if self._recorder is not None and not self._final:
                self._recorder.stop()
                self._take(self._recorder.end_ns)
                self._final = True
                self._recorder = None
        return self

    def _take(self, end_ns: int) -> None:
        recorder = self._recorder
        assert recorder is not None
        found = recorder.frames(end_ns)
        self._frames = tuple(found[: self.limit])
        lost, beyond = recorder.lost(), recorder.beyond() + max(0, len(found) - self.limit)
        self._dropped = lost + beyond
        notes = [note for source in recorder.sources for note in source.notes]
        notes += [note for namespace in self._inodes for note in self._fate(namespace)]
        if lost:
            notes.append(f"the kernel dropped {lost} frames that nobody read in time")
        if beyond:
            notes.append(f"{beyond} frames came after the bound ({self.limit} frames, {self.most} bytes) was reached")
        self._notes = tuple(notes)

    def _fate(self, namespace: str) -> Iterable[str]:
        try:
            if inode(namespace) != self._inodes[namespace]:
                yield f"namespace '{namespace}' was deleted meanwhile, and another of that name was added"
        except NotFound:
            yield f"namespace '{namespace}' was deleted meanwhile"
        except LabkitError as error:
            yield error.message

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All frames so far, in the order of the kernel's clock."""
        with self._lock:
            if self.running:
                assert self._recorder is not None
                self._take(self._recorder.settle())
            return self._frames

    @property
    def arrived(self) -> int:
        """A number that changes when frames come. Asking costs nothing, and reads none of them."""
        recorder = self._recorder
        return sum(source.count + source.beyond for source in recorder.sources) if recorder else len(self._frames)

    @property
    def dropped(self) -> int:
        """How many frames are missing: dropped by the kernel, or beyond the bound."""
        _ = self.frames
        return self._dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """What happened meanwhile, in sentences."""
        _ = self.frames
        return self._notes

    def follow(self, quiet: float | None = None) -> Iterator[Frame]:
        """Yield frames as they come, until the capture is stopped or, if `quiet` is given, no frame came for so many
        seconds. They are handed over, not kept, so this can go on for hours."""
        since = time.monotonic()
        while self._recorder is not None and not self._final:
            recorder = self._recorder
            for frame in recorder.frames(recorder.settle(), forget=True):
                yield frame
                since = time.monotonic()
            if quiet is not None and time.monotonic() - since > quiet:
                return
            time.sleep(0.005)
        yield from self.frames
        self._frames = ()

    def stream(self, file: IO[bytes], quiet: float | None = None) -> None:
        """Write frames as they come to an open binary file or pipe, until its reader leaves (or as `follow` ends).

        With `wireshark -k -i -` at the other end of the pipe, Wireshark shows them as they come."""
        from labkit.packets.pcap import Writer

        with suppress(BrokenPipeError):
            writer = Writer(file)
            writer.flush()
            for frame in self.follow(quiet):
                writer.add(frame)
                writer.flush()

    def wait(self, test: str | Callable[[Frame], object] = "", count: int = 1, timeout: float = 1.0) -> bool:
        """Wait until `count` frames match `test` (as in `where`); return whether they did within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            if len(self.where(test) if test else self.frames) >= count:
                return True
            if not self.running or time.monotonic() > deadline:
                return False
            time.sleep(0.002)

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _command(place: str, expression: str) -> str:
    namespace, _, link = place.partition("/")
    inside_it = "" if namespace == "host" else f"ip netns exec {namespace} "
    quoted = f" '{expression}'" if expression else ""
    return f"{inside_it}tcpdump -n -e -i {link or 'any'}{quoted}"
