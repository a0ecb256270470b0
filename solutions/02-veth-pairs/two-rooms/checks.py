"""One veth between two namespaces, and no end of it on the host."""

from labkit.check import Check, Exercise, Fault, does_not_reach, has_address, has_link, reaches

ADDRESSES = """!ip -n red address add 10.0.0.1/24 dev eth0; ip -n red link set eth0 up
!ip -n blue address add 10.0.0.2/24 dev eth0; ip -n blue link set eth0 up"""

exercise = Exercise(
    "02-veth-pairs/two-rooms",
    title="Two rooms and a cable",
    checks=[
        Check(
            "one-cable",
            evidence=lambda look: {"peer": " / ".join(look.link("red", "eth0").peer or ("nowhere to be seen",))},
            verdict=lambda peer: peer == "blue / eth0",
            passed="red's eth0 and blue's eth0 are the two ends of one veth",
            failed="the other end of red's eth0 is: {peer}",
            look_at="ip -n red link show eth0; ip -n red netns list-id",
            hints=[
                "`ip link add ... type veth peer name ...` makes both ends at once.",
                "An end is moved with `ip link set NAME netns NAMESPACE`. Two rooms may each have an eth0.",
                "`ip link add` also takes `netns NAMESPACE` for either end, so that nothing has to move.",
            ],
        ),
        has_address(
            "red",
            "eth0",
            "10.0.0.1/24",
            hints=["What happens to an address when its interface moves?", "Move first, then address."],
        ),
        has_address(
            "blue",
            "eth0",
            "10.0.0.2/24",
            hints=["What happens to an address when its interface moves?", "Move first, then address."],
        ),
        has_link(
            "red",
            "eth0",
            is_up=True,
            has_carrier=True,
            after=["one-cable"],
            hints=["A new link is down, and so is one that was moved.", "Carrier takes both ends."],
        ),
        reaches(
            "red",
            "10.0.0.2",
            points=2,
            after=["red-eth0", "red-eth0-address", "blue-eth0-address"],
            hints=["Capture on both ends: `labkit.capture('red', 'blue')`.", "Are both addresses in one subnet?"],
        ),
        does_not_reach(
            "host",
            "10.0.0.2",
            control=reaches("red", "10.0.0.2"),
            hints=["Which links does the host have, and which addresses?", "The cable needs no end on the host."],
        ),
    ],
    faults=[
        Fault(
            "address first, then move",
            replace={
                "cable": """!ip link add red-end type veth peer name blue-end
!ip address add 10.0.0.1/24 dev red-end; ip address add 10.0.0.2/24 dev blue-end
!ip link set red-end netns red name eth0; ip link set blue-end netns blue name eth0""",
                "connect": "!ip -n red link set eth0 up; ip -n blue link set eth0 up",
            },
            red=["red-eth0-address", "blue-eth0-address"],
        ),
        Fault(
            "one end stays down",
            replace={"connect": ADDRESSES.replace("; ip -n blue link set eth0 up", "")},
            red=["red-eth0"],
        ),
        Fault(
            "blue in another subnet",
            replace={"connect": ADDRESSES.replace("10.0.0.2/24", "10.0.1.2/24")},
            red=["blue-eth0-address"],
        ),
        Fault(
            "a host of each",
            replace={"connect": ADDRESSES.replace("/24", "/32")},
            red=["red-eth0-address", "blue-eth0-address"],
        ),
        Fault(
            "by way of the host",
            replace={
                "cable": """!ip link add br0 type bridge; ip link set br0 up; ip address add 10.0.0.254/24 dev br0
!ip link add veth-red type veth peer name eth0 netns red; ip link set veth-red master br0 up
!ip link add veth-blue type veth peer name eth0 netns blue; ip link set veth-blue master br0 up""",
            },
            red=["one-cable", "host-does-not-reach-10.0.0.2"],
        ),
        Fault(
            "connected, and not to each other",
            replace={
                "connect": ADDRESSES
                + """
!ip -n red route add blackhole 10.0.0.2/32""",
            },
            red=["red-reaches-10.0.0.2"],
        ),
    ],
)
