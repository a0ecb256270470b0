"""What was on the wire? Frames, in one time order: plain data that any view or check can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, overload

from labkit.packets.links import ETHERNET

if TYPE_CHECKING:
    from labkit.packets.icmp_errors import IcmpError
    from labkit.packets.layers import Text

__all__ = ["Frame", "Frames"]


class Frame(NamedTuple):
    """One frame as one link saw it.

    A frame that crosses a veth is seen twice, "out" on one end and "in" on the other. Checksums look wrong on a veth:
    the sender leaves them to the network card (checksum offload), and a veth has none; the receiver
    trusts the kernel instead. `ethtool -K eth0 tx off` makes them real. For the same reason one captured TCP frame
    can be longer than the MTU (segmentation offload).
    """

    time_ns: int  # the kernel's clock, nanoseconds since 1970
    namespace: str
    interface: str
    direction: Literal["in", "out"]
    data: bytes  # from the link's own header on, at most the snap length
    length: int  # bytes on the wire
    linktype: int = ETHERNET

    @property
    def where(self) -> str:
        """Where it was seen: "red/eth0"."""
        return f"{self.namespace}/{self.interface}"

    @property
    def packet(self) -> Any:
        """The frame as scapy sees it. Only the layers that this frame needs are imported, on first use."""
        from labkit.packets import layers

        return layers.dissect(self.data, self.linktype)

    @property
    def error(self) -> IcmpError | None:
        """The ICMP error that the frame carries: who gave which packet up, and why. None if it carries none."""
        from labkit.packets.icmp_errors import error_in

        return error_in(self.data, self.linktype)

    def summary(self, *, full: bool = False) -> str:
        """Return the frame in one line that is the same in every run: "10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1".

        Left out, because the kernel picks them anew each time: ephemeral ports (32768 to 60999), identifiers, sequence
        numbers of TCP. `full` puts them in."""
        from labkit.packets.decode import summary

        return summary(self.data, self.length, self.linktype, full=full)

    def show(self) -> Text:
        """Return the layers and their fields, one a line. Fields that differ from run to run are written "varies"."""
        from labkit.packets import layers

        return layers.show(self.packet)

    def __repr__(self) -> str:
        return f"{self.where} {self.direction} {self.summary()}"


class Frames(Sequence[Frame]):
    """Frames in time order, with what is known about those that are missing.

    `dropped`: how many frames were lost. `notes`: sentences about what happened while capturing."""

    def __init__(self, frames: Sequence[Frame], *, dropped: int = 0, notes: Sequence[str] = ()) -> None:
        self._frames = tuple(frames)
        self._dropped = dropped
        self._notes = tuple(notes)

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All frames, in the order of the kernel's clock."""
        return self._frames

    @property
    def dropped(self) -> int:
        """How many frames are missing: lost by the kernel, or beyond the bound."""
        return self._dropped

    @property
    def notes(self) -> tuple[str, ...]:
        """What happened while capturing, in sentences."""
        return self._notes

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Frames: ...
    def __getitem__(self, index: int | slice) -> Frame | Frames:
        if isinstance(index, slice):
            return self._some(self.frames[index])
        return self.frames[index]

    def where(self, test: str | Callable[[Frame], object]) -> Frames:
        """Return the frames that match: a tcpdump expression ("icmp and host 10.0.0.2") or a function of a frame.

        Raises WrongUse for a bad expression, CommandNotInstalled where tcpdump is missing."""
        if callable(test):
            return self._some([frame for frame in self.frames if test(frame)])
        from labkit.packets import filters

        return self._some([frame for frame in self.frames if filters.matches(test, frame)])

    def at(self, *where: str) -> Frames:
        """Return the frames seen at "red" (any of its links) or "red/eth0"."""
        return self._some([frame for frame in self.frames if frame.namespace in where or frame.where in where])

    def between(self, one: str, other: str) -> Frames:
        """Return the frames that go between two addresses (IP or MAC), in either direction."""
        from labkit.packets.decode import addresses

        wanted = {(one.lower(), other.lower()), (other.lower(), one.lower())}
        return self._some([frame for frame in self.frames if addresses(frame.data, frame.linktype) & wanted])

    def summaries(self) -> list[str]:
        """Return the summary of each frame."""
        return [frame.summary() for frame in self.frames]

    def to_pcap(self, target: str | IO[bytes]) -> None:
        """Write the frames to a file (all of it or nothing), or to an open binary file or pipe.

        The format is pcapng, since only that keeps nanoseconds, the interface and the direction of each frame.
        Read it with: tcpdump -n -r FILE, wireshark FILE, or `labkit.packets.read(FILE)`."""
        from labkit.packets import pcap

        pcap.write(target, self.frames)

    def _some(self, frames: Sequence[Frame]) -> Frames:
        return Frames(frames, dropped=self.dropped, notes=self.notes)

    def __repr__(self) -> str:
        from labkit.see import capture_text

        return capture_text(self)

    def _repr_mimebundle_(self, **_options: object) -> dict[str, str]:
        from labkit.see import capture_svg, capture_text

        return {"text/plain": capture_text(self), "image/svg+xml": capture_svg(self)}
