"""What happens to a packet, and does the trace say so? Networks built with plain commands, delivery and loss.

Each situation is commands, what is traced, and what must come out: the hops, and the cause. Nothing of labkit builds
them; the only thing that labkit does here is to look.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from labkit.net import here
from labkit.packets import serve
from labkit.packets.inside import inside
from labkit.tracing import Trace, trace

# red and blue on the bridge br0 of the host; green hears what is flooded
BRIDGE = """
ip link add br0 address 02:00:00:00:00:01 type bridge; ip address add 10.0.0.1/24 dev br0; ip link set br0 up; ip link set lo up
for n in red:2 blue:3 green:4; do
  name=${n%:*}; last=${n#*:}
  ip netns add $name; ip -n $name link set lo up
  ip link add v-$name type veth peer name eth0 address 02:00:00:00:00:0$last netns $name
  ip link set v-$name master br0 up; ip -n $name link set eth0 up; ip -n $name address add 10.0.0.$last/24 dev eth0
  ip -n $name route add default via 10.0.0.1; ip -n $name link show eth0 >/dev/null; ip link show v-$name >/dev/null
done
"""
KNOWN = """
ip -n red neighbour replace 10.0.0.3 lladdr 02:00:00:00:00:03 dev eth0
ip -n blue neighbour replace 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0
"""
# red (10.1.0.2) - (10.1.0.1) router (10.2.0.1) - (10.2.0.2) blue
ROUTER = """
for n in red router blue; do ip netns add $n; ip -n $n link set lo up; done
ip link add eth0 netns red address 02:00:00:00:01:02 type veth peer name eth0 netns router address 02:00:00:00:01:01
ip link add eth1 netns router address 02:00:00:00:02:01 type veth peer name eth0 netns blue address 02:00:00:00:02:02
for e in router:eth0 router:eth1 red:eth0 blue:eth0; do ip -n ${e%:*} link set ${e#*:} up; done
for e in router:eth0 router:eth1 red:eth0 blue:eth0; do ip -n ${e%:*} link show ${e#*:} >/dev/null; done
ip -n red address add 10.1.0.2/24 dev eth0; ip -n router address add 10.1.0.1/24 dev eth0
ip -n router address add 10.2.0.1/24 dev eth1; ip -n blue address add 10.2.0.2/24 dev eth0
ip -n red route add default via 10.1.0.1; ip -n blue route add default via 10.2.0.1
ip netns exec router sysctl -qw net.ipv4.ip_forward=1
"""
# two nodes on the host's br0, a pod in each, VXLAN between them as flannel lays it
NODES = """
ip link add br0 type bridge; ip link set br0 up
for i in 1 2; do
  ip netns add node$i; ip netns add pod$i; ip -n node$i link set lo up; ip -n pod$i link set lo up
  ip link add v-node$i type veth peer name eth0 netns node$i; ip link set v-node$i master br0 up
  ip -n node$i link set eth0 up; ip -n node$i address add 192.168.0.1$i/24 dev eth0
  ip link add v-pod netns node$i type veth peer name eth0 netns pod$i; ip -n node$i link set v-pod up; ip -n pod$i link set eth0 up
  ip -n pod$i address add 10.244.$i.2/24 dev eth0; ip -n node$i address add 10.244.$i.1/24 dev v-pod
  ip -n pod$i route add default via 10.244.$i.1; ip netns exec node$i sysctl -qw net.ipv4.ip_forward=1
  ip -n node$i link add flannel.1 address 02:00:00:00:0f:0$i type vxlan id 1 dev eth0 local 192.168.0.1$i dstport 8472 nolearning
  ip -n node$i address add 10.244.$i.0/32 dev flannel.1; ip -n node$i link set flannel.1 up
  ip -n node$i link show eth0 >/dev/null; ip -n node$i link show v-pod >/dev/null; ip -n pod$i link show eth0 >/dev/null; ip link show v-node$i >/dev/null
done
for i in 1 2; do
  j=$((3-i))
  ip -n node$i neighbour add 10.244.$j.0 lladdr 02:00:00:00:0f:0$j dev flannel.1 nud permanent
  bridge -n node$i fdb add 02:00:00:00:0f:0$j dev flannel.1 dst 192.168.0.1$j self permanent
  ip -n node$i route add 10.244.$j.0/24 via 10.244.$j.0 dev flannel.1 onlink
done
"""


@dataclass(frozen=True)
class Situation:
    """`to`, `start` and `options`: what is traced. `serves`: (namespace, port, udp) or None. `way`: the request's hops,
    "red/eth0 >" out and "> blue/eth0" in. `cause`: kind, namespace, interface. `says`: parts of what the trace tells."""

    name: str
    commands: str
    to: Any
    start: str = "red"
    options: dict[str, Any] = field(default_factory=dict)
    serves: tuple[str, int, bool] | None = None
    delivered: bool = True
    answered: bool | None = True
    way: str = ""
    cause: tuple[str, str, str | None] | None = None
    says: tuple[str, ...] = ()
    reply: bytes | None = b"hello"


OVER = "red/eth0 >, > host/v-red, host/v-blue >, > blue/eth0"
ROUTED = "red/eth0 >, > router/eth0, router/eth1 >, > blue/eth0"
TO_ROUTER = "red/eth0 >, > router/eth0"


def ip(**fields: Any) -> Any:
    from scapy.layers.inet import IP

    return IP(**fields)


def arp_for(address: str) -> Any:
    from scapy.layers.l2 import ARP, Ether

    request = ARP(hwsrc="02:00:00:00:00:02", psrc="10.0.0.2", pdst=address)
    return Ether(src="02:00:00:00:00:02", dst="ff:ff:ff:ff:ff:ff") / request


def icmp_to(address: str, **fields: Any) -> Any:
    from scapy.layers.inet import ICMP

    return ip(dst=address, **fields) / ICMP() / b"made with scapy"


def udp_from(port: int) -> Any:
    from scapy.layers.inet import UDP

    return ip(src="10.1.0.2", dst="10.1.0.1") / UDP(sport=port, dport=53) / b"the second datagram"


def forged(address: str) -> Any:
    from scapy.layers.inet import UDP

    return ip(dst=address) / UDP(sport=4000, dport=53, chksum=0x1234) / b"a datagram that nobody takes"


def announcement() -> Any:
    from scapy.layers.l2 import ARP, Ether

    told = ARP(hwsrc="02:00:00:00:00:02", psrc="10.0.0.2", pdst="10.0.0.2")
    return Ether(src="02:00:00:00:00:02", dst="ff:ff:ff:ff:ff:ff") / told


SITUATIONS = [
    # delivered
    Situation("a ping over a bridge", BRIDGE, "10.0.0.3", way=OVER,
              says=("10.0.0.0/24 dev eth0", "10.0.0.3 dev eth0 lladdr 02:00:00:00:00:03", "02:00:00:00:00:03 dev v-blue master br0")),
    Situation("a ping by name", BRIDGE, "blue", way=OVER),
    Situation("a ping to an address of one's own", BRIDGE, "10.0.0.2", way="> red/lo", says=("10.0.0.2 is red's own address",)),
    Situation("a ping from the host", BRIDGE, "10.0.0.3", "host", way="host/br0 >, host/v-blue >, > blue/eth0"),
    Situation("a ping to the bridge's own address", BRIDGE, "10.0.0.1", way="red/eth0 >, > host/v-red, > host/br0"),
    Situation("a ping through a router", ROUTER, "10.2.0.2", way=ROUTED,
              says=("ttl 64 → 63", "src MAC 02:00:00:00:01:02 → 02:00:00:00:02:01", "10.2.0.0/24 dev eth1")),
    Situation("a connection", BRIDGE, "10.0.0.3", options={"tcp": 80}, serves=("blue", 80, False), way=OVER, says=("TCP SYN ACK",)),
    Situation("a datagram that nobody answers", BRIDGE, "10.0.0.3", options={"udp": 53}, serves=("blue", 53, True), answered=None, way=OVER, reply=None),
    Situation("a datagram that is answered", BRIDGE, "10.0.0.3", options={"udp": 53}, serves=("blue", 53, True), way=OVER),
    Situation("an HTTP request", BRIDGE, "10.0.0.3", options={"http": 80}, serves=("blue", 80, False), way=OVER, says=("GET http://10.0.0.3:80/",),
              reply=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    Situation("a DNS query", BRIDGE, "10.0.0.3", options={"dns": "web.default"}, serves=("blue", 53, True), way=OVER, says=("DNS query A web.default.",),
              reply=b"as-if"),
    Situation("DNAT by iptables", ROUTER + "ip netns exec router iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.2.0.2:80",
              "10.1.0.1", options={"tcp": 8080}, serves=("blue", 80, False), way=ROUTED,
              says=("dst 10.1.0.1:8080 → 10.2.0.2:80", "-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT", "new connection: tcp 10.1.0.2 > 10.1.0.1:8080",
                    "src 10.2.0.2:80 → 10.1.0.1:8080")),
    Situation("masquerade by nft", ROUTER + """ip netns exec router nft 'table ip nat { chain post { type nat hook postrouting priority srcnat; oifname "eth1" masquerade; }; }'
                                              ip -n blue route del default""",
              "10.2.0.2", way=ROUTED, says=("src 10.1.0.2 → 10.2.0.1", 'oifname "eth1" masquerade', "dst 10.2.0.1 → 10.1.0.2")),
    Situation("DNAT by iptables-legacy", ROUTER + "ip netns exec router iptables-legacy -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.2.0.2:80",
              "10.1.0.1", options={"tcp": 8080}, serves=("blue", 80, False), way=ROUTED, says=("dst 10.1.0.1:8080 → 10.2.0.2:80", "iptables-legacy -t nat -A PREROUTING")),
    Situation("pod to pod over VXLAN", NODES, "10.244.2.2", "pod1",
              way="pod1/eth0 >, > node1/v-pod, node1/flannel.1 >, node1/eth0 >, > host/v-node1, host/v-node2 >, > node2/eth0, > node2/flannel.1, node2/v-pod >, > pod2/eth0",
              says=("+ VXLAN vni 1, 192.168.0.11 > 192.168.0.12:8472", "- VXLAN vni 1", "dst 192.168.0.12 self permanent", "dev v-node2 master br0 learned", "10.244.2.0/24 via 10.244.2.0 dev flannel.1")),
    Situation("policy routing", ROUTER + "ip -n router rule add from 10.1.0.2 lookup 100 priority 10; ip -n router route add default via 10.2.0.2 dev eth1 table 100; ip -n blue address add 10.9.0.9/32 dev lo",
              "10.9.0.9", way=ROUTED, says=("10: from 10.1.0.2 lookup 100", "(table 100)")),
    Situation("policy routing by port", ROUTER + """ip -n router rule add ipproto udp dport 80 lookup 100 priority 5; ip -n router rule add ipproto tcp dport 70-79 lookup 100 priority 6
                                             ip -n router rule add ipproto tcp dport 80 lookup 100 priority 10; ip -n router route add default via 10.2.0.2 dev eth1 table 100""",
              "10.2.0.2", options={"tcp": 80}, serves=("blue", 80, False), way=ROUTED, says=("10: from all ipproto tcp dport 80 lookup 100", "(table 100)")),
    Situation("a router that answers ARP for others", ROUTER + "ip -n red route replace 10.2.0.0/24 dev eth0; ip -n red route del default; ip netns exec router sysctl -qw net.ipv4.conf.eth0.proxy_arp=1 net.ipv4.neigh.eth0.proxy_delay=0",
              "10.2.0.2", way=ROUTED, says=("10.2.0.2 dev eth0 lladdr 02:00:00:00:01:01",)),
    Situation("a frame for a MAC that the bridge does not know", BRIDGE + KNOWN + "bridge link set dev v-blue learning off; bridge fdb del 02:00:00:00:00:03 dev v-blue master 2>/dev/null || true",
              "10.0.0.3", way=OVER, says=("br0 did not know 02:00:00:00:00:03: it flooded it", "copy:green/eth0")),
    Situation("a large ping in fragments", ROUTER + "ip -n router link set eth1 mtu 600; ip -n blue link set eth0 mtu 600", "10.2.0.2", options={"size": 1000},
              says=("fragment 1028 bytes → fragment at 0",)),
    Situation("a ping of IPv6", BRIDGE + "for n in red blue; do ip netns exec $n sysctl -qw net.ipv6.conf.all.disable_ipv6=0; done; ip -n red address add fd00::2/64 dev eth0 nodad; ip -n blue address add fd00::3/64 dev eth0 nodad",
              "fd00::3", way=OVER, says=("fd00::/64 dev eth0", "fd00::3 dev eth0 lladdr 02:00:00:00:00:03")),
    Situation("an ARP request", BRIDGE, lambda: arp_for("10.0.0.3"), way=OVER, says=("ARP 10.0.0.3 is-at 02:00:00:00:00:03",)),
    Situation("a packet made with scapy", BRIDGE, lambda: icmp_to("10.0.0.3"), way=OVER),
    Situation("a rule that accepts", BRIDGE + "ip netns exec blue nft 'table inet f { chain i { type filter hook input priority 0; policy drop; icmp type echo-request counter accept; }; }'",
              "10.0.0.3", way=OVER, says=("icmp type echo-request counter accept",)),
    Situation("DNAT of one's own packets", BRIDGE + "ip netns exec red iptables -t nat -A OUTPUT -d 10.96.0.1 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.3:8080", "10.96.0.1", options={"tcp": 80},
              serves=("blue", 8080, False), way=OVER, says=("10.0.0.2 > 10.0.0.3:8080 TCP SYN", "-A OUTPUT -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j DNAT")),
    Situation("a port turned to another", BRIDGE + "ip netns exec blue iptables -t nat -A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 5353", "10.0.0.3", options={"udp": 53}, serves=("blue", 5353, True),
              answered=None, way=OVER, reply=None, says=("answers 10.0.0.3:5353",)),
    Situation("an ARP announcement", BRIDGE, lambda: announcement(), answered=None),
    # lost on the way there
    Situation("no route at the source", BRIDGE + "ip -n red route del default", "10.9.0.9", delivered=False, answered=False, way="", cause=("no_route", "red", None),
              says=("red has no route to 10.9.0.9",)),
    Situation("no route at the router", ROUTER, "10.9.0.9", delivered=False, answered=False, way=TO_ROUTER, cause=("no_route", "router", "eth0"),
              says=("router has no route to 10.9.0.9", "InNoRoutes")),
    Situation("a blackhole route", ROUTER + "ip -n router route add blackhole 10.9.0.0/16", "10.9.0.9", delivered=False, answered=False, way=TO_ROUTER,
              cause=("no_route", "router", "eth0"), says=("blackhole 10.9.0.0/16",)),
    Situation("an unreachable route", ROUTER + "ip -n red route add unreachable 10.9.0.0/16", "10.9.0.9", delivered=False, answered=False, way="",
              cause=("no_route", "red", None), says=("unreachable 10.9.0.0/16",)),
    Situation("forwarding is off", ROUTER + "ip netns exec router sysctl -qw net.ipv4.ip_forward=0", "10.2.0.2", delivered=False, answered=False, way=TO_ROUTER,
              cause=("forwarding_off", "router", "eth0"), says=("net.ipv4.ip_forward is 0", "InAddrErrors")),
    Situation("rp_filter and a way back elsewhere", ROUTER + "ip netns exec router sysctl -qw net.ipv4.conf.all.rp_filter=1; ip -n router route add 10.5.0.0/24 via 10.2.0.2; ip -n red address add 10.5.0.5/32 dev lo; ip -n red route replace default via 10.1.0.1 src 10.5.0.5; ip -n red neighbour add 10.1.0.1 lladdr 02:00:00:00:01:01 dev eth0",
              "10.2.0.2", delivered=False, answered=False, way=TO_ROUTER, cause=("rp_filter", "router", "eth0"),
              says=("rp_filter is 1 there, and its route back to 10.5.0.5 leads by eth1", "IPReversePathFilter")),
    Situation("rp_filter, and the router answers no ARP", ROUTER + "ip netns exec router sysctl -qw net.ipv4.conf.all.rp_filter=1; ip -n router route add 10.5.0.0/24 via 10.2.0.2; ip -n red address add 10.5.0.5/32 dev lo; ip -n red route replace default via 10.1.0.1 src 10.5.0.5",
              "10.2.0.2", delivered=False, answered=False, way="", cause=("rp_filter", "router", "eth0"), says=("rp_filter is 1 there",)),
    Situation("a martian: the router's own address as source", ROUTER, lambda: icmp_to("10.2.0.2", src="10.2.0.1"), delivered=False, answered=False, way=TO_ROUTER,
              cause=("rp_filter", "router", "eth0"), says=("10.2.0.1 is router's own address",)),
    Situation("nobody has the address", BRIDGE, "10.0.0.9", delivered=False, answered=False, way="", cause=("neighbour", "red", "eth0"), says=("who has 10.0.0.9", "no namespace has 10.0.0.9")),
    Situation("nobody has the address behind the router", ROUTER, "10.2.0.9", delivered=False, answered=False, way=TO_ROUTER, cause=("neighbour", "router", "eth1")),
    Situation("the owner never hears the question", BRIDGE + "ip link set v-red type bridge_slave isolated on; ip link set v-blue type bridge_slave isolated on", "10.0.0.3",
              delivered=False, answered=False, way="", cause=("neighbour", "red", "eth0"), says=("blue has it, and never heard the question",)),
    Situation("a wrong neighbour entry", BRIDGE + "ip -n red neighbour replace 10.0.0.3 lladdr 02:00:00:00:00:99 dev eth0", "10.0.0.3", delivered=False, answered=False,
              cause=("neighbour", "blue", "eth0"), says=("the frame is for 02:00:00:00:00:99", "has a wrong neighbour entry")),
    Situation("isolated ports", BRIDGE + KNOWN + "ip netns exec blue ping -c1 -W1 10.0.0.1 >/dev/null; ip link set v-red type bridge_slave isolated on; ip link set v-blue type bridge_slave isolated on", "10.0.0.3",
              delivered=False, answered=False, way="red/eth0 >, > host/v-red", cause=("fdb", "host", "v-blue"), says=("isolated",)),
    Situation("a static FDB entry to the wrong port", BRIDGE + KNOWN + "bridge fdb replace 02:00:00:00:00:03 dev v-green master static", "10.0.0.3", delivered=False, answered=False,
              cause=("fdb", "host", "v-green"), says=("02:00:00:00:00:03 dev v-green",)),
    Situation("hairpin is off", BRIDGE + KNOWN + "bridge fdb replace 02:00:00:00:00:03 dev v-red master static", "10.0.0.3", delivered=False, answered=False,
              way="red/eth0 >, > host/v-red", cause=("fdb", "host", "v-red"), says=("hairpin",)),
    Situation("no FDB entry of a VXLAN", NODES + "bridge -n node1 fdb del 02:00:00:00:0f:02 dev flannel.1 dst 192.168.0.12 self", "10.244.2.2", "pod1", delivered=False, answered=False,
              way="pod1/eth0 >, > node1/v-pod, node1/flannel.1 >", cause=("fdb", "node1", "flannel.1"), says=("no FDB entry for 02:00:00:00:0f:02",)),
    Situation("a rule against the tunnel's own packets", NODES + "ip netns exec node2 iptables -A INPUT -p udp --dport 8472 -j DROP", "10.244.2.2", "pod1", delivered=False, answered=False,
              way="pod1/eth0 >, > node1/v-pod, node1/flannel.1 >, node1/eth0 >, > host/v-node1, host/v-node2 >, > node2/eth0", cause=("firewall", "node2", "eth0"),
              says=("-A INPUT -p udp -m udp --dport 8472 -j DROP",)),
    Situation("too long for the tunnel, and not to be fragmented", NODES, "10.244.2.2", "pod1", options={"size": 1440, "df": True}, delivered=False, answered=False,
              way="pod1/eth0 >, > node1/v-pod", cause=("mtu", "node1", "flannel.1"), says=("at most 1450 bytes", "ICMP fragmentation needed from 10.244.1.1")),
    Situation("nobody has the other end of the tunnel", NODES + "ip -n node2 address del 192.168.0.12/24 dev eth0; ip -n node1 neighbour flush dev eth0", "10.244.2.2", "pod1", delivered=False, answered=False,
              way="pod1/eth0 >, > node1/v-pod, node1/flannel.1 >", cause=("neighbour", "node1", "eth0"), says=("who has 192.168.0.12",)),
    Situation("a rule of nft in the router", ROUTER + "ip netns exec router nft 'table ip f { chain c { type filter hook forward priority 0; ip daddr 10.2.0.2 counter drop; }; }'", "10.2.0.2",
              delivered=False, answered=False, way=TO_ROUTER, cause=("firewall", "router", "eth0"), says=("ip daddr 10.2.0.2 counter drop",)),
    Situation("a rule of iptables at the destination", BRIDGE + "ip netns exec blue iptables -A INPUT -p icmp -j DROP", "10.0.0.3", delivered=False, answered=False, way=OVER,
              cause=("firewall", "blue", "eth0"), says=("iptables -t filter -A INPUT -p icmp -j DROP",)),
    Situation("a chain's policy", ROUTER + "ip netns exec router iptables -P FORWARD DROP", "10.2.0.2", delivered=False, answered=False, way=TO_ROUTER, cause=("policy", "router", "eth0")),
    Situation("a rule that rejects", ROUTER + "ip netns exec router iptables -A FORWARD -p tcp --dport 80 -j REJECT", "10.2.0.2", options={"tcp": 80}, delivered=False, answered=False,
              way=TO_ROUTER, cause=("firewall", "router", "eth0"), says=("ICMP port unreachable from 10.1.0.1", "-j REJECT")),
    Situation("a rule of one's own output", BRIDGE + "ip netns exec red nft 'table ip f { chain o { type filter hook output priority 0; icmp type echo-request drop; }; }'", "10.0.0.3",
              delivered=False, answered=False, way="", cause=("firewall", "red", None), says=("icmp type echo-request drop",)),
    Situation("a rule of iptables-legacy", ROUTER + "ip netns exec router iptables-legacy -A FORWARD -p icmp -j DROP", "10.2.0.2", delivered=False, answered=False, way=TO_ROUTER,
              cause=("firewall", "router", "eth0"), says=("iptables-legacy -t filter -A FORWARD -p icmp -j DROP",)),
    Situation("a policy of iptables-legacy", ROUTER + "ip netns exec router iptables-legacy -P FORWARD DROP", "10.2.0.2", delivered=False, answered=False, way=TO_ROUTER,
              cause=("policy", "router", "eth0")),
    Situation("iptables that sees bridged packets", BRIDGE + "sysctl -qw net.bridge.bridge-nf-call-iptables=1; iptables -A FORWARD -p icmp -j DROP", "10.0.0.3", delivered=False, answered=False,
              way="red/eth0 >, > host/v-red", cause=("firewall", "host", "v-red"), says=("-A FORWARD -p icmp -j DROP",)),
    Situation("a rule of nft on the bridge", BRIDGE + "nft 'table bridge f { chain c { type filter hook forward priority 0; ip protocol icmp drop; }; }'", "10.0.0.3", delivered=False, answered=False,
              way="red/eth0 >, > host/v-red", cause=("firewall", "host", "v-red"), says=("ip protocol icmp drop",)),
    Situation("a rule of nft at the device", BRIDGE + "ip netns exec blue nft 'table netdev f { chain c { type filter hook ingress device \"eth0\" priority 0; ip protocol icmp drop; }; }'", "10.0.0.3",
              delivered=False, answered=False, way=OVER, cause=("firewall", "blue", "eth0"), says=("ip protocol icmp drop",)),
    Situation("too long for the next link, and not to be fragmented", ROUTER + "ip -n router link set eth1 mtu 1000; ip -n blue link set eth0 mtu 1000", "10.2.0.2", options={"size": 1400, "df": True},
              delivered=False, answered=False, way=TO_ROUTER, cause=("mtu", "router", "eth1"), says=("at most 1000 bytes", "ICMP fragmentation needed from 10.1.0.1")),
    Situation("too long for one's own link", ROUTER, "10.2.0.2", options={"size": 1600, "df": True}, delivered=False, answered=False, way="", cause=("mtu", "red", "eth0"),
              says=("at most 1500 bytes", "message too long")),
    Situation("too long for the other end of the cable", ROUTER + "ip -n blue link set eth0 mtu 1000", "10.2.0.2", options={"size": 1400}, delivered=False, answered=False,
              way="red/eth0 >, > router/eth0, router/eth1 >", cause=("mtu", "blue", "eth0"), says=("takes at most 1000 bytes",)),
    Situation("a TTL of one", ROUTER, "10.2.0.2", options={"ttl": 1}, delivered=False, answered=False, way=TO_ROUTER, cause=("ttl", "router", "eth0"), says=("ICMP time exceeded from 10.1.0.1",)),
    Situation("two routers that send it to each other", ROUTER + "ip -n router route add 10.9.0.0/16 via 10.2.0.2; ip netns exec blue sysctl -qw net.ipv4.ip_forward=1", "10.9.0.9",
              options={"ttl": 6}, delivered=False, answered=False, cause=("ttl", "blue", "eth0"), says=("TTL of 1 is used up",)),
    Situation("the link is down", BRIDGE + "ip -n red link set eth0 down", "10.0.0.3", delivered=False, answered=False, way="", cause=("link_down", "red", "eth0")),
    Situation("the other end is down", BRIDGE + "ip link set v-red down", "10.0.0.3", delivered=False, answered=False, way="", cause=("link_down", "red", "eth0"), says=("host/v-red, is down",)),
    Situation("the port to the destination is down", BRIDGE + KNOWN + "ip netns exec blue ping -c1 -W1 10.0.0.1 >/dev/null; bridge fdb replace 02:00:00:00:00:03 dev v-blue master static; ip link set v-blue down", "10.0.0.3", delivered=False, answered=False,
              way="red/eth0 >, > host/v-red", cause=("link_down", "host", "v-blue")),
    Situation("the bridge is down", BRIDGE + KNOWN + "ip link set br0 down", "10.0.0.3", delivered=False, answered=False, way="red/eth0 >, > host/v-red", cause=("link_down", "host", "br0")),
    Situation("lo is down", "ip netns add red", "127.0.0.1", delivered=False, answered=False, way="", cause=("link_down", "red", "lo")),
    Situation("no TCP socket listens", BRIDGE, "10.0.0.3", options={"tcp": 80}, delivered=False, answered=False, way=OVER, cause=("no_listener", "blue", "eth0"), says=("TCP RST ACK",)),
    Situation("no UDP socket listens", BRIDGE, "10.0.0.3", options={"udp": 53}, delivered=False, answered=None, way=OVER, cause=("no_listener", "blue", "eth0"), says=("Udp.NoPorts",)),
    Situation("an old connection to a backend that is gone", ROUTER + """ip -n blue address add 10.2.0.3/24 dev eth0
              ip netns exec router iptables -t nat -A PREROUTING -p udp --dport 53 -j DNAT --to-destination 10.2.0.2:53
              ip netns exec red python3 -c 'import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.1.0.2", 4000)); s.sendto(b"x", ("10.1.0.1", 53))'
              ip netns exec router iptables -t nat -F PREROUTING; ip netns exec router iptables -t nat -A PREROUTING -p udp --dport 53 -j DNAT --to-destination 10.2.0.3:53
              ip -n blue address del 10.2.0.2/24 dev eth0; ip -n router neighbour flush dev eth1; ip -n blue address show >/dev/null""",
              lambda: udp_from(4000), delivered=False, answered=None, way=TO_ROUTER, cause=("conntrack", "router", "eth0"),
              says=("known connection: udp 10.1.0.2:4000 > 10.1.0.1:53, answers 10.2.0.2:53",)),
    Situation("a rule of nft for ARP", BRIDGE + "ip netns exec blue nft 'table arp f { chain i { type filter hook input priority 0; drop; }; }'", "10.0.0.3", delivered=False, answered=False,
              way="", cause=("firewall", "blue", "eth0"), says=("arp f i",)),
    Situation("no socket listens on one's own lo", "ip netns add red; ip -n red link set lo up", "127.0.0.1", options={"tcp": 8080}, delivered=False, answered=False, way="> red/lo",
              cause=("no_listener", "red", "lo"), says=("TCP RST ACK",)),
    Situation("the port has left its bridge", BRIDGE + KNOWN + "ip link delete br0", "10.0.0.3", delivered=False, answered=False, way="red/eth0 >, > host/v-red",
              cause=("fdb", "host", "v-red"), says=("the frame is for blue/eth0, and v-red is no port of a bridge",)),
    Situation("a rule of iptables-legacy in the table raw", BRIDGE + "ip netns exec blue iptables-legacy -t raw -A PREROUTING -p icmp -j DROP", "10.0.0.3", delivered=False, answered=False,
              way=OVER, cause=("firewall", "blue", "eth0"), says=("iptables-legacy -t raw -A PREROUTING -p icmp -j DROP",)),
    Situation("iptables-legacy resets a connection", BRIDGE + "ip netns exec blue iptables-legacy -A INPUT -p tcp -j REJECT --reject-with tcp-reset", "10.0.0.3", options={"tcp": 80},
              serves=("blue", 80, False), delivered=False, answered=False, way=OVER, cause=("firewall", "blue", "eth0"), says=("-j REJECT --reject-with tcp-reset",)),
    Situation("a rule of nft where it leaves", ROUTER + "ip netns exec router nft 'table netdev f { chain c { type filter hook egress device \"eth1\" priority 0; ip protocol icmp drop; }; }'", "10.2.0.2",
              delivered=False, answered=False, way=TO_ROUTER, cause=("firewall", "router", "eth0"), says=("ip protocol icmp drop",)),
    Situation("a policy at the device drops ARP too", BRIDGE + "ip netns exec blue nft 'table netdev f { chain c { type filter hook ingress device \"eth0\" priority 0; policy drop; }; }'", "10.0.0.3",
              delivered=False, answered=False, way="", cause=("policy", "blue", "eth0"), says=("chain netdev f c",)),
    Situation("a mark that leads to a blackhole", ROUTER + "ip netns exec router iptables -t mangle -A PREROUTING -p icmp -j MARK --set-mark 7; ip -n router rule add fwmark 7 lookup 100 priority 50; ip -n router route add blackhole default table 100",
              "10.2.0.2", delivered=False, answered=False, way=TO_ROUTER, cause=("no_route", "router", "eth0"), says=("that leads nowhere: blackhole default",)),
    Situation("a rule that takes the TTL away", ROUTER + "ip netns exec router iptables -t mangle -A PREROUTING -p icmp -j TTL --ttl-set 1", "10.2.0.2", delivered=False, answered=False, way=TO_ROUTER,
              cause=("ttl", "router", "eth0"), says=("ICMP time exceeded from 10.1.0.1", "-j TTL --ttl-set 1")),
    Situation("a port turned to one that nobody listens on", BRIDGE + "ip netns exec blue iptables -t nat -A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 5353", "10.0.0.3", options={"udp": 53},
              delivered=False, answered=None, way=OVER, cause=("no_listener", "blue", "eth0"), says=("no UDP socket listens on 10.0.0.3 port 5353",)),
    Situation("a socket for IPv6 alone", BRIDGE + """ip netns exec blue python3 -c '
import socket, time, os
s = socket.socket(socket.AF_INET6); s.setsockopt(41, 26, 1); s.bind(("::", 80)); s.listen()
if os.fork() == 0:
    os.close(0); os.close(1); os.close(2); time.sleep(20)'""", "10.0.0.3", options={"tcp": 80}, delivered=False, answered=False, way=OVER, cause=("no_listener", "blue", "eth0"), says=("TCP RST from 10.0.0.3",)),
    Situation("flooding is off", BRIDGE + KNOWN + "bridge link set dev v-blue learning off flood off; bridge fdb del 02:00:00:00:00:03 dev v-blue master 2>/dev/null || true", "10.0.0.3", delivered=False,
              answered=False, cause=("fdb", "host", "v-blue"), says=("did not know 02:00:00:00:00:03 and flooded the frame, but not to blue/eth0, for flooding is off at its port",)),
    Situation("later fragments are dropped", ROUTER + "ip netns exec blue iptables -t raw -A PREROUTING -f -j DROP; ip -n router link set eth1 mtu 600; ip -n blue link set eth0 mtu 600", "10.2.0.2",
              options={"size": 1000}, delivered=False, answered=False, cause=("firewall", "blue", "eth0"), says=("iptables -t raw -A PREROUTING -f -j DROP",)),
    Situation("neighbour discovery is dropped", BRIDGE + "for n in red blue; do ip netns exec $n sysctl -qw net.ipv6.conf.all.disable_ipv6=0; done; ip -n red address add fd00::2/64 dev eth0 nodad; ip -n blue address add fd00::3/64 dev eth0 nodad; ip netns exec blue ip6tables -P INPUT DROP",
              "fd00::3", delivered=False, answered=False, way="", cause=("policy", "blue", "eth0")),
    Situation("a ping to everybody", BRIDGE, "10.0.0.255", delivered=False, answered=False, cause=("policy", "blue", "eth0"), says=("icmp_echo_ignore_broadcasts is 1",)),
    Situation("a packet for 127.0.0.1 from outside", BRIDGE + "ip netns exec blue iptables -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 127.0.0.1:80", "10.0.0.3", options={"tcp": 80},
              delivered=False, answered=False, way=OVER, cause=("unknown", "blue", "eth0"), says=("a rule of blue's turned it to another end",)),
    Situation("another VNI", NODES + "ip -n node2 link set flannel.1 down; ip -n node2 link del flannel.1; ip -n node2 link add flannel.1 type vxlan id 2 dev eth0 local 192.168.0.12 dstport 8472; ip -n node2 link set flannel.1 up",
              "10.244.2.2", "pod1", delivered=False, answered=False, cause=("unknown", "node2", "eth0"), says=("has no VXLAN device of VNI 1",)),
    Situation("an isolated port that the bridge does not know", BRIDGE + KNOWN + "ip link set v-red type bridge_slave isolated on; bridge link set dev v-blue learning off; ip link set v-blue type bridge_slave isolated on; bridge fdb del 02:00:00:00:00:03 dev v-blue master 2>/dev/null || true",
              "10.0.0.3", delivered=False, answered=False, cause=("fdb", "host", "v-blue"), says=("whose port is isolated",)),
    Situation("the old MAC of a bridge", BRIDGE + "ip -n red neighbour replace 10.0.0.1 lladdr $(cat /sys/class/net/v-blue/address) dev eth0", "10.0.0.1", delivered=False, answered=False, cause=("neighbour", "host", "br0"),
              says=("and br0 has 02:00:00:00:00:01",)),
    Situation("a datagram with a wrong checksum", BRIDGE, lambda: forged("10.0.0.3"), serves=("blue", 53, True), delivered=False, answered=None, way=OVER, cause=("unknown", "blue", "eth0"), says=("its UDP checksum is wrong",)),
    Situation("a rule of the bridge against ARP", BRIDGE + "nft 'table bridge f { chain c { type filter hook forward priority 0; ether type arp drop; }; }'", "10.0.0.3", delivered=False, answered=False, way="",
              cause=("firewall", "host", "v-red"), says=("ether type arp drop",)),
    Situation("forwarding is off at one link", ROUTER + "ip netns exec router sysctl -qw net.ipv4.conf.eth0.forwarding=0", "10.2.0.2", delivered=False, answered=False, way=TO_ROUTER,
              cause=("forwarding_off", "router", "eth0"), says=("net.ipv4.conf.eth0.forwarding is 0",)),
    # lost on the way back
    Situation("no way back", ROUTER + "ip -n blue route del default", "10.2.0.2", answered=False, way=ROUTED, cause=("no_route", "blue", None), says=("blue has no route to 10.1.0.2",)),
    Situation("a rule drops the answer", BRIDGE + "ip netns exec blue iptables -A OUTPUT -p icmp -j DROP", "10.0.0.3", answered=False, way=OVER, cause=("firewall", "blue", "eth0"),
              says=("-A OUTPUT -p icmp -j DROP",)),
    Situation("a rule drops the answer at home", BRIDGE + "ip netns exec red iptables -A INPUT -p icmp -j DROP", "10.0.0.3", answered=False, way=OVER, cause=("firewall", "red", "eth0")),
    Situation("an answer that nobody turns back", BRIDGE + "sysctl -qw net.ipv4.ip_forward=1; iptables -t nat -A PREROUTING -d 10.0.0.1 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.3:80", "10.0.0.1",
              options={"tcp": 80}, serves=("blue", 80, False), answered=False, way="red/eth0 >, > host/v-red, > host/br0, host/br0 >, host/v-blue >, > blue/eth0", cause=("conntrack", "red", "eth0"),
              says=("red had called 10.0.0.1, and the answer came from 10.0.0.3",)),
    Situation("a server that hangs up", BRIDGE, "10.0.0.3", options={"http": 80}, serves=("blue", 80, False), answered=False, way=OVER, reply=b"", cause=("unknown", "blue", "eth0"),
              says=("server closed the connection, and sent no answer",)),
    Situation("a redirect is no answer", BRIDGE + "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.br0.send_redirects=1; ip -n red route add 10.0.0.3/32 via 10.0.0.1; ip netns exec blue sysctl -qw net.ipv4.icmp_echo_ignore_all=1",
              "10.0.0.3", answered=False, cause=("policy", "blue", "eth0")),
    Situation("it answers no ping", BRIDGE + "ip netns exec blue sysctl -qw net.ipv4.icmp_echo_ignore_all=1", "10.0.0.3", answered=False, way=OVER, cause=("policy", "blue", "eth0"), says=("icmp_echo_ignore_all is 1",)),
    Situation("nobody answers ARP on the way back", BRIDGE + KNOWN + "ip -n blue neighbour del 10.0.0.2 dev eth0; ip netns exec red sysctl -qw net.ipv4.conf.all.arp_ignore=8", "10.0.0.3", answered=False, way=OVER, cause=("neighbour", "blue", "eth0")),
    Situation("the router filters the answer", ROUTER + "ip netns exec router nft 'table ip f { chain c { type filter hook forward priority 0; icmp type echo-reply drop; }; }'", "10.2.0.2", answered=False,
              way=ROUTED, cause=("firewall", "router", "eth1"), says=("icmp type echo-reply drop",)),
]  # fmt: skip


# In User-Mode Linux iptables is iptables-legacy, which tells only of the packet that is traced, not of the question for its
# neighbour: that nobody answered is all that is known.
LESS_KNOWN = {"neighbour discovery is dropped": ("neighbour", "red", "eth0")}


def build(commands: str) -> None:
    done = subprocess.run(["sh", "-ec", commands], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def listening(where: str, port: int, udp: bool, reply: bytes | None) -> Iterator[None]:
    """Somebody listens there: and answers, or (None) takes it without a word."""
    if reply is not None:
        with serve(where, port, udp=udp, reply=reply):
            yield
        return
    with inside(where, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as silent:
        silent.bind(("0.0.0.0", port))
        yield


def told(one: Trace) -> str:
    """Everything that the trace says, in one text."""
    lines = [one.what, *one.notes]
    for hop in one.hops:
        lines += [hop.summary, *(change.text for change in hop.changed), *(d.text for d in hop.decided_by)]
        lines += [f"copy:{hop.where}"] if hop.copy else []
    return "\n".join([*lines, *([one.cause.sentence, one.cause.known_by] if one.cause else [])])


def way(one: Trace) -> str:
    hops = dict.fromkeys(f"{hop.where} >" if hop.direction == "out" else f"> {hop.where}" for hop in one.request)
    return ", ".join(hops)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_a_trace_says_where_it_went_and_why_it_ended(network: None, situation: Situation) -> None:
    build(situation.commands)
    packet = situation.to() if callable(situation.to) else situation.to
    if situation.serves:
        with listening(*situation.serves, situation.reply):
            one = trace(packet, situation.start, **situation.options)
    else:
        one = trace(packet, situation.start, **situation.options)
    assert (one.delivered, one.answered) == (situation.delivered, situation.answered), one.cause
    cause = one.cause and (one.cause.kind, one.cause.namespace, one.cause.interface)
    known = LESS_KNOWN.get(situation.name, situation.cause) if here.on_user_mode_linux() else situation.cause
    assert cause == known, one.cause
    if situation.way or (situation.cause and situation.cause[1] == situation.start):
        assert way(one) == situation.way
    for words in situation.says:
        if here.on_user_mode_linux():  # there `iptables` is iptables-legacy
            words = words.replace("iptables-legacy", "iptables")
        assert words in told(one)
