"""Following one packet: send it, see it everywhere, say what decided its way, and why it ended if it did."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from labkit.errors import NotFound, WrongUse
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine
from labkit.state.read import snapshot
from labkit.tracing import probes
from labkit.tracing.case import Case
from labkit.tracing.deciding import Deciding
from labkit.tracing.evidence import Evidence, gather
from labkit.tracing.following import Role
from labkit.tracing.headers import ECHO_REQUEST, TCP, UDP, Packet
from labkit.tracing.lookups import listens
from labkit.tracing.loss import Loss
from labkit.tracing.network import Network
from labkit.tracing.path import Step, changes, steps_of, way_to
from labkit.tracing.records import Cause, Decision, Hop, Leg, Trace

__all__ = ["trace"]

TIMEOUT = 1.5
_NOT_TAKEN = ("TcpExt.ListenOverflows", "Udp.RcvbufErrors", "Udp.InCsumErrors")  # a socket was there, and did not


def trace(
    packet: Any,
    from_: str = "host",
    *,
    tcp: int | None = None,
    udp: int | None = None,
    http: int | None = None,
    dns: str | None = None,
    data: bytes = b"",
    size: int = 56,
    df: bool = False,
    ttl: int | None = None,
    timeout: float = TIMEOUT,
) -> Trace:
    """Send one packet and return its Trace: every interface that saw it, what changed, and what decided its way.

    packet: an IP address or the name of a namespace (its first address), which is then pinged; with `tcp=PORT` the
    first packet of a connection, `udp=PORT` a datagram (`data`: its bytes), `http=PORT` an HTTP request, `dns=NAME` a
    query to port 53; or a scapy packet: IP(...)/... is routed by the kernel, Ether(...)/... goes out as it is.
    from_: the namespace that it sets off from, or "red/eth0" for a frame. size: bytes of the ping's payload; df: it may
    not be fragmented; ttl: 1 to 255. timeout: seconds to wait for an answer; less when nothing more is to come.

    Nothing is left behind. Raises NotFound, NamespaceGone, WrongUse. There is no one command that does the same:
    tcpdump on every interface at once, `nft monitor trace`, `ip route get` in every namespace, `conntrack -L`.
    Source: packet(7), nft(8), rtnetlink(7)."""
    ensure_lab_machine("trace a packet")
    namespace, _, interface = from_.partition("/")
    namespaces.inode(namespace)  # raises NotFound
    chosen = [word for word, value in (("tcp", tcp), ("udp", udp), ("http", http), ("dns", dns)) if value is not None]
    if len(chosen) > 1:
        raise WrongUse(f"failed to trace: {' and '.join(chosen)} were asked for at once", "give one")
    for port in (tcp, udp, http):
        if port is not None and not 0 < port < 65536:
            raise WrongUse(f"failed to trace: {port} is no port", "ports are 1 to 65535")
    if ttl is not None and not 0 < ttl < 256:
        raise WrongUse(f"failed to trace: a TTL of {ttl} is out of range", "a TTL is 1 to 255")
    if not 0 <= size <= 65507:
        raise WrongUse(f"failed to trace: a ping of {size} bytes is out of range", "0 to 65507 bytes")
    if not isinstance(packet, str):
        if chosen:
            raise WrongUse(f"failed to trace: a packet and {chosen[0]} were given", "a packet says itself what it is")
        return explain(gather(probes.Raw(namespace, packet, interface or _only_link(namespace)), timeout))
    to = address_of(packet)
    probe: probes.Probe
    if tcp is not None:
        probe = probes.Tcp(namespace, to, tcp)
    elif udp is not None:
        probe = probes.Udp(namespace, to, udp, data)
    elif http is not None:
        probe = probes.Http(namespace, to, http)
    elif dns is not None:
        probe = probes.Dns(namespace, to, dns)
    else:
        probe = probes.Ping(namespace, to, size, df, ttl)
    return explain(gather(probe, timeout))


def address_of(to: str) -> str:
    """Return `to` if it is an IP address, else the first address of the namespace of that name. Raises NotFound."""
    try:
        return str(ipaddress.ip_address(to))
    except ValueError:
        pass
    found = [address.local for address in snapshot(to)[to].addresses if address.ifname != "lo"]
    if not found:
        raise NotFound(f"failed to trace a packet to '{to}': that namespace has no address")
    return found[0]


def _only_link(namespace: str) -> str:
    links = [
        link.ifname for link in snapshot(namespace)[namespace].links if link.ifname != "lo" and not link.is_fallback
    ]
    return links[0] if len(links) == 1 else ""


def explain(evidence: Evidence) -> Trace:
    """Return the trace that the evidence tells of. It changes nothing; it looks routes and rules up."""
    return _Explanation(evidence).trace()


class _Explanation:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence, self.probe = evidence, evidence.probe
        self.network = Network(evidence.after)
        self.plain = Deciding(evidence, self.network, "request", ())
        self.steps = {role: self._steps(role) for role in ("request", "answer", "error")}

    def _steps(self, role: str) -> list[Step]:
        return steps_of([seen for seen in self.evidence.seen if seen.role == role], self.network)

    def trace(self) -> Trace:
        goal = self._goal(self.steps["request"])
        way = way_to(goal, self.steps["request"]) if goal else []
        deciding = self._decide("request", way)
        back = self._way_back("answer")
        self._way_back("error")
        delivered, cause = self._delivered(goal, deciding, bool(back))
        answered, cause = self._answered(goal, delivered, back, cause)
        return Trace(
            what=self.probe.what,
            source=self.probe.source,
            hops=tuple(self._hops()),
            delivered=delivered,
            answered=answered,
            cause=cause,
            notes=tuple(self._notes()),
            snapshot=self.evidence.before,
        )

    # the way there

    def _goal(self, steps: Sequence[Step]) -> Step | None:
        """Return the step nearest to where the packet was to go: one that its namespace takes for its own; else an end
        of the way that was for the one who heard it; else an end where its address lives; else the last end."""
        taken = [step for step in steps if step.comes_in and self._takes(step)]
        own = [step for step in taken if self._is_home(step)]
        own = own or [step for step in steps if step.comes_in and self._answers_arp(step)]
        followed = {id(step.before) for step in steps if step.before is not None}
        ends = [step for step in steps if id(step) not in followed]
        meant = [step for step in ends if not step.comes_in or self._takes(step)]
        there = [step for step in ends if self.network.owns(step.namespace, step.packet.dst)]
        for found in (own, meant, there, ends):
            if found:
                return found[-1]
        return None

    def _takes(self, step: Step) -> bool:
        """Whether the frame is for this link: by its MAC, or because it is a bridge's port, or has no MAC."""
        link = self.network.link(step.namespace, step.interface)
        if link is None or step.is_for_all or link.link_type != "ether":
            return True
        return link.address == step.outside.dst_mac or bool(self.network.bridge_of(step.namespace, step.interface))

    def _answers_arp(self, step: Step) -> bool:
        return bool(step.packet.arp and self.network.owns(step.namespace, step.packet.arp[4]))

    def _delivered(self, goal: Step | None, deciding: Deciding, answered: bool) -> tuple[bool, Cause | None]:
        """Return whether the destination took it, and if not, why."""
        if self.probe.answered or (answered and not self._refused()):
            return True, None
        if goal is not None and self._reached(goal) and self._accepted(goal):
            return True, None
        case = Case(self.evidence, self.network, deciding)
        return False, Loss(case, self.probe.source, self._as_sent(), self.probe.error).cause(goal)

    def _refused(self) -> bool:
        """Whether what came back says that nobody was there: a RST to a connection's first packet."""
        answer, request = self.evidence.following.answer, self.evidence.following.request
        opens = request is not None and (request.flags & 18 == 2 or isinstance(self.probe, probes.Raw))
        return bool(answer and answer.flags & 4 and opens)

    def _reached(self, goal: Step) -> bool:
        packet = goal.packet
        if packet.arp and packet.arp[2] == packet.arp[4]:  # it tells everybody, and asks nobody
            return goal.comes_in
        if packet.arp:
            return self._answers_arp(goal)
        return goal.comes_in and self._takes(goal) and self._is_home(goal)

    def _is_home(self, step: Step) -> bool:
        """Whether the packet's address, or the one that it is turned to there, is the namespace's own."""
        if step.packet.outer:
            return False
        turned, _ = self.plain.translated(step.namespace, step.packet)
        return self.network.owns(step.namespace, turned.dst) or self._proxied(step)

    def _is_its_own(self, step: Step) -> bool:
        """Whether the frame is for the link that saw it, which a bridge's port need not be."""
        link = self.network.link(step.namespace, step.interface)
        return not (link and self.network.bridge_of(step.namespace, step.interface)) or step.is_for_all

    def _proxied(self, step: Step) -> bool:
        """Whether a rule gave it to a transparent proxy's socket."""
        return step.comes_in and self.plain.met_rules(step.namespace, "tproxy")

    def _accepted(self, goal: Step) -> bool:
        """Whether the namespace that it was for took it: no rule dropped it, and somebody was there to take it."""
        where = goal.namespace
        packet, _ = self.plain.translated(where, goal.packet)
        if Case(self.evidence, self.network, self.plain).verdict(where, goal.interface):
            return False
        if packet.arp or self._proxied(goal):
            return True
        if packet.offset:
            packet = self._as_sent()
        told = [seen.packet for seen in self.evidence.seen if seen.role == "error"]
        if self._refused() or any(self.network.owns(where, error.src) and not _too_late(error) for error in told):
            return False
        if any(
            self.evidence.moved(where, name)
            for name in ("TcpExt.ListenOverflows", "Udp.RcvbufErrors", "Udp.InCsumErrors")
        ):
            return False
        if packet.kind == ECHO_REQUEST.get(packet.protocol):
            return bool(self.evidence.moved(where, "Icmp.InEchos") or self.evidence.moved(where, "Ip6.Icmp6InEchos"))
        name = {TCP: "tcp", UDP: "udp"}.get(packet.protocol)
        if name is None or packet.ports is None:
            return not self.evidence.moved(where, "Ip.InUnknownProtos")
        if self.evidence.moved(where, "TcpExt.IPReversePathFilter"):
            return False
        established = name == "tcp" and not packet.flags & 2
        return established or listens(where, name, packet.dst, packet.ports[1])

    def _as_sent(self) -> Packet:
        """Return the packet as it was sent, or would have been."""
        if self.evidence.following.request is not None:
            return self.evidence.following.request
        return self.probe.imagined()

    # the way back

    def _way_back(self, role: Role) -> list[Step]:
        steps = self.steps[role]
        home = [step for step in steps if step.comes_in and step.namespace == self.probe.source and self._takes(step)]
        goal = home[-1] if home else self._goal(steps)
        way = way_to(goal, steps) if goal else []
        self._decide(role, way)
        return way

    def _answered(
        self, goal: Step | None, delivered: bool, back: list[Step], cause: Cause | None
    ) -> tuple[bool | None, Cause | None]:
        """Return whether the answer came back (None where none is due), and why not."""
        if not delivered:
            return (False if self.probe.due else None), cause
        home = bool(back) and back[-1].comes_in and back[-1].namespace == self.probe.source
        heard = self.probe.answered or (home and isinstance(self.probe, probes.Raw))
        if heard:
            return True, None
        if not self.probe.due and not back:
            return None, None
        return False, self._answer_lost(goal, back)

    def _answer_lost(self, goal: Step | None, back: list[Step]) -> Cause:
        request = goal.packet if goal else self._as_sent()
        where = goal.namespace if goal else self.probe.source
        packet = self.evidence.following.answer or _turned(request)
        deciding = Deciding(self.evidence, self.network, "answer", back)
        loss = Loss(Case(self.evidence, self.network, deciding), where, packet)
        if back and back[-1].comes_in and back[-1].namespace == self.probe.source and not packet.kind >= 0:
            called = self._as_sent()
            if back[-1].packet.ends != called.back:
                return loss.strayed(back[-1], called.dst)
            if packet.flags & 5 and not packet.payload:
                return loss.hung_up(where, goal.interface if goal else None, bool(packet.flags & 4))
        return loss.cause(back[-1]) if back else loss.silence(where, request, goal.interface if goal else None)

    # what is shown

    def _decide(self, role: Role, way: list[Step]) -> Deciding:
        deciding = Deciding(self.evidence, self.network, role, way)
        deciding.decide()
        steps = self.steps[role]
        for step in steps:
            if step.before is not None:
                step.changed = changes(step.before, step)
        if way and way[-1].comes_in and role != "error" and self._is_home(way[-1]) and self._is_its_own(way[-1]):
            way[-1].decided.insert(0, self._taken(way[-1]))
        return deciding

    def _taken(self, last: Step) -> Decision:
        where = last.namespace
        packet, _ = self.plain.translated(where, last.packet)
        if not self.network.owns(where, packet.dst):
            return Decision("socket", f"a transparent proxy's socket in {where} takes it")
        command = "ip route show table local" if where == "host" else f"ip -n {where} route show table local"
        return Decision("local", f"{packet.dst} is {where}'s own address", command)

    def _hops(self) -> list[Hop]:
        found: list[tuple[int, Hop]] = []
        for role, steps in self.steps.items():
            leg: Leg = "request" if role == "request" else "answer"
            for step in steps:
                hop = Hop(
                    leg, step.frame, step.packet.headers, step.changed, tuple(step.decided), copy=not step.way
                )  # fmt: skip
                found.append((step.frame.time_ns, hop))
        requests = [hop for _, hop in found if hop.leg == "request"]
        answers = sorted((pair for pair in found if pair[1].leg == "answer"), key=lambda pair: pair[0])
        return [*requests, *(hop for _, hop in answers)]

    def _notes(self) -> list[str]:
        notes = list(self.evidence.notes)
        if self.evidence.following.again:
            notes.append("it was sent again, for want of an answer; only the first is followed")
        return notes


def _too_late(error: Packet) -> bool:
    """Whether an ICMP error is about reassembly, which is no word about whether somebody takes it."""
    return (error.kind in (3, 11) and error.protocol == 58) or error.kind == 11


def _turned(packet: Packet) -> Packet:
    return replace(packet, src=packet.dst, dst=packet.src, ttl=64, outer=())
