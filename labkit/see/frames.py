"""A capture as text and as a picture. A frame is anything with `where`, `direction`, `data` and `summary()`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.see.measure import CHARACTER
from labkit.see.svg import document, text

__all__ = ["Packet", "packets_of", "svg_of_capture", "svg_table", "text_table"]

MOST = 60  # frames shown
LANES = 9  # places side by side
ROW = 26.0


@dataclass
class Packet:
    """Frames that are the same bytes, seen at one place after another: one packet on its way through cables and
    bridges. A router changes the bytes, so behind it the packet is another one."""

    summary: str
    data: bytes
    seen: list[tuple[str, str]] = field(default_factory=list)  # place, direction


def packets_of(frames: Sequence[Any]) -> list[Packet]:
    """Return the packets that `frames` show, in the order in which they set off."""
    packets: list[Packet] = []
    latest: dict[bytes, Packet] = {}
    for frame in frames:
        here = frame.where, frame.direction
        packet = latest.get(frame.data)
        if packet is None or here in packet.seen:
            packet = latest[frame.data] = Packet(frame.summary(), frame.data)
            packets.append(packet)
        packet.seen.append(here)
    return packets


def text_table(capture: Any) -> str:
    """Return one line a frame, in aligned columns, then what is missing. The same in every run: no times."""
    rows = _rows(capture)
    if not rows:
        return "\n".join(["no frames", *_missing(capture)])
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{number:>{widths[0]}}  {where:<{widths[1]}}  {direction:<{widths[2]}}  {told}"
        for number, where, direction, told in rows
    ]
    return "\n".join([*lines, *_missing(capture)])


def svg_of_capture(capture: Any) -> str:
    """Return the packets on their way, or the table when there is but one place, or too many for one picture."""
    frames = list(capture)[:MOST]
    packets = packets_of(frames)
    places = _places(packets)
    return _svg_paths(capture, packets, places) if 2 <= len(places) <= LANES else svg_table(capture)


def _places(packets: list[Packet]) -> list[str]:
    """Return the lanes from left to right: along the way of packets for one receiver, then those that only floods
    reach; the sender of the first packet at the left."""
    straight = [
        place for packet in packets if not packet.data[:1] or not packet.data[0] & 1 for place, _ in packet.seen
    ]
    ordered = list(dict.fromkeys(straight))
    first = packets[0].seen[0][0] if packets else ""
    if first in ordered and ordered.index(first) > (len(ordered) - 1) / 2:
        ordered.reverse()
    return list(dict.fromkeys([*ordered, *(place for packet in packets for place, _ in packet.seen)]))


def svg_table(capture: Any) -> str:
    """Return the same table as SVG."""
    rows = [("", "seen at", "", "frame"), *_rows(capture)]
    widths = [max(len(row[column]) for row in rows) * CHARACTER for column in range(4)]
    lefts = [20.0, 20 + widths[0] + 16, 20 + widths[0] + widths[1] + 34, 20 + sum(widths[:3]) + 52]
    width, notes = lefts[3] + widths[3] + 24, _missing(capture)
    parts = []
    for index, row in enumerate(rows):
        y = 12 + ROW * index
        parts += _stripe(index, y, width)
        kinds = ("s",) * 4 if index == 0 else ("fact", "name", row[2], "cell")
        parts += [
            text(left, y + 17, *cell) for left, cell in zip(lefts, zip(kinds, row, strict=True), strict=True) if cell[1]
        ]
    return _finished(capture, width, 12 + ROW * len(rows), parts, notes)


def _svg_paths(capture: Any, packets: list[Packet], places: list[str]) -> str:
    """One lane a place, one line a packet: from where it was first seen to everywhere it was seen after that."""
    numbers = max(len(str(len(packets))), 1) * CHARACTER
    told = max([len(packet.summary) for packet in packets], default=0) * CHARACTER
    lane = max(96.0, *(len(part) * CHARACTER + 22 for place in places for part in place.split("/")))
    first = 20 + numbers + 14 + told + lane / 2 + 16
    at = {place: first + lane * index for index, place in enumerate(places)}
    width, top = first + lane * (len(places) - 1) + lane / 2 + 12, 60.0
    bottom = top + ROW * len(packets) + 6
    parts = []
    for index, packet in enumerate(packets):
        y = top + ROW * index
        parts += _stripe(index + 1, y, width)
        parts += [text(20, y + 17, "fact", str(index + 1)), text(20 + numbers + 14, y + 17, "cell", packet.summary)]
    for place in places:
        namespace, _, interface = place.partition("/")
        parts += [text(at[place], 28, "name", namespace, "middle"), text(at[place], 45, "fact", interface, "middle")]
        parts.append(f'<path class="lane" d="M{at[place]:g} 54V{bottom:g}"/>')
    for index, packet in enumerate(packets):
        flood = bool(packet.data[:1] and packet.data[0] & 1)
        parts += _path(
            [at[place] for place, _ in packet.seen], top + ROW * index + 13, "cable plan" if flood else "cable"
        )
    return _finished(capture, width, bottom, parts, _missing(capture))


def _path(xs: list[float], y: float, kind: str) -> list[str]:
    start = xs[0]
    parts = []
    for end, tip in ((max(xs), -1), (min(xs), 1)):
        if end != start:
            parts.append(f'<path class="{kind}" d="M{start:g} {y:g}H{end + 6 * tip:g}"/>')
            parts.append(f'<path class="cable" d="M{end + 14 * tip:g} {y - 5:g}l{-8 * tip} 5l{8 * tip} 5"/>')
    parts += [f'<circle class="dot" cx="{x:g}" cy="{y:g}" r="4"/>' for x in dict.fromkeys(xs[1:]) if x != start]
    return [*parts, f'<circle class="dot full" cx="{start:g}" cy="{y:g}" r="4.5"/>']


def _stripe(index: int, y: float, width: float) -> list[str]:
    if index % 2:
        return [f'<rect class="stripe" x="8" y="{y:g}" width="{width - 16:g}" height="{ROW:g}" rx="4"/>']
    return []


def _finished(capture: Any, width: float, bottom: float, parts: list[str], notes: list[str]) -> str:
    parts += [text(20, bottom + ROW * index + 17, "down", note) for index, note in enumerate(notes)]
    width = max([width, *(len(note) * CHARACTER + 40 for note in notes)])
    height = bottom + ROW * len(notes) + 14
    return document(width, height, f"a capture of {len(capture)} frames", text_table(capture), parts)


def _rows(capture: Any) -> list[tuple[str, str, str, str]]:
    shown: Sequence[Any] = list(capture)[:MOST]
    return [(str(number), frame.where, frame.direction, frame.summary()) for number, frame in enumerate(shown, 1)]


def _missing(capture: Any) -> list[str]:
    more = len(capture) - MOST
    return [*([f"and {more} more frames"] if more > 0 else []), *getattr(capture, "notes", ())]
