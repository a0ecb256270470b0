"""From the two tuples of a connection to the packets at every interface, there and back."""

import random
from contextlib import ExitStack, suppress
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, reaches, table
from labkit.errors import Refused
from labkit.packets import connect, serve
from labkit.tracing import Trace
from labkit.tracing.records import Leg

ADDRESS = {"red": "10.0.0.2", "blue": "10.0.0.3"}
DICE = random.Random(12)  # the notebook's dice fall as these do
BACKEND, NEIGHBOUR = DICE.sample(tuple(ADDRESS), 2)
PUBLISHED, PORT = DICE.randrange(8000, 9000), DICE.randrange(3000, 4000)
ROUTER = "203.0.113.1"


def call(look: Look) -> Trace:
    """Follow a call of world's to the published port."""
    return look.trace(ROUTER, "world", tcp=PUBLISHED)


def filled(leg: Leg, part: str, columns: tuple[str, ...], *hints: str, points: int = 2) -> Check:
    """A part of a table is right: the interfaces first, addresses and ports after them."""
    option = "" if leg == "request" else ', leg="answer"'
    return table(
        leg,
        call,
        columns,
        leg=leg,
        what=f"the {part} are",
        name=f"{leg}-{part.split()[0]}",
        look_at=f"labkit.mark({leg}, trace{option}); ip netns exec router conntrack -L",
        points=points,
        after=[] if part == "interfaces" else [f"{leg}-interfaces"],
        hints=hints,
    )


def neighbour(look: Look) -> dict[str, Any]:
    """Let the neighbour call the second service on the bridge."""
    look.links(NEIGHBOUR)
    with serve(BACKEND, PORT + 1, reply="hello"):
        return {"call": connect(NEIGHBOUR, ADDRESS[BACKEND], PORT + 1, data="?", timeout=0.5)}


def first_service(look: Look) -> dict[str, Any]:
    """Let the neighbour call the first service, which the notebook serves, or else this check."""
    look.links(NEIGHBOUR)
    with ExitStack() as stack:
        with suppress(Refused):  # the port is in use
            stack.enter_context(serve(BACKEND, PORT, reply="hello"))
        return {"call": connect(NEIGHBOUR, ADDRESS[BACKEND], PORT, data="?", timeout=0.5)}


def by_the_router(look: Look) -> dict[str, Any]:
    """Let world call the second published port."""
    look.links("world")
    with serve(BACKEND, PORT + 1, reply="hello"):
        return {"call": connect("world", ROUTER, PUBLISHED + 1, data="?", timeout=0.5)}


def only(source: str) -> dict[str, str]:
    """The cell of a learner who lets this source in, and no other."""
    return {"filter": f"!ip netns exec {{backend}} iptables -A INPUT -p tcp --dport {{port + 1}} {source} -j REJECT"}


BEHIND = ["router/eth0", "host/veth-router", f"host/veth-{BACKEND}", f"{BACKEND}/eth0"]
BEFORE = ["world/eth0", "router/eth1"]


def said(leg: Leg, ends: list[dict[str, Any]], places: list[list[str]]) -> dict[str, str]:
    """The cell of a learner who has these ends before and behind the router."""
    rows = [{"where": where} | end for end, group in zip(ends, places, strict=True) for where in group]
    behind = f"behind = {BEHIND}\n" if leg == "request" else ""
    return {leg: f'{behind}{leg} = {rows}\nlabkit.answer("{leg}", {leg})'}


OUTSIDE = {"src": "203.0.113.2", "dst": ROUTER, "dport": PUBLISHED}
INSIDE = {"src": "10.0.0.1", "dst": ADDRESS[BACKEND], "dport": PORT}
BACK_INSIDE = {"src": ADDRESS[BACKEND], "sport": PORT, "dst": "10.0.0.1"}
BACK_OUTSIDE = {"src": ROUTER, "sport": PUBLISHED, "dst": "203.0.113.2"}

