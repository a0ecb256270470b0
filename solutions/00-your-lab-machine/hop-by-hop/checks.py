"""One ping and its answer: what is in the frame at each interface that it passes, and which frame never sets out?"""

import random
from collections.abc import Iterable
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, reaches, table
from labkit.tracing.records import Leg

ADDRESSES = {"red": "10.0.0.2", "blue": "10.0.0.3", "green": "10.0.0.4"}
DICE = random.Random(9)  # the notebook's dice fall as these do
SENDER, RECEIVER, BYSTANDER = DICE.sample(tuple(ADDRESSES), 3)
TTL = DICE.randrange(20, 60)
NOBODY = "10.0.0.99"

WORDS = {"interfaces": "the interfaces are", "macs": "the MACs are", "ttl": "the TTL is"}


def filled(leg: Leg, part: str, columns: tuple[str, ...], points: int, *hints: str) -> Check:
    """A part of a table is right: the interfaces first, the other columns after them."""
    option = "" if leg == "request" else ', leg="answer"'
    return table(
        leg,
        lambda look: look.trace(ADDRESSES[RECEIVER], SENDER, ttl=TTL),
        columns,
        leg=leg,
        what=WORDS[part],
        name=f"{leg}-{part}",
        look_at=f"labkit.mark({leg}, lab.trace(receiver, from_=sender, ttl=ttl){option})",
        points=points,
        after=[] if part == "interfaces" else [f"{leg}-interfaces"],
        hints=hints,
    )


def sent_to_nobody(look: Look) -> dict[str, Any]:
    """Ping the address that nobody has, and see where an echo request comes by."""
    given = look.answer("sent_to_nobody")
    seen = [hop.where for hop in look.trace(NOBODY, SENDER).request]
    if not isinstance(given, list):
        return {"observed": f"{given!r} is no list of interfaces"}
    if seen:
        return {"observed": f"somebody has {NOBODY} now, and echo requests to it came by at {', '.join(seen)}"}
    return {"observed": f"{NOBODY} was pinged, and no echo request came by at {given[0]}" if given else ""}


MACS = ("where", "src_mac", "dst_mac")
HOPS = (f"{SENDER}/eth0", f"host/veth-{SENDER}", f"host/veth-{RECEIVER}", f"{RECEIVER}/eth0")


def rows(hops: Iterable[str], source: str, target: str, ttl: str) -> str:
    """The code of a table, its MACs and TTL given as Python."""
    return (
        f'[{{"where": hop, "src_mac": {source}, "dst_mac": {target}, "ttl": {ttl}}} '
        f"for number, hop in enumerate({list(hops)})]"
    )


def said(leg: Leg, hops: Iterable[str] = (), source: str = "", target: str = "", ttl: str = "") -> dict[str, str]:
    """The cell of a learner who fills a table in like this; what is not given is right."""
    way, ends, start = (
        (HOPS, (SENDER, RECEIVER), str(TTL)) if leg == "request" else (HOPS[::-1], (RECEIVER, SENDER), "64")
    )
    macs = [f'lab.mac("{name}")' for name in ends]
    code = rows(hops or way, source or macs[0], target or macs[1], ttl or start)
    return {leg: f'{leg} = {code}\nlabkit.answer("{leg}", {leg})'}


OF_BRIDGE = 'labkit.snapshot()["host"].link("br0").address'
OF_CABLES = "labkit.snapshot()[hop.split('/')[0]].link(hop.split('/')[1]).address"
BY_BRIDGE = [*HOPS[:2], "host/br0", *HOPS[2:]]

exercise = Exercise(
    "00-your-lab-machine/hop-by-hop",
    title="Hop by hop",
    checks=[
        filled(
            "request",
            "interfaces",
            ("where",),
            1,
            "A cable has two ends, and each of them sees the frame. The picture has their names.",
            "A row's `where` is the box, a slash, and the interface in it, as in host/veth-red.",
            "From port to port, a bridge is not an interface on the way. How many are left?",
        ),
        filled(
            "request",
            "macs",
            MACS,
            2,
            "Two MACs in four rows. What did the bridge of the chapter change in a frame?",
            "The ends of the cables at the bridge have MACs, too. Are they in any frame of this ping?",
        ),
        filled(
            "request",
            "ttl",
            ("where", "ttl"),
            1,
            "The task says which TTL the sender writes.",
            "Which of the interfaces on this way changes it? The chapter had this marked.",
        ),
        filled(
            "answer",
            "interfaces",
            ("where",),
            1,
            "The first row is where the answer sets out.",
            "It goes back by the same two cables.",
        ),
        filled(
            "answer",
            "macs",
            MACS,
            1,
            "Who sends this frame, and to whom?",
            "Each `dst_mac` of the request is somebody's `src_mac` now.",
        ),
        filled(
            "answer",
            "ttl",
            ("where", "ttl"),
            1,
            "The answer is a packet of its own. Who wrote its TTL?",
            "Nobody told the receiver to use another TTL than it always uses. lab.ping(...) shows an answer's TTL.",
        ),
        Check(
            "sent-to-nobody",
            evidence=sent_to_nobody,
            verdict=lambda observed: not observed,
            passed=f"no interface saw an echo request to {NOBODY}",
            failed="{observed}",
            look_at=f'lab.capture("{SENDER}/eth0") while {SENDER} pings {NOBODY}: what is sent?',
            after=["request-interfaces"],
            control=reaches(SENDER, ADDRESSES[RECEIVER]),
            must_not=True,
            hints=[
                "Before a first ping there is a question. What is written into the frame if nobody answers it?",
                "Which kinds of frames are in the capture, ARP or ICMP? The task asks for one kind only.",
                "A list may have any length.",
            ],
        ),
    ],
    faults=[
        Fault(
            "every end of a cable writes its own MAC",
            replace={**said("request", source=OF_CABLES), **said("answer", target=OF_CABLES)},
            red=["request-macs", "answer-macs"],
        ),
        Fault("the frame is addressed to the bridge", said("request", target=OF_BRIDGE), red=["request-macs"]),
        Fault(
            "every interface takes one off the TTL",
            replace={**said("request", ttl=f"{TTL} - number"), **said("answer", ttl="64 - number")},
            red=["request-ttl", "answer-ttl"],
        ),
        Fault("the answer has the TTL of the request", said("answer", ttl=str(TTL)), red=["answer-ttl"]),
        Fault(
            "the bridge is a stop on the way",
            replace={**said("request", BY_BRIDGE), **said("answer", BY_BRIDGE[::-1])},
            red=["request-interfaces", "answer-interfaces"],
        ),
        Fault("the answer begins where the request did", said("answer", HOPS), red=["answer-interfaces"]),
        Fault(
            "the answer has the MACs of the request",
            replace=said("answer", source="lab.mac(sender)", target="lab.mac(receiver)"),
            red=["answer-macs"],
        ),
        Fault(
            "the request sets out, and is lost later",
            replace={"nobody": f'labkit.answer("sent_to_nobody", {list(HOPS[:2])})'},
            red=["sent-to-nobody"],
        ),
        Fault(
            "somebody was given the address",
            replace={
                "nobody": f'labkit.run("{BYSTANDER}", "ip address add {NOBODY}/24 dev eth0")\n'
                'labkit.answer("sent_to_nobody", [])'
            },
            red=["sent-to-nobody"],
        ),
    ],
)
