"""Traces as the tracer makes them, of networks that are written down: what tests of pictures and of marks draw on.

`world` reads a network from an outline; `walk` makes hops of packets; each of TRACES is one situation."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from ipaddress import ip_interface
from itertools import pairwise
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from labkit.net import names
from labkit.packets.frames import Frame
from labkit.state.records import Address, Details, FdbEntry, Link, Route
from labkit.state.snapshot import NamespaceState, Snapshot
from labkit.tracing.records import Cause, Change, Decision, Headers, Hop, Leg, Trace

UP = ("BROADCAST", "MULTICAST", "UP", "LOWER_UP")


def world(outline: str) -> Snapshot:
    """Return the snapshot of an outline: a namespace a line ("router forwards"), below it its links, indented
    ("eth0 10.0.0.2/24 to host/veth-red", "veth-red in br0", "br0 bridge", "vx0 vxlan 42 local 10.0.1.1 on eth0"),
    its routes and its FDB entries."""
    states = []
    for block in re.split(r"\n(?=\S)", outline.strip("\n")):
        head, *lines = block.split("\n")
        name, *facts = head.split()
        told = [line.split() for line in lines]
        entries = [_fdb(words[1:]) for words in told if words[0] == "fdb"]
        plain = [words for words in told if words[0] not in ("route", "fdb")]
        links = [_link(name, index, words) for index, words in enumerate(plain, 2)]
        addresses = [
            Address(words[0], "inet6" if ":" in word else "inet", *_parts(word))
            for words in plain
            for word in words[1:]
            if re.fullmatch(r"[0-9a-f.:]+/\d+", word)
        ]
        routes = [_route(words[1:]) for words in told if words[0] == "route"]
        sysctls = Details({"net.ipv4.ip_forward": "1"} if "forwards" in facts else {})
        lo = Link(1, "lo", ("LOOPBACK", "UP", "LOWER_UP"), 65536, link_type="loopback", address="00:00:00:00:00:00")
        states.append(
            NamespaceState(
                name,
                links=(lo, *links),
                addresses=tuple(addresses),
                routes=tuple(routes),
                fdb=tuple(entries),
                sysctls=sysctls,
            )
        )
    return Snapshot(tuple(states))


def _parts(text: str) -> tuple[str, int]:
    interface = ip_interface(text)
    return str(interface.ip), interface.network.prefixlen


def _link(namespace: str, index: int, words: list[str]) -> Link:
    name, *rest = words
    after = dict(pairwise(rest))
    peer = after.get("to", "").split("/") if "to" in after else None
    kind = "bridge" if "bridge" in rest else "vxlan" if "vxlan" in rest else "veth"
    details = {"id": int(after["vxlan"]), "local": after["local"], "port": 4789} if kind == "vxlan" else {}
    return Link(
        index,
        name,
        ("BROADCAST", "MULTICAST") if "down" in rest else UP,
        int(after.get("mtu", 1500)),
        address=names.mac(f"{namespace}/{name}"),
        kind=kind,
        master=after.get("in"),
        link=after.get("on"),
        peer=(peer[0], peer[1]) if peer else None,
        details=Details(details),
    )


def _route(words: list[str]) -> Route:
    after = dict(pairwise(words))
    return Route(words[0], gateway=after.get("via"), dev=after.get("dev"))


def _fdb(words: list[str]) -> FdbEntry:
    after = dict(pairwise(words))
    return FdbEntry(names.mac(words[0]), after["dev"], "permanent", ("self",), dst=after["dst"])


def mac(where: str) -> str:
    """Return the MAC of an interface of `world`."""
    return names.mac(where)


def packet(src_mac: str, dst_mac: str, src: str, dst: str, payload: Any, ttl: int = 64) -> Any:
    """Return a frame; MACs are named by the interfaces that have them."""
    ends = {"src": mac(src_mac), "dst": "ff:ff:ff:ff:ff:ff" if dst_mac == "all" else mac(dst_mac)}
    return Ether(**ends) / IP(src=src, dst=dst, ttl=ttl) / payload


def hop(leg: Leg, where: str, direction: Any, sent: Any, *decided: Decision, copy: bool = False) -> Hop:
    """Return a hop; what changed comes with `walk`."""
    namespace, _, interface = where.partition("/")
    data = bytes(sent)
    return Hop(leg, Frame(0, namespace, interface, direction, data, len(data)), headers(sent), (), decided, copy)


def headers(sent: Any) -> Headers:
    """Return what a hop tells of a scapy packet: of the innermost one."""
    outer: list[str] = []
    while VXLAN in sent:
        ends = f"{sent[IP].src} > {sent[IP].dst}:{sent[UDP].dport}"
        outer.append(f"VXLAN vni {sent[VXLAN].vni}, {ends}")
        sent = sent[VXLAN].payload
    ip = sent[IP]
    talk = next((ip[layer] for layer in (TCP, UDP) if isinstance(ip.payload, layer)), None)
    return Headers(
        sent[Ether].src,
        sent[Ether].dst,
        ip.src,
        ip.dst,
        talk.sport if talk else None,
        talk.dport if talk else None,
        ip.ttl,
        tuple(outer),
    )


def walk(*hops: Hop) -> tuple[Hop, ...]:
    """Return the hops with what changed since the one before on the same way."""
    before: dict[str, Headers] = {}
    told = []
    for one in hops:
        told.append(
            Hop(one.leg, one.frame, one.headers, _changes(before.get(one.leg), one.headers), one.decided_by, one.copy)
        )
        if not one.copy:
            before[one.leg] = one.headers
    return tuple(told)


def _changes(was: Headers | None, now: Headers) -> tuple[Change, ...]:
    words = {"src_mac": "src MAC", "dst_mac": "dst MAC"}
    if was is None:
        return ()
    found = [
        Change(words.get(field.name, field.name), str(getattr(was, field.name)), str(getattr(now, field.name)))
        for field in fields(Headers)
        if field.name != "outer" and getattr(was, field.name) != getattr(now, field.name)
    ]
    found += [Change("outer", "", outer) for outer in now.outer if outer not in was.outer]
    return tuple(found + [Change("outer", outer, "") for outer in was.outer if outer not in now.outer])


def route(namespace: str, text: str, destination: str) -> Decision:
    """Return the decision of a route."""
    return Decision("route", text, f"ip -n {namespace} route get {destination}")


def neighbour(namespace: str, address: str, dev: str, lladdr: str) -> Decision:
    """Return the decision of a neighbour entry."""
    return Decision(
        "neighbour", f"{address} dev {dev} lladdr {mac(lladdr)} learned", f"ip -n {namespace} neigh show {address}"
    )


def fdb(where: str, port: str) -> Decision:
    """Return the decision of an FDB entry of the host's br0."""
    return Decision("fdb", f"{mac(where)} dev {port} master br0 learned", "bridge fdb show br br0")


