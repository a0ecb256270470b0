"""Containers that want the same port: of one pod, and of one node."""

from collections.abc import Callable
from typing import Any

from labkit.check import Check, Exercise, Fault, Look
from labkit.packets import connect

NODE_1, NODE_2 = "192.168.50.11", "192.168.50.12"
ASK = "GET / HTTP/1.0\r\n\r\n"


def told(caller: str, address: str, port: int) -> str:
    """Return who answers there: "front of pod shop", or why nobody does."""
    call = connect(caller, address, port, data=ASK, timeout=0.5)
    lines = dict(line.split(": ", 1) for line in call.text.splitlines() if ": " in line)
    if "pod" in lines:
        return f"{lines.get('container', '?')} of pod {lines['pod']}"
    return call.error or "somebody who does not say who it is"


def answers(pod: str, port: int, address: str = "") -> Callable[[Look], dict[str, Any]]:
    """Return evidence: who answers in this pod's namespace on this port, and at which address of it."""

    def evidence(look: Look) -> dict[str, Any]:
        own = look.ip(pod)
        return {"address": own, "who": told(pod, address or own, port)}

    return evidence


def agent(look: Look) -> dict[str, Any]:
    """Let node-2 call port 8080 of node-1."""
    look.links("node-2")
    return {"who": told("node-2", NODE_1, 8080)}


def elsewhere(look: Look) -> dict[str, Any]:
    """Tell where else agent is: as a namespace of its own, or on node-2."""
    found = ["a network namespace of its own"] if "agent" in look.namespaces() else []
    found += ["node-2"] if told("node-1", NODE_2, 8080) == "agent of pod agent" else []
    return {"where": " and ".join(found) or "nowhere"}


SHOP = """apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  containers:
  - {name: front, image: echo}
  - {name: cache, image: echo, args: ["--port", "6379"]}
"""


def pod(name: str, *lines: str, args: str = "") -> str:
    """A pod with one container called like it."""
    more = "".join(f"  {line}\n" for line in lines)
    container = f"  containers: [{{name: {name}, image: echo{args}}}]\n"
    return f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n{more}{container}"


ON, HOST = "nodeName: node-1", "hostNetwork: true"
AGENT, MONITOR = pod("agent", ON, HOST), pod("monitor", ON)


def manifest(*parts: str) -> dict[str, str]:
    """The cell of a learner with these parts."""
    return {"mend": f"manifest = {''.join(parts)!r}"}


exercise = Exercise(
    "07-the-kubernetes-model/one-port-each",
    title="One port each",
    checks=[
        Check(
            "cache-answers",
            evidence=answers("shop", 6379, "127.0.0.1"),
            verdict=lambda address, who: who == "cache of pod shop",  # noqa: ARG005
            passed="in shop, port 6379 is answered by {who}",
            failed="a call in shop to 127.0.0.1, port 6379: {who}",
            look_at='cluster.get("pods"); cluster.logs("shop", container="cache"); cluster.exec("shop", "ss -ltn")',
            points=2,
            within=3,
            hints=[
                "How many sets of ports does a pod have?",
                "Who tells a program on which port to listen? `ports:` is for readers.",
            ],
        ),
        Check(
            "front-answers",
            evidence=answers("shop", 8080),
            verdict=lambda address, who: who == "front of pod shop",  # noqa: ARG005
            passed="at {address}, port 8080 is answered by {who}",
            failed="a call to {address}, port 8080: {who}",
            look_at='cluster.logs("shop", container="front")',
            after=["cache-answers"],
            within=3,
            hints=["Are both still containers of `shop`?", "8080 is where `echo` listens unless told otherwise."],
        ),
        Check(
            "monitor-has-its-own-address",
            evidence=answers("monitor", 8080),
            verdict=lambda address, who: address.startswith("10.244.1.") and who == "monitor of pod monitor",
            passed="at {address}, port 8080 is answered by {who}",
            failed="monitor has the address {address}; its port 8080: {who}",
            look_at='cluster.get("pods"); cluster.events("monitor")',
            points=2,
            after=["cache-answers"],
            within=3,
            hints=[
                "Whose namespace does a pod with `hostNetwork: true` live in, and whose ports does it use?",
                "10.244.1.0/24 is node-1's.",
            ],
        ),
        Check(
            "agent-answers-for-its-node",
            evidence=agent,
            verdict=lambda who: who == "agent of pod agent",
            passed="port 8080 of node-1 is answered by {who}",
            failed=f"node-2 called {NODE_1}, port 8080: {{who}}",
            look_at='cluster.get("pods"); cluster.logs("agent")',
            points=2,
            after=["monitor-has-its-own-address"],
            within=3,
            hints=["Which of the pods should have the node's network?", "And on which node?"],
        ),
        Check(
            "agent-is-nowhere-else",
            evidence=elsewhere,
            verdict=lambda where: where == "nowhere",
            passed="agent has no network but the node's",
            failed="agent is in another place as well: {where}",
            look_at='ip netns list; cluster.get("pods")',
            points=2,
            after=["monitor-has-its-own-address"],
            control=Check(
                "monitor-has-a-namespace",
                evidence=lambda look: {"names": ", ".join(look.namespaces())},
                verdict=lambda names: "monitor" in names.split(", "),
                passed="pods with a network of their own are listed: {names}",
                failed="no namespace is called monitor: {names}",
            ),
            must_not=True,
            hints=["`ip netns list`: a pod with a sandbox has its namespace's name there."],
        ),
    ],
    faults=[
        Fault(
            "the port written for readers alone",
            replace=manifest(
                SHOP.replace(', args: ["--port", "6379"]', ", ports: [{containerPort: 6379}]"), AGENT, MONITOR
            ),
            red=["cache-answers"],
        ),
        Fault(
            "cache in a pod of its own",
            replace=manifest(
                SHOP.rsplit("  - ", 1)[0], pod("cache", args=', args: ["--port", "6379"]'), AGENT, MONITOR
            ),
            red=["cache-answers"],
        ),
        Fault(
            "front moved instead",
            replace=manifest(
                SHOP.replace("front, image: echo", 'front, image: echo, args: ["--port", "80"]'), AGENT, MONITOR
            ),
            red=["front-answers"],
        ),
        Fault(
            "monitor on another port of the node",
            replace=manifest(SHOP, AGENT, pod("monitor", ON, HOST, args=', args: ["--port", "8081"]')),
            red=["monitor-has-its-own-address"],
        ),
        Fault(
            "monitor on another node",
            replace=manifest(SHOP, AGENT, pod("monitor", "nodeName: node-2")),
            red=["monitor-has-its-own-address"],
        ),
        Fault(
            "agent a pod like others",
            replace=manifest(SHOP, pod("agent", ON), MONITOR),
            red=["agent-answers-for-its-node", "agent-is-nowhere-else"],
        ),
        Fault(
            "agent on another node",
            replace=manifest(SHOP, pod("agent", "nodeName: node-2", HOST), MONITOR),
            red=["agent-answers-for-its-node", "agent-is-nowhere-else"],
        ),
        Fault(
            "the two exchanged",
            replace=manifest(SHOP, pod("agent", ON), pod("monitor", ON, HOST)),
            red=["monitor-has-its-own-address"],
        ),
    ],
)
