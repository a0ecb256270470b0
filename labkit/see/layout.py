"""Where does everything go? Boxes in columns, left to right, by how many cables they are from the first one.

Cables then run from left to right between neighbouring columns. A bridge stretches so that each of its ports sits
beside the interface that it leads to, and most cables are straight. A host with many containers has them on both
sides. Pods stand inside their node, one above the other, at the right of what leads to them. Tunnels run in lanes
between the columns. The same picture always gets the same places.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from labkit.see.lanes import Trunk, branch, buses, lanes_in, place_labels, trunks_of
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

__all__ = ["CHANNEL", "PAD", "TITLE", "Layout", "PlacedBox", "PlacedBridge", "Row", "layout_of"]

TITLE, PAD, GAP, ROW_GAP = 28.0, 14.0, 16.0, 9.0
MARGIN, CHANNEL, INNER = 20.0, 84.0, 56.0
SHEETS = 8.0  # by which a box that stands for many sticks out
CHAIN_FROM = 4  # boxes in a row
_BELOW = 2  # the rank of what leads out below the pods
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
    out: float = 0.0  # where it leaves the box that it must cross first: a node, below its pods
    inner: bool = False  # the cable leads to a box inside this one


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
    inside: float = 0.0  # the width at its right that is its pods'

    def every_row(self) -> list[Row]:
        """Return the rows of its own interfaces and of its bridges' ports."""
        return [*self.rows, *(row for bridge in self.bridges for row in bridge.rows)]


@dataclass
class Layout:
    """A picture with every place known. Boxes inside a box come right after it."""

    picture: Picture
    boxes: list[PlacedBox]
    cables: list[tuple[Cable, Row, Row]]
    width: float
    height: float
    trunks: list[Trunk] = field(default_factory=list)
    loops: list[float] = field(default_factory=list)  # of each cable, how far beside its two ends it reaches


def layout_of(picture: Picture) -> Layout:
    """Return where everything of `picture` goes."""
    return _Placing(picture).run()


