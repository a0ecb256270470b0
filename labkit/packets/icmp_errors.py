"""Who says that a packet was not delivered, why, and which packet?

An ICMP error comes from the router or host that gave a packet up, goes to the packet's source, and quotes its
beginning.
Source: RFC 792, 1191 (the MTU of "fragmentation needed"), 1812 section 4.3, 4443.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from labkit.packets.decode import summary
from labkit.packets.links import ETHERNET, RAW

__all__ = ["IcmpError", "error_in", "words"]

_UNREACHABLE_4 = {
    0: "destination network unreachable",
    1: "destination host unreachable",
    2: "destination protocol unreachable",
    3: "destination port unreachable",
    5: "source route failed",
    6: "destination network unknown",
    7: "destination host unknown",
    9: "destination network prohibited",
    10: "destination host prohibited",
    13: "communication prohibited by a filter",
}
_UNREACHABLE_6 = {
    0: "no route to the destination",
    1: "communication prohibited by a filter",
    2: "beyond the scope of the source address",
    3: "destination address unreachable",
    4: "destination port unreachable",
    5: "source address failed ingress policy",
    6: "route to the destination rejects",
}
_ERRORS_4, _ERRORS_6 = (3, 11, 12), (1, 2, 3, 4)
_VLAN = (b"\x81\x00", b"\x88\xa8")


@dataclass(frozen=True, slots=True, repr=False)
class IcmpError:
    """One ICMP error. `sender`: who gave the packet up; `to`: whose packet it was; `mtu`: of "fragmentation needed",
    the largest packet that would pass, in bytes; `about`: the packet that is quoted, in one line."""

    sender: str
    to: str
    type: int
    code: int
    mtu: int | None
    about: str
    quoted: bytes = field(default=b"", compare=False)

    @property
    def words(self) -> str:
        """What is the matter: "time to live exceeded"."""
        return words(6 if ":" in self.sender else 4, self.type, self.code, self.mtu or 0)

    def __repr__(self) -> str:
        return f"{self.sender} to {self.to}: {self.words} [{self.about}]"


def words(version: int, type: int, code: int, mtu: int = 0) -> str:  # noqa: A002 - ICMP's own word
    """Return in words what an ICMP error of IP `version` means. mtu: what it tells of the MTU, in bytes."""
    if (version, type) in ((4, 11), (6, 3)):
        exceeded = "time to live exceeded" if version == 4 else "hop limit exceeded"
        return exceeded if code == 0 else "fragments did not arrive in time"
    if (version, type, code) == (4, 3, 4):
        return f"fragmentation needed, MTU {mtu}"
    if (version, type) == (6, 2):
        return f"packet too big, MTU {mtu}"
    if (version, type) in ((4, 3), (6, 1)):
        names = _UNREACHABLE_4 if version == 4 else _UNREACHABLE_6
        return names.get(code, f"destination unreachable, code {code}")
    return f"ICMP type {type} code {code}"


def error_in(data: bytes, linktype: int = ETHERNET) -> IcmpError | None:
    """Return the ICMP error in a frame, or None if there is none, or if it was cut short before the quoted packet."""
    packet = data
    if linktype == ETHERNET:
        at = 12
        while data[at : at + 2] in _VLAN:
            at += 4
        packet = data[at + 2 :]
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        return _error_4(packet)
    return _error_6(packet) if version == 6 and len(packet) >= 40 else None


def _error_4(packet: bytes) -> IcmpError | None:
    message = packet[(packet[0] & 15) * 4 :]
    fragment = int.from_bytes(packet[6:8], "big") & 0x1FFF
    if packet[9] != socket.IPPROTO_ICMP or fragment or len(message) < 28 or message[0] not in _ERRORS_4:
        return None
    mtu = int.from_bytes(message[6:8], "big") if message[:2] == b"\x03\x04" else None
    return _error(socket.AF_INET, packet[12:16], packet[16:20], message, mtu)


def _error_6(packet: bytes) -> IcmpError | None:
    message = packet[40:]
    if packet[6] != socket.IPPROTO_ICMPV6 or len(message) < 48 or message[0] not in _ERRORS_6:
        return None
    mtu = int.from_bytes(message[4:8], "big") if message[0] == 2 else None
    return _error(socket.AF_INET6, packet[8:24], packet[24:40], message, mtu)


def _error(family: int, sender: bytes, to: bytes, message: bytes, mtu: int | None) -> IcmpError:
    quoted = message[8:]
    about = summary(quoted, len(quoted), RAW)
    ends = socket.inet_ntop(family, sender), socket.inet_ntop(family, to)
    return IcmpError(*ends, message[0], message[1], mtu, about, quoted)
