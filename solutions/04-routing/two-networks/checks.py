"""Join two networks by a router, and keep a third one's packets out of one of them, with an ICMP error."""

from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

from labkit.check import Check, Exercise, Fault, Look, reaches
from labkit.packets import send

MEET = ["red-reaches-10.2.0.2", "blue-reaches-10.1.0.2", "guest-reaches-10.1.0.2"]
ROUTES = """!ip -n red route add default via 10.1.0.1; ip -n blue route add default via 10.2.0.1
!ip -n guest route add default via 10.3.0.1"""
FORWARD = "!ip netns exec router sysctl -qw net.ipv4.ip_forward=1"


def heard_at_blue(look: Look) -> dict[str, int]:
    """Put a ping of the guest's to blue on the guest's cable, whatever routes the guest has; count what blue hears."""
    macs = look.link("guest", "eth0").address, look.link("router", "eth2").address
    question = Ether(src=macs[0], dst=macs[1]) / IP(src="10.3.0.2", dst="10.2.0.2") / ICMP()

    def ask() -> None:
        send(question, "guest", "eth0")
        look.ping("guest", "10.1.0.2")  # its answer comes after whatever the question led to

    return {"packets": look.heard("blue", filter="src 10.3.0.2", during=ask)["blue"]}


def told(look: Look) -> dict[str, object]:
    """Let the guest ping blue, and say what it was told."""
    ping = look.ping("guest", "10.2.0.2")
    return {"ping": ping, "by_router": (ping.error or "").endswith("from 10.3.0.1")}


def meets(source: str, to: str, *hints: str, points: int = 1) -> Check:
    """One network reaches another."""
    return reaches(
        source,
        to,
        points=points,
        look_at=f'lab.trace("{to}", from_="{source}")',
        hints=[*hints, "A trace says which machine had the packet last, and what it lacked."],
    )


exercise = Exercise(
    "04-routing/two-networks",
    title="Two networks, and a guest",
    checks=[
        meets("red", "10.2.0.2", "Three things are needed: a route there, a machine that forwards, a route back."),
        meets("blue", "10.1.0.2", "The answer is a packet of its own."),
        meets("guest", "10.1.0.2", "And red's answer to the guest, by which route does it go?"),
        Check(
            "nothing-of-the-guest-at-blue",
            evidence=heard_at_blue,
            verdict=lambda packets: packets == 0,
            passed="blue hears nothing of the guest",
            failed="packets of the guest that came to blue: {packets}",
            look_at='ip -n router rule; lab.trace("10.2.0.2", from_="guest")',
            points=2,
            control=reaches("guest", "10.1.0.2"),
            after=MEET,
            must_not=True,
            hints=[
                "blue's routes decide about answers. Who decides whether the question gets to blue at all?",
                "A route of the router's is for everybody. A rule may be for those that come in by one link.",
            ],
        ),
        Check(
            "the-guest-is-told",
            evidence=told,
            verdict=lambda ping, by_router: by_router and not ping.answered,
            passed="the router tells the guest: {ping}",
            failed="no word from the router: {ping}",
            look_at='lab.ping("guest", "blue")',
            after=MEET,
            within=2.0,
            hints=[
                "Does the guest's question get as far as the router, which is to answer it?",
                "What did the sender hear from each of the routes that lead nowhere?",
                "A rule, too, may say unreachable or prohibit.",
            ],
        ),
    ],
    faults=[
        Fault("nobody forwards", {"meet": ROUTES}, red=MEET),
        Fault(
            "no way back from blue",
            {"meet": FORWARD + "\n" + ROUTES.replace("; ip -n blue route add default via 10.2.0.1", "")},
            red=MEET[:2],
        ),
        Fault(
            "nobody is kept out",
            {"keep": "!ip -n router rule"},
            red=["nothing-of-the-guest-at-blue", "the-guest-is-told"],
        ),
        Fault(
            "in silence",
            {"keep": "!ip -n router rule add priority 100 iif eth2 to 10.2.0.0/24 blackhole"},
            red=["the-guest-is-told"],
        ),
        Fault(
            "only blue's answers are kept back",
            {"keep": "!ip -n blue route add unreachable 10.3.0.0/24"},
            red=["nothing-of-the-guest-at-blue", "the-guest-is-told"],
        ),
        Fault(
            "the guest is asked to stay away",
            {"keep": "!ip -n guest route add prohibit 10.2.0.0/24"},
            red=["nothing-of-the-guest-at-blue", "the-guest-is-told"],
        ),
        Fault(
            "everybody is kept out",
            {"keep": "!ip -n router rule add priority 100 to 10.2.0.0/24 prohibit"},
            red=MEET[:2],
        ),
        Fault(
            "the guest is kept out of everything",
            {"keep": "!ip -n router rule add priority 100 from 10.3.0.0/24 prohibit"},
            red=MEET[2:],
        ),
    ],
)
