"""A node joins a cluster by hand: a CIDR of its own, and routes on every node."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, has_address, has_link, has_route, reaches
from labkit.kube.requirements import Endpoint, requirements
from labkit.tracing import Trace

PODS = [
    Endpoint("ant", "10.244.1.2", "node-1"),
    Endpoint("cat", "10.244.2.2", "node-2"),
    Endpoint("elk", "10.244.3.2", "node-3"),
]


def between(look: Look, kind: str) -> dict[str, Any]:
    """Let every pod call every other; tell of the pairs that failed in this way."""
    look.links("elk")
    failures = [one for one in requirements(PODS, timeout=0.5).requirement(2).failures if one.kind == kind]
    return {"told": "; ".join(f"{one.what}: {one.observed}" for one in failures) or "none"}


def routers(trace: Trace) -> set[str]:
    """Return the namespaces that the packet passes; the host, whose bridge is the wire, where it routes the packet."""
    hops = trace.request
    routes = {hop.namespace for hop in hops if any(decided.kind == "route" for decided in hop.decided_by)}
    return {hop.namespace for hop in hops if hop.namespace != "host"} | routes


def third_parties(look: Look) -> dict[str, Any]:
    """Follow a ping between all pods, and tell who routes it that is neither of the two nodes."""
    told = []
    for one in PODS:
        for other in PODS:
            if one is not other:
                ends = {one.name, one.node, other.name, other.node}
                strange = sorted(routers(look.trace(other.address, one.name)) - ends)
                told += [f"{one.name} → {other.name} by {' and '.join(strange)}"] if strange else []
    return {"told": "; ".join(told) or "none"}


ROUTES = "ip -n node-1 route; ip -n node-2 route; ip -n node-3 route"
FORWARD = "!ip netns exec node-3 sysctl -qw net.ipv4.ip_forward=1\n"
OUT = (
    "!ip -n node-3 route add 10.244.1.0/24 via 192.168.50.11; ip -n node-3 route add 10.244.2.0/24 via 192.168.50.12\n"
)
BACK_1 = "!ip -n node-1 route add 10.244.3.0/24 via 192.168.50.13\n"
BACK_2 = "!ip -n node-2 route add 10.244.3.0/24 via 192.168.50.13\n"
MASQUERADE = "!ip netns exec node-3 iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE\n"


def node(
    cni0: str = "10.244.3.1/24", elk: str = "10.244.3.2/24", gateway: str = "10.244.3.1", beyond: str = "default"
) -> dict[str, str]:
    """The first cell of a learner who gives these addresses, and elk a route to this."""
    lines = [
        "!ip -n node-3 link add cni0 type bridge; ip -n node-3 link set cni0 up",
        f"!ip -n node-3 address add {cni0} dev cni0" if cni0 else "",
        "!ip -n node-3 link add vethelk type veth peer name eth0 netns elk",
        "!ip -n node-3 link set vethelk master cni0 up; ip -n elk link set lo up; ip -n elk link set eth0 up",
        f"!ip -n elk address add {elk} dev eth0",
        f"!ip -n elk route add {beyond} via {gateway}" if gateway else "",
    ]
    return {"node": "\n".join(lines)}


exercise = Exercise(
    "07-the-kubernetes-model/third-node",
    title="A third node",
    checks=[
        has_address("elk", "eth0", "10.244.3.2/24", hints=["How long is the prefix of the other pods?", "A /24."]),
        has_link(
            "node-3",
            "cni0",
            kind="bridge",
            is_up=True,
            hints=["What are pods of node-1 plugged into? `ip -n node-1 -br link`"],
        ),
        reaches(
            "node-3",
            "10.244.3.2",
            after=["elk-eth0-address", "node-3-cni0"],
            hints=[
                "Is every link up, on both ends, and the bridge too?",
                "By which of its routes does node-3 send to 10.244.3.2? The address of cni0 brings one.",
            ],
        ),
        has_route(
            "elk",
            "default",
            via="10.244.3.1",
            after=["node-3-reaches-10.244.3.2"],
            hints=["By which route does ant send what is for other subnets? `ip -n ant route`"],
        ),
        Check(
            "all-pairs-reach-each-other",
            evidence=lambda look: between(look, "lost"),
            verdict=lambda told: told == "none",
            passed="every pod reaches every other",
            failed="these get no answer: {told}",
            look_at=f"{ROUTES}; requirements(pods, nodes)",
            points=2,
            after=["elk-route-default"],
            hints=[
                "A route is one way: which nodes have to know where 10.244.3.0/24 is?",
                "What does elk do with a packet for another subnet?",
                "Does node-3 pass packets on? `sysctl net.ipv4.ip_forward`",
            ],
        ),
        Check(
            "seen-as-themselves",
            evidence=lambda look: between(look, "rewritten"),
            verdict=lambda told: told == "none",
            passed="every pod is seen at its own address",
            failed="somebody's address was rewritten: {told}",
            look_at="ip netns exec node-3 iptables -t nat -S; requirements(pods, nodes)",
            points=2,
            after=["all-pairs-reach-each-other"],
            must_not=True,
            hints=["Which requirement forbids NAT?", "Who does not know the way back is told it, by a route."],
        ),
        Check(
            "by-no-third-node",
            evidence=third_parties,
            verdict=lambda told: told == "none",
            passed="between two nodes, nobody else routes",
            failed="somebody else passes packets on: {told}",
            look_at=ROUTES,
            points=2,
            after=["all-pairs-reach-each-other"],
            must_not=True,
            hints=["One route for each other node, and via which address?", "kindnet writes one for each pod CIDR."],
        ),
    ],
    faults=[
        Fault(
            "elk takes the whole cluster for its subnet", replace=node(elk="10.244.3.2/16"), red=["elk-eth0-address"]
        ),
        Fault("the bridge has no address", replace=node(cni0="", gateway=""), red=["node-3-reaches-10.244.3.2"]),
        Fault("elk has no gateway", replace=node(gateway=""), red=["elk-route-default"]),
        Fault("elk knows the cluster alone", replace=node(beyond="10.244.0.0/16"), red=["elk-route-default"]),
        Fault(
            "a cable and no bridge",
            replace={
                "node": "!ip -n node-3 link add vethelk type veth peer name eth0 netns elk\n"
                "!ip -n node-3 link set vethelk up; ip -n node-3 address add 10.244.3.1/24 dev vethelk\n"
                "!ip -n elk link set lo up; ip -n elk link set eth0 up; ip -n elk address add 10.244.3.2/24 dev eth0\n"
                "!ip -n elk route add default via 10.244.3.1"
            },
            red=["node-3-cni0"],
        ),
        Fault("it does not forward", replace={"join": OUT + BACK_1 + BACK_2}, red=["all-pairs-reach-each-other"]),
        Fault("no way back", replace={"join": FORWARD + OUT}, red=["all-pairs-reach-each-other"]),
        Fault("one node not told", replace={"join": FORWARD + OUT + BACK_1}, red=["all-pairs-reach-each-other"]),
        Fault(
            "masquerade in place of a way back",
            replace={"join": FORWARD + OUT + MASQUERADE},
            red=["all-pairs-reach-each-other"],
        ),
        Fault(
            "masquerade as well",
            replace={"join": FORWARD + OUT + BACK_1 + BACK_2 + MASQUERADE},
            red=["seen-as-themselves"],
        ),
        Fault(
            "all by node-1",
            replace={"join": FORWARD + BACK_1 + BACK_2 + "!ip -n node-3 route add 10.244.0.0/16 via 192.168.50.11"},
            red=["by-no-third-node"],
        ),
        Fault(
            "all by the host",
            replace={
                "join": FORWARD
                + "!sysctl -qw net.ipv4.ip_forward=1\n"
                + "!for n in 1 2 3; do ip route add 10.244.$n.0/24 via 192.168.50.1$n; done"
            },
            red=["by-no-third-node"],
        ),
        Fault(
            "via the bridge of the other node",
            replace={"join": FORWARD + OUT + BACK_1 + "!ip -n node-2 route add 10.244.3.0/24 via 10.244.3.1"},
            red=["all-pairs-reach-each-other"],
        ),
    ],
)
