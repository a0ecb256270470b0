"""Which boxes are drawn inside which? Pods in their node.

Told from how things are connected alone, so that a plan and the kernel's tables give the same picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from labkit.see.picture import Box, Cable, End, Picture, Plug

__all__ = ["nested", "settled"]


def nested(picture: Picture) -> Picture:
    """Return the picture with every pod drawn inside its node.

    A box is a pod when all its cables lead to one other box, not the host, each in a pod's way: to a port of a bridge
    that leads to pods only, to an interface without a subnet of its own (one of the two ends has a /32 or /128), or
    sitting on a link there. The other box is a node when it is reached from elsewhere too."""
    wiring = _Wiring(picture)
    parents = {pod: node for node in wiring.leaves for pod in wiring.pods(node)}
    return replace(picture, boxes=tuple(replace(box, parent=parents.get(box.name, "")) for box in picture.boxes))


def settled(picture: Picture) -> Picture:
    """Return the picture with only those boxes in others whose cables all lead there, and whose node is drawn."""
    names = {box.name for box in picture.boxes if not box.parent}
    far = _far_boxes(picture.cables)

    def stays(box: Box) -> bool:
        return box.parent in names and far[box.name] <= {box.parent, box.name}

    return replace(
        picture, boxes=tuple(box if stays(box) else replace(box, parent="") for box in picture.boxes)
    )  # fmt: skip


def _far_boxes(cables: Iterable[Cable]) -> defaultdict[str, set[str]]:
    far: defaultdict[str, set[str]] = defaultdict(set)
    for cable in cables:
        for (here, _), (there, _) in (cable.ends, cable.ends[::-1]):
            far[here].add(there)
    return far


@dataclass(frozen=True, slots=True)
class _Way:
    """A cable as seen from one of its boxes."""

    here: End
    there: End
    sits: bool


class _Wiring:
    def __init__(self, picture: Picture) -> None:
        self.plugs = picture.plugs()
        self.ways: defaultdict[str, list[_Way]] = defaultdict(list)
        for cable in picture.cables:
            for here, there in (cable.ends, cable.ends[::-1]):
                self.ways[here[0]].append(_Way(here, there, bool(cable.kind)))
        self.bridge_of = {
            (box.name, port.name): (box.name, bridge.plug.name)
            for box in picture.boxes
            for bridge in box.bridges
            for port in bridge.ports
        }
        self.leaves: defaultdict[str, list[str]] = defaultdict(list)
        for name, far in _far_boxes(picture.cables).items():
            if len(far) == 1 and name != "host" and not far & {"host", name}:
                self.leaves[next(iter(far))].append(name)
        self.trunks = {  # bridges that lead to the host, or to what has leaves of its own
            self.bridge_of[way.here]
            for ways in self.ways.values()
            for way in ways
            if way.here in self.bridge_of and (way.there[0] == "host" or way.there[0] in self.leaves)
        }

    def pods(self, node: str) -> list[str]:
        """Return the pods in a box: none, if it is not a node."""
        leaves = set(self.leaves[node])
        outside = [way for way in self.ways[node] if way.there[0] not in leaves or not self._is_inner(way)]
        if all(way.there[0] == node or self.bridge_of.get(way.here) for way in outside):
            return []
        doubtful = {way.there[0] for way in outside}
        return [leaf for leaf in self.leaves[node] if leaf not in doubtful]

    def _is_inner(self, way: _Way) -> bool:
        if bridge := self.bridge_of.get(way.here):
            return bridge not in self.trunks
        near, far = self.plugs[way.here], self.plugs[way.there]
        return way.sits or (not _subnets(near) and any(map(_is_single, (*near.addresses, *far.addresses))))


def _is_single(address: str) -> bool:
    return address.endswith(("/32", "/128"))


def _subnets(plug: Plug) -> list[str]:
    return [address for address in plug.addresses if not _is_single(address) and not address.startswith("fe80:")]
