"""Which layers does a frame have? scapy's dissection, with only those of scapy's modules that the frame needs.

scapy's own prelude (scapy.all) takes 0.8 s to import; the layers of one frame 0.2 s, once.
"""

from __future__ import annotations

import importlib
from typing import Any

from labkit.packets.decode import EPHEMERAL, VXLAN_PORTS
from labkit.packets.links import ETHERNET, RAW

__all__ = ["Text", "dissect", "show"]

# What the kernel (or chance) picks anew in each run, or what follows from that.
VARIES = {
    "IP": {"id", "chksum"},
    "ICMP": {"id", "chksum"},
    "TCP": {"seq", "ack", "chksum", "options"},
    "UDP": {"chksum"},
    "DNS": {"id"},
    "BOOTP": {"xid", "secs"},
    "ICMPv6 Echo Request": {"id", "cksum"},
    "ICMPv6 Echo Reply": {"id", "cksum"},
}
PORTS = {("TCP", "sport"), ("TCP", "dport"), ("UDP", "sport"), ("UDP", "dport")}


class Text(str):
    """A text that shows itself as it is at the end of a cell."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def dissect(data: bytes, linktype: int) -> Any:
    """Return `data` as a scapy packet."""
    for module in _needed(data):
        importlib.import_module(f"scapy.layers.{module}")
    from scapy.layers.inet import IP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    if linktype == ETHERNET:
        return Ether(data)
    if linktype == RAW and data[:1]:
        if data[0] >> 4 == 4:
            return IP(data)
        return importlib.import_module("scapy.layers.inet6").IPv6(data)
    return Raw(data)


def _needed(data: bytes) -> list[str]:
    """Return the scapy modules for the headers that may be in `data`, found by the marks that are cheap to see."""
    modules = ["l2", "inet"]
    if b"\x86\xdd" in data or data[:1] >= b"\x60":
        modules.append("inet6")
    ports = {data[at : at + 2] for at in range(14, min(len(data), 120), 2)}
    for module, numbers in (("dns", (53,)), ("vxlan", VXLAN_PORTS), ("dhcp", (67, 68))):
        if any(number.to_bytes(2, "big") in ports for number in numbers):
            modules.append(module)
    return modules


def show(packet: Any) -> Text:
    """Return the layers and fields of a scapy packet, one a line; what differs from run to run says "varies"."""
    lines: list[str] = []
    depth = 0
    while packet is not None and type(packet).__name__ != "NoPayload":
        name = packet.name
        lines.append("  " * depth + name)
        for field in packet.fields_desc:
            if field.name not in packet.fields and not hasattr(packet, field.name):
                continue
            value = packet.getfieldval(field.name)
            if value is None or not getattr(field, "cond", lambda _: True)(packet):
                continue
            if field.name in VARIES.get(name, ()) or ((name, field.name) in PORTS and value in EPHEMERAL):
                told = "varies"
            else:
                told = str(field.i2repr(packet, value))
            lines.append("  " * depth + f"  {field.name:<9} {told}")
        packet = packet.payload
        depth += 1
    return Text("\n".join(lines))
