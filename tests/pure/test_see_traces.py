"""Traces in words and as pictures: everything in them, the same in every run.

Golden files are rewritten with LABKIT_GOLDEN=write; look at each in a browser, light and dark, before you commit it."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest
from pure.traces import TRACES, packet, walk, world
from pure.traces import hop as hop_of
from scapy.layers.inet import ICMP, TCP

from labkit import see
from labkit.see.trace import ending, steps_of
from labkit.see.way import FEW, picture_of_trace
from labkit.tracing.records import Cause, Trace

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")
SVG = "{http://www.w3.org/2000/svg}"
COLUMNS = 100


def golden(name: str, content: str) -> str:
    path = os.path.join(GOLDEN, name)
    if os.environ.get("LABKIT_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write(content + "\n")
    with open(path, encoding="utf-8") as file:
        return file.read().removesuffix("\n")


@pytest.mark.parametrize("name", TRACES)
def test_the_words_and_the_picture_are_the_golden_ones(name: str) -> None:
    trace = TRACES[name]()
    assert see.trace_text(trace) == golden(f"trace-{name}.txt", see.trace_text(trace))
    assert see.trace_svg(trace) == golden(f"trace-{name}.svg", see.trace_svg(trace))


@pytest.mark.parametrize("name", TRACES)
def test_the_words_hold_every_hop_change_decision_and_reason_in_100_columns(name: str) -> None:
    trace = TRACES[name]()
    told = see.trace_text(trace)
    flat = " ".join(told.split())
    assert told.split("\n")[0] == f"{trace.what} from {trace.source}: {trace.verdict}"
    assert max(len(line) for line in told.split("\n")) <= COLUMNS
    for number, hop in enumerate(trace.hops, 1):
        assert re.search(rf"^ +{number}  {re.escape(hop.where)} +{hop.direction} ", told, re.MULTILINE)
        assert all(change.text in flat for change in hop.changed)
        assert all(f"{decision.kind}: {decision.text}" in flat for decision in hop.decided_by)
    assert all(sentence in flat for _, sentence in ending(trace))


@pytest.mark.parametrize("name", TRACES)
def test_the_svg_stands_alone_and_speaks(name: str) -> None:
    trace = TRACES[name]()
    svg = see.trace_svg(trace)
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root[1].text == see.trace_text(trace)
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert len(svg) < 60_000
    texts = " ".join(" ".join(text.itertext()).replace("\u00a0", " ") for text in root.iter(f"{SVG}text"))
    for hop in trace.hops:
        assert hop.where in texts
        assert all(change.text in texts for change in hop.changed)


@pytest.mark.parametrize("name", TRACES)
def test_every_hop_has_a_bead_on_the_picture_and_one_beside_its_words(name: str) -> None:
    trace = TRACES[name]()
    beads = [bead.get("data-hop") for bead in ET.fromstring(see.trace_svg(trace)).iter() if bead.get("data-hop")]
    numbers = [str(number) for number in range(1, len(trace) + 1)]
    assert sorted(beads, key=int) == sorted(2 * numbers, key=int)


@pytest.mark.parametrize("name", TRACES)
def test_request_answer_and_copies_differ_in_form_not_by_colour_alone(name: str) -> None:
    trace = TRACES[name]()
    root = ET.fromstring(see.trace_svg(trace))
    for bead in root.iter(f"{SVG}g"):
        if number := bead.get("data-hop"):
            hop = trace.hops[int(number) - 1]
            assert bead[0].tag == SVG + {"request": "circle", "answer": "rect"}[hop.leg]
            assert ("copy" in (bead[0].get("class") or "").split()) is hop.copy
    assert ".lk .way.answer{stroke-dasharray" in see.trace_svg(trace)


@pytest.mark.parametrize("name", TRACES)
def test_no_bead_lies_on_another(name: str) -> None:
    root = ET.fromstring(see.trace_svg(TRACES[name]()))
    places = []
    for bead in root.iter(f"{SVG}g"):
        if bead.get("data-hop"):
            form = bead[0]
            round_ = form.tag == f"{SVG}circle"
            x, y = (
                float(form.get(name) or 0) + (0 if round_ else 9) for name in (("cx", "cy") if round_ else ("x", "y"))
            )
            places.append((x, y))
    for one, other in ((a, b) for index, a in enumerate(places) for b in places[index + 1 :]):
        assert max(abs(one[0] - other[0]), abs(one[1] - other[1])) >= 17


def lanes(trace: Trace) -> dict[int, str]:
    root = ET.fromstring(see.trace_svg(trace))
    return {int(way): part.get("class") or "" for part in root.iter(f"{SVG}path") if (way := part.get("data-way"))}


def test_a_lane_leads_to_every_hop_but_the_first_of_each_way() -> None:
    for name in ("bridged", "natted", "tunnelled", "flooded"):
        trace = TRACES[name]()
        first = {min(n for n, hop in enumerate(trace.hops, 1) if hop.leg == leg) for leg in ("request", "answer")}
        assert set(lanes(trace)) == set(range(1, len(trace) + 1)) - first


def test_no_lane_is_drawn_where_no_cable_is_and_nothing_was_seen() -> None:
    trace = TRACES["natted"]()
    gap = replace(trace, hops=trace.hops[:1] + trace.hops[2:4])
    assert [hop.where for hop in gap.hops] == ["red/eth0", "router/eth1", "web/eth0"]
    assert set(lanes(gap)) == {3}


def test_a_way_through_a_node_passes_behind_its_pods() -> None:
    svg = see.trace_svg(TRACES["tunnelled"]())
    place = [svg.index(f'data-namespace="{name}"') for name in ("node1", "pod1a", "node2", "pod2a")]
    bands = [found.start() for found in re.finditer('class="way [a-z]+ within"', svg)]
    assert sum(place[0] < band < place[1] for band in bands) == 6
    assert sum(place[2] < band < place[3] for band in bands) == 6


def test_what_is_the_same_is_not_said_again() -> None:
    for make in TRACES.values():
        for leg in ("request", "answer"):
            for before, step in pairwise(steps_of(make(), leg)):
                same = before.hop.summary == step.hop.summary
                assert step.summary.startswith("as above") is same


def test_one_ephemeral_port_for_another_is_left_out() -> None:
    def syn(port: int) -> TCP:
        return TCP(sport=port, dport=80, flags="S")

    hops = walk(
        hop_of("request", "router/eth0", "in", packet("red/eth0", "router/eth0", "10.0.1.2", "10.0.2.2", syn(40000))),
        hop_of("request", "router/eth1", "out", packet("router/eth1", "blue/eth0", "10.0.2.1", "10.0.2.2", syn(50000))),
    )
    assert [change.field for change in hops[1].changed] == ["src MAC", "dst MAC", "src", "sport"]
    told = see.trace_text(Trace("TCP", "red", hops))
    assert "50000" not in told
    assert "src 10.0.1.2 → 10.0.2.1" in told


def test_where_it_died_there_is_a_cross_with_words_in_the_box() -> None:
    for name, words in (("filtered", "rp_filter"), ("unreachable", "no route")):
        svg = see.trace_svg(TRACES[name]())
        assert svg.count('class="cross"') == 1
        assert f"✕ the packet ended here: {words}" in svg
    assert 'class="cross"' not in see.trace_svg(TRACES["bridged"]())


def test_a_packet_that_no_interface_saw_is_told_too() -> None:
    cause = Cause("no_route", "red", None, "red has no route to 10.9.9.9", known_by="sendto said so")
    trace = Trace("ping 10.9.9.9", "red", (), False, False, cause, snapshot=TRACES["bridged"]().snapshot)
    told = see.trace_text(trace)
    assert "no interface saw it" in told
    assert "lost on the way there: red has no route to 10.9.9.9\nknown by: sendto said so" in told
    assert ET.fromstring(see.trace_svg(trace)).get("role") == "img"
    assert ET.fromstring(see.trace_svg(Trace("nothing", "red"))).get("role") == "img"


def big() -> Trace:
    names = [f"c{n}" for n in range(1, 31)]
    ports = "\n".join(f"  veth-{name} in br0 to {name}/eth0" for name in names)
    boxes = "\n".join(f"{name}\n  eth0 10.0.0.{n}/24 to host/veth-{name}" for n, name in enumerate(names, 2))
    sent = packet("c1/eth0", "c9/eth0", "10.0.0.2", "10.0.0.10", ICMP(seq=1))
    hops = walk(hop_of("request", "c1/eth0", "out", sent))
    return Trace("ping 10.0.0.10", "c1", hops, snapshot=world(f"host\n  br0 bridge\n{ports}\n{boxes}"))


def test_of_many_namespaces_those_on_the_way_to_the_destination_are_drawn() -> None:
    trace = big()
    assert len(trace.snapshot) > FEW
    picture = picture_of_trace(trace)
    assert [box.name for box in picture.boxes] == ["host", "c1", "c9"]
    (bridge,) = picture.boxes[0].bridges
    assert [port.name for port in bridge.ports] == ["veth-c1", "veth-c9", "28 more ports"]


def test_an_interface_that_pictures_leave_out_is_there_when_it_saw_the_packet() -> None:
    sent = packet("red/lo", "red/lo", "127.0.0.1", "127.0.0.1", ICMP(seq=1))
    hops = walk(hop_of("request", "red/lo", "out", sent), hop_of("request", "red/lo", "in", sent))
    trace = Trace("ping 127.0.0.1", "red", hops, True, snapshot=TRACES["bridged"]().snapshot)
    box = next(box for box in picture_of_trace(trace).boxes if box.name == "red")
    assert "lo" in [plug.name for plug in box.every_plug()]
    assert set(lanes(trace)) == {2}


def test_a_trace_shows_itself() -> None:
    trace = TRACES["bridged"]()
    assert trace._repr_mimebundle_() == see.trace(trace)._repr_mimebundle_()
    assert repr(trace) == see.trace(trace).text
