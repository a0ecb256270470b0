"""A leg that ended too early: what is known of it, and how is its cause said?

A cause says what shows it: a rule's verdict, a counter that moved, an ICMP error; where the kernel counts nothing, the
lookup in that namespace.
"""

from __future__ import annotations

from contextlib import suppress

from labkit.net import namespace as namespaces
from labkit.net import sysctl
from labkit.tracing.deciding import Deciding
from labkit.tracing.evidence import Evidence, Met
from labkit.tracing.following import Role
from labkit.tracing.headers import Packet
from labkit.tracing.lookups import Answer
from labkit.tracing.network import Network
from labkit.tracing.records import Cause, Leg
from labkit.tracing.rules import Event

__all__ = ["Case"]

_UNREACHABLE = {
    0: "net unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable", 4: "fragmentation "
    "needed", 9: "net prohibited", 10: "host prohibited", 13: "communication prohibited",
}  # fmt: skip

_UNREACHABLE6 = {0: "no route", 1: "communication prohibited", 3: "address unreachable", 4: "port unreachable"}


class Case:
    """The evidence about one leg, and the words for its cause."""

    def __init__(self, evidence: Evidence, network: Network, deciding: Deciding) -> None:
        self.evidence, self.network, self.deciding = evidence, network, deciding
        self.role: Role = deciding.role
        self.leg: Leg = "answer" if self.role == "answer" else "request"

    def say(self, kind: str, namespace: str, interface: str | None, sentence: str, known_by: str = "") -> Cause:
        told = self.error_told()
        known = "; ".join(filter(None, [known_by, told]))
        return Cause(kind, namespace, interface or None, sentence, self.leg, known)

    def error_told(self) -> str:
        """In words, the ICMP error that came about this packet, if one did."""
        wanted = "error" if self.leg == "request" else "error about the answer"
        for seen in self.evidence.seen:
            if seen.role == wanted:
                return f"{_icmp_words(seen.packet)} from {seen.packet.src}"
        return ""

    def refused(self) -> str:
        """In words, what came back that says that nobody takes it there: a RST, or ICMP port unreachable; else ""."""
        answer = self.evidence.following.answer
        if answer is not None and answer.flags & 4:
            return f"TCP RST from {answer.src}"
        return self.error_told() if "port unreachable" in self.error_told() else ""

    def sysctl(self, namespace: str, key: str) -> str:
        """Return a sysctl of a namespace, or "" where there is none."""
        with suppress(OSError), namespaces.enter(namespace):
            return sysctl.read(key)
        return ""

    def counter(self, namespace: str, *names: str) -> str:
        moved = [name for name in names if self.evidence.moved(namespace, name)]
        return f"counter {moved[0]} moved in {namespace}" if moved else ""

    def known(self, where: str, answer: Answer, *counters: str) -> str:
        """A counter, or else the lookup."""
        return self.counter(where, *counters) or f"lookup: {answer.command}"

    def verdict(self, namespace: str, interface: str | None) -> Cause | None:
        """A rule or a policy said drop."""
        met = [one for one in self.evidence.met.get(namespace, []) if one.role == self.role]
        for one in reversed(met):
            if one.drops or self._legacy_drops(namespace, one, met):
                return self.dropped(namespace, interface, one)
        return None

    def _legacy_drops(self, namespace: str, one: Met, met: list[Met]) -> bool:
        """iptables-legacy tells no verdict: the last rule's target, or the last policy, has it."""
        if not one.event.family.startswith("legacy") or one is not met[-1]:
            return False
        decision = self.deciding.rule(namespace, one)
        words = decision.text.split() if decision else []
        return any(word in ("DROP", "REJECT") for word in words) or (words[-2:] == ["policy", "drop"])

    def dropped(self, namespace: str, interface: str | None, one: Met) -> Cause:
        event = one.event
        decision = self.deciding.rule(namespace, one)
        chain = f"{event.family.removeprefix('legacy ')} {event.table} {event.chain}"
        if event.kind == "policy":
            sentence = f"{namespace} dropped it: no rule of chain {chain} took it, and the chain's policy is drop"
            return self.say("policy", namespace, interface, sentence, "the kernel's trace of its rules")
        text = decision.text.removesuffix(": drop") if decision else "a rule"
        sentence = f"{namespace} dropped it by a rule of chain {chain}: {text}"
        return self.say("firewall", namespace, interface, sentence, "the kernel's trace of its rules")

    def link_named(self, namespace: str, event: Event) -> str | None:
        links = self.network.state(namespace).links
        return next((link.ifname for link in links if link.ifindex == (event.link_in or event.link_out)), None)


def _icmp_words(packet: Packet) -> str:
    kind, code = packet.kind, packet.body[1] if len(packet.body) > 1 else 0
    if packet.protocol == 1:
        words = {11: "time exceeded", 12: "parameter problem"}.get(kind) or _UNREACHABLE.get(code, "unreachable")
        return f"ICMP {words}"
    if kind == 1:
        return f"ICMPv6 {_UNREACHABLE6.get(code, 'unreachable')}"
    words = {2: "packet too big", 3: "time exceeded", 4: "parameter problem"}.get(kind, str(kind))
    return f"ICMPv6 {words}"
