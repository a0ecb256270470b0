"""Neighbours: which MAC belongs to an IP address on this link?"""

from __future__ import annotations

import errno

from labkit.errors import WrongUse
from labkit.net.address import pack_ip
from labkit.net.names import check_mac, pack_mac
from labkit.net.netlink import CREATE, DELNEIGH, NEWNEIGH, REPLACE, NeighbourHeader
from labkit.net.operation import Attributes, Message, Operation, verb

__all__ = ["add", "delete"]

_DST, _LLADDR = 1, 2
_PERMANENT = 0x80


def _message(what: str, kind: int, flags: int, address: str, link: str, mac: str | None) -> Message:
    try:
        family, packed = pack_ip(address)
    except OSError as error:
        raise WrongUse(f"{what}: '{address}' is not an IP address", "a neighbour has no prefix length") from error
    attributes: Attributes = ((_DST, packed),)
    if mac is not None:
        attributes += ((_LLADDR, pack_mac(check_mac(what, mac))),)
    return Message(kind, flags, NeighbourHeader(family, 0, _PERMANENT if mac else 0), attributes, dev=link)


@verb
def add(address: str, mac: str, link: str, *, namespace: str = "host") -> Operation:
    """`address` is at `mac` on `link`, for good: nobody asks by ARP, and an entry that was there is replaced.

    Raises WrongUse, NotFound (link). Same as: ip neighbour replace ADDRESS lladdr MAC dev LINK nud permanent"""
    what = f"failed to add '{address}' in namespace '{namespace}'"
    return Operation(
        "add",
        address,
        namespace,
        f"neighbour replace {address} lladdr {mac} dev {link} nud permanent",
        _message(what, NEWNEIGH, CREATE | REPLACE, address, link, mac),
        undone_by=lambda: delete.plan(address, link, namespace=namespace),
    )


@verb
def delete(address: str, link: str, *, namespace: str = "host") -> Operation:
    """The entry is gone. Deleting what is gone is success. Same as: ip neighbour delete ADDRESS dev LINK"""
    what = f"failed to delete '{address}' in namespace '{namespace}'"
    message = _message(what, DELNEIGH, 0, address, link, None)
    words = f"neighbour delete {address} dev {link}"
    return Operation("delete", address, namespace, words, message, success=(errno.ENOENT, errno.ENODEV))