class _Placing:
    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.boxes = picture.parents_first()
        self.box = {box.name: box for box in self.boxes}
        self.pods: defaultdict[str, list[str]] = defaultdict(list)
        for box in self.boxes:
            if box.parent:
                self.pods[box.parent].append(box.name)
        self.far: dict[End, End] = {}  # of several that sit on one link, the first
        self.more: defaultdict[End, list[End]] = defaultdict(list)  # the others
        self.near: dict[str, list[str]] = {box.name: [] for box in self.boxes if not box.parent}
        for cable in picture.cables:
            for here, there in (cable.ends, cable.ends[::-1]):
                self._join(here, there)
        self.trunks = trunks_of(picture)
        for trunk in self.trunks:
            self._keep_together(trunk)
        self.order = {box.name: index for index, box in enumerate(self.boxes)}
        self.column: dict[str, int] = {}
        self.placed: dict[str, PlacedBox] = {}
        self.rows: dict[End, Row] = {}
        self.free: defaultdict[int | str, float] = defaultdict(float)  # by column, or by node for its pods

    def _join(self, here: End, there: End) -> None:
        if here in self.far:
            self.more[here].append(there)
        self.far.setdefault(here, there)
        mine, other = self._outermost(here[0]), self._outermost(there[0])
        if mine != other and other not in self.near[mine]:
            self.near[mine].append(other)

    def _keep_together(self, trunk: Trunk) -> None:
        """A box with tunnels only stands where those with cables stand, not with the lonely ones."""
        boxes = list(dict.fromkeys(self._outermost(name) for name, _ in trunk.ends))
        for name in boxes:
            others = [other for other in boxes if other != name]
            if others and not self.near[name]:
                self.near[name] = others[:1]
                self.near[others[0]].append(name)

    def _outermost(self, name: str) -> str:
        return self.box[name].parent or name

    def run(self) -> Layout:
        top_level = [box for box in self.boxes if not box.parent]
        lonely = [box for box in top_level if not self.near[box.name]]
        for root in self._roots(top_level):
            self._start_below(max(self.free.values(), default=MARGIN + self._caption()))
            self._place(root, self.top)
            for name in self._component(root):
                if name not in self.placed:  # no cable that leads further leads to it
                    self._place(name, self.free[self.column[name]])
        width = self._across()
        bottom = self._place_lonely(lonely, width)
        cables = [(cable, self.rows[cable.ends[0]], self.rows[cable.ends[1]]) for cable in self.picture.cables]
        boxes = [self.placed[box.name] for box in self.boxes]
        loops = _loops(cables)
        right = max((box.x + box.width for box in boxes), default=200.0) + self._beside(cables, loops)
        right = max(right, *(self._right_of(trunk) for trunk in self.trunks), 0.0)
        return Layout(self.picture, boxes, cables, right + MARGIN, bottom + MARGIN, self.trunks, loops)

    def _start_below(self, top: float) -> None:
        self.top = top
        self.free.clear()
        self.free.default_factory = lambda: top

    def _caption(self) -> float:
        return 26.0 if self.picture.caption else 0.0

    def _right_of(self, trunk: Trunk) -> float:
        return max(lane.x + 8 + CHARACTER * len(lane.label) for lane in trunk.lanes)

    # which column

    def _roots(self, boxes: list[Box]) -> list[str]:
        """Give every box with a cable its column, and return where each of the separate networks begins."""
        roots = []
        for box in boxes:
            if self.near[box.name] and box.name not in self.column:
                roots.append(self._root_of(box.name))
                self._columns_from(roots[-1])
        return roots

    def _root_of(self, name: str) -> str:
        """The host; else an end of a chain of four or more; else the box with the most neighbours."""
        members = self._component(name)
        if "host" in members:
            return "host"
        ends = [member for member in members if len(self.near[member]) == 1]
        if len(members) >= CHAIN_FROM and len(ends) == 2 and all(len(self.near[one]) <= 2 for one in members):
            return min(ends, key=self.order.__getitem__)
        return max(members, key=lambda member: (len(self.near[member]), -self.order[member]))

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
        leaves = [name for name in queue[1:] if self.near[name] == [root] and not self.pods[name]]
        many = len(leaves) >= BOTH_SIDES_FROM and len(leaves) == len(queue) - 1
        if many and not self.trunks and not self.more:
            half = (len(leaves) + 1) // 2
            for name in leaves[:half]:
                self.column[name] = -1

    def _children_in_order(self, name: str) -> list[str]:
        box, order = self.box[name], list[str]()
        for plug in [*self._ports(box), *box.plugs]:
            other = self._outermost(self.far.get((name, plug.name), (name, ""))[0])
            if other not in order and other in self.near:
                order.append(other)
        return [other for other in (*order, *self.near[name]) if other != name]

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

        def pull(port: Plug) -> tuple[bool, int]:
            other = self.far.get((box.name, port.name), ("", ""))[0]
            inwards = bool(self.pods[box.name]) and other in self.pods[box.name]
            return not inwards, sum((index > mine) - (index < mine) for index in reach.get(other, ()))

        return sorted(bridge.ports, key=pull)

    def _side(self, end: End) -> str:
        other = self.far.get(end)
        if other is None:
            return self._tunnel_side(end)
        if self._is_inner(other, end):
            return "left"
        mine, its = self._column(end[0]), self._column(other[0])
        return "left" if its < mine else "right"

    def _tunnel_side(self, end: End) -> str:
        ends = [other for trunk in self.trunks if end in trunk.ends for other in trunk.ends if other != end]
        columns = [self._column(name) for name, _ in ends]
        return "" if not ends else "left" if max(columns) < self._column(end[0]) else "right"

    def _is_inner(self, end: End, other: End | None) -> bool:
        """Whether what leads from `end` to `other` leads into a box inside this one."""
        return other is not None and self.box[other[0]].parent == end[0]

    def _column(self, name: str) -> int:
        return self.column[self._outermost(name)]

    # how far down

    def _place(self, name: str, top: float) -> PlacedBox:
        box = self.box[name]
        placed = self.placed[name] = PlacedBox(box, self._column(name), y=top)
        y = top + _title_height(box)
        self.free[name] = y - 3
        sides = {plug.name: self._side((name, plug.name)) for plug in box.every_plug()}
        first = [plug for plug in box.plugs if sides[plug.name] == "left"]
        rest = [plug for plug in box.plugs if sides[plug.name] != "left"]
        for plug in first:
            y = self._place_row(placed, placed.rows, plug, sides[plug.name], y)
        for bridge in box.bridges:
            y = self._place_bridge(placed, bridge, sides, y) + ROW_GAP
        ranked = sorted(rest, key=lambda plug: self._rank(name, plug, sides))
        below = [plug for plug in ranked if self._rank(name, plug, sides) == _BELOW]
        for plug in ranked[: len(ranked) - len(below)]:
            y = self._place_row(placed, placed.rows, plug, sides[plug.name], y)
        placed.footer = footer_lines(box)
        bottom = y + len(placed.footer) * LINE + (2 if placed.footer else -ROW_GAP + PAD / 2) + PAD / 2
        for plug in below:
            y = self._place_row(placed, placed.rows, plug, sides[plug.name], y)
            bottom = max(bottom, y - ROW_GAP + PAD)
        for pod in self.pods[name]:
            if pod not in self.placed:
                self._place(pod, self.free[name])
            bottom = max(bottom, self.free[name] - GAP + PAD)
        placed.height = bottom - top
        self.free[box.parent or placed.column] = bottom + GAP + (SHEETS if box.more and box.parent else 0)
        return placed

    def _rank(self, name: str, plug: Plug, sides: dict[str, str]) -> int:
        """Interfaces with a cable first; but where there are pods, what leads out passes below them, at the right of
        the footer."""
        end = (name, plug.name)
        if self.pods[name]:
            return 0 if self._is_inner(end, self.far.get(end)) else 1 if not sides[plug.name] else _BELOW
        return int(sides[plug.name] == "")

    def _place_row(self, placed: PlacedBox, rows: list[Row], plug: Plug, side: str, y: float) -> float:
        row = Row(plug, side, row_lines(plug), height=row_height(plug))
        name, end = placed.box.name, (placed.box.name, plug.name)
        other = self.far.get(end)
        row.inner = self._is_inner(end, other)
        passes = side == "right" and not row.inner and bool(self.pods[name])
        row.y = (max(y, self.free[name] - GAP + ROW_GAP) if passes else y) + LINE / 2
        for there in (other, *self.more.get(end, ())) if other else ():
            if there[0] not in self.placed and self._is_further(there, placed, row):
                depth = self._depth_of(there)
                free = self.free[name if row.inner else self._column(there[0])]
                child = self._place(there[0], max(free, row.y - depth))
                row.y = max(row.y, child.y + depth) if there == other else row.y
            elif there == other and there in self.rows and side:
                row.y = max(row.y, min(self.rows[there].y, row.y + 400))
        rows.append(row)
        self.rows[end] = row
        bottom = row.y - LINE / 2 + row.height + ROW_GAP
        if passes:
            self.free[name] = max(self.free[name], bottom)
        return bottom

    def _is_further(self, other: End, placed: PlacedBox, row: Row) -> bool:
        """Whether the box at the other end has its place found from here: it is inside, or further from the first."""
        return row.inner or (other[0] in self.near and abs(self._column(other[0])) > abs(placed.column))

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

    # how far across

    def _across(self) -> float:
        widths: defaultdict[int, float] = defaultdict(float)
        for placed in self.placed.values():
            if not placed.box.parent:
                widths[placed.column] = max(widths[placed.column], self._whole_width(placed))
        lanes = lanes_in(self.trunks, self._channel, lambda end: self.rows[end].y)
        x, left = MARGIN, {}
        for column in sorted(widths):
            left[column] = x
            x += widths[column] + CHANNEL + lanes.get(column, 0.0)
        for placed in list(self.placed.values()):
            if not placed.box.parent:
                self._set_across(placed, left[placed.column], widths[placed.column])
        for lane in (lane for trunk in self.trunks for lane in trunk.lanes):
            lane.x = left[lane.channel] + widths[lane.channel] + lane.at
        branch(self.trunks, self._channel, lambda end: (self.rows[end].x, self.rows[end].y))
        return max(x - CHANNEL, 0.0)

    def _channel(self, end: End) -> int:
        """Return the column to the right of which a tunnel leaves this interface."""
        return self._column(end[0]) - (self.rows[end].side == "left")

    def _whole_width(self, placed: PlacedBox) -> float:
        """Return how wide a box is, its pods included."""
        if self.pods[placed.box.name]:
            placed.inside = self._pods_width(placed.column) + INNER
        own, outer = _box_width(placed)
        return max(own + placed.inside, outer)

    def _pods_width(self, column: int) -> float:
        """The same for all nodes of a column, so that pods stand one below the other."""
        pods = [placed for placed in self.placed.values() if placed.box.parent and placed.column == column]
        return max(max(_box_width(pod)) for pod in pods)

    def _set_across(self, placed: PlacedBox, x: float, width: float) -> None:
        placed.x, placed.width = x, width
        _spread(placed)
        for pod in self.pods[placed.box.name]:
            wide = placed.inside - INNER
            self._set_across(self.placed[pod], x + width - PAD - wide, wide)

    def _place_lonely(self, boxes: list[Box], width: float) -> float:
        """Boxes without cables: in rows below the others."""
        y = max(self.free.values(), default=MARGIN + self._caption())
        y = buses(self.trunks, y)
        place_labels(self.trunks)
        self.free.clear()
        x, tallest, limit = MARGIN, 0.0, max(width, 760.0)
        for box in boxes:
            self.column[box.name] = 0
            placed = self._place(box.name, y)
            wide = self._whole_width(placed)
            if x > MARGIN and x + wide > limit:
                x, y, tallest = MARGIN, y + tallest + GAP, 0.0
                placed = self._place(box.name, y)
            self._set_across(placed, x, wide)
            x += wide + GAP
            tallest = max(tallest, placed.height)
        return y + tallest if boxes else y - GAP

    def _beside(self, cables: list[tuple[Cable, Row, Row]], loops: list[float]) -> float:
        """Room at the right for cables between boxes of the last column."""
        last = max((box.column for box in self.placed.values()), default=0)
        reach = [
            reach
            for (cable, *_), reach in zip(cables, loops, strict=True)
            if reach and all(self._column(name) == last for name, _ in cable.ends)
        ]
        return max(CHANNEL / 2, 0.75 * max(reach)) if reach else 0.0


