"""Rules for masquerade with exceptions, and an exception from one of them."""

from collections.abc import Callable
from typing import Any

from labkit.check import Check, Exercise, Fault, Look
from labkit.packets import connect, reply_source, serve

PODS = {"ant": "10.244.1.2", "cat": "10.244.2.2"}
NODES = {"ant": "192.168.50.11", "cat": "192.168.50.12"}
OFFICE, PARTNER = ("172.20.0.2", "172.20.5.2"), ("172.20.9.2", "172.20.9.77")
ELSEWHERE = ("203.0.113.2", "198.51.100.2", "192.0.2.2")


def call(caller: str, callee: str, address: str) -> str:
    """Return whom the called side sees, or "nobody"."""
    with serve(callee, 8080, reply=reply_source):
        made = connect(caller, address, 8080, data="who am I?", timeout=0.5)
    return made.text if made.ok and made.data else "nobody"


def from_pods(callee: str, *addresses: str) -> Callable[[Look], dict[str, Any]]:
    """Return evidence: whom `callee` sees at its addresses when each pod calls, and whose address that is."""

    def evidence(look: Look) -> dict[str, Any]:
        look.links(callee)
        seen = {(pod, address): call(pod, callee, address) for address in addresses for pod in PODS}
        return {
            "told": "; ".join(f"{pod} called {address}, seen: {who}" for (pod, address), who in seen.items()),
            "own": all(who == PODS[pod] for (pod, _), who in seen.items()),
            "nodes": all(who == NODES[pod] for (pod, _), who in seen.items()),
        }

    return evidence


def among_pods(look: Look) -> dict[str, Any]:
    """Let each pod call the other."""
    look.links("ant")
    seen = {one: call(one, other, PODS[other]) for one, other in (("ant", "cat"), ("cat", "ant"))}
    return {"told": "; ".join(f"{pod} called, seen: {who}" for pod, who in seen.items()), "own": seen == PODS}


def from_office(look: Look) -> dict[str, Any]:
    """Let office call each pod."""
    look.links("office")
    seen = {pod: call("office", pod, address) for pod, address in PODS.items()}
    return {
        "told": "; ".join(f"{pod} saw {who}" for pod, who in seen.items()),
        "own": set(seen.values()) == {OFFICE[0]},
    }


def chain(*rules: str, jump: str = "-s 10.244.0.0/16", nodes: str = '"node-1", "node-2"') -> dict[str, str]:
    """The cell of a learner with these rules in a chain, and this match for what goes there."""
    commands = [
        "iptables -t nat -N POD-MASQ",
        *(f"iptables -t nat -A POD-MASQ {rule}" for rule in rules),
        f"iptables -t nat -A POSTROUTING {jump} -j POD-MASQ",
    ]
    return {"rules": f"for node in {nodes}:\n    lab.run(node, {'; '.join(commands)!r})"}


CLUSTER, COMPANY = "-d 10.244.0.0/16 -j RETURN", "-d 172.20.0.0/16 -j RETURN"
PARTNERS, REST = "-d 172.20.9.0/24 -j MASQUERADE", "-j MASQUERADE"
RULES = "ip netns exec node-1 iptables -t nat -S; "

