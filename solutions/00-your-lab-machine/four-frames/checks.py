"""A first ping, heard in three places: who learns what, and who hears nothing."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, answered, reaches


def heard_by_green(look: Look) -> dict[str, Any]:
    """A ping, so that everybody knows everybody, and then one that is captured."""
    look.ping("red", "10.0.0.3")
    heard = look.heard("green/eth0", filter="icmp", during=lambda: look.ping("red", "10.0.0.3"))
    return {"number": heard["green/eth0"]}


exercise = Exercise(
    "00-your-lab-machine/four-frames",
    title="Four frames",
    checks=[
        answered(
            "learned_mac",
            lambda look: look.link("blue", "eth0").address,
            look_at='frames.at("red"), the line with "is-at"',
            hints=["`red` asks who has an address. Which line answers?", "The MAC stands at the end of that line."],
        ),
        answered(
            "blue_learns_in_line",
            1,
            look_at='frames.at("blue")[0].show(), and the same for the other lines',
            hints=[
                "Who asks also says who is asking. Look at the fields hwsrc and psrc.",
                "By the time of its answer, `blue` knows whom to answer.",
            ],
        ),
        answered(
            "seen_by_green",
            1,
            look_at='frames.at("green")',
            hints=["`frames` holds what all three saw; `.at` leaves one.", "len(...) counts."],
        ),
        answered(
            "addressed_to",
            "ff:ff:ff:ff:ff:ff",
            after=["seen-by-green"],
            secret=["ff:ff:ff:ff:ff:ff"],
            look_at='the field dst of the layer Ethernet, in frames.at("green")[0].show()',
            hints=[
                "It is not the MAC of any of the three.",
                'The layer Ethernet of a packet is packet["Ether"].',
            ],
        ),
        answered(
            "green_reads_the_ping",
            False,
            look_at='frames.at("green"): is a line with ICMP there?',
            hints=[
                "Believe the capture, not the picture of a shared wire.",
                "The answer is True or False, without quotes.",
            ],
        ),
        Check(
            "green-hears-no-ping",
            evidence=heard_by_green,
            verdict=lambda number: number == 0,
            passed="while red pinged blue once more, green heard nothing of it",
            failed="red pinged blue once more, and green heard {number} of its frames",
            look_at="bridge -d link; ip -d link show br0",
            after=["green-reads-the-ping"],
            control=reaches("red", "10.0.0.3"),
            must_not=True,
            hints=["This exercise was to read; something changed the bridge.", "Run the first cell to start over."],
        ),
    ],
    faults=[
        Fault(
            "the MAC of who asks",
            replace={"macs": 'labkit.answer("learned_mac", lab.mac("red")), labkit.answer("blue_learns_in_line", 1)'},
            red=["learned-mac"],
        ),
        Fault(
            "blue learns from the ping",
            replace={"macs": 'labkit.answer("learned_mac", lab.mac("blue")), labkit.answer("blue_learns_in_line", 3)'},
            red=["blue-learns-in-line"],
        ),
        Fault(
            "a bridge seen as a shared wire",
            replace={
                "green": 'labkit.answer("seen_by_green", 4), labkit.answer("addressed_to", lab.mac("green"))',
                "ping": 'labkit.answer("green_reads_the_ping", True)',
            },
            red=["seen-by-green", "green-reads-the-ping"],
        ),
        Fault(
            "the MAC that is asked for",
            replace={"green": 'labkit.answer("seen_by_green", 1), labkit.answer("addressed_to", "00:00:00:00:00:00")'},
            red=["addressed-to"],
        ),
        Fault(
            "the bridge made to forget, in order to see more",
            replace={
                "ping": '!ip link set br0 type bridge ageing_time 0\nlabkit.answer("green_reads_the_ping", False)'
            },
            red=["green-hears-no-ping"],
        ),
    ],
)
