"""What is in a packet at both ends of a cable, which packet is too large for whom, and who gets no answer?"""

import random
from ipaddress import ip_address
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, Marked, reaches, table
from labkit.errors import NotFound
from labkit.tracing.records import Leg

NUMBERS = {"red": 2, "blue": 3, "green": 4}
DICE = random.Random(2)  # the notebook's dice fall as these do
FIRST, SECOND, THIRD = DICE.sample(tuple(NUMBERS), 3)
SERVICE = f"203.0.113.{DICE.randrange(20, 200)}"
SIZES = {"a": 1212, "b": 1240, "c": 1480}  # of the second cable's ends, one takes 1240 bytes and the other 1500

LEGS: dict[str, Leg] = {"request": "request", "reply": "answer"}
WORDS = {
    "interfaces": "the interfaces are",
    "next-hops": "the next hops are",
    "macs": "the MACs are",
    "addresses": "the addresses are",
}


def not_an_address(marked: Marked) -> list[str]:
    """Which next hops are right, but not given as an IP address."""
    found = [
        cell for cell in marked.cells if cell.field == "next_hop" and cell.verdict == "ok" and cell.given != "none"
    ]
    return [f"in row {cell.hop}, next_hop is no IP address: {cell.given}" for cell in found if not is_ip(cell.given)]


def is_ip(text: str) -> bool:
    """Whether it is an IP address."""
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def filled(name: str, part: str, columns: tuple[str, ...], *hints: str) -> Check:
    """A part of a table is right: the interfaces first, the other columns after them."""
    option = "" if name == "request" else ', leg="answer"'
    return table(
        name,
        lambda look: look.trace(SERVICE, FIRST),
        columns,
        leg=LEGS[name],
        what=WORDS[part],
        also=not_an_address,
        name=f"{name}-{part}",
        look_at=f"labkit.mark({name}, lab.trace(service, from_=first){option})",
        after=[] if part == "interfaces" else [f"{name}-interfaces"],
        hints=hints,
    )


def is_seen(name: str, what: str, **more: Any) -> Check:
    """The learner names whom the large ping reaches."""
    return Check(
        f"ping-{name}",
        evidence=lambda look: large(look, name),
        verdict=lambda observed: not observed,
        passed=f"ping {name}: {what}, as you say",
        failed=f"ping {name}: {{observed}}",
        look_at=f'labkit.trace(service, from_=second, size=sizes["{name}"], df=True)',
        **more,
    )


def places(look: Look, name: str) -> list[Any]:
    """Return a list of interfaces that the learner gave. Raises NotFound where it is none."""
    given = look.answer(name)
    if not isinstance(given, list):
        raise NotFound(f"the answer '{name}' is no list of interfaces")
    return given


def large(look: Look, name: str) -> dict[str, Any]:
    """Send one of the large pings, and compare who saw the request with whom the learner names."""
    given = {str(place).strip() for place in places(look, name)}
    seen = {hop.where for hop in look.trace(SERVICE, SECOND, size=SIZES[name], df=True).request}
    told = [f"it was not seen at {', '.join(sorted(given - seen))}"] if given - seen else []
    if name == "c" and seen:
        told = [f"it was seen at {', '.join(sorted(seen))}: something is not as the exercise began"]
    elif seen - given:
        told.append("an interface that saw it is not in your list")
    return {"observed": "; ".join(told)}


def never_answered(look: Look) -> dict[str, Any]:
    """Let the third container ping, and see that the request arrives and no interface sees a reply."""
    given = places(look, "reply_seen")
    trace = look.trace(SERVICE, THIRD)
    if not trace.delivered or trace.answer:
        told = "was answered" if trace.answer else "did not arrive"
        return {"observed": f"the request {told}: something is not as the exercise began"}
    return {"observed": f"no reply was seen at {', '.join(map(str, given))}" if given else ""}


HOPS = (f"{FIRST}/eth0", f"host/veth-{FIRST}")
OWN = f"10.0.0.{NUMBERS[FIRST]}"
INSIDE, OUTSIDE = "lab.mac(first)", 'labkit.snapshot()["host"].link(f"veth-{first}").address'
REQUEST = {
    "hops": str(HOPS), "next_hop": '["10.0.0.1", "none", "none"][number]', "src_mac": INSIDE, "dst_mac": OUTSIDE,
    "src": repr(OWN), "dst": "service",
}  # fmt: skip
REPLY = {
    "hops": str(HOPS[::-1]), "next_hop": f'["{OWN}", "none", "none"][number]', "src_mac": OUTSIDE, "dst_mac": INSIDE,
    "src": "service", "dst": repr(OWN),
}  # fmt: skip


def said(name: str, **other: str) -> dict[str, str]:
    """The cell of a learner who fills a table in like this, in Python; what is not given is right."""
    code = (REQUEST if name == "request" else REPLY) | other
    cells = ", ".join(f'"{column}": {text}' for column, text in code.items() if column != "hops")
    return {
        name: f'{name} = [{{"where": hop, {cells}}} for number, hop in enumerate({code["hops"]})]\n'
        f'labkit.answer("{name}", {name})'
    }


BOTH, ONE = [f"{SECOND}/eth0", f"host/veth-{SECOND}"], [f"{SECOND}/eth0"]
ANSWERS = "[labkit.answer(name, places) for name, places in seen.items()]"


def guessed(**other: list[str]) -> dict[str, str]:
    """The cell of a learner who says this of the large pings; what is not given is right."""
    right = {"a": BOTH, "b": ONE, "c": []}
    return {"large": f"seen = {right | other}\n{ANSWERS}"}


