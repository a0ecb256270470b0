"""A plugin of one's own: judged by packets, by the conformance suite, and by what it leaves behind."""

import re
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, reaches

SUITE = "what the cells print that run the suite"


def suite(name: str, what: str, answer: str, cases: str, *hints: str, points: int = 1) -> Check:
    """Of what was noted of the conformance suite, the cases whose name matches have passed."""

    def evidence(look: Look) -> dict[str, Any]:
        told = [one for one in look.answer(answer) if re.search(cases, one[1])]
        wrong = [f"{case}: {said}" for verdict, case, said in told if verdict == "deviation"]
        passed = any(verdict == "passed" for verdict, _, _ in told)
        return {"wrong": "; ".join(wrong) if wrong or passed else "no case was passed"}

    return Check(
        name,
        evidence=evidence,
        verdict=lambda wrong: not wrong,
        passed=f"{what}: the suite finds no deviation",
        failed=f"{what}: {{wrong}}",
        look_at=SUITE,
        points=points,
        after=["web-reaches-world"],
        hints=hints,
    )


def left(look: Look) -> dict[str, Any]:
    """What is there of the two that are gone."""
    ports = sum(link.master == "cni0" for link in look.links("host").values())
    found = [] if ports == 2 else [f"cni0 has {ports} ports"]
    found += ["half has an eth0"] if "eth0" in look.links("half") else []
    held = look.answer("held")
    found += [f"{address} is kept for {who}" for address, who in held.items() if who in ("gone-1", "half-1")]
    return {"left": "; ".join(found)}


TOP = """%%writefile /run/mine/my-bridge
#!/usr/bin/python3 -S
import hashlib
import ipaddress
import json

from frame import Fault, delegate, ip, serve


def cable(config, container, ifname):
    return "veth" + hashlib.sha256(f"{config['name']} {container} {ifname}".encode()).hexdigest()[:8]

"""
ADD = """
def add(config, container, netns, ifname):
    ip("link", "show", "lo", netns=netns)
    if ip("link", "show", ifname, netns=netns, check=False):
        raise Fault(100, f"{ifname} exists already")
    try:
        return wire(config, container, netns, ifname)
    except Fault:
        delete(config, container, netns, ifname)
        raise

"""
WIRE = """
def wire(config, container, netns, ifname):
    given = delegate(config, "ADD")
    first, bridge, here = given["ips"][0], config["bridge"], cable(config, container, ifname)
    prefix = ipaddress.ip_interface(first["address"]).network.prefixlen
    ip("link", "add", bridge, "type", "bridge", check=False)
    ip("address", "replace", f"{first['gateway']}/{prefix}", "dev", bridge)
    ip("link", "set", bridge, "up")
    ip("link", "add", here, "type", "veth", "peer", "name", ifname, "netns", netns)
    ip("link", "set", here, "master", bridge, "up")
    ip("address", "add", first["address"], "dev", ifname, netns=netns)
    ip("link", "set", ifname, "up", netns=netns)
    for way in given.get("routes", []):
        ip("route", "add", way["dst"], "via", way.get("gw", first["gateway"]), "dev", ifname, netns=netns)
    interfaces = [{"name": bridge}, {"name": here}, {"name": ifname, "sandbox": netns}]
    ips = [{**one, "interface": 2} for one in given["ips"]]
    return {"interfaces": interfaces, "ips": ips, "routes": given.get("routes", [])}

"""
DELETE = """
def delete(config, container, netns, ifname):
    ip("link", "delete", cable(config, container, ifname), check=False)
    delegate(config, "DEL")

"""
CHECK = """
def check(config, container, netns, ifname):
    (seen,) = json.loads(ip("-json", "address", "show", "dev", ifname, netns=netns))
    if "UP" not in seen["flags"]:
        raise Fault(100, f"{ifname} is down")
    addresses = [f"{one['local']}/{one['prefixlen']}" for one in seen["addr_info"]]
    routes = [one["dst"].replace("default", "0.0.0.0/0") for one in json.loads(ip("-json", "route", netns=netns))]
    for one in config["prevResult"]["ips"]:
        if one["address"] not in addresses:
            raise Fault(100, f"{one['address']} is gone")
    for one in config["prevResult"].get("routes", []):
        if one["dst"] not in routes:
            raise Fault(100, f"the route to {one['dst']} is gone")
    delegate(config, "CHECK")

"""
NO_UNDO = """
def add(config, container, netns, ifname):
    if ip("link", "show", ifname, netns=netns, check=False):
        raise Fault(100, f"{ifname} exists already")
    return wire(config, container, netns, ifname)

"""
REPLACES = """
def add(config, container, netns, ifname):
    ip("link", "delete", ifname, netns=netns, check=False)
    delegate(config, "DEL")
    try:
        return wire(config, container, netns, ifname)
    except Fault:
        delete(config, container, netns, ifname)
        raise

"""
TAKES_IT_ALONG = """
def add(config, container, netns, ifname):
    try:
        return wire(config, container, netns, ifname)
    except Fault:
        ip("link", "delete", ifname, netns=netns, check=False)
        delegate(config, "DEL")
        raise

"""
STRICT_DELETE = """
def delete(config, container, netns, ifname):
    ip("link", "delete", ifname, netns=netns)
    delegate(config, "DEL")

"""
CONTENT = """
def check(config, container, netns, ifname):
    ip("link", "show", ifname, netns=netns)

"""


