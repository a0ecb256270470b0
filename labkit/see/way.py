"""Where does the way of a packet run on the picture? Beads at the interfaces, lanes along the cables.

The request runs in one lane of a cable, as a full line with round beads; the answer in another, dashed, with square
beads. Inside a namespace a broad band joins the interfaces. Where the packet died there is a cross, and words."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from html import escape, unescape
from string import Template

from labkit.see.from_snapshot import picture_of_snapshot
from labkit.see.layout import Layout, layout_of
from labkit.see.nest import settled
from labkit.see.picture import Box, Bridge, End, Picture, Plug
from labkit.see.svg import parts_of, text
from labkit.tracing.records import Hop, Leg, Trace

__all__ = ["arrow", "bead", "picture_of_trace", "way_of"]

FEW = 6  # namespaces that are drawn, touched or not
_APART = 11.0  # from a cable to a lane beside it
_KINDS = {"no_route": "no route", "forwarding_off": "forwarding is off", "neighbour": "no neighbour", "mtu": "too big",
          "ttl": "TTL used up", "link_down": "link down", "no_listener": "nobody listens",
          "unknown": "for a reason that is not known"}  # fmt: skip

_FORM = (
    ".lk .way{fill:none;stroke-width:3}.lk .way.answer{stroke-dasharray:7 4}"
    ".lk .way.within{stroke-width:8;opacity:.2;stroke-dasharray:none}.lk .arrow{stroke:none}"
    ".lk .way.copy{stroke-width:2;opacity:1;stroke-dasharray:1 5;stroke-linecap:round}"
    ".lk .bead{stroke-width:2}.lk .hop text{font-size:11px;font-weight:700}.lk .cross{fill:none;stroke-width:4}"
    ".lk .halo{fill:none;stroke-width:8}"
)
_COLOURS = Template(
    ".lk .way.request,.lk .bead.request{stroke:$request}.lk .arrow.request,.lk .bead.request{fill:$request}"
    ".lk .way.answer,.lk .bead.answer{stroke:$answer}.lk .arrow.answer,.lk .bead.answer{fill:$answer}"
    ".lk .hop text{fill:$page}.lk .bead.copy{fill:$page}.lk .hop .request.copy+text{fill:$request}"
    ".lk .hop .answer.copy+text{fill:$answer}.lk .cross{stroke:$bad}.lk .halo{stroke:$page}"
)
_LIGHT = {"request": "#0550ae", "answer": "#a0256b", "page": "#fff", "bad": "#b34700"}
_DARK = {"request": "#79c0ff", "answer": "#f9a1cb", "page": "#0d1117", "bad": "#ffa657"}
WAY_STYLE = (
    f"<style>{_FORM}\n{_COLOURS.substitute(_LIGHT)}\n"
    f"@media(prefers-color-scheme:dark){{{_COLOURS.substitute(_DARK)}}}</style>"
)

Point = tuple[float, float]


Cubic = tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True)
class Curve:
    """One or more cubic Bézier curves, end to end; a straight line is one too."""

    parts: tuple[Cubic, ...]

    def at(self, t: float) -> Point:
        """Return the point at `t`, from 0 to 1 of the way."""
        lengths = [math.dist(part[0], part[3]) or 1e-9 for part in self.parts]
        left = t * sum(lengths)
        for part, length in zip(self.parts, lengths, strict=True):
            if left <= length or part is self.parts[-1]:
                break
            left -= length
        return _point(part, left / length)

    def angle(self, t: float) -> float:
        """Return its direction at `t`, in degrees."""
        (x, y), (further_x, further_y) = self.at(t - 0.01), self.at(t + 0.01)
        return math.degrees(math.atan2(further_y - y, further_x - x))

    def moved(self, down: float) -> Curve:
        """Return it, further down."""
        return Curve(tuple(_cubic([(x, y + down) for x, y in part]) for part in self.parts))

    def reversed(self) -> Curve:
        """Return it in the other direction."""
        return Curve(tuple(_cubic(list(part[::-1])) for part in self.parts[::-1]))

    @property
    def ends(self) -> tuple[Point, Point]:
        """The two points that it joins."""
        return self.parts[0][0], self.parts[-1][3]

    @property
    def path(self) -> str:
        """As SVG writes it."""
        x, y = self.parts[0][0]
        return f"M{x:.1f} {y:.1f}" + "".join(
            "C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in part[1:]) for part in self.parts
        )


def _cubic(points: list[Point]) -> Cubic:
    one, two, three, four = points
    return one, two, three, four


def _point(part: Cubic, t: float) -> Point:
    weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
    x, y = (sum(weight * point[axis] for weight, point in zip(weights, part, strict=True)) for axis in (0, 1))
    return x, y


def picture_of_trace(trace: Trace) -> Picture:
    """Return what the packet touched of the network, and what lies between there and where it was to go; all of it
    when that is little. Where it was lost it says so."""
    whole = picture_of_snapshot(trace.snapshot)
    kept = {box.name for box in whole.boxes}
    if len(kept) > FEW:
        kept &= _touched(trace, whole)
    seen = {(hop.namespace, hop.interface) for hop in trace.hops}
    boxes = [
        _noted(trace, _with_what_was_seen(_trimmed(whole, box, kept, seen), seen))
        for box in whole.boxes
        if box.name in kept
    ]
    cables = [cable for cable in whole.cables if all(name in kept for name, _ in cable.ends)]
    title = f"{trace.what} from {trace.source}: {trace.verdict}"
    tunnels = [tunnel for tunnel in whole.tunnels if all(name in kept for name, _ in tunnel.ends)]
    drawn = Picture(tuple(boxes), tuple(cables), title, title, tuple(tunnels))
    return settled(drawn)


def _touched(trace: Trace, picture: Picture) -> set[str]:
    touched = {trace.source, *(hop.namespace for hop in trace.hops)}
    touched |= {trace.cause.namespace} if trace.cause else set()
    aims = {hop.headers.dst for hop in trace.request}
    aimed = [
        box.name
        for box in picture.boxes
        if any(address.split("/")[0] in aims for plug in box.every_plug() for address in plug.addresses)
    ]
    for name in aimed:
        touched |= _between(picture, touched, name)
    return touched


def _between(picture: Picture, here: set[str], there: str) -> set[str]:
    """Return the boxes on a shortest way from any of `here`, `there` included."""
    near: defaultdict[str, list[str]] = defaultdict(list)
    for cable in picture.cables:
        (one, _), (other, _) = cable.ends
        near[one].append(other)
        near[other].append(one)
    came_from = {there: ""}
    queue = [there]
    for name in queue:
        if name in here:
            break
        for other in near[name]:
            if other not in came_from:
                came_from[other] = name
                queue.append(other)
    else:
        return {there}
    found = {name}
    while name := came_from[name]:
        found.add(name)
    return found


def _trimmed(picture: Picture, box: Box, kept: set[str], seen: set[End]) -> Box:
    """Return the box without the ends of cables to what is not drawn; a bridge says how many ports more it has."""
    away = {
        here
        for cable in picture.cables
        for here, there in (cable.ends, cable.ends[::-1])
        if there[0] not in kept and here not in seen
    }

    def stays(plug: Plug) -> bool:
        return (box.name, plug.name) not in away

    def bridge(one: Bridge) -> Bridge:
        ports = tuple(filter(stays, one.ports))
        gone = len(one.ports) - len(ports)
        more = (Plug(f"{gone} more port{'' if gone == 1 else 's'}", "veth"),) if gone else ()
        return replace(one, ports=(*ports, *more))

    return replace(box, plugs=tuple(filter(stays, box.plugs)), bridges=tuple(map(bridge, box.bridges)))


def _with_what_was_seen(box: Box, seen: set[End]) -> Box:
    """Return the box with every interface that saw the packet: lo, which is otherwise left out, or one that is gone."""
    there = {plug.name for plug in box.every_plug()}
    missing = sorted(name for namespace, name in seen if namespace == box.name and name not in there)
    return replace(box, plugs=(*box.plugs, *(Plug(name, "loopback") for name in missing)))


def _noted(trace: Trace, box: Box) -> Box:
    cause = trace.cause
    if cause is None or cause.namespace != box.name:
        return box
    what = "packet" if cause.leg == "request" else "answer"
    note = ("✕", f"the {what} ended here: {_KINDS.get(cause.kind, cause.kind)}")
    if not any(plug.name == cause.interface for plug in box.every_plug()):
        return replace(box, notes=(*box.notes, note))

    def marked(plug: Plug) -> Plug:
        return replace(plug, notes=(*plug.notes, note)) if plug.name == cause.interface else plug

    bridges = tuple(replace(one, plug=marked(one.plug), ports=tuple(map(marked, one.ports))) for one in box.bridges)
    return replace(box, plugs=tuple(map(marked, box.plugs)), bridges=bridges)


def way_of(trace: Trace) -> tuple[Layout, list[str]]:
    """Return the layout of the picture, and its parts with the way of the packet on it."""
    layout = layout_of(picture_of_trace(trace))
    parts = parts_of(layout)
    caption = layout.picture.caption
    drawn = [text(20, 30, "t", caption) if part == text(20, 30, "s", caption) else part for part in parts]
    way = _Way(trace, layout, parts)
    return layout, [WAY_STYLE, *_beneath(drawn, way.bands()), *way.parts()]


def _beneath(parts: list[str], bands: dict[str, list[str]]) -> list[str]:
    """Return the parts with each namespace's bands on its box, beneath the boxes inside it, which come after it."""
    placed, here, depth = list[str](), "", 0
    for part in parts:
        placed.append(part)
        if part.startswith("<g ") and not part.endswith("</g>"):
            named = re.match(r'<g data-namespace="([^"]*)"', part)
            here = unescape(named[1]) if named else here
            depth += 1
        elif part == "</g>":
            depth -= 1
            placed += bands.get(here, []) if depth == 0 else []
    return placed


