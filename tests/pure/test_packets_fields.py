"""Which bytes hold each field: read again from the place that is told, they give the value."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR, DNSRR, dns_compress
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Padding

from labkit.packets import checksums
from labkit.packets.fields import Field, Layer, layers_of
from labkit.packets.frames import Frame
from labkit.packets.layers import dissect

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
ETHER = Ether(src=A, dst=B)
IP4 = IP(src="10.0.0.2", dst="10.0.0.3", ttl=7, id=4660)
IP6 = IPv6(src="fd00::2", dst="fd00::3")
SYN = TCP(
    sport=40000,
    dport=80,
    flags="SEC",
    seq=1 << 31,
    options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None), ("WScale", 7)],
)
ANSWER = dns_compress(
    DNS(
        id=7,
        qr=1,
        qd=DNSQR(qname="red.lab"),
        an=[
            DNSRR(rrname="red.lab", type="CNAME", rdata="blue.red.lab"),
            DNSRR(rrname="blue.red.lab", rdata="10.0.0.3"),
        ],
    )
)
ROUTE = IP(src="10.0.0.2", dst="10.0.0.3", options=[IPOption_NOP(), IPOption_RR(routers=["10.0.0.1"])])
PACKETS = {
    "ping": ETHER / IP4 / ICMP(id=9, seq=1) / b"x" / Padding(bytes(17)),
    "tcp": ETHER / IP4 / SYN,
    "fragment": ETHER / IP(src="10.0.0.2", dst="10.0.0.3", flags="MF+DF", frag=185) / (b"y" * 16),
    "ip-options": ETHER / ROUTE / UDP(sport=1, dport=2) / b"abc",
    "icmp-error": ETHER / IP4 / ICMP(type=3, code=4, nexthopmtu=1400) / IP4 / UDP(sport=40000, dport=53) / b"abc",
    "arp": ETHER / ARP(op=2, psrc="10.0.0.3", pdst="10.0.0.2", hwsrc=B, hwdst=A),
    "dns": ETHER / IP4 / UDP(sport=53, dport=40000) / ANSWER,
    "vlan": ETHER / Dot1Q(vlan=7, prio=5) / IP4 / UDP(sport=5000, dport=9),
    "vxlan": ETHER / IP4 / UDP(sport=50000, dport=8472) / VXLAN(vni=42) / ETHER / IP4 / TCP(dport=80) / b"hey",
    "ipv6": ETHER / IPv6(src="fd00::2", dst="fd00::3", tc=0xA5, fl=0x12345) / ICMPv6EchoRequest(id=1, seq=3),
    "neighbour": ETHER / IP6 / ICMPv6ND_NA(tgt="fd00::3") / ICMPv6NDOptDstLLAddr(lladdr=B),
    "hop-by-hop": ETHER / IP6 / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / UDP(sport=1, dport=2),
    "dhcp": ETHER / IP4 / UDP(sport=68, dport=67) / BOOTP() / DHCP(options=[("message-type", "discover"), "end"]),
}


def frame(packet: object, interface: str = "eth0") -> Frame:
    data = bytes(packet)  # type: ignore[call-overload]
    return Frame(0, "red", interface, "out", data, len(data))


def bits(data: bytes, place: tuple[int, int]) -> int:
    first, size = place
    return int.from_bytes(data, "big") >> (len(data) * 8 - first - size) & ((1 << size) - 1)


def fields(packet: object) -> Iterator[tuple[Layer, Field]]:
    for layer in layers_of(frame(packet)):
        for field in layer.fields:
            yield layer, field


def named(packet: object, layer: str, name: str) -> Field:
    return next(field for one, field in fields(packet) if (one.name, field.name) == (layer, name))


@pytest.mark.parametrize("name", PACKETS)
def test_every_field_has_a_place_and_the_places_cover_the_frame(name: str) -> None:
    data = bytes(PACKETS[name])
    covered: set[int] = set()
    for layer, field in fields(PACKETS[name]):
        assert field.place is not None, (layer.name, field.name)
        mine = set(range(field.place[0], sum(field.place)))
        assert mine, (layer.name, field.name)
        assert not mine & covered, (layer.name, field.name)
        covered |= mine
    assert covered == set(range(len(data) * 8))


@pytest.mark.parametrize("name", PACKETS)
def test_the_bytes_at_a_place_are_the_value_that_scapy_read(name: str) -> None:
    data = bytes(PACKETS[name])
    packet, checked = dissect(data, 1), 0
    for layer in layers_of(frame(PACKETS[name])):
        for field in layer.fields:
            value = packet.fields.get(field.name)
            assert field.place is not None
            raw = bits(data, field.place)
            if isinstance(value, int):
                assert raw == int(value), (layer.name, field.name)
            elif isinstance(value, str) and value.count(":") == 5 and "::" not in value:
                assert raw == int(value.replace(":", ""), 16)
            elif isinstance(value, str) and value.count(".") == 3:
                assert raw == int.from_bytes(socket.inet_aton(value), "big")
            elif isinstance(value, str) and "::" in value:
                assert raw == int.from_bytes(socket.inet_pton(socket.AF_INET6, value), "big")
            elif isinstance(value, bytes):
                assert raw == int.from_bytes(value, "big")
            else:
                continue
            checked += 1
        packet = packet.payload
    assert type(packet).__name__ == "NoPayload"
    assert checked >= 10


PLACES = [
    ("ping", "Ethernet", "type", "IPv4 (0x0800)", "bytes 12 to 13"),
    ("ping", "IP", "version", "4", "bits 0 to 3 of byte 14"),
    ("ping", "IP", "ihl", "5 (20 bytes)", "bits 4 to 7 of byte 14"),
    ("ping", "ICMP", "type", "echo-request (8)", "byte 34"),
    ("ping", "Padding", "load", "17 bytes", "bytes 43 to 59"),
    ("fragment", "IP", "flags", "MF+DF", "bits 0 to 2 of byte 20"),
    ("fragment", "IP", "frag", "185 (from byte 1480 on)", "bits 3 to 15 of bytes 20 to 21"),
    ("tcp", "TCP", "flags", "SEC (SYN ECE CWR)", "bits 7 to 15 of bytes 46 to 47"),
    ("tcp", "TCP", "dataofs", "10 (40 bytes)", "bits 0 to 3 of byte 46"),
    ("tcp", "TCP", "option", "MSS 1460", "bytes 54 to 57"),
    ("ip-options", "IP", "options[1].routers", "[10.0.0.1]", "bytes 38 to 41"),
    ("icmp-error", "ICMP", "nexthopmtu", "1400", "bytes 40 to 41"),
    ("icmp-error", "IP in ICMP", "ttl", "7", "byte 50"),
    ("icmp-error", "UDP in ICMP", "dport", "domain (53)", "bytes 64 to 65"),
    ("arp", "ARP", "psrc", "10.0.0.3", "bytes 28 to 31"),
    ("dns", "DNS", "qr", "1", "bit 0 of byte 44"),
    ("dns", "DNS", "qd.qname", "red.lab.", "bytes 54 to 62"),
    ("dns", "DNS", "an[0].rdata", "blue.red.lab.", "bytes 79 to 85"),
    ("dns", "DNS", "an[1].rdata", "10.0.0.3", "bytes 98 to 101"),
    ("vlan", "802.1Q", "vlan", "7", "bits 4 to 15 of bytes 14 to 15"),
    ("vxlan", "VXLAN", "vni", "0x2a (42)", "bytes 46 to 48"),
    ("ipv6", "IPv6", "tc", "165", "bits 4 to 11 of bytes 14 to 15"),
    ("dhcp", "DHCP options", "option", "message-type 1", "bytes 282 to 284"),
]


@pytest.mark.parametrize(("name", "layer", "field", "value", "where"), PLACES)
def test_a_field_is_where_the_standard_puts_it(name: str, layer: str, field: str, value: str, where: str) -> None:
    found = named(PACKETS[name], layer, field)
    assert (found.value, found.where()) == (value, where)


def test_the_frame_inside_a_tunnel_has_its_own_layers() -> None:
    names = [(layer.name, layer.place) for layer in layers_of(frame(PACKETS["vxlan"]))]
    assert names == [
        ("Ethernet", (0, 14)), ("IP", (14, 20)), ("UDP", (34, 8)), ("VXLAN", (42, 8)),
        ("Ethernet", (50, 14)), ("IP", (64, 20)), ("TCP", (84, 20)), ("Raw", (104, 3)),
    ]  # fmt: skip


def test_what_differs_from_run_to_run_is_marked() -> None:
    varies = [(layer.name, field.name) for layer, field in fields(PACKETS["icmp-error"]) if field.varies]
    assert varies == [
        ("IP", "id"), ("IP", "chksum"), ("ICMP", "chksum"), ("IP in ICMP", "id"), ("IP in ICMP", "chksum"),
        ("UDP in ICMP", "sport"), ("UDP in ICMP", "chksum"),
    ]  # fmt: skip
    assert [field.value for _, field in fields(PACKETS["tcp"]) if field.name == "option" and field.varies] == [
        "Timestamp 1, 2"
    ]


@pytest.mark.parametrize("name", PACKETS)
def test_a_frame_cut_or_damaged_anywhere_still_has_layers_and_no_place_outside_it(name: str) -> None:
    whole, dice = bytes(PACKETS[name]), random.Random(name)
    damaged = [bytes(dice.randrange(256) if dice.random() < 0.1 else one for one in whole) for _ in range(100)]
    for data in [*(whole[:kept] for kept in range(len(whole))), *damaged]:
        for layer in layers_of(Frame(0, "red", "eth0", "out", data, len(whole))):
            for field in layer.fields:
                assert field.place is None or 0 <= field.place[0] < sum(field.place) <= len(data) * 8


def test_a_frame_with_no_ethernet_header_begins_with_ip() -> None:
    data = bytes(IP4 / UDP(sport=1, dport=2))
    found = layers_of(Frame(0, "red", "tun0", "out", data, len(data), 101))
    assert [layer.name for layer in found] == ["IP", "UDP"]
    assert found[0].fields[1].where() == "bits 4 to 7 of byte 0"


def unfinished(packet: object, transport: int, at: int) -> bytes:
    """The frame as a sender with checksum offload hands it over: only the sum of the pseudo-header."""
    data = bytearray(bytes(packet))  # type: ignore[call-overload]
    pseudo = bytes(data[26:34]) + struct.pack(">II", len(data) - transport, data[23])
    struct.pack_into(">H", data, transport + at, checksums.folded(pseudo))
    return bytes(data)


def remarks(data: bytes, interface: str = "eth0") -> dict[tuple[str, str], str]:
    found = layers_of(Frame(0, "red", interface, "out", data, len(data)))
    return {(layer.name, field.name): field.remark for layer in found for field in layer.fields if field.remark}


@pytest.mark.parametrize("name", PACKETS)
def test_a_right_checksum_needs_no_remark(name: str) -> None:
    assert remarks(bytes(PACKETS[name])) == {}


def test_a_checksum_left_to_the_card_is_explained() -> None:
    tcp = unfinished(ETHER / IP4 / TCP(dport=80) / b"hello", 34, 16)
    assert remarks(tcp) == {("TCP", "chksum"): checksums.UNFINISHED}
    udp = unfinished(ETHER / IP4 / UDP(dport=9) / b"hello", 34, 6)
    assert remarks(udp) == {("UDP", "chksum"): checksums.UNFINISHED}
    assert "`ethtool -K eth0 tx off`" in checksums.UNFINISHED
    inside = ETHER / IP4 / UDP(sport=50000, dport=8472, chksum=0) / VXLAN(vni=1) / tcp
    assert remarks(bytes(inside)) == {("TCP", "chksum"): checksums.UNFINISHED}


def test_a_damaged_checksum_is_not_explained_by_offload() -> None:
    data = bytearray(bytes(ETHER / IP4 / TCP(dport=80) / b"hello"))
    right = int.from_bytes(data[50:52], "big")
    data[-1] ^= 0x01
    (remark,) = remarks(bytes(data)).values()
    assert remark.startswith("Does not match (0x")
    assert "damaged, or made so" in remark
    data[-1] ^= 0x01
    data[50:52] = b"\x00\x01"
    assert remarks(bytes(data)) == {("TCP", "chksum"): checksums.WRONG.format(right=right)}
    header = bytearray(bytes(ETHER / IP4 / UDP(dport=9)))
    header[22] -= 1
    assert list(remarks(bytes(header))) == [("IP", "chksum")]


def test_no_verdict_where_the_message_is_not_whole() -> None:
    data = unfinished(ETHER / IP4 / TCP(dport=80) / b"hello", 34, 16)
    assert {key for key in remarks(data[:-1]) if key[0] == "TCP"} == set()
    fragment = bytes(ETHER / IP(src="10.0.0.2", dst="10.0.0.3", flags="MF") / UDP(dport=9, chksum=1) / (b"x" * 16))
    assert remarks(fragment) == {}


def test_a_tcp_frame_longer_than_the_mtu_is_explained() -> None:
    long = bytes(ETHER / IP4 / TCP(dport=80) / (b"x" * 2000))
    assert remarks(long) == {("IP", "len"): checksums.LONG}
    assert remarks(long, "lo") == {}
    assert remarks(bytes(ETHER / IP6 / TCP(dport=80) / (b"x" * 2000))) == {("IPv6", "plen"): checksums.LONG}
    assert remarks(bytes(ETHER / IP4 / UDP(dport=80) / (b"x" * 2000))) == {}
