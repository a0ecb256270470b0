"""Which packets are in a frame? From the outermost to the innermost: what a tunnel carries is a packet too.

Only what tells one packet from another and what changes on the way is taken apart here; `labkit.packets` has the words
(decode) and every field (layers). Source: RFC 791, 8200, 792, 4443, 768, 9293, 826, 4861, 7348, 8926, 2784.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace

from labkit.packets.decode import GENEVE_PORT, VXLAN_PORTS
from labkit.packets.links import ETHERNET, RAW
from labkit.tracing.records import Headers

__all__ = ["Packet", "packets_in"]

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
ECHO_REQUEST, ECHO_REPLY = {ICMP: 8, ICMP6: 128}, {ICMP: 0, ICMP6: 129}
ERRORS = {ICMP: (3, 11, 12), ICMP6: (1, 2, 3, 4)}
_ARP, _IP4, _IP6, _VLAN = 0x0806, 0x0800, 0x86DD, (0x8100, 0x88A8)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: of Ethernet, IP or ARP, as far as it goes. `outer`: the tunnels around it, in words.

    `ident`: IPv4's identification, or IPv6's in a fragment header. `offset` and `more`: of a fragment, in bytes.
    `body`: what IP carries; `arp`: operation, sender's MAC and IP, target's MAC and IP."""

    src_mac: str = ""
    dst_mac: str = ""
    vlan: int | None = None
    ethertype: int = 0
    src: str = ""
    dst: str = ""
    ttl: int = 0
    protocol: int = -1
    ident: int = 0
    offset: int = 0
    more: bool = False
    df: bool = False
    length: int = 0
    body: bytes = b""
    arp: tuple[int, str, str, str, str] | None = None
    outer: tuple[str, ...] = ()

    @property
    def kind(self) -> int:
        """The ICMP type, or -1."""
        return self.body[0] if self.protocol in (ICMP, ICMP6) and self.body and not self.offset else -1

    @property
    def ports(self) -> tuple[int, int] | None:
        """Source and destination port, where there are any."""
        if self.protocol in (TCP, UDP, 132) and len(self.body) >= 4 and not self.offset:
            return int.from_bytes(self.body[:2], "big"), int.from_bytes(self.body[2:4], "big")
        return None

    @property
    def flags(self) -> int:
        """TCP's flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16."""
        return self.body[13] if self.protocol == TCP and len(self.body) >= 14 and not self.offset else 0

    @property
    def sequence(self) -> int:
        """TCP's sequence number."""
        return int.from_bytes(self.body[4:8], "big")

    @property
    def acknowledged(self) -> int:
        """TCP's acknowledgement number."""
        return int.from_bytes(self.body[8:12], "big")

    @property
    def payload(self) -> bytes:
        """What TCP, UDP or ICMP carries."""
        if self.offset:
            return self.body
        if self.protocol == TCP:
            return self.body[(self.body[12] >> 4) * 4 :] if len(self.body) >= 20 else b""
        return self.body[8:] if self.protocol in (UDP, ICMP, ICMP6) else self.body

    @property
    def ends(self) -> tuple[int, str, str, int, int]:
        """Protocol, addresses and ports: who talks to whom."""
        return (self.protocol, self.src, self.dst, *(self.ports or (0, 0)))

    @property
    def back(self) -> tuple[int, str, str, int, int]:
        """The ends of what answers it."""
        protocol, src, dst, sport, dport = self.ends
        return protocol, dst, src, dport, sport

    @property
    def quoted(self) -> Packet | None:
        """The packet that this ICMP error is about: its beginning."""
        if self.protocol in ERRORS and self.kind in ERRORS[self.protocol]:
            return next(iter(_ip(self.body[8:], Packet())), None)
        return None

    @property
    def headers(self) -> Headers:
        """What a hop tells of it."""
        sport, dport = self.ports or (None, None)
        if self.arp:
            return Headers(self.src_mac, self.dst_mac, self.arp[2], self.arp[4], outer=self.outer)
        ttl = self.ttl if self.protocol >= 0 else None
        return Headers(self.src_mac, self.dst_mac, self.src, self.dst, sport, dport, ttl, self.outer)


