"""Why did a bridge not pass it on, or pass it to the wrong place, or a tunnel not know where to?

Source: bridge(8), ip-link(8) on bridge_slave and vxlan; RFC 7348.
"""

from __future__ import annotations

from labkit.state.records import FdbEntry, Link
from labkit.tracing.case import Case
from labkit.tracing.headers import UDP, Packet
from labkit.tracing.path import Step
from labkit.tracing.records import Cause
from labkit.tracing.routing import Routing

__all__ = ["ETHERNET", "Bridging"]

ETHERNET = 14  # bytes of its header


class Bridging:
    """Finds the cause where a namespace handles the packet as a bridge or as a tunnel's end."""

    def __init__(self, case: Case, routing: Routing) -> None:
        self.case, self.network, self.routing = case, case.network, routing

    def bridged(self, last: Step, bridge: str, port: str) -> Cause | None:
        """A bridge had it, and no port sent it out. `port`: where it came in, "" for the bridge itself."""
        where, mac = last.namespace, last.outside.dst_mac
        entry = self.network.fdb(where, bridge, mac)
        into = self.network.link(where, port) if port else None
        upper = self.network.link(where, bridge)
        if upper is not None and not upper.is_up:
            return self.case.say("link_down", where, bridge, f"{where}'s bridge {bridge} is down", "the link's state")
        if into is not None and into.port.get("state") not in (None, "forwarding"):
            sentence = f"{where}'s port {port} of {bridge} is {into.port['state']}: it forwards nothing"
            return self.case.say("fdb", where, port, sentence, "bridge link show")
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
            return self.case.say("fdb", where, out, f"{sentence} (hairpin is off)", known)
        link = self.network.link(where, out)
        if link is not None and not link.has_carrier:
            return self.case.say("link_down", where, out, f"{where}'s port {out} of {bridge} is {link.state}", known)
        if link is not None and link.port.get("state") not in (None, "forwarding"):
            sentence = f"{where}'s port {out} of {bridge} is {link.port['state']}: it forwards nothing"
            return self.case.say("fdb", where, out, sentence, "bridge link show")
        into = self.network.link(where, port) if port else None
        if link is not None and into is not None and link.port.get("isolated") and into.port.get("isolated"):
            sentence = f"{where}'s ports {port} and {out} of {bridge} are both isolated: nothing passes between them"
            return self.case.say("fdb", where, out, sentence, "bridge -d link show")
        if link is not None and last.frame.length - ETHERNET > link.mtu:
            sentence = f"{where}'s port {out} sends at most {link.mtu} bytes (its MTU), the packet has"
            return self.case.say("mtu", where, out, f"{sentence} {last.frame.length - ETHERNET}", known)
        return self._filtered(last, bridge)

    def _flooded_nowhere(self, last: Step, bridge: str, port: str) -> Cause | None:
        where, mac = last.namespace, last.outside.dst_mac
        others = [link for link in self.network.state(where).ports_of(bridge) if link.ifname != port]
        able = [link for link in others if link.has_carrier and link.port.get("flood", True)]
        able = [link for link in able if link.port.get("state") in (None, "forwarding")]
        into = self.network.link(where, port) if port else None
        if into is not None and into.port.get("isolated"):
            able = [link for link in able if not link.port.get("isolated")]
        if not able:
            down = [link for link in others if not link.has_carrier]
            kind = "link_down" if down and len(down) == len(others) else "fdb"
            told = ", ".join(f"{link.ifname} {link.state}" for link in others) or "there is none"
            sentence = f"{where}'s {bridge} has no FDB entry for {mac}, and no other port to flood it to ({told})"
            return self.case.say(kind, where, bridge, sentence, f"bridge fdb show br {bridge}")
        return self._filtered(last, bridge)

    def _filtered(self, last: Step, bridge: str) -> Cause | None:
        """The bridge should have passed it on: iptables may see bridged packets, and tell nothing of it."""
        state = self.network.state(last.namespace)
        called = state.sysctls.get("net.bridge.bridge-nf-call-iptables") == "1"
        if (
            not called
            or self.case.evidence.met.get(last.namespace)
            or not self.case.evidence.ruleset(last.namespace).text
        ):
            return None
        sentence = (
            f"{last.namespace}'s {bridge} handed it to iptables (bridge-nf-call-iptables is 1), "
            "and it did not come back; which rule, is not known"
        )
        return self.case.say("firewall", last.namespace, last.interface, sentence)

    def is_the_bridges(self, where: str, bridge: str, mac: str) -> bool:
        link = self.network.link(where, bridge)
        entry = self.network.fdb(where, bridge, mac)
        own = entry is not None and entry.state == "permanent" and not entry.flags
        return bool(link and link.address == mac) or own or bool(int(mac[:2] or "0", 16) & 1)

    def for_another(self, last: Step, link: Link) -> Cause:
        """Its frame is for another MAC: a bridge sent it to the wrong port, or its sender has the wrong MAC."""
        where, name, mac = last.namespace, last.interface, last.outside.dst_mac
        owner = self.network.has_mac(mac)
        sent = last.before
        bridge = self.network.bridge_of(sent.namespace, sent.interface) if sent else None
        entry = self.network.fdb(sent.namespace, bridge, mac) if sent and bridge else None
        if owner and sent and entry and entry.ifname == sent.interface:
            sentence = f"{sent.namespace}'s {bridge} sent it out by {entry.ifname}, but {owner} has the MAC {mac}"
            return self.case.say("fdb", sent.namespace, entry.ifname, sentence, f"FDB entry: {entry.text}")
        if link.kind == "bridge":
            sentence = f"{where} did not take it: the frame is for {mac}, and {link.ifname} has {link.address}"
            return self.case.say("neighbour", where, link.ifname, sentence, "the frame's destination MAC")
        if owner and sent and bridge:
            return self._flooded_past(sent.namespace, bridge, mac, owner)
        if owner:
            sentence = f"{where} did not take it: the frame is for {owner}, and {name} is no port of a bridge"
            return self.case.say("fdb", where, name, sentence, "the frame's destination MAC")
        sentence = f"{where} did not take it: the frame is for {mac}, which nobody has, and {name} has {link.address}"
        if not self.case.evidence.probe.handmade:
            sentence += "; its sender has a wrong neighbour entry"
        return self.case.say("neighbour", where, name, sentence, "the frame's destination MAC")

    def _flooded_past(self, where: str, bridge: str, mac: str, owner: str) -> Cause:
        """A bridge did not know a MAC, flooded the frame, and it did not come to who has the MAC."""
        ports = self.network.state(where).ports_of(bridge)
        port = next((link for link in ports if link.peer and "/".join(link.peer) == owner), None)
        why = ", for flooding is off at its port" if port and not port.port.get("flood", True) else ""
        if port and port.port.get("isolated"):
            why = ", whose port is isolated, as the one is that it came in by"
        sentence = f"{where}'s {bridge} did not know {mac} and flooded the frame, but not to {owner}{why}"
        name = port.ifname if port else bridge
        return self.case.say("fdb", where, name, sentence, f"bridge fdb show br {bridge}")

    def into_tunnel(self, last: Step, link: Link) -> Cause | None:
        where, packet = last.namespace, last.outside
        if link.kind != "vxlan":
            return None
        entry = self.network.vxlan_fdb(where, link.ifname, packet.dst_mac)
        vtep = entry.dst if entry else link.details.get("group")
        if not vtep:
            sentence = f"{where}'s {link.ifname} has no FDB entry for {packet.dst_mac}: it does not know which VTEP"
            return self.case.say("fdb", where, link.ifname, sentence, f"bridge fdb show dev {link.ifname}")
        outer = Packet(src=str(link.details.get("local", "")), dst=str(vtep), protocol=UDP, length=packet.length + 50)
        answer = self.case.deciding.look_up(where, outer, "", outer.src)
        if answer.resolved is None:
            return self.routing.no_route(where, outer, answer, None)
        return self.routing.leaves(where, outer, answer.resolved, answer)
