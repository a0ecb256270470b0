"""A recorded CNI call with holes: fill them in; the calls are then made as they were filled in."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look, reaches
from labkit.packets import Connection, connect, reply_source, serve

OURS, WORLD = "203.0.113.1", "203.0.113.2"
RIGHT = {
    "a": "c77e",
    "b": "/run/netns/shop",
    "c": "net0",
    "d": "market",
    "e": "br-shop",
    "f": "10.244.7.0/24",
    "g": "0.0.0.0/0",
    "h": "ADD",
    "i": "10.244.7.20/24",
    "j": "2",
    "k": "8090",
    "l": "80",
}
ALSO = {"b": ("/var/run/netns/shop",)}


def filled(name: str, what: str, letters: str, look_at: str, *hints: str) -> Check:
    """The holes with these letters are filled in as they were."""

    def evidence(look: Look) -> dict[str, Any]:
        given = look.answer("holes")
        wrong = [
            f"({letter}) is not {given[letter]}" if given.get(letter) else f"({letter}) is not filled in"
            for letter in letters
            if given.get(letter) not in (RIGHT[letter], *ALSO.get(letter, ()))
        ]
        return {"wrong": "; ".join(wrong)}

    return Check(
        name,
        evidence=evidence,
        verdict=lambda wrong: not wrong,
        passed=f"{what}: as recorded",
        failed=f"{what}: {{wrong}}",
        look_at=look_at,
        points=2,
        hints=hints,
    )


def said(call: Connection) -> str:
    """What the caller was told, or why there was no answer."""
    return call.text if call.ok and call.data else call.error or "connected, and no answer"


def calls(port: int, inside: int) -> object:
    """Return evidence: let world call a port of the node; shop listens on port `inside`."""

    def evidence(look: Look) -> dict[str, Any]:
        look.links("shop")
        with serve("shop", inside, reply=reply_source):
            return {"said": said(connect("world", OURS, port, data="who am I?", timeout=0.5))}

    return evidence


def with_holes(**other: object) -> dict[str, str]:
    """The cell of a learner who filled in these otherwise."""
    return {"holes": f"holes = {RIGHT | other}"}


exercise = Exercise(
    "08-cni/read-a-call",
    title="Read a call",
    checks=[
        filled(
            "variables",
            "the variables",
            "abch",
            "the files of host-local; ip -n shop; the chapter's table of variables",
            "What did host-local write into its file?",
            "CNI_NETNS is the path of a file. `ip netns` keeps its names in one folder.",
            "In which variables may a plugin's call to another one differ from the call that it got?",
        ),
        filled(
            "configuration",
            "the configuration",
            "defg",
            "the folder of host-local; the node's addresses; the pod's routes",
            "How is the folder called in which the addresses of a network lie?",
            "How long is the prefix of the pod's address? Which route did it get beside that of its subnet?",
        ),
        filled(
            "result",
            "results and wishes",
            "ijkl",
            "the list `interfaces` of the first answer; the rule with DNAT",
            "An address in a result has its prefix length. Interfaces are counted from 0 on.",
            "--dport is what the caller asks for.",
        ),
        reaches(
            "shop",
            "10.244.7.1",
            name="the-pod-is-wired",
            hints=["What does the cell print that makes the calls?", "Can a plugin open the path in CNI_NETNS?"],
        ),
        Check(
            "its-port-is-published",
            evidence=calls(8090, 80),
            verdict=lambda said: said == WORLD,
            passed="world calls port 8090 of the node, and the pod answers",
            failed=f"world called {OURS}, port 8090: {{said}}",
            look_at="iptables -t nat -S",
            after=["the-pod-is-wired"],
            within=0.5,
            hints=["portmap takes the address that is on the interface with the pod's name for it: (c)."],
        ),
        Check(
            "no-other-port-is",
            evidence=calls(80, 8090),
            verdict=lambda said: said != WORLD,
            passed="world finds nothing at port 80 of the node",
            failed=f"world called {OURS}, port 80, and the pod answered from its port 8090",
            look_at="iptables -t nat -S",
            after=["the-pod-is-wired"],
            must_not=True,
            hints=["Which of the two ports is the node's?"],
        ),
    ],
    faults=[
        Fault("the namespace's name", replace=with_holes(b="shop"), red=["variables", "the-pod-is-wired"]),
        Fault("the usual interface name", replace=with_holes(c="eth0"), red=["variables"]),
        Fault("an operation that is not", replace=with_holes(h="IPAM"), red=["variables"]),
        Fault("the namespace for the network", replace=with_holes(d="shop"), red=["configuration"]),
        Fault(
            "the cluster's subnet",
            replace=with_holes(f="10.244.0.0/16"),
            red=["configuration", "the-pod-is-wired"],
        ),
        Fault("counted from one", replace=with_holes(j=3), red=["result"]),
        Fault("the cable's other end", replace=with_holes(j=1), red=["result", "its-port-is-published"]),
        Fault(
            "ports the other way round",
            replace=with_holes(k=80, l=8090),
            red=["result", "its-port-is-published", "no-other-port-is"],
        ),
        Fault("no prefix length", replace=with_holes(i="10.244.7.20"), red=["result", "its-port-is-published"]),
    ],
)