exercise = Exercise(
    "05-filtering-nat-conntrack/two-tuples",
    title="Whose entry is it?",
    checks=[
        filled(
            "request", "interfaces", ("where",), "Follow the cables of the picture.", "A bridge has ports.", points=1
        ),
        filled(
            "request",
            "addresses and ports",
            ("where", "src", "dst", "dport"),
            "The first tuple is how the packet set out. From where on does it look otherwise?",
            "The second tuple is how an answer will look. Turn it round: that is what the backend is sent.",
        ),
        filled("answer", "interfaces", ("where",), "The same way back.", "The other way round.", points=1),
        filled(
            "answer",
            "addresses and ports",
            ("where", "src", "dst", "sport"),
            "Whom does the backend answer: whom it saw. Look at the second tuple.",
            "Whom did world call, and would it take an answer from anybody else?",
        ),
        Check(
            "the-neighbour-is-kept-out",
            evidence=neighbour,
            verdict=lambda call: not call.ok,
            passed="the neighbour is not served",
            failed="the neighbour called the second service, past the router: {call}",
            look_at=f"ip netns exec {BACKEND} iptables -nvL INPUT",
            control=reaches(NEIGHBOUR, ADDRESS[BACKEND]),
            must_not=True,
            hints=["In which namespace is your rule, and at which hook?", "Which source does the neighbour have?"],
        ),
        Check(
            "world-is-served",
            evidence=by_the_router,
            verdict=lambda call: call.ok,
            passed="world is served by way of the router",
            failed="world called the second published port: {call}",
            look_at=f'lab.trace("{ROUTER}", from_="world", tcp=published + 1): how does it come in?',
            after=["the-neighbour-is-kept-out"],
            hints=[
                "The backend's rule sees the packet as it arrives. Look at the last row of your first table.",
                "Who rewrote the source, and into what?",
            ],
        ),
        Check(
            "the-first-service-stays",
            evidence=first_service,
            verdict=lambda call: call.ok,
            passed="the first service is as it was",
            failed="the neighbour called the first service, as it may: {call}",
            look_at=f"ip netns exec {BACKEND} iptables -nvL INPUT",
            after=["the-neighbour-is-kept-out"],
            hints=["Which packets is your rule about: all of the neighbour's, or those for one port?"],
        ),
    ],
    faults=[
        Fault(
            "only the destination changes",
            replace=said("request", [OUTSIDE, INSIDE | {"src": "203.0.113.2"}], [BEFORE, BEHIND])
            | said("answer", [BACK_INSIDE | {"dst": "203.0.113.2"}, BACK_OUTSIDE], [BEHIND[::-1], BEFORE[::-1]]),
            red=["request-addresses", "answer-addresses"],
        ),
        Fault(
            "it changes as it comes in",
            replace=said("request", [OUTSIDE, INSIDE], [BEFORE[:1], [*BEFORE[1:], *BEHIND]]),
            red=["request-addresses"],
        ),
        Fault(
            "the answer keeps the backend's port",
            replace=said("answer", [BACK_INSIDE, BACK_OUTSIDE | {"sport": PORT}], [BEHIND[::-1], BEFORE[::-1]]),
            red=["answer-addresses"],
        ),
        Fault(
            "no bridge on the way",
            replace=said("request", [OUTSIDE, INSIDE], [BEFORE, [BEHIND[0], BEHIND[-1]]])
            | said("answer", [BACK_INSIDE, BACK_OUTSIDE], [[BEHIND[-1], BEHIND[0]], BEFORE[::-1]]),
            red=["request-interfaces", "answer-interfaces"],
        ),
        Fault("world's own address let in", replace=only("! -s 203.0.113.2"), red=["world-is-served"]),
        Fault(
            "the neighbour refused everywhere",
            replace={"filter": "!ip netns exec {backend} iptables -A INPUT -p tcp -s {lab.ip(neighbour)} -j REJECT"},
            red=["the-first-service-stays"],
        ),
        Fault("everybody refused", replace=only(""), red=["world-is-served"]),
        Fault(
            "the router filters",
            replace={
                "filter": "!ip netns exec router iptables -A FORWARD -p tcp --dport {port + 1} ! -s 203.0.113.2 -j DROP"
            },
            red=["the-neighbour-is-kept-out"],
        ),
    ],
)
