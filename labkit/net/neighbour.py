"""Neighbours: which MAC belongs to an IP address on this link?"""

from __future__ import annotations

import errno
import ipaddress
from dataclasses import replace
from socket import AF_INET, AF_INET6

from labkit.errors import WrongUse
from labkit.net.names import check_mac, pack_mac
from labkit.net.netlink import CREATE, DELNEIGH, NEWNEIGH, REPLACE, NeighbourHeader
from labkit.net.operation import Attributes, Message, Operation, verb

__all__ = ["add", "delete"]

_DST, _LLADDR = 1, 2
_PERMANENT = 0x80


def _operation(verb: str, address: str, link: str, namespace: str, mac: str | None) -> Operation:
    what = f"failed to {verb} '{address}' in namespace '{namespace}'"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise WrongUse(f"{what}: '{address}' is not an IP address", "a neighbour has no prefix length") from error
    attributes: Attributes = ((_DST, parsed.packed),)
    words = f"neighbour {verb} {address} dev {link}"
    if mac is not None:
        attributes += ((_LLADDR, pack_mac(check_mac(what, mac))),)
        words = f"neighbour replace {address} lladdr {mac} dev {link} nud permanent"
    header = NeighbourHeader(AF_INET if parsed.version == 4 else AF_INET6, 0, _PERMANENT if mac else 0)
    kind, flags = (NEWNEIGH, CREATE | REPLACE) if mac else (DELNEIGH, 0)
    return Operation(verb, address, namespace, words, Message(kind, flags, header, attributes, dev=link))


@verb
def add(address: str, mac: str, link: str, *, namespace: str = "host") -> Operation:
    """`address` is at `mac` on `link`, for good: nobody asks by ARP, and an entry that was there is replaced.

    Raises WrongUse, NotFound (link). Same as: ip neighbour replace ADDRESS lladdr MAC dev LINK nud permanent"""
    operation = _operation("add", address, link, namespace, mac)
    return replace(operation, undone_by=lambda: delete.plan(address, link, namespace=namespace))


@verb
def delete(address: str, link: str, *, namespace: str = "host") -> Operation:
    """The entry is gone. Deleting what is gone is success. Same as: ip neighbour delete ADDRESS dev LINK"""
    return replace(_operation("delete", address, link, namespace, None), success=(errno.ENOENT,))
