"""Connections, as the kernel's messages tell of them: who opened one, and what will an answer look like?

Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h, nf_conntrack_tcp.h; conntrack(8).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from labkit.net.netlink import attributes
from labkit.net.nfnetlink import number

__all__ = ["PROTOCOLS", "ConntrackEntry", "Tuple", "entry_of"]

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 47: "gre"}
_TCP_STATES = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT",
               "CLOSE", "SYN_SENT2")  # fmt: skip
_SEEN_REPLY, _ASSURED, _SRC_NAT, _DST_NAT = 2, 4, 16, 32
_EPHEMERAL = range(32768, 61000)


@dataclass(frozen=True, slots=True)
class Tuple:
    """One direction of a connection. Ports are None for protocols without any; `ident` is an ICMP echo's."""

    src: str
    dst: str
    sport: int | None = None
    dport: int | None = None
    ident: int | None = None

    @property
    def text(self) -> str:
        """In words, without what differs from run to run: "10.0.0.2 > 10.0.0.3:80"."""
        return f"{_end(self.src, self.sport)} > {_end(self.dst, self.dport)}"


@dataclass(frozen=True, slots=True)
class ConntrackEntry:
    """One connection. `original`: as its first packet was; `reply`: as an answer is expected. Where they are not each
    other's mirror image, addresses are translated. Same as a line of: conntrack -L"""

    protocol: str
    original: Tuple
    reply: Tuple
    state: str = ""
    status: int = 0
    timeout: int = 0
    mark: int = 0
    zone: int = 0

    @property
    def translated(self) -> str:
        """What happens to its packets: "source", "destination", "source and destination", or ""."""
        found = [word for bit, word in ((_SRC_NAT, "source"), (_DST_NAT, "destination")) if self.status & bit]
        return " and ".join(found)

    @property
    def text(self) -> str:
        """As `conntrack -L` orders it, without times, ephemeral ports and identifiers."""
        words = [self.protocol, *([self.state] if self.state else []), self.original.text]
        words += [] if self.status & _SEEN_REPLY else ["[UNREPLIED]"]
        words += ["reply", self.reply.text]
        words += ["[ASSURED]"] if self.status & _ASSURED else []
        words += [f"mark={self.mark}"] if self.mark else []
        words += [f"zone={self.zone}"] if self.zone else []
        return " ".join(words)


def _end(address: str, port: int | None) -> str:
    if port is None or port in _EPHEMERAL:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def entry_of(tells: dict[int, bytes]) -> ConntrackEntry:
    """Return the connection of which a message's attributes tell."""
    protocol, original = _tuple(tells.get(1, b""))
    _, reply = _tuple(tells.get(2, b""))
    tcp = attributes(attributes(tells.get(4, b"")).get(1, b""))
    state = number(tcp.get(1)) if 1 in tcp else None
    return ConntrackEntry(
        protocol=PROTOCOLS.get(protocol, str(protocol)),
        original=original,
        reply=reply,
        state=_TCP_STATES[state] if state is not None and state < len(_TCP_STATES) else "",
        status=number(tells.get(3)) or 0,
        timeout=number(tells.get(7)) or 0,
        mark=number(tells.get(8)) or 0,
        zone=number(tells.get(18)) or 0,
    )


def _tuple(data: bytes) -> tuple[int, Tuple]:
    parts = attributes(data)
    ip, upper = attributes(parts.get(1, b"")), attributes(parts.get(2, b""))
    src, dst = (_address(ip.get(kind) or ip.get(kind + 2)) for kind in (1, 2))
    ident = number(upper.get(4)) if 4 in upper else number(upper.get(7))
    protocol = number(upper.get(1)) or 0
    return protocol, Tuple(src, dst, number(upper.get(2)), number(upper.get(3)), ident)


def _address(data: bytes | None) -> str:
    if not data:
        return ""
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)
