'''Was it right? Pure verdicts, hints and points from evidence.

An exercise is a folder, solutions/CHAPTER/NAME/, with two files. NAME.ipynb is the solved notebook; what lies between
`### BEGIN SOLUTION` and `### END SOLUTION` is what the learner writes. checks.py defines `exercise`:

    """Two namespaces that can talk, and one that cannot."""

    from labkit.check import Check, Exercise, Fault, does_not_reach, has_link, reaches

    exercise = Exercise(
        "02-veth-pairs/two-rooms",
        title="Two rooms and a cable",
        checks=[
            has_link("red", "eth0", is_up=True, hints=["A new link is down.", "`ip link set` turns it on."]),
            reaches("red", "10.0.0.2", points=2, after=["red-eth0"], hints=["Which address does blue's eth0 have?"]),
            does_not_reach("green", "10.0.0.2", control=reaches("red", "10.0.0.2")),
            Check(
                "one-cable",
                evidence=lambda look: {"peer": look.link("red", "eth0").peer},
                verdict=lambda peer: peer == ("blue", "eth0"),
                passed="red's eth0 and blue's eth0 are the two ends of one veth",
                failed="the other end of red's eth0 is {peer}",
                look_at="ip -n red -d link show eth0",
                hints=["Follow link-netnsid."],
            ),
        ],
        faults=[
            Fault(
                "the cable ends on the host",
                replace={"connect": "!ip -n red link add eth0 type veth peer name vethred netns 1"},
                red=["red-reaches-10.0.0.2", "one-cable"],
            ),
        ],
    )

A check says what it looks at (`evidence`), when that is right (`verdict`, a pure function of the evidence), and a
sentence for either case with the evidence in it: what was observed and where to look, never the answer. Behaviour first
(ping, connect), state second. A check of what must not work has `control=` a check that shows that the probe itself
works, or comes `after=` one: so an unsolved exercise scores exactly 0. A check whose `after` or control has not passed
is *blocked*, which is not *failed*. `labkit author check CHAPTER/NAME` tells whether an exercise keeps the law.
'''

from labkit.check.builders import (
    answered,
    connects,
    does_not_connect,
    does_not_reach,
    has_address,
    has_link,
    has_no_link,
    has_route,
    has_sysctl,
    namespace_exists,
    reaches,
)
from labkit.check.form import Check, Exercise, Fault, Result, Status
from labkit.check.look import Look
from labkit.check.mark import Blank, Cell, Marked, blank, mark
from labkit.check.run import run
from labkit.check.table import table

__all__ = [
    "Blank",
    "Cell",
    "Check",
    "Exercise",
    "Fault",
    "Look",
    "Marked",
    "Result",
    "Status",
    "answered",
    "blank",
    "connects",
    "does_not_connect",
    "does_not_reach",
    "has_address",
    "has_link",
    "has_no_link",
    "has_route",
    "has_sysctl",
    "mark",
    "namespace_exists",
    "reaches",
    "run",
    "table",
]
