"""Read ICMP errors: the routers on the way, the narrow link, and what is the matter with four destinations."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, answered, reaches
from labkit.errors import NotFound

CAPTURE = "errors: who sends each, what it says, and which packet stands in its brackets"
NAMES = ("x", "y", "z")


def signs(look: Look, name: str) -> str:
    """The address by which a router signs: that of its link towards red."""
    return look.addresses(name, "eth0")[0].partition("/")[0]


def with_route(look: Look, kind: str) -> str:
    """The address of the router that has a route of this type."""
    return next(signs(look, name) for name in NAMES if any(route.type == kind for route in look.routes(name)))


def narrow(look: Look) -> tuple[str, int]:
    """The router before the narrowest link, and that link's MTU."""
    links = [(look.link(name, "eth1").mtu, name) for name in NAMES]
    mtu, name = min(links)
    return signs(look, name), mtu


def looping(look: Look) -> str:
    """Where the TTL of a packet in the loop runs out: 64 hops from red, which x and y take in turn."""
    error = look.ping("red", "10.5.0.9").error or ""
    if "time to live exceeded" not in error:
        raise NotFound("to 10.5.0.9: there is no loop now: something is not as the exercise began")
    return error.rpartition(" ")[2]


def destination(third: int, who: str, what: str, truth: Any, *hints: str) -> Check:
    """The learner says who answers for a destination, and what is the matter with it."""

    def evidence(look: Look) -> dict[str, Any]:
        given = look.answer(f"to_{third}")
        if not isinstance(given, list) or len(given) != 2:
            raise NotFound(f"the answer 'to_{third}' is no pair of an address and a word")
        if not all(str(one).strip() for one in given):
            return {"observed": "not filled in"}
        told = [f"the sender is not {given[0]}"] if str(given[0]).strip() != truth(look) else []
        told += [f"the matter is not '{given[1]}'"] if str(given[1]).strip().lower() != what else []
        return {"observed": "; ".join(told)}

    return Check(
        f"to-{third}",
        evidence=evidence,
        verdict=lambda observed: not observed,
        passed=f"10.{third}.0.9: {who}",
        failed=f"10.{third}.0.9: {{observed}}",
        look_at=CAPTURE,
        hints=hints,
    )


def silent(look: Look) -> dict[str, Any]:
    """Send to the silent destination once more, and compare with what the learner says."""
    given = look.answer("to_8")
    ping = look.ping("red", "10.8.0.9", timeout=0.3)
    if ping.answered or "from" in (ping.error or ""):
        return {"observed": f"{ping}: something is not as the exercise began"}
    if isinstance(given, list) and not all(str(one).strip() for one in given):
        return {"observed": "not filled in"}
    right = isinstance(given, list) and [str(one).strip().lower() for one in given] == ["nobody", "silence"]
    return {"observed": "" if right else f"you say {given}"}


def said(cell: str, **answers: Any) -> dict[str, str]:
    """The cell of a learner who answers this."""
    return {cell: "\n".join(f'labkit.answer("{name}", {value})' for name, value in answers.items())}


X, Y, Z = (f"lab.topology.container('{name}').interfaces[0].address.partition('/')[0]" for name in NAMES)
exercise = Exercise(
    "04-routing/errors-from-afar",
    title="Errors from afar",
    checks=[
        answered(
            "routers",
            lambda look: [signs(look, name) for name in NAMES],
            look_at=CAPTURE,
            points=2,
            hints=[
                "The port of each of the first five packets says its TTL.",
                "Who lets a TTL run out is a router. Who says 'port unreachable' is not.",
            ],
        ),
        Check(
            "in-order",
            evidence=lambda look: {"right": look.answer("routers") == [signs(look, name) for name in NAMES]},
            verdict=lambda right: right,
            passed="the nearest router first",
            failed="the routers are not in the order in which a packet meets them",
            look_at=CAPTURE,
            after=["routers"],
            hints=["Whose TTL ran out earlier: that of TTL 1, or that of TTL 2?"],
        ),
        answered(
            "mtu",
            lambda look: narrow(look)[1],
            look_at=CAPTURE,
            hints=["One error tells a number of bytes.", "The MTU is of the packet, with its IP header."],
        ),
        answered(
            "before_it",
            lambda look: narrow(look)[0],
            look_at=CAPTURE,
            hints=["Who finds that a packet is too large: who receives it, or who has to send it on?"],
        ),
        destination(
            5,
            "it goes round until its TTL is used up",
            "loop",
            looping,
            "Its TTL was 64. How can it be used up so near?",
            "The error's sender is who had it when the TTL ran out.",
        ),
        destination(
            6,
            "a router is told not to pass it on",
            "forbidden",
            lambda look: with_route(look, "prohibit"),
            "Which errors did the routes send that lead nowhere?",
        ),
        destination(
            7,
            "a router on its way has no route for it",
            "no route",
            lambda look: signs(look, "z"),
            "A whole network is unreachable, says somebody. Who?",
            "Who sends it on has a route for it. Who says so has none.",
        ),
        Check(
            "to-8",
            evidence=silent,
            verdict=lambda observed: not observed,
            passed="10.8.0.9: nobody says anything, now as then",
            failed="10.8.0.9: {observed}",
            look_at=CAPTURE,
            control=reaches("red", "far"),
            must_not=True,
            hints=["Is there an error that is about it?", "Eleven packets, and how many errors?"],
        ),
    ],
    faults=[
        Fault(
            "the host is a router, too",
            said("routers", routers=f"[{X}, {Y}, {Z}, last]"),
            red=["routers"],
        ),
        Fault("by their other side", said("routers", routers=f"[back, {Y}, {Z}]"), red=["routers"]),
        Fault("the farthest first", said("routers", routers=f"[{Z}, {Y}, {X}]"), red=["in-order"]),
        Fault("the largest ping", said("narrow", mtu="small - 28", before_it=Y), red=["mtu"]),
        Fault("who could not receive it", said("narrow", mtu="small", before_it=Z), red=["before-it"]),
        Fault(
            "the errors are about each other",
            said(
                "four",
                to_5=f"[{Y}, 'forbidden']",
                to_6=f"[{X}, 'loop']",
                to_7=f"[{Z}, 'no route']",
                to_8="['nobody', 'silence']",
            ),
            red=["to-5", "to-6"],
        ),
        Fault(
            "who sent it on, and who swallowed it",
            said(
                "four",
                to_5=f"[{Y}, 'loop']",
                to_6=f"[{Y}, 'forbidden']",
                to_7=f"[{Y}, 'no route']",
                to_8=f"[{X}, 'silence']",
            ),
            red=["to-7", "to-8"],
        ),
        Fault(
            "no route, and nobody says so",
            said(
                "four",
                to_5=f"[{Y}, 'loop']",
                to_6=f"[{Y}, 'forbidden']",
                to_7=f"[{Z}, 'silence']",
                to_8="['nobody', 'no route']",
            ),
            red=["to-7", "to-8"],
        ),
    ],
)
