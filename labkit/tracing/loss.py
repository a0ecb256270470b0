"""Why did it get no further? The place of the last step says who had it; what the kernel does there says why.

Evidence comes first: a rule's verdict, a counter that moved, an ICMP error. Where neither evidence nor lookup says why,
the cause is "unknown", and says what was seen.
"""

from __future__ import annotations

import errno

from labkit.state.records import Route
from labkit.tracing.bridging import ETHERNET, Bridging
from labkit.tracing.case import Case
from labkit.tracing.headers import ECHO_REQUEST, Packet
from labkit.tracing.network import TUNNELS
from labkit.tracing.path import Step
from labkit.tracing.records import Cause
from labkit.tracing.routing import Routing

__all__ = ["Loss"]

_IGNORE = {1: "net.ipv4.icmp_echo_ignore_all", 58: "net.ipv6.icmp.echo_ignore_all"}
_ICMP_KINDS = {
    (1, 11, -1): "ttl", (1, 3, 0): "no_route", (1, 3, 1): "neighbour", (1, 3, 3): "no_listener", (1, 3, 4): "mtu",
    (1, 3, 9): "firewall", (1, 3, 10): "firewall", (1, 3, 13): "firewall",
    (58, 3, -1): "ttl", (58, 2, -1): "mtu", (58, 1, 0): "no_route", (58, 1, 3): "neighbour", (58, 1, 4): "no_listener",
    (58, 1, 1): "firewall",
}  # fmt: skip


