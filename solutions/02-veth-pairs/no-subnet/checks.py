"""Two containers with /32 addresses: an onlink route inside, a route per container on the host."""

from labkit.check import Exercise, Fault, does_not_reach, has_address, has_route, reaches

ADDRESS_HINTS = ["/32 means: all 32 bits are this host's, nobody else is in the subnet.", "`ip -n NAME address add`"]
ROUTE_HINTS = [
    "The kernel takes a gateway only if it knows that it is on the link.",
    "ip-route(8) has a word for `believe me, it is on this link`.",
    "The chapter's section 'An address without a subnet' has this very route.",
]
WAY_BACK_HINTS = [
    "Capture on the host: does the request arrive, and does a reply leave?",
    "The host needs to be told over which cable each container is reached.",
]

ROUTES = "ip route, on the host; a capture on veth-red and veth-blue"

exercise = Exercise(
    "02-veth-pairs/no-subnet",
    title="No subnet",
    checks=[
        has_address("red", "eth0", "10.0.0.2/32", hints=ADDRESS_HINTS),
        has_address("blue", "eth0", "10.0.0.3/32", hints=ADDRESS_HINTS),
        has_route("red", "default", via="10.0.0.1", dev="eth0", hints=ROUTE_HINTS),
        has_route("blue", "default", via="10.0.0.1", dev="eth0", hints=ROUTE_HINTS),
        reaches("red", "10.0.0.1", points=2, after=["red-route-default"], look_at=ROUTES, hints=WAY_BACK_HINTS),
        reaches("blue", "10.0.0.1", points=2, after=["blue-route-default"], look_at=ROUTES, hints=WAY_BACK_HINTS),
        does_not_reach(
            "red",
            "10.0.0.3",
            after=["red-reaches-10.0.0.1", "blue-reaches-10.0.0.1"],
            look_at="sysctl net.ipv4.ip_forward",
            hints=["Who passes packets from one cable to the other?", "The host is no router unless told to be one."],
        ),
    ],
    faults=[
        Fault(
            "a subnet after all",
            replace={
                "addresses": """!ip -n red address add 10.0.0.2/24 dev eth0; ip address add 10.0.0.1/32 dev veth-red
!ip -n blue address add 10.0.0.3/24 dev eth0; ip address add 10.0.0.1/32 dev veth-blue"""
            },
            red=["red-eth0-address", "blue-eth0-address"],
        ),
        Fault(
            "not onlink",
            replace={
                "inside": """!ip -n red route add default via 10.0.0.1 dev eth0
!ip -n blue route add default via 10.0.0.1 dev eth0"""
            },
            red=["red-route-default", "blue-route-default"],
        ),
        Fault(
            "no way back",
            replace={"host": "!ip route add 10.0.0.2/32 dev veth-red"},
            red=["blue-reaches-10.0.0.1"],
        ),
        Fault(
            "cables mixed up",
            replace={"host": "!ip route add 10.0.0.2/32 dev veth-blue; ip route add 10.0.0.3/32 dev veth-red"},
            red=["red-reaches-10.0.0.1", "blue-reaches-10.0.0.1"],
        ),
        Fault(
            "a router",
            replace={
                "host": """!ip route add 10.0.0.2/32 dev veth-red; ip route add 10.0.0.3/32 dev veth-blue
!sysctl -qw net.ipv4.ip_forward=1"""
            },
            red=["red-does-not-reach-10.0.0.3"],
        ),
    ],
)
