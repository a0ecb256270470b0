"""Packets in frames, and which of them is the one that is followed: pure, against frames that scapy made."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from labkit.packets.links import RAW
from labkit.tracing.following import Following, signature
from labkit.tracing.headers import Packet, packets_in

MACS = {"src": "02:00:00:00:00:02", "dst": "02:00:00:00:00:03"}
PING = IP(src="10.0.0.2", dst="10.0.0.3", id=7) / ICMP(id=5, seq=1) / Raw(b"a token of some bytes")


def only(packet: Any) -> Packet:
    (found,) = packets_in(bytes(packet))
    return found


def test_a_ping() -> None:
    found = only(Ether(**MACS) / PING)
    assert (found.src_mac, found.dst_mac, found.src, found.dst) == (MACS["src"], MACS["dst"], "10.0.0.2", "10.0.0.3")
    assert (found.ttl, found.ident, found.kind, found.length, found.ports) == (64, 7, 8, len(PING), None)
    assert found.payload == b"a token of some bytes"


def test_a_segment_of_tcp() -> None:
    segment = TCP(sport=40000, dport=80, seq=11, ack=22, flags="SA", options=[("MSS", 1460)]) / Raw(b"data")
    found = only(Ether(**MACS) / IP(src="10.0.0.2", dst="10.0.0.3", flags="DF") / segment)
    assert (found.ports, found.sequence, found.acknowledged, found.flags) == ((40000, 80), 11, 22, 18)
    assert (found.payload, found.df) == (b"data", True)
    assert found.back == (6, "10.0.0.3", "10.0.0.2", 80, 40000)


def test_a_vlan_tag_is_told() -> None:
    assert only(Ether(**MACS) / Dot1Q(vlan=42) / PING).vlan == 42


def test_arp() -> None:
    request = ARP(hwsrc=MACS["src"], psrc="10.0.0.2", pdst="10.0.0.3")
    found = only(Ether(src=MACS["src"], dst="ff:ff:ff:ff:ff:ff") / request)
    assert found.arp == (1, MACS["src"], "10.0.0.2", "00:00:00:00:00:00", "10.0.0.3")
    assert (found.headers.src, found.headers.dst, found.headers.ttl) == ("10.0.0.2", "10.0.0.3", None)


def test_ipv6_and_its_extension_headers() -> None:
    found = only(Ether(**MACS) / IPv6(src="fd00::2", dst="fd00::3") / ICMPv6EchoRequest(id=1, seq=2, data=b"token"))
    assert (found.src, found.dst, found.ttl, found.kind) == ("fd00::2", "fd00::3", 64, 128)
    piece = IPv6(src="fd00::2", dst="fd00::3") / IPv6ExtHdrFragment(id=9, offset=3, m=1, nh=17) / Raw(b"rest")
    found = only(Ether(**MACS) / piece)
    assert (found.ident, found.offset, found.more, found.protocol) == (9, 24, True, 17)


def test_what_a_vxlan_carries_is_a_packet_too() -> None:
    outer = IP(src="192.168.0.1", dst="192.168.0.2") / UDP(sport=50000, dport=8472) / VXLAN(vni=42)
    wrapping, inner = packets_in(
        bytes(Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") / outer / Ether(**MACS) / PING)
    )
    assert (wrapping.src, wrapping.outer) == ("192.168.0.1", ())
    assert (inner.src, inner.src_mac) == ("10.0.0.2", MACS["src"])
    assert inner.outer == ("VXLAN vni 42, 192.168.0.1 > 192.168.0.2:8472",)


@pytest.mark.parametrize(
    ("around", "told"),
    [
        (IP(src="192.168.0.1", dst="192.168.0.2"), "IPIP, 192.168.0.1 > 192.168.0.2"),
        (IP(src="192.168.0.1", dst="192.168.0.2") / GRE(), "GRE, 192.168.0.1 > 192.168.0.2"),
        (IP(src="192.168.0.1", dst="192.168.0.2") / GRE(key_present=1, key=5), "GRE, 192.168.0.1 > 192.168.0.2"),
    ],
)
def test_what_a_tunnel_of_ip_carries_is_a_packet_too(around: Any, told: str) -> None:
    *_, inner = packets_in(bytes(Ether(**MACS) / around / PING))
    assert (inner.src, inner.dst, inner.outer) == ("10.0.0.2", "10.0.0.3", (told,))


def test_a_frame_of_a_link_without_ethernet() -> None:
    (found,) = packets_in(bytes(PING), RAW)
    assert (found.src, found.src_mac) == ("10.0.0.2", "")


def test_an_icmp_error_quotes_the_packet_that_it_is_about() -> None:
    error = IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=11) / bytes(PING)[:28]
    found = only(Ether(**MACS) / error)
    assert found.quoted is not None
    assert (found.quoted.src, found.quoted.dst, found.quoted.ident) == ("10.0.0.2", "10.0.0.3", 7)


@pytest.mark.parametrize(
    "frame", [Ether(**MACS) / PING, Ether(**MACS) / IPv6(dst="fd00::3") / ICMPv6ND_NS(tgt="fd00::3")]
)
def test_a_frame_cut_short_anywhere_is_no_error(frame: Any) -> None:
    whole = bytes(frame)
    for length in range(len(whole)):
        assert len(packets_in(whole[:length])) <= 1


def follow(request: Any) -> tuple[Following, Any]:
    following = Following(lambda packet: packet.payload.startswith(b"a token"))
    return following, following.look(packets_in(bytes(Ether(**MACS) / request)))


def look(following: Following, packet: Any) -> str | None:
    found = following.look(packets_in(bytes(Ether(**MACS) / packet)))
    return found.role if found else None


def with_(packet: Any, **fields: Any) -> Any:
    changed = packet.copy()
    for name, value in fields.items():
        setattr(changed, name, value)
    del changed.chksum
    return changed


def test_a_packet_is_known_behind_a_router_and_a_nat() -> None:
    following, found = follow(PING)
    assert found.role == "request"
    assert look(following, with_(PING, ttl=63)) == "request"
    assert look(following, with_(PING, ttl=62, src="192.168.0.1")) == "request"
    assert (
        look(
            following, IP(src="192.168.0.1", dst="192.168.0.2") / UDP(dport=4789) / VXLAN(vni=1) / Ether(**MACS) / PING
        )
        == "request"
    )


def test_another_packet_between_the_same_ends_is_not_it() -> None:
    following, _ = follow(PING)
    assert (
        look(following, IP(src="10.0.0.2", dst="10.0.0.3", id=8) / ICMP(id=5, seq=1) / Raw(b"another ping, not it"))
        is None
    )
    assert (
        look(following, IP(src="10.0.0.3", dst="10.0.0.2") / ICMP(type=0, id=5, seq=1) / Raw(b"another ping, not it"))
        is None
    )


def test_the_answer_to_a_ping_is_known_by_what_it_carries() -> None:
    following, _ = follow(PING)
    answer = IP(src="10.0.0.3", dst="10.0.0.2", id=99) / ICMP(type=0, id=5, seq=1) / Raw(b"a token of some bytes")
    assert look(following, answer) == "answer"
    assert look(following, with_(answer, src="1.2.3.4", ttl=60)) == "answer"


def test_the_answer_to_a_datagram_is_known_by_the_ends_as_nat_left_them() -> None:
    request = IP(src="10.0.0.2", dst="10.96.0.1", id=1) / UDP(sport=40000, dport=53) / Raw(b"a token in a datagram")
    following, _ = follow(request)
    assert look(following, with_(request, dst="10.1.0.9")) == "request"
    reply = IP(src="10.1.0.9", dst="10.0.0.2", id=2) / UDP(sport=53, dport=40000) / Raw(b"hello")
    assert look(following, IP(src="10.1.0.9", dst="10.0.0.2") / UDP(sport=54, dport=40000) / Raw(b"hello")) is None
    assert look(following, reply) == "answer"
    assert look(following, with_(reply, src="10.96.0.1")) == "answer"


def test_an_answer_from_another_address_is_the_answer_that_nobody_turned_back() -> None:
    following, _ = follow(
        IP(src="10.0.0.2", dst="10.96.0.1", id=1) / UDP(sport=40000, dport=53) / Raw(b"a token in a datagram")
    )
    assert look(following, IP(src="10.7.0.9", dst="10.0.0.2") / UDP(sport=53, dport=40000) / Raw(b"hello")) == "answer"


def test_an_echo_of_the_same_bytes_is_the_answer_and_not_the_packet() -> None:
    request = IP(src="10.0.0.2", dst="10.0.0.3", id=1) / UDP(sport=40000, dport=7) / Raw(b"a token in a datagram")
    following, _ = follow(request)
    assert (
        look(
            following,
            IP(src="10.0.0.3", dst="10.0.0.2", id=3) / UDP(sport=7, dport=40000) / Raw(b"a token in a datagram"),
        )
        == "answer"
    )


def test_what_is_sent_again_is_counted_and_not_followed() -> None:
    following, _ = follow(PING)
    assert look(following, with_(PING, id=8)) is None
    assert following.again == 1


def test_every_fragment_belongs_to_it() -> None:
    large = IP(src="10.0.0.2", dst="10.0.0.3", id=7) / UDP(sport=40000, dport=53) / Raw(b"a token" + bytes(2000))
    following, _ = follow(large)
    assert [look(following, piece) for piece in fragment(large, 800)] == ["request"] * 3
    other = fragment(IP(src="10.0.0.2", dst="10.0.0.3", id=8) / UDP(sport=40000, dport=53) / Raw(bytes(2000)), 800)
    assert [look(following, piece) for piece in other] == [None] * 3


def test_an_error_about_it_is_told_from_an_error_about_another() -> None:
    following, _ = follow(PING)
    error = IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=11) / bytes(PING)[:28]
    assert look(following, error) == "error"
    assert look(following, IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=11) / bytes(with_(PING, id=9))[:28]) is None


def test_a_signature_does_not_change_on_the_way() -> None:
    routed = only(
        Ether(src="02:00:00:00:00:0c", dst="02:00:00:00:00:0d") / with_(PING, ttl=1, src="1.1.1.1", dst="2.2.2.2")
    )
    assert signature(only(Ether(**MACS) / PING)) == signature(routed)