def packets_in(data: bytes, linktype: int = ETHERNET) -> list[Packet]:
    """Return the packets in a frame, outermost first; bytes that make no sense end the list."""
    found: list[Packet] = []
    try:
        if linktype == ETHERNET:
            found += _ethernet(data, Packet())
        elif linktype == RAW:
            found += _ip(data, Packet())
    except (IndexError, ValueError, OSError):  # cut short
        pass
    return found


def _ethernet(data: bytes, around: Packet) -> Iterator[Packet]:
    if len(data) < 14:
        return
    kind, at, vlan = int.from_bytes(data[12:14], "big"), 14, None
    while kind in _VLAN:
        vlan, kind, at = int.from_bytes(data[at : at + 2], "big") & 0xFFF, _number(data, at + 2), at + 4
    frame = Packet(data[6:12].hex(":"), data[:6].hex(":"), vlan, kind, body=data[at:], outer=around.outer)
    if kind == _ARP:
        yield replace(frame, arp=_arp(data[at:]))
    elif kind in (_IP4, _IP6):
        yield from _ip(data[at:], frame)
    else:
        yield frame


def _arp(data: bytes) -> tuple[int, str, str, str, str]:
    return _number(data, 6), data[8:14].hex(":"), _address(data[14:18]), data[18:24].hex(":"), _address(data[24:28])


def _ip(data: bytes, frame: Packet) -> Iterator[Packet]:
    packet = _ip4(data, frame) if data[0] >> 4 == 4 else _ip6(data, frame)
    yield packet
    if not packet.offset:
        yield from _inside(packet)


def _ip4(data: bytes, frame: Packet) -> Packet:
    header, total, fragment = (data[0] & 15) * 4, _number(data, 2), _number(data, 6)
    return replace(
        frame,
        src=_address(data[12:16]),
        dst=_address(data[16:20]),
        ttl=data[8],
        protocol=data[9],
        ident=_number(data, 4),
        offset=(fragment & 0x1FFF) * 8,
        more=bool(fragment & 0x2000),
        df=bool(fragment & 0x4000),
        length=total,
        body=data[header : total or None],
    )


def _ip6(data: bytes, frame: Packet) -> Packet:
    length, protocol, at = _number(data, 4), data[6], 40
    ident = offset = 0
    more = False
    while protocol in (0, 43, 44, 60):  # hop-by-hop, routing, fragment, destination options
        if protocol == 44:
            word = _number(data, at + 2)
            offset, more, ident = word & ~7, bool(word & 1), int.from_bytes(data[at + 4 : at + 8], "big")
        protocol, at = data[at], at + (8 if protocol == 44 else 8 * (data[at + 1] + 1))
    return replace(
        frame,
        src=_address(data[8:24]),
        dst=_address(data[24:40]),
        ttl=data[7],
        protocol=protocol,
        ident=ident,
        offset=offset,
        more=more,
        df=True,  # routers never fragment IPv6
        length=40 + length,
        body=data[at : 40 + length],
    )


def _inside(packet: Packet) -> Iterator[Packet]:
    """Yield what a tunnel's packet carries."""
    ends = f"{packet.src} > {packet.dst}"
    if packet.protocol in (4, 41):
        name = "IPIP" if packet.protocol == 4 else "IPv6-in-IP"
        yield from _ip(packet.body, Packet(outer=(*packet.outer, f"{name}, {ends}")))
    elif packet.protocol == 47 and len(packet.body) >= 4:
        at = 4 + 4 * sum(bool(packet.body[0] & bit) for bit in (0x80, 0x20, 0x10))  # checksum, key, sequence
        around = Packet(outer=(*packet.outer, f"GRE, {ends}"))
        inner = _ethernet if _number(packet.body, 2) == 0x6558 else _ip
        yield from inner(packet.body[at:], around)
    elif packet.protocol == UDP and packet.ports and len(packet.body) >= 16:
        port, data = packet.ports[1], packet.body[8:]
        vni = int.from_bytes(data[4:7], "big")
        if port in VXLAN_PORTS:
            yield from _ethernet(data[8:], Packet(outer=(*packet.outer, f"VXLAN vni {vni}, {ends}:{port}")))
        elif port == GENEVE_PORT:
            header = 8 + (data[0] & 0x3F) * 4
            yield from _ethernet(data[header:], Packet(outer=(*packet.outer, f"Geneve vni {vni}, {ends}:{port}")))


def _number(data: bytes, at: int) -> int:
    if at + 2 > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + 2], "big")


def _address(data: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)
