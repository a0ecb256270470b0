"""Two namespaces; settings that reach one of them and nobody else."""

from labkit.check import Check, Exercise, Fault, Look, does_not_reach, has_route, has_sysctl, namespace_exists, reaches

PREFIX = "192.0.2.0/24"
SETTING = "net.ipv4.ip_forward"


def others_that_forward(look: Look) -> dict[str, str]:
    return {"others": ", ".join(name for name in ("host", "amber") if look.sysctl(name, SETTING) != "0") or "none"}


def others_with_the_route(look: Look) -> dict[str, str]:
    found = [name for name in ("host", "amber") if any(route.dst == PREFIX for route in look.routes(name))]
    return {"others": ", ".join(found) or "none"}


exercise = Exercise(
    "01-network-namespaces/a-room-of-its-own",
    title="A room of its own",
    checks=[
        namespace_exists("green", hints=["`ip netns help` lists what it can do.", "The verb is add."]),
        namespace_exists("amber", hints=["One command makes one namespace.", "Two names are asked for."]),
        reaches(
            "green",
            "127.0.0.1",
            after=["namespace-green"],
            hints=["Which address does lo have in green? ip -n green -br address", "lo gets it when it goes up."],
        ),
        does_not_reach(
            "amber",
            "127.0.0.1",
            after=["namespace-amber"],
            control=reaches("green", "127.0.0.1"),
            look_at="ip -n amber link show lo",
            hints=["A new namespace cannot even reach itself.", "Delete amber, and make it anew."],
        ),
        has_sysctl(
            "green",
            SETTING,
            "1",
            after=["namespace-green"],
            hints=[
                "`sysctl -w` sets, in the namespace where it runs.",
                "`ip -n` works for ip alone. For another command, put `ip netns exec green` before it.",
            ],
        ),
        Check(
            "nobody-else-forwards",
            evidence=others_that_forward,
            verdict=lambda others: others == "none",
            passed="neither host nor amber forwards",
            failed="these forward, and should not: {others}",
            look_at="sysctl net.ipv4.ip_forward; ip netns exec amber sysctl net.ipv4.ip_forward",
            after=["green-net.ipv4.ip-forward", "namespace-amber"],
            must_not=True,
            hints=["A command without `ip netns exec` runs in host.", "The first cell sets it back."],
        ),
        has_route(
            "green",
            PREFIX,
            after=["namespace-green"],
            hints=["`ip -n green route` shows what is there.", "A blackhole route needs no device and no via."],
        ),
        Check(
            "nobody-else-has-the-route",
            evidence=others_with_the_route,
            verdict=lambda others: others == "none",
            passed="neither host nor amber has the route",
            failed="these have the route too, and should not: {others}",
            look_at="ip route; ip -n amber route",
            after=["green-route-192.0.2.0/24", "namespace-amber"],
            must_not=True,
            hints=[
                "In whose table does `ip route add` write, without -n?",
                "`ip route delete blackhole PREFIX` takes it away.",
            ],
        ),
    ],
    faults=[
        Fault("lo forgotten", replace={"lo": ""}, red=["green-reaches-127.0.0.1"]),
        Fault(
            "both furnished",
            replace={"lo": "!ip -n green link set lo up\n!ip -n amber link set lo up"},
            red=["amber-does-not-reach-127.0.0.1"],
        ),
        Fault(
            "the sysctl set in host",
            replace={"forward": "!sysctl -w net.ipv4.ip_forward=1"},
            red=["green-net.ipv4.ip-forward"],
        ),
        Fault(
            "the sysctl set in both",
            replace={
                "forward": "!sysctl -w net.ipv4.ip_forward=1\n!ip netns exec green sysctl -w net.ipv4.ip_forward=1"
            },
            red=["nobody-else-forwards"],
        ),
        Fault(
            "the route added in host",
            replace={"route": "!ip route replace blackhole 192.0.2.0/24"},
            red=["green-route-192.0.2.0/24"],
        ),
        Fault(
            "the route added everywhere, to be sure",
            replace={
                "route": "!ip route replace blackhole 192.0.2.0/24\n!ip -n green route add blackhole 192.0.2.0/24"
            },
            red=["nobody-else-has-the-route"],
        ),
        Fault(
            "amber misspelt",
            replace={"make": "!ip netns add green\n!ip netns add ambre"},
            red=["namespace-amber"],
        ),
    ],
)