def cable(where: str) -> Decision:
    """Return the decision of a veth."""
    return Decision("cable", f"the other end of {where}")


STAR = """
host
  br0 bridge 10.0.0.1/24
  veth-red in br0 to red/eth0
  veth-blue in br0 to blue/eth0
  veth-green in br0 to green/eth0
red
  eth0 10.0.0.2/24 to host/veth-red
blue
  eth0 10.0.0.3/24 to host/veth-blue
green
  eth0 10.0.0.4/24 to host/veth-green
"""
ECHO = "echo-request"


def bridged() -> Trace:
    """A ping over a bridge, answered."""
    there = packet("red/eth0", "blue/eth0", "10.0.0.2", "10.0.0.3", ICMP(seq=1))
    back = packet("blue/eth0", "red/eth0", "10.0.0.3", "10.0.0.2", ICMP(type=0, seq=1))
    link = "10.0.0.0/24 dev eth0 proto kernel scope link src"
    hops = walk(
        hop("request", "red/eth0", "out", there, route("red", f"{link} 10.0.0.2", "10.0.0.3"),
            neighbour("red", "10.0.0.3", "eth0", "blue/eth0")),
        hop("request", "host/veth-red", "in", there, cable("red/eth0")),
        hop("request", "host/veth-blue", "out", there, fdb("blue/eth0", "veth-blue")),
        hop("request", "blue/eth0", "in", there, cable("host/veth-blue"),
            Decision("local", "10.0.0.3 is blue's own address", "ip -n blue address show eth0")),
        hop("answer", "blue/eth0", "out", back, route("blue", f"{link} 10.0.0.3", "10.0.0.2"),
            neighbour("blue", "10.0.0.2", "eth0", "red/eth0")),
        hop("answer", "host/veth-blue", "in", back, cable("blue/eth0")),
        hop("answer", "host/veth-red", "out", back, fdb("red/eth0", "veth-red")),
        hop("answer", "red/eth0", "in", back, cable("host/veth-red"),
            Decision("local", "10.0.0.2 is red's own address", "ip -n red address show eth0")),
    )  # fmt: skip
    return Trace("ping 10.0.0.3", "red", hops, True, True, snapshot=world(STAR))


