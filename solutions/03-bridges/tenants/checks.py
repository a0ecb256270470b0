"""Three tenants on one bridge that reach the gateway and a service, and not each other."""

from labkit.check import Check, Exercise, Fault, Look, does_not_reach, reaches

TENANTS = ("red", "blue", "amber")
GATEWAY, SERVICE = "10.0.0.1", "10.0.0.4"
PORTS = "bridge -d link show"
APART = ["red-does-not-reach-10.0.0.3", "blue-does-not-reach-10.0.0.5", "amber-does-not-reach-10.0.0.2"]
HINTS = [
    "A bridge port has switches: `bridge -d link show dev veth-red`.",
    "Isolation is between two ports that are both isolated.",
    "Which of the four ports belong to tenants?",
]


def all_reach_green(look: Look) -> dict[str, str]:
    """Ping the shared service from every tenant."""
    asked = [look.ping(name, SERVICE) for name in TENANTS]
    return {"silent": "; ".join(str(ping) for ping in asked if not ping.answered) or "none"}


exercise = Exercise(
    "03-bridges/tenants",
    title="Tenants",
    checks=[
        does_not_reach("red", "10.0.0.3", control=reaches("red", GATEWAY), look_at=PORTS, hints=HINTS),
        does_not_reach("blue", "10.0.0.5", control=reaches("blue", GATEWAY), look_at=PORTS, hints=HINTS),
        does_not_reach("amber", "10.0.0.2", control=reaches("amber", GATEWAY), look_at=PORTS, hints=HINTS),
        Check(
            "all-reach-green",
            evidence=all_reach_green,
            verdict=lambda silent: silent == "none",
            passed="every tenant keeps green",
            failed="not answered: {silent}",
            look_at=PORTS,
            after=APART,
            hints=["Whom does an isolated port still hear?", "Run the first cell again to start over."],
        ),
    ],
    faults=[
        Fault("one port only", replace={"isolate": "!bridge link set dev veth-red isolated on"}, red=APART),
        Fault(
            "one tenant forgotten",
            replace={"isolate": "!bridge link set dev veth-red isolated on; bridge link set dev veth-blue isolated on"},
            red=APART[1:],
        ),
        Fault(
            "every port",
            replace={
                "isolate": "!for name in red blue green amber; do bridge link set dev veth-$name isolated on; done"
            },
            red=["all-reach-green"],
        ),
        Fault(
            "the service in place of a tenant",
            replace={"isolate": "!for name in red blue green; do bridge link set dev veth-$name isolated on; done"},
            red=APART[1:],
        ),
    ],
)
