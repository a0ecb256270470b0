"""A cluster whose second requirement is broken twice: by a rule too many, and by a route too few."""

from collections.abc import Callable
from typing import Any

from labkit.check import Check, Exercise, Fault, Look
from labkit.kube.requirements import Endpoint, requirements
from labkit.packets import connect, reply_source, serve
from labkit.tracing import Trace

PODS = [Endpoint(pod, f"10.244.{n}.2", f"node-{n}") for n, pod in enumerate(("ant", "cat", "elk"), 1)]
NODES = [Endpoint(f"node-{n}", f"192.168.50.1{n}") for n in (1, 2, 3)]
HOST, WORLD = "192.168.50.1", "203.0.113.2"


def between(look: Look, kind: str) -> dict[str, Any]:
    """Let every pod call every other; tell of the pairs that failed in this way."""
    look.links("elk")
    failures = [one for one in requirements(PODS, timeout=0.5).requirement(2).failures if one.kind == kind]
    return {"told": "; ".join(f"{one.what}: {one.observed}" for one in failures) or "none"}


def from_nodes(look: Look) -> dict[str, Any]:
    """Let every node call its pod."""
    look.links("elk")
    failures = requirements(PODS, NODES, timeout=0.5).requirement(3).failures
    return {"told": "; ".join(f"{one.what}: {one.observed}" for one in failures) or "none"}


def world_answers(look: Look) -> dict[str, Any]:
    """Let every pod call world; tell who is not answered."""
    look.links("world")
    with serve("world", 80, reply=reply_source):
        silent = [pod.name for pod in PODS if not connect(pod.name, WORLD, 80, data="?", timeout=0.5)]
    return {"silent": ", ".join(silent) or "nobody"}


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


def kept_back(look: Look) -> dict[str, Any]:
    """Let every pod call port 8080 of every other, and port 80 of the host; tell of calls without an answer."""
    look.links("elk")
    calls = [(one, other.name, other.address, 8080) for one in PODS for other in PODS if one is not other]
    calls += [(one, "host", HOST, 80) for one in PODS]
    lost = []
    for one, name, address, port in calls:
        with serve(name, port, reply=reply_source):
            if not connect(one.name, address, port, data="?", timeout=0.5).text:
                lost.append(f"{one.name} → {name}, port {port}")
    return {"lost": "; ".join(lost) or "none"}


def on_8080(*callers: str) -> Callable[[Look], dict[str, Any]]:
    """Return evidence: who of these is answered on the host's port 8080."""

    def evidence(look: Look) -> dict[str, Any]:
        look.links("node-1")
        with serve("host", 8080, reply="a secret"):
            told = [name for name in callers if connect(name, HOST, 8080, data="?", timeout=0.3).text]
        return {"told": ", ".join(told) or "nobody"}

    return evidence


nodes_may = Check(
    "nodes-call-8080",
    evidence=on_8080("node-1", "node-2", "node-3"),
    verdict=lambda told: told == "node-1, node-2, node-3",
    passed="nodes are answered on port 8080 of the host: {told}",
    failed="answered on port 8080 of the host, of the three nodes: {told}",
)

RULE = 'lab.run("node-2", "iptables -t nat -D POSTROUTING -s 10.244.2.0/24 -o eth0 -j MASQUERADE")\n'
ROUTE = 'lab.run("node-3", "ip route add 10.244.1.0/24 via 192.168.50.11")\n'


def on_node_2(command: str) -> str:
    """A line of a learner who runs this on node-2."""
    return f'lab.run("node-2", "{command}")\n'


def on_all(command: str) -> str:
    """Lines of a learner who runs this on every node."""
    return f'for node in ("node-1", "node-2", "node-3"):\n    lab.run(node, "{command}")\n'


