"""A thousand boxes that look alike are a few boxes and a number."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from labkit.see.picture import Box, Bridge, End, Picture, Plug

__all__ = ["folded"]

MOST = 40  # boxes drawn one by one
KEPT = 12  # of each kind, when there are more
KEPT_INSIDE = 3  # of each kind of pod in a node, and of each kind of node with pods


def folded(picture: Picture) -> Picture:
    """Return the picture with all but the first of each kind of box folded, if it has more than MOST.

    Boxes are of a kind when they have the same interfaces on the same bridges, in the same state; nodes, when their
    pods are too. What differs, a link that is down or a box that changed, stays."""
    return picture if len(picture.boxes) <= MOST else _Folding(picture).run()


class _Folding:
    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.plugs = picture.plugs()
        self.far: dict[End, End] = {}
        for cable in picture.cables:
            self.far[cable.ends[0]], self.far[cable.ends[1]] = cable.ends[1], cable.ends[0]
        self.bridge_of = {
            (box.name, port.name): bridge.plug.name
            for box in picture.boxes
            for bridge in box.bridges
            for port in bridge.ports
        }
        self.pods: defaultdict[str, list[Box]] = defaultdict(list)
        for box in picture.boxes:
            self.pods[box.parent].append(box)
        self.gone: dict[str, Box] = {}
        self.stands_for: dict[str, Box] = {}

    def run(self) -> Picture:
        place = {end: index for index, end in enumerate(self.plugs)}
        kinds: defaultdict[object, list[Box]] = defaultdict(list)
        for box in self.pods[""]:
            kinds[self._kind(box)].append(box)
        for alike in kinds.values():
            self._fold(alike, KEPT_INSIDE if self.pods[alike[0].name] else KEPT)
        for node in self.pods[""]:
            inside: defaultdict[object, list[Box]] = defaultdict(list)
            for pod in self.pods[node.name] if node.name not in self.gone else ():
                inside[self._kind(pod)].append(pod)
            for alike in inside.values():
                first = {pod.name: min((place[end] for end in self._leads_to(pod)), default=0) for pod in alike}
                self._fold(sorted(alike, key=lambda pod, first=first: first[pod.name]), KEPT_INSIDE)  # type: ignore[misc]
        return self._without()

    def _leads_to(self, box: Box) -> list[End]:
        return [self.far[box.name, plug.name] for plug in box.plugs if (box.name, plug.name) in self.far]

    def _fold(self, alike: list[Box], kept: int) -> None:
        if len(alike) <= kept + 1:
            return
        first = alike[kept]
        inside = {pod.name for pod in self.pods[first.name]}
        outer = [plug for plug in first.plugs if self.far.get((first.name, plug.name), ("",))[0] not in inside]
        self.stands_for[first.name] = replace(
            first,
            name=f"{len(alike) - kept} more like {alike[kept - 1].name}",
            plugs=tuple(replace(plug, addresses=(), mac="", facts=()) for plug in outer),
            bridges=(),
            routes=(),
            more=len(alike) - kept,
        )
        self.gone.update({box.name: box for box in alike[kept + 1 :]})
        self.gone.update({pod.name: pod for box in alike[kept:] for pod in self.pods[box.name]})

    def _kind(self, box: Box) -> object:
        pods = self.pods[box.name]
        if not pods:
            return self._leaf_kind(box)
        inside = {pod.name for pod in pods}
        kinds: defaultdict[object, int] = defaultdict(int)
        for pod in pods:
            kinds[self._leaf_kind(pod, within=True)] += 1
        plugs = [plug for plug in box.plugs if self.far.get((box.name, plug.name), ("",))[0] not in inside]
        bridges = tuple(_looks(bridge.plug) for bridge in box.bridges)
        outer = tuple(self._plug_kind(box, plug) for plug in plugs)
        return outer, bridges, frozenset(kinds.items()), box.sign, box.notes, box.facts

    def _leaf_kind(self, box: Box, *, within: bool = False) -> object:
        if box.bridges:
            return box.name
        plugs = []
        for plug in box.plugs:
            other = self.far.get((box.name, plug.name))
            if other and other not in self.bridge_of and other[0] != box.parent:
                return box.name  # a cable to one box alone
            plugs.append(self._plug_kind(box, plug, within=within))
        return tuple(plugs), box.sign, box.notes, box.facts

    def _plug_kind(self, box: Box, plug: Plug, *, within: bool = False) -> object:
        """What an interface has in common with others; `within`: whichever node it is in."""
        other = self.far.get((box.name, plug.name))
        if other is None:
            return _looks(plug), None
        far = self.plugs[other]
        return _looks(plug), (within or other[0], self.bridge_of.get(other)), (far.state, far.sign, far.notes)

    def _without(self) -> Picture:
        hidden = {
            self.far[name, plug.name]
            for name, box in self.gone.items()
            for plug in box.plugs
            if (name, plug.name) in self.far
        }
        faces = {
            self.far[name, plug.name]: f"{box.more} more {'ports' if self._is_port(name, plug) else 'links'}"
            for name, box in self.stands_for.items()
            for plug in box.plugs
            if (name, plug.name) in self.far
        }

        def kept(box: Box, plugs: tuple[Plug, ...]) -> tuple[Plug, ...]:
            return tuple(
                replace(plug, name=faces[box.name, plug.name], addresses=(), mac="", facts=())
                if (box.name, plug.name) in faces
                else plug
                for plug in plugs
                if (box.name, plug.name) not in hidden
            )

        def drawn(box: Box) -> Box:
            box = self.stands_for.get(box.name, box)
            bridges = tuple(Bridge(bridge.plug, kept(box, bridge.ports)) for bridge in box.bridges)
            return replace(box, plugs=kept(box, box.plugs), bridges=bridges)

        def end(old: End) -> End:
            return self.stands_for[old[0]].name if old[0] in self.stands_for else old[0], faces.get(old, old[1])

        def ends(ends: tuple[End, End]) -> tuple[End, End]:
            return end(ends[0]), end(ends[1])

        def stays(cable_ends: tuple[End, End]) -> bool:
            return not any(name in self.gone for name, _ in cable_ends)

        return replace(
            self.picture,
            boxes=tuple(drawn(box) for box in self.picture.boxes if box.name not in self.gone),
            cables=tuple(replace(one, ends=ends(one.ends)) for one in self.picture.cables if stays(one.ends)),
            tunnels=tuple(replace(one, ends=ends(one.ends)) for one in self.picture.tunnels if stays(one.ends)),
        )

    def _is_port(self, name: str, plug: Plug) -> bool:
        return self.far[name, plug.name] in self.bridge_of


def _looks(plug: Plug) -> object:
    return plug.name, plug.kind, plug.state, plug.sign, plug.notes, plug.mtu
