"""Predict who reaches whom on three networks; then connect two without opening a way out."""

from collections.abc import Callable

from labkit.check import Check, Exercise, Fault, Look, answered
from labkit.packets import connect, serve

WORLD = "203.0.113.2"
ISOLATION = ["Which networks are the two on?", "Networks are kept apart, unless a container is on both."]
PROXY = [
    "What goes to an address of the host is not forwarded.",
    "Who listens on port 8080 of the host, and on which of its addresses?",
]
TURNED = [
    "Does the call come to the proxy, or is it turned before? See for which bridges: `iptables -t nat -S DOCKER`.",
    "And when it is turned: is the packet still one for the host?",
]
INTERNAL = ["An internal network has no way out.", "A container on two networks has the ways of both."]


def on(look: Look, name: str, subnet: str) -> str:
    """Return a container's address on a subnet, "172.19."."""
    return next((text.partition("/")[0] for text in look.addresses(name) if text.startswith(subnet)), "192.0.2.254")


def pings(source: str, target: str, subnet: str = "") -> Callable[[Look], bool]:
    """Return whether `source` reaches an address, or a container on a subnet."""
    return lambda look: bool(look.ping(source, on(look, target, subnet) if subnet else target).answered)


def is_served(caller: str, address: str) -> Callable[[Look], bool]:
    """Return whether `caller` reaches web by the host's port 8080."""

    def call(look: Look) -> bool:
        look.links("web")
        with serve("web", 80, reply="web here"):
            return connect(caller, address, 8080, data="who is there?", timeout=0.5).text == "web here"

    return call


TRUTHS = (
    (pings("web", "app", "172.18."), ISOLATION),
    (pings("web", "db", "172.19."), ISOLATION),
    (pings("app", "db", "172.19."), ISOLATION),
    (is_served("db", "172.19.0.1"), PROXY),
    (pings("safe", WORLD), INTERNAL),
    (pings("job", WORLD), INTERNAL),
    (is_served("safe", "172.20.0.1"), TURNED),
)


def safe_to_db(look: Look) -> dict[str, object]:
    """Let safe ping db at each of its addresses."""
    addresses = [text.partition("/")[0] for text in look.addresses("db") if not text.startswith("127.")]
    pinged = [look.ping("safe", address) for address in addresses]
    return {"reached": any(ping.answered for ping in pinged), "told": "; ".join(str(ping) for ping in pinged)}


def ways_out(look: Look) -> dict[str, object]:
    """Let safe ping world, and web ping db."""
    addresses = [text.partition("/")[0] for text in look.addresses("db") if not text.startswith("127.")]
    pinged = [look.ping("safe", WORLD), *(look.ping("web", address) for address in addresses)]
    return {"told": "; ".join(str(ping) for ping in pinged if ping.answered) or "none"}


exercise = Exercise(
    "06-docker-by-hand/who-reaches-whom",
    title="Who reaches whom?",
    checks=[
        *(
            answered(
                f"answer_{number}",
                truth,
                look_at='docker; labkit.trace("...", from_="..."); iptables -S DOCKER-ISOLATION-STAGE-1',
                hints=hints,
            )
            for number, (truth, hints) in enumerate(TRUTHS, 1)
        ),
        Check(
            "safe-reaches-db",
            evidence=safe_to_db,
            verdict=lambda reached, told: reached,  # noqa: ARG005
            passed="safe reaches db",
            failed="safe does not reach db: {told}",
            look_at="docker.network_inspect('vault')",
            points=2,
            hints=["The two need a network in common.", "There are two ways to have one. What else comes with each?"],
        ),
        Check(
            "no-way-out",
            evidence=ways_out,
            verdict=lambda told: told == "none",
            passed="safe has no way out, and web none to db",
            failed="answered, and should not be: {told}",
            look_at="ip -n safe route; ip -n db address",
            points=2,
            after=["safe-reaches-db"],
            must_not=True,
            hints=["Which of its networks has a way out?", "Run the first cell again to start over."],
        ),
    ],
    faults=[
        Fault(
            "networks do not keep apart",
            replace={"predict": "for number in range(1, 8):\n    labkit.answer(f'answer_{number}', True)"},
            red=["answer-2", "answer-5", "answer-7"],
        ),
        Fault(
            "the proxy forgotten",
            replace={
                "predict": """for number, value in enumerate((True, False, True, False, False, True, False), 1):
    labkit.answer(f"answer_{number}", value)"""
            },
            red=["answer-4"],
        ),
        Fault(
            "a way out for safe",
            replace={"connect": 'docker.network_connect("back", "safe")'},
            red=["answer-5", "no-way-out"],
        ),
        Fault(
            "db moves to where web is",
            replace={"connect": 'docker.network_connect("front", "db")'},
            red=["safe-reaches-db"],
        ),
        Fault(
            "and web comes along",
            replace={"connect": 'docker.network_connect("vault", "db"); docker.network_connect("vault", "web")'},
            red=["no-way-out"],
        ),
    ],
)
