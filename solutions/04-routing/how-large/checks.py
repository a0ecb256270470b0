"""Path MTU: who gives up which ping, what is remembered, and a route that knows the path's MTU from the outset."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, reaches
from labkit.errors import NotFound
from labkit.packets import ping

BLUE, NEIGHBOUR = "10.3.0.2", "10.1.0.1"
PINGS = {
    "a": (1472, True), "b": (1472, True), "c": (1372, True), "d": (1273, True), "e": (1272, True), "f": (1472, False),
}  # fmt: skip
ROUTERS = {"10.1.0.1": "one", "10.2.0.2": "two"}
ASIDE = "ip route add 10.3.0.0/24 via 10.1.0.1 table 77; ip rule add priority 1 lookup 77; ip route flush cache"
BACK = "ip rule delete priority 1; ip route flush table 77; ip route flush cache"


def played(look: Look) -> dict[str, dict[str, Any]]:
    """Send the six pings in order from a red that remembers nothing, by the routes and MTUs of the outset."""
    mtu = look.link("red", "eth0").mtu
    look.run("red", f"ip link set eth0 mtu 1500; {ASIDE}")
    try:
        return {name: one(look, size, df) for name, (size, df) in PINGS.items()}
    finally:
        look.run("red", f"{BACK}; ip link set eth0 mtu {mtu}")


def one(look: Look, size: int, df: bool) -> dict[str, Any]:
    """What becomes of one ping."""
    with look.capture("red/eth0", filter="src 10.1.0.2") as frames:
        sent = ping("red", BLUE, size=size, df=df, timeout=0.5)
    error = sent.error or ""
    by = "nobody" if sent.answered else ROUTERS.get(error.rpartition("from ")[2], "red")
    mtu = error.partition("MTU ")[2].partition(",")[0]
    return {
        "by": by,
        "mtu": mtu or "none",
        "frames": len([frame for frame in frames if " ICMP" in frame.summary() or " fragment" in frame.summary()]),
    }


def wrong(look: Look, column: str, names: str) -> dict[str, Any]:
    """In which rows a column of the learner's table is not what happens now."""
    given = look.answer("table")
    if not isinstance(given, dict) or not all(isinstance(given.get(name), dict) for name in names):
        raise NotFound(f"the answer 'table' has no row for each of: {', '.join(names)}")
    empty = [name for name in names if not str(given[name].get(column, "")).strip()]
    if empty:
        return {"observed": f"not filled in, row {', '.join(empty)}"}
    truth = played(look)
    bad = [name for name in names if str(given[name].get(column)).strip().lower() != str(truth[name][column])]
    return {"observed": f"not right in row {', '.join(bad)}" if bad else ""}


def column(name: str, what: str, names: str = "abcdef", *, of: str = "", **more: Any) -> Check:
    """A column of the table is right in these rows."""
    return Check(
        of or name,
        evidence=lambda look: wrong(look, name, names),
        verdict=lambda observed: not observed,
        passed=f"{what}: right in every row",
        failed=f"{what}: {{observed}}",
        look_at='labkit.run("red", "ip route flush cache"), then the six pings in order, with a capture at red/eth0',
        **more,
    )


def too_large(look: Look) -> dict[str, Any]:
    """What red sends to blue that is larger than the path takes, and who complains."""
    look.run("red", "ip route flush cache")
    with look.capture("red/eth0") as frames:
        ping("red", BLUE, size=1472, timeout=0.5)
        for to in (BLUE, "10.3.0.77"):  # another of blue's network, whether it is there or not
            ping("red", to, size=1273, df=True, timeout=0.3)
    large = [frame.length - 14 for frame in frames if frame.direction == "out" and frame.length > 1314]
    told = [f"a packet of {max(large)} bytes left red"] if large else []
    return {"observed": "; ".join(told + [str(frame.error) for frame in frames if frame.error])}


def spared(mend: str) -> dict[str, str]:
    """The cell of a learner who mends it so."""
    return {"spare": f"!{mend}"}


def table(**rows: tuple[Any, Any, Any]) -> dict[str, str]:
    """The cell of a learner who fills the table in like this; what is not given is right."""
    right: dict[str, tuple[Any, Any, Any]] = {
        "a": ("one", 1400, 1), "b": ("red", 1400, 0), "c": ("two", 1300, 1), "d": ("red", 1300, 0),
        "e": ("nobody", "none", 1), "f": ("nobody", "none", 2),
    }  # fmt: skip
    given = {name: dict(zip(("by", "mtu", "frames"), row, strict=True)) for name, row in (right | rows).items()}
    return {"table": f'labkit.answer("table", {given})'}


