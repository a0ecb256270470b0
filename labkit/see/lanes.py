"""Where do tunnels run? Each in a lane between two columns of boxes, out of the way of cables, with a label beside it.

Tunnels of one network that lead from each of its ends to each other are one trunk: one lane and a branch to every
end. Any other tunnel is a trunk of two ends, so that a pair without a tunnel shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from labkit.see.measure import CHARACTER
from labkit.see.picture import End, Picture, Tunnel, state_between

__all__ = ["Branch", "Lane", "Trunk", "branch", "buses", "lanes_in", "place_labels", "trunks_of"]

FIRST, LANE, BRANCHES, BUS = 20.0, 16.0, 10.0, 14.0


@dataclass(frozen=True, slots=True)
class Branch:
    """From an interface's place to a lane."""

    end: End
    x: float
    y: float


@dataclass
class Lane:
    """The part of a trunk in one channel, the room right of a column: a vertical line and its branches.

    `at`: how far from the channel's left edge, until `x` is known. `label` is written at its right."""

    channel: int
    at: float
    branches: list[Branch] = field(default_factory=list)
    label: str = ""
    x: float = 0.0
    label_y: float = 0.0

    @property
    def is_straight(self) -> bool:
        """Whether it joins two interfaces that face each other at one height."""
        one, *others = self.branches
        return len(others) == 1 and one.y == others[0].y and (one.x < self.x) != (others[0].x < self.x)


@dataclass
class Trunk:
    """One or more tunnels drawn as one line. `words`: what is written beside it. `bus`: the height at which it passes
    under all boxes from channel to channel, if it must."""

    ends: tuple[End, ...]
    words: str
    sign: str = ""
    state: str = "up"
    one_way: bool = False
    lanes: list[Lane] = field(default_factory=list)
    bus: float = 0.0

    def span(self, y: Callable[[End], float]) -> tuple[float, float]:
        """Return the height of its first and of its last end."""
        heights = [y(end) for end in self.ends]
        return min(heights), max(heights)


def trunks_of(picture: Picture) -> list[Trunk]:
    """Return the trunks of a picture, in order."""
    plugs = picture.plugs()
    networks: defaultdict[tuple[str, str, str, bool], list[Tunnel]] = defaultdict(list)
    for tunnel in picture.tunnels:
        if all(end in plugs for end in tunnel.ends) and tunnel.ends[0][0] != tunnel.ends[1][0]:
            state = state_between([plugs[end] for end in tunnel.ends])
            words = f"{tunnel.words}, {state}" if state in ("down", "no carrier") else tunnel.words
            networks[words, tunnel.sign, state, tunnel.one_way].append(tunnel)
    trunks: list[Trunk] = []
    for (words, sign, state, one_way), tunnels in networks.items():
        trunks += [Trunk(ends, words, sign, state, one_way) for ends in _joined(tunnels)]
    return trunks


def _joined(tunnels: list[Tunnel]) -> list[tuple[End, ...]]:
    """Return the ends of those that are drawn together: of a full mesh all, else of each tunnel its two."""
    near: defaultdict[End, set[End]] = defaultdict(set)
    for tunnel in tunnels:
        near[tunnel.ends[0]].add(tunnel.ends[1])
        near[tunnel.ends[1]].add(tunnel.ends[0])
    found: list[tuple[End, ...]] = []
    for tunnel in tunnels:
        first = tunnel.ends[0]
        mesh = {first, *near[first]}
        if len(mesh) > 2 and not tunnel.one_way and all({end, *near[end]} == mesh for end in mesh):
            together = tuple(end for end in near if end in mesh)
            found += [together] if together not in found else []
        else:
            found.append(tunnel.ends)
    return found


def lanes_in(trunks: list[Trunk], channels: Callable[[End], int], y: Callable[[End], float]) -> dict[int, float]:
    """Give every trunk a lane in each channel that it needs, and return how wide each channel is with them.

    Trunks with the same words stand side by side, short ones first, and share one label at their right."""
    wide: defaultdict[int, float] = defaultdict(lambda: FIRST)
    for words in dict.fromkeys(trunk.words for trunk in trunks):
        alike = [trunk for trunk in trunks if trunk.words == words]
        by_channel: defaultdict[int, list[Lane]] = defaultdict(list)
        taken: defaultdict[int, list[list[tuple[float, float]]]] = defaultdict(list)
        for trunk in sorted(alike, key=lambda trunk: _length(trunk.span(y))):
            for channel in sorted({channels(end) for end in trunk.ends}):
                index = _free_lane(taken[channel], trunk.span(y))
                lane = Lane(channel, wide[channel] + index * LANE)
                trunk.lanes.append(lane)
                by_channel[channel].append(lane)
        for channel, lanes in by_channel.items():
            last = max(lanes, key=lambda lane: lane.at)
            last.label = words
            wide[channel] = last.at + 8 + CHARACTER * len(words) + LANE
    return dict(wide)


def _length(span: tuple[float, float]) -> tuple[float, float]:
    return span[1] - span[0], span[0]


def _free_lane(taken: list[list[tuple[float, float]]], span: tuple[float, float]) -> int:
    """Return the first lane in which nothing is at these heights, and take it."""
    for index, spans in enumerate(taken):
        if all(span[1] + LANE < top or bottom + LANE < span[0] for top, bottom in spans):
            spans.append(span)
            return index
    taken.append([span])
    return len(taken) - 1


def branch(trunks: list[Trunk], channels: Callable[[End], int], place: Callable[[End], tuple[float, float]]) -> None:
    """Lead every trunk's lanes to its ends. Where several leave one interface, they do so a little apart, in an order
    in which they do not cross: what goes up above what goes down, the lanes further out around the nearer ones."""
    at: defaultdict[End, list[tuple[bool, float, int]]] = defaultdict(list)
    for number, trunk in enumerate(trunks):
        for end in trunk.ends:
            (lane,) = (lane for lane in trunk.lanes if lane.channel == channels(end))
            height = place(end)[1]
            goes_down = bool(trunk.bus) or height < max(place(other)[1] for other in trunk.ends)
            at[end].append((goes_down, -lane.at if goes_down else lane.at, number))
    for end, leaving in at.items():
        x, y = place(end)
        apart = min(BRANCHES, 60 / len(leaving))
        for index, (_, _, number) in enumerate(sorted(leaving)):
            lane = next(lane for lane in trunks[number].lanes if lane.channel == channels(end))
            lane.branches.append(Branch(end, x, y + apart * index))


def place_labels(trunks: list[Trunk]) -> None:
    """Give each label its height: the middle of the longest stretch of its lane that no branch crosses."""
    lanes = [(trunk, lane) for trunk in trunks for lane in trunk.lanes]
    for trunk, lane in lanes:
        own = [branch.y for branch in lane.branches] + ([trunk.bus] if trunk.bus else [])
        crossing = [
            branch.y
            for _, other in lanes
            if other.channel == lane.channel and other.at > lane.at
            for branch in other.branches
            if min(own) < branch.y < max(own)
        ]
        above, below = max(pairwise(sorted([*own, *crossing])), key=lambda pair: pair[1] - pair[0])
        lane.label_y = (above + below) / 2


def buses(trunks: Iterable[Trunk], below: float) -> float:
    """Give trunks in several channels a way under all boxes, and return how far down they reach."""
    for trunk in trunks:
        if len(trunk.lanes) > 1:
            trunk.bus = below
            below += BUS
    return below
