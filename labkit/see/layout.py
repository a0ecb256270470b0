"""Where does everything go? Boxes in columns, left to right, by how many cables they are from the first one.

Cables then run from left to right between neighbouring columns. A bridge stretches so that each of its ports sits
beside the interface that it leads to, and most cables are straight. A host with many containers has them on both
sides. The same picture always gets the same places.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from labkit.see.measure import (
    CHARACTER,
    LINE,
    Lines,
    bridge_lines,
    footer_lines,
    in_lines,
    row_height,
    row_lines,
    text_width,
)
from labkit.see.picture import Box, Bridge, Cable, End, Picture, Plug

__all__ = ["PAD", "TITLE", "Layout", "PlacedBox", "PlacedBridge", "Row", "layout_of"]

TITLE, PAD, GAP, ROW_GAP = 28.0, 14.0, 16.0, 9.0
MARGIN, CHANNEL = 20.0, 84.0
BOTH_SIDES_FROM = 9  # containers on one host, from which they stand on both sides of it


@dataclass
class Row:
    """An interface in its place: its lines, the middle of the first of which is at `y`; which way its cable goes."""

    plug: Plug
    side: str  # "left", "right", or "" without a cable
    lines: Lines
    y: float = 0.0
    height: float = 0.0
    x: float = 0.0  # where the cable begins


@dataclass
class PlacedBridge:
    """A bridge in its place."""

    bridge: Bridge
    lines: Lines
    rows: list[Row]
    head: bool = False  # its own lines stand above the ports, which are on both sides
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclass
class PlacedBox:
    """A box in its place."""

    box: Box
    column: int
    rows: list[Row] = field(default_factory=list)
    bridges: list[PlacedBridge] = field(default_factory=list)
    footer: Lines = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0

    def every_row(self) -> list[Row]:
        """Return the rows of its own interfaces and of its bridges' ports."""
        return [*self.rows, *(row for bridge in self.bridges for row in bridge.rows)]


@dataclass
class Layout:
    """A picture with every place known."""

    picture: Picture
    boxes: list[PlacedBox]
    cables: list[tuple[Cable, Row, Row]]
    width: float
    height: float


def layout_of(picture: Picture) -> Layout:
    """Return where everything of `picture` goes."""
    return _Placing(picture).run()


