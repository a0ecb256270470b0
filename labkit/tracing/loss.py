"""Why did it get no further? The place of the last step, and what the kernel does there, in the kernel's order.

Evidence comes first: a rule's verdict, a counter that moved, an ICMP error. Where the kernel counts nothing, the lookup
in that namespace decides. Where neither says why, the cause is "unknown", and says what was seen.
Source: kernel documentation networking/ip-sysctl, networking/snmp_counter; RFC 1812 section 5.
"""

from __future__ import annotations

import errno
import ipaddress
from contextlib import suppress

from labkit.net import namespace as namespaces
from labkit.net import sysctl
from labkit.packets.frames import Frame
from labkit.state.records import FdbEntry, Link, Route
from labkit.tracing.deciding import Deciding
from labkit.tracing.evidence import Evidence, Met
from labkit.tracing.following import Role
from labkit.tracing.headers import ECHO_REQUEST, TCP, UDP, Packet
from labkit.tracing.lookups import Answer, listens
from labkit.tracing.network import TUNNELS, Network
from labkit.tracing.path import Step
from labkit.tracing.records import Cause, Leg
from labkit.tracing.rules import Event

__all__ = ["Loss"]

_UNREACHABLE = {
    0: "net unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable", 4: "fragmentation "
    "needed", 9: "net prohibited", 10: "host prohibited", 13: "communication prohibited",
}  # fmt: skip
_ETHERNET = 14


