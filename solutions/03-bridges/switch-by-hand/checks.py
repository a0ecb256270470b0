"""A bridge with a stated MAC and an address, two ports, and a third container that stays out."""

from labkit.check import Exercise, Fault, does_not_reach, has_address, has_link, reaches

exercise = Exercise(
    "03-bridges/switch-by-hand",
    title="A switch by hand",
    checks=[
        has_link(
            "host",
            "br0",
            kind="bridge",
            is_up=True,
            hints=[
                "A bridge is a link of type bridge.",
                "A new link is down, and a bridge that is down passes nothing.",
            ],
        ),
        has_link(
            "host",
            "br0",
            address="02:00:00:00:00:01",
            name="stated-mac",
            after=["host-br0"],
            hints=[
                "Where does a bridge have its MAC from, if nobody states one?",
                "`ip link` sets a MAC with `address`.",
            ],
        ),
        has_address(
            "host",
            "br0",
            "10.0.0.1/24",
            hints=[
                "Which interface is the host's own plug?",
                "The ports need no address; the bridge's interface does.",
            ],
        ),
        reaches(
            "red",
            "10.0.0.3",
            points=2,
            after=["host-br0"],
            look_at="bridge link; ip -br link show br0",
            hints=["What is the `master` of each port?", "`bridge link` lists the ports."],
        ),
        reaches(
            "blue",
            "10.0.0.1",
            after=["host-br0", "host-br0-address"],
            look_at="bridge link; a capture on host/br0",
            hints=[
                "Capture on blue and on host/br0: how far does the question come?",
                "`bridge link` lists the ports.",
            ],
        ),
        does_not_reach(
            "red",
            "10.0.0.4",
            control=reaches("red", "10.0.0.3"),
            look_at="bridge link",
            hints=["`bridge link` lists the ports. Who shall not be among them?"],
        ),
    ],
    faults=[
        Fault(
            "left down",
            replace={"bridge": "!ip link add br0 address 02:00:00:00:00:01 type bridge"},
            red=["host-br0"],
        ),
        Fault(
            "no MAC stated",
            replace={"bridge": "!ip link add br0 type bridge; ip link set br0 up"},
            red=["stated-mac"],
        ),
        Fault(
            "the address on a port",
            replace={"host": "!ip address add 10.0.0.1/24 dev veth-blue"},
            red=["host-br0-address"],
        ),
        Fault(
            "blue forgotten",
            replace={"ports": "!ip link set veth-red master br0"},
            red=["red-reaches-10.0.0.3", "blue-reaches-10.0.0.1"],
        ),
        Fault(
            "everybody plugged in",
            replace={"ports": "!for name in red blue green; do ip link set veth-$name master br0; done"},
            red=["red-does-not-reach-10.0.0.4"],
        ),
    ],
)
