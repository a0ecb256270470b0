"""The one line of a frame: what it says, and that nothing that changes from run to run is in it."""

from __future__ import annotations

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN

from labkit.packets.decode import addresses, summary
from labkit.packets.links import RAW

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
ETHER = Ether(src=A, dst=B)
IP4 = IP(src="10.0.0.2", dst="10.0.0.3")
IP6 = IPv6(src="fd00::2", dst="fd00::3")
PROBE = IP4 / ICMP(type=8, id=77, seq=1) / b"x"

LINES = [
    (ETHER / PROBE, "10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1"),
    (ETHER / IP4 / ICMP(type=0, id=9, seq=2), "10.0.0.2 > 10.0.0.3 ICMP echo-reply seq=2"),
    (
        ETHER / IP4 / ICMP(type=11) / PROBE,
        "10.0.0.2 > 10.0.0.3 ICMP time-exceeded [10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1]",
    ),
    (
        ETHER / IP4 / ICMP(type=3, code=4, nexthopmtu=1400) / PROBE,
        "10.0.0.2 > 10.0.0.3 ICMP fragmentation-needed mtu=1400 [10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1]",
    ),
    (
        ETHER / IP4 / ICMP(type=3, code=3) / IP(src="10.0.0.3", dst="10.0.0.2") / UDP(sport=40000, dport=53),
        "10.0.0.2 > 10.0.0.3 ICMP port-unreachable [10.0.0.3 > 10.0.0.2:53 UDP, 0 bytes]",
    ),
    (ETHER / IP4 / ICMP(type=5, gw="10.0.0.9"), "10.0.0.2 > 10.0.0.3 ICMP redirect to 10.0.0.9"),
    (
        Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, psrc="10.0.0.2", pdst="10.0.0.3", hwsrc=A),
        "ARP who-has 10.0.0.3 tell 10.0.0.2",
    ),
    (ETHER / ARP(op=1, psrc="0.0.0.0", pdst="10.0.0.3", hwsrc=A), "ARP who-has 10.0.0.3"),
    (ETHER / ARP(op=2, psrc="10.0.0.3", pdst="10.0.0.2", hwsrc=B, hwdst=A), f"ARP 10.0.0.3 is-at {B}"),
    (ETHER / ARP(op=1, psrc="10.0.0.3", pdst="10.0.0.3", hwsrc=B), f"ARP announce 10.0.0.3 is-at {B}"),
    (ETHER / IP4 / TCP(sport=40000, dport=80, flags="S", seq=5), "10.0.0.2 > 10.0.0.3:80 TCP SYN"),
    (ETHER / IP4 / TCP(sport=80, dport=60999, flags="SA"), "10.0.0.2:80 > 10.0.0.3 TCP SYN ACK"),
    (ETHER / IP4 / TCP(sport=80, dport=32768, flags="PA") / b"hello", "10.0.0.2:80 > 10.0.0.3 TCP PSH ACK, 5 bytes"),
    (ETHER / IP4 / TCP(sport=30080, dport=61000, flags="R"), "10.0.0.2:30080 > 10.0.0.3:61000 TCP RST"),
    (ETHER / IP4 / UDP(sport=40000, dport=9) / b"abc", "10.0.0.2 > 10.0.0.3:9 UDP, 3 bytes"),
    (
        ETHER / IP4 / UDP(sport=40000, dport=53) / DNS(id=7, qd=DNSQR(qname="red.lab")),
        "10.0.0.2 > 10.0.0.3:53 DNS query A red.lab.",
    ),
    (
        ETHER
        / IP4
        / UDP(sport=53, dport=40000)
        / DNS(qr=1, qd=DNSQR(qname="x"), an=DNSRR(rrname="x", rdata="1.2.3.4")),
        "10.0.0.2:53 > 10.0.0.3 DNS response A x. 1 answer",
    ),
    (
        ETHER / IP4 / UDP(sport=53, dport=40000) / DNS(qr=1, rcode=3, qd=DNSQR(qname="x", qtype="AAAA")),
        "10.0.0.2:53 > 10.0.0.3 DNS response AAAA x. NXDOMAIN",
    ),
    (ETHER / IP4 / UDP(sport=68, dport=67) / b"x", "10.0.0.2:68 > 10.0.0.3:67 DHCP"),
    (
        ETHER / IP(src="192.168.0.1", dst="192.168.0.2") / UDP(sport=51234, dport=8472) / VXLAN(vni=42) / ETHER / PROBE,
        "192.168.0.1 > 192.168.0.2:8472 VXLAN vni=42 | 10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1",
    ),
    (
        ETHER / IP(src="192.168.0.1", dst="192.168.0.2") / PROBE,
        "192.168.0.1 > 192.168.0.2 IPIP | 10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1",
    ),
    (ETHER / IP4 / GRE() / b"xx", "10.0.0.2 > 10.0.0.3 GRE, 6 bytes"),
    (ETHER / Dot1Q(vlan=7) / PROBE, "VLAN 7 10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1"),
    (
        ETHER / IP(src="10.0.0.2", dst="10.0.0.3", frag=185) / (b"x" * 8),
        "10.0.0.2 > 10.0.0.3 fragment at 1480, 8 bytes",
    ),
    (
        ETHER / IP(src="10.0.0.2", dst="10.0.0.3", flags="MF") / ICMP(type=8, seq=1) / (b"x" * 8),
        "10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1, first fragment",
    ),
    (ETHER / IP6 / ICMPv6EchoRequest(seq=3, id=1), "fd00::2 > fd00::3 ICMPv6 echo-request seq=3"),
    (ETHER / IP6 / ICMPv6ND_NS(tgt="fd00::3"), "fd00::2 > fd00::3 ICMPv6 neighbour-solicitation who-has fd00::3"),
    (
        ETHER / IP6 / ICMPv6ND_NA(tgt="fd00::3") / ICMPv6NDOptDstLLAddr(lladdr=B),
        f"fd00::2 > fd00::3 ICMPv6 neighbour-advertisement fd00::3 is-at {B}",
    ),
    (ETHER / IP6 / TCP(sport=80, dport=40000, flags="FA"), "[fd00::2]:80 > fd00::3 TCP FIN ACK"),
    (Ether(src=A, dst=B, type=0x88B5) / (b"x" * 50), f"{A} > {B} ethertype 0x88b5, 50 bytes"),
]


