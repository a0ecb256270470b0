"""Which interface is at the other end of this veth?

A veth knows its peer's index and, as a number that only its own namespace understands (the nsid), the peer's
namespace. A namespace is asked for its number for another one (RTM_GETNSID); both ends of a veth tell of each other,
so one answer names both. Asking starts where most veths end, so that a host answers for all its containers at once.
"""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace

from labkit.errors import NamespaceGone, NotFound
from labkit.net import namespace as namespaces
from labkit.net import netlink
from labkit.state.records import Link
from labkit.state.snapshot import NamespaceState

__all__ = ["resolve"]

_HAS_PEER = ("veth", "netkit")

End = tuple[str, int]  # a namespace's name and an index there


def resolve(states: list[NamespaceState]) -> list[NamespaceState]:
    """Return `states` with `peer` of each veth and `nsids` of each namespace filled in, as far as they are visible."""
    names = {(state.name, link.ifindex): link.ifname for state in states for link in state.links}
    nsids: dict[str, dict[int, str]] = {state.name: {} for state in states}
    ends: dict[End, End] = {}
    open_ends = {state.name: _open_ends(state) for state in states}
    for name, left in open_ends.items():
        for index, (far, netnsid) in list(left.items()):
            if netnsid is None:  # both ends in this namespace
                ends[name, index] = name, far
                del left[index]
    facing = _facing(open_ends)
    for name in sorted(open_ends, key=lambda name: -len(open_ends[name])):
        left = open_ends[name]
        candidates = {other for index, (far, _) in left.items() for other in facing[far, index] if other != name}
        numbers = _numbers_in(name, [other for other in open_ends if other in candidates])
        nsids[name].update(numbers)
        for index, (far, netnsid) in list(left.items()):
            other = numbers.get(-1 if netnsid is None else netnsid, "")
            back = open_ends.get(other, {}).get(far)
            if back and back[0] == index:
                ends[name, index], ends[other, far] = (other, far), (name, index)
                nsids[other][back[1] or 0] = name
                del left[index], open_ends[other][far]
                facing[index, far].discard(name)
                facing[far, index].discard(other)
    for state in states:
        nsids[state.name].update(_below_elsewhere(state, names, nsids[state.name]))
    return [
        replace(
            state,
            links=tuple(_with_peer(link, ends.get((state.name, link.ifindex)), names) for link in state.links),
            nsids=tuple(sorted(nsids[state.name].items())),
        )
        for state in states
    ]


def _below_elsewhere(state: NamespaceState, names: dict[End, str], known: dict[int, str]) -> dict[int, str]:
    """Return the numbers of the namespaces where what a macvlan, ipvlan or vlan sits on may be: where it came from."""
    wanted = {
        link.link_index
        for link in state.links
        if link.kind not in _HAS_PEER and link.link_index and link.link_netnsid not in (None, *known)
    }
    return _numbers_in(state.name, sorted({place for place, index in names if index in wanted} - {state.name}))


def _facing(open_ends: dict[str, dict[int, tuple[int, int | None]]]) -> defaultdict[tuple[int, int], set[str]]:
    """Return who has an end with this index whose other end has that index: the only ones worth asking about."""
    facing: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    for name, left in open_ends.items():
        for index, (far, _) in left.items():
            facing[index, far].add(name)
    return facing


def _open_ends(state: NamespaceState) -> dict[int, tuple[int, int | None]]:
    return {
        link.ifindex: (link.link_index, link.link_netnsid)
        for link in state.links
        if link.kind in _HAS_PEER and link.link_index
    }


def _with_peer(link: Link, end: End | None, names: dict[End, str]) -> Link:
    return replace(link, peer=(end[0], names[end])) if end in names else link


def _numbers_in(name: str, others: list[str]) -> dict[int, str]:
    """Return which namespaces the numbers that namespace `name` uses stand for."""
    found: dict[int, str] = {}
    if others:
        with netlink.socket_in(name) as opened:
            for other in others:
                with suppress(NotFound, NamespaceGone):
                    found[_number_of(opened, other)] = other
    found.pop(-1, None)  # of those that it has no number for
    return found


def _number_of(opened: netlink.Socket, other: str) -> int:
    descriptor = namespaces.open_namespace(other)
    try:
        body = netlink.pack(netlink.FamilyHeader()) + netlink.attribute(3, struct.pack("=I", descriptor))  # NETNSA_FD
        (answer,) = opened.ask(netlink.Request(netlink.GETNSID, netlink.REQUEST, body))
        return int(struct.unpack("=i", answer.attributes[1])[0])  # NETNSA_NSID
    finally:
        os.close(descriptor)
