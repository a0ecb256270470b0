"""Why did nobody answer: was it the neighbour?

Asks the kernel which neighbour a packet needs (RTM_GETROUTE) and whether that neighbour's address is known
(RTM_GETNEIGH). Source: rtnetlink(7).
"""

from __future__ import annotations

import ipaddress
import socket
import struct

from labkit.packets.inside import inside

__all__ = ["unanswered"]

RTM_GETROUTE, RTM_GETNEIGH, NLM_F_REQUEST = 26, 30, 1
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC = 1, 4, 5, 7
NDA_DST = 1
NUD_INCOMPLETE, NUD_FAILED = 0x01, 0x20

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def unanswered(namespace: str, address: Address, own: str | None = None) -> str | None:
    """Return "ARP for 10.0.0.3" ("neighbour solicitation for fd00::3") if that is what got no answer, else None.

    own: an address that complained; where it is not the sender's own, somebody else's neighbour is meant, and None
    is returned."""
    try:
        found = inside(namespace, lambda: _look(address))
    except OSError:
        return None
    if found is None:
        return None
    neighbour, state, source = found
    if own is not None and own != source:
        return None
    if own is None and not state & (NUD_INCOMPLETE | NUD_FAILED):
        return None
    return f"{'ARP' if address.version == 4 else 'neighbour solicitation'} for {neighbour}"


def _look(address: Address) -> tuple[str, int, str] | None:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    packed = address.packed
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(1.0)
        header = struct.pack("=BBBBBBBBI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
        route = _ask(sock, RTM_GETROUTE, header + _attribute(RTA_DST, packed), 12)
        if route is None or RTA_OIF not in route[1]:
            return None
        index = struct.unpack("=I", route[1][RTA_OIF])[0]
        hop = route[1].get(RTA_GATEWAY, packed)
        header = struct.pack("=BBHIHBB", family, 0, 0, index, 0, 0, 0)
        neighbour = _ask(sock, RTM_GETNEIGH, header + _attribute(NDA_DST, hop), 12)
        state = struct.unpack_from("=H", neighbour[0], 8)[0] if neighbour else 0
        source = route[1].get(RTA_PREFSRC, b"")
        return socket.inet_ntop(family, hop), state, socket.inet_ntop(family, source) if source else ""


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value


def _ask(sock: socket.socket, kind: int, body: bytes, fixed: int) -> tuple[bytes, dict[int, bytes]] | None:
    """Send one question; return the answer's fixed part and attributes, or None if the kernel knows nothing."""
    sock.send(struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST, 1, 0) + body)
    answer = sock.recv(65536)
    length, what = struct.unpack_from("=IH", answer)
    if what != kind - 2:  # RTM_NEW..., not an error
        return None
    attributes: dict[int, bytes] = {}
    at = 16 + fixed
    while at + 4 <= length:
        size, name = struct.unpack_from("=HH", answer, at)
        if size < 4:
            break
        attributes[name & 0x3FFF] = answer[at + 4 : at + size]
        at += (size + 3) & ~3
    return answer[16 : 16 + fixed], attributes
