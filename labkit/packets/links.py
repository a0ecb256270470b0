"""Which links can be captured on in this namespace, and what do their frames begin with?

Every function here runs inside the namespace (`inside`). The constants are those of linux/sockios.h and linux/if_arp.h.
"""

from __future__ import annotations

import fcntl
import socket
import struct

from labkit.errors import NotFound

__all__ = ["ETHERNET", "RAW", "hardware_type", "index_of", "ipv4_address", "linktype", "lladdr", "name_of"]

SIOCGIFNAME = 0x8910
SIOCGIFADDR = 0x8915
SIOCGIFHWADDR = 0x8927

ETHERNET = 1  # LINKTYPE_ETHERNET: frames begin with an Ethernet header
RAW = 101  # LINKTYPE_RAW: frames begin with an IP header (tun, IPIP)
UNKNOWN = 147  # LINKTYPE_USER0: bytes that nothing here decodes

_ARPHRD = {1: ETHERNET, 772: ETHERNET, 65534: RAW, 768: RAW, 769: RAW, 776: RAW, 778: RAW}


def linktype(hardware: int) -> int:
    """Return what the frames of a link of `hardware` type (ARPHRD_*) begin with: ETHERNET, RAW or UNKNOWN."""
    return _ARPHRD.get(hardware, UNKNOWN)


def index_of(name: str, namespace: str, verb: str) -> int:
    """Return the ifindex of link `name`. Raises NotFound, which names the links there."""
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        there = ", ".join(name for _, name in sorted(socket.if_nameindex()))
        raise NotFound(
            f"failed to {verb} '{name}' in namespace '{namespace}': no such link", f"links there: {there}"
        ) from error


def name_of(sock: socket.socket, index: int) -> str | None:
    """Return the name of link `index` in the socket's own namespace, from any thread, or None if it is gone."""
    try:
        answer = fcntl.ioctl(sock, SIOCGIFNAME, struct.pack("16si20x", b"", index))
    except OSError:
        return None
    return answer[:16].split(b"\0")[0].decode()


def hardware_type(sock: socket.socket, name: str) -> int:
    """Return the ARPHRD_* number of link `name`."""
    return int(struct.unpack_from("H", _ask(sock, SIOCGIFHWADDR, name), 16)[0])


def lladdr(sock: socket.socket, name: str) -> bytes:
    """Return the MAC of link `name`, six bytes."""
    return _ask(sock, SIOCGIFHWADDR, name)[18:24]


def ipv4_address(sock: socket.socket, name: str) -> str | None:
    """Return the first IPv4 address of link `name`, or None if it has none."""
    try:
        return socket.inet_ntoa(_ask(sock, SIOCGIFADDR, name)[20:24])
    except OSError:
        return None


def _ask(sock: socket.socket, request: int, name: str) -> bytes:
    return fcntl.ioctl(sock, request, struct.pack("16s24x", name.encode()))
