"""A pod wired and another one taken off, by six calls made by hand: kernel, wire, and the record of the calls."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, has_link, reaches
from labkit.packets import Connection, connect, reply_source, serve

OURS, WORLD = "203.0.113.1", "203.0.113.2"
RECORD = "the record below your calls"


def said(call: Connection) -> str:
    """What the caller was told, or why there was no answer."""
    return call.text if call.ok and call.data else call.error or "connected, and no answer"


def published(look: Look) -> dict[str, Any]:
    """Let world call port 8080; web listens on port 80."""
    look.links("web")
    with serve("web", 80, reply=reply_source):
        return {"said": said(connect("world", OURS, 8080, data="who am I?", timeout=0.5))}


def calls(look: Look, operation: str, container: str) -> list[dict[str, Any]]:
    """The calls that succeeded for one container."""
    return [one for one in look.answer("calls") if one["asked"].startswith(operation) and not one["status"]
            and one["asked"].endswith(f" {container}")]  # fmt: skip


def plugin(call: dict[str, Any]) -> str:
    """Which plugin was called."""
    return str(call["asked"].split()[1])


def passed_on(look: Look) -> dict[str, Any]:
    """Compare the previous result that each ADD was told with the result before it."""
    before, wrong = None, []
    for call in calls(look, "ADD", "web-1"):
        if call["prev"] != before:
            wrong.append(f"at ADD, {plugin(call)} was told {_which(call['prev'])}")
        before = call["result"]
    return {"wrong": "; ".join(wrong)}


def _which(prev: Any) -> str:
    return "no previous result" if prev is None else "another result than that of the call before it"


def told_at_del(look: Look) -> dict[str, Any]:
    """Compare the previous result that each DEL was told with the final one."""
    wrong = [plugin(call) for call in calls(look, "DEL", "old-1") if call["prev"] != look.answer("old")]
    return {"wrong": ", ".join(wrong)}


def order(look: Look) -> dict[str, Any]:
    """In which order old was taken off."""
    return {"order": ", ".join(plugin(call) for call in calls(look, "DEL", "old-1")) or "nobody"}


def left(look: Look) -> dict[str, Any]:
    """What is left of old: its interface, its rules, its address."""
    found = ["its eth0"] if "eth0" in look.links("old") else []
    rules = look.run("host", "iptables -t nat -S").stdout
    found += [f"{rules.count('9090')} rules with port 9090"] if "9090" in rules else []
    found += [f"the address {address}" for address, whose in look.answer("held").items() if whose == "old-1"]
    return {"left": ", ".join(found)}


COMMON = """common = {"cniVersion": "1.0.0", "name": "pods"}
mac = {"mac": "02:00:00:00:00:50"}
ports = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
tuned, mapped = common | {"type": "tuning"}, common | {"type": "portmap"}
"""
ADD = """first = ask("ADD", "bridge", "web-1", "web", common | bridge)
second = ask("ADD", "tuning", "web-1", "web", tuned | {"runtimeConfig": mac, "prevResult": first})
ask("ADD", "portmap", "web-1", "web", mapped | {"runtimeConfig": ports, "prevResult": second})
"""
DEL = """old_ports = {"portMappings": wishes["portMappings"]}
ask("DEL", "portmap", "old-1", "old", mapped | {"runtimeConfig": old_ports, "prevResult": old_result})
ask("DEL", "tuning", "old-1", "old", tuned | {"runtimeConfig": {"mac": wishes["mac"]}, "prevResult": old_result})
ask("DEL", "bridge", "old-1", "old", common | bridge | {"prevResult": old_result})
"""
WISHES, *ONE_BY_ONE = DEL.splitlines()


def made(add: str = ADD, delete: str = DEL) -> dict[str, str]:
    """The cell of a learner who makes these calls."""
    return {"calls": COMMON + add + delete}


exercise = Exercise(
    "08-cni/three-calls",
    title="Three calls",
    checks=[
        reaches(
            "web",
            "10.244.1.1",
            name="web-reaches-the-node",
            hints=["Which plugin makes an interface?", "A runtime writes name and version into what a plugin reads."],
        ),
        has_link(
            "web",
            "eth0",
            address="02:00:00:00:00:50",
            name="web-has-its-mac",
            after=["web-reaches-the-node"],
            hints=["Which plugin declares the capability `mac`?", "Under which key is it told what the pod wants?"],
        ),
        Check(
            "port-8080",
            evidence=published,
            verdict=lambda said: said == WORLD,
            passed="world calls port 8080 of the node, and web answers",
            failed=f"world called {OURS}, port 8080: {{said}}",
            look_at="iptables -t nat -S",
            after=["web-reaches-the-node"],
            within=0.5,
            hints=["What does portmap have to be told, beside the previous result?", "runtimeConfig"],
        ),
        Check(
            "results-are-passed-on",
            evidence=passed_on,
            verdict=lambda wrong: not wrong,
            passed="each ADD was told the result of the one before it, the first one none",
            failed="{wrong}",
            look_at=RECORD,
            points=2,
            after=["port-8080"],
            hints=["What changes in the result when tuning has done its part?"],
        ),
        Check(
            "del-in-reverse",
            evidence=order,
            verdict=lambda order: order == "portmap, tuning, bridge",
            passed="old was taken off in reverse",
            failed="plugins whose DEL of old-1 succeeded, in this order: {order}",
            look_at=RECORD,
            after=["web-reaches-the-node"],
            hints=["In which order are things taken down that stand on one another?", "Each plugin once."],
        ),
        Check(
            "del-knows-the-result",
            evidence=told_at_del,
            verdict=lambda wrong: not wrong,
            passed="each DEL was told the final result",
            failed="told no previous result at DEL, or another than the final one: {wrong}",
            look_at=RECORD,
            after=["del-in-reverse"],
            hints=["The old runtime has left it in a variable."],
        ),
        Check(
            "nothing-is-left",
            evidence=left,
            verdict=lambda left: not left,
            passed="of old nothing is left",
            failed="left of old: {left}",
            look_at="ip -n old link; iptables -t nat -S; ls /run/labkit/cni/networks/pods",
            points=3,
            after=["web-reaches-the-node"],
            must_not=True,
            hints=[
                "Each plugin takes back what it did itself, and nothing else. Is it the right container?",
                "A DEL is told what the ADD was told, and that was what the pod wanted, too.",
            ],
        ),
    ],
    faults=[
        Fault(
            "portmap is told bridge's result",
            replace=made(add=ADD.replace('"prevResult": second', '"prevResult": first')),
            red=["results-are-passed-on"],
        ),
        Fault(
            "portmap is not told what the pod wants",
            replace=made(add=ADD.replace('mapped | {"runtimeConfig": ports, ', "mapped | {")),
            red=["port-8080"],
        ),
        Fault(
            "capabilities in place of runtimeConfig",
            replace=made(add=ADD.replace('"runtimeConfig": mac', '"capabilities": mac')),
            red=["web-has-its-mac", "port-8080"],
        ),
        Fault(
            "old is taken off as it was added",
            replace=made(delete="\n".join([WISHES, *reversed(ONE_BY_ONE)])),
            red=["del-in-reverse"],
        ),
        Fault(
            "bridge alone takes old off",
            replace=made(delete=ONE_BY_ONE[-1]),
            red=["del-in-reverse", "nothing-is-left"],
        ),
        Fault(
            "DEL without the result",
            replace=made(
                delete=DEL.replace(', "prevResult": old_result', "").replace(' | {"prevResult": old_result}', "")
            ),
            red=["del-knows-the-result"],
        ),
        Fault(
            "the namespace's name taken for the container's",
            replace=made(delete=DEL.replace('"old-1"', '"old"')),
            red=["del-in-reverse", "nothing-is-left"],
        ),
        Fault(
            "portmap is not told which ports to take back",
            replace=made(delete=DEL.replace('"runtimeConfig": old_ports, ', "")),
            red=["nothing-is-left"],
        ),
        Fault("old is forgotten", replace=made(delete=""), red=["del-in-reverse", "nothing-is-left"]),
    ],
)