class _Way:
    """Lanes and beads. `data-way` and `data-hop` are the number of the hop that they lead to."""

    def __init__(self, trace: Trace, layout: Layout, parts: list[str]) -> None:
        self.trace = trace
        self.anchors = dict(_anchors(layout))
        self.cables = dict(_cables(layout, "\n".join(parts), self.anchors))
        self.legs: defaultdict[frozenset[End], set[str]] = defaultdict(set)
        self.steps = list(enumerate(trace.hops, 1))
        self.before = {number: self._before(number) for number, _ in self.steps}
        for _, hop in self.steps:
            if cable := self._cable_at(_end(hop)):
                self.legs[cable].add(hop.leg)
        self.beads: defaultdict[object, int] = defaultdict(int)
        self.lost_at = self._end_of_it()

    def bands(self) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for number, hop in self.steps:
            found[hop.namespace] += self._band(number, hop)
        return found

    def parts(self) -> list[str]:
        lanes = [part for number, hop in self.steps for part in self._lane(number, hop)]
        beads = [part for number, hop in self.steps for part in self._bead(number, hop)]
        return [*lanes, *beads, *self._cross()]

    def _before(self, number: int) -> Hop | None:
        """Return the hop that this one follows from: at the other end of the cable, or in the same namespace."""
        hop = self.trace.hops[number - 1]
        earlier = [one for one in self.trace.hops[: number - 1] if one.leg == hop.leg and (hop.copy or not one.copy)]
        across = self.cables.keys()
        for one in reversed(earlier):
            if frozenset((_end(one), _end(hop))) in across and hop.direction == "in" and one.direction == "out":
                return one
        same = [one for one in earlier if one.namespace == hop.namespace and not (one.copy and one.direction == "out")]
        if hop.copy:
            return same[-1] if same and hop.direction == "out" else None
        return same[-1] if same and same[-1] is earlier[-1] else None

    def _cable_at(self, end: End) -> frozenset[End] | None:
        return next((ends for ends in self.cables if end in ends), None)

    def _shift(self, cable: frozenset[End] | None, leg: str) -> float:
        both = cable is not None and len(self.legs[cable]) == 2
        return 0.0 if not both else -_APART if leg == "request" else _APART

    def _ends_of(self, number: int, hop: Hop) -> tuple[End, End] | None:
        """Return the interfaces between which the packet came to a hop, if both are drawn."""
        before = self.before[number]
        if before is None or _end(before) not in self.anchors or _end(hop) not in self.anchors:
            return None
        return _end(before), _end(hop)

    def _band(self, number: int, hop: Hop) -> list[str]:
        ends = self._ends_of(number, hop)
        if ends is None or frozenset(ends) in self.cables:
            return []
        start, stop = ends
        shifts = self._shift_at(start, hop.leg), self._shift_at(stop, hop.leg)
        curve = _within(self.anchors[start], self.anchors[stop], *shifts)
        return [f'<path class="{_kind(hop)} within" data-way="{number}" d="{curve.path}"/>']

    def _lane(self, number: int, hop: Hop) -> list[str]:
        ends = self._ends_of(number, hop)
        if ends is None or frozenset(ends) not in self.cables:
            return []
        cable = frozenset(ends)
        curve = _towards(self.cables[cable], self.anchors[ends[1]]).moved(self._shift(cable, hop.leg))
        (x, y), turn = curve.at(0.54), curve.angle(0.54)
        path = f'<path class="{_kind(hop)}" data-way="{number}" d="{curve.path}"/>'
        return [path, *arrow(hop.leg, x, y, turn, number)]

    def _shift_at(self, end: End, leg: str) -> float:
        return self._shift(self._cable_at(end), leg)

    def _bead(self, number: int, hop: Hop) -> list[str]:
        end = _end(hop)
        if end not in self.anchors:
            return []
        anchor, cable = self.anchors[end], self._cable_at(end)
        place = self.beads[end, hop.leg if cable else ""]
        self.beads[end, hop.leg if cable else ""] += 1
        if cable:
            curve = _towards(self.cables[cable], anchor).reversed().moved(self._shift(cable, hop.leg))
            x, y = curve.at((0.21 if end == self.lost_at else 0.13) + 0.2 * place)
        else:
            place += end == self.lost_at  # the cross has the first place
            x, y = anchor.x + 21 * place * (-1 if anchor.side == "left" else 1), anchor.y
        return bead(number, hop, x, y)

    def _end_of_it(self) -> End | None:
        """Return the interface where it died: the one to blame, else the last that saw it in that namespace."""
        cause = self.trace.cause
        if cause is None:
            return None
        hops = [hop for hop in self.trace.hops if hop.leg == cause.leg and not hop.copy]
        last = next((_end(hop) for hop in reversed(hops) if hop.namespace == cause.namespace), None)
        blamed = (cause.namespace, cause.interface or "")
        return blamed if blamed in self.anchors else last if last in self.anchors else None

    def _cross(self) -> list[str]:
        if self.lost_at is None:
            return []
        anchor = self.anchors[self.lost_at]
        cross = f"M{anchor.x - 7:.1f} {anchor.y - 7:.1f}l14 14m0 -14l-14 14"
        return [f'<path class="halo" d="{cross}"/>', f'<path class="cross" d="{cross}"/>']


