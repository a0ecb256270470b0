"""What an ICMP error says: its sender, its reason in words, and the packet that it quotes. scapy is the reference."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from labkit.packets.frames import Frame
from labkit.packets.icmp_errors import error_in, words
from labkit.packets.links import RAW

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
FROM_ROUTER = IP(src="10.1.0.1", dst="10.1.0.2")
LOST = IP(src="10.1.0.2", dst="10.2.0.2", ttl=1) / UDP(sport=40000, dport=5000) / b"hello"
FROM_ROUTER_6 = IPv6(src="fd00:1::1", dst="fd00:1::2")
LOST_6 = IPv6(src="fd00:1::2", dst="fd00:2::2") / ICMPv6EchoRequest(id=1, seq=1)
ERRORS = {
    "time to live exceeded": FROM_ROUTER / ICMP(type=11, code=0) / LOST,
    "fragments did not arrive in time": FROM_ROUTER / ICMP(type=11, code=1) / LOST,
    "destination network unreachable": FROM_ROUTER / ICMP(type=3, code=0) / LOST,
    "destination port unreachable": FROM_ROUTER / ICMP(type=3, code=3) / LOST,
    "fragmentation needed, MTU 1400": FROM_ROUTER / ICMP(type=3, code=4, nexthopmtu=1400) / LOST,
    "communication prohibited by a filter": FROM_ROUTER / ICMP(type=3, code=13) / LOST,
    "hop limit exceeded": FROM_ROUTER_6 / ICMPv6TimeExceeded() / LOST_6,
    "packet too big, MTU 1280": FROM_ROUTER_6 / ICMPv6PacketTooBig(mtu=1280) / LOST_6,
    "no route to the destination": FROM_ROUTER_6 / ICMPv6DestUnreach(code=0) / LOST_6,
}


@pytest.mark.parametrize("meaning", ERRORS)
def test_an_error_says_who_why_and_which_packet(meaning: str) -> None:
    data = bytes(ETHER / ERRORS[meaning])
    error = Frame(0, "red", "eth0", "in", data, len(data)).error
    assert error is not None
    assert error.words == meaning
    if ":" in error.sender:
        assert (error.sender, error.to) == ("fd00:1::1", "fd00:1::2")
        assert error.about == "fd00:1::2 > fd00:2::2 ICMPv6 echo-request seq=1"
    else:
        assert repr(error) == f"10.1.0.1 to 10.1.0.2: {meaning} [10.1.0.2 > 10.2.0.2:5000 UDP, 5 bytes]"
        assert IP(error.quoted).ttl == 1


def test_of_a_tcp_segment_eight_bytes_are_enough() -> None:
    quoted = bytes(IP(src="10.1.0.2", dst="10.2.0.2", len=40) / TCP(sport=40000, dport=80))[:28]
    error = error_in(bytes(FROM_ROUTER / ICMP(type=3, code=1) / quoted), RAW)
    assert error is not None
    assert (error.mtu, error.about) == (None, "10.1.0.2 > 10.2.0.2:80 TCP")


def test_a_vlan_tag_does_not_hide_it() -> None:
    assert error_in(bytes(ETHER / Dot1Q(vlan=7) / ERRORS["time to live exceeded"])) is not None


NO_ERRORS = {
    "a ping": bytes(ETHER / FROM_ROUTER / ICMP() / bytes(56)),
    "a redirect": bytes(ETHER / FROM_ROUTER / ICMP(type=5, code=1, gw="10.1.0.9") / LOST),
    "a question": bytes(ETHER / ARP(pdst="10.1.0.1")),
    "another protocol": bytes(ETHER / LOST),
    "a later fragment": bytes(ETHER / IP(src="10.1.0.1", dst="10.1.0.2", proto=1, frag=8) / (b"\x03\x03" + bytes(40))),
    "nothing": b"",
}


@pytest.mark.parametrize("what", NO_ERRORS)
def test_what_is_no_error_is_none(what: str) -> None:
    assert error_in(NO_ERRORS[what]) is None


@pytest.mark.parametrize("meaning", ERRORS)
def test_an_error_that_was_cut_short_is_none_or_whole(meaning: str) -> None:
    data = bytes(ETHER / ERRORS[meaning])
    for size in range(len(data)):
        error = error_in(data[:size])
        assert error is None or error.words == meaning


def test_an_unknown_one_is_told_by_its_numbers() -> None:
    assert words(4, 3, 99) == "destination unreachable, code 99"
    assert words(4, 12, 0) == "ICMP type 12 code 0"
