"""A server with two uplinks: the table that is asked depends on the source, so that each answer leaves where it may."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, reaches
from labkit.packets import ping

WORLD = "10.9.0.1"
BY_LEFT, BY_RIGHT = (
    'net.route.add("default", via="10.1.0.1", namespace="red")\n',
    'net.route.add("default", via="10.2.0.1", {}namespace="red")\n',
)
OTHER_TABLE = BY_RIGHT.format("table=100, ")


def back(look: Look, to: str) -> dict[str, Any]:
    """By which router the answer from one of red's addresses goes."""
    hops = look.trace(to, "blue").answer
    return {"by": ", ".join(sorted({hop.namespace for hop in hops} - {"red", "blue"})) or "none"}


def own(look: Look) -> dict[str, Any]:
    """By which router red's own packets to the world go."""
    hops = look.trace(WORLD, "red").request
    return {"by": ", ".join(sorted({hop.namespace for hop in hops} - {"red", "blue"})) or "none"}


def at_left(look: Look) -> dict[str, int]:
    """What left hears with the source 10.2.0.2, while blue calls that address and red sends from it."""

    def both() -> None:
        look.ping("blue", "10.2.0.2", timeout=0.2)
        ping("red", WORLD, source="10.2.0.2", timeout=0.2)

    return {"packets": look.heard("left/eth0", filter="src 10.2.0.2", during=both)["left/eth0"]}


RULES = "ip -n red rule; ip -n red route show table all"
exercise = Exercise(
    "04-routing/two-doors",
    title="Two doors",
    checks=[
        reaches(
            "blue",
            "10.1.0.2",
            look_at=RULES,
            hints=["The question arrives. Which route has red to the world?", "A default route is for everybody."],
        ),
        reaches(
            "blue",
            "10.2.0.2",
            look_at=RULES,
            points=2,
            hints=[
                "Both questions come from the same address. So where to, the answers do not differ. In what do they?",
                "A rule chooses a table by the source. What must be in that table?",
            ],
        ),
        Check(
            "each-by-its-door",
            evidence=lambda look: {"first": back(look, "10.1.0.2")["by"], "second": back(look, "10.2.0.2")["by"]},
            verdict=lambda first, second: (first, second) == ("left", "right"),
            passed="answers from 10.1.0.2 leave by {first}, those from 10.2.0.2 by {second}",
            failed="answers from 10.1.0.2 leave by: {first}; those from 10.2.0.2 by: {second}",
            look_at='lab.trace("10.2.0.2", from_="blue")',
            after=["blue-reaches-10.1.0.2", "blue-reaches-10.2.0.2"],
            hints=[
                "A trace names the rule and the table at each hop.",
                "The providers' settings are not yours to change.",
            ],
        ),
        Check(
            "own-by-left",
            evidence=own,
            verdict=lambda by: by == "left",
            passed="what red sends by itself goes by {by}",
            failed="what red sends by itself goes by: {by}",
            look_at=f"ip -n red route get {WORLD}",
            hints=["Before a packet has a source, which table is asked?", "The main table's default is for those."],
        ),
        Check(
            "nothing-strange-at-left",
            evidence=at_left,
            verdict=lambda packets: packets == 0,
            passed="left gets no packet with the source 10.2.0.2",
            failed="packets with the source 10.2.0.2 that came to left: {packets}",
            look_at=f"ip -n red route get {WORLD} from 10.2.0.2",
            control=reaches("blue", "10.2.0.2"),
            must_not=True,
            hints=[
                "Is the rule for all that has this source, or for some destinations only?",
                "What does a table pass on to the next rule: what it has no route for.",
            ],
        ),
    ],
    faults=[
        Fault("one door for all", {"build2": BY_LEFT}, red=["blue-reaches-10.2.0.2"]),
        Fault("the other door for all", {"build2": BY_RIGHT.format("")}, red=["blue-reaches-10.1.0.2", "own-by-left"]),
        Fault(
            "by destination",
            {"build2": BY_LEFT + OTHER_TABLE + 'net.rule.add(100, to="10.9.0.0/16", table=100, namespace="red")'},
            red=["blue-reaches-10.1.0.2", "own-by-left"],
        ),
        Fault(
            "nothing in the table",
            {"build2": BY_LEFT + 'net.rule.add(100, from_="10.2.0.2", table=100, namespace="red")'},
            red=["blue-reaches-10.2.0.2"],
        ),
        Fault(
            "after main",
            {"build2": BY_LEFT + OTHER_TABLE + 'net.rule.add(33000, from_="10.2.0.2", table=100, namespace="red")'},
            red=["blue-reaches-10.2.0.2"],
        ),
        Fault(
            "the better metric",
            {"build2": BY_RIGHT.format("metric=20, ") + BY_LEFT.replace("namespace", "metric=10, namespace")},
            red=["blue-reaches-10.2.0.2"],
        ),
        Fault(
            "no other table for what is sent by itself",
            {
                "build2": OTHER_TABLE + 'net.rule.add(100, from_="10.2.0.2", table=100, namespace="red")\n'
                'net.route.add("default", via="10.1.0.1", table=200, namespace="red")\n'
                'net.rule.add(200, from_="10.1.0.2", table=200, namespace="red")'
            },
            red=["own-by-left"],
        ),
        Fault(
            "the providers look away",
            {
                "build2": BY_LEFT + 'for name in ("left", "right"):\n'
                '    net.sysctl.set("net.ipv4.conf.eth0.rp_filter", 0, namespace=name)'
            },
            red=["each-by-its-door", "nothing-strange-at-left"],
        ),
    ],
)
