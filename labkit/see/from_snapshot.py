"""From what the kernel says to a picture of it."""

from __future__ import annotations

from labkit.see.picture import ORDINARY_LO, Box, Bridge, Cable, End, Picture, Plug
from labkit.state.records import Link
from labkit.state.snapshot import NamespaceState, Snapshot
from labkit.state.tables import link_facts

__all__ = ["picture_of_snapshot"]

_ROUTES = 4


def picture_of_snapshot(snapshot: Snapshot) -> Picture:
    """Return the picture of a snapshot. The host is left out while nothing is in it."""
    boxes = [_box(state) for state in snapshot.namespaces]
    drawn = [box for box in boxes if box.name != "host" or _is_lived_in(box)] or boxes
    names = {box.name: {plug.name for plug in box.every_plug()} for box in drawn}
    cables: dict[frozenset[End], Cable] = {}
    for state in snapshot.namespaces:
        for link in state.links:
            end = (state.name, link.ifname)
            if link.peer and all(name in names.get(box, ()) for box, name in (end, link.peer)):
                cables.setdefault(frozenset((end, link.peer)), Cable((end, link.peer)))
    others = len(drawn) - any(box.name == "host" for box in drawn)
    title = f"the network now: {_count(others, 'namespace')}, {_count(len(cables), 'cable')}"
    return Picture(tuple(drawn), tuple(cables.values()), title=title)


def _box(state: NamespaceState) -> Box:
    links = [link for link in state.links if not link.is_fallback]
    ports = {link.ifname for link in links if link.master}
    bridges = tuple(
        Bridge(_plug(state, link), tuple(_plug(state, port) for port in links if port.master == link.ifname))
        for link in links
        if link.kind == "bridge"
    )
    plain = [link for link in links if link.kind != "bridge" and link.ifname not in ports]
    shown = [link for link in plain if link.ifname != "lo" or (len(links) == 1 or not _is_ordinary(state, link))]
    facts = [f"also called {name}" for name in state.also] + (["forwards IPv4"] if state.forwards else [])
    return Box(
        state.name,
        plugs=tuple(_plug(state, link) for link in shown),
        bridges=bridges,
        routes=_routes(state),
        facts=tuple(facts),
    )


def _plug(state: NamespaceState, link: Link) -> Plug:
    is_loopback = link.link_type == "loopback"
    return Plug(
        link.ifname,
        kind=link.kind or link.link_type,
        addresses=tuple(address.text for address in state.addresses_of(link.ifname)),
        mac="" if is_loopback else link.address,
        mtu=1500 if is_loopback else link.mtu,
        state=link.state,
        facts=tuple(
            fact
            for fact in link_facts(link)
            if not fact.startswith("master ") and not (link.peer and fact.startswith("peer "))
        ),
    )


def _routes(state: NamespaceState) -> tuple[str, ...]:
    """The routes that somebody set, without those that follow from the addresses."""
    told = [route.text for route in state.routes if route.table != "local" and route.protocol != "kernel"]
    if len(told) > _ROUTES:
        told = [*told[: _ROUTES - 1], f"and {len(told) - _ROUTES + 1} more routes"]
    return tuple(told)


def _is_ordinary(state: NamespaceState, lo: Link) -> bool:
    return lo.is_up and {address.text for address in state.addresses_of("lo")} <= ORDINARY_LO


def _is_lived_in(box: Box) -> bool:
    return bool(box.bridges or [plug for plug in box.plugs if plug.name != "lo"])


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
