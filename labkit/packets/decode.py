"""How does a frame read in one line?

A small decoder for the headers of this course; whatever it does not know it says by number. No value that the kernel
picks anew in each run is in a line, so that two runs print the same.
Source: RFC 791, 792, 793, 768, 826, 1035, 4443, 4861, 7348, 8200.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from labkit.packets.links import ETHERNET, RAW

__all__ = ["EPHEMERAL", "addresses", "summary"]

EPHEMERAL = range(32768, 61000)  # net.ipv4.ip_local_port_range
VXLAN_PORTS = (4789, 8472)  # RFC 7348; what Linux and flannel use
GENEVE_PORT = 6081

ICMP4 = {0: "echo-reply", 3: "unreachable", 5: "redirect", 8: "echo-request", 11: "time-exceeded"}
UNREACHABLE4 = {
    0: "net-unreachable",
    1: "host-unreachable",
    2: "protocol-unreachable",
    3: "port-unreachable",
    4: "fragmentation-needed",
    9: "net-prohibited",
    10: "host-prohibited",
    13: "admin-prohibited",
}
ICMP6 = {
    1: "unreachable",
    2: "packet-too-big",
    3: "time-exceeded",
    128: "echo-request",
    129: "echo-reply",
    130: "listener-query",
    131: "listener-report",
    132: "listener-done",
    133: "router-solicitation",
    134: "router-advertisement",
    135: "neighbour-solicitation",
    136: "neighbour-advertisement",
    143: "listener-report",
}
PROTOCOLS = {2: "IGMP", 4: "IPIP", 6: "TCP", 17: "UDP", 41: "IPv6-in-IP", 47: "GRE", 50: "ESP", 89: "OSPF", 132: "SCTP"}
DNS_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 255: "ANY"}
DNS_CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


@dataclass
class _Line:
    """What is being told about one frame. `pairs` collects the addresses met, for `addresses`."""

    full: bool
    pairs: set[tuple[str, str]] = field(default_factory=set)


def summary(data: bytes, length: int, linktype: int = ETHERNET, *, full: bool = False) -> str:
    """Return one stable line about a frame of `length` bytes on the wire, of which `data` was kept."""
    return _told(data, length, linktype, _Line(full))


def addresses(data: bytes, linktype: int = ETHERNET) -> set[tuple[str, str]]:
    """Return the (source, destination) pairs in a frame: MACs, IP addresses, ARP's, and those inside a tunnel."""
    line = _Line(full=False)
    _told(data, len(data), linktype, line)
    return line.pairs


def _told(data: bytes, length: int, linktype: int, line: _Line) -> str:
    try:
        if linktype == ETHERNET:
            return _ethernet(data, line)
        if linktype == RAW:
            return _ip(data, line)
    except IndexError:
        return f"cut short: {len(data)} of {length} bytes"
    return f"{length} bytes that nothing here decodes"


def _byte(data: bytes, at: int) -> int:
    return data[at]


def _number(data: bytes, at: int, size: int = 2) -> int:
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "big")


def mac(raw: bytes) -> str:
    """Return six bytes as "02:00:00:00:00:01"."""
    return raw.hex(":")


def _ipv4(data: bytes, at: int) -> str:
    if at + 4 > len(data):
        raise IndexError
    return socket.inet_ntoa(data[at : at + 4])


def _ipv6(data: bytes, at: int) -> str:
    if at + 16 > len(data):
        raise IndexError
    return socket.inet_ntop(socket.AF_INET6, data[at : at + 16])


def _ethernet(data: bytes, line: _Line) -> str:
    destination, source, kind, at = mac(data[:6]), mac(data[6:12]), _number(data, 12), 14
    line.pairs.add((source, destination))
    tags = ""
    while kind in (0x8100, 0x88A8):
        tags += f"VLAN {_number(data, at) & 0xFFF} "
        kind, at = _number(data, at + 2), at + 4
    rest = data[at:]
    if kind == 0x0806:
        return tags + _arp(rest, line)
    if kind in (0x0800, 0x86DD):
        return tags + _ip(rest, line)
    if kind < 0x0600:  # 802.3: a length; the bridge's spanning tree speaks so
        return f"{tags}{source} > {destination} " + ("STP" if rest[:2] == b"\x42\x42" else f"LLC, {kind} bytes")
    return f"{tags}{source} > {destination} ethertype 0x{kind:04x}, {len(rest)} bytes"