def _loops(cables: list[tuple[Cable, Row, Row]]) -> list[float]:
    """Return how far each cable between two boxes of one column reaches: the longer it is, the further."""
    length = {index: abs(one.y - other.y) for index, (_, one, other) in enumerate(cables) if one.side == other.side}
    order = sorted(length, key=lambda index: (length[index], index))
    return [35.0 + 9 * order.index(index) if index in length else 0.0 for index in range(len(cables))]


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


def _box_width(placed: PlacedBox) -> tuple[float, float]:
    """Return how wide a box is for what stands beside its pods, and for what stands above or below them."""
    facts = ["", *placed.box.facts, placed.box.sign and f"{placed.box.sign} removed"]
    title = 8.8 * len(placed.box.name) + CHARACTER * len("   ".join(facts))
    rows = [(row.inner or row.side != "right", text_width(row.lines) + 10) for row in placed.rows]
    footer = text_width(placed.footer)
    beside = max(footer, *map(_bridge_width, placed.bridges), *(wide for is_beside, wide in rows if is_beside), 0.0)
    below = max((wide for is_beside, wide in rows if not is_beside), default=0.0)
    if placed.inside and footer and below:
        below += footer + 2 * PAD
    return beside + 2 * PAD, max(below, title, 96.0) + 2 * PAD


def _spread(placed: PlacedBox) -> None:
    """Give bridges and rows their place across, now that the box has its own."""
    own = placed.width - placed.inside
    for row in placed.rows:
        row.x = placed.x + (0 if row.side != "right" else own - PAD if row.inner else placed.width)
    for bridge in placed.bridges:
        bridge.x, bridge.width = placed.x + PAD, own - 2 * PAD
        for row in bridge.rows:
            row.x = bridge.x if row.side == "left" else bridge.x + bridge.width
    for row in placed.every_row():
        crosses = placed.inside and row.side == "right" and not row.inner
        row.out = placed.x + placed.width if crosses else row.x
