"""How does a Snapshot read as plain text? Aligned tables in iproute2's words, the same from run to run.

Left out, and kept in the data: indexes, the table `local`, rules and sysctls as every namespace has them, group
addresses in the FDB and among neighbours, fallback devices that are down.
"""

from __future__ import annotations

from collections.abc import Iterable

from labkit.state.records import Link
from labkit.state.snapshot import NamespaceState, Snapshot

__all__ = ["namespace_table", "snapshot_table"]

_SHOWN = 12  # namespaces of a snapshot
_TOLD_WHOLE = ("vlan", "macvlan", "ipvlan", "vrf", "ipip", "sit", "ip6tnl", "gre", "gretap", "ip6gre", "geneve")
_USUAL_RULES = {(0, "local"), (32766, "main"), (32767, "default")}


def snapshot_table(snapshot: Snapshot) -> str:
    """Return the tables of the first namespaces, and how many more there are."""
    states = snapshot.namespaces
    shown = [namespace_table(state) for state in states[:_SHOWN]]
    if len(states) > _SHOWN:
        names = ", ".join(state.name for state in states[_SHOWN : _SHOWN + 3])
        more = len(states) - _SHOWN
        shown.append(f"and {more} more: {names}{', ...' if more > 3 else ''}")
    return "\n\n".join(shown) or "a snapshot of no namespace"


def namespace_table(state: NamespaceState) -> str:
    """Return a namespace's links with their addresses, then its routes, neighbours, FDB, rules and sysctls."""
    also = f", also called {', '.join(state.also)}" if state.also else ""
    lines = [f"namespace {state.name}{also}"]
    lines += _section("link", _columns(_link_row(link) for link in state.links if not link.is_fallback))
    lines += _section("address", _columns((address.ifname, address.text) for address in state.addresses))
    lines += _section("route", (route.text for route in state.routes if route.table != "local"))
    lines += _section("neighbour", (entry.text for entry in state.neighbours if entry.state != "NOARP"))
    lines += _section("fdb", (entry.text for entry in state.told_fdb))
    lines += _section("rule", (rule.text for rule in state.rules if (rule.priority, rule.table) not in _USUAL_RULES))
    lines += _section("sysctl", (f"{key} = {value}" for key, value in told_sysctls(state)))
    return "\n".join(lines)


def told_sysctls(state: NamespaceState) -> list[tuple[str, object]]:
    """Return the sysctls that differ from what labkit states for every namespace."""
    told: list[tuple[str, object]] = [
        (key, value) for key, value in state.sysctls.items() if value != "0" and not key.endswith("disable_ipv6")
    ]
    for link in state.links:
        told += [
            (f"net.ipv4.conf.{link.ifname}.{key}", value)
            for key, value in link.sysctls.items()
            if key in ("proxy_arp", "rp_filter") or (key == "forwarding" and not state.forwards)
        ]
    return told


def link_facts(link: Link) -> list[str]:
    """Return what a link has beyond name, state, address and MTU, in words: "peer eth0 in red", "id 42"."""
    facts = []
    if link.peer:
        facts.append(f"peer {link.peer[1]} in {link.peer[0]}")
    elif link.kind == "veth" and link.link_netnsid is not None:
        facts.append("peer in a namespace not shown here")
    if link.master:
        facts.append(f"master {link.master}")
    if link.kind == "vxlan":
        shown = ("id", "local", "remote", "group", "port")
        facts += [f"{key} {link.details[key]}" for key in shown if key in link.details]
    elif link.kind in _TOLD_WHOLE:
        facts += [f"{key} {value}" for key, value in link.details.items()]
    if link.link:
        facts.append(f"on {link.link}")
    usual = {"hairpin": False, "isolated": False, "learning": True, "flood": True, "neigh_suppress": False}
    facts += [
        f"{name} {'on' if link.port[name] else 'off'}"
        for name, value in usual.items()
        if name in link.port and link.port[name] != value
    ]
    if link.port.get("state") in ("listening", "learning", "blocking"):
        facts.append(str(link.port["state"]))
    if "PROMISC" in link.flags:
        facts.append("promiscuous")
    return facts


def _link_row(link: Link) -> tuple[str, ...]:
    address = link.address if link.link_type != "loopback" else ""
    kind = link.kind or link.link_type
    return link.ifname, link.state.upper(), kind, address, f"mtu {link.mtu}", ", ".join(link_facts(link))


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    titles = [title]
    return [f"  {titles.pop() if titles else '':<10} {line}" for line in lines]