class Loss:
    """Finds the cause of one leg's end. `source`: where the leg began; `packet`: as it was there, or would have been;
    `error`: what the kernel told its sender at once."""

    def __init__(
        self, evidence: Evidence, network: Network, deciding: Deciding, source: str, packet: Packet,
        error: OSError | None = None,
    ) -> None:  # fmt: skip
        self.evidence, self.network, self.deciding = evidence, network, deciding
        self.source, self.packet, self.error = source, packet, error
        self.role: Role = deciding.role
        self.leg: Leg = "answer" if self.role == "answer" else "request"

    def cause(self, last: Step | None) -> Cause:
        """Return why nothing was seen after `last` (None: nothing was seen at all)."""
        namespace = last.namespace if last else self.source
        found = (
            self._verdict(namespace, last.interface if last else None)
            or (self._at_the_start() if last is None else None)
            or (self._came_in(last) if last is not None and last.comes_in else None)
            or (self._went_out(last) if last is not None and not last.comes_in else None)
        )
        return found or self._unknown(last)

    def _say(self, kind: str, namespace: str, interface: str | None, sentence: str, known_by: str = "") -> Cause:
        told = self._error_told()
        known = "; ".join(filter(None, [known_by, told]))
        return Cause(kind, namespace, interface or None, sentence, self.leg, known)

    def _error_told(self) -> str:
        """In words, the ICMP error that came about this packet, if one did."""
        wanted = "error" if self.leg == "request" else "error about the answer"
        for seen in self.evidence.seen:
            if seen.role == wanted:
                return f"{_icmp_words(seen.packet)} from {seen.packet.src}"
        return ""

    def _counter(self, namespace: str, *names: str) -> str:
        moved = [name for name in names if self.evidence.moved(namespace, name)]
        return f"counter {moved[0]} moved in {namespace}" if moved else ""

    # firewall

    def _verdict(self, namespace: str, interface: str | None) -> Cause | None:
        """A rule or a policy said drop."""
        met = [one for one in self.evidence.met.get(namespace, []) if one.role == self.role]
        for one in reversed(met):
            if one.drops or self._legacy_drops(namespace, one, met):
                return self._dropped(namespace, interface, one)
        return None

    def _legacy_drops(self, namespace: str, one: Met, met: list[Met]) -> bool:
        """iptables-legacy tells no verdict: the last rule's target, or the last policy, has it."""
        if not one.event.family.startswith("legacy") or one is not met[-1]:
            return False
        decision = self.deciding.rule(namespace, one)
        words = decision.text.split() if decision else []
        return any(word in ("DROP", "REJECT") for word in words) or (words[-2:] == ["policy", "drop"])

    def _dropped(self, namespace: str, interface: str | None, one: Met) -> Cause:
        event = one.event
        decision = self.deciding.rule(namespace, one)
        chain = f"{event.family.removeprefix('legacy ')} {event.table} {event.chain}"
        if event.kind == "policy":
            sentence = f"{namespace} dropped it: no rule of chain {chain} took it, and the chain's policy is drop"
            return self._say("policy", namespace, interface, sentence, "the kernel's trace of its rules")
        text = decision.text.removesuffix(": drop") if decision else "a rule"
        sentence = f"{namespace} dropped it by a rule of chain {chain}: {text}"
        return self._say("firewall", namespace, interface, sentence, "the kernel's trace of its rules")

    def _link_named(self, namespace: str, event: Event) -> str | None:
        links = self.network.state(namespace).links
        return next((link.ifname for link in links if link.ifindex == (event.link_in or event.link_out)), None)

    # at the start: nothing was on any wire

    def _at_the_start(self) -> Cause | None:
        where, packet = self.source, self.packet
        if packet.arp or not packet.dst:
            return None
        answer = self.deciding.look_up(where, packet, "", packet.src)
        if answer.resolved is None or answer.resolved.type not in ("unicast", "local"):
            return self._no_route(where, packet, answer, None)
        return self._refused(where, answer.resolved) or self._leaves(where, packet, answer.resolved, answer)

    def _refused(self, where: str, route: Route) -> Cause | None:
        """The kernel told the sender why."""
        number = self.error.errno if self.error else 0
        if number == errno.EPERM:
            sentence = f"{where} did not send it: a firewall rule of its own refused"
            return self._say("firewall", where, route.dev, sentence, "the sender was told: operation not permitted")
        if number == errno.EMSGSIZE:
            return self._too_long(where, self.packet, route, "the sender was told: message too long")
        return None

    # it went out, and was not seen to come in

    def _went_out(self, last: Step) -> Cause | None:
        where, name = last.namespace, last.interface
        link = self.network.link(where, name)
        if link is None:
            return self._say("link_down", where, name, f"{where}'s {name} is gone")
        if link.kind == "bridge":
            return self._bridged(last, name, "")
        if link.kind in TUNNELS:
            return self._into_tunnel(last, link)
        peer = self.network.peer(where, name)
        if peer is None:
            sentence = f"it left {where} by {name}, and what is at the other end is in no namespace with a name"
            return self._say("unknown", where, name, sentence, "its frame on that link")
        far = self.network.link(*peer)
        if far is None or not far.is_up:
            return self._say(
                "link_down", *peer, f"it left by {where}/{name}, but {_at(peer)} is down", "the link's state"
            )
        length = last.frame.length - _ETHERNET
        if length > far.mtu:
            sentence = f"{_at(peer)} takes at most {far.mtu} bytes (its MTU), and the packet has {length}"
            return self._say("mtu", *peer, sentence, "its frame went out at the other end, and never came in here")
        return None

    def _into_tunnel(self, last: Step, link: Link) -> Cause | None:
        where, packet = last.namespace, last.outside
        if link.kind != "vxlan":
            return None
        entry = self.network.vxlan_fdb(where, link.ifname, packet.dst_mac)
        vtep = entry.dst if entry else link.details.get("group")
        if not vtep:
            sentence = f"{where}'s {link.ifname} has no FDB entry for {packet.dst_mac}: it does not know which VTEP"
            return self._say("fdb", where, link.ifname, sentence, f"bridge fdb show dev {link.ifname}")
        outer = Packet(src=str(link.details.get("local", "")), dst=str(vtep), protocol=UDP, length=packet.length + 50)
        answer = self.deciding.look_up(where, outer, "", outer.src)
        if answer.resolved is None:
            return self._no_route(where, outer, answer, None)
        return self._leaves(where, outer, answer.resolved, answer)

    # it came in

    def _came_in(self, last: Step) -> Cause | None:
        where, name = last.namespace, last.interface
        bridge = self.network.bridge_of(where, name)
        if bridge and not self._is_the_bridges(where, bridge, last.outside.dst_mac):
            return self._bridged(last, bridge, name)
        if bridge:
            upper = self.network.link(where, bridge)
            if upper is None or not upper.is_up:
                return self._say("link_down", where, bridge, f"{where}'s bridge {bridge} is down", "the link's state")
        link = self.network.link(where, name)
        other = link is not None and link.link_type == "ether" and link.address not in ("", last.outside.dst_mac)
        if link is not None and other and not bridge and not last.is_for_all:
            return self._for_another(last, link)
        return self._routed(last, bridge or name)

    def _for_another(self, last: Step, link: Link) -> Cause:
        """Its frame is for another MAC: a bridge sent it to the wrong port, or its sender has the wrong MAC."""
        where, name, mac = last.namespace, last.interface, last.outside.dst_mac
        owner = self.network.has_mac(mac)
        sent = last.before
        bridge = self.network.bridge_of(sent.namespace, sent.interface) if sent else None
        entry = self.network.fdb(sent.namespace, bridge, mac) if sent and bridge else None
        if owner and sent and entry and entry.ifname == sent.interface:
            sentence = f"{sent.namespace}'s {bridge} sent it out by {entry.ifname}, but {owner} has the MAC {mac}"
            return self._say("fdb", sent.namespace, entry.ifname, sentence, f"FDB entry: {entry.text}")
        sentence = (
            f"{where} did not take it: the frame is for {mac}, and {name} has {link.address}; "
            "its sender has a wrong neighbour entry"
        )
        return self._say("neighbour", where, name, sentence, "the frame's destination MAC")

    def _is_the_bridges(self, where: str, bridge: str, mac: str) -> bool:
        link = self.network.link(where, bridge)
        entry = self.network.fdb(where, bridge, mac)
        own = entry is not None and entry.state == "permanent" and not entry.flags
        return bool(link and link.address == mac) or own or bool(int(mac[:2] or "0", 16) & 1)

    def _bridged(self, last: Step, bridge: str, port: str) -> Cause | None:
        """A bridge had it, and no port sent it out. `port`: where it came in, "" for the bridge itself."""
        where, mac = last.namespace, last.outside.dst_mac
        entry = self.network.fdb(where, bridge, mac)
        into = self.network.link(where, port) if port else None
        upper = self.network.link(where, bridge)
        if upper is not None and not upper.is_up:
            return self._say("link_down", where, bridge, f"{where}'s bridge {bridge} is down", "the link's state")
        if into is not None and into.port.get("state") not in (None, "forwarding"):
            sentence = f"{where}'s port {port} of {bridge} is {into.port['state']}: it forwards nothing"
            return self._say("fdb", where, port, sentence, "bridge link show")
        if entry is not None:
            return self._to_port(last, bridge, port, entry)
        return self._flooded_nowhere(last, bridge, port)

    def _to_port(self, last: Step, bridge: str, port: str, entry: FdbEntry) -> Cause | None:
        where, mac, out = last.namespace, last.outside.dst_mac, entry.ifname
        known = f"FDB entry: {entry.text}"
        if out == port:
            sentence = (
                f"{where}'s {bridge} has {mac} at {out}, where it came in, and sends nothing back by the same port"
            )
            return self._say("fdb", where, out, f"{sentence} (hairpin is off)", known)
        link = self.network.link(where, out)
        if link is not None and not link.has_carrier:
            return self._say("link_down", where, out, f"{where}'s port {out} of {bridge} is {link.state}", known)
        into = self.network.link(where, port) if port else None
        if link is not None and into is not None and link.port.get("isolated") and into.port.get("isolated"):
            sentence = f"{where}'s ports {port} and {out} of {bridge} are both isolated: nothing passes between them"
            return self._say("fdb", where, out, sentence, "bridge -d link show")
        if link is not None and last.frame.length - _ETHERNET > link.mtu:
            sentence = f"{where}'s port {out} sends at most {link.mtu} bytes (its MTU), the packet has"
            return self._say("mtu", where, out, f"{sentence} {last.frame.length - _ETHERNET}", known)
        return self._filtered(last, bridge)

    def _flooded_nowhere(self, last: Step, bridge: str, port: str) -> Cause | None:
        where, mac = last.namespace, last.outside.dst_mac
        others = [link for link in self.network.state(where).ports_of(bridge) if link.ifname != port]
        able = [link for link in others if link.has_carrier and link.port.get("flood", True)]
        into = self.network.link(where, port) if port else None
        if into is not None and into.port.get("isolated"):
            able = [link for link in able if not link.port.get("isolated")]
        if not able:
            down = [link for link in others if not link.has_carrier]
            kind = "link_down" if down and len(down) == len(others) else "fdb"
            told = ", ".join(f"{link.ifname} {link.state}" for link in others) or "there is none"
            sentence = f"{where}'s {bridge} has no FDB entry for {mac}, and no other port to flood it to ({told})"
            return self._say(kind, where, bridge, sentence, f"bridge fdb show br {bridge}")
        return self._filtered(last, bridge)

    def _filtered(self, last: Step, bridge: str) -> Cause | None:
        """The bridge should have passed it on: iptables may see bridged packets, and tell nothing of it."""
        state = self.network.state(last.namespace)
        called = state.sysctls.get("net.bridge.bridge-nf-call-iptables") == "1"
        if not called or self.evidence.met.get(last.namespace) or not self.evidence.ruleset(last.namespace).text:
            return None
        sentence = (
            f"{last.namespace}'s {bridge} handed it to iptables (bridge-nf-call-iptables is 1), "
            "and it did not come back; which rule, is not known"
        )
        return self._say("firewall", last.namespace, last.interface, sentence)

    # routing

    def _routed(self, last: Step, iif: str) -> Cause | None:
        where, packet = last.namespace, last.outside
        if packet.arp:
            return self._no_arp_answer(last)
        if packet.protocol < 0:
            return None
        turned, known = self.deciding.translated(where, packet)
        cause = self._routed_as(where, turned, iif)
        if cause and known and turned.dst != packet.dst:
            to = f"{turned.dst}:{turned.ports[1]}" if turned.ports else turned.dst
            sentence = f"{where} turned it to {to} by a connection that it knew already, whatever its rules say now; "
            return self._say("conntrack", where, iif, sentence + cause.sentence, cause.known_by)
        return cause

    def _routed_as(self, where: str, packet: Packet, iif: str) -> Cause | None:
        answer = self.deciding.look_up(where, packet, iif, packet.src)
        if reverse := self._reverse_path(where, packet, iif, answer):
            return reverse
        resolved = answer.resolved
        if resolved is not None and resolved.type == "local":
            return self._local(where, packet, iif)
        if not self._forwards(where, iif, packet):
            sentence = f"{where} is not {packet.dst}, and does not forward: {_forwarding(packet)} is 0"
            return self._say("forwarding_off", where, iif, sentence, self._known(where, answer, "Ip.InAddrErrors"))
        if resolved is None or resolved.type not in ("unicast", "local"):
            return self._no_route(where, packet, answer, iif)
        if packet.ttl <= 1:
            sentence = f"{where} would forward it to {packet.dst}, but its TTL of {packet.ttl} is used up"
            return self._say("ttl", where, iif, sentence, self._counter(where, "Ip.InHdrErrors", "Ip6.Ip6InHdrErrors"))
        return self._leaves(where, packet, resolved, answer)

    def _known(self, where: str, answer: Answer, *counters: str) -> str:
        """A counter, or else the lookup."""
        return self._counter(where, *counters) or f"lookup: {answer.command}"

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
            return self._say("rp_filter", where, iif, sentence, f"lookup: {answer.command}")
        link = self.network.link(where, iif)
        every = int(self.network.state(where).sysctls.get("net.ipv4.conf.all.rp_filter", "0"))
        value = max(every, int(link.sysctls.get("rp_filter", 0)) if link else 0)
        back = self.deciding.look_up(where, _turned(packet), "", "").resolved
        device = back.dev if back else None
        counted = self._counter(where, "TcpExt.IPReversePathFilter")
        if not value or ((device == iif or (device and value > 1)) and not counted):
            return None
        way = f"its route back to {packet.src} leads by {device}" if device else f"it has no route back to {packet.src}"
        sentence = f"{where} dropped it on {iif}: rp_filter is {value} there, and {way}"
        return self._say("rp_filter", where, iif, sentence, counted or f"lookup: {answer.command}")

    def _no_route(self, where: str, packet: Packet, answer: Answer, iif: str | None) -> Cause:
        if down := self._link_that_was_the_way(where, packet.dst):
            sentence = (
                f"{where}'s way to {packet.dst} was {down.ifname}, which is {down.state}: its routes went with it"
            )
            return self._say("link_down", where, down.ifname, sentence, f"lookup: {answer.command}")
        counted = self._counter(where, "IpExt.InNoRoutes", "Ip.OutNoRoutes", "Ip6.Ip6OutNoRoutes")
        known = counted or f"lookup: {answer.command}"
        if barrier := self._barrier(where, packet.dst):
            sentence = f"{where} has a route for {packet.dst} that leads nowhere: {barrier.text}"
            return self._say("no_route", where, iif, sentence, known)
        return self._say("no_route", where, iif, f"{where} has no route to {packet.dst}", known)

    def _barrier(self, where: str, dst: str) -> Route | None:
        """The route of type blackhole, unreachable or prohibit that covers the destination most closely."""
        covering = [route for route in self.network.state(where).routes if _covers(route, dst)]
        closest = max(covering, key=lambda route: _prefix_length(route.dst), default=None)
        return closest if closest and closest.type in ("blackhole", "unreachable", "prohibit", "throw") else None

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

    def _leaves(self, where: str, packet: Packet, route: Route, answer: Answer) -> Cause | None:
        """A route was found: does its link pass it on, is it short enough, does the next hop answer?"""
        device = route.dev or ""
        link = self.network.link(where, device)
        if link is not None and not link.has_carrier:
            far = f": the other end, {_at(link.peer)}, is down" if link.peer and link.is_up else ""
            sentence = f"{where} would send it by {device}, which is {link.state}{far}"
            return self._say("link_down", where, device, sentence, "the link's state")
        most = route.mtu or (link.mtu if link else 0)
        if packet.length > most > 0 and (packet.df or self._error_told().startswith("ICMP fragmentation")):
            counted = self._counter(where, "Ip.FragFails", "Ip6.Ip6FragFails")
            return self._too_long(where, packet, route, counted or f"lookup: {answer.command}")
        return self._unanswered(where, device, route.gateway or packet.dst)

    def _too_long(self, where: str, packet: Packet, route: Route, known: str) -> Cause:
        link = self.network.link(where, route.dev or "")
        most = route.mtu or (link.mtu if link else 0)
        size = f"{packet.length} bytes" if packet.length else "the packet"
        sentence = f"{where} sends at most {most} bytes by {route.dev}, and {size} may not be fragmented (DF)"
        return self._say("mtu", where, route.dev, sentence, known)

    def _unanswered(self, where: str, device: str, hop: str) -> Cause | None:
        """Nobody told the next hop's MAC."""
        entry = self.network.neighbour(where, device, hop)
        asked = self._asked(where, hop)
        if (entry is None or entry.standing != "unanswered") and not asked:
            return None
        if entry is not None and entry.lladdr and entry.standing != "unanswered":
            return None
        if refused := self._refuses_to_answer(where, hop):
            return refused
        kind = "by neighbour solicitation" if ":" in hop else "by ARP"
        reached = self._reached(hop)
        sentence = f"{where} asked {kind} on {device} who has {hop}, and nobody answered{reached}"
        known = "its question on the wire" if asked else f"neighbour entry: {entry.text}" if entry else ""
        return self._say("neighbour", where, device, sentence, known)

    def _refuses_to_answer(self, where: str, hop: str) -> Cause | None:
        """A rule dropped the question or its answer; or rp_filter, which holds for ARP too: who asks with a source
        whose way back is elsewhere gets no answer."""
        owner = self.network.owner(hop)
        for namespace in filter(None, (where, owner)):
            for event in self.evidence.events.get(namespace, []):
                arp = event.packet.arp if event.packet else None
                if arp and event.verdict == "drop" and hop in (arp[2], arp[4]):
                    return self._dropped(namespace, self._link_named(namespace, event), Met(self.role, event))
        for frame, packet in self._questions(hop):
            if owner and frame.namespace == owner and frame.direction == "in" and packet.arp:
                asking = Packet(src=packet.arp[2], dst=hop)
                answer = self.deciding.look_up(owner, asking, frame.interface, asking.src)
                return self._reverse_path(owner, asking, frame.interface, answer)
        return None

    def _asked(self, where: str, hop: str) -> bool:
        return any(frame.namespace == where and frame.direction == "out" for frame, _ in self._questions(hop))

    def _questions(self, hop: str) -> list[tuple[Frame, Packet]]:
        """Return the frames that ask who has `hop`."""
        innermost = [(frame, packets[-1]) for frame, packets in self.evidence.packets if packets]
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
        return self._say("neighbour", last.namespace, last.interface, sentence, "no answer on the wire")

    # at its destination

    def _local(self, where: str, packet: Packet, iif: str) -> Cause | None:
        name = {TCP: "tcp", UDP: "udp"}.get(packet.protocol)
        if packet.kind in ECHO_REQUEST.values() and packet.kind == ECHO_REQUEST.get(packet.protocol):
            return None
        if name and packet.ports and not listens(where, name, packet.dst, packet.ports[1]):
            sentence = (
                f"it reached {where}, where no {name.upper()} socket listens on {packet.dst} port {packet.ports[1]}"
            )
            return self._say(
                "no_listener", where, iif, sentence, self._counter(where, "Udp.NoPorts") or "sockets there"
            )
        return None

    def silence(self, where: str, request: Packet, interface: str | None) -> Cause:
        """Return why `where`, which took the packet, sent no answer that was seen anywhere."""
        if verdict := self._verdict(where, interface):
            return verdict
        if request.kind == ECHO_REQUEST[1] and self._ignores_pings(where):
            sentence = f"{where} took it, and answers no ping: net.ipv4.icmp_echo_ignore_all is 1"
            return self._say("policy", where, interface, sentence, "the sysctl")
        answer = self.deciding.look_up(where, self.packet, "", self.packet.src)
        if answer.resolved is None or answer.resolved.type not in ("unicast", "local"):
            return self._no_route(where, self.packet, answer, None)
        if cause := self._leaves(where, self.packet, answer.resolved, answer):
            return cause
        sentence = f"{where} took it, and sent no answer that was seen on any link"
        return self._say("unknown", where, interface, sentence)

    def _ignores_pings(self, where: str) -> bool:
        with suppress(OSError), namespaces.enter(where):
            return sysctl.read("net.ipv4.icmp_echo_ignore_all") == "1"
        return False

    def _unknown(self, last: Step | None) -> Cause:
        if self.evidence.moved(self.source if last is None else last.namespace, "conntrack.drop"):
            return self._say("conntrack", last.namespace if last else self.source, None, "its connection found no room")
        if last is None:
            told = f": {self.error.strerror.lower()}" if self.error and self.error.strerror else ""
            sentence = f"{self.source} sent nothing that was seen on any link{told}"
            return self._say("unknown", self.source, None, sentence)
        verb = "came in" if last.comes_in else "left"
        by = "by" if not last.comes_in else "at"
        sentence = f"it {verb} {by} {last.frame.where}, and was not seen after that; nothing there says why"
        return self._say("unknown", last.namespace, last.interface, sentence)


