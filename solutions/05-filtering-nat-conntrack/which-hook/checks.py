"""Which hooks see which packet, how often a rule of NAT is asked, and what a filter sees after DNAT."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, answered, reaches
from labkit.packets import connect, serve
from labkit.state.firewall import counts

ROUTER, WORLD = "203.0.113.1", "203.0.113.2"
PACKETS: dict[str, tuple[Callable[[Look], object], str]] = {
    "a": (lambda look: look.ping("red", "10.0.0.1"), "Whom is the packet for? After PREROUTING the routing decides."),
    "b": (lambda look: look.ping("router", WORLD), "A packet that router itself sends has come in by no link."),
    "c": (
        lambda look: connect("world", ROUTER, 8081, timeout=0.3) if look.links("blue") else None,
        "Whom is the packet for when the routing decides: before DNAT, or after it?",
    ),
    "d": (
        lambda look: connect("red", WORLD, 9999, timeout=0.2) if look.links("red") else None,
        "A rule drops it. In which chain, and which counting rules has it met until then?",
    ),
    "e": (lambda look: look.ping("red", "10.0.0.3"), "Does that packet come to router at all?"),
}


def counted(table: str) -> dict[str, int]:
    """Return by rule how many packets of a table were counted."""
    return {count.rule.text: count.packets for count in counts("router") if count.key[1] == table}


@contextmanager
def outset(look: Look) -> Iterator[None]:
    """The filter of router is as the exercise began, for a while: parts 1 and 2 ask about that one."""
    saved = look.run("router", "iptables-save -t filter").stdout
    look.run("router", "iptables -F; for hook in INPUT FORWARD OUTPUT; do iptables -P $hook ACCEPT; done")
    look.run("router", "iptables -A FORWARD -p tcp --dport 9999 -j DROP")
    try:
        yield
    finally:
        look.run("router", f"iptables-restore <<'END'\n{saved}\nEND")


def hooks_of(name: str) -> Callable[[Look], list[str]]:
    """Return a function that sends the packet, and says which hooks counted it."""

    def truth(look: Look) -> list[str]:
        look.run("router", "iptables -t mangle -Z")
        with outset(look):
            PACKETS[name][0](look)
        return [rule.split()[4] for rule, packets in counted("mangle").items() if packets and "ORIGINAL" in rule]

    return truth


def asked(ports: list[int]) -> Callable[[Look], int]:
    """Return a function that sends ten datagrams from these ports, and says what the rule of NAT counted."""

    def truth(look: Look) -> int:
        look.run("router", "conntrack -F")
        look.run("router", "iptables -t nat -Z")
        with outset(look), serve("blue", 53, udp=True):
            for number in range(10):
                source = (WORLD, ports[number % len(ports)])
                connect("world", ROUTER, 53, udp=True, data="?", source=source, timeout=0.3)
        return sum(packets for rule, packets in counted("nat").items() if "--dport 53" in rule)

    return truth


def published(look: Look) -> dict[str, Any]:
    """Let world call the published port, and look whether the rule of NAT is there."""
    look.links("blue")
    with serve("blue", 80):
        call = connect("world", ROUTER, 8080, timeout=0.4)
    there = any("--dport 8080 -j DNAT" in rule for rule in counted("nat"))
    return {"call": call, "there": "there" if there else "gone"}


def own_server(look: Look) -> dict[str, Any]:
    """Let world call router's own server, and the two services that are published besides."""
    look.links("blue")
    with serve("router", 80), serve("blue", 81), serve("blue", 53, udp=True):
        calls = [connect("world", ROUTER, port, timeout=0.4) for port in (80, 8081)]
        calls.append(connect("world", ROUTER, 53, udp=True, data="?", timeout=0.4))
    return {"lost": "; ".join(str(call) for call in calls if not call.ok)}


def hooks_check(name: str) -> Check:
    """The learner's hooks for one packet are those that count it."""
    return answered(
        name,
        hooks_of(name),
        look_at='labkit.hooks("router"); counts("router"), after such a packet',
        hints=[PACKETS[name][1], "Follow the arrows of the picture, hook by hook."],
    )


