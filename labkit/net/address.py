"""Addresses: by which IP addresses is an interface known?"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Callable
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton

from labkit.errors import WrongUse
from labkit.net.netlink import CREATE, DELADDR, EXCL, NEWADDR, AddressHeader
from labkit.net.operation import Attributes, Message, Operation, verb

__all__ = ["add", "delete", "interface", "pack_ip"]

_ADDRESS, _LOCAL, _BROADCAST, _FLAGS = 1, 2, 4, 8
_NO_DAD = (0x02).to_bytes(4, "little")  # IFA_F_NODAD

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


def pack_ip(text: str) -> tuple[int, bytes]:
    """Return the family (2 or 10) and the bytes of an IP address. Raises OSError."""
    family = AF_INET6 if ":" in text else AF_INET
    return family, inet_pton(family, text)


def _operation(
    verb: str,
    kind: int,
    flags: int,
    address: str,
    link: str,
    namespace: str,
    undone_by: Callable[[], Operation] | None = None,
    success: tuple[int, ...] = (),
) -> Operation:
    parsed = interface(f"failed to {verb} '{address}' in namespace '{namespace}'", address)
    packed = parsed.ip.packed
    attributes: Attributes = ((_LOCAL, packed), (_ADDRESS, packed))
    broadcast, careless = "", ""
    if kind == NEWADDR and parsed.version == 4 and parsed.network.prefixlen < 31:
        attributes += ((_BROADCAST, parsed.network.broadcast_address.packed),)
        broadcast = " broadcast +"
    if kind == NEWADDR and parsed.version == 6:
        attributes += ((_FLAGS, _NO_DAD),)
        careless = " nodad"
    header = AddressHeader(AF_INET if parsed.version == 4 else AF_INET6, parsed.network.prefixlen)
    words = f"address {verb} {address}{broadcast} dev {link}{careless}"
    message = Message(kind, flags, header, attributes, dev=link)
    return Operation(verb, address, namespace, words, message, success=success, undone_by=undone_by)


@verb
def add(address: str, link: str, *, namespace: str = "host") -> Operation:
    """The link has `address` ("10.0.0.2/24"), and with it the route to the subnet once it is up.

    IPv4 subnets that have one get their broadcast address too; an IPv6 address is usable at once (no duplicate address
    detection). Raises WrongUse (no prefix length), NotFound (link), Duplicate. Same as:
    ip address add 10.0.0.2/24 broadcast + dev LINK (IPv6: ... nodad)"""

    def undone_by() -> Operation:
        return delete.plan(address, link, namespace=namespace)

    return _operation("add", NEWADDR, CREATE | EXCL, address, link, namespace, undone_by)


@verb
def delete(address: str, link: str, *, namespace: str = "host") -> Operation:
    """The link no longer has `address`. Deleting what is gone is success. Same as: ip address delete ... dev LINK"""
    return _operation("delete", DELADDR, 0, address, link, namespace, success=(errno.EADDRNOTAVAIL, errno.ENODEV))
