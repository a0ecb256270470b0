"""Addresses: by which IP addresses is an interface known?"""

from __future__ import annotations

import errno
import ipaddress
from dataclasses import replace
from functools import lru_cache
from socket import AF_INET, AF_INET6

from labkit.errors import WrongUse
from labkit.net.netlink import CREATE, DELADDR, EXCL, NEWADDR, AddressHeader
from labkit.net.operation import Attributes, Message, Operation, verb

__all__ = ["add", "delete", "interface"]

_ADDRESS, _LOCAL, _BROADCAST, _FLAGS = 1, 2, 4, 8
_NO_DAD = 0x02

IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@lru_cache(maxsize=4096)
def interface(what: str, text: str) -> IPInterface:
    """Return an address with its prefix length, "10.0.0.2/24". `what` opens the sentence of the WrongUse raised."""
    try:
        parsed = ipaddress.ip_interface(text)
    except ValueError as error:
        raise WrongUse(f"{what}: '{text}' is not an IP address", "write it as 10.0.0.2/24 or fd00::2/64") from error
    if "/" not in text:
        length = 24 if parsed.version == 4 else 64
        raise WrongUse(f"{what}: address '{text}' has no prefix length", f"write it as {text}/{length}")
    return parsed


def _operation(verb: str, kind: int, flags: int, address: str, link: str, namespace: str, words: str) -> Operation:
    parsed = interface(f"failed to {verb} '{address}' in namespace '{namespace}'", address)
    packed = parsed.ip.packed
    attributes: Attributes = ((_LOCAL, packed), (_ADDRESS, packed))
    if words:
        attributes += ((_BROADCAST, parsed.network.broadcast_address.packed),)
    header = AddressHeader(AF_INET if parsed.version == 4 else AF_INET6, parsed.network.prefixlen)
    message = Message(kind, flags, header, attributes, dev=link)
    return Operation(verb, address, namespace, f"address {verb} {address}{words} dev {link}", message)


@verb
def add(address: str, link: str, *, namespace: str = "host") -> Operation:
    """The link has `address` ("10.0.0.2/24"), and with it the route to the subnet once it is up.

    IPv4 subnets that have one get their broadcast address too; an IPv6 address is usable at once (no duplicate address
    detection). Raises WrongUse (no prefix length), NotFound (link), Duplicate. Same as:
    ip address add 10.0.0.2/24 broadcast + dev LINK (IPv6: ... nodad)"""
    parsed = interface(f"failed to add '{address}' in namespace '{namespace}'", address)
    broadcast = " broadcast +" if parsed.version == 4 and parsed.network.prefixlen < 31 else ""
    operation = _operation("add", NEWADDR, CREATE | EXCL, address, link, namespace, broadcast)
    if parsed.version == 6:
        message = operation.message._replace(attributes=(*operation.message.attributes, (_FLAGS, _DAD_OFF)))
        operation = replace(operation, message=message, words=operation.words + " nodad")
    return replace(operation, undone_by=lambda: delete.plan(address, link, namespace=namespace))


@verb
def delete(address: str, link: str, *, namespace: str = "host") -> Operation:
    """The link no longer has `address`. Deleting what is gone is success. Same as: ip address delete ... dev LINK"""
    operation = _operation("delete", DELADDR, 0, address, link, namespace, "")
    return replace(operation, success=(errno.EADDRNOTAVAIL,))


_DAD_OFF = _NO_DAD.to_bytes(4, "little")
