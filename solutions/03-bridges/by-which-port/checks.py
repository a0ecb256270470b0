"""How far does a ping get, and by which port, when neighbour entries and FDB entries were written by somebody?"""

import random
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, answered, reaches, table
from labkit.errors import NotFound
from labkit.tracing import Trace

NUMBERS = {"red": 2, "blue": 3, "green": 4, "amber": 5, "white": 6}
ADDRESS = {name: f"10.0.0.{number}" for name, number in NUMBERS.items()}
DICE = random.Random(5)  # the notebook's dice fall as these do
SENDER, FRIEND, ONE, TWO, THREE = DICE.sample(tuple(NUMBERS), 5)
PINGS = {"a": "10.0.0.1", "b": ADDRESS[ONE], "c": ADDRESS[TWO], "d": ADDRESS[THREE]}


def followed(look: Look, name: str) -> Trace:
    """Follow a ping. Raises NotFound where the last one is heard after all."""
    trace = look.trace(PINGS[name], SENDER)
    if name == "d" and (
        heard := ", ".join(hop.where for hop in trace if hop.leg == "request" and hop.namespace == THREE)
    ):
        raise NotFound(f"ping d: it was seen at {heard}: something is not as the exercise began")
    return trace


def ports(name: str, *hints: str, **more: Any) -> Check:
    """The interfaces on the way of a ping are right."""
    return filled(name, "ports", "the interfaces are", ("where",), *hints, **more)


def macs(name: str, *hints: str) -> Check:
    """The MACs on the way of a ping are right."""
    return filled(name, "macs", "the MACs are", ("where", "dst_mac"), *hints, after=[f"{name}-ports"])


def filled(name: str, part: str, what: str, columns: tuple[str, ...], *hints: str, **more: Any) -> Check:
    """A part of a table is right: the interfaces first, the MACs after them."""
    return table(
        name,
        lambda look: followed(look, name),
        columns,
        what=what,
        called=f"ping {name}",
        name=f"{name}-{part}",
        look_at=f'labkit.mark(way["{name}"], lab.trace(pings["{name}"], from_=sender))',
        hints=hints,
        **more,
    )


def truth(look: Look) -> list[str]:
    """Return which pings are answered."""
    return [name for name, to in PINGS.items() if look.ping(SENDER, to, timeout=0.3)]


def flooded(look: Look) -> dict[str, Any]:
    """Let the bridge forget, ping the friend, and compare who got a copy with whom the learner names."""
    given = look.answer("copies")
    if not isinstance(given, list):
        raise NotFound("the answer 'copies' is no list of names")
    look.run("host", "ip link set br0 type bridge fdb_flush")
    trace = look.trace(ADDRESS[FRIEND], SENDER)
    seen = {hop.namespace for hop in trace if hop.copy and hop.direction == "in"}
    if THREE in seen:
        return {"observed": f"{THREE} got a copy: something is not as the exercise began"}
    named = {str(name).strip() for name in given}
    strange = named - seen - {FRIEND}
    told = [f"{FRIEND} is whom it is for: who else gets it?"] if FRIEND in named else []
    told += [f"no copy was seen at {', '.join(sorted(strange))}"] if strange else []
    told += ["somebody who got a copy is not in your list"] if seen - named else []
    return {"observed": "; ".join(told)}


OUT = [f"{SENDER}/eth0", f"host/veth-{SENDER}"]
WAY = {
    "a": [*OUT, "host/br0"],
    "b": [*OUT, f"host/veth-{FRIEND}", f"{FRIEND}/eth0"],
    "c": [*OUT, f"host/veth-{ONE}", f"{ONE}/eth0"],
    "d": OUT,
}
MAC = {"a": 1, "b": NUMBERS[FRIEND], "c": NUMBERS[TWO], "d": NUMBERS[THREE]}


def said(*, macs: dict[str, int] | None = None, **other: list[str]) -> dict[str, str]:
    """The cell of a learner who predicts these ways and MACs; what is not given is right."""
    code = {
        name: [{"where": where, "dst_mac": f"02:00:00:00:00:0{(MAC | (macs or {}))[name]}"} for where in places]
        for name, places in (WAY | other).items()
    }
    return {"way": f"way = {code}\n[labkit.answer(name, rows) for name, rows in way.items()]"}


def copied(*names: str, before: str = "") -> dict[str, str]:
    """The cell of a learner who says that these get a copy."""
    return {"copies": f'{before}labkit.answer("copies", {list(names)})'}


