"""A published port that nobody gets an answer from: a rule too many, and a route too few."""

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


TRACE = f'labkit.trace("{OURS}", from_="world", tcp=8080)'
RULE = "!iptables -D DOCKER-USER -i veth-world -p tcp -m multiport --dports 80:89 -j DROP"
ROUTE = "!ip -n web route add default via 172.17.0.1"

exercise = Exercise(
    "06-docker-by-hand/published-and-dead",
    title="The port is published",
    checks=[
        Check(
            "world-is-answered",
            evidence=calls("world", OURS, 8080),
            verdict=lambda said, seen: said in (WORLD, seen),
            passed="world calls port 8080 of the host, and web answers",
            failed=f"world called {OURS}, port 8080: {{said}}; whom web saw: {{seen}}",
            look_at=TRACE,
            points=2,
            within=0.5,
            hints=[
                "How far does the call come? The trace names what stopped it.",
                "Two things are broken: mend the first, and follow the call again.",
                "Which way do the answers take?",
            ],
        ),
        Check(
            "web-sees-the-caller",
            evidence=calls("world", OURS, 8080),
            verdict=lambda said, seen: seen == WORLD,  # noqa: ARG005
            passed="web sees who called",
            failed=f"world came from {WORLD}, and web saw: {{seen}}",
            look_at="iptables -t nat -S POSTROUTING; ip -n web route",
            after=["world-is-answered"],
            hints=["Which rule changes a source?", "What does web lack, to answer world itself?"],
        ),
        Check(
            "9090-stays-closed",
            evidence=calls("world", OURS, 9090, 90),
            verdict=lambda said, seen: seen == "nobody",  # noqa: ARG005
            passed="port 9090 is closed to world",
            failed=f"world called {OURS}, port 9090, and came through: {{said}}",
            look_at="iptables -S DOCKER-USER",
            points=3,
            after=["world-is-answered"],
            must_not=True,
            hints=["Which rule was there on purpose?", "Run the first cell again to start over."],
        ),
    ],
    faults=[
        Fault("the rule alone", replace={"mend": RULE}, red=["world-is-answered"]),
        Fault("the route alone", replace={"mend": ROUTE}, red=["world-is-answered"]),
        Fault(
            "all of the users' rules gone",
            replace={"mend": f"!iptables -F DOCKER-USER\n{ROUTE}"},
            red=["9090-stays-closed"],
        ),
        Fault(
            "masquerade in place of a route",
            replace={"mend": f"{RULE}\n!iptables -t nat -A POSTROUTING -o docker0 -j MASQUERADE"},
            red=["web-sees-the-caller"],
        ),
    ],
)
