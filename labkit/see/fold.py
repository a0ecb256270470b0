"""A thousand boxes that look alike are a few boxes and a number."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from labkit.see.picture import Box, Bridge, Cable, End, Picture, Plug

__all__ = ["folded"]

MOST = 40  # boxes drawn one by one
KEPT = 12  # of each kind, when there are more


def folded(picture: Picture) -> Picture:
    """Return the picture with all but the first of each kind of box folded, if it has more than MOST.

    Boxes are of a kind when they have the same interfaces on the same bridges, in the same state. What differs, a
    link that is down or a box that changed, stays."""
    if len(picture.boxes) <= MOST:
        return picture
    far: dict[End, End] = {}
    for cable in picture.cables:
        far[cable.ends[0]], far[cable.ends[1]] = cable.ends[1], cable.ends[0]
    bridge_of = {
        (box.name, port.name): bridge.plug.name
        for box in picture.boxes
        for bridge in box.bridges
        for port in bridge.ports
    }
    kinds: defaultdict[object, list[Box]] = defaultdict(list)
    for box in picture.boxes:
        kinds[_kind(picture, box, far, bridge_of)].append(box)
    gone: dict[str, Box] = {}
    stands_for: dict[str, Box] = {}
    for alike in kinds.values():
        if len(alike) > KEPT + 1:
            first = alike[KEPT]
            stands_for[first.name] = replace(
                first,
                name=f"{len(alike) - KEPT} more like {alike[KEPT - 1].name}",
                plugs=tuple(replace(plug, addresses=(), mac="", facts=()) for plug in first.plugs),
                routes=(),
                more=len(alike) - KEPT,
            )
            gone.update({box.name: box for box in alike[KEPT + 1 :]})
    return _without(picture, gone, stands_for, far)


def _kind(picture: Picture, box: Box, far: dict[End, End], bridge_of: dict[End, str]) -> object:
    if box.bridges:
        return box.name
    plugs = []
    for plug in box.plugs:
        other = far.get((box.name, plug.name))
        if other and other not in bridge_of:
            return box.name  # a cable to one box alone
        facing = other and (other[0], bridge_of[other], _state(picture, other))
        plugs.append((plug.name, plug.kind, plug.state, plug.sign, plug.notes, plug.mtu, facing))
    return tuple(plugs), box.sign, box.notes, box.facts


def _state(picture: Picture, end: End) -> object:
    plug = next(plug for box in picture.boxes if box.name == end[0] for plug in box.every_plug() if plug.name == end[1])
    return plug.state, plug.sign, plug.facts, plug.notes


def _without(picture: Picture, gone: dict[str, Box], stands_for: dict[str, Box], far: dict[End, End]) -> Picture:
    hidden = {far[name, plug.name] for name, box in gone.items() for plug in box.plugs if (name, plug.name) in far}
    faces = {
        far[name, plug.name]: f"{box.more} more ports"
        for name, box in stands_for.items()
        for plug in box.plugs
        if (name, plug.name) in far
    }

    def ports(box: Box, bridge: Bridge) -> tuple[Plug, ...]:
        kept = [port for port in bridge.ports if (box.name, port.name) not in hidden]
        return tuple(
            replace(port, name=faces[box.name, port.name], mac="", facts=()) if (box.name, port.name) in faces else port
            for port in kept
        )

    boxes = [
        replace(
            stands_for.get(box.name, box),
            bridges=tuple(replace(bridge, ports=ports(box, bridge)) for bridge in box.bridges),
        )
        for box in picture.boxes
        if box.name not in gone
    ]

    def end(old: End) -> End:
        return stands_for[old[0]].name if old[0] in stands_for else old[0], faces.get(old, old[1])

    cables = [
        Cable((end(cable.ends[0]), end(cable.ends[1])), cable.sign)
        for cable in picture.cables
        if not any(name in gone for name, _ in cable.ends)
    ]
    return replace(picture, boxes=tuple(boxes), cables=tuple(cables))
