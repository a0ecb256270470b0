"""DNAT for one port, masquerade on the way out, and nothing more."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look
from labkit.packets import Connection, connect, reply_source, serve

ROUTER = "203.0.113.1"
RULES = "ip netns exec router iptables -t nat -nvL, or nft list ruleset there: which rule counts?"


def said(call: Connection) -> str:
    """What the caller was told, or why there was no answer."""
    return call.text if call.ok and call.data else call.error or "connected, and no answer"


def published(look: Look) -> dict[str, Any]:
    """Let world call the published port; blue answers with the address that it sees."""
    look.links("blue")
    with serve("blue", 80, reply=reply_source) as server:
        call = connect("world", ROUTER, 8080, data="who am I?", timeout=0.5)
    return {"said": said(call), "answered": bool(call.data), "callers": ", ".join(server.callers) or "nobody"}


def outward(look: Look) -> dict[str, Any]:
    """Let red call world by TCP, and blue by UDP; world answers with the address that it sees."""
    look.links("red")
    told = {}
    for name, udp in (("red", False), ("blue", True)):
        with serve("world", 9000, udp=udp, reply=reply_source):
            call = connect(name, "203.0.113.2", 9000, udp=udp, data="who am I?", timeout=0.5)
        told[f"{name} by {'UDP' if udp else 'TCP'}"] = said(call)
    return {"told": "; ".join(f"{who}: {what}" for who, what in told.items()), "seen": sorted(set(told.values()))}


def other_port(look: Look) -> dict[str, Any]:
    """Let world call port 80 of the router, where nobody listens."""
    look.links("blue")
    with serve("blue", 80, reply="blue here") as server:
        call = connect("world", ROUTER, 80, data="who is there?", timeout=0.5)
    return {"said": said(call), "callers": len(server.callers)}


def somebody_elses(look: Look) -> dict[str, Any]:
    """Let red call port 8080 of world."""
    look.links("red")
    with serve("world", 8080, reply="world here"), serve("blue", 80, reply="blue here") as server:
        call = connect("red", "203.0.113.2", 8080, data="who is there?", timeout=0.5)
    return {"said": said(call), "callers": len(server.callers)}


INSIDE = "!ip netns exec router iptables -t nat -A "
DNAT = f"{INSIDE}PREROUTING -i eth1 -d 203.0.113.1 -p tcp --dport 8080 -j DNAT --to-destination 10.0.0.3:80"
MASQUERADE = f"{INSIDE}POSTROUTING -o eth1 -j MASQUERADE"


def typed(*commands: str) -> dict[str, str]:
    """The cell of a learner who types these commands."""
    return {"publish": "\n".join(commands)}


exercise = Exercise(
    "05-filtering-nat-conntrack/publish-a-port",
    title="Publish a port",
    checks=[
        Check(
            "published",
            evidence=published,
            verdict=lambda said, answered, callers: answered and callers != "nobody",  # noqa: ARG005
            passed=f"world calls port 8080 of {ROUTER}, and blue answers",
            failed=f"world called port 8080 of {ROUTER}: {{said}}; who called blue's port 80: {{callers}}",
            look_at=f'lab.trace("{ROUTER}", from_="world", tcp=8080); {RULES}',
            points=2,
            within=0.5,
            hints=[
                "Where does the destination have to change, so that the routing decision knows of it?",
                "Address and port change: --to-destination takes both.",
            ],
        ),
        Check(
            "own-address",
            evidence=published,
            verdict=lambda said, answered, callers: said == "203.0.113.2",  # noqa: ARG005
            passed="blue sees the caller's own address",
            failed="world came from 203.0.113.2, and blue saw: {callers}",
            look_at=RULES,
            after=["published"],
            hints=["Which rule changes a source?", "By which link do packets to blue leave the router?"],
        ),
        Check(
            "red-reaches-world",
            evidence=outward,
            verdict=lambda told, seen: seen == [ROUTER],  # noqa: ARG005
            passed=f"red and blue call world, which sees {ROUTER}",
            failed="red and blue called world, which should answer with the address that it sees; {told}",
            look_at=f'lab.trace("203.0.113.2", from_="red"); {RULES}',
            points=2,
            within=0.5,
            hints=["Which address does an answer of world go to?", "The source changes last, where a packet leaves."],
        ),
        Check(
            "no-other-port",
            evidence=other_port,
            verdict=lambda said, callers: callers == 0,  # noqa: ARG005
            passed="the router's other ports lead to no container",
            failed=f"world called port 80 of {ROUTER}, which is not published, and was answered: {{said}}",
            look_at=RULES,
            after=["published"],
            must_not=True,
            hints=["Which packets does your rule name?", "One protocol, one port."],
        ),
        Check(
            "nobody-elses-port",
            evidence=somebody_elses,
            verdict=lambda said, callers: said == "world here" and callers == 0,
            passed="what red sends to port 8080 of others arrives there",
            failed="red called port 8080 of world, and was answered: {said}; calls that came to blue: {callers}",
            look_at='lab.trace("203.0.113.2", from_="red", tcp=8080)',
            points=2,
            after=["published", "red-reaches-world"],
            must_not=True,
            hints=[
                "What red sends comes in by a link of the router as well, and meets PREROUTING.",
                "Your rule names a port. Whose port, and who calls?",
            ],
        ),
    ],
    faults=[
        Fault("the port stays 8080", replace=typed(DNAT.removesuffix(":80"), MASQUERADE), red=["published"]),
        Fault(
            "in the chain for packets of one's own",
            replace=typed(DNAT.replace("PREROUTING -i eth1", "OUTPUT"), MASQUERADE),
            red=["published"],
        ),
        Fault("everything masqueraded", replace=typed(DNAT, f"{INSIDE}POSTROUTING -j MASQUERADE"), red=["own-address"]),
        Fault("the way out forgotten", replace=typed(DNAT), red=["red-reaches-world"]),
        Fault(
            "the way out for TCP alone",
            replace=typed(DNAT, MASQUERADE.replace("-o eth1", "-o eth1 -p tcp")),
            red=["red-reaches-world"],
        ),
        Fault(
            "the way out by the wrong link",
            replace=typed(DNAT, MASQUERADE.replace("eth1", "eth0")),
            red=["own-address", "red-reaches-world"],
        ),
        Fault(
            "an address that nobody has",
            replace=typed(DNAT, f"{INSIDE}POSTROUTING -o eth1 -j SNAT --to-source 203.0.113.7"),
            red=["red-reaches-world"],
        ),
        Fault("any port", replace=typed(DNAT.replace(" --dport 8080", ""), MASQUERADE), red=["no-other-port"]),
        Fault(
            "anybody's port 8080",
            replace=typed(DNAT.replace("-i eth1 -d 203.0.113.1 ", ""), MASQUERADE),
            red=["nobody-elses-port"],
        ),
    ],
)