def flooded() -> Trace:
    """A ping whose bridge knows nobody: copies for all."""
    trace = bridged()
    there = trace.hops[0]
    data = there.frame.data
    unknown = Decision("fdb", f"{mac('blue/eth0')} is not in the FDB of br0: to every port", "bridge fdb show br br0")

    def copy(where: str, direction: Any, *decided: Decision) -> Hop:
        namespace, _, interface = where.partition("/")
        frame = Frame(0, namespace, interface, direction, data, len(data))
        return Hop("request", frame, there.headers, (), decided, copy=True)

    out = trace.hops[2]
    hops = (
        *trace.hops[:2],
        Hop("request", out.frame, out.headers, (), (unknown,)),
        copy("host/veth-green", "out", unknown),
        copy("green/eth0", "in", cable("host/veth-green")),
        *trace.hops[3:],
    )
    return Trace(
        "ping 10.0.0.3",
        "red",
        hops,
        True,
        True,
        notes=("the bridge floods: it has not yet heard of blue's MAC",),
        snapshot=trace.snapshot,
    )


NATTED = """
red
  eth0 10.0.1.2/24 to router/eth0
  route default via 10.0.1.1 dev eth0
router forwards
  eth0 10.0.1.1/24 to red/eth0
  eth1 203.0.113.1/24 to web/eth0
web
  eth0 203.0.113.9/24 to router/eth1
"""


def natted() -> Trace:
    """A TCP SYN through a router that filters and masquerades."""
    syn, synack = TCP(sport=40000, dport=80, flags="S"), TCP(sport=80, dport=40000, flags="SA")
    inside = packet("red/eth0", "router/eth0", "10.0.1.2", "203.0.113.9", syn)
    outside = packet("router/eth1", "web/eth0", "203.0.113.1", "203.0.113.9", syn, 63)
    home = packet("web/eth0", "router/eth1", "203.0.113.9", "203.0.113.1", synack)
    back = packet("router/eth0", "red/eth0", "203.0.113.9", "10.0.1.2", synack, 63)
    look, table = "ip netns exec router nft -a list ruleset", "ip netns exec router conntrack -L"
    hops = walk(
        hop("request", "red/eth0", "out", inside, route("red", "default via 10.0.1.1 dev eth0", "203.0.113.9"),
            neighbour("red", "10.0.1.1", "eth0", "router/eth0")),
        hop("request", "router/eth0", "in", inside, cable("red/eth0")),
        hop("request", "router/eth1", "out", outside,
            Decision("sysctl", "net.ipv4.ip_forward = 1", "ip netns exec router sysctl net.ipv4.ip_forward"),
            route("router", "203.0.113.0/24 dev eth1 proto kernel scope link src 203.0.113.1", "203.0.113.9"),
            Decision("firewall", "ip filter forward: ct state established,related accept: no match", look),
            Decision("firewall", 'ip filter forward: iifname "eth0" tcp dport 80 counter accept: accept', look),
            Decision("firewall", 'ip nat postrouting: oifname "eth1" masquerade', look),
            Decision("conntrack", "new: 10.0.1.2 > 203.0.113.9:80, answers to 203.0.113.1", table),
            neighbour("router", "203.0.113.9", "eth1", "web/eth0")),
        hop("request", "web/eth0", "in", outside, cable("router/eth1"),
            Decision("local", "203.0.113.9 is web's own address", "ip -n web address show eth0"),
            Decision("socket", "python3 listens on 0.0.0.0:80", "ip netns exec web ss -tln")),
        hop("answer", "web/eth0", "out", home,
            route("web", "203.0.113.0/24 dev eth0 proto kernel scope link src 203.0.113.9", "203.0.113.1")),
        hop("answer", "router/eth1", "in", home, cable("web/eth0")),
        hop("answer", "router/eth0", "out", back,
            Decision("conntrack", "established: 203.0.113.1 becomes 10.0.1.2 again", table),
            Decision("firewall", "ip filter forward: ct state established,related accept: accept", look)),
        hop("answer", "red/eth0", "in", back, cable("router/eth0")),
    )  # fmt: skip
    return Trace("TCP 203.0.113.9:80", "red", hops, True, True, snapshot=world(NATTED))


