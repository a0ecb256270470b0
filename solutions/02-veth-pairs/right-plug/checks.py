"""Find the other end of one cable, and set the host's end of another one down."""

from labkit.check import Check, Exercise, Fault, Look, answered, does_not_reach, reaches


def other_end(look: Look) -> str:
    """Return where green's cable ends, as the kernel has it."""
    return "/".join(look.link("green", "eth0").peer or ())


def cut_off(look: Look) -> dict[str, object]:
    """Return what became of blue's end."""
    end = look.link("blue", "eth0")
    return {"state": end.state, "addresses": ", ".join(look.addresses("blue", "eth0")) or "none"}


def others(look: Look) -> dict[str, object]:
    """Ping everybody else."""
    asked = [("host", "10.0.1.2"), ("host", "10.0.3.2"), ("green", "10.0.9.1")]
    return {"silent": "; ".join(str(ping) for way in asked if not (ping := look.ping(*way)).answered) or "none"}


def cut(command: str) -> dict[str, str]:
    """Return the cell with another command in it."""
    return {"cut": "plugs = labkit.snapshot()\n" + command}


exercise = Exercise(
    "02-veth-pairs/right-plug",
    title="Pull the right plug",
    checks=[
        answered(
            "other_end_of_green",
            other_end,
            look_at="ip -n green link show eth0",
            hints=[
                "The number after @if is an index. In which namespace does it count?",
                "`ip -n green netns list-id` says which namespaces green knows by which number.",
                "Two namespaces can each have a link with that index.",
            ],
        ),
        does_not_reach(
            "host",
            "10.0.2.2",
            name="blue-is-cut-off",
            points=2,
            control=reaches("green", "10.0.9.1"),
            look_at="ip -n blue link show eth0; ip link",
            hints=[
                "Ask blue for the index of its eth0's other end.",
                "blue's eth0 is wired to the host: look for that index among the host's links.",
                "`ip link set NAME down`",
            ],
        ),
        Check(
            "at-the-host",
            evidence=cut_off,
            verdict=lambda state, addresses: state == "no carrier" and addresses == "10.0.2.2/24",
            passed="blue's own end is as it was: up, with its address, and without carrier",
            failed="blue's own end of the cable: {state}, addresses: {addresses}",
            look_at="ip -n blue link show eth0; ip -n blue address show eth0",
            hints=["An end that is up shows `no carrier` when the far end is down.", "Leave blue itself alone."],
        ),
        Check(
            "the-others-go-on",
            evidence=others,
            verdict=lambda silent: silent == "none",
            passed="everybody else is reached as before",
            failed="no longer answered: {silent}",
            look_at="ip -br link show type veth",
            after=["blue-is-cut-off"],
            must_not=True,
            hints=["Which cables are down, and whose are they?", "Run the first cell again to start over."],
        ),
    ],
    faults=[
        Fault(
            "the index, in the wrong namespace",
            replace={
                "find": """links = labkit.snapshot("host")["host"].links
labkit.answer("other_end_of_green", "host/" + next(link.ifname for link in links if link.ifindex == 22))"""
            },
            red=["other-end-of-green"],
        ),
        Fault(
            "the right namespace, the wrong link",
            replace={"find": 'labkit.answer("other_end_of_green", "amber/eth0")'},
            red=["other-end-of-green"],
        ),
        Fault(
            "red's plug",
            replace=cut("plug = plugs['red'].link('eth0').peer[1]\n!ip link set {plug} down"),
            red=["blue-is-cut-off", "at-the-host"],
        ),
        Fault("inside blue", replace=cut("!ip -n blue link set eth0 down"), red=["at-the-host"]),
        Fault(
            "the whole cable",
            replace=cut("plug = plugs['blue'].link('eth0').peer[1]\n!ip link delete {plug}"),
            red=["at-the-host"],
        ),
        Fault(
            "every plug",
            replace=cut("for link in plugs['host'].links[1:]:\n    !ip link set {link.ifname} down"),
            red=["the-others-go-on"],
        ),
    ],
)