exercise = Exercise(
    "07-the-kubernetes-model/all-alike",
    title="They all look alike",
    checks=[
        Check(
            "all-pairs-reach-each-other",
            evidence=lambda look: between(look, "lost"),
            verdict=lambda told: told == "none",
            passed="every pod reaches every other",
            failed="these get no answer: {told}",
            look_at="requirements(pods, nodes): each reason names a node and a route",
            points=2,
            hints=[
                "The answer of one is lost as well as the question of the other: where do both go?",
                "Each node needs a route to the pod CIDR of each other node.",
            ],
        ),
        Check(
            "seen-as-themselves",
            evidence=lambda look: between(look, "rewritten"),
            verdict=lambda told: told == "none",
            passed="every pod is seen at its own address",
            failed="somebody's address was rewritten: {told}",
            look_at="requirements(pods, nodes); ip netns exec NODE iptables -t nat -S",
            points=2,
            after=["all-pairs-reach-each-other"],
            hints=["Which node does it, and by which rule?", "What comes first in POSTROUTING there?"],
        ),
        Check(
            "nodes-reach-their-pods",
            evidence=from_nodes,
            verdict=lambda told: told == "none",
            passed="every node reaches its pod",
            failed="a node does not reach its pod: {told}",
            look_at="requirements(pods, nodes)",
            after=["all-pairs-reach-each-other"],
            hints=["Which hook do the answers to the node meet?", "Run the first cell again to start over."],
        ),
        Check(
            "world-answers",
            evidence=world_answers,
            verdict=lambda silent: silent == "nobody",
            passed="every pod gets answers from world",
            failed="no answer from world to: {silent}",
            look_at='labkit.trace("world", from_="cat")',
            after=["seen-as-themselves"],
            hints=[
                "The host knows no pods: whose address must world see?",
                "What should stay of each node's nat table?",
            ],
        ),
        Check(
            "nothing-else-is-kept-back",
            evidence=kept_back,
            verdict=lambda lost: lost == "none",
            passed="pods are answered on port 8080 of each other, and on port 80 of the host",
            failed="these calls get no answer: {lost}",
            look_at="ip netns exec NODE iptables -S FORWARD",
            after=["world-answers"],
            hints=["Which packets does each rule in FORWARD match, besides those that it is for?"],
        ),
        Check(
            "by-no-third-node",
            evidence=third_parties,
            verdict=lambda told: told == "none",
            passed="between two nodes, nobody else routes",
            failed="somebody else passes packets on: {told}",
            look_at="ip -n node-1 route; ip -n node-2 route; ip -n node-3 route",
            after=["seen-as-themselves"],
            must_not=True,
            hints=["Whose address is the gateway of each route to a pod CIDR?", "What is sent by the default route?"],
        ),
        Check(
            "no-secrets-for-pods",
            evidence=on_8080("ant", "cat", "elk"),
            verdict=lambda told: told == "nobody",
            passed="no pod is answered on port 8080 of the host",
            failed="answered on port 8080 of the host, and should not be: {told}",
            look_at="ip netns exec NODE iptables -S FORWARD",
            after=["all-pairs-reach-each-other"],
            control=nodes_may,
            must_not=True,
            hints=["Which rule was there on purpose?", "Run the first cell again to start over."],
        ),
    ],
    faults=[
        Fault("the rule alone", replace={"mend": RULE}, red=["all-pairs-reach-each-other"]),
        Fault("the route alone", replace={"mend": ROUTE}, red=["seen-as-themselves"]),
        Fault(
            "the route for another node",
            replace={"mend": RULE + ROUTE.replace("3", "1", 1)},
            red=["all-pairs-reach-each-other"],
        ),
        Fault(
            "a route of the host's",
            replace={"mend": RULE + "!ip route add 10.244.1.0/24 via 192.168.50.11"},
            red=["by-no-third-node"],
        ),
        Fault(
            "by way of node-2",
            replace={"mend": RULE + ROUTE.replace("192.168.50.11", "192.168.50.12")},
            red=["by-no-third-node"],
        ),
        Fault(
            "port 8080 of everybody closed",
            replace={
                "mend": RULE + ROUTE + on_all("iptables -F FORWARD; iptables -A FORWARD -p tcp --dport 8080 -j DROP")
            },
            red=["nothing-else-is-kept-back"],
        ),
        Fault(
            "the whole host closed",
            replace={"mend": RULE + ROUTE + on_all("iptables -F FORWARD; iptables -A FORWARD -d 192.168.50.1 -j DROP")},
            red=["nothing-else-is-kept-back"],
        ),
        Fault("all of nat gone", replace={"mend": on_node_2("iptables -t nat -F") + ROUTE}, red=["world-answers"]),
        Fault(
            "all rules gone",
            replace={"mend": RULE + on_node_2("iptables -F") + ROUTE},
            red=["no-secrets-for-pods"],
        ),
        Fault(
            "nothing masqueraded",
            replace={"mend": on_node_2("iptables -t nat -I POSTROUTING -s 10.244.0.0/16 -j ACCEPT") + ROUTE},
            red=["world-answers"],
        ),
        Fault(
            "the exception behind the rule",
            replace={"mend": on_node_2("iptables -t nat -I POSTROUTING 2 -d 10.244.0.0/16 -j ACCEPT") + ROUTE},
            red=["seen-as-themselves"],
        ),
        Fault(
            "forwarding for all that comes from pods",
            replace={"mend": RULE + ROUTE + on_node_2("iptables -I FORWARD -i cni0 -j ACCEPT")},
            red=["no-secrets-for-pods"],
        ),
        Fault(
            "a filter against the node",
            replace={"mend": RULE + ROUTE + on_node_2("iptables -A INPUT -s 10.244.0.0/16 -j DROP")},
            red=["nodes-reach-their-pods"],
        ),
    ],
)
