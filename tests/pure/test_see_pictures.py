"""Pictures: the same for the same data, with everything in them, in words as in lines.

Golden files are rewritten with LABKIT_GOLDEN=write; look at each in a browser, light and dark, before you commit it."""

from __future__ import annotations

import os
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from labkit import see
from labkit.lab import Bridge, Container, Interface, Topology
from labkit.see.fold import KEPT, folded
from labkit.see.lanes import Lane
from labkit.see.layout import PAD, Layout, PlacedBox, PlacedBridge, Row, layout_of
from labkit.see.measure import CHARACTER, text_width
from labkit.see.show import picture_of
from labkit.see.svg import _DARK, _LIGHT, _TUNNEL_DARK, _TUNNEL_LIGHT
from labkit.state import Difference, Snapshot, difference

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")
SVG = "{http://www.w3.org/2000/svg}"


@cache
def kept(name: str) -> Snapshot:
    with open(os.path.join(GOLDEN, f"{name}.json"), encoding="utf-8") as file:
        return Snapshot.from_json(file.read())


def star(number: int) -> Topology:
    containers = [Container(f"c{i}", f"10.0.{i // 250}.{i % 250 + 2}/16", "br0") for i in range(1, number + 1)]
    return Topology(Bridge("br0", "10.0.0.1/16"), *containers)


def routed() -> Topology:
    return Topology(
        Bridge("br0"),
        Bridge("br1"),
        Container("red", "10.0.1.2/24", "br0", gateway="10.0.1.1"),
        Container(
            "router",
            interfaces=(Interface("eth0", "10.0.1.1/24", "br0"), Interface("eth1", "10.0.2.1/24", "br1")),
            sysctls={"net.ipv4.ip_forward": 1},
        ),
        Container("blue", "10.0.2.2/24", "br1", gateway="10.0.2.1"),
    )


def nodes() -> Topology:
    things: list[Bridge | Container] = [Bridge("br0", "192.168.0.1/24")]
    for n in (1, 2, 3):
        things += [
            Container(f"node{n}", f"192.168.0.{n + 1}/24", "br0", sysctls={"net.ipv4.ip_forward": 1}),
            Bridge("cni0", f"10.244.{n}.1/24", on=f"node{n}"),
            *(Container(f"pod{n}{c}", f"10.244.{n}.{i}/24", f"node{n}:cni0") for i, c in enumerate("ab", 2)),
        ]
    return Topology(*things)


PICTURES: dict[str, Callable[[], Topology | Snapshot | Difference]] = {
    "veth": lambda: Topology(Container("red", "10.0.0.1/24", "blue"), Container("blue", "10.0.0.2/24", "red")),
    "alone": lambda: Topology(Container("red"), Container("blue")),
    "bridge": lambda: Topology(
        Bridge("br0", "10.0.0.1/24"),
        *(Container(name, f"10.0.0.{i}/24", "br0") for i, name in enumerate(("red", "blue", "green"), 2)),
    ),
    "to-the-host": lambda: Topology(
        Container(
            "red", interfaces=(Interface("eth0", "fd00:1234:5678:9abc:def0:1234:5678:9abc/64", "host", mtu=1400),)
        )
    ),
    "router": routed,
    "nodes": nodes,
    "twelve": lambda: star(12),
    "hundred": lambda: star(100),
    "before": lambda: kept("before"),
    "after": lambda: kept("after"),
    "difference": lambda: difference(kept("before"), kept("after")),
}


