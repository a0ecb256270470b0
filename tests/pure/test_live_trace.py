"""What the trace view tells the browser: each hop with what it carries, what changed there and what decided it."""

from __future__ import annotations

import json
import os

import pytest
from pure.traces import TRACES

from labkit import see
from labkit.live.trace import trace_view

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")


@pytest.mark.parametrize("name", ["natted", "filtered", "tunnelled", "flooded"])
def test_the_state_is_the_golden_one(name: str) -> None:
    """The tests of the module read the same files."""
    told = json.dumps({**trace_view(TRACES[name]()).state, "svg": "", "text": ""}, indent=1, ensure_ascii=False)
    path = os.path.join(GOLDEN, f"trace-{name}.json")
    if os.environ.get("LABKIT_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write(told + "\n")
    with open(path, encoding="utf-8") as file:
        assert told == file.read().removesuffix("\n")


def test_the_static_form_is_the_trace_itself() -> None:
    trace = TRACES["bridged"]()
    view = trace_view(trace)
    assert repr(view) == see.trace_text(trace)
    assert view.state["svg"] == see.trace_svg(trace)


def headers(name: str, number: int) -> dict[str, tuple[str, str]]:
    return {word: (value, was) for word, value, was in trace_view(TRACES[name]()).state["hops"][number - 1]["headers"]}


def test_what_the_packet_carries_is_told_with_what_it_was_before() -> None:
    at = headers("natted", 3)
    assert at["src"] == ("203.0.113.1", "10.0.1.2")
    assert at["dst"] == ("203.0.113.9", "")
    assert at["ttl"] == ("63", "64")
    assert at["dport"] == ("80", "")
    assert "sport" not in headers("bridged", 1)


def test_a_tunnel_around_the_packet_is_told_when_it_comes_and_goes() -> None:
    around = "VXLAN vni 1, 192.168.0.2 > 192.168.0.3:4789"
    assert "around it" not in headers("tunnelled", 4)
    assert headers("tunnelled", 5)["around it"] == (around, "nothing")
    assert headers("tunnelled", 6)["around it"] == (around, "")
    assert headers("tunnelled", 9)["around it"] == ("nothing", around)


def test_the_first_hop_of_a_way_was_nothing_before() -> None:
    assert all(was == "" for _, was in headers("natted", 1).values())
    assert all(was == "" for _, was in headers("natted", 5).values())


def test_the_cause_belongs_to_the_last_hop_of_its_way() -> None:
    assert trace_view(TRACES["unreachable"]()).state["ending"]["at"] == 2
    assert trace_view(TRACES["filtered"]()).state["ending"]["at"] == 2