SMALL = {"size": 1272, "df": True}
exercise = Exercise(
    "04-routing/how-large",
    title="How large?",
    checks=[
        column(
            "by",
            "who gives it up",
            points=2,
            hints=[
                "The data, 8 bytes of ICMP and 20 of IPv4: how large is each packet, and which cable does it not fit?",
                "What does red know after an error, and what does it do the next time?",
            ],
        ),
        column(
            "mtu",
            "the MTU that is told",
            hints=["A router knows its own next cable, and no other.", "red tells the MTU that it remembers."],
        ),
        column(
            "frames",
            "the frames of a, c and e",
            "ace",
            of="frames-sent",
            hints=["What a router gives up has come to the router.", "A capture at red/eth0 counts them."],
        ),
        column(
            "frames",
            "the frames of b and d",
            "bd",
            of="frames-not-sent",
            control=reaches("red", BLUE, ping=SMALL),
            must_not=True,
            hints=["Who gives these up? Then where do they get to?", "A number may be 0."],
        ),
        column(
            "frames",
            "the frames of f",
            "f",
            of="fragments",
            hints=[
                "Without DF a sender may cut its own packet, and it remembers how small.",
                "Each part has an IP header of its own; the parts' data is a multiple of 8 bytes, but for the last.",
            ],
        ),
        Check(
            "the-neighbour-still-gets-1500",
            evidence=lambda look: {
                "ping": look.ping("red", NEIGHBOUR, size=1472, df=True),
                "stated": any(route.mtu for route in look.routes("red")),
            },
            verdict=lambda ping, stated: ping.answered and stated,
            passed="1,500 bytes pass to the neighbour, and a route of red's states an MTU",
            failed="to the neighbour, with 1,472 bytes of data: {ping}; a route that states an MTU: {stated}",
            look_at="ip -n red route; ip -n red link show eth0",
            hints=[
                "A link's MTU is for all that goes by it; a route's, for its destinations only.",
                "`ip route replace`",
            ],
        ),
        reaches(
            "red",
            BLUE,
            name="the-largest-passes",
            ping=SMALL,
            look_at="ip -n red route get 10.3.0.2",
            after=["the-neighbour-still-gets-1500"],
            hints=["An MTU counts the IP header, and what a ping's data come with."],
        ),
        Check(
            "nothing-too-large",
            evidence=too_large,
            verdict=lambda observed: not observed,
            passed="nothing too large leaves red for blue, and nobody complains",
            failed="{observed}",
            look_at="ip -n red route get 10.3.0.2; a capture at red/eth0",
            points=2,
            after=["the-neighbour-still-gets-1500"],
            control=reaches("red", BLUE, ping=SMALL),
            must_not=True,
            hints=["Which is the smallest of the three MTUs?", "It is a route's option: for which destinations?"],
        ),
    ],
    faults=[
        Fault(
            "headers are not counted",
            table(d=("nobody", "none", 1), c=("nobody", "none", 1)),
            red=["by", "mtu", "frames-not-sent"],
        ),
        Fault("nothing is remembered", table(b=("one", 1400, 1), d=("two", 1300, 1)), red=["by", "frames-not-sent"]),
        Fault("the first router knows the path", table(a=("one", 1300, 1)), red=["mtu"]),
        Fault("what is given up did not leave", table(a=("one", 1400, 0), c=("two", 1300, 0)), red=["frames-sent"]),
        Fault("a router cuts it", table(f=("nobody", "none", 1)), red=["fragments"]),
        Fault(
            "the link's MTU",
            spared("ip -n red link set eth0 mtu 1300"),
            red=["the-neighbour-still-gets-1500"],
        ),
        Fault(
            "not the smallest",
            spared("ip -n red route replace default via 10.1.0.1 mtu 1400; ip -n red route flush cache"),
            red=["nothing-too-large"],
        ),
        Fault(
            "without its headers",
            spared("ip -n red route replace default via 10.1.0.1 mtu 1272; ip -n red route flush cache"),
            red=["the-largest-passes"],
        ),
        Fault(
            "for one address of the network",
            spared("ip -n red route add 10.3.0.2 via 10.1.0.1 mtu 1300"),
            red=["nothing-too-large"],
        ),
        Fault(
            "for another destination",
            spared("ip -n red route add 10.2.0.0/24 via 10.1.0.1 mtu 1300"),
            red=["nothing-too-large"],
        ),
    ],
)
