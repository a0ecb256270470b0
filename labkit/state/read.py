"""Ask the kernel: one socket a namespace, one dump a table, a few sysctls."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from labkit.errors import NamespaceGone, NotFound
from labkit.net import namespace as namespaces
from labkit.net import netlink
from labkit.net.here import ensure_lab_machine
from labkit.state import decode, peers
from labkit.state.records import Details, Link, Record
from labkit.state.snapshot import NamespaceState, Snapshot

__all__ = ["snapshot"]

_AF_BRIDGE = 7
_FOLLOWS_CARRIER = ("UP", "DOWN", "LOWERLAYERDOWN")
_ROUNDS = 4
_GETNETCONF = 82
_PROXY = 8  # NTF_PROXY: addresses answered for on another's behalf
_BRIDGE_CALLS = "net.bridge.bridge-nf-call-iptables"
_NETCONF = {
    socket.AF_INET: {
        2: "net.ipv4.ip_forward",
        3: "net.ipv4.conf.all.rp_filter",
        5: "net.ipv4.conf.all.proxy_arp",
    },
    socket.AF_INET6: {2: "net.ipv6.conf.all.forwarding"},
}
_WITHOUT_STATISTICS = netlink.pack(netlink.LinkHeader()) + netlink.attribute(29, struct.pack("=I", 1 << 3))

Entry = TypeVar("Entry", bound=Record)


@dataclass
class Place:
    """A namespace about to be read: its names (the first is the one to use), then what was read."""

    inode: int
    names: list[str]
    state: NamespaceState | None = None


def snapshot(*names: str) -> Snapshot:
    """Return what the kernel says about namespaces: those named, or the host and all that have a name.

    Two names of one namespace give one state, found by either. Nothing changes by looking.
    Same as: ip link, address, route, neighbour and rule show, bridge fdb and link show, in each namespace.
    Raises NotFound, NamespaceGone, NotInLabMachine."""
    ensure_lab_machine("read the network")
    places = _places(names)
    return namespaces.inside("host", lambda: _read_all(places, all_named=bool(names)))


def _places(names: tuple[str, ...]) -> list[Place]:
    places: dict[int, Place] = {}
    for name in names or ("host", *namespaces.names()):
        try:
            inode = namespaces.inode(name)
        except (NotFound, NamespaceGone):
            if names:
                raise
            continue  # it died between the list and here, or its keeper did: there is nothing to read
        places.setdefault(inode, Place(inode, [])).names.append(name)
    return list(places.values())


def _read_all(places: list[Place], *, all_named: bool) -> Snapshot:
    for _ in range(_ROUNDS):
        unsettled = False
        for place in places:
            place.state = None
            try:
                with namespaces.enter(place.names[0]):
                    opened = netlink.Socket()
                    try:
                        place.state = _read_here(place, opened)
                        unsettled |= _settle(place.state, opened)
                    finally:
                        opened.close()
            except (NotFound, NamespaceGone):
                if all_named:
                    raise
        if not unsettled:
            break
    return Snapshot(tuple(peers.resolve([place.state for place in places if place.state is not None])))


def _settle(state: NamespaceState, opened: netlink.Socket) -> bool:
    """Return whether a link's carrier changed and the kernel has yet to draw the consequences (operstate, routes marked
    linkdown), which it does some time later, or at once for a link that is asked for by itself."""
    waiting = [
        link
        for link in state.links
        if link.operstate in _FOLLOWS_CARRIER and (link.operstate == "UP") != link.has_carrier
    ]
    for link in waiting:
        with suppress(netlink.Refusal):
            body = netlink.pack(netlink.LinkHeader(ifindex=link.ifindex))
            opened.ask(netlink.Request(netlink.GETLINK, netlink.REQUEST, body))
    return bool(waiting)


def _read_here(place: Place, opened: netlink.Socket) -> NamespaceState:
    told_links = opened.dump(netlink.GETLINK, _WITHOUT_STATISTICS)
    names = decode.names_by_index(told_links)
    links = [decode.link(record, names) for record in told_links]

    def told(
        kind: int, header: netlink.Header, decoded: Callable[[netlink.Record, Mapping[int, str]], Entry]
    ) -> tuple[Entry, ...]:
        records = opened.dump(kind, netlink.pack(header))
        return tuple(decoded(record, names) for record in records if _is_entry(record))

    fdb = told(netlink.GETNEIGH, netlink.NeighbourHeader(family=_AF_BRIDGE), decode.fdb_entry)
    neighbours = told(netlink.GETNEIGH, netlink.NeighbourHeader(), decode.neighbour)
    proxies = told(netlink.GETNEIGH, netlink.NeighbourHeader(flags=_PROXY), decode.neighbour)
    order = {name: index for index, name in names.items()}
    return NamespaceState(
        name=place.names[0],
        inode=place.inode,
        also=tuple(place.names[1:]),
        links=tuple(links),
        addresses=told(netlink.GETADDR, netlink.AddressHeader(), decode.address),
        routes=told(netlink.GETROUTE, netlink.RouteHeader(), decode.route),
        neighbours=tuple(
            sorted(
                neighbours + proxies,
                key=lambda entry: (entry.family, order.get(entry.dev, 0), _ip_order(entry.dst)),
            )
        ),
        fdb=tuple(sorted(fdb, key=lambda entry: (order.get(entry.ifname, 0), entry.mac, entry.vlan or 0, entry.flags))),
        rules=told(netlink.GETRULE, netlink.RouteHeader(), decode.rule),
        sysctls=_sysctls(opened, links),
    )


def _is_entry(record: netlink.Record) -> bool:
    """Not a multicast routing table's, and not a route that a cache made for one destination."""
    cloned = record.kind == netlink.NEWROUTE and record.header.flags & 0x200
    return record.header.family in (socket.AF_INET, socket.AF_INET6, _AF_BRIDGE) and not cloned


def _ip_order(ip: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)


def _sysctls(opened: netlink.Socket, links: list[Link]) -> Details:
    """By netlink, since opening a file below /proc/sys/net takes longer the more namespaces there are."""
    every = netlink.attribute(1, struct.pack("=i", -1))  # NETCONFA_IFINDEX: conf/all
    found: dict[str, str] = {}
    for family, sysctls in _NETCONF.items():
        with suppress(netlink.Refusal):  # a kernel without IPv6
            asked = netlink.Request(_GETNETCONF, netlink.REQUEST, netlink.pack(netlink.FamilyHeader(family)) + every)
            for answer in opened.ask(asked):
                tells = answer.attributes
                found.update(
                    {
                        key: str(int.from_bytes(tells[kind], sys.byteorder))
                        for kind, key in sysctls.items()
                        if kind in tells
                    }
                )
    for link in links:
        if link.ifname == "lo" and "disable_ipv6" in link.sysctls:
            found["net.ipv6.conf.lo.disable_ipv6"] = str(link.sysctls["disable_ipv6"])
    if any(link.kind == "bridge" for link in links):
        with suppress(OSError), open(f"/proc/sys/{_BRIDGE_CALLS.replace('.', '/')}", encoding="ascii") as setting:
            found[_BRIDGE_CALLS] = setting.read().strip()
    return Details(found)
