"""A map instead of many rules, and a set that cuts off whoever is in it."""

import json
import socket

from labkit.check import Check, Exercise, Fault, Look
from labkit.errors import NotFound
from labkit.net import namespace
from labkit.packets import capture, connect, serve

ROUTER, WORLD = "203.0.113.1", "203.0.113.2"
NAMES = {"services": "map", "banned": "set"}


def answers(*ports: int) -> dict[str, str]:
    """Let world call these ports of the router; return who answers, port by port."""
    with serve("red", 80, reply="red"), serve("blue", 80, reply="blue"), serve("blue", 81, reply="blue, port 81"):
        calls = [connect("world", ROUTER, port, data="?", timeout=0.4) for port in ports]
    return {"said": ", ".join(f"{call.port} {call.text if call.ok else 'does not answer'}" for call in calls)}


def published(look: Look) -> dict[str, str]:
    """Call the two published ports."""
    look.links("router")
    return answers(8081, 8082)


def element(look: Look, verb: str, name: str, text: str) -> None:
    """Add an element to the learner's map or set, or delete it. Raises NotFound where there is none that takes it."""
    done = look.run("router", f"nft {verb} element ip publish {name} '{{ {text} }}'")
    if done.status and verb == "add":
        raise NotFound(
            f"the {NAMES[name]} '{name}' of table 'ip publish' did not take the element {text}: {done.stderr[:200]}"
        )


def comes_and_goes(look: Look) -> dict[str, str]:
    """Publish one port more by an element, and call it; take it away, and call it again."""
    more = "8099 : 10.0.0.3 . 81"
    element(look, "add", "services", more)
    there = answers(8099)["said"]
    element(look, "delete", "services", more)
    return {"there": there, "gone": answers(8099)["said"]}


def somebody_elses(look: Look) -> dict[str, str]:
    """Let red call a port of world that has the number of a published one."""
    look.links("red")
    with serve("world", 8082, reply="world"), serve("blue", 80, reply="blue"):
        call = connect("red", WORLD, 8082, data="?", timeout=0.4)
    return {"said": call.text if call.ok else call.error or ""}


def rewriting(look: Look) -> dict[str, int]:
    """Count the rules in router that rewrite a destination."""
    listed = json.loads(look.run("router", "nft -j list ruleset").stdout or "{}").get("nftables", [])
    found = [one["rule"]["expr"] for one in listed if "rule" in one]
    return {"rules": sum(any({"dnat", "redirect"} & part.keys() for part in rule) for rule in found)}


def cut_off(look: Look) -> dict[str, str]:
    """Let world talk to red over one connection; ban world meanwhile; let it go on."""
    look.links("router")
    with serve("red", 80) as server:
        with namespace.enter("world"):
            talk = socket.create_connection((ROUTER, 8081), timeout=0.5)
        with talk:
            first = say(talk, "before")
            element(look, "add", "banned", WORLD)
            try:
                with capture("red/eth0", filter="tcp port 80") as seen:
                    then = say(talk, "after")
                    new = connect("world", ROUTER, 8081, timeout=0.4)
            finally:
                element(look, "delete", "banned", WORLD)
    arrived = any(one.direction == "in" for one in seen)
    told = "; ".join(
        [f"before it was banned, it {first}", f"after that, the same connection {then}"]
        + ["it opened a new connection"] * bool(new.ok)
        + ["what it sent still came to red"] * (arrived and not new.ok)
    )
    return {
        "told": told,
        "cut": first == "was answered" and then != "was answered" and not new.ok and not arrived,
        "calls": len(server.seen),
    }


def say(talk: socket.socket, text: str) -> str:
    """Send a line over a connection; return whether the server answered."""
    try:
        talk.sendall(text.encode())
        return "was answered" if talk.recv(100) else "was closed"
    except OSError:
        return "got no answer"


MAP = """    map services {
        type inet_service : ipv4_addr . inet_service
        elements = { 8081 : 10.0.0.2 . 80, 8082 : 10.0.0.3 . 80 }
    }
"""
SET = "    set banned { type ipv4_addr; }\n"
COMES_IN = 'iifname "eth1"'
TURN = "dnat ip to tcp dport map @services"
HEAD = "type nat hook prerouting priority dstnat;"


def ruleset(
    *, map_: str = MAP, turn: str = f"{COMES_IN} {TURN}", forward: str = "ip saddr @banned drop", more: str = ""
) -> dict[str, str]:
    """The cell of a learner with these parts; what is not given is right."""
    chains = f"    chain pre {{ {HEAD} {turn}; }}\n{more}"
    chains += f"    chain forward {{ type filter hook forward priority filter; {forward}; }}\n" if forward else ""
    text = f"table ip publish {{\n{map_}{SET}{chains}}}"
    return {"rules": f"rules = '''{text}'''\nnet.nftables.apply(rules, namespace=\"router\")"}


