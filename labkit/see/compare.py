"""Two pictures in one: what came is marked "+ added", what went "- removed", what is not the same "~" and how."""

from __future__ import annotations

from dataclasses import replace

from labkit.see.nest import settled
from labkit.see.picture import ORDINARY_LO, Box, Bridge, Cable, End, Note, Picture, Plug, Tunnel

__all__ = ["compared"]

LEGEND = "+ added,  - removed,  ~ changed"


def compared(before: Picture, after: Picture, notes: dict[str, list[Note]] | None = None) -> Picture:
    """Return the picture of `after` with what is different from `before` marked; `notes` are a box's further
    lines: what changed in its routes and facts, when not given. Who is drawn in whom is as in `after`."""
    old = {box.name: box for box in before.boxes}
    new = {box.name: box for box in after.boxes}
    told = notes if notes is not None else {name: _box_notes(old[name], new[name]) for name in new if name in old}
    boxes = [
        replace(_box(old[name], new[name]), notes=tuple(told.get(name, ())))
        if name in old and name in new
        else _whole(new[name], "+", told.get(name, []))
        if name in new
        else _whole(old[name], "-", [])
        for name in [*(box.name for box in before.boxes), *(name for name in new if name not in old)]
    ]
    title = f"what changed in {after.title}"
    return settled(Picture(tuple(boxes), _cables(before, after), title, LEGEND, _tunnels(before, after)))


def _whole(box: Box, sign: str, notes: list[Note]) -> Box:
    return replace(box, sign=sign, notes=tuple(notes))


def _box(was: Box, now: Box) -> Box:
    old = {plug.name: plug for plug in was.every_plug()}
    place = {port.name: bridge.plug.name for bridge in was.bridges for port in bridge.ports}
    new_place = {port.name: bridge.plug.name for bridge in now.bridges for port in bridge.ports}
    here = {plug.name for plug in now.every_plug()}

    def mark(plug: Plug) -> Plug:
        before = old.get(plug.name) or (_ordinary(plug) if plug.name == "lo" else None)
        if before is None:
            return replace(plug, sign="+")
        moved = (place.get(plug.name), new_place.get(plug.name))
        return _plug(before, plug, moved)

    bridges = [Bridge(mark(bridge.plug), tuple(mark(port) for port in bridge.ports)) for bridge in now.bridges]
    names = {bridge.plug.name: index for index, bridge in enumerate(bridges)}
    plugs = [mark(plug) for plug in now.plugs]
    for bridge in was.bridges:
        gone = tuple(replace(port, sign="-") for port in bridge.ports if port.name not in here)
        if bridge.plug.name in names:
            kept = bridges[names[bridge.plug.name]]
            bridges[names[bridge.plug.name]] = replace(kept, ports=(*kept.ports, *gone))
        else:
            bridges.append(Bridge(replace(bridge.plug, sign="-"), gone))
    gone_plugs = [plug for plug in was.plugs if plug.name not in here]
    plugs += [replace(plug, sign="-") for plug in gone_plugs if plug.name != "lo"]
    quiet = [_plug(plug, _ordinary(plug), (None, None)) for plug in gone_plugs if plug.name == "lo"]
    plugs += [plug for plug in quiet if plug.sign]
    routes = tuple(route for route in now.routes if route in was.routes)
    return replace(now, plugs=tuple(plugs), bridges=tuple(bridges), routes=routes)


def _ordinary(lo: Plug) -> Plug:
    """Return lo as it is in every namespace: there, though not drawn, unless there is something to say of it."""
    return replace(lo, state="up", addresses=tuple(address for address in lo.addresses if address in ORDINARY_LO))


def _box_notes(was: Box, now: Box) -> list[Note]:
    notes = [("-", f"route {route}") for route in was.routes if route not in now.routes]
    notes += [("+", f"route {route}") for route in now.routes if route not in was.routes]
    notes += [("-", fact) for fact in was.facts if fact not in now.facts]
    return notes + [("+", fact) for fact in now.facts if fact not in was.facts]


def _plug(was: Plug, now: Plug, bridges: tuple[str | None, str | None]) -> Plug:
    notes: list[Note] = [("-", address) for address in was.addresses if address not in now.addresses]
    notes += [("+", address) for address in now.addresses if address not in was.addresses]
    if was.state != now.state and "planned" not in (was.state, now.state):
        notes.append(("~", f"{was.state} → {now.state}"))
    if was.mac != now.mac:
        notes.append(("~", f"MAC was {was.mac}"))
    if was.mtu != now.mtu:
        notes.append(("~", f"mtu {was.mtu} → {now.mtu}"))
    if bridges[0] != bridges[1]:
        notes.append(("~", f"master {bridges[0] or 'none'} → {bridges[1] or 'none'}"))
    notes += [("-", fact) for fact in was.facts if fact not in now.facts]
    notes += [("+", fact) for fact in now.facts if fact not in was.facts]
    addresses = tuple(address for address in now.addresses if address in was.addresses)
    facts = tuple(fact for fact in now.facts if fact in was.facts)
    return replace(now, addresses=addresses, facts=facts, sign="~" if notes else "", notes=tuple(notes))


def _cables(before: Picture, after: Picture) -> tuple[Cable, ...]:
    def key(cable: Cable) -> frozenset[End]:
        return frozenset(cable.ends)

    old, new = {key(cable): cable for cable in before.cables}, {key(cable): cable for cable in after.cables}
    taken = {end for ends in new for end in ends}
    marked = [cable if ends in old else replace(cable, sign="+") for ends, cable in new.items()]
    gone = [cable for ends, cable in old.items() if ends not in new and not (ends & taken)]
    return (*marked, *(replace(cable, sign="-") for cable in gone))


def _tunnels(before: Picture, after: Picture) -> tuple[Tunnel, ...]:
    """Tunnels of the same ends and label are the same one; it changed when it lost, or gained, a direction."""

    def key(tunnel: Tunnel) -> tuple[frozenset[End], str]:
        return frozenset(tunnel.ends), tunnel.label

    old, new = {key(one): one for one in before.tunnels}, {key(one): one for one in after.tunnels}
    marked = [
        replace(one, sign="+" if what not in old else "~" if one.one_way != old[what].one_way else "")
        for what, one in new.items()
    ]
    return (*marked, *(replace(one, sign="-") for what, one in old.items() if what not in new))
