"""A stale DNAT: a rule that stands in the way, an entry that outlives the rule, and an entry that must stay."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look
from labkit.packets import Connection, connect, serve

ROUTER, WORLD = "203.0.113.1", "203.0.113.2"
RULES = "ip netns exec router iptables -t nat -nvL PREROUTING: which rule counts?"
ENTRIES = "ip netns exec router conntrack -L -p udp"


def ask(look: Look, service: int, port: int = 0) -> dict[str, Any]:
    """Let world call a service of the router, from a port; both who may answer listen."""
    look.links("router")
    with serve("red", service, udp=True, reply="red"), serve("green", service, udp=True, reply="green"):
        call = connect("world", ROUTER, service, udp=True, data="?", source=(WORLD, port), timeout=0.4)
    return {"said": said(call)}


def said(call: Connection) -> str:
    """Who answered, or why nobody did."""
    return call.text if call.ok else call.error or ""


DELETE = "!ip netns exec router conntrack -D -p udp --orig-port-dst 53 >/dev/null 2>&1"
OLD = "!ip netns exec router iptables -t nat -D PREROUTING -i eth1 -p udp --dport 53 -j DNAT --to-destination 10.0.0.3"
AGAIN = (
    "!ip netns exec router iptables -t nat -A PREROUTING -i eth1 -p udp --dport 53 -j DNAT --to-destination 10.0.0.2"
)


def typed(*commands: str) -> dict[str, str]:
    """The cell of a learner who types these commands."""
    return {"mend": "\n".join(commands)}


exercise = Exercise(
    "05-filtering-nat-conntrack/old-backend",
    title="The old backend",
    checks=[
        Check(
            "new-callers",
            evidence=lambda look: ask(look, 53),
            verdict=lambda said: said == "red",
            passed="a new caller for names is answered by red",
            failed="a new caller, from a port that nobody used before, asked for a name: {said}",
            look_at=RULES,
            hints=[
                "A new caller has no entry: the rules decide. Which rule is the first that takes its packet?",
                "A rule that was added last comes last. What stands before it?",
            ],
        ),
        Check(
            "the-resolver",
            evidence=lambda look: ask(look, 53, 4000),
            verdict=lambda said: said == "red",
            passed="the resolver on port 4000 is answered by red",
            failed="the resolver asked from port 4000, as ever: {said}",
            look_at=ENTRIES,
            points=2,
            after=["new-callers"],
            hints=[
                "New callers are well, this one is not. What does the router have of this one alone?",
                "Whose answers does its entry wait for? An entry can be deleted.",
                "Entries made while a wrong rule stood are wrong as well.",
            ],
        ),
        Check(
            "the-player-stays",
            evidence=lambda look: ask(look, 6000, 4001),
            verdict=lambda said: said == "green",
            passed="the player on port 4001 is not moved",
            failed="the player on port 4001 was in green; its next packet was answered by: {said}",
            look_at=ENTRIES,
            points=2,
            after=["new-callers"],
            must_not=True,
            hints=[
                "Which entries did you delete? All connections live in one table.",
                "`conntrack -D` takes what an entry looks like: protocol, ports. Run the notebook again first.",
            ],
        ),
        Check(
            "new-players",
            evidence=lambda look: ask(look, 6000),
            verdict=lambda said: said == "red",
            passed="a new player begins in red",
            failed="a new player called port 6000: {said}",
            look_at=RULES,
            after=["new-callers"],
            hints=["The rule for the game was right. Is it still there?", "Run the notebook again, and change less."],
        ),
    ],
    faults=[
        Fault("only the rule", replace=typed(OLD), red=["the-resolver"]),
        Fault("only the entry", replace=typed(DELETE), red=["new-callers"]),
        Fault(
            "the entry first, the rule after it",
            replace=typed(DELETE, "print(ask(53, 4000))", OLD),
            red=["the-resolver"],
        ),
        Fault("the new rule once more", replace=typed(AGAIN, DELETE), red=["new-callers"]),
        Fault(
            "all connections forgotten",
            replace=typed(OLD, "!ip netns exec router conntrack -F 2>/dev/null"),
            red=["the-player-stays"],
        ),
        Fault(
            "all of UDP forgotten",
            replace=typed(OLD, "!ip netns exec router conntrack -D -p udp >/dev/null 2>&1"),
            red=["the-player-stays"],
        ),
        Fault(
            "all rules anew",
            replace=typed("!ip netns exec router iptables -t nat -F PREROUTING", AGAIN, DELETE),
            red=["new-players"],
        ),
    ],
)
