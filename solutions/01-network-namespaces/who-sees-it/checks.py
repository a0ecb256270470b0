"""Five pings, to addresses that more than one namespace has: which interface sees them, and which are answered?"""

import random
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, answered, mark, reaches
from labkit.errors import NotFound

DICE = random.Random(4)  # the notebook's dice fall as these do
ONE, TWO, THREE = DICE.sample(("amber", "green", "violet"), 3)
OWN = f"10.0.0.{DICE.randrange(20, 200)}"
PINGS = {
    "a": (ONE, "10.0.0.1"),
    "b": (TWO, "10.0.0.1"),
    "c": (THREE, "10.0.0.1"),
    "d": (THREE, OWN),
    "e": ("host", "127.0.0.1"),
}
COLUMNS = ("where", "src", "dst")
TOLD = {"wrong": "is not right", "empty": "is not filled in", "extra": "is of an interface that did not see it"}


def rows(look: Look, name: str) -> list[Any]:
    """Return the learner's rows for a ping, of our columns. Raises NotFound where it is no list."""
    given = look.answer(name)
    if not isinstance(given, list):
        raise NotFound(f"the answer '{name}' is no list of rows")
    return [{field: row.get(field) for field in COLUMNS} if isinstance(row, dict) else row for row in given]


def seen(look: Look, name: str) -> dict[str, Any]:
    """Send the ping, follow it, and mark the rows by it."""
    source, to = PINGS[name]
    given, trace = rows(look, name), look.trace(to, source)
    cells = mark(given, trace).cells
    wrong = [f"row {cell.hop}, {cell.field} {TOLD[cell.verdict]}" for cell in cells if cell.verdict in TOLD]
    missing = any(cell.verdict == "missing" for cell in cells) or (not given and trace.request)
    told = [*wrong, "an interface that saw it has no row"] if missing else wrong
    return {"right": not told, "wrong": "; ".join(told)}


def unseen(look: Look, name: str) -> dict[str, Any]:
    """Send the ping, and see that no interface has seen it."""
    source, to = PINGS[name]
    given, trace = rows(look, name), look.trace(to, source)
    came_by = ", ".join(hop.where for hop in trace.request)
    if came_by:
        return {"observed": f"{came_by} saw it: something is not as the exercise began"}
    filled = [str(row["where"]) for row in given if isinstance(row, dict) and row["where"]]
    if filled:
        return {"observed": f"{filled[0]} did not see it"}
    return {"observed": "there is a row, and it is not filled in" if given else ""}


def is_seen(name: str, *hints: str) -> Check:
    source, to = PINGS[name]
    return Check(
        f"ping-{name}",
        evidence=lambda look: seen(look, name),
        verdict=lambda right, wrong: right,  # noqa: ARG005  the sentence wants it
        passed=f"{source} pings {to}: every cell is right",
        failed=f"{source} pings {to}: {{wrong}}",
        look_at=f'labkit.trace("{to}", from_="{source}")',
        points=2,
        hints=hints,
    )


def is_not_seen(name: str, *hints: str) -> Check:
    source, to = PINGS[name]
    return Check(
        f"ping-{name}",
        evidence=lambda look: unseen(look, name),
        verdict=lambda observed: not observed,
        passed=f"{source} pings {to}: no interface sees it, as you say",
        failed=f"{source} pings {to}: {{observed}}",
        look_at=f"ip -n {source} -br address; ip -n {source} route",
        control=reaches(THREE, OWN),
        must_not=True,
        hints=hints,
    )


def truth(look: Look) -> list[str]:
    return [name for name, (source, to) in PINGS.items() if look.ping(source, to).answered]


def row(where: str, src: str, dst: str) -> list[dict[str, str]]:
    return [{"where": where, "src": src, "dst": dst}]


RIGHT: dict[str, list[dict[str, str]]] = {
    "a": row(f"{ONE}/lo", "10.0.0.1", "10.0.0.1"),
    "b": [],
    "c": [],
    "d": row(f"{THREE}/lo", OWN, OWN),
    "e": row("host/lo", "127.0.0.1", "127.0.0.1"),
}
ANSWERS = "[labkit.answer(name, rows) for name, rows in seen.items()]"


def predicted(extra: str = "", **other: list[dict[str, str]]) -> dict[str, str]:
    """The cell of a learner who predicts right, but for some pings."""
    return {"seen": f"{extra}seen = {RIGHT | other}\n{ANSWERS}"}


exercise = Exercise(
    "01-network-namespaces/who-sees-it",
    title="Who sees it?",
    checks=[
        is_seen(
            "a",
            "Three namespaces, three `lo`. Whose is 10.0.0.1, when this one asks?",
            "By which interface does a namespace talk to itself? The chapter traced it.",
            "The source is the address that an answer should come back to.",
        ),
        is_not_seen(
            "b",
            "The same ping as before, in another namespace. What was done to that one since it was built?",
            "By which interface would it go? Is that one up?",
        ),
        is_not_seen(
            "c",
            "Two other namespaces have that address. Does this one know of them?",
            "A packet is made only when there is a route for it.",
        ),
        is_seen(
            "d",
            "The address is on one link, of one namespace.",
            "Nothing says that `lo` sends from 127.0.0.1. Look at what the chapter's traces have before the `>`.",
        ),
        is_seen(
            "e",
            "Every namespace has a 127.0.0.1, and `host` is a namespace like the others.",
            "Write it as host/INTERFACE.",
        ),
        answered(
            "answered",
            truth,
            look_at="labkit.ping(...) for each of the five; ip netns exec NAMESPACE iptables -S INPUT",
            hints=[
                "What nobody sees is not answered. And is everything answered that is seen?",
                "A firewall is a namespace's own. In which of them was a rule made?",
            ],
        ),
    ],
    faults=[
        Fault(
            "an address is found wherever it is",
            predicted(c=row(f"{ONE}/br0", OWN, "10.0.0.1")),
            red=["ping-c"],
        ),
        Fault(
            "the interface with the address sees it",
            predicted(a=row(f"{ONE}/br0", "10.0.0.1", "10.0.0.1"), b=row(f"{TWO}/br0", "10.0.0.1", "10.0.0.1")),
            red=["ping-a", "ping-b"],
        ),
        Fault(
            "lo sends from 127.0.0.1",
            predicted(a=row(f"{ONE}/lo", "127.0.0.1", "10.0.0.1"), d=row(f"{THREE}/lo", "127.0.0.1", OWN)),
            red=["ping-a", "ping-d"],
        ),
        Fault("one lo for all", predicted(d=row("host/lo", OWN, OWN)), red=["ping-d"]),
        Fault("host hears nothing of its own", predicted(e=[]), red=["ping-e"]),
        Fault("lo switched on, to try", predicted(f"!ip -n {TWO} link set lo up\n"), red=["ping-b", "answered"]),
        Fault(
            "what is seen is answered",
            replace={"answered": 'labkit.answer("answered", ["a", "d", "e"])'},
            red=["answered"],
        ),
    ],
)