@dataclass(frozen=True, slots=True)
class _Anchor:
    """Where an interface is on the picture, and which way its cable leaves: "left", "right" or "" (none)."""

    x: float
    y: float
    side: str


def _kind(hop: Hop) -> str:
    return f"way {hop.leg}{' copy' if hop.copy else ''}"


def _end(hop: Hop) -> End:
    return hop.namespace, hop.interface


def _anchors(layout: Layout) -> list[tuple[End, _Anchor]]:
    found = []
    for box in layout.boxes:
        for bridge in box.bridges:
            found.append(((box.box.name, bridge.bridge.plug.name), _Anchor(bridge.x + bridge.width / 2, bridge.y, "")))
            for row in bridge.rows:
                x = row.x if row.side else bridge.x + bridge.width
                found.append(((box.box.name, row.plug.name), _Anchor(x, row.y, row.side)))
        for row in box.rows:
            x = row.x if row.side else box.x + box.width
            found.append(((box.box.name, row.plug.name), _Anchor(x, row.y, row.side)))
    return found


def _cables(layout: Layout, drawn: str, anchors: dict[End, _Anchor]) -> list[tuple[frozenset[End], Curve]]:
    """Return the curve of every cable, as it was drawn."""
    paths = dict(re.findall(r'<path class="cable[^"]*" d="([^"]*)" data-ends="([^"]*)"', drawn))
    by_ends = {ends: path for path, ends in paths.items()}
    found = []
    for cable, *_ in layout.cables:
        named = escape(" ".join(f"{box}/{plug}" for box, plug in cable.ends))
        one, other = (anchors[end] for end in cable.ends)
        found.append((frozenset(cable.ends), _curve(by_ends.get(named, ""), one, other)))
    return found


