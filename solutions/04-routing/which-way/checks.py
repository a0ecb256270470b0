"""Prefixes, metrics, rules and tables: by which way does each of four pings go, how far, and back by which?"""

import random
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, reaches, table
from labkit.errors import NotFound
from labkit.tracing import Trace

DICE = random.Random(6)  # the notebook's dice fall as these do
FIRST, SECOND = DICE.sample(["10.1.0.1", "10.2.0.1"], 2)
PINGS = {name: f"10.9.{third}.1" for name, third in zip("abcd", DICE.sample(range(1, 9), 4), strict=True)}
ROUTERS = {"10.1.0.1": ("left", 0), "10.2.0.1": ("right", 1)}


def followed(look: Look, name: str) -> Trace:
    """Follow a ping. Raises NotFound where the last one comes to blue after all."""
    trace = look.trace(PINGS[name], "red")
    if name == "d" and any(hop.namespace == "blue" for hop in trace.request):
        raise NotFound("ping d: it was seen at blue: something is not as the exercise began")
    return trace


def places(name: str, *hints: str, **more: Any) -> Check:
    """The interfaces on the way of a ping are right."""
    return filled(name, "interfaces", "the interfaces are", ("where",), *hints, **more)


def headers(name: str, *hints: str) -> Check:
    """The source address and the TTL on the way of a ping are right."""
    columns = ("where", "src", "ttl")
    return filled(name, "headers", "source and TTL are", columns, *hints, after=[f"{name}-interfaces"])


def filled(name: str, part: str, what: str, columns: tuple[str, ...], *hints: str, **more: Any) -> Check:
    """A part of a table is right: the interfaces first, the headers after them."""
    return table(
        name,
        lambda look: followed(look, name),
        columns,
        what=what,
        called=f"ping {name}",
        name=f"{name}-{part}",
        look_at=f'labkit.mark(way["{name}"], lab.trace(pings["{name}"], from_="red"))',
        hints=hints,
        **more,
    )


def by(hop: str, count: int = 4, *, src: str = "", ttls: tuple[int, ...] = (64, 64, 63, 63)) -> list[dict[str, Any]]:
    """The rows of a way by this next hop, as far as its first `count` interfaces."""
    router, leg = ROUTERS[hop]
    way = [f"red/eth{leg}", f"{router}/eth0", f"{router}/eth1", f"blue/eth{leg}"][:count]
    source = src or f"10.{leg + 1}.0.2"
    return [{"where": where, "src": source, "ttl": ttl} for where, ttl in zip(way, ttls, strict=False)]


def said(**other: list[dict[str, Any]]) -> dict[str, str]:
    """The cell of a learner who predicts these ways; what is not given is right."""
    way = {"a": by(SECOND), "b": by(SECOND), "c": by(FIRST), "d": by(SECOND, 2)} | other
    return {"way": f"way = {way}\n[labkit.answer(name, rows) for name, rows in way.items()]"}


def back(*interfaces: str) -> dict[str, str]:
    """The cell of a learner who says that the answer comes back by these."""
    return {"answer": f'labkit.answer("answer_a", {[{"where": where} for where in interfaces]})'}


LONGER = by(SECOND, ttls=(64, 63, 62, 61))
exercise = Exercise(
    "04-routing/which-way",
    title="Which way?",
    checks=[
        places(
            "a",
            "Two routes fit. Which of them has the longer prefix?",
            "A metric compares routes to the same prefix only.",
        ),
        headers(
            "a",
            "Which address does red have on the link by which it sends?",
            "Who takes one off the TTL: who sends it, who passes it on, or who gets it?",
        ),
        places("b", "Two routes to the same prefix: what decides?", "Is the better metric the larger or the smaller?"),
        headers("b", "`ip route get` shows the source that goes with a route."),
        places(
            "c",
            "The table main has a /32 for it. But which table is asked first?",
            "The rules are tried in the order of their numbers, and main's is 32766.",
        ),
        headers("c", "The source goes with the route that was chosen, from whatever table."),
        places(
            "d",
            "A rule leads to table 200. Has that table a route for it?",
            "A table without an answer passes the question on to the next rule.",
            "And the router on its way: which of its routes is the longest that fits?",
            control=reaches("red", PINGS["a"]),
            must_not=True,
        ),
        headers("d", "A router that drops a packet does not pass it on. Did it touch the TTL?"),
        table(
            "answer_a",
            lambda look: look.trace(PINGS["a"], "red"),
            leg="answer",
            called="the answer to ping a",
            look_at='labkit.mark(answer_a, lab.trace(pings["a"], from_="red"), leg="answer")',
            name="answer-interfaces",
            hints=[
                "Which address does the answer go to: which source did ping a have? And which route has blue to it?",
                "The router on its way has a route to that network, too. By which of its links?",
            ],
        ),
    ],
    faults=[
        Fault("the metric before the prefix", said(a=by(FIRST)), red=["a-interfaces"]),
        Fault("the larger metric wins", said(b=by(FIRST)), red=["b-interfaces"]),
        Fault("the longest prefix of all tables", said(c=by(SECOND)), red=["c-interfaces"]),
        Fault("a rule's table has the last word", said(d=[]), red=["d-interfaces"]),
        Fault("the blackhole is not seen", said(d=by(SECOND)), red=["d-interfaces"]),
        Fault("no table 200, so the default", said(d=by(FIRST, 2)), red=["d-interfaces"]),
        Fault(
            "one source for all",
            said(a=by(SECOND, src="10.1.0.2"), b=by(SECOND, src="10.1.0.2"), d=by(SECOND, 2, src="10.1.0.2")),
            red=["a-headers", "b-headers", "d-headers"],
        ),
        Fault("each cable takes one off the TTL", said(a=LONGER, b=LONGER), red=["a-headers", "b-headers"]),
        Fault("who drops it takes one off", said(d=by(SECOND, 2, ttls=(64, 63))), red=["d-headers"]),
        Fault("the source of main's route", said(c=by(FIRST, src="10.2.0.2")), red=["c-headers"]),
        Fault(
            "the answer comes by the way of the request",
            back("blue/eth1", "right/eth1", "right/eth0", "red/eth1"),
            red=["answer-interfaces"],
        ),
        Fault(
            "each network by its own router",
            back("blue/eth0", "left/eth1", "left/eth0", "red/eth1"),
            red=["answer-interfaces"],
        ),
        Fault(
            "let through after all",
            {
                "answer": back("blue/eth0", "left/eth1", "left/eth0", "red/eth0")["answer"]
                + '\nlabkit.run(other, f"ip route delete blackhole {d[:-1]}0/25")'
            },
            red=["d-interfaces"],
        ),
    ],
)
