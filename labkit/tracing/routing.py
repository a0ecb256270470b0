"""Why did a namespace not route it on, or not take it? In the kernel's order.

The source first (rp_filter), then the route, forwarding, TTL, the link, its MTU, and the next hop's MAC.
Source: kernel documentation networking/ip-sysctl, networking/snmp_counter; RFC 1812 section 5, RFC 3704.
"""

from __future__ import annotations

import errno
import ipaddress

from labkit.packets.frames import Frame
from labkit.state.records import Link, Route
from labkit.tracing.case import Case
from labkit.tracing.deciding import selects
from labkit.tracing.evidence import Met
from labkit.tracing.headers import ECHO_REQUEST, TCP, UDP, Packet
from labkit.tracing.lookups import Answer, listens
from labkit.tracing.path import Step
from labkit.tracing.records import Cause

__all__ = ["Routing"]

_BARRIERS = ("blackhole", "unreachable", "prohibit")


class Routing:
    """Finds the cause where a namespace handles the packet as a router or as its destination."""

    def __init__(self, case: Case) -> None:
        self.case, self.network = case, case.network

    def routed(self, last: Step, iif: str) -> Cause | None:
        where, packet = last.namespace, last.outside
        if packet.arp:
            return self._no_arp_answer(last)
        if packet.protocol < 0:
            return None
        turned, known = self.case.deciding.translated(where, packet)
        cause = self._routed_as(where, turned, iif, turned is not packet)
        if cause and known and turned.dst != packet.dst:
            to = f"{turned.dst}:{turned.ports[1]}" if turned.ports else turned.dst
            sentence = f"{where} turned it to {to} by a connection that it knew already, whatever its rules say now; "
            return self.case.say("conntrack", where, iif, sentence + cause.sentence, cause.known_by)
        return cause

    def _routed_as(self, where: str, packet: Packet, iif: str, turned: bool) -> Cause | None:
        if iif == "lo" and self.network.owns(where, packet.dst):  # a lookup by lo would call its source a martian
            return self._local(where, packet, iif, turned)
        answer = self.case.deciding.look_up(where, packet, iif, packet.src)
        if answer.errno and packet.dst.startswith("127."):
            sentence = (
                f"{where} takes nothing for {packet.dst} that comes from outside (a martian; route_localnet is 0)"
            )
            return self.case.say("no_route", where, iif, sentence, f"lookup: {answer.command}")
        if reverse := self._reverse_path(where, packet, iif, answer):
            return reverse
        resolved = answer.resolved
        if resolved is not None and resolved.type in ("broadcast", "multicast"):
            return self._for_many(where, packet, iif)
        if resolved is not None and resolved.type == "local":
            return self._local(where, packet, iif, turned)
        if not self._forwards(where, iif, packet):
            key = _forwarding(packet)
            if self.network.state(where).forwards and ":" not in packet.dst:
                key = f"net.ipv4.conf.{iif}.forwarding"
            sentence = f"{where} is not {packet.dst}, and does not forward: {key} is 0"
            return self.case.say(
                "forwarding_off", where, iif, sentence, self.case.known(where, answer, "Ip.InAddrErrors")
            )
        if resolved is None or resolved.type not in ("unicast", "local"):
            return self.no_route(where, packet, answer, iif)
        if packet.ttl <= 1:
            sentence = f"{where} would forward it to {packet.dst}, but its TTL of {packet.ttl} is used up"
            return self.case.say(
                "ttl", where, iif, sentence, self.case.counter(where, "Ip.InHdrErrors", "Ip6.Ip6InHdrErrors")
            )
        return self.leaves(where, packet, resolved, answer)

    def _forwards(self, where: str, iif: str, packet: Packet) -> bool:
        state = self.network.state(where)
        if ":" in packet.dst:
            return state.sysctls.get("net.ipv6.conf.all.forwarding") == "1"
        link = self.network.link(where, iif)
        return bool(link.sysctls.get("forwarding")) if link else state.forwards

    def _reverse_path(self, where: str, packet: Packet, iif: str, answer: Answer) -> Cause | None:
        """rp_filter: is the way back to the sender the way it came? Source: ip-sysctl, rp_filter; RFC 3704."""
        if ":" in packet.dst or answer.errno not in (errno.EINVAL, errno.EXDEV):
            return None
        if self.network.owns(where, packet.src):
            sentence = f"{where} dropped it on {iif}: its source {packet.src} is {where}'s own address (a martian)"
            return self.case.say("rp_filter", where, iif, sentence, f"lookup: {answer.command}")
        link = self.network.link(where, iif)
        every = int(self.network.state(where).sysctls.get("net.ipv4.conf.all.rp_filter", "0"))
        value = max(every, int(link.sysctls.get("rp_filter", 0)) if link else 0)
        back = self.case.deciding.look_up(where, _turned(packet), "", "").resolved
        device = back.dev if back else None
        counted = self.case.counter(where, "TcpExt.IPReversePathFilter")
        if not value or ((device == iif or (device and value > 1)) and not counted):
            return None
        way = f"its route back to {packet.src} leads by {device}" if device else f"it has no route back to {packet.src}"
        sentence = f"{where} dropped it on {iif}: rp_filter is {value} there, and {way}"
        return self.case.say("rp_filter", where, iif, sentence, counted or f"lookup: {answer.command}")

    def no_route(self, where: str, packet: Packet, answer: Answer, iif: str | None) -> Cause:
        if down := self._link_that_was_the_way(where, packet.dst):
            sentence = (
                f"{where}'s way to {packet.dst} was {down.ifname}, which is {down.state}: its routes went with it"
            )
            return self.case.say("link_down", where, down.ifname, sentence, f"lookup: {answer.command}")
        counted = self.case.counter(where, "IpExt.InNoRoutes", "Ip.OutNoRoutes", "Ip6.Ip6OutNoRoutes")
        known = counted or f"lookup: {answer.command}"
        if barrier := self._barrier(where, packet, iif or ""):
            sentence = f"{where} has a route for {packet.dst} that leads nowhere: {barrier}"
            return self.case.say("no_route", where, iif, sentence, known)
        return self.case.say("no_route", where, iif, f"{where} has no route to {packet.dst}", known)

    def _barrier(self, where: str, packet: Packet, iif: str) -> str:
        """The route of type blackhole, unreachable or prohibit that the packet is led to, or such a rule; else ""."""
        state, mark = self.network.state(where), self.case.deciding.mark(where)
        for rule in sorted(state.rules, key=lambda rule: rule.priority):
            if (rule.family == "inet6") != (":" in packet.dst) or not selects(rule, packet, iif, packet.src, mark):
                continue
            if rule.action in _BARRIERS:
                return rule.text
            covering = [route for route in state.routes if route.table == rule.table and _covers(route, packet.dst)]
            closest = max(covering, key=lambda route: _prefix_length(route.dst), default=None)
            if closest and closest.type != "throw":
                return closest.text if closest.type in _BARRIERS else ""
        return ""

    def _link_that_was_the_way(self, where: str, dst: str) -> Link | None:
        """A link that is down, and whose addresses' subnet has the destination, or that is the only one there is."""
        state = self.network.state(where)
        down = [link for link in state.links if link.ifname != "lo" and not link.is_up and not link.is_fallback]
        for link in down:
            for address in state.addresses_of(link.ifname):
                network = ipaddress.ip_interface(f"{address.local}/{address.prefixlen}").network
                if network.version == ipaddress.ip_address(dst).version and ipaddress.ip_address(dst) in network:
                    return link
        up = [link for link in state.links if link.ifname != "lo" and link.is_up]
        if dst.startswith("127.") and not any(link.ifname == "lo" and link.is_up for link in state.links):
            return state.link("lo")
        had_address = [link for link in down if state.addresses_of(link.ifname)]
        return had_address[0] if had_address and not up else None

    def leaves(self, where: str, packet: Packet, route: Route, answer: Answer) -> Cause | None:
        """A route was found: does its link pass it on, is it short enough, does the next hop answer?"""
        device = route.dev or ""
        link = self.network.link(where, device)
        if link is not None and not link.has_carrier:
            far = f": the other end, {_at(link.peer)}, is down" if link.peer and link.is_up else ""
            state = "has no carrier" if link.is_up else "is down"
            sentence = f"{where} would send it by {device}, which {state}{far}"
            return self.case.say("link_down", where, device, sentence, "the link's state")
        most = route.mtu or (link.mtu if link else 0)
        if packet.length > most > 0 and (packet.df or self.case.error_told().startswith("ICMP fragmentation")):
            counted = self.case.counter(where, "Ip.FragFails", "Ip6.Ip6FragFails")
            return self.too_long(where, packet, route, counted or f"lookup: {answer.command}")
        return self._unanswered(where, device, route.gateway or packet.dst)

    def too_long(self, where: str, packet: Packet, route: Route, known: str) -> Cause:
        link = self.network.link(where, route.dev or "")
        most = route.mtu or (link.mtu if link else 0)
        size = f"{packet.length} bytes" if packet.length else "the packet"
        sentence = f"{where} sends at most {most} bytes by {route.dev}, and {size} may not be fragmented (DF)"
        return self.case.say("mtu", where, route.dev, sentence, known)

    def _unanswered(self, where: str, device: str, hop: str) -> Cause | None:
        """Nobody told the next hop's MAC."""
        entry = self.network.neighbour(where, device, hop)
        asked = self._asked(where, hop)
        if (entry is None or entry.standing != "unanswered") and not asked:
            return None
        if entry is not None and entry.lladdr and entry.standing != "unanswered":
            return None
        if refused := self._refuses_to_answer(hop):
            return refused
        kind = "by neighbour solicitation" if ":" in hop else "by ARP"
        reached = self._reached(hop)
        sentence = f"{where} asked {kind} on {device} who has {hop}, and nobody answered{reached}"
        known = "its question on the wire" if asked else f"neighbour entry: {entry.text}" if entry else ""
        return self.case.say("neighbour", where, device, sentence, known)

    def _refuses_to_answer(self, hop: str) -> Cause | None:
        """A rule dropped the question or its answer; or rp_filter, which holds for ARP too: who asks with a source
        whose way back is elsewhere gets no answer."""
        owner = self.network.owner(hop)
        for namespace, events in self.case.evidence.events.items():
            for event in events:
                if event.packet and event.verdict == "drop" and _asks_or_tells(event.packet, hop):
                    return self.case.dropped(
                        namespace, self.case.link_named(namespace, event), Met(self.case.role, event)
                    )
        for frame, packet in self._questions(hop):
            if owner and frame.namespace == owner and frame.direction == "in" and packet.arp:
                asking = Packet(src=packet.arp[2], dst=hop)
                answer = self.case.deciding.look_up(owner, asking, frame.interface, asking.src)
                return self._reverse_path(owner, asking, frame.interface, answer)
        return None

    def _asked(self, where: str, hop: str) -> bool:
        return any(frame.namespace == where and frame.direction == "out" for frame, _ in self._questions(hop))

    def _questions(self, hop: str) -> list[tuple[Frame, Packet]]:
        """Return the frames that ask who has `hop`."""
        innermost = [(frame, packets[-1]) for frame, packets in self.case.evidence.packets if packets]
        return [(frame, packet) for frame, packet in innermost if _asks_for(packet) == hop]

    def _reached(self, hop: str) -> str:
        """Where the question came, if its owner did not hear it, or heard it and kept silent."""
        owner = self.network.owner(hop)
        if owner is None:
            return f"; no namespace has {hop}"
        heard = any(frame.namespace == owner and frame.direction == "in" for frame, _ in self._questions(hop))
        return f"; {owner}, which has it, heard it" if heard else f"; {owner} has it, and never heard the question"

    def _no_arp_answer(self, last: Step) -> Cause:
        assert last.outside.arp is not None
        asked = last.outside.arp[4]
        sentence = f"nobody who heard it has {asked}: the question ended in {last.namespace}"
        return self.case.say("neighbour", last.namespace, last.interface, sentence, "no answer on the wire")

    def _local(self, where: str, packet: Packet, iif: str, turned: bool = False) -> Cause | None:
        name = {TCP: "tcp", UDP: "udp"}.get(packet.protocol)
        if packet.kind in ECHO_REQUEST.values() and packet.kind == ECHO_REQUEST.get(packet.protocol):
            return None
        refused = self.case.refused()
        if self.case.leg == "request" and name and packet.ports:
            if full := self._full(where, iif, packet.ports[1]):
                return full
            elsewhere = not turned and self.case.deciding.met_rules(where, "redirect", "dnat")
            if elsewhere and not refused:
                sentence = f"a rule of {where}'s turned it to another end, and it was not seen after that"
                return self.case.say("unknown", where, iif, sentence)
            if refused or not listens(where, name, packet.dst, packet.ports[1]):
                place = "where a rule turned it to" if elsewhere else f"on {packet.dst} port {packet.ports[1]}"
                sentence = f"it reached {where}, where no {name.upper()} socket listens {place}"
                known = self.case.counter(where, "Udp.NoPorts") or refused or "sockets there"
                return self.case.say("no_listener", where, iif, sentence, known)
        return None

    def _full(self, where: str, iif: str, port: int) -> Cause | None:
        """A socket listens there, and has no room."""
        if counted := self.case.counter(where, "Udp.InCsumErrors"):
            return self.case.say("unknown", where, iif, f"{where} dropped it: its UDP checksum is wrong", counted)
        for counter, what in (("TcpExt.ListenOverflows", "backlog"), ("Udp.RcvbufErrors", "receive buffer")):
            if counted := self.case.counter(where, counter):
                sentence = f"it reached {where}, and the {what} of the socket on port {port} is full"
                return self.case.say("no_listener", where, iif, sentence, counted)
        return None

    def _for_many(self, where: str, packet: Packet, iif: str) -> Cause | None:
        """It is for everybody on the link, or for a group."""
        if packet.kind == ECHO_REQUEST[1] and self.case.sysctl(where, "net.ipv4.icmp_echo_ignore_broadcasts") == "1":
            sentence = f"{where} heard it, and answers no ping to many: net.ipv4.icmp_echo_ignore_broadcasts is 1"
            return self.case.say("policy", where, iif, sentence, "the sysctl")
        return None


