"""tcpdump's expressions: compiled by tcpdump, run here on a frame with the same verdict as tcpdump's own."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from labkit.errors import CommandNotInstalled, WrongUse
from labkit.packets import filters, pcap
from labkit.packets.frames import Frame, Frames

pytestmark = pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs: tcpdump")

ETHER = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")
PACKETS = [
    ETHER / IP(src="10.0.0.2", dst="10.0.0.3") / ICMP(seq=1),
    ETHER / IP(src="10.0.0.3", dst="10.0.0.2") / ICMP(type=0, seq=1),
    ETHER / IP(src="10.0.0.2", dst="10.0.0.3", ttl=3) / TCP(sport=40000, dport=80, flags="S"),
    ETHER
    / IP(src="10.0.0.3", dst="10.0.0.2", options=[IPOption_NOP()] * 4)
    / TCP(sport=80, dport=40000, flags="SA")
    / b"hello",
    ETHER / IP(src="10.1.0.2", dst="10.1.0.3") / UDP(sport=53, dport=53) / (b"x" * 300),
    ETHER / ARP(psrc="10.0.0.2", pdst="10.0.0.3"),
    ETHER / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=5000, dport=53),
    ETHER / Dot1Q(vlan=7) / IP(src="10.0.0.2", dst="10.0.0.3") / ICMP(),
    ETHER / IP(src="10.0.0.2", dst="10.0.0.3", frag=10) / b"later fragment",
]
FRAMES = [
    Frame(10**18 + number, "red", "eth0", "in", bytes(packet), len(packet)) for number, packet in enumerate(PACKETS)
]
EXPRESSIONS = [
    "icmp", "arp", "tcp", "udp port 53", "port 80", "host 10.0.0.2", "src host 10.0.0.2 and dst port 80",
    "net 10.1.0.0/16",
    "not ip", "ip6", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn", "ip[8] < 5", "len > 200", "less 60", "icmp[0] = 8",
    "ether src 02:00:00:00:00:0a", "vlan 7", "vlan and icmp", "icmp[icmptype] == icmp-echoreply or port 80",
    "ip[2:2] - ((ip[0] & 0xf) << 2) - ((tcp[12] & 0xf0) >> 2) > 0", "portrange 1-1000", "ip[6:2] & 0x1fff != 0",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_filter_picks_the_frames_that_tcpdump_picks(expression: str, tmp_path: object) -> None:
    path = f"{tmp_path}/frames.pcapng"
    pcap.write(path, FRAMES)
    command = ["tcpdump", "-n", "--nano", "-tt", "-r", path, expression]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    picked = [number for number in range(len(FRAMES)) if f".{number:09}" in printed]
    assert [frame.time_ns - 10**18 for frame in Frames(FRAMES).where(expression)] == picked


def test_frames_are_picked_by_function_place_and_addresses() -> None:
    frames = Frames([*FRAMES, FRAMES[0]._replace(namespace="blue")], dropped=3, notes=["a note"])
    assert len(frames.where(lambda frame: frame.length > 300)) == 1
    assert len(frames.at("blue")) == 1
    assert len(frames.at("red/eth0", "blue/eth0")) == 10
    assert len(frames.between("10.0.0.3", "10.0.0.2")) == 8
    assert (frames.at("blue").dropped, frames.at("blue").notes) == (3, ("a note",))
    assert [frame.namespace for frame in frames[-2:]] == ["red", "blue"]
    assert frames[0].where == "red/eth0"


BAD = [
    ("icmp foo", "failed to compile filter 'icmp foo': can't parse filter expression: syntax error"),
    ("port 99999", "failed to compile filter 'port 99999': illegal port number 99999 > 65535"),
]


@pytest.mark.parametrize(("expression", "sentence"), BAD)
def test_a_bad_expression_is_refused_in_one_sentence(expression: str, sentence: str) -> None:
    with pytest.raises(WrongUse) as refusal:
        filters.compile_expression(expression)
    assert refusal.value.message == sentence


def test_without_tcpdump_the_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandNotInstalled, match="failed to compile filter 'tcp port 12': tcpdump is not installed"):
        filters.compile_expression("tcp port 12")


def test_an_expression_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = filters.compile_expression("icmp")
    monkeypatch.setenv("PATH", "/nowhere")
    assert filters.compile_expression("icmp") is first
