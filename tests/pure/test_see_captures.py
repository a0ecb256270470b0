"""A capture as a table and as packets on their way."""

from __future__ import annotations

import os
import struct
import xml.etree.ElementTree as ET
from typing import Literal

import pytest

from labkit import see
from labkit.packets import checksums
from labkit.packets.frames import Frame, Frames
from labkit.see.frames import packets_of

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")
ASK = bytes.fromhex("ffffffffffff020000000002080600010800060400010200000000020a0000020000000000000a000003")
TELL = bytes.fromhex("020000000002020000000003080600010800060400020200000000030a0000030200000000020a000002")


def frame(where: str, direction: Literal["in", "out"], data: bytes) -> Frame:
    namespace, _, interface = where.partition("/")
    return Frame(0, namespace, interface, direction, data, len(data))


def arp() -> Frames:
    way = ["red/eth0", "host/veth-red", "host/veth-blue", "blue/eth0"]
    directions: list[Literal["in", "out"]] = ["out", "in", "out", "in"]
    asked = [frame(where, direction, ASK) for where, direction in zip(way, directions, strict=True)]
    asked.insert(2, frame("green/eth0", "in", ASK))
    told = [frame(where, direction, TELL) for where, direction in zip(way[::-1], directions, strict=True)]
    return Frames([*asked, *told])


TABLE = """\
1  red/eth0        out  ARP who-has 10.0.0.3 tell 10.0.0.2
2  host/veth-red   in   ARP who-has 10.0.0.3 tell 10.0.0.2
3  green/eth0      in   ARP who-has 10.0.0.3 tell 10.0.0.2
4  host/veth-blue  out  ARP who-has 10.0.0.3 tell 10.0.0.2
5  blue/eth0       in   ARP who-has 10.0.0.3 tell 10.0.0.2
6  blue/eth0       out  ARP 10.0.0.3 is-at 02:00:00:00:00:03
7  host/veth-blue  in   ARP 10.0.0.3 is-at 02:00:00:00:00:03
8  host/veth-red   out  ARP 10.0.0.3 is-at 02:00:00:00:00:03
9  red/eth0        in   ARP 10.0.0.3 is-at 02:00:00:00:00:03"""


def test_the_table_has_a_line_a_frame_and_no_times() -> None:
    assert see.capture_text(arp()) == TABLE
    assert see.capture_text(Frames([])) == "no frames"


def test_what_is_missing_is_said() -> None:
    short = Frames(arp().frames[:1], dropped=3, notes=["the kernel dropped 3 frames"])
    assert see.capture_text(short).endswith("\nthe kernel dropped 3 frames")
    assert "the kernel dropped 3 frames" in see.capture_svg(short)
    many = Frames([frame("red/eth0", "out", TELL)] * 100)
    assert see.capture_text(many).endswith("\nand 40 more frames")


def test_the_same_bytes_seen_at_several_places_are_one_packet() -> None:
    ask, tell = packets_of(arp().frames)
    assert [place for place, _ in ask.seen] == [
        "red/eth0",
        "host/veth-red",
        "green/eth0",
        "host/veth-blue",
        "blue/eth0",
    ]
    assert [place for place, _ in tell.seen] == ["blue/eth0", "host/veth-blue", "host/veth-red", "red/eth0"]


def test_the_same_bytes_sent_again_are_another_packet() -> None:
    assert len(packets_of([*arp().frames, *arp().frames])) == 4


@pytest.mark.parametrize("name", ["way", "table"])
def test_the_picture_is_the_golden_one(name: str) -> None:
    svg = see.capture_svg(arp() if name == "way" else arp().at("red/eth0"))
    path = os.path.join(GOLDEN, f"capture-{name}.svg")
    if os.environ.get("LABKIT_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write(svg + "\n")
    with open(path, encoding="utf-8") as file:
        assert svg == file.read().removesuffix("\n")


def tcp() -> Frame:
    """A SYN from a sender with checksum offload."""
    data = bytearray(bytes.fromhex(
        "020000000003020000000002080045000034123440004006148c0a0000020a000003"
        "9c40005012345678000000008002faf00000000002 0405b40103030a01010402".replace(" ", "")
    ))  # fmt: skip
    pseudo = bytes(data[26:34]) + struct.pack(">II", len(data) - 34, 6)
    struct.pack_into(">H", data, 50, checksums.folded(pseudo))
    return frame("red/eth0", "out", bytes(data))


def golden(name: str, drawn: str) -> str:
    path = os.path.join(GOLDEN, name)
    if os.environ.get("LABKIT_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write(drawn + "\n")
    with open(path, encoding="utf-8") as file:
        return file.read().removesuffix("\n")


def test_a_packet_is_shown_layer_by_layer_beside_its_bytes() -> None:
    shown = see.packet(tcp())
    assert shown.text == golden("packet.txt", shown.text)
    assert shown.svg == golden("packet.svg", shown.svg)
    assert ET.fromstring(shown.svg)[1].text == shown.text


def test_what_the_kernel_picks_anew_is_not_in_the_picture_of_a_packet() -> None:
    one, data = tcp(), bytearray(tcp().data)
    for at, what in ((18, b"\x56\x78"), (24, b"\xd0\x47"), (34, b"\x9c\x41"), (38, b"\x87\x65\x43\x21")):
        data[at : at + len(what)] = what
    other = see.packet(one._replace(data=bytes(data)))
    assert other.text == see.packet(one).text
    assert other.svg == see.packet(one).svg
    assert "varies" in other.text


def test_a_long_packet_says_what_is_not_shown() -> None:
    long = frame("red/eth0", "out", TELL + bytes(2000))._replace(length=5000)
    assert see.packet(long).text.splitlines()[-2:] == ["and 1530 more bytes", "2958 bytes were not kept"]
    assert "and 1530 more bytes" in see.packet(long).svg


def test_the_lanes_follow_the_way_of_a_packet_for_one_receiver() -> None:
    root = ET.fromstring(see.capture_svg(arp()))
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    lanes = [text for text in texts if text in ("eth0", "veth-red", "veth-blue")]
    assert lanes == ["eth0", "veth-red", "veth-blue", "eth0", "eth0"]
    assert texts.index("red") < texts.index("blue") < texts.index("green")


def test_the_table_is_its_own_description() -> None:
    root = ET.fromstring(see.capture_svg(arp()))
    assert root[1].text == TABLE


def test_an_empty_capture_is_a_picture_too() -> None:
    assert ET.fromstring(see.capture_svg(Frames([]))).get("role") == "img"
