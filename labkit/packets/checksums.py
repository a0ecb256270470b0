"""Why does a checksum not match, and why is a frame longer than the MTU?

A sender may leave two things to the network card: the checksum of TCP and UDP (checksum offload: the field then holds
only the sum over the pseudo-header), and cutting a long TCP segment (segmentation offload). A veth has no card, so a
capture on it shows both undone. Source: RFC 1071, kernel documentation networking/checksum-offloads and
networking/segmentation-offloads.
"""

from __future__ import annotations

import socket
import struct

__all__ = ["LONG", "UNFINISHED", "WRONG", "WRONG_HEADER", "folded", "header_remark", "length_remark", "segment_remark"]

UNFINISHED = (
    "Unfinished: the sender leaves it to the network card (checksum offload), and a veth has none; the receiver "
    "trusts the kernel instead. `ethtool -K eth0 tx off` at the sender makes it real."
)
WRONG = "Does not match ({right:#06x} would), and is not what checksum offload leaves: damaged, or made so."
WRONG_HEADER = "Does not match ({right:#06x} would). The kernel itself fills this one in: damaged, or made so."
LONG = (
    "Longer than an MTU of 1500 lets through: the sender leaves cutting it to the network card (segmentation offload), "
    "and a veth hands it on whole. `ethtool -K eth0 tso off gso off` at the sender shows real segments."
)
_CHECK_AT = {socket.IPPROTO_TCP: 16, socket.IPPROTO_UDP: 6, socket.IPPROTO_ICMP: 2, socket.IPPROTO_ICMPV6: 2}
_CARD = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)  # what cards finish


def folded(data: bytes) -> int:
    """Return the one's complement sum of the 16-bit words of `data`."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def header_remark(header: bytes) -> str:
    """Return why the checksum of an IPv4 header does not match; "" if it does."""
    if folded(header) == 0xFFFF:
        return ""
    return WRONG_HEADER.format(right=~folded(header[:10] + bytes(2) + header[12:]) & 0xFFFF)


def segment_remark(protocol: int, source: bytes, destination: bytes, segment: bytes) -> str:
    """Return why the checksum of a whole TCP, UDP, ICMP or ICMPv6 message does not match; "" if it does.

    source, destination: the addresses in the IP header, 4 or 16 bytes each."""
    at = _CHECK_AT.get(protocol)
    if at is None or at + 2 > len(segment):
        return ""
    field = int.from_bytes(segment[at : at + 2], "big")
    if protocol == socket.IPPROTO_UDP and not field and len(source) == 4:
        return ""  # RFC 768: no checksum was made
    pseudo = source + destination + struct.pack(">II", len(segment), protocol)
    if protocol == socket.IPPROTO_ICMP:
        pseudo = b""
    if folded(pseudo + segment) == 0xFFFF:
        return ""
    if protocol in _CARD and field == folded(pseudo):
        return UNFINISHED
    return WRONG.format(right=~folded(pseudo + segment[:at] + bytes(2) + segment[at + 2 :]) & 0xFFFF)


def length_remark(protocol: int, length: int, interface: str) -> str:
    """Return why a TCP packet of `length` bytes, IP header included, can be longer than the usual MTU; "" if it is not.

    lo has an MTU of 65536."""
    return LONG if protocol == socket.IPPROTO_TCP and length > 1500 and interface != "lo" else ""
