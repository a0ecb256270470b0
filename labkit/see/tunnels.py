"""Which interfaces reach each other through another network? VXLAN, GENEVE, GRE and IPIP, from what the kernel says.

An end knows another by an outer address: the tunnel's own `remote`, an FDB entry with `dst`, or, where a tunnel has no
remote, the gateway of a route by it. Who has that address, and a tunnel of the same kind and number, is the other end.
Ends that share a multicast group know each other by it.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from dataclasses import dataclass

from labkit.see.picture import End, Tunnel
from labkit.state.records import Link
from labkit.state.snapshot import NamespaceState, Snapshot

__all__ = ["KINDS", "tunnels_in"]

KINDS = {"vxlan": "VXLAN", "geneve": "GENEVE", "gre": "GRE", "gretap": "GRE", "ip6gre": "GRE", "ip6gretap": "GRE",
         "ipip": "IPIP", "sit": "SIT", "ip6tnl": "IP6TNL"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """A tunnel's end. `own`: its outer addresses; `knows`: the others' it sends to; `group`: or the group."""

    end: End
    network: tuple[str, str, object]  # kind, what tells it from others of its kind, UDP port
    own: frozenset[str]
    knows: frozenset[str]
    group: str

    @property
    def label(self) -> str:
        kind, number, _ = self.network
        return f"{KINDS[kind]} {number}".strip()


def tunnels_in(snapshot: Snapshot) -> tuple[Tunnel, ...]:
    """Return the tunnels whose ends are both in the snapshot."""
    networks: defaultdict[object, list[_Endpoint]] = defaultdict(list)
    for state in snapshot.namespaces:
        for link in state.links:
            if link.kind in KINDS and not link.is_fallback:
                endpoint = _endpoint(state, link)
                networks[endpoint.network].append(endpoint)
    found = []
    for ends in networks.values():
        by_address = {(address, one.end): one for one in ends for address in one.own}
        reach = {one.end: {other for address, other in by_address if address in one.knows} for one in ends}
        for index, one in enumerate(ends):
            for other in ends[index + 1 :]:
                there, back = other.end in reach[one.end], one.end in reach[other.end]
                if one.end[0] != other.end[0] and (there or back or (one.group and one.group == other.group)):
                    pair = (one.end, other.end) if there or not back else (other.end, one.end)
                    found.append(Tunnel(pair, one.label, one_way=there != back and not one.group))
    return tuple(found)


def _endpoint(state: NamespaceState, link: Link) -> _Endpoint:
    details = link.details
    number = f"vni {details['id']}" if link.kind in ("vxlan", "geneve") and "id" in details else ""
    if "key" in details:
        number = f"key {details['key']}"
    known = {str(entry.dst) for entry in state.fdb if entry.ifname == link.ifname and entry.dst}
    group = str(details.get("group", ""))
    if "remote" in details:
        known.add(str(details["remote"]))
    elif link.kind in ("ipip", "sit", "gre", "ip6tnl", "ip6gre"):
        known |= {str(route.gateway) for route in state.routes if route.dev == link.ifname and route.gateway}
    known = {address for address in known if not ipaddress.ip_address(address).is_unspecified}
    return _Endpoint(
        (state.name, link.ifname),
        (link.kind, number, details.get("port")),
        _outer(state, link),
        frozenset(known),
        group,
    )


def _outer(state: NamespaceState, link: Link) -> frozenset[str]:
    """Its local address; without one, any address of the link below it, or of its namespace."""
    if "local" in link.details:
        return frozenset({str(link.details["local"])})
    others = [address for address in state.addresses if address.ifname != link.ifname]
    below = [address for address in others if link.link and address.ifname == link.link]
    return frozenset(address.local for address in below or others if not address.local.startswith("127."))
