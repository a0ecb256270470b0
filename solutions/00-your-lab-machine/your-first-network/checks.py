"""Two bridges, three containers in one subnet: who reaches whom?"""

from labkit.check import Exercise, Fault, does_not_reach, has_address, has_link, reaches

HEAD = 'network = Topology(Bridge("br0", "10.1.0.1/24"), Bridge("br1"), '
RED = 'Container("red", "10.1.0.2/24", link="br0"), '
BLUE = 'Container("blue", "10.1.0.3/24", link="br0"), '
GREEN = 'Container("green", "10.1.0.4/24", link="br1"), '

exercise = Exercise(
    "00-your-lab-machine/your-first-network",
    title="Your first network",
    checks=[
        reaches(
            "red",
            "10.1.0.3",
            points=2,
            hints=[
                "Which of the two is there, and with which address? ip -n red -br address",
                "A container is on a bridge when it says link=... with the name of that bridge.",
            ],
        ),
        reaches(
            "host",
            "10.1.0.2",
            hints=[
                "The host is on a bridge only if the bridge has an address.",
                'An address goes behind the name: Bridge("NAME", "ADDRESS/PREFIX").',
            ],
        ),
        has_address(
            "green",
            "eth0",
            "10.1.0.4/24",
            hints=["`ip -n green -br address` shows what it has.", "The prefix, /24, belongs to the address."],
        ),
        has_link(
            "green",
            "eth0",
            is_up=True,
            has_carrier=True,
            hints=["A container without link= has no cable.", "Which bridge is for green?"],
        ),
        does_not_reach(
            "red",
            "10.1.0.4",
            name="green-is-apart",
            look_at="bridge link: which port belongs to which bridge",
            after=["green-eth0", "green-eth0-address"],
            control=reaches("red", "10.1.0.3"),
            hints=[
                "On which bridge is green? Look at the picture.",
                "Being in one subnet is a claim; being on one bridge is a cable.",
            ],
        ),
    ],
    faults=[
        Fault(
            "all on one bridge",
            replace={"draw": HEAD + RED + BLUE + 'Container("green", "10.1.0.4/24", link="br0"))'},
            red=["green-is-apart"],
        ),
        Fault(
            "green kept apart by its address",
            replace={"draw": HEAD + RED + BLUE + 'Container("green", "10.2.0.4/24", link="br1"))'},
            red=["green-eth0-address"],
        ),
        Fault(
            "blue on the wrong bridge",
            replace={"draw": HEAD + RED + 'Container("blue", "10.1.0.3/24", link="br1"), ' + GREEN + ")"},
            red=["red-reaches-10.1.0.3"],
        ),
        Fault(
            "the address on the wrong bridge",
            replace={
                "draw": 'network = Topology(Bridge("br0"), Bridge("br1", "10.1.0.1/24"), ' + RED + BLUE + GREEN + ")"
            },
            red=["host-reaches-10.1.0.2"],
        ),
        Fault("green left out", replace={"draw": HEAD + RED + BLUE + ")"}, red=["green-eth0-address", "green-eth0"]),
    ],
)