NODES = """
host
  br0 bridge 192.168.0.1/24
  veth-node1 in br0 to node1/eth0
  veth-node2 in br0 to node2/eth0
node1 forwards
  cni0 bridge 10.244.1.1/24 mtu 1450
  veth-pod1a in cni0 to pod1a/eth0 mtu 1450
  eth0 192.168.0.2/24 to host/veth-node1
  flannel.1 vxlan 1 local 192.168.0.2 on eth0 10.244.1.0/32 mtu 1450
  fdb node2/flannel.1 dev flannel.1 dst 192.168.0.3
  route 10.244.2.0/24 via 10.244.2.0 dev flannel.1
pod1a
  eth0 10.244.1.2/24 to node1/veth-pod1a mtu 1450
  route default via 10.244.1.1 dev eth0
node2 forwards
  cni0 bridge 10.244.2.1/24 mtu 1450
  veth-pod2a in cni0 to pod2a/eth0 mtu 1450
  eth0 192.168.0.3/24 to host/veth-node2
  flannel.1 vxlan 1 local 192.168.0.3 on eth0 10.244.2.0/32 mtu 1450
  fdb node1/flannel.1 dev flannel.1 dst 192.168.0.2
  route 10.244.1.0/24 via 10.244.1.0 dev flannel.1
pod2a
  eth0 10.244.2.2/24 to node2/veth-pod2a mtu 1450
  route default via 10.244.2.1 dev eth0
"""


def tunnelled() -> Trace:
    """A ping from pod to pod, in VXLAN between the nodes; its answer too."""
    return Trace(
        "ping 10.244.2.2", "pod1a", walk(*_through("request", 1, 2), *_through("answer", 2, 1)), True, True,
        snapshot=world(NODES),
    )  # fmt: skip


