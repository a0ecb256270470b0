"""Stateful filtering in a router: answers in, one port in, strangers out."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, connects, does_not_connect, reaches
from labkit.packets import connect, serve

OUTWARD = 7777
RULES = "ip netns exec router iptables -nvL, or nft list ruleset there: which rule counts?"
WEB = "world-connects-to-blue:80"
ANSWERS = f"red-connects-to-world:{OUTWARD}"


def asked(look: Look) -> dict[str, Any]:
    """Let blue ask a name server in world."""
    look.links("world")
    with serve("world", 53, udp=True):
        return {"asked": connect("blue", "203.0.113.2", 53, udp=True, data="?", timeout=0.5)}


def open_to_world(look: Look, name: str, address: str, ports: tuple[tuple[int, bool], ...]) -> dict[str, Any]:
    """Let world call ports of a namespace, where servers listen; say which let it in (a port, and whether by UDP)."""
    look.links(name)
    let_in = []
    for port, udp in ports:
        with serve(name, port, udp=udp):
            if connect("world", address, port, udp=udp, data="?" if udp else "", timeout=0.4).ok:
                let_in.append(f"{'UDP' if udp else 'TCP'} port {port}")
    return {"let_in": ", ".join(let_in)}


def called(look: Look) -> dict[str, Any]:
    """Let world call the router's own servers."""
    return open_to_world(look, "router", "203.0.113.1", ((22, False), (8443, False), (5353, True)))


def called_by_udp(look: Look) -> dict[str, Any]:
    """Let world call UDP ports of blue, the one that is open for TCP among them."""
    return open_to_world(look, "blue", "10.0.0.3", ((80, True), (5353, True)))


def disguised(look: Look) -> dict[str, Any]:
    """Let world open a connection to red from the port of its own server, so that it looks like an answer."""
    look.links("world")
    with serve("red", 8080):
        return {"call": connect("world", "10.0.0.2", 8080, source=("203.0.113.2", OUTWARD), timeout=0.5)}


SOLVED = [
    "sysctl -qw net.ipv4.ip_forward=1",
    "iptables -P FORWARD DROP",
    "iptables -P INPUT DROP",
    "iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "iptables -A FORWARD -i eth0 -o eth1 -j ACCEPT",
    "iptables -A FORWARD -i eth1 -d 10.0.0.3 -p tcp --dport 80 -j ACCEPT",
    "iptables -A INPUT -p icmp -j ACCEPT",
]


def typed(*commands: str, without: str = "") -> dict[str, str]:
    """The cell of a learner who types the solution without some of its commands, and others after it."""
    kept = [command for command in SOLVED if not without or without not in command]
    return {"firewall": "\n".join(f"!ip netns exec router {command}" for command in [*kept, *commands])}