@pytest.mark.parametrize(("packet", "line"), LINES, ids=[line[:40] for _, line in LINES])
def test_a_frame_reads_as(packet: Ether, line: str) -> None:
    data = bytes(packet)
    assert summary(data, len(data)) == line


def test_what_the_kernel_picks_anew_is_left_out_unless_asked_for() -> None:
    def line(port: int, number: int, *, full: bool) -> str:
        data = bytes(ETHER / IP(src="10.0.0.2", dst="10.0.0.3", id=number) / TCP(sport=port, dport=80, seq=number))
        return summary(data, len(data), full=full)

    assert line(40000, 1, full=False) == line(50000, 2, full=False)
    assert line(40000, 1, full=True) == "10.0.0.2:40000 > 10.0.0.3:80 TCP SYN seq=1 ack=0 id=1 ttl=64"


def test_a_frame_cut_at_any_byte_still_reads_as_a_line() -> None:
    for packet, _ in LINES:
        data = bytes(packet)
        for kept in range(len(data)):
            assert summary(data[:kept], len(data))


def test_frames_without_an_ethernet_header_are_decoded_from_ip_on() -> None:
    assert summary(bytes(PROBE), 29, RAW) == "10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1"
    assert summary(b"\x00" * 20, 20, 147) == "20 bytes that nothing here decodes"


def test_addresses_are_those_of_every_header_tunnels_included() -> None:
    packet = ETHER / IP(src="192.168.0.1", dst="192.168.0.2") / UDP(sport=50000, dport=4789) / VXLAN() / ETHER / PROBE
    found = addresses(bytes(packet))
    assert {("192.168.0.1", "192.168.0.2"), ("10.0.0.2", "10.0.0.3"), (A, B)} <= found
