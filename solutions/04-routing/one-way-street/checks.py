"""An asymmetric path that strict reverse path filtering cuts: loosen it on one interface, and no further."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, answered, reaches

RED, BLUE = "10.1.0.2", "10.3.0.2"
LOOK = "sysctl -a -r rp_filter, in red (ip netns exec red ...)"
BY_EVERY_WAY = ["a-stranger-is-dropped", "eth0-stays-strict"]


def taken(look: Look, router: str, red: str, source: str) -> bool:
    """Send red a ping with this source from a router, and say whether red took it: Ip.InDelivers tells."""
    from scapy.layers.inet import ICMP, IP
    from scapy.layers.l2 import Ether

    from labkit.packets import send

    macs = look.link(router, "eth0").address, look.link("red", red).address
    packet = Ether(src=macs[0], dst=macs[1]) / IP(src=source, dst=RED) / ICMP() / b"do you take this?"
    before = delivered(look)
    send(packet, router, "eth0")
    return delivered(look) > before


def delivered(look: Look) -> int:
    """How many packets red's kernel has handed to what they are for."""
    return int(look.run("red", "nstat -asz IpInDelivers").stdout.split()[2])


def strangers(look: Look) -> dict[str, Any]:
    """On which sides red takes a packet of a stranger's."""
    sides = (("left", "eth0"), ("right", "eth1"))
    return {"sides": ", ".join(red for router, red in sides if taken(look, router, red, "192.0.2.7")) or "none"}


def from_elsewhere(look: Look) -> dict[str, Any]:
    """What red takes by eth0 and should not: what has a source to which eth1 leads."""
    if not taken(look, "left", "eth0", "10.1.0.1"):
        return {"observed": "red takes nothing by eth0, not even from 10.1.0.1"}
    strange = taken(look, "left", "eth0", "10.2.0.77")
    return {"observed": "red takes by eth0 what comes from 10.2.0.77, to which eth1 leads" if strange else ""}


def ways(look: Look) -> dict[str, Any]:
    """By which routers the ping and its answer go."""
    trace = look.trace(BLUE, "red")
    there, back = ({hop.namespace for hop in leg} - {"red", "blue"} for leg in (trace.request, trace.answer))
    return {"there": ", ".join(sorted(there)) or "none", "back": ", ".join(sorted(back)) or "none"}


exercise = Exercise(
    "04-routing/one-way-street",
    title="One-way street",
    checks=[
        answered(
            "dropped_at",
            "red/eth1",
            look_at='lab.trace("10.3.0.2", from_="red")',
            hints=[
                "A trace follows the answer, too, as far as it gets.",
                "The interface is the last that is in the trace's answer.",
            ],
        ),
        answered(
            "counter",
            "TcpExtIPReversePathFilter",
            look_at="ip netns exec red nstat -as, before and after a ping: its name there",
            hints=["Its name says what was compared: the way back.", "The chapter showed it, with nstat."],
        ),
        reaches(
            "red",
            BLUE,
            points=2,
            look_at=LOOK,
            hints=[
                "Which of the three values is content with any way back?",
                "Two values count for each interface, and the larger one holds.",
            ],
        ),
        Check(
            "the-ways-stay",
            evidence=ways,
            verdict=lambda there, back: (there, back) == ("left", "right"),
            passed="the ping goes by {there}, and the answer by {back}",
            failed="the ping goes by: {there}; the answer by: {back}",
            look_at='lab.trace("10.3.0.2", from_="red")',
            after=["red-reaches-10.3.0.2"],
            hints=["No route needs to be changed: it is red that judges.", "Run the cell that builds the lab again."],
        ),
        Check(
            "a-stranger-is-dropped",
            evidence=strangers,
            verdict=lambda sides: sides == "none",
            passed="red takes nothing from 192.0.2.7",
            failed="red takes packets from 192.0.2.7 on: {sides}",
            look_at=LOOK,
            control=reaches("red", BLUE),
            must_not=True,
            hints=["Switched off, the filter asks nothing at all.", "Loose is not off: what does it still ask?"],
        ),
        Check(
            "eth0-stays-strict",
            evidence=from_elsewhere,
            verdict=lambda observed: not observed,
            passed="by eth0, red takes only what it would send an answer to by eth0",
            failed="{observed}",
            look_at=LOOK,
            control=reaches("red", BLUE),
            must_not=True,
            hints=["What is set for `all` holds for eth0, too.", "Change one interface only."],
        ),
    ],
    faults=[
        Fault(
            "where it came from, and another counter",
            {"find": 'labkit.answer("dropped_at", "right/eth0")\nlabkit.answer("counter", "IpInAddrErrors")'},
            red=["dropped-at", "counter"],
        ),
        Fault(
            "off on the interface only",
            {"mend": 'net.sysctl.set("net.ipv4.conf.eth1.rp_filter", 0, namespace="red")'},
            red=["red-reaches-10.3.0.2"],
        ),
        Fault(
            "off everywhere",
            {
                "mend": 'for name in ("all", "eth0", "eth1"):\n'
                '    net.sysctl.set(f"net.ipv4.conf.{name}.rp_filter", 0, namespace="red")'
            },
            red=BY_EVERY_WAY,
        ),
        Fault(
            "off for all and on eth1",
            {
                "mend": 'for name in ("all", "eth1"):\n'
                '    net.sysctl.set(f"net.ipv4.conf.{name}.rp_filter", 0, namespace="red")'
            },
            red=["a-stranger-is-dropped"],
        ),
        Fault(
            "loose everywhere",
            {"mend": 'net.sysctl.set("net.ipv4.conf.all.rp_filter", 2, namespace="red")'},
            red=["eth0-stays-strict"],
        ),
        Fault(
            "blue answers by left instead",
            {"mend": 'net.route.replace("10.1.0.0/24", via="10.3.0.1", namespace="blue")'},
            red=["the-ways-stay"],
        ),
        Fault(
            "red sends by right instead",
            {
                "mend": 'net.route.replace("10.3.0.0/24", via="10.2.0.1", namespace="red")\n'
                'net.route.add("10.3.0.0/24", via="10.4.0.2", namespace="right")\n'
                'net.route.add("10.2.0.0/24", via="10.4.0.1", namespace="blue")'
            },
            red=["the-ways-stay"],
        ),
    ],
)