def written(
    add: str = ADD, wire: str = WIRE, delete: str = DELETE, check: str = CHECK, top: str = TOP
) -> dict[str, str]:
    """The cell of a learner who wrote these functions."""
    return {"plugin": f"{top}{add}{wire}{delete}{check}\nserve(add, delete, check)\n"}


exercise = Exercise(
    "08-cni/your-plugin",
    title="Your own plugin",
    checks=[
        reaches(
            "web",
            "10.244.1.3",
            name="web-reaches-db",
            look_at="what the cell prints that begins the day; ip -n web address; ip link show master cni0",
            hints=[
                "What does the cell print that begins the day? It has your plugin's own error.",
                "Both cables are ports of the bridge, and every link has to be up.",
            ],
        ),
        reaches(
            "web",
            "203.0.113.2",
            name="web-reaches-world",
            after=["web-reaches-db"],
            points=2,
            hints=["Which routes did host-local return?", "A route without `gw` goes by the gateway of the address."],
        ),
        suite(
            "suite-add",
            "ADD",
            "suite_add",
            "",
            "What does the result say, and is it so in the kernel?",
            "A second ADD must not touch what the first one made, nor may another container's.",
            "A container may have an eth0 and a net1. What is different of them: name, cable, address?",
        ),
        suite(
            "suite-many",
            "several pods",
            "suite_many",
            "",
            "What do two ADDs at once do to the bridge? What becomes of an ADD when no address is free?",
            "After a DEL an address is free again. Is it?",
        ),
        suite(
            "suite-half-way",
            "an ADD that fails half-way",
            "suite_del",
            "half-way",
            "host-local has reserved an address when a later step of ADD fails. Who gives it back?",
            "try ... except Fault: ... raise",
            points=2,
        ),
        suite(
            "suite-del",
            "DEL",
            "suite_del",
            "^DEL",
            "DEL does not ask: was it there? It asks: is it gone?",
            "The namespace may be gone, and what lay in it, too. What is left is the address.",
            points=2,
        ),
        suite(
            "suite-check",
            "CHECK",
            "suite_check",
            "",
            'Compare each thing of config["prevResult"] with what `ip -json` says.',
            "Four things can be missing or wrong: the interface, its state, an address, a route.",
            points=2,
        ),
        Check(
            "nothing-is-left",
            evidence=left,
            verdict=lambda left: not left,
            passed="of gone and half nothing is left",
            failed="left of those that are gone: {left}",
            look_at="ip link show master cni0; ip -n half link; ls /run/labkit/cni/host/networks/pods",
            points=2,
            after=["web-reaches-world"],
            must_not=True,
            hints=["Which of the two calls for gone was answered by an error?", "Who frees the address?"],
        ),
    ],
    faults=[
        Fault("an ADD that fails keeps the address", replace=written(add=NO_UNDO), red=["suite-half-way"]),
        Fault(
            "DEL needs the namespace",
            replace=written(delete=STRICT_DELETE),
            red=["suite-many", "suite-del", "suite-half-way", "nothing-is-left"],
        ),
        Fault(
            "the address is not given back",
            replace=written(delete=DELETE.replace('    delegate(config, "DEL")\n', "")),
            red=["suite-add", "suite-many", "suite-del", "suite-half-way", "nothing-is-left"],
        ),
        Fault("a second ADD takes the first one's place", replace=written(add=REPLACES), red=["suite-add"]),
        Fault(
            "a failed ADD takes another container's interface along",
            replace=written(add=TAKES_IT_ALONG),
            red=["suite-add"],
        ),
        Fault(
            "a container's cables have one name",
            replace=written(top=TOP.replace("{config['name']} {container} {ifname}", "{container}")),
            red=["suite-add"],
        ),
        Fault("CHECK looks for the interface alone", replace=written(check=CONTENT), red=["suite-check"]),
        Fault(
            "the routes are forgotten",
            replace=written(wire=re.sub(r"    for way.*?\n.*?\n", "", WIRE)),
            red=["web-reaches-world"],
        ),
        Fault(
            "the bridge has no address",
            replace=written(wire=re.sub(r'    ip\("address", "replace".*?\n', "", WIRE)),
            red=["web-reaches-world"],
        ),
        Fault(
            "the cable is not plugged in",
            replace=written(wire=WIRE.replace('"master", bridge, "up"', '"up"')),
            red=["web-reaches-db"],
        ),
    ],
)