def _arp(data: bytes, line: _Line) -> str:
    operation = _number(data, 6)
    sender, target = _ipv4(data, 14), _ipv4(data, 24)
    line.pairs.add((sender, target))
    if operation == 1 and sender == target:
        return f"ARP announce {sender} is-at {mac(data[8:14])}"
    if operation == 1:
        asking = "" if sender == "0.0.0.0" else f" tell {sender}"  # noqa: S104 - RFC 5227: a probe has no sender
        return f"ARP who-has {target}{asking}"
    if operation == 2:
        return f"ARP {sender} is-at {mac(data[8:14])}"
    return f"ARP operation {operation}"


def _ip(data: bytes, line: _Line) -> str:
    return _ip4(data, line) if _byte(data, 0) >> 4 == 4 else _ip6(data, line)


def _ip4(data: bytes, line: _Line) -> str:
    header = (_byte(data, 0) & 15) * 4
    total, fragment, protocol = _number(data, 2), _number(data, 6), _byte(data, 9)
    source, destination = _ipv4(data, 12), _ipv4(data, 16)
    line.pairs.add((source, destination))
    payload = data[header : total or None]
    offset = (fragment & 0x1FFF) * 8
    if offset:
        return f"{source} > {destination} fragment at {offset}, {len(payload)} bytes"
    more = ", first fragment" if fragment & 0x2000 else ""
    told = _transport(source, destination, protocol, payload, total - header, line)
    if line.full:
        told += f" id={_number(data, 4)} ttl={_byte(data, 8)}" + (" DF" if fragment & 0x4000 else "")
    return told + more


def _ip6(data: bytes, line: _Line) -> str:
    length, protocol, limit = _number(data, 4), _byte(data, 6), _byte(data, 7)
    source, destination, at = _ipv6(data, 8), _ipv6(data, 24), 40
    line.pairs.add((source, destination))
    while protocol in (0, 43, 44, 60):  # hop-by-hop, routing, fragment, destination options
        if protocol == 44:
            offset = _number(data, at + 2) & ~7
            if offset:
                return f"{source} > {destination} fragment at {offset}, {len(data) - at - 8} bytes"
        protocol, at = _byte(data, at), at + (8 if protocol == 44 else 8 * (_byte(data, at + 1) + 1))
    told = _transport(source, destination, protocol, data[at : 40 + length], length + 40 - at, line)
    return told + (f" hlim={limit}" if line.full else "")


def _transport(source: str, destination: str, protocol: int, data: bytes, length: int, line: _Line) -> str:
    if protocol == 1:
        return f"{source} > {destination} ICMP {_icmp4(data, line)}"
    if protocol == 58:
        return f"{source} > {destination} ICMPv6 {_icmp6(data, line)}"
    if protocol == 6:
        return _tcp(source, destination, data, length, line)
    if protocol == 17:
        return _udp(source, destination, data, line)
    if protocol in (4, 41):
        return f"{source} > {destination} {PROTOCOLS[protocol]} | {_ip(data, line)}"
    return f"{source} > {destination} {PROTOCOLS.get(protocol, f'protocol {protocol}')}, {length} bytes"


def _icmp4(data: bytes, line: _Line) -> str:
    kind, code = _byte(data, 0), _byte(data, 1)
    name = ICMP4.get(kind, f"type {kind} code {code}")
    if kind in (0, 8):
        mark = f" id={_number(data, 4)}" if line.full else ""
        return f"{name}{mark} seq={_number(data, 6)}"
    if kind == 3:
        name = UNREACHABLE4.get(code, f"unreachable code {code}")
        if code == 4:
            name += f" mtu={_number(data, 6)}"
    if kind == 5:
        name += f" to {_ipv4(data, 4)}"
    return name + _about(data[8:], line) if kind in (3, 5, 11) else name


