"""The network that a packet crosses, as tables: what is at the other end, above, below?"""

from __future__ import annotations

from dataclasses import dataclass

from labkit.errors import NotFound
from labkit.state.records import FdbEntry, Link, Neighbour
from labkit.state.snapshot import NamespaceState, Snapshot

__all__ = ["TUNNELS", "Network"]

TUNNELS = ("vxlan", "geneve", "gre", "gretap", "ipip", "sit", "ip6tnl", "ip6gre")


@dataclass(frozen=True)
class Network:
    """A Snapshot, asked for what a packet meets."""

    snapshot: Snapshot

    def state(self, namespace: str) -> NamespaceState:
        """Return the tables of a namespace."""
        return self.snapshot[namespace]

    def link(self, namespace: str, name: str) -> Link | None:
        """Return a link, or None where it is gone."""
        try:
            return self.snapshot[namespace].link(name)
        except NotFound:
            return None

    def bridge_of(self, namespace: str, name: str) -> str | None:
        """Return the bridge that a link is a port of, or None."""
        link = self.link(namespace, name)
        master = link.master if link else None
        upper = self.link(namespace, master) if master else None
        return master if upper and upper.kind == "bridge" else None

    def peer(self, namespace: str, name: str) -> tuple[str, str] | None:
        """Return the other end of a veth as (namespace, name), or None where it is not seen."""
        link = self.link(namespace, name)
        return link.peer if link else None

    def is_above(self, namespace: str, upper: str, lower: str) -> bool:
        """Whether what leaves by `upper` leaves by `lower` next: a bridge and its port, a tunnel, a VLAN, a macvlan."""
        low, up = self.link(namespace, lower), self.link(namespace, upper)
        if low is None or up is None or upper == lower:
            return False
        return low.master == upper or up.link == lower or (up.kind in TUNNELS and low.kind not in TUNNELS)

    def owns(self, namespace: str, address: str) -> bool:
        """Whether an IP address is one of the namespace's own."""
        return any(own.local == address for own in self.snapshot[namespace].addresses)

    def owner(self, address: str) -> str | None:
        """Return the first namespace that has this IP address, or None."""
        return next((name for name in self.snapshot if self.owns(name, address)), None)

    def has_mac(self, mac: str) -> str | None:
        """Return the first link that has this MAC, as "blue/eth0", or None."""
        for state in self.snapshot.namespaces:
            for link in state.links:
                if link.address == mac:
                    return f"{state.name}/{link.ifname}"
        return None

    def neighbour(self, namespace: str, device: str, address: str) -> Neighbour | None:
        """Return what is known of a neighbour on a link."""
        for entry in self.snapshot[namespace].neighbours:
            if entry.dst == address and entry.dev == device and "proxy" not in entry.flags:
                return entry
        return None

    def fdb(self, namespace: str, bridge: str, mac: str) -> FdbEntry | None:
        """Return the FDB entry by which a bridge finds a MAC: a port's own address first."""
        found = [
            entry
            for entry in self.snapshot[namespace].fdb
            if entry.mac == mac and (entry.master == bridge or (entry.ifname == bridge and not entry.dst))
        ]
        return min(found, key=lambda entry: entry.state != "permanent", default=None)

    def vxlan_fdb(self, namespace: str, device: str, mac: str) -> FdbEntry | None:
        """Return the entry by which a VXLAN device finds a MAC: the VTEP's address."""
        found = [e for e in self.snapshot[namespace].fdb if e.ifname == device and e.dst and "self" in e.flags]
        exact = [entry for entry in found if entry.mac == mac]
        return next(iter([*exact, *(entry for entry in found if entry.mac == "00:00:00:00:00:00")]), None)