SUM = "The size is that of the ping's data. What is added before it is a packet?"

exercise = Exercise(
    "02-veth-pairs/end-to-end",
    title="End to end",
    checks=[
        filled(
            "request",
            "interfaces",
            ("where",),
            "A cable has two ends. Which of them does the packet reach first?",
            "An address on `lo` is the namespace's own. Does a packet for it come in by `lo`?",
        ),
        filled(
            "request",
            "next-hops",
            ("where", "next_hop"),
            "`ip -n NAMESPACE route get ADDRESS` says by which route a packet goes, and `via` whom.",
            "Once the packet is where it belongs, there is no next hop.",
        ),
        filled(
            "request",
            "macs",
            ("where", "src_mac", "dst_mac"),
            "Two MACs: that of the sending interface, and that of the next hop.",
            "For whose MAC does the sender ask by ARP: the destination's, or the gateway's? Which interface answers?",
        ),
        filled(
            "request",
            "addresses",
            ("where", "src", "dst"),
            "The addresses say from whom to whom, and not by whom.",
            "What did the cables of the chapter change in a packet?",
        ),
        filled(
            "reply",
            "interfaces",
            ("where",),
            "The first row is where the reply sets out.",
            "It goes back by the same cable.",
        ),
        filled(
            "reply",
            "next-hops",
            ("where", "next_hop"),
            "Which route does the host have to this container? Has it a `via`?",
            "A destination that needs no gateway is its own next hop.",
        ),
        filled(
            "reply",
            "macs",
            ("where", "src_mac", "dst_mac"),
            "Who sends this frame, and to whom?",
            "Each `dst_mac` of the request is somebody's `src_mac` now.",
        ),
        filled(
            "reply",
            "addresses",
            ("where", "src", "dst"),
            "A reply comes from the address that was asked, whichever interface it leaves by.",
            "The container waits for an answer from the address that it pinged.",
        ),
        is_seen("a", "both ends see it", hints=[SUM, "Compare the sum with the MTU at either end."]),
        is_seen(
            "b",
            "it leaves, and does not arrive",
            hints=[
                SUM,
                "Whose MTU is too small: that of the end that sends, or that of the other? Who drops it, then?",
            ],
        ),
        is_seen(
            "c",
            "no interface sees it",
            control=reaches(SECOND, SERVICE, ping={"size": SIZES["a"], "df": True}),
            must_not=True,
            hints=[SUM, "Compare the sum with the MTU of the sender's own end first.", "A list may have any length."],
        ),
        Check(
            "no-reply",
            evidence=never_answered,
            verdict=lambda observed: not observed,
            passed=f"{THIRD} pings {SERVICE}: no interface sees a reply, as you say",
            failed=f"{THIRD} pings {SERVICE}: {{observed}}",
            look_at="ip route; labkit.trace(service, from_=third)",
            control=reaches(FIRST, SERVICE),
            must_not=True,
            hints=[
                "The request arrives. By which route would the reply go?",
                "The host has /32 addresses too: no route comes with them.",
            ],
        ),
    ],
    faults=[
        Fault(
            "the destination is the next hop",
            said("request", next_hop='[service, "none"][number]'),
            red=["request-next-hops"],
        ),
        Fault(
            "a next hop by its name", said("request", next_hop='["host", "none"][number]'), red=["request-next-hops"]
        ),
        Fault(
            "the reply goes by the gateway, too",
            said("reply", next_hop='["10.0.0.1", "none"][number]'),
            red=["reply-next-hops"],
        ),
        Fault("the packet goes on to lo", said("request", hops=str((*HOPS, "host/lo"))), red=["request-interfaces"]),
        Fault("the reply comes from lo", said("reply", hops=str(("host/lo", *HOPS[::-1]))), red=["reply-interfaces"]),
        Fault(
            "each end writes its own MAC",
            {**said("request", src_mac=f"[{INSIDE}, {OUTSIDE}][number]"), **said("reply", dst_mac=OUTSIDE)},
            red=["request-macs", "reply-macs"],
        ),
        Fault(
            "the packet is for the gateway, and the reply from it",
            {**said("request", dst="'10.0.0.1'"), **said("reply", src="'10.0.0.1'")},
            red=["request-addresses", "reply-addresses"],
        ),
        Fault("only the sender's own end counts", guessed(b=BOTH), red=["ping-b"]),
        Fault("headers are not counted", guessed(b=BOTH, c=ONE), red=["ping-b", "ping-c"]),
        Fault("what is as large as the MTU is too large", guessed(a=ONE), red=["ping-a"]),
        Fault(
            "the reply is lost on the way",
            {"silence": f'labkit.answer("reply_seen", ["host/veth-{THIRD}"])'},
            red=["no-reply"],
        ),
        Fault(
            "the way back was mended",
            {
                "silence": f'labkit.run("host", "ip route replace 10.0.0.{NUMBERS[THIRD]}/32 dev veth-{THIRD}")\n'
                'labkit.answer("reply_seen", [])'
            },
            red=["no-reply"],
        ),
        Fault(
            "a larger MTU at both ends",
            {
                "silence": f'labkit.run("host", "ip link set veth-{SECOND} mtu 9000")\n'
                f'labkit.run("{SECOND}", "ip link set eth0 mtu 9000")\nlabkit.answer("reply_seen", [])'
            },
            red=["ping-b", "ping-c"],
        ),
    ],
)
