"""A container and its rules, almost as Docker makes them: read the comparison, and mend what differs."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look
from labkit.docker import compare
from labkit.packets import Connection, connect, reply_source, serve

OURS, WORLD = "203.0.113.1", "203.0.113.2"


def said(call: Connection) -> str:
    """What the caller was told, or why there was no answer."""
    return call.text if call.ok and call.data else call.error or "connected, and no answer"


def calls(caller: str, address: str, port: int, inside: int = 80) -> object:
    """Return evidence: let `caller` call; web listens on port `inside`, and answers with the address that it sees."""

    def evidence(look: Look) -> dict[str, Any]:
        look.links("web")
        with serve("web", inside, reply=reply_source) as server:
            call = connect(caller, address, port, data="who am I?", timeout=0.5)
        return {"said": said(call), "seen": ", ".join(server.callers) or "nobody"}

    return evidence


def outward(look: Look) -> dict[str, Any]:
    """Let web call world, which answers with the address that it sees."""
    look.links("web")
    with serve("world", 9000, reply=reply_source):
        return {"said": said(connect("web", WORLD, 9000, data="who am I?", timeout=0.5))}


COMPARE = 'compare("publish", besides=["veth-world"])'
POLICY = "!iptables -P FORWARD DROP"
OUT = "!iptables -t nat -R POSTROUTING 1 -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"
DNAT = "!iptables -t nat -R DOCKER 2 ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
LINK = "!ip -n web link set eth0 mtu 1500; ip -n web link set eth0 address 02:42:ac:11:00:02"


def differing(*kinds: str) -> object:
    """Return evidence: how many lines of these kinds differ from Docker's."""

    def evidence(look: Look) -> dict[str, Any]:
        look.links("web")
        lines = compare("publish", besides=["veth-world"]).unexplained
        return {"number": sum(line.kind in kinds for line in lines)}

    return evidence


def mended(*commands: str) -> dict[str, str]:
    """The cell of a learner who types these commands."""
    return {"mend": "\n".join(commands)}


exercise = Exercise(
    "06-docker-by-hand/spot-the-difference",
    title="Spot the difference",
    checks=[
        Check(
            "web-goes-out",
            evidence=outward,
            verdict=lambda said: said == OURS,
            passed=f"web calls world, which sees {OURS}",
            failed="web called world, which should answer with the address that it sees: {said}",
            look_at=f'labkit.trace("{WORLD}", from_="web"); {COMPARE}',
            within=0.5,
            hints=["For which source addresses does the rule masquerade?", "Which subnet is docker0's?"],
        ),
        Check(
            "rules",
            evidence=differing("filter", "nat"),
            verdict=lambda number: number == 0,
            passed="the rules of filter and nat are Docker's, in Docker's order",
            failed="lines of filter and nat that differ: {number}",
            look_at=COMPARE,
            points=2,
            hints=[
                "A line with a minus and one with a plus next to it are often one rule, written in two ways.",
                "`iptables -R CHAIN NUMBER RULE` replaces a rule in its place; a policy is set by `-P`.",
            ],
        ),
        Check(
            "links",
            evidence=differing("link", "address", "route", "sysctl"),
            verdict=lambda number: number == 0,
            passed="links, addresses, routes and sysctls are Docker's",
            failed="lines of links, addresses, routes and sysctls that differ: {number}",
            look_at=f"{COMPARE}; ip -n web link",
            hints=["Which MAC goes with the address 172.17.0.2?", "How large are packets on docker0?"],
        ),
        Check(
            "no-other-port",
            evidence=calls("world", "172.17.0.2", 81, 81),
            verdict=lambda said, seen: seen == "nobody",  # noqa: ARG005
            passed="web's other ports are closed to world",
            failed="world called 172.17.0.2, port 81, which is not published: {said}",
            look_at="iptables -S FORWARD",
            points=2,
            after=["web-goes-out"],
            must_not=True,
            hints=["What becomes of a packet that no rule of FORWARD takes?"],
        ),
    ],
    faults=[
        Fault("the policy overlooked", replace=mended(OUT, DNAT, LINK), red=["rules", "no-other-port"]),
        Fault("the subnet overlooked", replace=mended(POLICY, DNAT, LINK), red=["web-goes-out", "rules"]),
        Fault("the link overlooked", replace=mended(POLICY, OUT, DNAT), red=["links"]),
        Fault(
            "another MAC, but not that of the address",
            replace=mended(POLICY, OUT, DNAT, LINK.replace("00:02", "02:00")),
            red=["links"],
        ),
        Fault(
            "appended in place of replaced",
            replace=mended(POLICY, OUT, DNAT.replace("-R DOCKER 2", "-A DOCKER"), LINK),
            red=["rules"],
        ),
    ],
)
