"""Two containers with one MAC: give one its own, and make the neighbour forget the old one."""

from labkit.check import Check, Exercise, Fault, Look, answered, has_link

BLUE, GREEN = "10.0.0.3", "10.0.0.4"
OWN = "!ip -n green link set eth0 address 02:00:00:00:00:04"
FORGET = "!ip -n red neighbour flush dev eth0"


def in_turn(look: Look) -> dict[str, str]:
    """Let red ping both, twice in turn."""
    asked = [look.ping("red", target) for target in (BLUE, GREEN, BLUE, GREEN)]
    return {"silent": "; ".join(sorted({str(ping) for ping in asked if not ping.answered})) or "none"}


def overheard(look: Look) -> dict[str, int]:
    """Let green speak, then red ping blue; count what green hears of it."""
    look.ping("green", "10.0.0.2")
    return {
        "frames": look.heard("green", filter=f"icmp and dst {BLUE}", during=lambda: look.ping("red", BLUE))["green"]
    }


exercise = Exercise(
    "03-bridges/twins",
    title="Twins",
    checks=[
        answered(
            "moving",
            "02:00:00:00:00:03",
            look_at="bridge fdb show br br0 dynamic, after a ping from blue and after one from green",
            hints=["Look at the FDB before and after green says something.", "Which two containers share it?"],
        ),
        has_link(
            "green",
            "eth0",
            address="02:00:00:00:00:04",
            is_up=True,
            hints=["`ip link set` takes `address`.", "Which MAC was green to get?"],
        ),
        has_link(
            "blue",
            "eth0",
            address="02:00:00:00:00:03",
            name="blue-as-it-was",
            after=["green-eth0"],
            hints=["blue was there first. Run the first cell again to start over."],
        ),
        Check(
            "both-in-turn",
            evidence=in_turn,
            verdict=lambda silent: silent == "none",
            passed="red reaches blue and green in turn",
            failed="not answered: {silent}",
            look_at="ip -n red neighbour; bridge fdb show br br0 dynamic",
            points=2,
            after=["green-eth0", "blue-as-it-was"],
            hints=[
                "Which MAC does red send to, and who has it now?",
                "A neighbour entry does not know that it is wrong. It can be flushed, or corrected by an announcement.",
            ],
        ),
        Check(
            "green-hears-nothing-of-blue",
            evidence=overheard,
            verdict=lambda frames: frames == 0,
            passed="what red sends to blue does not come to green",
            failed="packets for blue that green heard: {frames}",
            look_at="bridge -d link show; bridge fdb show br br0 dynamic",
            after=["both-in-turn"],
            must_not=True,
            hints=["A bridge that has learned does not flood.", "What keeps this one from learning?"],
        ),
    ],
    faults=[
        Fault(
            "somebody else's",
            replace={"find": 'labkit.answer("moving", "02:00:00:00:00:02")'},
            red=["moving"],
        ),
        Fault("red believes the old", replace={"mend": OWN}, red=["both-in-turn"]),
        Fault(
            "the gateway's twin instead",
            replace={"mend": OWN.replace(":04", ":01") + "\n" + FORGET},
            red=["green-eth0"],
        ),
        Fault(
            "both are new",
            replace={"mend": "!ip -n blue link set eth0 address 02:00:00:00:00:05\n" + OWN + "\n" + FORGET},
            red=["blue-as-it-was"],
        ),
        Fault(
            "a bridge without a memory",
            replace={"mend": OWN + "\n" + FORGET + "\n!ip link set br0 type bridge ageing_time 0"},
            red=["green-hears-nothing-of-blue"],
        ),
    ],
)