exercise = Exercise(
    "03-bridges/by-which-port",
    title="By which port?",
    checks=[
        ports(
            "a",
            "The bridge joins its ports. By which interface is the host itself plugged in?",
            "A frame that goes to the host leaves by no other port. Where does it end, then?",
        ),
        macs("a", "The sender asked by ARP for the address that it pings. Whose is it?", "The picture has br0's MAC."),
        ports(
            "b",
            "A bridge reads MACs, not IP addresses. Which MAC does the sender write into the frame?",
            "In the sender's neighbour table, look at the line of the address that it pings.",
            "Whose MAC is that? Behind which port does that one live?",
        ),
        macs(
            "b",
            "The sender does not ask by ARP for what is written in its neighbour table.",
            "Does a bridge change MACs?",
        ),
        ports(
            "c",
            "The sender finds the right MAC: the question is for everybody. But where does the bridge send the frame?",
            "Look for that MAC in the FDB. Which port stands beside it, and what does `sticky` mean?",
        ),
        macs(
            "c",
            "Does the sender know anything of the bridge's tables?",
            "The MAC is what ARP found. Who answers the question, and does a bridge change the MAC?",
        ),
        ports(
            "d",
            "MAC and FDB entry are right here. What else does a bridge look at before it sends a frame out by a port?",
            "Which two ports are isolated, and what does that mean between them?",
            "The last interface that sees the frame is the one where it comes to the bridge.",
            control=reaches(SENDER, ADDRESS[FRIEND]),
            must_not=True,
        ),
        macs(
            "d", "Nobody gets the frame. What is written in it, all the same?", "Look at the sender's neighbour table."
        ),
        answered(
            "answered",
            truth,
            look_at="lab.ping(sender, ...) for each of the four",
            hints=[
                "Who answers a packet whose MAC is its own, and whose IP address is not?",
                "Who takes a frame that is for another MAC?",
            ],
        ),
        Check(
            "copies",
            evidence=flooded,
            verdict=lambda observed: not observed,
            passed="copies: those that you name get one, and nobody else",
            failed="copies: {observed}",
            look_at="ip link set br0 type bridge fdb_flush; lab.trace(address[friend], from_=sender)",
            points=2,
            control=reaches(SENDER, ADDRESS[FRIEND]),
            must_not=True,
            hints=[
                "To a MAC that it does not know, the bridge floods: to all ports but the one that the frame came from.",
                "All ports? Look once more at what ping d showed.",
                "The host hears what goes to the bridge's own MAC, and to everybody. Is this such a frame?",
            ],
        ),
    ],
    faults=[
        Fault(
            "a bridge goes by the IP address",
            said(b=[*OUT, f"host/veth-{ONE}", f"{ONE}/eth0"], c=[*OUT, f"host/veth-{TWO}", f"{TWO}/eth0"]),
            red=["b-ports", "c-ports"],
        ),
        Fault("the MAC is always that of the address", said(macs={"b": NUMBERS[ONE]}), red=["b-macs"]),
        Fault("the bridge writes its own MAC", said(macs=dict.fromkeys("abcd", 1)), red=["b-macs", "c-macs", "d-macs"]),
        Fault("the frame is for the one who gets it", said(macs={"c": NUMBERS[ONE]}), red=["c-macs"]),
        Fault("to the host goes the port's MAC", said(macs={"a": NUMBERS[SENDER]}), red=["a-macs"]),
        Fault("the host is reached at its port", said(a=OUT), red=["a-ports"]),
        Fault(
            "br0 is on every way",
            said(b=[*OUT, "host/br0", *WAY["b"][2:]], c=[*OUT, "host/br0", *WAY["c"][2:]], d=[*OUT, "host/br0"]),
            red=["b-ports", "c-ports", "d-ports"],
        ),
        Fault("isolated ports hear each other", said(d=[*OUT, f"host/veth-{THREE}", f"{THREE}/eth0"]), red=["d-ports"]),
        Fault(
            "what arrives is answered",
            {"answered": 'labkit.answer("answered", ["a", "b", "c"])'},
            red=["answered"],
        ),
        Fault("flooded to all ports", copied(ONE, TWO, THREE), red=["copies"]),
        Fault("the host gets one, too", copied(ONE, TWO, "host"), red=["copies"]),
        Fault("nobody else", copied(), red=["copies"]),
        Fault(
            "let in after all",
            copied(ONE, TWO, before=f'labkit.run("host", "bridge link set dev veth-{THREE} isolated off")\n'),
            red=["d-ports", "answered", "copies"],
        ),
    ],
)
