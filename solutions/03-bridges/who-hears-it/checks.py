"""Predict learning and flooding; then a static entry for one who never speaks."""

from labkit.check import Check, Exercise, Fault, Look, answered

NAMES = ("red", "blue", "green", "amber")
MACS = {name: f"02:00:00:00:00:0{number}" for number, name in enumerate(("host", *NAMES), 1)}
NOBODY, EVERYBODY = "02:00:00:00:00:99", "ff:ff:ff:ff:ff:ff"
FRAMES = (("red", MACS["blue"]), ("red", NOBODY), ("amber", MACS["red"]), ("amber", EVERYBODY))
HINTS = [
    "Whom has the bridge heard by then? A frame teaches it where its sender is.",
    "To a MAC that it has not heard it floods: to all ports but the one that the frame came from.",
    "The host hears what goes to the bridge's own MAC, and to everybody.",
]
BROADCAST = ["What is for everybody is flooded, whatever the bridge has learned.", HINTS[2]]


def forget(look: Look) -> None:
    """Empty the bridge's memory of what it learned."""
    look.run("host", "ip link set br0 type bridge fdb_flush")


def hears(sender: str, target: str) -> list[str]:
    """Send one frame and return who heard it."""
    from scapy.layers.l2 import Ether

    from labkit.packets import capture, send

    with capture(*(f"{name}/eth0" for name in NAMES), "host/br0", filter="ether proto 0x88b5") as seen:
        send(Ether(src=MACS[sender], dst=target, type=0x88B5) / "who hears it?", sender, "eth0")
        seen.wait(lambda frame: frame.direction == "in", timeout=0.2)
    return sorted({frame.namespace for frame in seen if frame.direction == "in"})


def truth(number: int) -> object:
    """Return a function that plays the frames up to `number`, and says who heard that one."""

    def play(look: Look) -> list[str]:
        forget(look)
        hears("blue", MACS["host"])
        return [hears(sender, target) for sender, target in FRAMES[:number]][-1]

    return play


def ports(look: Look) -> list[str]:
    """Return the ports with an entry for green that does not age."""
    return sorted({entry.ifname for entry in look.fdb("host") if entry.mac == MACS["green"] and entry.state})


def to_green(look: Look) -> dict[str, str]:
    """Let red send to green, with nothing learned."""
    forget(look)
    return {"names": ", ".join(hears("red", MACS["green"])) or "nobody"}


exercise = Exercise(
    "03-bridges/who-hears-it",
    title="Who hears it?",
    checks=[
        *(
            answered(
                f"frame_{number}",
                truth(number),  # type: ignore[arg-type]
                look_at="a capture on all four containers and host/br0",
                hints=HINTS if number < 4 else BROADCAST,
            )
            for number in range(1, 5)
        ),
        Check(
            "green-hears",
            evidence=lambda look: {"ports": ", ".join(ports(look)) or "none"},
            verdict=lambda ports: ports == "veth-green",
            passed="the bridge knows for good that green is behind {ports}",
            failed="ports behind which the bridge keeps green's MAC for good: {ports}",
            look_at="bridge fdb show br br0",
            hints=["What kind of FDB entry does not age?", "`bridge fdb add MAC dev PORT master ...`"],
        ),
        Check(
            "nobody-else-hears",
            evidence=to_green,
            verdict=lambda names: names == "green",
            passed="a frame to green is heard by green alone",
            failed="a frame from red to green is heard by: {names}",
            look_at="bridge fdb show br br0",
            points=2,
            after=["green-hears"],
            must_not=True,
            hints=["Is green itself still reached?", "Behind which port does green live?"],
        ),
    ],
    faults=[
        Fault(
            "a hub",
            replace={
                "predict": """everybody = ["red", "blue", "green", "amber", "host"]
for number, sender in enumerate(("red", "red", "amber", "amber"), 1):
    labkit.answer(f"frame_{number}", [name for name in everybody if name != sender])"""
            },
            red=["frame-1", "frame-2", "frame-3"],
        ),
        Fault(
            "only ever the addressee",
            replace={
                "predict": """for number, names in enumerate((["blue"], [], ["red"], ["red", "blue", "green"]), 1):
    labkit.answer(f"frame_{number}", names)"""
            },
            red=["frame-2", "frame-4"],
        ),
        Fault(
            "behind the wrong port",
            replace={"static": "!bridge fdb add 02:00:00:00:00:04 dev veth-red master static"},
            red=["green-hears"],
        ),
        Fault("learned, not stated", replace={"static": 'lab.ping("green", "br0")'}, red=["green-hears"]),
        Fault(
            "and green unplugged",
            replace={
                "static": """!bridge fdb add 02:00:00:00:00:04 dev veth-green master static
!ip -n green link set eth0 down"""
            },
            red=["frame-2", "frame-4", "nobody-else-hears"],
        ),
    ],
)