def _icmp6(data: bytes, line: _Line) -> str:
    kind = _byte(data, 0)
    name = ICMP6.get(kind, f"type {kind} code {_byte(data, 1)}")
    if kind in (128, 129):
        mark = f" id={_number(data, 4)}" if line.full else ""
        return f"{name}{mark} seq={_number(data, 6)}"
    if kind == 135:
        return f"{name} who-has {_ipv6(data, 8)}"
    if kind == 136:
        lladdr = f" is-at {mac(data[26:32])}" if data[24:26] == b"\x02\x01" else ""
        return f"{name} {_ipv6(data, 8)}{lladdr}"
    if kind == 2:
        name += f" mtu={_number(data, 4, 4)}"
    return name + _about(data[8:], line) if kind in (1, 2, 3) else name


def _about(data: bytes, line: _Line) -> str:
    """An ICMP error carries the beginning of the packet that it is about."""
    try:
        return f" [{_ip(data, _Line(line.full))}]"
    except IndexError:
        return ""


def _end(address: str, port: int, line: _Line) -> str:
    if port in EPHEMERAL and not line.full:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _tcp(source: str, destination: str, data: bytes, length: int, line: _Line) -> str:
    ends = f"{_end(source, _number(data, 0), line)} > {_end(destination, _number(data, 2), line)} TCP"
    if len(data) < 14:  # in an ICMP error only 8 bytes are sure
        return ends
    bits = _byte(data, 13)
    names = (("SYN", 2), ("FIN", 1), ("RST", 4), ("PSH", 8), ("ACK", 16), ("URG", 32))
    flags = " ".join(name for name, bit in names if bits & bit) or "no flags"
    payload = length - (_byte(data, 12) >> 4) * 4
    told = f"{ends} {flags}" + (f", {payload} bytes" if payload > 0 else "")
    return told + (f" seq={_number(data, 4, 4)} ack={_number(data, 8, 4)}" if line.full else "")


def _udp(source: str, destination: str, data: bytes, line: _Line) -> str:
    sport, dport, length, payload = _number(data, 0), _number(data, 2), _number(data, 4), data[8:]
    if dport in VXLAN_PORTS and len(payload) >= 8:  # the source port is a hash of what is inside
        vni = _number(payload, 4, 3)
        return f"{source} > {destination}:{dport} VXLAN vni={vni} | {_ethernet(payload[8:], line)}"
    if dport == GENEVE_PORT and len(payload) >= 8:
        inner = payload[8 + (_byte(payload, 0) & 0x3F) * 4 :]
        return f"{source} > {destination}:{dport} Geneve vni={_number(payload, 4, 3)} | {_ethernet(inner, line)}"
    ends = f"{_end(source, sport, line)} > {_end(destination, dport, line)}"
    if 53 in (sport, dport) and len(payload) >= 12:
        try:
            return f"{ends} DNS {_dns(payload, line)}"
        except IndexError:
            if len(data) < length:  # it was cut short; else it is no DNS, whatever its port
                raise
    if {sport, dport} == {67, 68}:
        return f"{ends} DHCP"
    return f"{ends} UDP, {length - 8} bytes"


def _dns(data: bytes, line: _Line) -> str:
    flags, answers = _number(data, 2), _number(data, 6)
    labels, at = [], 12
    while 0 < _byte(data, at) < 64:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "backslashreplace"))
        at += 1 + data[at]
    name, kind = ".".join(labels) + ".", _number(data, at + 1)
    told = f"{DNS_TYPES.get(kind, f'type {kind}')} {name}"
    mark = f" id={_number(data, 0)}" if line.full else ""
    if not flags & 0x8000:
        return f"query {told}{mark}"
    code = flags & 15
    result = DNS_CODES.get(code, f"code {code}") if code else f"{answers} answer{'' if answers == 1 else 's'}"
    return f"response {told} {result}{mark}"
