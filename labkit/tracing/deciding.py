"""What decided it? For each step, what brought it there: route and rule, neighbour, FDB entry, firewall, connection.

Routes are looked up in the namespace that decided, with the packet as it was there. Where a lookup and the frame do not
agree, that is what is said: nothing is made up.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import replace

from labkit.net.iptables import TABLES
from labkit.state.conntrack import ConntrackEntry
from labkit.state.decode import IP_PROTOCOLS
from labkit.state.records import Route, Rule
from labkit.state.snapshot import NamespaceState
from labkit.tracing.evidence import Evidence, Met
from labkit.tracing.following import Role
from labkit.tracing.headers import Packet
from labkit.tracing.lookups import Answer, look_up
from labkit.tracing.network import Network
from labkit.tracing.path import Step
from labkit.tracing.records import Decision

__all__ = ["Deciding", "ip_command", "selects"]

_USUAL = {("local", 0), ("main", 32766), ("default", 32767)}
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_WORDS = {"accept": "accept", "drop": "drop"}
_END = re.compile(r"ip6?tables(?:-legacy)? -t \w+ -A \S+ -j RETURN")  # a rule without conditions


class Deciding:
    """Says what decided each step of one leg. `role`: which leg; `way`: its steps, in order."""

    def __init__(self, evidence: Evidence, network: Network, role: Role, way: Sequence[Step]) -> None:
        self.evidence, self.network, self.role, self.way = evidence, network, role, way
        self._names = {
            state.name: {link.ifindex: link.ifname for link in state.links} for state in evidence.after.namespaces
        }
        self._met = {name: [met for met in found if met.role == role] for name, found in evidence.met.items()}

    def decide(self) -> None:
        """Note at every step of the way what decided it."""
        for step in self.way:
            step.decided += self._step(step.before, step)
        for first, last in self._stays():
            where = first.namespace
            last.decided += self._connection(where, first, last)
            last.decided += self._rules(where, self._passes(where), first, last)

    def _stays(self) -> list[tuple[Step, Step]]:
        """Return the first and last step of each stay in a namespace."""
        stays: list[tuple[Step, Step]] = []
        for step in self.way:
            if stays and stays[-1][1].namespace == step.namespace and step.before is stays[-1][1]:
                stays[-1] = stays[-1][0], step
            else:
                stays.append((step, step))
        return stays

    def _passes(self, namespace: str) -> int:
        return sum(first.namespace == namespace for first, _ in self._stays())

    def _step(self, before: Step | None, step: Step) -> list[Decision]:
        if before is not None and before.namespace != step.namespace:
            if self.network.peer(step.namespace, step.interface) is None:
                return [Decision("cable", f"unknown: after {before.frame.where} it was in a namespace without a name")]
            return [Decision("cable", f"the other end of {before.frame.where}")]
        if step.comes_in:
            return self._up(before, step) if before is not None else []
        if bridge := self.network.bridge_of(step.namespace, step.interface):
            return self._port(step, bridge)
        if before is not None and not before.comes_in:
            return self._down(before, step)
        return self._routed(before, step)

    # inside a namespace, without routing

    def _up(self, before: Step, step: Step) -> list[Decision]:
        """A bridge keeps a frame for itself, or a tunnel takes its wrapping off."""
        link = self.network.link(step.namespace, step.interface)
        if link and link.kind == "bridge":
            entry = self.network.fdb(step.namespace, step.interface, step.outside.dst_mac)
            if step.is_for_all:
                return [Decision("fdb", f"{step.outside.dst_mac} is for everybody: {step.interface} hears it too")]
            text = entry.text if entry else f"{step.outside.dst_mac} is {step.interface}'s own MAC"
            return [Decision("fdb", text, _bridge_command(step))]
        if link and link.kind == "vxlan":
            facts = link.details
            return [
                Decision("tunnel", f"{step.interface} listens on UDP {facts.get('port')} for VNI {facts.get('id')}")
            ]
        return [
            Decision("tunnel" if step.packet.outer != before.packet.outer else "link", f"{step.interface} is above")
        ]

    def _port(self, step: Step, bridge: str) -> list[Decision]:
        """Which port a bridge sends a frame out by."""
        mac = step.outside.dst_mac
        entry = self.network.fdb(step.namespace, bridge, mac)
        command = _bridge_command(step, bridge)
        if step.is_for_all:
            return [Decision("fdb", f"{mac} is for everybody: {bridge} floods it", command)]
        if entry is None or not self._knew(step, bridge):
            return [Decision("fdb", f"{bridge} did not know {mac}: it flooded it", command)]
        if entry.ifname != step.interface:
            return [Decision("fdb", f"{bridge} knew {mac} elsewhere, and now has: {entry.text}", command)]
        return [Decision("fdb", entry.text, command)]

    def _knew(self, step: Step, bridge: str) -> bool:
        """Whether the bridge knew the MAC when the frame came: from before, or from a frame that came since."""
        mac = step.outside.dst_mac
        if Network(self.evidence.before).fdb(step.namespace, bridge, mac):
            return True
        for frame, packets in self.evidence.packets:
            if frame.time_ns >= step.frame.time_ns:
                return False
            heard = frame.namespace == step.namespace and frame.direction == "in" and packets
            if (
                heard
                and packets[0].src_mac == mac
                and self.network.bridge_of(frame.namespace, frame.interface) == bridge
            ):
                return True
        return False

    def _down(self, before: Step, step: Step) -> list[Decision]:
        """A tunnel wraps it and sends it by another link; a VLAN or macvlan sends it by the link below."""
        link = self.network.link(before.namespace, before.interface)
        if link is None or step.packet.outer == before.packet.outer:
            return [Decision("link", f"{before.interface} is on {step.interface}")]
        found = []
        if link.kind == "vxlan":
            entry = self.network.vxlan_fdb(before.namespace, before.interface, before.packet.dst_mac)
            found.append(
                Decision(
                    "fdb",
                    entry.text if entry else f"{before.interface} sends to its group or remote",
                    f"bridge {_within(before.namespace)}fdb show dev {before.interface}",
                )
            )
        return [*found, *self._route(step, step.outside, "", step.outside.src)]

    # routing

    def _routed(self, before: Step | None, step: Step) -> list[Decision]:
        if before is None and self.evidence.probe.handmade and self.role == "request":
            return []  # its sender wrote it out: no table was asked
        packet = step.outside
        iif = before.interface if before is not None else ""
        return self._route(step, packet, iif, before.outside.src if before is not None else packet.src)

    def _route(self, step: Step, packet: Packet, iif: str, src: str) -> list[Decision]:
        if packet.protocol < 0:
            return []
        state = self.network.state(step.namespace)
        answer = self.look_up(step.namespace, packet, iif, src)
        resolved = answer.resolved
        if resolved is None or answer.entry is None or resolved.dev not in (step.interface, "lo"):
            told = f"dev {resolved.dev}" if resolved else answer.words
            text = f"it left by {step.interface}; asked now, the kernel says: {told}"
            return [Decision("route", text, answer.command)]
        entry = replace(answer.entry, table="main").text  # which table it is from is told after it
        found = [Decision("route", f"{entry} (table {answer.entry.table})", answer.command)]
        found += _rule(state, packet, iif, src, answer, self.mark(step.namespace))
        return [*found, *self._neighbour(step, resolved, packet)]

    def look_up(self, namespace: str, packet: Packet, iif: str, src: str) -> Answer:
        """Ask the namespace for the route of a packet that came in by `iif` ("" for its own)."""
        own = self.network.owns(namespace, src)
        return look_up(
            namespace,
            packet.dst,
            src=src if iif or own else "",
            iif=iif,
            mark=self.mark(namespace),
            protocol=packet.protocol,
            ports=packet.ports,
            names=self._names[namespace],
        )

    def mark(self, namespace: str) -> int:
        """Return the mark that a rule put on the packet before it was routed, as far as the rules' trace told."""
        return next((met.event.mark for met in reversed(self._met.get(namespace, [])) if met.event.mark), 0)

    def _neighbour(self, step: Step, resolved: Route, packet: Packet) -> list[Decision]:
        link = self.network.link(step.namespace, step.interface)
        if link is None or link.link_type != "ether" or packet.dst_mac in ("", "00:00:00:00:00:00"):
            return []
        hop = resolved.gateway or packet.dst
        entry = self.network.neighbour(step.namespace, step.interface, hop)
        command = ip_command(step.namespace, f"neighbour show {hop} dev {step.interface}")
        if entry is None or entry.lladdr is None:
            return [Decision("neighbour", f"{hop} was at {packet.dst_mac}; there is no entry now", command)]
        if entry.lladdr != packet.dst_mac:
            return [Decision("neighbour", f"{hop} was at {packet.dst_mac}; now: {entry.text}", command)]
        return [Decision("neighbour", entry.text, command)]

    # firewall and connections

    def _connection(self, namespace: str, first: Step, last: Step) -> list[Decision]:
        entry = self.connection(namespace, first.outside, last.outside)
        if entry is None:
            return []
        was = any(_same(entry, one) for one in self.evidence.connections_before.get(namespace, ()))
        age = "known connection" if was or self.role != "request" else "new connection"
        change = f", translated: {entry.translated}" if entry.translated else ""
        text = f"{age}: {entry.protocol} {entry.original.text}, answers {entry.reply.text}{change}"
        return [Decision("conntrack", text, f"{_exec(namespace)}conntrack -L")]

    def connection(self, namespace: str, *packets: Packet) -> ConntrackEntry | None:
        """Return the tracked connection that one of these packets belongs to, in either direction."""
        for entry in self.evidence.connections.get(namespace, ()):
            for packet in packets:
                if entry.protocol == _PROTOCOLS.get(packet.protocol):
                    for side in (entry.original, entry.reply):
                        ports = packet.ports or (None, None)
                        if (side.src, side.dst, side.sport, side.dport) == (packet.src, packet.dst, *ports):
                            return entry
        return None

    def translated(self, namespace: str, packet: Packet) -> tuple[Packet, bool]:
        """Return a packet as its tracked connection turns it before it is routed, and whether the connection was
        known before the packet came."""
        entry = self.connection(namespace, packet)
        if entry is None or not entry.translated:
            return packet, False
        ports = packet.ports or (None, None)
        first = (entry.original.src, entry.original.dst, entry.original.sport, entry.original.dport)
        other = entry.reply if first == (packet.src, packet.dst, *ports) else entry.original
        if packet.ports and other.sport is not None:
            body = packet.body[:2] + other.sport.to_bytes(2, "big") + packet.body[4:]
            packet = replace(packet, body=body)
        known = any(_same(entry, one) for one in self.evidence.connections_before.get(namespace, ()))
        return replace(packet, dst=other.src), known

    def _rules(self, namespace: str, passes: int, first: Step, last: Step) -> list[Decision]:
        """The rules that were met during one stay; of several stays, those with its interfaces."""
        found = self._met.get(namespace, [])
        if passes > 1:
            names = self._names[namespace]
            links = {step.interface for step in self.way if step.namespace == namespace}
            mine = {first.interface, last.interface, *(self.network.bridge_of(namespace, one) or "" for one in links)}
            found = [
                met
                for met in found
                if all(names.get(index, "") in mine for index in (met.event.link_in, met.event.link_out) if index)
            ]
        return [decision for met in found if (decision := self.rule(namespace, met))]

    def met_rules(self, namespace: str, *words: str) -> bool:
        """Return whether the packet met a rule in `namespace` whose text has one of these words."""
        texts = [
            decision.text.lower() for met in self._met.get(namespace, []) if (decision := self.rule(namespace, met))
        ]
        return any(word in text for text in texts for word in words)

    def rule(self, namespace: str, met: Met) -> Decision | None:
        """Return a rule or policy that was met, in its tool's words, with what it said."""
        event = met.event
        rules = self.evidence.ruleset(namespace)
        legacy = event.family.startswith("legacy")
        if event.kind == "rule" and not event.handle:  # the end of a chain, of which newer kernels tell too
            return None
        if event.kind == "rule":
            rule = rules.rules.get((event.family, event.table, event.chain, event.handle))
            text = rule.text if rule else f"rule {event.handle} of {event.family} {event.table} {event.chain}"
            if legacy and rule is None:
                return None  # a rule of our own, or one that is gone
            if _END.fullmatch(text):  # the end of a chain, too, and told as such by iptables-legacy
                return None
            said = rule is not None and rule.text.startswith(("iptables", "ip6tables"))  # its target, -j, says it
            said = said or text.lower().endswith(event.verdict.lower())
            verdict = "" if said or event.verdict == "continue" else f": {event.verdict}"
            return Decision("firewall", text + verdict, rule.command if rule else "")
        if event.kind != "policy":
            return None
        chain = rules.chains.get(place := (event.family, event.table, event.chain))
        verdict = (chain.policy if chain else "") if legacy else event.verdict
        given = legacy or (event.table in TABLES and event.chain.isupper())
        if given and verdict == "accept" and not any(key[:3] == place for key in rules.rules):
            return None  # iptables has all of a table's chains, and this one is empty
        name = f"{event.family.removeprefix('legacy ')} {event.table} {event.chain}"
        return Decision("firewall", f"chain {name}: policy {verdict}", "")


