"""A duplicate of the gateway's address: find its owner in a capture and the FDB, and mend what it left behind."""

from labkit.check import Check, Exercise, Fault, Look, answered, reaches

IMPOSTOR = "blue"
GATEWAY = "10.0.0.1"


def overheard(look: Look) -> dict[str, int]:
    """Let red ping the gateway; count what the impostor hears of it."""
    count = look.heard(IMPOSTOR, filter=f"icmp and dst {GATEWAY}", during=lambda: look.ping("red", GATEWAY))
    return {"frames": count[IMPOSTOR]}


exercise = Exercise(
    "03-bridges/two-answers",
    title="Two answers",
    checks=[
        answered(
            "wrong_mac",
            lambda look: look.link(IMPOSTOR, "eth0").address,
            look_at="the capture, and: ip link show br0",
            hints=["One of the two answers comes from the bridge itself. Which MAC has it?", "Take the other one."],
        ),
        answered(
            "impostor",
            IMPOSTOR,
            look_at="bridge fdb show br br0 dynamic",
            hints=[
                "Behind which port does the bridge see that MAC?",
                "The port's name says whose cable it is; chapter 02 says how to make sure.",
            ],
        ),
        Check(
            "one-owner",
            evidence=lambda look: {"addresses": ", ".join(look.addresses(IMPOSTOR, "eth0")) or "none"},
            verdict=lambda addresses: addresses == "10.0.0.3/24",
            passed="the impostor has its own address and no other",
            failed="addresses of the impostor: {addresses}",
            look_at="ip -br address, in the impostor",
            hints=["`ip address delete` takes an address with its prefix.", "Its own address stays."],
        ),
        reaches(
            "red",
            GATEWAY,
            after=["one-owner"],
            points=2,
            look_at="ip -n red neighbour; ip link show br0",
            hints=[
                "Which MAC does red believe in?",
                "A neighbour entry can be flushed, or corrected by an announcement.",
            ],
        ),
        Check(
            "the-impostor-hears-nothing",
            evidence=overheard,
            verdict=lambda frames: frames == 0,
            passed="what red sends to the gateway does not come to the impostor",
            failed="packets for the gateway that the impostor heard: {frames}",
            look_at="ip -n red neighbour",
            control=reaches("red", GATEWAY),
            must_not=True,
            hints=["Compare the MAC in red's neighbour table with the bridge's.", "Flush, and let red ask again."],
        ),
    ],
    faults=[
        Fault(
            "the gateway blamed",
            replace={"read": 'labkit.answer("wrong_mac", lab.mac("br0"))\nlabkit.answer("impostor", "host")'},
            red=["wrong-mac", "impostor"],
        ),
        Fault(
            "the wrong container",
            replace={"read": 'labkit.answer("wrong_mac", lab.mac("blue"))\nlabkit.answer("impostor", "amber")'},
            red=["impostor"],
        ),
        Fault(
            "red not told",
            replace={"mend": "!ip -n blue address delete 10.0.0.1/24 dev eth0"},
            red=["red-reaches-10.0.0.1"],
        ),
        Fault(
            "red told, the impostor still there",
            replace={
                "mend": """mac = lab.mac("br0")
!ip -n red neighbour replace 10.0.0.1 lladdr {mac} dev eth0 nud permanent"""
            },
            red=["one-owner"],
        ),
        Fault(
            "all its addresses",
            replace={"mend": "!ip -n blue address flush dev eth0; ip -n red neighbour flush dev eth0"},
            red=["one-owner"],
        ),
        Fault(
            "only asked again",
            replace={"mend": 'lab.ping("red", "10.0.0.1")'},
            red=["one-owner", "the-impostor-hears-nothing"],
        ),
    ],
)
