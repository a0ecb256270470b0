"""What is made inside a namespace: who else has it?"""

from typing import Any

from labkit.check import Exercise, Fault, answered, connects, does_not_connect

NETWORK = "Is it a part of the network? A network namespace isolates the network, and nothing else."
TRY = "Now look: type in host what the task says."

LOOK_AT = {
    "link": "ip link",
    "route": "ip route",
    "firewall": 'labkit.ping("host", "127.0.0.1")',
    "sysctl": "sysctl net.ipv4.ip_forward",
    "file": "cat /run/note",
    "process": "ps -e",
    "port": 'labkit.connect("host", "127.0.0.1", 8080)',
}
TRUTH: dict[str, Any] = {
    "link": lambda look: "br7" in look.links("host"),
    "route": lambda look: any(route.dst == "192.0.2.0/24" for route in look.routes("host")),
    "firewall": lambda look: not look.ping("host", "127.0.0.1").answered,
    "sysctl": lambda look: look.sysctl("host", "net.ipv4.ip_forward") == "1",
    "file": True,  # one mount namespace
    "process": True,  # one PID namespace
    "port": False,
}
ANSWERS = "[labkit.answer(name, seen) for name, seen in guess.items()]"


def guess(**other: bool) -> str:
    """The cell with the right answers, but for some."""
    right = dict.fromkeys(TRUTH, False) | {"file": True, "process": True}
    return f"guess = {right | other}\n{ANSWERS}"


exercise = Exercise(
    "01-network-namespaces/own-or-shared",
    title="Own or shared?",
    checks=[
        *(answered(name, TRUTH[name], look_at=LOOK_AT[name], hints=[NETWORK, TRY]) for name in TRUTH),
        does_not_connect(
            "host",
            "127.0.0.1",
            8080,
            name="nobody-answers-in-host",
            after=["port"],
            control=connects("red", "127.0.0.1", 8080),
            hints=[
                "Something listens in host now. Who made it?",
                "Restart the kernel, and run the cells from the top.",
            ],
        ),
    ],
    faults=[
        Fault(
            "a namespace isolates everything",
            replace={"guess": guess(file=False, process=False)},
            red=["file", "process"],
        ),
        Fault(
            "a namespace isolates links only",
            replace={"guess": guess(route=True, firewall=True, sysctl=True, port=True)},
            red=["route", "firewall", "sysctl", "port"],
        ),
        Fault(
            "127.0.0.1 is the computer", replace={"guess": guess(port=True, firewall=True)}, red=["port", "firewall"]
        ),
        Fault("host sees all that is on the computer", replace={"guess": guess(link=True)}, red=["link"]),
        Fault(
            "tried out, and left running",
            replace={"guess": guess() + '\nin_host = labkit.serve("host", 8080, reply="hello")'},
            red=["nobody-answers-in-host"],
        ),
    ],
)