def _icmp_words(packet: Packet) -> str:
    kind, code = packet.kind, packet.body[1] if len(packet.body) > 1 else 0
    if packet.protocol == 1:
        words = {11: "time exceeded", 12: "parameter problem"}.get(kind) or _UNREACHABLE.get(code, "unreachable")
        return f"ICMP {words}"
    words = {1: "unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem"}.get(kind, str(kind))
    return f"ICMPv6 {words}"


def _asks_for(packet: Packet) -> str:
    """Whose MAC a packet asks for, by ARP or by neighbour solicitation. Source: RFC 826; RFC 4861 section 4.3."""
    if packet.arp and packet.arp[0] == 1:
        return packet.arp[4]
    solicits = packet.protocol == 58 and packet.kind == 135 and len(packet.body) >= 24
    return str(ipaddress.IPv6Address(packet.body[8:24])) if solicits else ""


def _turned(packet: Packet) -> Packet:
    return Packet(src=packet.dst, dst=packet.src, protocol=-1)


def _at(end: tuple[str, str] | None) -> str:
    return "/".join(end) if end else "it"


def _forwarding(packet: Packet) -> str:
    return "net.ipv6.conf.all.forwarding" if ":" in packet.dst else "net.ipv4.ip_forward"


def _covers(route: Route, dst: str) -> bool:
    if route.table not in ("main", "default"):
        return False
    version = 6 if route.family == "inet6" else 4
    if ipaddress.ip_address(dst).version != version:
        return False
    return route.dst == "default" or ipaddress.ip_address(dst) in ipaddress.ip_network(route.dst, strict=False)


def _prefix_length(dst: str) -> int:
    return 0 if dst == "default" else ipaddress.ip_network(dst, strict=False).prefixlen
