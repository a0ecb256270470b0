"""What docker run -p 8080:80 does, by rules alone: from outside, from the host, from the container itself."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look
from labkit.packets import Connection, connect, reply_source, serve

OURS, WORLD = "203.0.113.1", "203.0.113.2"


def said(call: Connection) -> str:
    """What the caller was told, or why there was no answer."""
    return call.text if call.ok and call.data else call.error or "connected, and no answer"


def calls(caller: str, address: str, port: int, inside: int = 80) -> object:
    """Return evidence: let `caller` call; web listens on port `inside`, and answers with the address that it sees."""

    def evidence(look: Look) -> dict[str, Any]:
        look.links("web")
        with serve("web", inside, reply=reply_source) as server:
            call = connect(caller, address, port, data="who am I?", timeout=0.5)
        return {"said": said(call), "seen": ", ".join(server.callers) or "nobody"}

    return evidence


def outward(look: Look) -> dict[str, Any]:
    """Let web call world, which answers with the address that it sees."""
    look.links("web")
    with serve("world", 9000, reply=reply_source):
        return {"said": said(connect("web", WORLD, 9000, data="who am I?", timeout=0.5))}


RULES = "iptables -S FORWARD; iptables -t nat -S; which of them count: add -v"
DNAT = """for chain in "PREROUTING", "OUTPUT":
    !iptables -t nat -A $chain -m addrtype --dst-type LOCAL -p tcp --dport 8080 -j DNAT --to 172.17.0.2:80"""
PREROUTING = DNAT.replace(', "OUTPUT"', ",")
ANSWERS = "!iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
FROM = "!iptables -A FORWARD -i docker0 -j ACCEPT"
INTO = "!iptables -A FORWARD -o docker0 -d 172.17.0.2 -p tcp --dport 80 -j ACCEPT"
OUT = "!iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"
ROUND = "!iptables -t nat -A POSTROUTING -s 172.17.0.2 -d 172.17.0.2 -p tcp --dport 80 -j MASQUERADE"


def typed(*commands: str) -> dict[str, str]:
    """The cell of a learner who types these commands."""
    return {"publish": "\n".join(commands)}


exercise = Exercise(
    "06-docker-by-hand/publish-by-hand",
    title="-p 8080:80",
    checks=[
        Check(
            "world-calls",
            evidence=calls("world", OURS, 8080),
            verdict=lambda said, seen: said == WORLD,  # noqa: ARG005
            passed="world calls port 8080 of the host, and web sees it with its own address",
            failed=f"world called {OURS}, port 8080: {{said}}; whom web saw: {{seen}}",
            look_at=f'labkit.trace("{OURS}", from_="world", tcp=8080); {RULES}',
            points=2,
            within=0.5,
            hints=[
                "Two rules: one leads the call to web, and one lets the rewritten packet through.",
                "FORWARD sees the packet after it was rewritten: which address and port has it there?",
                "And the answers: they pass FORWARD, too.",
            ],
        ),
        Check(
            "host-calls",
            evidence=calls("host", OURS, 8080),
            verdict=lambda said, seen: seen != "nobody",  # noqa: ARG005
            passed="the host calls its own port 8080, and web answers",
            failed=f"the host called {OURS}, port 8080: {{said}}",
            look_at=f'labkit.trace("{OURS}", tcp=8080); {RULES}',
            after=["world-calls"],
            within=0.5,
            hints=["What the host sends itself does not meet PREROUTING.", "Which hook does it meet first?"],
        ),
        Check(
            "web-calls-itself",
            evidence=calls("web", "172.17.0.1", 8080),
            verdict=lambda said, seen: seen == "172.17.0.1" and said == seen,
            passed="web calls its own published port, and sees the host call",
            failed="web called 172.17.0.1, port 8080: {said}; whom its server saw: {seen}",
            look_at=f'labkit.trace("172.17.0.1", from_="web", tcp=8080); {RULES}',
            points=2,
            after=["world-calls"],
            within=0.5,
            hints=[
                "The packet comes from docker0 and goes back there: does FORWARD let it?",
                "Whom would web answer, if the source stayed as it is?",
            ],
        ),
        Check(
            "web-goes-out",
            evidence=outward,
            verdict=lambda said: said == OURS,
            passed=f"web calls world, which sees {OURS}",
            failed="web called world, which should answer with the address that it sees: {said}",
            look_at=f'labkit.trace("{WORLD}", from_="web"); {RULES}',
            within=0.5,
            hints=["Whose address has to stand in what leaves the host?", "At the very end of its way: POSTROUTING."],
        ),
        Check(
            "no-other-port",
            evidence=calls("world", "172.17.0.2", 81, 81),
            verdict=lambda said, seen: seen == "nobody",  # noqa: ARG005
            passed="web's other ports are closed to world",
            failed="world called 172.17.0.2, port 81, which is not published: {said}",
            look_at=RULES,
            points=2,
            after=["world-calls", "web-goes-out"],
            must_not=True,
            hints=["Which packets does FORWARD accept towards docker0?", "One address, one protocol, one port."],
        ),
    ],
    faults=[
        Fault(
            "no rule for the host's own packets",
            replace=typed(PREROUTING, ANSWERS, FROM, INTO, OUT, ROUND),
            red=["host-calls"],
        ),
        Fault("no way round", replace=typed(DNAT, ANSWERS, FROM, INTO, OUT), red=["web-calls-itself"]),
        Fault(
            "FORWARD knows the port that was called",
            replace=typed(DNAT, ANSWERS, FROM, INTO.replace("--dport 80 ", "--dport 8080 "), OUT, ROUND),
            red=["world-calls"],
        ),
        Fault(
            "everything masqueraded",
            replace=typed(DNAT, ANSWERS, FROM, INTO, "!iptables -t nat -A POSTROUTING -j MASQUERADE"),
            red=["world-calls"],
        ),
        Fault("the way out forgotten", replace=typed(DNAT, ANSWERS, FROM, INTO, ROUND), red=["web-goes-out"]),
        Fault(
            "the policy opened",
            replace=typed(DNAT, OUT, ROUND, "!iptables -P FORWARD ACCEPT"),
            red=["no-other-port"],
        ),
    ],
)