class Loss:
    """Finds the cause of one leg's end. `source`: where the leg began; `packet`: as it was there, or would have been;
    `error`: what the kernel told its sender at once."""

    def __init__(self, case: Case, source: str, packet: Packet, error: OSError | None = None) -> None:
        self.case, self.source, self.packet, self.error = case, source, packet, error
        self.network, self.routing = case.network, Routing(case)
        self.bridging = Bridging(case, self.routing)

    def cause(self, last: Step | None) -> Cause:
        """Return why nothing was seen after `last` (None: nothing was seen at all)."""
        namespace = last.namespace if last else self.source
        found = (
            self.case.verdict(namespace, last.interface if last else None)
            or self._no_room(namespace)
            or (self._at_the_start() if last is None else None)
            or (self._came_in(last) if last is not None and last.comes_in else None)
            or (self._went_out(last) if last is not None and not last.comes_in else None)
        )
        return found or self._said_by_icmp(last) or self._unknown(last)

    def _no_room(self, where: str) -> Cause | None:
        """The table of connections was full."""
        counted = self.case.counter(where, "conntrack.drop")
        sentence = f"{where} dropped it: its table of connections is full (net.netfilter.nf_conntrack_max)"
        return self.case.say("conntrack", where, None, sentence, counted) if counted else None

    def _at_the_start(self) -> Cause | None:
        where, packet = self.source, self.packet
        if packet.arp or not packet.dst:
            return None
        answer = self.case.deciding.look_up(where, packet, "", packet.src)
        if answer.resolved is None or answer.resolved.type not in ("unicast", "local", "broadcast", "multicast"):
            return self.routing.no_route(where, packet, answer, None)
        return self._refused(where, answer.resolved) or self.routing.leaves(where, packet, answer.resolved, answer)

    def _refused(self, where: str, route: Route) -> Cause | None:
        """The kernel told the sender why."""
        number = self.error.errno if self.error else 0
        if number == errno.EPERM:
            sentence = f"{where} did not send it: a firewall rule of its own refused"
            return self.case.say("firewall", where, route.dev, sentence, "the sender was told: operation not permitted")
        if number == errno.EMSGSIZE:
            return self.routing.too_long(where, self.packet, route, "the sender was told: message too long")
        return None

    def _went_out(self, last: Step) -> Cause | None:
        where, name = last.namespace, last.interface
        link = self.network.link(where, name)
        if link is None:
            return self.case.say("link_down", where, name, f"{where}'s {name} is gone")
        if link.kind == "bridge":
            return self.bridging.bridged(last, name, "")
        if link.kind in TUNNELS:
            return self.bridging.into_tunnel(last, link)
        peer = self.network.peer(where, name)
        if peer is None:
            sentence = f"it left {where} by {name}, and what is at the other end is in no namespace with a name"
            return self.case.say("unknown", where, name, sentence, "its frame on that link")
        far, far_end = self.network.link(*peer), "/".join(peer)
        if far is None or not far.is_up:
            sentence = f"it left by {where}/{name}, but {far_end} is down"
            return self.case.say("link_down", *peer, sentence, "the link's state")
        length = last.frame.length - ETHERNET
        if length > far.mtu:
            sentence = f"{far_end} takes at most {far.mtu} bytes (its MTU), and the packet has {length}"
            return self.case.say("mtu", *peer, sentence, "its frame went out at the other end, and never came in here")
        return None

    def _came_in(self, last: Step) -> Cause | None:
        where, name = last.namespace, last.interface
        bridge = self.network.bridge_of(where, name)
        if bridge and not self.bridging.is_the_bridges(where, bridge, last.outside.dst_mac):
            return self.bridging.bridged(last, bridge, name)
        if bridge:
            upper = self.network.link(where, bridge)
            mac = last.outside.dst_mac
            here = self.network.link(where, name)
            if upper and here and not last.is_for_all and mac not in (upper.address, here.address):
                return self.bridging.for_another(last, upper)
            if upper is None or not upper.is_up:
                sentence = f"{where}'s bridge {bridge} is down"
                return self.case.say("link_down", where, bridge, sentence, "the link's state")
        link = self.network.link(where, name)
        other = link is not None and link.link_type == "ether" and link.address not in ("", last.outside.dst_mac)
        if link is not None and other and not bridge and not last.is_for_all:
            return self.bridging.for_another(last, link)
        return self.routing.routed(last, bridge or name)

    def silence(self, where: str, request: Packet, interface: str | None) -> Cause:
        """Return why `where`, which took the packet, sent no answer that was seen anywhere."""
        if verdict := self.case.verdict(where, interface):
            return verdict
        key = _IGNORE.get(request.protocol, "")
        if request.kind == ECHO_REQUEST.get(request.protocol) and self.case.sysctl(where, key) == "1":
            sentence = f"{where} took it, and answers no ping: {key} is 1"
            return self.case.say("policy", where, interface, sentence, "the sysctl")
        answer = self.case.deciding.look_up(where, self.packet, "", self.packet.src)
        if answer.resolved is None or answer.resolved.type not in ("unicast", "local"):
            return self.routing.no_route(where, self.packet, answer, None)
        if cause := self.routing.leaves(where, self.packet, answer.resolved, answer):
            return cause
        sentence = f"{where} took it, and sent no answer that was seen on any link"
        return self.case.say("unknown", where, interface, sentence)

    def strayed(self, last: Step, called: str) -> Cause:
        """Return why an answer that came home was not taken: it is not from where the packet was sent to."""
        sentence = (
            f"{last.namespace} had called {called}, and the answer came from {last.packet.src}: on its way back nobody "
            "turned its addresses back"
        )
        return self.case.say("conntrack", last.namespace, last.interface, sentence, "the addresses of the two")

    def hung_up(self, where: str, interface: str | None, reset: bool) -> Cause:
        """Return why a request has no answer whose connection was ended instead."""
        how = "reset" if reset else "closed"
        sentence = f"{where}'s server {how} the connection, and sent no answer"
        return self.case.say("unknown", where, interface, sentence, f"TCP {'RST' if reset else 'FIN'} from it")

    def _said_by_icmp(self, last: Step | None) -> Cause | None:
        """Who had it last sent an error about it."""
        for seen in self.case.evidence.seen:
            if (
                last is not None
                and seen.role.startswith("error")
                and self.network.owns(last.namespace, seen.packet.src)
            ):
                kind = _ICMP_KINDS.get((seen.packet.protocol, seen.packet.kind, seen.packet.body[1]), "")
                kind = kind or _ICMP_KINDS.get((seen.packet.protocol, seen.packet.kind, -1), "")
                sentence = f"{last.namespace} gave it up, and said so by an ICMP error"
                return self.case.say(kind, last.namespace, last.interface, sentence) if kind else None
        return None

    def _unknown(self, last: Step | None) -> Cause:
        if last is None:
            told = f": {self.error.strerror.lower()}" if self.error and self.error.strerror else ""
            sentence = f"{self.source} sent nothing that was seen on any link{told}"
            return self.case.say("unknown", self.source, None, sentence)
        vni = _vni(last.packet.outer)
        if last.comes_in and vni is not None and self.network.owns(last.namespace, last.outside.dst):
            links = self.network.state(last.namespace).links
            if not any(link.kind == "vxlan" and link.details.get("id") == vni for link in links):
                sentence = f"{last.namespace} took the tunnel's packet in, and has no VXLAN device of VNI {vni}"
                return self.case.say("unknown", last.namespace, last.interface, sentence, "its links")
        verb = "came in" if last.comes_in else "left"
        by = "by" if not last.comes_in else "at"
        sentence = f"it {verb} {by} {last.frame.where}, and was not seen after that; nothing there says why"
        return self.case.say("unknown", last.namespace, last.interface, sentence)


def _vni(outer: tuple[str, ...]) -> int | None:
    """The VNI of the outermost VXLAN around a packet, as Headers.outer tells it."""
    words = outer[0].replace(",", "").split() if outer else []
    return int(words[2]) if words[:2] == ["VXLAN", "vni"] else None