EACH = ["dnat to 10.0.0.2:80", "dnat to 10.0.0.3:80"]
RULES = "ip netns exec router nft list ruleset"

exercise = Exercise(
    "05-filtering-nat-conntrack/one-rule",
    title="One rule",
    needs=["nftables"],
    checks=[
        Check(
            "published",
            evidence=published,
            verdict=lambda said: said == "8081 red, 8082 blue",
            passed="world is answered on both ports: {said}",
            failed="world called the two ports: {said}",
            look_at=f'{RULES}; labkit.hooks("router")',
            points=2,
            within=0.5,
            hints=[
                "A chain of type nat, at the hook that comes before the routing decision.",
                "A statement `dnat` takes its target from a map, by what the packet has: `... map @services`.",
                "An address and a port in one are written with a dot between them, and `dnat ip to` takes both.",
            ],
        ),
        Check(
            "comes-and-goes",
            evidence=comes_and_goes,
            verdict=lambda there, gone: there == "8099 blue, port 81" and gone == "8099 does not answer",
            passed="a service comes and goes with an element of the map",
            failed="with an element for port 8099 in the map: {there}; without it: {gone}",
            look_at=RULES,
            points=2,
            after=["published"],
            hints=[
                "Does your rule look the port up in the map, or does it name ports?",
                "Look at the map's type again.",
            ],
        ),
        Check(
            "one-rule",
            evidence=rewriting,
            verdict=lambda rules: rules == 1,
            passed="one rule rewrites destinations",
            failed="rules that rewrite a destination: {rules}",
            look_at=RULES,
            after=["published"],
            hints=[
                "The map holds what differs from service to service.",
                "What is left is the same for all: one rule.",
            ],
        ),
        Check(
            "nobody-elses-port",
            evidence=somebody_elses,
            verdict=lambda said: said == "world",
            passed="what red sends to port 8082 of others arrives there",
            failed="red called port 8082 of world, and was told: {said}",
            look_at='lab.trace("203.0.113.2", from_="red", tcp=8082)',
            after=["published"],
            must_not=True,
            hints=["By which link does it come in, and does your rule ask?", "`iifname`"],
        ),
        Check(
            "banned",
            evidence=cut_off,
            verdict=lambda told, cut, calls: cut,  # noqa: ARG005
            passed="whoever is banned is cut off at once",
            failed="world called port 8081: {told}",
            look_at=RULES,
            points=2,
            after=["published"],
            must_not=True,
            hints=[
                "Which hook do packets on their way to a container meet, and which chain of yours is there?",
                "The packets of a known connection are not shown to a chain of type nat.",
                "What does your chain do before it comes to the set?",
            ],
        ),
    ],
    faults=[
        Fault(
            "a rule for each port",
            replace=ruleset(turn=f"{COMES_IN} tcp dport 8081 {EACH[0]}; {COMES_IN} tcp dport 8082 {EACH[1]}"),
            red=["comes-and-goes", "one-rule"],
        ),
        Fault(
            "a map written into the rule",
            replace=ruleset(
                turn=f"{COMES_IN} dnat ip to tcp dport map {{ 8081 : 10.0.0.2 . 80, 8082 : 10.0.0.3 . 80 }}"
            ),
            red=["comes-and-goes"],
        ),
        Fault(
            "addresses without ports",
            replace=ruleset(
                map_="map services { type inet_service : ipv4_addr; elements = {8081 : 10.0.0.2, 8082 : 10.0.0.3} }\n",
                turn="dnat to tcp dport map @services",
            ),
            red=["published"],
        ),
        Fault(
            "the rest by a second rule",
            replace=ruleset(turn=f"{COMES_IN} {TURN}; tcp dport 80 redirect to :8080"),
            red=["one-rule"],
        ),
        Fault("by any link", replace=ruleset(turn=TURN), red=["nobody-elses-port"]),
        Fault("nobody asks the set", replace=ruleset(forward=""), red=["banned"]),
        Fault(
            "the set asked for first packets alone",
            replace=ruleset(turn=f"ip saddr @banned drop; {COMES_IN} {TURN}", forward=""),
            red=["banned"],
        ),
        Fault(
            "known connections accepted before",
            replace=ruleset(forward="ct state established accept; ip saddr @banned drop"),
            red=["banned"],
        ),
        Fault("answers dropped alone", replace=ruleset(forward="ip daddr @banned drop"), red=["banned"]),
        Fault(
            "banned from the router itself",
            replace=ruleset(
                forward="", more="    chain input { type filter hook input priority filter; ip saddr @banned drop; }\n"
            ),
            red=["banned"],
        ),
    ],
)
