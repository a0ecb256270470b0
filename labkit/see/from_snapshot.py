"""From what the kernel says to a picture of it."""

from __future__ import annotations

from labkit.see.nest import nested
from labkit.see.picture import ORDINARY_LO, Box, Bridge, Cable, End, Picture, Plug
from labkit.see.tunnels import KINDS, tunnels_in
from labkit.state.records import Link
from labkit.state.snapshot import NamespaceState, Snapshot
from labkit.state.tables import link_facts

__all__ = ["picture_of_snapshot"]

_ROUTES = 4
_SITS = ("macvlan", "macvtap", "ipvlan", "ipvtap", "vlan")


def picture_of_snapshot(snapshot: Snapshot) -> Picture:
    """Return the picture of a snapshot. The host is left out while nothing is in it."""
    cables = _cables(snapshot)
    cabled = {end: "" for cable in cables for end in cable.ends}
    cabled.update({cable.ends[0]: f"on {cable.ends[1][1]} in {cable.ends[1][0]}" for cable in cables if cable.kind})
    boxes = [_box(state, cabled) for state in snapshot.namespaces]
    drawn = [box for box in boxes if box.name != "host" or _is_lived_in(box)] or boxes
    others = len(drawn) - any(box.name == "host" for box in drawn)
    title = f"the network now: {_count(others, 'namespace')}, {_count(len(cables), 'cable')}"
    tunnels = tunnels_in(snapshot)
    if tunnels:
        title += f", {_count(len(tunnels), 'tunnel')}"
    return nested(Picture(tuple(drawn), tuple(cables), title=title, tunnels=tunnels))


def _cables(snapshot: Snapshot) -> list[Cable]:
    there = {(state.name, link.ifname) for state in snapshot.namespaces for link in state.links}
    cables: dict[frozenset[End], Cable] = {}
    for state in snapshot.namespaces:
        for link in state.links:
            end = (state.name, link.ifname)
            if link.peer in there and not link.is_fallback:
                cables.setdefault(frozenset((end, link.peer)), Cable((end, link.peer)))
            elif below := _below_elsewhere(snapshot, state, link):
                cables[frozenset((end, below))] = Cable((end, below), kind=link.kind)
    return list(cables.values())


def _below_elsewhere(snapshot: Snapshot, state: NamespaceState, link: Link) -> End | None:
    """Return the link of another namespace that this one sits on."""
    home = dict(state.nsids).get(-1 if link.link_netnsid is None else link.link_netnsid)
    if link.kind not in _SITS or home is None or home not in snapshot or home == state.name:
        return None
    below = [other.ifname for other in snapshot[home].links if other.ifindex == link.link_index]
    return (snapshot[home].name, below[0]) if below else None


def _box(state: NamespaceState, cabled: dict[End, str]) -> Box:
    links = [link for link in state.links if not link.is_fallback]
    bridges = tuple(
        Bridge(
            _plug(state, link, cabled),
            tuple(_plug(state, port, cabled) for port in links if port.master == link.ifname),
        )
        for link in links
        if link.kind == "bridge"
    )
    drawn = {port.name for bridge in bridges for port in bridge.ports}
    plain = [link for link in links if link.kind != "bridge" and link.ifname not in drawn]
    shown = [link for link in plain if link.ifname != "lo" or (len(links) == 1 or not _is_ordinary(state, link))]
    return Box(
        state.name,
        plugs=tuple(_plug(state, link, cabled) for link in shown),
        bridges=bridges,
        routes=_routes(state),
        facts=(*(f"also called {name}" for name in state.also), *_forwards(state)),
    )


def _forwards(state: NamespaceState) -> list[str]:
    settings = {"IPv4": "net.ipv4.ip_forward", "IPv6": "net.ipv6.conf.all.forwarding"}
    on = [family for family, key in settings.items() if state.sysctls.get(key) == "1"]
    return [f"forwards {' and '.join(on)}"] if on else []


def _plug(state: NamespaceState, link: Link, cabled: dict[End, str]) -> Plug:
    is_loopback = link.link_type == "loopback"
    return Plug(
        link.ifname,
        kind=link.kind or link.link_type,
        addresses=tuple(address.text for address in state.addresses_of(link.ifname)),
        mac="" if is_loopback or link.link_type != "ether" else link.address,
        mtu=1500 if is_loopback else link.mtu,
        state=link.state,
        facts=tuple(_facts(state, link, cabled.get((state.name, link.ifname)))),
    )


def _facts(state: NamespaceState, link: Link, sits: str | None) -> list[str]:
    """What is worth a word. `sits`: on what of another namespace, "" for the end of a cable, None for no cable."""
    facts = []
    for fact in link_facts(link):
        if fact.startswith("peer "):
            facts += [] if sits is not None else ["peer in a namespace not shown here"]
        elif fact.startswith("id ") and link.kind in KINDS:
            facts.append(fact.replace("id", "vni", 1))
        elif not fact.startswith("master ") or _is_slave(state, link):
            facts.append(fact)
    if "link" in link.details and not link.link:
        facts.append(f"on {link.details['link']}")
    if link.kind in _SITS and link.link is None:
        facts.append(sits or "on a link not shown here")
    return facts


def _is_slave(state: NamespaceState, link: Link) -> bool:
    """Whether its master is not a bridge, in which it would be drawn: a bond or a VRF."""
    return any(other.ifname == link.master and other.kind != "bridge" for other in state.links)


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