def _asks_for(packet: Packet) -> str:
    """Whose MAC a packet asks for, by ARP or by neighbour solicitation. Source: RFC 826; RFC 4861 section 4.3."""
    if packet.arp and packet.arp[0] == 1:
        return packet.arp[4]
    solicits = packet.protocol == 58 and packet.kind == 135 and len(packet.body) >= 24
    return str(ipaddress.IPv6Address(packet.body[8:24])) if solicits else ""


def _asks_or_tells(packet: Packet, hop: str) -> bool:
    """Whether a packet asks for the MAC of `hop`, or tells it, as far as the rules' trace shows of its beginning."""
    if packet.arp:
        return hop in (packet.arp[2], packet.arp[4])
    target = packet.body[8:24] if packet.kind in (135, 136) else b""
    return bool(target) and ":" in hop and ipaddress.ip_address(hop).packed.startswith(target)


def _turned(packet: Packet) -> Packet:
    return Packet(src=packet.dst, dst=packet.src, protocol=-1)


def _at(end: tuple[str, str] | None) -> str:
    return "/".join(end) if end else "it"


def _forwarding(packet: Packet) -> str:
    return "net.ipv6.conf.all.forwarding" if ":" in packet.dst else "net.ipv4.ip_forward"


def _covers(route: Route, dst: str) -> bool:
    version = 6 if route.family == "inet6" else 4
    if ipaddress.ip_address(dst).version != version:
        return False
    return route.dst == "default" or ipaddress.ip_address(dst) in ipaddress.ip_network(route.dst, strict=False)


def _prefix_length(dst: str) -> int:
    return 0 if dst == "default" else ipaddress.ip_network(dst, strict=False).prefixlen