class _Placing:
    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.box = {box.name: box for box in picture.boxes}
        self.far: dict[End, End] = {}
        self.near: dict[str, list[str]] = {box.name: [] for box in picture.boxes}
        for cable in picture.cables:
            for here, there in (cable.ends, cable.ends[::-1]):
                self.far[here] = there
                if there[0] != here[0] and there[0] not in self.near[here[0]]:
                    self.near[here[0]].append(there[0])
        self.column: dict[str, int] = {}
        self.placed: dict[str, PlacedBox] = {}
        self.free: defaultdict[int, float] = defaultdict(float)

    def run(self) -> Layout:
        lonely = [box for box in self.picture.boxes if not self.near[box.name]]
        for box in self.picture.boxes:
            if self.near[box.name] and box.name not in self.column:
                self._columns_from(self._root_of(box.name))
                top = max(self.free.values(), default=MARGIN + self._caption())
                self.free.clear()
                self.free.default_factory = lambda top=top: top
                root = next(name for name in self.column if self.column[name] == 0 and name not in self.placed)
                self._place(root, top)
        width = self._across()
        bottom = self._place_lonely(lonely, width)
        cables = [
            (cable, self._row(cable.ends[0]), self._row(cable.ends[1])) for cable in self.picture.cables
        ]  # fmt: skip
        boxes = [self.placed[box.name] for box in self.picture.boxes]
        right = max((box.x + box.width for box in boxes), default=200.0) + self._loops(cables)
        return Layout(self.picture, boxes, cables, right + MARGIN, bottom + MARGIN)

    def _caption(self) -> float:
        return 26.0 if self.picture.caption else 0.0

    # which column

    def _root_of(self, name: str) -> str:
        members = self._component(name)
        if "host" in members:
            return "host"
        return max(members, key=lambda member: (len(self.near[member]), -list(self.box).index(member)))

    def _component(self, name: str) -> list[str]:
        members = [name]
        for member in members:
            members += [near for near in self.near[member] if near not in members]
        return members

    def _columns_from(self, root: str) -> None:
        self.column[root] = 0
        queue = [root]
        for name in queue:
            for near in self._children_in_order(name):
                if near not in self.column:
                    self.column[near] = self.column[name] + 1
                    queue.append(near)
        leaves = [name for name in queue[1:] if self.near[name] == [root]]
        if len(leaves) >= BOTH_SIDES_FROM and len(leaves) == len(queue) - 1:
            half = (len(leaves) + 1) // 2
            for name in leaves[:half]:
                self.column[name] = -1

    def _children_in_order(self, name: str) -> list[str]:
        box, order = self.box[name], list[str]()
        for plug in [*self._ports(box), *box.plugs]:
            other = self.far.get((name, plug.name), (name, ""))[0]
            if other not in order and other != name:
                order.append(other)
        return order

    def _ports(self, box: Box) -> list[Plug]:
        return [port for bridge in box.bridges for port in self._ports_in_order(box, bridge)]

    def _ports_in_order(self, box: Box, bridge: Bridge) -> list[Plug]:
        """Ports to boxes that another bridge reaches too stand at that bridge's side, so that cables cross less."""
        place = {port.name: index for index, one in enumerate(box.bridges) for port in one.ports}
        mine = box.bridges.index(bridge)
        reach: defaultdict[str, list[int]] = defaultdict(list)
        for port, index in place.items():
            if other := self.far.get((box.name, port)):
                reach[other[0]].append(index)

        def pull(port: Plug) -> int:
            other = self.far.get((box.name, port.name), ("", ""))[0]
            return sum((index > mine) - (index < mine) for index in reach.get(other, ()))

        return sorted(bridge.ports, key=pull)

    def _side(self, end: End) -> str:
        other = self.far.get(end)
        if other is None:
            return ""
        return "left" if self.column[other[0]] < self.column[end[0]] else "right"

    # how far down

    def _place(self, name: str, top: float) -> PlacedBox:
        box = self.box[name]
        placed = self.placed[name] = PlacedBox(box, self.column[name], y=top)
        y = top + _title_height(box)
        sides = {plug.name: self._side((name, plug.name)) for plug in box.every_plug()}
        first = [plug for plug in box.plugs if sides[plug.name] == "left"]
        rest = [plug for plug in box.plugs if sides[plug.name] != "left"]
        for plug in first:
            y = self._place_row(placed, placed.rows, plug, sides[plug.name], y)
        for bridge in box.bridges:
            y = self._place_bridge(placed, bridge, sides, y) + ROW_GAP
        for plug in sorted(rest, key=lambda plug: sides[plug.name] == ""):
            y = self._place_row(placed, placed.rows, plug, sides[plug.name], y)
        placed.footer = footer_lines(box)
        placed.height = y + len(placed.footer) * LINE + (2 if placed.footer else -ROW_GAP + PAD / 2) + PAD / 2 - top
        self.free[placed.column] = top + placed.height + GAP
        return placed

    def _place_row(self, placed: PlacedBox, rows: list[Row], plug: Plug, side: str, y: float) -> float:
        row = Row(plug, side, row_lines(plug), height=row_height(plug))
        row.y = y + LINE / 2
        end = (placed.box.name, plug.name)
        other = self.far.get(end)
        if other and other[0] not in self.placed and abs(self.column[other[0]]) > abs(placed.column):
            depth = self._depth_of(other)
            child = self._place(other[0], max(self.free[self.column[other[0]]], row.y - depth))
            row.y = max(row.y, child.y + depth)
        elif other and other[0] in self.placed and side:
            row.y = max(row.y, min(self._row(other).y, row.y + 400) if self._has_row(other) else row.y)
        rows.append(row)
        return row.y - LINE / 2 + row.height + ROW_GAP

    def _depth_of(self, end: End) -> float:
        """How far below its box's top an interface that faces left begins."""
        box = self.box[end[0]]
        y = _title_height(box) + LINE / 2
        for plug in box.plugs:
            if plug.name == end[1]:
                return y
            if self._side((box.name, plug.name)) == "left":
                y += row_height(plug) + ROW_GAP
        for bridge in box.bridges:
            y += PAD
            if len({self._side((box.name, port.name)) or "right" for port in bridge.ports}) == 2:
                y += len(in_lines(bridge_lines(bridge.plug))) * LINE + ROW_GAP
            for port in self._ports_in_order(box, bridge):
                if port.name == end[1]:
                    return y
        return y

    def _place_bridge(self, placed: PlacedBox, bridge: Bridge, sides: dict[str, str], top: float) -> float:
        lines = bridge_lines(bridge.plug)
        drawn = PlacedBridge(bridge, lines, [], y=top)
        placed.bridges.append(drawn)
        ports = self._ports_in_order(placed.box, bridge)
        drawn.head = len({sides[port.name] or "right" for port in ports}) == 2
        first = top + PAD + (len(in_lines(lines)) * LINE + ROW_GAP if drawn.head else 0)
        cursor = {"left": first, "right": first}
        for port in ports:
            side = sides[port.name] or "right"
            cursor[side] = self._place_row(placed, drawn.rows, port, side if sides[port.name] else "", cursor[side])
        bottom = max(*cursor.values(), top + PAD + len(in_lines(lines)) * LINE + ROW_GAP) - ROW_GAP + PAD
        drawn.height = bottom - top
        return bottom

    def _has_row(self, end: End) -> bool:
        return any(row.plug.name == end[1] for row in self.placed[end[0]].every_row())

    def _row(self, end: End) -> Row:
        return next(row for row in self.placed[end[0]].every_row() if row.plug.name == end[1])

    # how far across

    def _across(self) -> float:
        widths: defaultdict[int, float] = defaultdict(float)
        for placed in self.placed.values():
            widths[placed.column] = max(widths[placed.column], _box_width(placed))
        x, left = MARGIN, {}
        for column in sorted(widths):
            left[column] = x
            x += widths[column] + CHANNEL
        for placed in self.placed.values():
            placed.x, placed.width = left[placed.column], widths[placed.column]
            _spread(placed)
        return max(x - CHANNEL, 0.0)

    def _place_lonely(self, boxes: list[Box], width: float) -> float:
        """Boxes without cables: in rows below the others."""
        y = max(self.free.values(), default=MARGIN + self._caption())
        self.free.clear()
        x, tallest, limit = MARGIN, 0.0, max(width, 760.0)
        for box in boxes:
            self.column[box.name] = 0
            placed = self._place(box.name, y)
            placed.width = _box_width(placed)
            if x > MARGIN and x + placed.width > limit:
                x, y, tallest = MARGIN, y + tallest + GAP, 0.0
                placed = self._place(box.name, y)
                placed.width = _box_width(placed)
            placed.x = x
            _spread(placed)
            x += placed.width + GAP
            tallest = max(tallest, placed.height)
        return y + tallest if boxes else y - GAP

    def _loops(self, cables: list[tuple[Cable, Row, Row]]) -> float:
        """Room at the right for cables between boxes of the last column."""
        last = max((box.column for box in self.placed.values()), default=0)
        same = [cable for cable, *_ in cables if all(self.column[end[0]] == last for end in cable.ends)]
        return CHANNEL / 2 if same else 0.0


