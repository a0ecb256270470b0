"""Predict which address the called side sees, on three nodes with other routes and rules; then let a pod out."""

from collections.abc import Callable
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, answered
from labkit.packets import connect, reply_source, serve

ADDRESSES = {
    "ant": "10.244.1.2",
    "cat": "10.244.2.2",
    "dog": "10.244.2.3",
    "elk": "10.244.3.2",
    "node-2": "10.244.2.1",
    "node-3": "192.168.50.13",
    "world": "203.0.113.2",
}
NODE_2 = "ip netns exec node-2 iptables -t nat -S POSTROUTING; ip -n node-2 route"
RULES = [
    "Which rule of the caller's node does the packet meet when it goes out, and by which link does it go out?",
    "RETURN leaves a chain; what then?",
]
BRIDGED = ["Is it routed at all? Look at the two addresses.", "Which hooks does a frame meet that stays on its bridge?"]
LOST = ["Take the question and the answer apart: which node sends each on, and by which of its routes?"]
OWN = ["The node is where the packet ends. Which of the five hooks does it meet there?"]


def seen(caller: str, callee: str) -> Callable[[Look], str]:
    """Return what asks the kernel: the address that the called side sees, or "no answer"."""

    def ask(look: Look) -> str:
        look.links(caller)
        with serve(callee, 8080, reply=reply_source):
            call = connect(caller, ADDRESSES[callee], 8080, data="who am I?", timeout=0.5)
        return call.text if call.ok and call.data else "no answer"

    return ask


def of_elk(callee: str) -> Callable[[Look], dict[str, Any]]:
    """Return evidence: whom `callee` sees when elk calls it."""
    return lambda look: {"seen": seen("elk", callee)(look)}


ROWS = (
    ("ant", "cat", RULES, "ip netns exec node-1 iptables -t nat -S"),
    ("cat", "ant", RULES, NODE_2),
    ("cat", "dog", BRIDGED, 'labkit.trace("dog", from_="cat")'),
    ("cat", "elk", RULES, NODE_2),
    ("ant", "elk", LOST, 'labkit.trace("elk", from_="ant")'),
    ("elk", "ant", LOST, 'labkit.trace("ant", from_="elk")'),
    ("ant", "node-3", RULES, "ip netns exec node-1 iptables -t nat -S"),
    ("dog", "node-2", OWN, 'labkit.trace("10.244.2.1", from_="dog"); labkit.hooks("node-2")'),
)
RIGHT = (
    "10.244.1.2", "192.168.50.12", "10.244.2.2", "192.168.50.12", "no answer", "no answer", "192.168.50.11",
    "10.244.2.3",
)  # fmt: skip


def named(caller: str, callee: str) -> str:
    """The name of an answer: cat_to_ant."""
    return f"{caller}_to_{callee}".replace("-", "_")


def predicted(**changed: str) -> dict[str, str]:
    """The cell of a learner who is right but for some pairs: cat_to_ant="..."."""
    answers = {named(row[0], row[1]): value for row, value in zip(ROWS, RIGHT, strict=True)} | changed
    return {"predict": f"for name, value in {answers!r}.items():\n    labkit.answer(name, value)"}


def rule(text: str) -> dict[str, str]:
    """The cell of a learner who adds this rule to node-3."""
    return {"out": f'print(lab.run("node-3", "iptables -t nat -A POSTROUTING {text}"))'}


exercise = Exercise(
    "07-the-kubernetes-model/whom-do-they-see",
    title="Whom do they see?",
    checks=[
        *(
            answered(named(caller, callee), seen(caller, callee), look_at=look_at, hints=hints)
            for caller, callee, hints, look_at in ROWS
        ),
        Check(
            "elk-is-answered-by-world",
            evidence=of_elk("world"),
            verdict=lambda seen: seen == ADDRESSES["node-3"],
            passed="elk calls world, and is answered: world saw {seen}",
            failed="elk called world; whom world saw: {seen}",
            look_at='labkit.trace("world", from_="elk")',
            points=2,
            hints=[
                "Does the call arrive, and what becomes of its answer?",
                "Whose address does the host, as it is, know a way to?",
            ],
        ),
        Check(
            "elk-is-itself-among-pods",
            evidence=of_elk("cat"),
            verdict=lambda seen: seen == ADDRESSES["elk"],
            passed="cat sees elk's own address",
            failed=f"elk has {ADDRESSES['elk']}; it called cat, and cat saw: {{seen}}",
            look_at="ip netns exec node-3 iptables -t nat -S",
            points=2,
            after=["elk-is-answered-by-world"],
            must_not=True,
            hints=[
                "Which packets must not be translated?",
                "node-1 has a chain for that. In which order are its rules?",
            ],
        ),
    ],
    faults=[
        Fault("masquerade sees no exceptions", replace=predicted(ant_to_cat="192.168.50.11"), red=["ant-to-cat"]),
        Fault(
            "pods are always seen as themselves",
            replace=predicted(cat_to_ant="10.244.2.2", cat_to_elk="10.244.2.2"),
            red=["cat-to-ant", "cat-to-elk"],
        ),
        Fault("masquerade between neighbours", replace=predicted(cat_to_dog="192.168.50.12"), red=["cat-to-dog"]),
        Fault("no route, no answer", replace=predicted(cat_to_elk="no answer"), red=["cat-to-elk"]),
        Fault("who arrives is answered", replace=predicted(ant_to_elk="10.244.1.2"), red=["ant-to-elk"]),
        Fault("a way there is a way back", replace=predicted(elk_to_ant="10.244.3.2"), red=["elk-to-ant"]),
        Fault("nodes belong to the cluster", replace=predicted(ant_to_node_3="10.244.1.2"), red=["ant-to-node-3"]),
        Fault("a node sees itself", replace=predicted(dog_to_node_2="192.168.50.12"), red=["dog-to-node-2"]),
        Fault("not let out", replace={"out": ""}, red=["elk-is-answered-by-world"]),
        Fault(
            "a route of the host's",
            replace={"out": "!ip route add 10.244.3.0/24 via 192.168.50.13"},
            red=["elk-is-answered-by-world"],
        ),
        Fault(
            "masqueraded by the host",
            replace={
                "out": "!iptables -t nat -A POSTROUTING -s 10.244.3.0/24 -j MASQUERADE\n"
                "!ip route add 10.244.3.0/24 via 192.168.50.13"
            },
            red=["elk-is-answered-by-world"],
        ),
        Fault("everything masqueraded", replace=rule("-o eth0 -j MASQUERADE"), red=["elk-is-itself-among-pods"]),
        Fault(
            "the exception for nodes",
            replace=rule("-o eth0 ! -d 192.168.50.0/24 -j MASQUERADE"),
            red=["elk-is-itself-among-pods"],
        ),
        Fault(
            "pods alone masqueraded",
            replace=rule("-o eth0 -d 10.244.0.0/16 -j MASQUERADE"),
            red=["elk-is-answered-by-world"],
        ),
        Fault(
            "the exception last",
            replace={
                "out": 'lab.run("node-3", "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE;'
                ' iptables -t nat -A POSTROUTING -d 10.244.0.0/16 -j RETURN")'
            },
            red=["elk-is-itself-among-pods"],
        ),
    ],
)
