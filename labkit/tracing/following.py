"""Is this the packet, its answer, or an error about it? What stays the same on the way tells.

Addresses, ports, MACs and TTL change on the way; what a packet carries, TCP's sequence number and IPv4's identification
do not. The answer is known by its ends: those of the packet, turned round, as they were where it was last seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from labkit.tracing.headers import ECHO_REPLY, ECHO_REQUEST, ICMP, ICMP6, TCP, UDP, Packet

__all__ = ["ENOUGH", "Following", "Found", "Role", "signature"]

Role = Literal["request", "answer", "error", "error about the answer"]
ENOUGH = 12  # bytes of what a packet carries that tell it from others, and that the kernel's rule trace shows
Signature = tuple[object, ...]


class Found(NamedTuple):
    """A packet in a frame, and what it is."""

    role: Role
    packet: Packet


def signature(packet: Packet) -> Signature:
    """Return what of a packet no router, bridge or NAT changes."""
    if packet.arp:
        operation, _, sender, _, target = packet.arp
        return "arp", operation, sender, target
    if packet.protocol < 0:
        return packet.ethertype, packet.body[:ENOUGH]
    if packet.protocol == TCP:
        return TCP, packet.sequence, packet.acknowledged, packet.flags
    if packet.kind in (ECHO_REQUEST.get(packet.protocol), ECHO_REPLY.get(packet.protocol)):
        return packet.protocol, packet.kind, packet.body[6 : 8 + ENOUGH]
    if packet.protocol == UDP:
        return UDP, packet.payload[:ENOUGH]
    return packet.protocol, packet.body[:ENOUGH]


class Following:
    """Recognises one packet and what comes of it, in frames given in time order.

    `first`, later `.sent`: whether a packet is the one that was sent, when nothing of it was seen yet. `is_answer`:
    whether a packet whose ends are the packet's turned round is the answer that is waited for (default: any)."""

    def __init__(self, first: Callable[[Packet], bool], is_answer: Callable[[Packet], bool] = lambda _: True) -> None:
        self.sent, self._is_answer = first, is_answer
        self.request: Packet | None = None
        self.answer: Packet | None = None
        self.again = 0  # how often it was sent again
        self._ends: set[tuple[object, ...]] = set()
        self._backs: set[tuple[object, ...]] = set()
        self._answer_ends: set[tuple[object, ...]] = set()
        self._pairs: set[tuple[str, str]] = set()

    def look(self, packets: Sequence[Packet], at_home: bool = True) -> Found | None:
        """Return what a frame with these packets in it is, from the inside out, or None for what is not ours.

        at_home: whether it was seen in the namespace that the packet set off from, where its first frame is."""
        for packet in reversed(packets):
            if self.request is None and not at_home:
                return None
            role = self._role(packet)
            if role:
                return Found(role, packet)
        return None

    def _role(self, packet: Packet) -> Role | None:
        if self.request is None:
            if not self.sent(packet):
                return None
            self.request = packet
            self._note(packet)
            return "request"
        if self._answers(packet):
            return "answer"
        if self._is_request(packet):
            self._note(packet)
            return "request"
        return self._error(packet)

    def _note(self, packet: Packet) -> None:
        self._ends.add(packet.ends)
        self._backs.add(packet.back)
        self._pairs.add((packet.src, packet.dst))

    def _is_request(self, packet: Packet) -> bool:
        request = self.request
        assert request is not None
        if packet.offset:
            same = packet.protocol == request.protocol and packet.ident == request.ident
            return same and (packet.src, packet.dst) in self._pairs
        if signature(packet) != signature(request):
            return False
        if packet.ident != request.ident and not packet.more and packet.ident and request.ident:
            self.again += 1
            return False
        return True

    def _answers(self, packet: Packet) -> bool:
        if self.answer is not None:
            same = signature(packet) == signature(self.answer)
            if same and self.request is not None and signature(packet) == signature(self.request):
                same = packet.ends not in self._ends  # it carries what the packet carried: a server that echoes
            if packet.offset:
                same = packet.protocol == self.answer.protocol
            if same and (packet.ident == self.answer.ident or not self.answer.ident):
                self._answer_ends.add(packet.ends)
                return True
            return False
        if not self.would_answer(packet):
            return False
        self.answer = packet
        self._answer_ends.add(packet.ends)
        return True

    def would_answer(self, packet: Packet) -> bool:
        """Return whether a packet is an answer to what was seen so far of the request."""
        return self.request is not None and self._is_first_answer(self.request, packet)

    def _is_first_answer(self, request: Packet, packet: Packet) -> bool:
        if request.arp or packet.arp:
            return bool(
                request.arp
                and packet.arp
                and (request.arp[0], packet.arp[0]) == (1, 2)
                and packet.arp[2] == request.arp[4]
            )
        if request.protocol in (ICMP, ICMP6):
            wanted = ECHO_REPLY.get(request.protocol) if request.kind == ECHO_REQUEST[request.protocol] else None
            told = packet.protocol == request.protocol and packet.kind == wanted
            return told and packet.body[6 : 8 + ENOUGH] == request.body[6 : 8 + ENOUGH]
        if packet.protocol < 0 or packet.offset or (packet.ports is None and packet.ends not in self._backs):
            return False
        protocol, _, dst, sport, dport = packet.ends  # from another address too: NAT may be missing on its way
        backs = {(one[0], one[2], one[3], one[4]) for one in self._backs}
        return (protocol, dst, sport, dport) in backs and self._is_answer(packet)

    def _error(self, packet: Packet) -> Role | None:
        quoted = packet.quoted
        if quoted is None or self.request is None:
            return None
        if self._about(quoted, self.request, self._ends):
            return "error"
        if self.answer is not None and self._about(quoted, self.answer, self._answer_ends | self._backs):
            return "error about the answer"
        return None

    def _about(self, quoted: Packet, packet: Packet, ends: set[tuple[object, ...]]) -> bool:
        if quoted.protocol != packet.protocol:
            return False
        if quoted.ident and packet.ident:
            return quoted.ident == packet.ident
        echo = packet.protocol not in (ICMP, ICMP6) or quoted.body[6:8] == packet.body[6:8]
        return echo and replace(quoted, offset=0).ends in ends