NUMBER_HINTS = ["Which packets of a connection are shown to the table nat?", "What is a connection, for UDP?"]


def said(**other: str) -> dict[str, str]:
    """The cell of a learner who answers this, as Python; what is not given is right."""
    right = {
        "a": '["PREROUTING", "INPUT"]',
        "b": '["OUTPUT", "POSTROUTING"]',
        "c": '["PREROUTING", "FORWARD", "POSTROUTING"]',
        "d": '["PREROUTING", "FORWARD"]',
        "e": "[]",
    }
    return {"hooks": "\n".join(f'labkit.answer("{name}", {hooks})' for name, hooks in (right | other).items())}


exercise = Exercise(
    "05-filtering-nat-conntrack/which-hook",
    title="Which hook counts?",
    checks=[
        *(hooks_check(name) for name in PACKETS),
        answered("one_port", asked([4000]), look_at='counts("router")', hints=NUMBER_HINTS),
        answered("ten_ports", asked(list(range(4000, 4010))), look_at='counts("router")', hints=NUMBER_HINTS),
        Check(
            "closed",
            evidence=published,
            verdict=lambda call, there: not call.ok and there == "there",
            passed="world does not get through to the published port",
            failed="world called the published port: {call}; the rule of NAT is {there}",
            look_at='lab.trace("203.0.113.1", from_="world", tcp=8080)',
            points=2,
            control=reaches("world", ROUTER),
            must_not=True,
            hints=[
                "Which hooks does that packet meet? Your answer to c says it.",
                "Which port does a filter see there: the one that was called, or the one that DNAT has made of it?",
            ],
        ),
        Check(
            "own-server",
            evidence=own_server,
            verdict=lambda lost: not lost,
            passed="world goes on using router's own server, and the other published ports",
            failed="world called router's own server, and the other published ports: {lost}",
            look_at="ip netns exec router iptables -nvL",
            after=["closed"],
            hints=[
                "Which hook does a packet for router itself meet?",
                "Your rule is for packets that go through, and for one service of blue's among several.",
            ],
        ),
    ],
    faults=[
        Fault(
            "as if all came in by INPUT",
            replace=said(c='["PREROUTING", "INPUT"]', d='["PREROUTING", "INPUT"]'),
            red=["c", "d"],
        ),
        Fault(
            "PREROUTING and POSTROUTING for all",
            replace=said(
                a='["PREROUTING", "INPUT", "POSTROUTING"]',
                b='["PREROUTING", "OUTPUT", "POSTROUTING"]',
                d='["PREROUTING", "FORWARD", "POSTROUTING"]',
                e='["PREROUTING", "FORWARD", "POSTROUTING"]',
            ),
            red=["a", "b", "d", "e"],
        ),
        Fault(
            "every packet is shown to the rule",
            replace={"number": 'labkit.answer("one_port", 10); labkit.answer("ten_ports", 10)'},
            red=["one-port"],
        ),
        Fault(
            "a client is a connection",
            replace={"number": 'labkit.answer("one_port", 1); labkit.answer("ten_ports", 1)'},
            red=["ten-ports"],
        ),
        Fault(
            "the published port in INPUT",
            replace={"close": 'iptables("-A INPUT -i eth1 -p tcp --dport 8080 -j DROP")'},
            red=["closed"],
        ),
        Fault(
            "the published port in FORWARD",
            replace={"close": 'iptables("-A FORWARD -i eth1 -p tcp --dport 8080 -j DROP")'},
            red=["closed"],
        ),
        Fault(
            "port 80 everywhere",
            replace={
                "close": 'for hook in "INPUT", "FORWARD":\n    iptables(f"-A {hook} -i eth1 -p tcp --dport 80 -j DROP")'
            },
            red=["own-server"],
        ),
        Fault(
            "all that goes to blue",
            replace={"close": 'iptables("-A FORWARD -i eth1 -d 10.0.0.3 -j DROP")'},
            red=["own-server"],
        ),
        Fault(
            "the rule of NAT taken away",
            replace={"close": 'iptables("-t nat -D PREROUTING 1")'},
            red=["closed"],
        ),
    ],
)