def _curve(path: str, one: _Anchor, other: _Anchor) -> Curve:
    """Read a path of M, H, V, L and C; without one, return a curve between the two places."""
    parts, here = list[Cubic](), (0.0, 0.0)
    for letter, told in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", told)]
        if letter not in "MHVLC":
            parts = []
            break
        x, y = here
        to = {"H": [*numbers, y], "V": [x, *numbers]}.get(letter, numbers)
        points = list(zip(to[::2], to[1::2], strict=True))
        if letter == "C":
            parts.append(_cubic([here, *points]))
        elif letter != "M":
            middle = ((x + points[0][0]) / 2, (y + points[0][1]) / 2)
            parts.append((here, middle, middle, points[0]))
        here = points[-1]
    if parts:
        return Curve(tuple(parts))
    bend = (one.x + other.x) / 2
    return Curve((((one.x, one.y), (bend, one.y), (bend, other.y), (other.x, other.y)),))


def _towards(curve: Curve, anchor: _Anchor) -> Curve:
    """Return the curve in the direction that ends at `anchor`."""
    begins, ends = (math.dist(point, (anchor.x, anchor.y)) for point in curve.ends)
    return curve.reversed() if begins < ends else curve


def _within(one: _Anchor, other: _Anchor, shift: float, other_shift: float) -> Curve:
    """Return a curve between two interfaces of a namespace, that bends into its box."""
    reach = 46.0 if abs(one.x - other.x) < 60 else min(abs(one.x - other.x) / 2, 90.0)

    def inwards(anchor: _Anchor, facing: _Anchor) -> float:
        if anchor.side == "left":
            return anchor.x + reach
        if anchor.side == "right" or facing.x <= anchor.x:
            return anchor.x - reach
        return anchor.x + reach

    start, stop = (one.x, one.y + shift), (other.x, other.y + other_shift)
    return Curve(((start, (inwards(one, other), start[1]), (inwards(other, one), stop[1]), stop),))


def arrow(leg: Leg, x: float, y: float, turn: float, number: int = 0) -> list[str]:
    """Return the head of an arrow, turned by some degrees, on the way to hop `number`."""
    place = f"translate({x:.1f} {y:.1f})" + (f" rotate({turn:.0f})" if round(turn) else "")
    named = f' data-way="{number}"' if number else ""
    return [f'<path class="arrow {leg}"{named} d="M-7 -6L7 0L-7 6z" transform="{place}"/>']


def bead(number: int, hop: Hop, x: float, y: float) -> list[str]:
    """Return the number of a hop, in a circle (request) or a square (answer); a copy's is hollow."""
    kind = f"bead {hop.leg}{' copy' if hop.copy else ''}"
    form = (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
        if hop.leg == "request"
        else f'<rect class="{kind}" x="{x - 9:.1f}" y="{y - 9:.1f}" width="18" height="18" rx="3"/>'
    )
    return [
        f'<g class="hop" data-hop="{number}">{form}{text(round(x, 1), round(y + 4, 1), "", str(number), "middle")}</g>'
    ]