def golden(name: str, content: str) -> str:
    path = os.path.join(GOLDEN, name)
    if os.environ.get("LABKIT_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write(content + "\n")
    with open(path, encoding="utf-8") as file:
        return file.read().removesuffix("\n")


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_the_golden_one(name: str) -> None:
    thing = PICTURES[name]()
    assert see.topology_text(thing) == golden(f"{name}.txt", see.topology_text(thing))
    assert see.topology_svg(thing) == golden(f"{name}.svg", see.topology_svg(thing))


@pytest.mark.parametrize("name", PICTURES)
def test_the_svg_stands_alone_and_speaks(name: str) -> None:
    svg = see.topology_svg(PICTURES[name]())
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    title, description = root.findall(f"{SVG}title")[0], root.findall(f"{SVG}desc")[0]
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert description.text == see.topology_text(PICTURES[name]())
    assert title.text
    allowed = {"svg", "title", "desc", "style", "rect", "g", "text", "tspan", "path", "circle"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= allowed
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "prefers-color-scheme:dark" in svg
    assert len(svg) < 60_000


def everything_in(thing: Topology | Snapshot | Difference) -> Iterator[str]:
    picture = folded(picture_of(thing))
    for box in picture.boxes:
        yield box.name
        for plug in box.every_plug():
            yield from (plug.name, plug.mac, *plug.addresses)
        yield from box.routes


@pytest.mark.parametrize("name", PICTURES)
def test_no_name_address_mac_or_route_is_hidden_or_cut(name: str) -> None:
    thing = PICTURES[name]()
    svg, words = ET.fromstring(see.topology_svg(thing)), see.topology_text(thing)
    lines = {"".join(element.itertext()) for element in svg.iter(f"{SVG}text")}
    parts = {element.text for element in svg.iter(f"{SVG}tspan")}
    for said in everything_in(thing):
        assert said in words
        assert any(said in line for line in lines | parts if line), said


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps_or_sticks_out(name: str) -> None:
    in_order(layout_of(folded(picture_of(PICTURES[name]()))))


def in_order(layout: Layout) -> None:
    boxes = layout.boxes
    for index, one in enumerate(boxes):
        assert 0 <= one.x <= one.x + one.width <= layout.width
        assert 0 <= one.y <= one.y + one.height <= layout.height
        for other in boxes[index + 1 :]:
            if other.box.parent == one.box.name:
                assert within(other, one), f"{other.box.name} sticks out of {one.box.name}"
            else:
                assert apart(one, other), f"{one.box.name} and {other.box.name} overlap"
            assert all(apart(bridge, other) for bridge in one.bridges), f"{other.box.name} overlaps a bridge"
        inside(one)
    for _, *rows in layout.cables:
        for row in rows:
            assert on_an_edge(layout, row), f"the cable of {row.plug.name} ends nowhere"
    for trunk in layout.trunks:
        for lane in trunk.lanes:
            clear_of_boxes(layout, lane)


def within(inner: PlacedBox, outer: PlacedBox) -> bool:
    across = outer.x < inner.x and inner.x + inner.width < outer.x + outer.width
    return across and outer.y < inner.y and inner.y + inner.height < outer.y + outer.height


def apart(one: PlacedBox | PlacedBridge, other: PlacedBox | PlacedBridge) -> bool:
    across = one.x + one.width <= other.x or other.x + other.width <= one.x
    return across or one.y + one.height <= other.y or other.y + other.height <= one.y


def on_an_edge(layout: Layout, row: Row) -> bool:
    """At its box's or bridge's edge, or, where it leads to a pod, at the edge of what is the node's own."""
    for box in layout.boxes:
        own = box.x + box.width - box.inside
        if any(row is mine for mine in box.rows):
            return row.x == pytest.approx(
                own - PAD if row.inner else box.x if row.side == "left" else box.x + box.width
            )
        for bridge in box.bridges:
            if any(row is mine for mine in bridge.rows):
                return row.x in (bridge.x, bridge.x + bridge.width)
    return False


def clear_of_boxes(layout: Layout, lane: Lane) -> None:
    """A tunnel's lane runs beside the boxes, and its branches touch no box but their own and the one around it."""
    heights = [branch.y for branch in lane.branches]
    for box in layout.boxes:
        beside = lane.x < box.x or lane.x > box.x + box.width
        assert beside or max(heights) < box.y or min(heights) > box.y + box.height, f"a lane through {box.box.name}"
        for branch in lane.branches:
            own = {branch.end[0], next(one.box.parent for one in layout.boxes if one.box.name == branch.end[0])}
            left, right = sorted((branch.x, lane.x))
            missed = right < box.x or left > box.x + box.width or not box.y < branch.y < box.y + box.height
            assert missed or box.box.name in own, f"{branch.end} passes through {box.box.name}"


def inside(placed: PlacedBox) -> None:
    for row in placed.rows:
        assert text_width(row.lines) <= placed.width
        assert placed.y < row.y
        assert row.y + row.height <= placed.y + placed.height + 10
    for bridge in placed.bridges:
        assert placed.x < bridge.x
        assert bridge.x + bridge.width < placed.x + placed.width
        assert bridge.y + bridge.height <= placed.y + placed.height
        for side in ("left", "right", ""):
            rows = [row for row in bridge.rows if row.side == side]
            for above, below in pairwise(rows):
                assert above.y + above.height <= below.y + 1, "ports of one side are one above the other"
    assert text_width(placed.footer) <= placed.width


def test_any_topology_can_be_drawn() -> None:
    for seed in range(40):
        in_order(layout_of(folded(picture_of(some_topology(random.Random(seed))))))


def some_topology(dice: random.Random) -> Topology:
    """Bridges, some of them inside containers, containers with up to three cables, and cables between neighbours."""
    things: list[Bridge | Container] = [Bridge(f"br{i}") for i in range(dice.randint(1, 3))]
    links = [f"br{i}" for i in range(len(things))] + ["host"]
    number = dice.randint(0, 30)
    chained = [dice.random() < 0.3 for _ in range(number)]  # with the next one
    for i in range(number):
        ports = [Interface(f"eth{j}", link=dice.choice(links)) for j in range(dice.randint(0, 3))]
        if chained[i] and i + 1 < number:
            ports.append(Interface("next", link=f"c{i + 1}:last"))
        if i and chained[i - 1]:
            ports.append(Interface("last", link=f"c{i - 1}:next"))
        routes = ("10.9.0.0/16 via 10.0.0.1",) * dice.randint(0, 2)
        things.append(Container(f"c{i}", interfaces=tuple(ports), routes=routes))
        if ports and dice.random() < 0.2:
            things.append(Bridge("inner", on=f"c{i}"))
            links.append(f"c{i}:inner")
    return Topology(*things)


def test_many_alike_are_folded_and_what_differs_stays() -> None:
    picture = picture_of(star(1000))
    short = folded(picture)
    assert [box.name for box in short.boxes][-1] == f"{1000 - KEPT} more like c{KEPT}"
    assert len(short.boxes) == KEPT + 2
    odd = picture.boxes[500]
    changed = replace(odd, plugs=tuple(replace(plug, state="down") for plug in odd.plugs))
    boxes = tuple(changed if box is odd else box for box in picture.boxes)
    assert odd.name in [box.name for box in folded(replace(picture, boxes=boxes)).boxes]
    assert folded(picture_of(star(39))) == picture_of(star(39))


def test_a_plan_and_what_became_of_it_are_compared() -> None:
    plan = Topology(
        Bridge("br0", "10.0.0.1/24"),
        *(Container(name, f"10.0.0.{i}/24", "br0") for i, name in enumerate(("red", "blue", "green"), 2)),
    )
    assert not re.search(r"^ *[-+~] ", see.difference(plan, kept("before")).text.split("\n", 1)[1], re.MULTILINE)
    assert "- green (removed)" in see.difference(plan, kept("after")).text


def test_lo_neither_comes_nor_goes_when_it_goes_down_and_up() -> None:
    """It is drawn only when there is something to say of it, but it is always there."""

    def picture(*flags: str) -> Snapshot:
        before = kept("before")
        host = before["host"]
        lo = next(link for link in host.links if link.ifname == "lo")
        links = (replace(lo, flags=("LOOPBACK", *flags)), *(link for link in host.links if link is not lo))
        return Snapshot((replace(host, links=links), *before.only(*(set(before) - {"host"})).namespaces))

    up, down = picture("UP", "LOWER_UP"), picture()
    for one, other, told in ((up, down, "up → down"), (down, up, "down → up")):
        svg = see.difference(difference(one, other))._repr_mimebundle_()["image/svg+xml"]
        assert f"~ {told}" in svg
        assert not re.search("[+-] (added|removed)<", svg)


def test_a_link_that_is_down_is_dashed_and_says_so_at_both_ends() -> None:
    svg = see.topology_svg(kept("after"))
    assert 'class="cable off"' in svg
    assert ">down</text>" in svg
    assert "port veth-red, 02:00:f6:1c:87:51, down" in see.topology_text(kept("after"))
    assert "eth0 10.0.0.2/24, 02:35:8a:db:b3:14, no carrier" in see.topology_text(kept("after"))


def test_names_from_anywhere_do_no_harm() -> None:
    state = kept("before")["red"]
    svg = see.topology_svg(Snapshot((replace(state, name='<b onload="x">&'),)))
    assert ET.fromstring(svg).tag == f"{SVG}svg"


def test_what_is_shown_is_text_and_svg() -> None:
    shown: Any = see.topology(kept("before"))
    assert set(shown._repr_mimebundle_()) == {"text/plain", "image/svg+xml"}
    assert repr(shown) == shown.text == see.topology_text(kept("before"))
    assert set(kept("before")._repr_mimebundle_()) == {"text/plain", "image/svg+xml"}


def test_a_character_is_as_wide_as_we_reckon() -> None:
    """DejaVu Sans Mono, Menlo, SF Mono and Courier are 0.6 em wide, Consolas 0.55: at 12 px, 7.2 at most."""
    assert CHARACTER >= 12 * 0.602


@pytest.mark.parametrize("colours", [_LIGHT, _DARK], ids=["light", "dark"])
def test_every_text_stands_out_from_everything_behind_it(colours: dict[str, str]) -> None:
    """WCAG 2.1, 1.4.3: 4.5 to 1 for text; 1.4.11: 3 to 1 for cables."""
    behind = {
        "ink": "page box switch host container",
        "soft": "page box switch host container",
        "blue": "box switch page",
    }
    behind |= dict.fromkeys(("bad", "green", "red", "amber"), "page box switch container")
    for text, places in behind.items():
        for place in places.split():
            assert contrast(colours[text], colours[place]) >= 4.5, f"{text} on {place}"
    assert contrast(colours["cable"], colours["page"]) >= 3


@pytest.mark.parametrize("colours", [_TUNNEL_LIGHT, _TUNNEL_DARK], ids=["light", "dark"])
def test_a_tunnel_stands_out_from_its_pipe_and_its_words_from_the_page(colours: dict[str, str]) -> None:
    assert contrast(colours["violet"], colours["page"]) >= 4.5
    for line in ("violet", "bad", "green", "red", "amber"):
        assert contrast(colours[line], colours["pipe"]) >= 3, line


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