def _same(one: ConntrackEntry, other: ConntrackEntry) -> bool:
    return (one.protocol, one.original, one.reply, one.zone) == (
        other.protocol, other.original, other.reply, other.zone
    )  # fmt: skip


def _rule(state: NamespaceState, packet: Packet, iif: str, src: str, answer: Answer, mark: int) -> list[Decision]:
    """Return the rule that sent the lookup to its table, if it is none that every namespace has."""
    assert answer.entry is not None
    family = "inet6" if ":" in packet.dst else "inet"
    for rule in sorted((rule for rule in state.rules if rule.family == family), key=lambda rule: rule.priority):
        fits = selects(rule, packet, iif, src, mark)
        if fits and rule.table == answer.entry.table and (rule.table, rule.priority) not in _USUAL:
            return [Decision("rule", rule.text, ip_command(state.name, "rule"))]
        if fits and rule.table == answer.entry.table:
            return []
    return []


def selects(rule: Rule, packet: Packet, iif: str, src: str, mark: int) -> bool:
    """Return whether a rule's lookup is for a packet, as far as addresses, the interface that it came in by ("" for one
    made here), its mark, protocol and ports decide."""

    def within(address: str, prefix: str | None) -> bool:
        if prefix in (None, "all"):
            return True
        return bool(address) and ipaddress.ip_address(address) in ipaddress.ip_network(prefix or "")

    def among(number: int, ports: tuple[int, int] | None) -> bool:
        return ports is None or ports[0] <= number <= ports[1]

    protocol = rule.ipproto in (None, IP_PROTOCOLS.get(packet.protocol, str(packet.protocol)))
    sport, dport = packet.ports or (-1, -1)
    carried = protocol and among(sport, rule.sport) and among(dport, rule.dport)
    marked = rule.fwmark is None or mark & (rule.fwmask or 0xFFFFFFFF) == rule.fwmark
    fits = within(src, rule.src) and within(packet.dst, rule.dst) and marked and rule.iif in (None, iif or "lo")
    fits = fits and carried
    return fits != rule.inverted


def ip_command(namespace: str, rest: str) -> str:
    """Return the command that looks at a namespace: ip -n red address"""
    return f"ip {_within(namespace)}{rest}"


def _within(namespace: str) -> str:
    return "" if namespace == "host" else f"-n {namespace} "


def _exec(namespace: str) -> str:
    return "" if namespace == "host" else f"ip netns exec {namespace} "


def _bridge_command(step: Step, bridge: str = "") -> str:
    return f"bridge {_within(step.namespace)}fdb show br {bridge or step.interface}"
