"""Which link is odd, which one is down, who has the address? All of it stands in `ip -j`."""

import random

from labkit.check import Exercise, Fault, answered, does_not_reach, reaches

ADDRESSES = {"red": "10.0.0.2", "blue": "10.0.0.3", "green": "10.0.0.4"}
ODD, DOWN, OWNER = random.Random(6).sample(tuple(ADDRESSES), 3)  # the notebook's dice fall as these do

exercise = Exercise(
    "00-your-lab-machine/read-the-tables",
    title="Read the tables",
    checks=[
        answered(
            "odd_container",
            ODD,
            look_at='{name: [(link["ifname"], link["mtu"]) for link in links] for name, links in tables.items()}',
            hints=[
                "Each table has two links. Only one of them is on the bridge.",
                "`lo` has an MTU of its own in every container. Compare the others.",
            ],
        ),
        answered(
            "odd_mtu",
            lambda look: look.link(ODD, "eth0").mtu,
            after=["odd-container"],
            look_at="the number beside eth0, in bytes",
            hints=[
                "It belongs to eth0, not to lo.",
                "ip -n CONTAINER -br link does not show it; ip -n CONTAINER link does.",
            ],
        ),
        answered(
            "not_up",
            DOWN,
            look_at='the "operstate" and "flags" of each eth0',
            hints=[
                "The states are UP, DOWN and UNKNOWN. `lo` is always UNKNOWN when it is on.",
                "The answer is the container's name, without the link.",
            ],
        ),
        answered(
            "owner",
            OWNER,
            look_at='the "local" of each address in "addr_info"',
            hints=[
                "A link may have more than one address, so `addr_info` may be longer than one.",
                'For one link: [address["local"] for address in link["addr_info"]]',
            ],
        ),
        does_not_reach(
            "host",
            ADDRESSES[DOWN],
            name="left-as-it-was",
            look_at="lab, which draws itself; the link that was down when the exercise began",
            after=["not-up"],
            control=reaches("host", ADDRESSES[OWNER]),
            hints=["The exercise was to read. Run the first cell to start over.", "Then answer again, and check."],
        ),
    ],
    faults=[
        Fault(
            "lo is the odd one",
            replace={"mtu": 'labkit.answer("odd_container", "lo"), labkit.answer("odd_mtu", 65536)'},
            red=["odd-container"],
        ),
        Fault(
            "the MTU of the other link",
            replace={"mtu": f'labkit.answer("odd_container", "{ODD}"), labkit.answer("odd_mtu", 65536)'},
            red=["odd-mtu"],
        ),
        Fault("UNKNOWN taken for down", replace={"down": 'labkit.answer("not_up", "lo")'}, red=["not-up"]),
        Fault(
            "only the first address of each link was read",
            replace={"owner": 'labkit.answer("owner", "nobody")'},
            red=["owner"],
        ),
        Fault(
            "repaired instead of read",
            replace={"down": f'!ip -n {DOWN} link set eth0 up\nlabkit.answer("not_up", "{DOWN}")'},
            red=["left-as-it-was"],
        ),
    ],
)