exercise = Exercise(
    "05-filtering-nat-conntrack/a-firewall",
    title="A firewall",
    checks=[
        connects(
            "world",
            "blue",
            80,
            serve=True,
            look_at=f"sysctl net.ipv4.ip_forward in router; {RULES}",
            hints=[
                "Does the router forward at all? It is a sysctl of router's namespace.",
                "The request meets FORWARD, and so does blue's answer: does a rule let either pass?",
            ],
        ),
        connects(
            "red",
            "world",
            OUTWARD,
            serve=True,
            look_at=RULES,
            hints=[
                "red's packets come in by eth0 and go out by eth1. Which chain do they meet?",
                "world's answer comes in by eth1. What tells it from a stranger's packet?",
            ],
        ),
        Check(
            "blue-asks-by-udp",
            evidence=asked,
            verdict=lambda asked: asked.ok,
            passed="blue asks world by UDP, and gets its answer",
            failed="blue asked world by UDP: {asked}",
            look_at=RULES,
            after=[ANSWERS],
            hints=["Do your rules speak of TCP alone?", "conntrack keeps entries of UDP, too."],
        ),
        reaches(
            "world",
            "203.0.113.1",
            after=[WEB],
            look_at=RULES,
            hints=["A ping to the router itself does not meet FORWARD.", "Which ICMP type is a ping?"],
        ),
        does_not_connect(
            "world",
            "blue",
            22,
            serve=True,
            after=[WEB],
            look_at=RULES,
            hints=["Which rule lets it pass, or is it the chain's policy?", "One port of blue is open to world."],
        ),
        does_not_connect(
            "world",
            "red",
            80,
            serve=True,
            after=[WEB],
            look_at=RULES,
            hints=["Which container does your rule for port 80 name?", "Only blue's server is for world."],
        ),
        Check(
            "world-does-not-connect-to-router",
            evidence=called,
            verdict=lambda let_in: not let_in,
            passed="world does not connect to the router itself",
            failed="world was let in to servers of the router's own, at: {let_in}",
            look_at="ip netns exec router iptables -nvL INPUT, or nft list ruleset there",
            after=[WEB],
            must_not=True,
            hints=["Packets for the router itself meet another hook than packets through it.", "It has a policy, too."],
        ),
        Check(
            "world-does-not-call-by-udp",
            evidence=called_by_udp,
            verdict=lambda let_in: not let_in,
            passed="world does not call blue by UDP",
            failed="world was let in to blue, at: {let_in}",
            look_at=RULES,
            after=["blue-asks-by-udp"],
            must_not=True,
            hints=["What becomes of a packet that none of your rules is about?", "blue is open by one protocol."],
        ),
        Check(
            "no-stranger-disguised",
            evidence=disguised,
            verdict=lambda call: not call.ok,
            passed="a stranger who calls from a server's port is no answer",
            failed=f"world opened a connection to red from its port {OUTWARD}: {{call}}",
            look_at=RULES,
            points=2,
            after=[ANSWERS],
            must_not=True,
            hints=[
                "Anybody can send from any port. What do your rules go by: how a packet looks, or who asked?",
                "`-m conntrack --ctstate`, or `ct state` in nft.",
            ],
        ),
    ],
    faults=[
        Fault(
            "forwarding, and no filter",
            replace={"firewall": "!ip netns exec router sysctl -qw net.ipv4.ip_forward=1"},
            red=[
                "world-does-not-connect-to-blue:22",
                "world-does-not-connect-to-red:80",
                "world-does-not-connect-to-router",
                "world-does-not-call-by-udp",
                "no-stranger-disguised",
            ],
        ),
        Fault("a filter, and no forwarding", replace=typed(without="sysctl"), red=[WEB, ANSWERS]),
        Fault("no rule for answers", replace=typed(without="ctstate"), red=[ANSWERS]),
        Fault(
            "answers by their ports",
            replace=typed(
                f"iptables -A FORWARD -p tcp --sport {OUTWARD} -j ACCEPT",
                "iptables -A FORWARD -p tcp --sport 80 -j ACCEPT",
                "iptables -A FORWARD -p udp --sport 53 -j ACCEPT",
                without="ctstate",
            ),
            red=["no-stranger-disguised"],
        ),
        Fault(
            "any container's port 80",
            replace=typed("iptables -A FORWARD -i eth1 -p tcp --dport 80 -j ACCEPT"),
            red=["world-does-not-connect-to-red:80"],
        ),
        Fault(
            "all of blue",
            replace=typed("iptables -A FORWARD -i eth1 -d 10.0.0.3 -j ACCEPT"),
            red=["world-does-not-connect-to-blue:22", "world-does-not-call-by-udp"],
        ),
        Fault(
            "what is forbidden is listed",
            replace=typed(
                "iptables -P INPUT ACCEPT",
                "iptables -P FORWARD ACCEPT",
                "iptables -A INPUT -i eth1 -p tcp --dport 22 -j DROP",
                "iptables -A FORWARD -i eth1 -p tcp -j DROP",
            ),
            red=["world-does-not-connect-to-router", "world-does-not-call-by-udp"],
        ),
        Fault(
            "the router itself left open",
            replace=typed("iptables -P INPUT ACCEPT"),
            red=["world-does-not-connect-to-router"],
        ),
        Fault("no ping either", replace=typed(without="icmp"), red=["world-reaches-203.0.113.1"]),
        Fault(
            "in the wrong chain",
            replace={
                "firewall": "\n".join(
                    f"!ip netns exec router {command.replace('FORWARD', 'INPUT')}"
                    for command in SOLVED
                    if "-o eth1" not in command
                )
            },
            red=[
                "world-does-not-connect-to-blue:22",
                "world-does-not-connect-to-red:80",
                "world-does-not-call-by-udp",
                "no-stranger-disguised",
            ],
        ),
        Fault(
            "TCP alone",
            replace=typed("iptables -A FORWARD -i eth0 -o eth1 -p tcp -j ACCEPT", without="-o eth1"),
            red=["blue-asks-by-udp"],
        ),
    ],
)