def _title_height(_: Box) -> float:
    return TITLE + PAD - 3


def _bridge_width(bridge: PlacedBridge) -> float:
    sides = {
        side: max((text_width(row.lines) + PAD for row in bridge.rows if (row.side or "right") == side), default=0)
        for side in ("left", "right")
    }
    own = text_width(bridge.lines) + 2 * PAD
    if all(sides.values()):
        return max(sides["left"] + 2 * PAD + sides["right"], own)
    return sides["left"] + own + sides["right"] + PAD


def _box_width(placed: PlacedBox) -> float:
    facts = ["", *placed.box.facts, placed.box.sign and f"{placed.box.sign} removed"]
    title = 8.8 * len(placed.box.name) + CHARACTER * len("   ".join(facts))
    widths = [title, *(text_width(row.lines) + 10 for row in placed.rows), *map(_bridge_width, placed.bridges)]
    return max(*widths, text_width(placed.footer), 96.0) + 2 * PAD


def _spread(placed: PlacedBox) -> None:
    """Give bridges and rows their place across, now that the box has its own."""
    for row in placed.rows:
        row.x = placed.x if row.side != "right" else placed.x + placed.width
    for bridge in placed.bridges:
        bridge.x, bridge.width = placed.x + PAD, placed.width - 2 * PAD
        for row in bridge.rows:
            row.x = bridge.x if row.side == "left" else bridge.x + bridge.width
