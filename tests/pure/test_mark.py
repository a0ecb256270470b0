"""Predict, then let the kernel mark it: which cells are right, what is understood, and what is a sentence."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from pure.traces import TRACES, mac

import labkit
from labkit.check import blank, mark
from labkit.check.mark import FIELDS, Marked
from labkit.errors import WrongUse
from labkit.tracing import Trace

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")
NATTED = TRACES["natted"]()
WAY: list[dict[str, Any]] = [
    {"where": "red/eth0", "next_hop": "10.0.1.1", "src_mac": mac("red/eth0"), "dst_mac": mac("router/eth0"),
     "src": "10.0.1.2", "dport": 80, "ttl": 64},
    {"where": "router/eth0", "next_hop": "router/eth1", "src": "10.0.1.2", "ttl": 64},
    {"where": "router/eth1", "next_hop": "203.0.113.9", "src": "203.0.113.1", "dst": "203.0.113.9", "ttl": 63},
    {"where": "web/eth0", "next_hop": "none", "src": "203.0.113.1", "ttl": 63},
]  # fmt: skip
SOME_WRONG = [
    {"where": "red/eth0", "dst_mac": mac("web/eth0"), "src": "10.0.1.2", "ttl": 64},
    {"where": "router/eth1", "dst_mac": "", "src": "10.0.1.2", "ttl": 64},
    {"where": "web/eth0", "dst_mac": mac("web/eth0"), "src": "203.0.113.1", "ttl": 63},
    {"where": "moon/eth0", "dst_mac": mac("web/eth0"), "src": "203.0.113.1", "ttl": 62},
]


def verdicts(marked: Marked) -> list[list[str]]:
    return [[cell.verdict if cell else "" for cell in row] for row in marked.rows()]


def only(field: str, value: Any, hop: int = 1) -> str:
    rows: list[dict[str, Any]] = [{} for _ in NATTED.request]
    rows[hop - 1] = {field: value}
    return next(cell.verdict for cell in mark(rows, NATTED).cells if cell.verdict != "missing")


def test_what_the_kernel_did_is_right_in_every_cell() -> None:
    marked = mark(WAY, NATTED)
    assert (marked.right, marked.total, marked.passed) == (20, 20, True)
    assert labkit.mark is mark


@pytest.mark.parametrize("index", range(len(WAY)))
def test_any_other_value_is_wrong_in_its_cell_alone(index: int) -> None:
    other = {"where": "moon/eth0", "next_hop": "10.77.7.7", "src_mac": mac("moon"), "dst_mac": mac("moon"),
             "src": "10.77.7.7", "dst": "10.77.7.7", "dport": 81, "ttl": 7}  # fmt: skip
    for name in WAY[index]:
        rows = [dict(row) for row in WAY]
        rows[index][name] = other[name]
        marked = mark(rows, NATTED)
        assert [(cell.hop, cell.field) for cell in marked.cells if cell.verdict != "ok"] == [(index + 1, name)]
        assert (marked.right, marked.passed) == (19, False)


def test_a_hop_left_out_costs_its_own_cells_and_not_those_after_it() -> None:
    marked = mark([WAY[0], *WAY[2:]], NATTED)
    assert [cell.verdict for cell in marked.cells if cell.hop != 2] == ["ok"] * 16
    assert {cell.verdict for cell in marked.cells if cell.hop == 2} == {"missing"}


def test_a_hop_that_there_was_not_is_extra() -> None:
    marked = mark([*WAY[:2], {"where": "moon/eth0", "ttl": 64}, *WAY[2:]], NATTED)
    assert [(cell.hop, cell.field, cell.verdict) for cell in marked.cells if cell.verdict != "ok"] == [
        (3, "where", "extra"),
        (3, "ttl", "extra"),
    ]


def test_without_places_rows_are_hops_in_order() -> None:
    assert verdicts(mark([{"ttl": 64}, {"ttl": 63}, {"ttl": 63}], NATTED)) == [["ok"], ["wrong"], ["ok"], ["missing"]]
    assert verdicts(mark([{"ttl": 64}] * 5, NATTED))[4] == ["extra"]


def test_nothing_predicted_is_not_passed() -> None:
    assert not mark([], NATTED).passed
    assert not mark([{} for _ in NATTED.request], NATTED).passed
    assert {cell.verdict for cell in mark([{"ttl": None}, {"ttl": " "}] * 2, NATTED).cells} == {"empty"}


def test_flooded_copies_are_not_asked_for() -> None:
    flooded = TRACES["flooded"]()
    rows = [{"where": place} for place in ("red/eth0", "host/veth-red", "host/veth-blue", "blue/eth0")]
    assert mark(rows, flooded).passed


def test_the_answer_can_be_predicted_too() -> None:
    rows = [{"where": hop.where, "dst": hop.headers.dst} for hop in NATTED.answer]
    assert mark(rows, NATTED, leg="answer").passed
    assert not mark(rows, NATTED).passed


def test_a_tuple_is_a_row_in_the_order_of_fields() -> None:
    rows = [("red/eth0", 64), ("router/eth0", 64), ("router/eth1", 63), ("web/eth0", 63)]
    assert mark(rows, NATTED, fields=("where", "ttl")).passed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("src_mac", mac("red/eth0").upper()),
        ("src_mac", mac("red/eth0").replace(":", "-")),
        ("src_mac", f"  {mac('red/eth0')} "),
        ("src_mac", mac("red/eth0").removeprefix("0")),
        ("src_mac", mac("red/eth0").replace(":", "")),
        ("src", "10.0.1.2/24"),
        ("src", " 10.0.1.2 "),
        ("dport", "80"),
        ("ttl", "064"),
        ("where", " red / eth0 "),
        ("where", "red/eth0@if5"),
        ("next_hop", "10.0.1.1"),
        ("next_hop", "10.0.1.1/24"),
        ("next_hop", "router"),
        ("next_hop", "router/eth0"),
    ],
)
def test_what_is_meant_is_understood(field: str, value: Any) -> None:
    assert only(field, value) == "ok"


def test_a_next_hop_without_a_gateway_is_the_destination_itself() -> None:
    assert only("next_hop", "203.0.113.9", hop=3) == "ok"
    assert only("next_hop", "203.0.113.9", hop=1) == "wrong"
    assert only("next_hop", "203.0.113.9", hop=2) == "wrong", "no route was asked there"


def test_what_there_is_not_can_be_predicted() -> None:
    ping = TRACES["bridged"]()
    assert mark([{"sport": "none", "dport": "-"}] * 4, ping).passed
    assert not mark([{"sport": 80}] * 4, ping).passed
    assert not mark([{"dport": "none"}] * 4, NATTED).passed


def test_names_do_not_stand_for_addresses() -> None:
    with pytest.raises(WrongUse):
        only("src", "red")


ROW = "a row is a dict, or a tuple with fields=(...)"
IP = "an IP address is written as 10.0.0.2 or fd00::2"
MAC = "a MAC address is six bytes, as in 02:00:00:00:00:01"
REFUSED = [
    ([{"ttl": "many"}], "failed to mark hop 1, ttl: 'many' is no TTL\na TTL is a number, 0 to 255"),
    ([{"ttl": 256}], "failed to mark hop 1, ttl: '256' is no TTL\na TTL is a number, 0 to 255"),
    ([{"ttl": True}], "failed to mark hop 1, ttl: 'True' is no TTL\na TTL is a number, 0 to 255"),
    ([{}, {"dport": 70000}], "failed to mark hop 2, dport: '70000' is no port\na port is a number, 0 to 65535"),
    ([{"src": "10.0.0.300"}], f"failed to mark hop 1, src: '10.0.0.300' is no IP address\n{IP}"),
    (
        [{"dst_mac": "02:00:00"}],
        f"failed to mark hop 1, dst_mac: '02:00:00' is no MAC address\n{MAC}",
    ),
    (
        [{"where": "red"}],
        (
            "failed to mark hop 1, where: 'red' is no interface\n"
            "an interface is written as red/eth0: the namespace, then its name there"
        ),
    ),
    (
        [{"next_hop": "to the moon"}],
        (
            "failed to mark hop 1, next_hop: 'to the moon' is no next hop\n"
            "a next hop is a namespace (red), an interface (red/eth0) or an IP address"
        ),
    ),
    ([{"mac": "x"}], f"failed to mark hop 1: nothing is called 'mac'\na hop has: {', '.join(FIELDS)}"),
    ([("red/eth0", 64)], f"failed to mark hop 1: ('red/eth0', 64) is no row\n{ROW}"),
    (["red/eth0"], f"failed to mark hop 1: 'red/eth0' is no row\n{ROW}"),
    (
        {"ttl": 64},
        (
            "failed to mark: a prediction is a list of rows, not a dict\n"
            'one dict a hop: [{"where": "red/eth0", "ttl": 64}, ...]'
        ),
    ),
]


@pytest.mark.parametrize(("prediction", "sentence"), REFUSED, ids=[sentence.split("\n")[0] for _, sentence in REFUSED])
def test_what_can_be_no_such_value_is_a_sentence_that_names_the_cell(prediction: Any, sentence: str) -> None:
    with pytest.raises(WrongUse) as caught:
        mark(prediction, NATTED)
    assert str(caught.value) == sentence


def test_a_tuple_of_another_length_is_told_what_is_expected() -> None:
    with pytest.raises(WrongUse, match=r"a row is a tuple of 2: where, ttl"):
        mark([("red/eth0",)], NATTED, fields=("where", "ttl"))
    with pytest.raises(WrongUse, match="no leg 'both'"):
        mark([], NATTED, leg="both")  # type: ignore[arg-type]


def golden(name: str, content: str) -> str:
    path = os.path.join(GOLDEN, name)
    if os.environ.get("LABKIT_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write(content + "\n")
    with open(path, encoding="utf-8") as file:
        return file.read().removesuffix("\n")


def test_the_table_is_the_golden_one() -> None:
    marked = mark(SOME_WRONG, NATTED)
    assert marked.text == golden("mark.txt", marked.text)
    assert marked.svg == golden("mark.svg", marked.svg)
    assert ET.fromstring(marked.svg)[1].text == marked.text
    assert marked._repr_mimebundle_() == {"text/plain": repr(marked), "image/svg+xml": marked.svg}


def test_the_right_value_shows_only_when_it_is_asked_for() -> None:
    marked = mark(SOME_WRONG, NATTED)
    right = mac("router/eth0")
    for shown in (marked.text, marked.svg, repr(marked.cells)):
        assert right not in shown
    for shown in (marked.revealed().text, mark(SOME_WRONG, NATTED, reveal=True).svg):
        assert right in shown


def test_every_cell_that_is_not_right_says_so_in_a_word() -> None:
    marked = mark(SOME_WRONG, NATTED)
    words = re.findall(r"\b(ok|wrong|empty|missing|extra)\b", marked.text)
    assert len(words) == marked.total
    assert words.count("ok") == marked.right


def test_an_empty_table_is_code_to_fill_in() -> None:
    code = blank(NATTED, ("dst_mac", "ttl"))
    assert repr(code).split("\n")[:2] == ["prediction = [", '    {"where": "red/eth0", "dst_mac": "", "ttl": ""},']
    names: dict[str, Any] = {}
    exec(code, names)
    assert [row["where"] for row in names["prediction"]] == [hop.where for hop in NATTED.request]
    assert {cell.verdict for cell in mark(names["prediction"], NATTED).cells} == {"ok", "empty"}


def test_an_empty_table_can_ask_for_the_places_too() -> None:
    assert blank(NATTED, ("where", "ttl")).count('{"where": "", "ttl": ""}') == 4
    assert '{"where": "red/eth0", "ttl": ""}' in blank(["red/eth0"], ("ttl",))
    with pytest.raises(WrongUse, match="nothing is called 'mac'"):
        blank(NATTED, ("mac",))
    with pytest.raises(WrongUse, match="the places are one text"):
        blank("red/eth0")


def test_no_rows_predict_that_nobody_sees_it() -> None:
    nobody = Trace("ping 10.0.0.9", "red")
    assert (mark([], nobody).passed, mark([], nobody).right) == (True, 1)
    marked = mark([], NATTED)
    assert (marked.passed, marked.right, marked.total) == (False, 0, len(NATTED.request))