def _through(leg: Leg, here: int, there: int) -> list[Hop]:
    src, dst = f"10.244.{here}.2", f"10.244.{there}.2"
    payload = ICMP(seq=1) if leg == "request" else ICMP(type=0, seq=1)
    pod, node, far, end = f"pod{here}a", f"node{here}", f"node{there}", f"pod{there}a"
    first = packet(f"{pod}/eth0", f"{node}/cni0", src, dst, payload)
    inner = packet(f"{node}/flannel.1", f"{far}/flannel.1", src, dst, payload, 63)
    last = packet(f"{far}/cni0", f"{end}/eth0", src, dst, payload, 62)
    wire = packet(
        f"{node}/eth0", f"{far}/eth0", f"192.168.0.{here + 1}", f"192.168.0.{there + 1}",
        UDP(sport=50000, dport=4789) / VXLAN(vni=1, flags=8) / inner,
    )  # fmt: skip
    look, table = f"bridge -n {node} fdb show dev flannel.1", f"bridge -n {far} fdb show br cni0"
    return [
        hop(leg, f"{pod}/eth0", "out", first, route(pod, f"default via 10.244.{here}.1 dev eth0", dst)),
        hop(leg, f"{node}/veth-{pod}", "in", first, cable(f"{pod}/eth0")),
        hop(leg, f"{node}/cni0", "in", first, Decision("local", f"{mac(f'{node}/cni0')} is cni0's own MAC")),
        hop(leg, f"{node}/flannel.1", "out", inner,
            route(node, f"10.244.{there}.0/24 via 10.244.{there}.0 dev flannel.1 onlink", dst),
            neighbour(node, f"10.244.{there}.0", "flannel.1", f"{far}/flannel.1")),
        hop(leg, f"{node}/eth0", "out", wire,
            Decision("fdb", f"{mac(f'{far}/flannel.1')} dev flannel.1 dst 192.168.0.{there + 1} self permanent", look),
            route(node, "192.168.0.0/24 dev eth0 proto kernel scope link", f"192.168.0.{there + 1}")),
        hop(leg, f"host/veth-{node}", "in", wire, cable(f"{node}/eth0")),
        hop(leg, f"host/veth-{far}", "out", wire, fdb(f"{far}/eth0", f"veth-{far}")),
        hop(leg, f"{far}/eth0", "in", wire, cable(f"host/veth-{far}")),
        hop(leg, f"{far}/flannel.1", "in", inner,
            Decision("tunnel", "VNI 1 is flannel.1", f"ip -n {far} -d link show flannel.1")),
        hop(leg, f"{far}/cni0", "out", last, route(far, f"10.244.{there}.0/24 dev cni0 proto kernel scope link", dst)),
        hop(leg, f"{far}/veth-{end}", "out", last,
            Decision("fdb", f"{mac(f'{end}/eth0')} dev veth-{end} master cni0 learned", table)),
        hop(leg, f"{end}/eth0", "in", last, cable(f"{far}/veth-{end}"),
            Decision("local", f"{dst} is {end}'s own address")),
    ]  # fmt: skip


ROUTED = """
red
  eth0 10.0.1.2/24 to router/eth0
  route default via 10.0.1.1 dev eth0
router forwards
  eth0 10.0.1.1/24 to red/eth0
  eth1 10.0.2.1/24 to blue/eth0
blue
  eth0 10.0.2.2/24 to router/eth1
"""


def filtered() -> Trace:
    """A ping from an address that the router would not answer there: rp_filter drops it."""
    sent = packet("red/eth0", "router/eth0", "10.9.9.9", "10.0.2.2", ICMP(seq=1))
    hops = walk(
        hop("request", "red/eth0", "out", sent, route("red", "default via 10.0.1.1 dev eth0", "10.0.2.2")),
        hop("request", "router/eth0", "in", sent, cable("red/eth0")),
    )
    cause = Cause(
        "rp_filter",
        "router",
        "eth0",
        "router dropped the packet at eth0: rp_filter is 1, and the way back to 10.9.9.9 is not by eth0",
        known_by="the counter IPReversePathFilter of router went up by 1",
    )
    return Trace("ping 10.0.2.2", "red", hops, False, False, cause, snapshot=world(ROUTED))


def unreachable() -> Trace:
    """A ping to where the router has no route: an ICMP error comes back."""
    sent = packet("red/eth0", "router/eth0", "10.0.1.2", "10.9.9.9", ICMP(seq=1))
    error = packet("router/eth0", "red/eth0", "10.0.1.1", "10.0.1.2", ICMP(type=3, code=0) / sent[IP])
    hops = walk(
        hop("request", "red/eth0", "out", sent, route("red", "default via 10.0.1.1 dev eth0", "10.9.9.9")),
        hop(
            "request", "router/eth0", "in", sent, cable("red/eth0"), route("router", "no route to 10.9.9.9", "10.9.9.9")
        ),
        hop("answer", "router/eth0", "out", error),
        hop("answer", "red/eth0", "in", error, cable("router/eth0")),
    )
    cause = Cause(
        "no_route", "router", None, "router has no route to 10.9.9.9",
        known_by="router answered with ICMP net-unreachable, and `ip -n router route get 10.9.9.9` says so",
    )  # fmt: skip
    return Trace("ping 10.9.9.9", "red", hops, False, False, cause, snapshot=world(ROUTED))


TRACES: dict[str, Callable[[], Trace]] = {
    "bridged": cache(bridged),
    "flooded": cache(flooded),
    "natted": cache(natted),
    "tunnelled": cache(tunnelled),
    "filtered": cache(filtered),
    "unreachable": cache(unreachable),
}
