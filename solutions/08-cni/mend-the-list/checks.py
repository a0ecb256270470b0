"""A network configuration with four faults: an order, a name, a range, and a wish that nobody is told."""

from ipaddress import ip_interface, ip_network
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, reaches
from labkit.packets import Connection, connect, reply_source, serve

OURS, WORLD = "203.0.113.1", "203.0.113.2"
RANGE = ip_network("10.244.1.0/24")


def said(call: Connection) -> str:
    """What the caller was told, or why there was no answer."""
    return call.text if call.ok and call.data else call.error or "connected, and no answer"


def published(look: Look) -> dict[str, Any]:
    """Let world call port 8080; web listens on port 80."""
    look.links("web")
    with serve("web", 80, reply=reply_source):
        return {"said": said(connect("world", OURS, 8080, data="who am I?", timeout=0.5))}


def seen_by_far(look: Look) -> dict[str, Any]:
    """Let web call far, which answers with the address that it sees."""
    own = look.ip("web")
    with serve("far", 9000, reply=reply_source):
        return {"own": own, "said": said(connect("web", "10.244.2.2", 9000, data="who am I?", timeout=0.5))}


def addresses(look: Look) -> dict[str, Any]:
    """Which addresses of web and db are not of this node's range, or with another prefix."""
    every = [ip_interface(address) for name in ("web", "db") for address in look.addresses(name)]
    return {"wrong": ", ".join(str(one) for one in every if one.ip.version == 4 and not one.is_loopback
                               and one.network != RANGE)}  # fmt: skip


def kept(look: Look) -> dict[str, Any]:
    """Which network the list is of, and which plugins stand in it."""
    given = look.answer("conflist")
    types = sorted(str(plugin.get("type")) for plugin in given.get("plugins", []))
    return {"name": given.get("name"), "types": ", ".join(types)}


def left(look: Look) -> dict[str, Any]:
    """What is left of job."""
    rules = [rule for rule in look.run("host", "iptables -t nat -S").stdout.splitlines() if "job-1" in rule]
    found = [f"{len(rules)} rules of table nat"] if rules else []
    found += [f"the address {address}" for address, whose in look.answer("held").items() if whose == "job-1"]
    return {"left": ", ".join(found)}


BRIDGE = """{"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam":
    {"type": "host-local", "subnet": "10.244.1.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}"""
PORTMAP = '{"type": "portmap", "capabilities": {"portMappings": True}}'


def written(*plugins: str, name: str = "pods") -> dict[str, str]:
    """The cell of a learner who writes this list."""
    return {"conflist": f'conflist = {{"cniVersion": "1.0.0", "name": "{name}", "plugins": [{", ".join(plugins)}]}}'}


exercise = Exercise(
    "08-cni/mend-the-list",
    title="Mend the list",
    checks=[
        reaches(
            "web",
            "db",
            look_at="what the cell prints that applies the list",
            hints=[
                "Which plugin makes an interface, and which one changes what is there?",
                "What is the name of the file of the plugin that gives addresses?",
            ],
        ),
        Check(
            "far-sees-web",
            evidence=seen_by_far,
            verdict=lambda own, said: said == own,
            passed="far sees web with its own address",
            failed="web, which has {own}, called far, which should answer with the address that it sees: {said}",
            look_at='ip -n web route; labkit.trace("10.244.2.2", from_="web")',
            points=2,
            after=["web-reaches-db"],
            within=0.5,
            hints=[
                "For whom does web ask by ARP, and for whom does it ask its gateway?",
                "Whose range is 10.244.2.0/24?",
            ],
        ),
        Check(
            "addresses-of-this-node",
            evidence=addresses,
            verdict=lambda wrong: not wrong,
            passed="web and db have addresses of this node's range",
            failed="not of this node's range, or with another prefix: {wrong}",
            look_at="ip -n web -4 address",
            after=["web-reaches-db"],
            hints=["One node, one range: which one is this node's?"],
        ),
        Check(
            "the-plugins-stay-two",
            evidence=kept,
            verdict=lambda name, types: (name, types) == ("pods", "bridge, portmap"),
            passed="the network is {name}, and its plugins are {types}",
            failed="network {name}, plugins {types}: it was pods, with two plugins",
            look_at="the cell with your list",
            after=["web-reaches-db"],
            hints=["What is not one of the four faults stays as it is."],
        ),
        Check(
            "port-8080",
            evidence=published,
            verdict=lambda said: said == WORLD,
            passed="world calls port 8080 of the node, and web answers",
            failed=f"world called {OURS}, port 8080: {{said}}",
            look_at="iptables -t nat -S; print(runtime.calls[1])",
            points=2,
            after=["web-reaches-db"],
            within=0.5,
            hints=["Was portmap told about the port at all?", "A plugin is told only what it declares."],
        ),
        Check(
            "nothing-is-left-of-job",
            evidence=left,
            verdict=lambda left: not left,
            passed="of job nothing is left",
            failed="left of job: {left}",
            look_at="iptables -t nat -S; ls /run/labkit/cni/host/networks/pods",
            points=2,
            after=["web-reaches-db"],
            must_not=True,
            hints=["Which setting makes rules of its own for each pod?", "Its namespace was gone before the DEL."],
        ),
    ],
    faults=[
        Fault("the order stays", replace=written(PORTMAP, BRIDGE), red=["web-reaches-db"]),
        Fault(
            "the name stays",
            replace=written(BRIDGE.replace("host-local", "host-locl"), PORTMAP),
            red=["web-reaches-db"],
        ),
        Fault(
            "the range stays",
            replace=written(BRIDGE.replace("10.244.1.0/24", "10.244.0.0/16"), PORTMAP),
            red=["far-sees-web", "addresses-of-this-node"],
        ),
        Fault(
            "the other node's range",
            replace=written(BRIDGE.replace("10.244.1.0/24", "10.244.2.0/24"), PORTMAP),
            red=["far-sees-web", "addresses-of-this-node", "port-8080"],
        ),
        Fault("nobody declares the ports", replace=written(BRIDGE, '{"type": "portmap"}'), red=["port-8080"]),
        Fault(
            "bridge declares them",
            replace=written(BRIDGE[:-1] + ', "capabilities": {"portMappings": True}}', '{"type": "portmap"}'),
            red=["port-8080"],
        ),
        Fault("portmap left out", replace=written(BRIDGE), red=["port-8080", "the-plugins-stay-two"]),
        Fault(
            "a third plugin",
            replace=written(BRIDGE, PORTMAP, '{"type": "tuning"}'),
            red=["the-plugins-stay-two"],
        ),
        Fault("another network", replace=written(BRIDGE, PORTMAP, name="net"), red=["the-plugins-stay-two"]),
        Fault(
            "masqueraded",
            replace=written(BRIDGE.replace('"isGateway": True', '"isGateway": True, "ipMasq": True'), PORTMAP),
            red=["far-sees-web", "nothing-is-left-of-job"],
        ),
        Fault(
            "no gateway",
            replace=written(BRIDGE.replace('"isGateway": True, ', ""), PORTMAP),
            red=["far-sees-web", "port-8080"],
        ),
    ],
)
