"""A pod wired and another one taken off, by six calls made by hand: kernel, wire, and the record of the calls."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, has_link, reaches
from labkit.packets import Connection, connect, reply_source, serve

OURS, WORLD = "203.0.113.1", "203.0.113.2"
DECLARED: dict[str, set[str]] = {"bridge": set(), "tuning": {"mac"}, "portmap": {"portMappings"}}
PRINTED = "what your own cell printed: a call that failed is there, with its error"
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


def added(look: Look) -> dict[str, Any]:
    """In which order web was wired."""
    return {"order": ", ".join(plugin(call) for call in calls(look, "ADD", "web-1")) or "nobody"}


def strange_wishes(look: Look) -> dict[str, Any]:
    """Which calls were told a wish that the plugin does not declare."""
    every = calls(look, "ADD", "web-1") + calls(look, "DEL", "old-1")
    wrong = [(call["asked"], set(call["wishes"]) - DECLARED[plugin(call)]) for call in every]
    return {"wrong": "; ".join(f"{asked}: {', '.join(sorted(wishes))}" for asked, wishes in wrong if wishes)}


def remembered(look: Look) -> dict[str, Any]:
    """Which results a runtime has kept: of old alone, when all calls were made by hand."""
    return {"kept": ", ".join(look.answer("kept")) or "none"}


def rules_of_old(look: Look) -> list[str]:
    """The rules with port 9090, but for those of chains that are web's."""
    rules = look.run("host", "iptables -t nat -S").stdout.splitlines()
    of_web = {rule.split()[-1] for rule in rules if '\\"web-1\\"' in rule}
    return [rule for rule in rules if "9090" in rule and not of_web & set(rule.split())]


def left(look: Look) -> dict[str, Any]:
    """What is left of old: its interface, its rules, its address."""
    found = ["its eth0"] if "eth0" in look.links("old") else []
    rules = rules_of_old(look)
    found += [f"{len(rules)} rules with port 9090"] if rules else []
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
PORTMAP_FIRST = """first = ask("ADD", "bridge", "web-1", "web", common | bridge)
second = ask("ADD", "portmap", "web-1", "web", mapped | {"runtimeConfig": ports, "prevResult": first})
ask("ADD", "tuning", "web-1", "web", tuned | {"runtimeConfig": mac, "prevResult": second})
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
            look_at=f"{PRINTED}; ip -n web address",
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
            look_at=f"{PRINTED}; iptables -t nat -S",
            after=["web-reaches-the-node"],
            within=0.5,
            hints=["What does portmap have to be told, beside the previous result?", "runtimeConfig"],
        ),
        Check(
            "add-in-order",
            evidence=added,
            verdict=lambda order: order == "bridge, tuning, portmap",
            passed="web was wired in the order of the list",
            failed="plugins whose ADD of web-1 succeeded, in this order: {order}",
            look_at=RECORD,
            after=["port-8080"],
            hints=["The network is a list.", "Each plugin once: run the first cells again to start over."],
        ),
        Check(
            "each-told-its-own",
            evidence=strange_wishes,
            verdict=lambda wrong: not wrong,
            passed="no plugin was told a wish that it does not declare",
            failed="told what the plugin does not declare: {wrong}",
            look_at="runtimeConfig in your calls, and `capabilities` in the list",
            after=["port-8080"],
            hints=["Whose is `mac`, whose is `portMappings`?"],
        ),
        Check(
            "calls-by-hand",
            evidence=remembered,
            verdict=lambda kept: kept == "pods-old-1-eth0",
            passed="no runtime has kept a result or taken one away: you made the calls",
            failed="a runtime was at work; it keeps the results: {kept}",
            look_at="ls /run/labkit/cni/host/results",
            after=["port-8080"],
            hints=["`ask` makes one call, and no more.", "Run the first cells again to start over."],
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
            "portmap before tuning",
            replace=made(add=PORTMAP_FIRST),
            red=["add-in-order"],
        ),
        Fault(
            "every wish for everybody",
            replace=made(
                add=ADD.replace('"runtimeConfig": mac', '"runtimeConfig": mac | ports').replace(
                    '"runtimeConfig": ports', '"runtimeConfig": mac | ports'
                )
            ),
            red=["each-told-its-own"],
        ),
        Fault(
            "the runtime does it",
            replace={
                "calls": COMMON + 'runtime.add(everything, "web-1", namespace="web", capability_args=mac | ports)\n'
                'runtime.delete(everything, "old-1")'
            },
            red=["calls-by-hand"],
        ),
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
        Fault(
            "web gets what old wanted",
            replace=made(
                add=ADD.replace('": mac,', '": {"mac": wishes["mac"]},').replace(
                    '": ports,', '": {"portMappings": wishes["portMappings"]},'
                )
            ),
            red=["web-has-its-mac", "port-8080"],
        ),
        Fault("old is forgotten", replace=made(delete=""), red=["del-in-reverse", "nothing-is-left"]),
    ],
)