exercise = Exercise(
    "07-the-kubernetes-model/exceptions",
    title="Exceptions",
    checks=[
        Check(
            "others-see-nodes",
            evidence=from_pods("world", *ELSEWHERE),
            verdict=lambda told, own, nodes: nodes,  # noqa: ARG005
            passed="outside the company, nodes are seen",
            failed="world sees others than the nodes: {told}",
            look_at=RULES + 'labkit.trace("world", from_="ant")',
            points=2,
            hints=[
                "What is left when all exceptions are made is the last rule's.",
                "The rules are for both nodes.",
                "An exception that matches too much leaves too little.",
            ],
        ),
        Check(
            "pods-see-pods",
            evidence=among_pods,
            verdict=lambda told, own: own,  # noqa: ARG005
            passed="pods see each other's own addresses",
            failed="a pod does not see the other's own address: {told}",
            look_at=RULES + 'labkit.trace("cat", from_="ant")',
            points=2,
            after=["others-see-nodes"],
            hints=["The second requirement.", "Where in the chain does the exception stand?"],
        ),
        Check(
            "office-sees-pods",
            evidence=from_pods("office", *OFFICE),
            verdict=lambda told, own, nodes: own,  # noqa: ARG005
            passed="office sees the pods' own addresses",
            failed="office does not see the pods' own addresses: {told}",
            look_at=RULES + 'labkit.trace("office", from_="ant")',
            points=2,
            after=["others-see-nodes"],
            hints=["What does the chain do with 172.20.5.2, rule by rule?", "`-j RETURN` leaves it."],
        ),
        Check(
            "partner-sees-no-pod",
            evidence=from_pods("partner", *PARTNER),
            verdict=lambda told, own, nodes: nodes,  # noqa: ARG005
            passed="partner sees nodes, and no pod's address",
            failed="partner sees others than the nodes: {told}",
            look_at=RULES + 'labkit.trace("partner", from_="ant")',
            points=2,
            after=["office-sees-pods"],
            must_not=True,
            hints=[
                "172.20.9.0/24 is a part of 172.20.0.0/16. Which rule takes it first?",
                "The narrow one has to stand before the wide one.",
            ],
        ),
        Check(
            "callers-stay-who-they-are",
            evidence=from_office,
            verdict=lambda told, own: own,  # noqa: ARG005
            passed="pods see office where office calls",
            failed=f"office, {OFFICE[0]}, called both pods: {{told}}",
            look_at=RULES + 'labkit.trace("ant", from_="office")',
            after=["others-see-nodes"],
            must_not=True,
            hints=["Which way does this packet go through the node, and which of your rules sees it?"],
        ),
    ],
    faults=[
        Fault(
            "everything masqueraded",
            replace=chain(REST, jump=""),
            red=["pods-see-pods", "office-sees-pods", "callers-stay-who-they-are"],
        ),
        Fault(
            "what leaves the node masqueraded",
            replace=chain(REST, jump="-o eth0"),
            red=["pods-see-pods", "office-sees-pods"],
        ),
        Fault("the cluster alone excepted", replace=chain(CLUSTER, REST), red=["office-sees-pods"]),
        Fault("the partner forgotten", replace=chain(CLUSTER, COMPANY, REST), red=["partner-sees-no-pod"]),
        Fault("the wide rule first", replace=chain(CLUSTER, COMPANY, PARTNERS, REST), red=["partner-sees-no-pod"]),
        Fault(
            "the office's own machine alone",
            replace=chain(CLUSTER, "-d 172.20.0.2 -j RETURN", PARTNERS, REST, nodes='("node-1",)'),
            red=["others-see-nodes"],
        ),
        Fault(
            "the office's one address excepted",
            replace=chain(CLUSTER, "-d 172.20.0.2 -j RETURN", REST),
            red=["office-sees-pods"],
        ),
        Fault(
            "the office's own subnet excepted",
            replace=chain(CLUSTER, "-d 172.20.0.0/24 -j RETURN", REST),
            red=["office-sees-pods"],
        ),
        Fault(
            "the partner's one address masqueraded",
            replace=chain(CLUSTER, "-d 172.20.9.2 -j MASQUERADE", COMPANY, REST),
            red=["partner-sees-no-pod"],
        ),
        Fault(
            "two destinations named in place of all others",
            replace=chain("-d 203.0.113.0/24 -j MASQUERADE", "-d 198.51.100.0/24 -j MASQUERADE", PARTNERS, jump=""),
            red=["others-see-nodes"],
        ),
        Fault(
            "one destination named",
            replace=chain("-d 203.0.113.0/24 -j MASQUERADE", PARTNERS, jump=""),
            red=["others-see-nodes"],
        ),
        Fault(
            "exceptions last",
            replace=chain(PARTNERS, REST, CLUSTER, COMPANY),
            red=["pods-see-pods", "office-sees-pods"],
        ),
        Fault(
            "callers from outside masqueraded",
            replace=chain("-s 10.244.0.0/16 " + CLUSTER, PARTNERS, "-s 10.244.0.0/16 " + COMPANY, REST, jump=""),
            red=["callers-stay-who-they-are"],
        ),
    ],
)
