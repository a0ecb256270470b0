"""Pods stand in their node, tunnels run between nodes: told from how things are connected, as plan and kernel agree."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import replace

import pytest
from test_see_pictures import golden, in_order, nodes, some_topology

from labkit import see
from labkit.lab import Bridge, Container, Interface, Topology
from labkit.see.compare import compared
from labkit.see.fold import KEPT_INSIDE, folded
from labkit.see.lanes import trunks_of
from labkit.see.layout import layout_of
from labkit.see.picture import Cable, Picture, Plug, Tunnel
from labkit.see.show import picture_of
from labkit.see.svg import svg_of
from labkit.see.text import text_of
from labkit.state import Snapshot
from labkit.state.records import Address, Details, FdbEntry, Link, Route
from labkit.state.snapshot import NamespaceState

UP = ("UP", "LOWER_UP")


def cluster(number: int = 2, pods: int = 1, *, forgotten: Iterable[tuple[int, int]] = (), down: int = 0) -> Snapshot:
    """Nodes on the host's br0, each with pods on cni0, and flannel.1 between the nodes. `forgotten`: FDB entries that
    are not there, as (node, of node); `down`: the node whose flannel.1 is down."""
    states = [host(number)]
    for n in range(1, number + 1):
        states.append(node(n, pods, [m for m in range(1, number + 1) if m != n and (n, m) not in forgotten], n == down))
        states += [pod(n, p) for p in range(1, pods + 1)]
    return Snapshot(tuple(sorted(states, key=lambda state: (state.name != "host", state.name))))


def link(ifname: str, kind: str = "veth", mac: str = "02:00:00:00:00:00", **more: object) -> Link:
    return replace(Link(2, ifname, UP, kind=kind, address=mac), **more)  # type: ignore[arg-type]


def host(number: int) -> NamespaceState:
    ports = [link(f"veth-node{n}", master="br0", peer=(f"node{n}", "eth0")) for n in range(1, number + 1)]
    address = Address("br0", "inet", "192.168.0.1", 24)
    return NamespaceState("host", links=(link("br0", "bridge"), *ports), addresses=(address,))


def node(n: int, pods: int, known: list[int], is_down: bool) -> NamespaceState:
    details = Details({"id": 1, "local": f"192.168.0.1{n}", "port": 8472, "link": "eth0"})
    flannel = link("flannel.1", "vxlan", f"02:00:00:00:0f:0{n}", mtu=1450, details=details)
    ports = [link(f"veth{p}", master="cni0", peer=(f"pod{n}-{p}", "eth0")) for p in range(1, pods + 1)]
    return NamespaceState(
        f"node{n}",
        links=(
            link("eth0", peer=("host", f"veth-node{n}")),
            link("cni0", "bridge"),
            replace(flannel, flags=()) if is_down else flannel,
            *ports,
        ),
        addresses=(
            Address("eth0", "inet", f"192.168.0.1{n}", 24),
            Address("cni0", "inet", f"10.244.{n}.1", 24),
            Address("flannel.1", "inet", f"10.244.{n}.0", 32),
        ),
        fdb=tuple(FdbEntry(f"02:00:00:00:0f:0{m}", "flannel.1", "permanent", dst=f"192.168.0.1{m}") for m in known),
        routes=tuple(
            Route(f"10.244.{m}.0/24", gateway=f"10.244.{m}.0", dev="flannel.1", flags=("onlink",)) for m in known
        ),
        sysctls=Details({"net.ipv4.ip_forward": "1"}),
    )


def pod(n: int, p: int) -> NamespaceState:
    return NamespaceState(
        f"pod{n}-{p}",
        links=(link("eth0", peer=(f"node{n}", f"veth{p}")),),
        addresses=(Address("eth0", "inet", f"10.244.{n}.{p + 1}", 24),),
        routes=(Route("default", gateway=f"10.244.{n}.1", dev="eth0"),),
    )


def parents(picture: Picture) -> dict[str, str]:
    return {box.name: box.parent for box in picture.boxes if box.parent}


PICTURES = {
    "cluster": lambda: picture_of(cluster()),
    "one-way": lambda: picture_of(cluster(3, forgotten=[(1, 3)])),
    "cluster-difference": lambda: compared(
        picture_of(cluster(3)), picture_of(cluster(3, 2, forgotten=[(1, 3), (3, 1)], down=2))
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_the_golden_one(name: str) -> None:
    picture = PICTURES[name]()
    text, svg = text_of(picture), svg_of(layout_of(picture), text_of(picture))
    assert text == golden(f"{name}.txt", text)
    assert svg == golden(f"{name}.svg", svg)
    in_order(layout_of(picture))


# who is drawn in whom


def test_pods_stand_in_their_node_in_a_plan_and_in_the_kernels_tables() -> None:
    assert parents(picture_of(nodes())) == {f"pod{n}{c}": f"node{n}" for n in (1, 2, 3) for c in "ab"}
    assert parents(picture_of(cluster(2, 2))) == {f"pod{n}-{p}": f"node{n}" for n in (1, 2) for p in (1, 2)}


def router_and_leaf() -> Topology:
    return Topology(
        Bridge("br0", "10.0.0.1/24"),
        Container(
            "router",
            interfaces=(Interface("eth0", "10.0.0.2/24", "br0"), Interface("eth1", "10.0.1.1/24", "leaf:eth0")),
        ),
        Container("leaf", "10.0.1.2/24", "router:eth1"),
    )


def without_addresses() -> Topology:
    return Topology(
        Bridge("br0"),
        Container("router", interfaces=(Interface("eth0", link="br0"), Interface("eth1", link="leaf:eth0"))),
        Container("leaf", link="router:eth1"),
    )


def two_switches() -> Topology:
    """Each a container with a bridge and two leaves on it; a cable from bridge to bridge."""
    things: list[Bridge | Container] = []
    for switch, uplink in (("left", None), ("right", "left:br0")):
        things += [Container(switch, interfaces=(Interface("up", link=uplink),)), Bridge("br0", on=switch)]
        things += [Container(f"{switch}{i}", link=f"{switch}:br0") for i in (1, 2)]
    return Topology(*things)


def switch_alone() -> Topology:
    return Topology(
        Container("switch"), Bridge("br0", on="switch"), *(Container(c, link="switch:br0") for c in ("red", "blue"))
    )


@pytest.mark.parametrize("build", [router_and_leaf, without_addresses, switch_alone])
def test_what_is_no_cluster_has_no_box_in_a_box(build: object) -> None:
    assert callable(build)
    assert parents(picture_of(build())) == {}


def test_a_container_on_a_switch_that_leads_to_a_switch_stands_beside_it() -> None:
    assert "left1" not in parents(picture_of(two_switches()))


def test_a_pod_with_a_lone_address_on_a_cable_of_its_own_is_in_its_node() -> None:
    """As Calico does it: /32 in the pod, nothing on the node's side, no bridge."""
    plan = Topology(
        Bridge("br0", "192.168.0.1/24"),
        Container(
            "node1", interfaces=(Interface("eth0", "192.168.0.2/24", "br0"), Interface("cali1", link="pod:eth0"))
        ),
        Container("pod", "10.65.0.2/32", "node1:cali1"),
    )
    assert parents(picture_of(plan)) == {"pod": "node1"}
    in_order(layout_of(picture_of(plan)))


def test_a_pod_with_a_second_cable_to_elsewhere_stands_outside() -> None:
    plan = Topology(
        *nodes().bridges,
        *(c for c in nodes().containers if c.name != "pod1a"),
        Container(
            "pod1a",
            interfaces=(Interface("eth0", "10.244.1.2/24", "node1:cni0"), Interface("eth1", "192.168.0.99/24", "br0")),
        ),
    )
    found = parents(picture_of(plan))
    assert "pod1a" not in found
    assert found["pod1b"] == "node1"
    in_order(layout_of(picture_of(plan)))


# tunnels


def tunnels(snapshot: Snapshot) -> list[tuple[str, str, str, bool]]:
    return [(*(box for box, _ in t.ends), t.label, t.one_way) for t in picture_of(snapshot).tunnels]  # type: ignore[misc]


def test_an_fdb_entry_on_both_sides_is_a_tunnel_and_on_one_side_is_one_way() -> None:
    assert tunnels(cluster()) == [("node1", "node2", "VXLAN vni 1", False)]
    assert tunnels(cluster(forgotten=[(1, 2)])) == [("node2", "node1", "VXLAN vni 1", True)]
    assert tunnels(cluster(forgotten=[(1, 2), (2, 1)])) == []
    text = see.topology_text(cluster(forgotten=[(1, 2)]))
    assert "tunnel VXLAN vni 1 one way to node1/flannel.1" in text
    assert "tunnel VXLAN vni 1 one way from node2/flannel.1" in text


def other_number(snapshot: Snapshot, name: str, **details: object) -> Snapshot:
    """The snapshot, with other details of node `name`'s tunnel."""
    state = snapshot[name]
    links = tuple(
        replace(one, details=Details({**one.details, **details})) if one.kind == "vxlan" else one  # type: ignore[dict-item]
        for one in state.links
    )
    return Snapshot(tuple(replace(state, links=links) if one is state else one for one in snapshot.namespaces))


def test_another_vni_or_port_is_another_network() -> None:
    assert tunnels(other_number(cluster(), "node1", id=2)) == []
    assert tunnels(other_number(cluster(), "node1", port=4789)) == []


def test_one_multicast_group_is_a_tunnel_without_fdb_entries() -> None:
    apart = cluster(forgotten=[(1, 2), (2, 1)])
    one = other_number(apart, "node1", group="239.1.1.1")
    assert tunnels(one) == []
    assert tunnels(other_number(one, "node2", group="239.1.1.1")) == [("node1", "node2", "VXLAN vni 1", False)]


def router(n: int, kind: str, details: Details, routes: tuple[Route, ...] = ()) -> NamespaceState:
    links = (link("eth0", peer=(f"r{3 - n}", "eth0")), link("tun", kind, details=details, link_type=kind))
    addresses = (Address("eth0", "inet", f"10.0.0.{n}", 24), Address("tun", "inet", f"172.16.0.{n}", 24))
    return NamespaceState(f"r{n}", links=links, addresses=addresses, routes=routes)


@pytest.mark.parametrize(("kind", "label"), [("gre", "GRE"), ("ipip", "IPIP"), ("sit", "SIT"), ("geneve", "GENEVE")])
def test_a_tunnel_with_a_remote_leads_to_who_has_that_address(kind: str, label: str) -> None:
    ends = [router(n, kind, Details({"local": f"10.0.0.{n}", "remote": f"10.0.0.{3 - n}"})) for n in (1, 2)]
    assert tunnels(Snapshot(tuple(ends))) == [("r1", "r2", label, False)]


def test_a_tunnel_without_a_remote_leads_where_its_routes_do() -> None:
    """As Calico's tunl0: 10.65.2.0/24 via 10.0.0.2 dev tunl0 onlink."""
    ends = [
        router(n, "ipip", Details(), (Route(f"10.65.{3 - n}.0/24", gateway=f"10.0.0.{3 - n}", dev="tun"),))
        for n in (1, 2)
    ]
    assert tunnels(Snapshot(tuple(ends))) == [("r1", "r2", "IPIP", False)]


def test_a_full_mesh_is_one_line_and_a_missing_tunnel_shows() -> None:
    (whole,) = trunks_of(picture_of(cluster(4)))
    assert len(whole.ends) == 4
    broken = trunks_of(picture_of(cluster(4, forgotten=[(1, 4), (4, 1)])))
    assert sorted(len(trunk.ends) for trunk in broken) == [2] * 5


def test_a_tunnel_whose_end_is_down_says_so_and_is_dashed_otherwise() -> None:
    svg = see.topology_svg(cluster(down=1))
    assert "VXLAN vni 1, down" in svg
    assert 'class="tunnel off"' in svg
    assert "tunnel VXLAN vni 1, down, to node2/flannel.1" in see.topology_text(cluster(down=1))


def test_tunnels_that_came_went_or_lost_a_direction_are_marked() -> None:
    whole, half, none = (picture_of(cluster(forgotten=gone)) for gone in ([], [(1, 2)], [(1, 2), (2, 1)]))
    for before, after, sign, words in (
        (none, whole, "+", "VXLAN vni 1, + added"),
        (whole, none, "-", "VXLAN vni 1, - removed"),
        (whole, half, "~", "VXLAN vni 1, one way, ~ changed"),
        (whole, whole, "", "VXLAN vni 1"),
    ):
        picture = compared(before, after)
        assert [tunnel.sign for tunnel in picture.tunnels] == [sign]
        assert f">{words}</text>" in svg_of(layout_of(picture), text_of(picture))
        assert bool(re.search(r"^ *[-+~] tunnel", text_of(picture), re.MULTILINE)) == bool(sign)


def test_a_pod_that_came_or_went_is_marked_in_its_node() -> None:
    one, two = picture_of(cluster(2, 1)), picture_of(cluster(2, 2))
    for before, after, word in ((one, two, "added"), (two, one, "removed")):
        picture = compared(before, after)
        assert parents(picture)["pod1-2"] == "node1"
        assert re.search(rf"^  [+-] pod1-2 \({word}\)$", text_of(picture), re.MULTILINE)
        in_order(layout_of(picture))


def test_a_pod_that_moved_to_another_node_is_in_the_one_where_it_is_now() -> None:
    before = picture_of(cluster(2, 2))
    moved = Cable((("node1", "veth2"), ("pod2-2", "eth0")))
    cables = (*(one for one in before.cables if not {"pod1-2", "pod2-2"} & {box for box, _ in one.ends}), moved)
    boxes = tuple(
        replace(box, parent="node1" if box.name == "pod2-2" else box.parent)
        for box in before.boxes
        if box.name != "pod1-2"
    )
    picture = compared(before, replace(before, boxes=boxes, cables=cables))
    assert parents(picture)["pod2-2"] == "node1"
    in_order(layout_of(picture))


# macvlan


def test_a_macvlan_is_drawn_on_the_link_it_sits_on() -> None:
    below = NamespaceState("host", links=(replace(link("eth0", "dummy"), ifindex=7),))
    above = NamespaceState(
        "red",
        links=(link("eth0", "macvlan", link_index=7, link_netnsid=0, details=Details({"mode": "bridge"})),),
        nsids=((0, "host"),),
    )
    picture = picture_of(Snapshot((below, above)))
    assert picture.cables == (Cable((("red", "eth0"), ("host", "eth0")), kind="macvlan"),)
    text = text_of(picture)
    assert "mode bridge, on eth0 in host" in text
    assert "carries macvlan red/eth0" in text
    assert "on a link not shown here" in see.topology_text(Snapshot((above,)))


# many


def test_pods_are_folded_inside_their_node() -> None:
    picture = folded(picture_of(cluster(3, 34)))
    assert len(picture.boxes) == 1 + 3 * (1 + KEPT_INSIDE + 1)
    assert parents(picture)["31 more like pod2-3"] == "node2"
    assert len(picture.tunnels) == 3
    in_order(layout_of(picture))
    assert len(see.topology_svg(cluster(3, 34))) < 60_000


def test_nodes_that_look_alike_are_folded_with_their_pods_and_one_that_differs_stays() -> None:
    names = [box.name for box in folded(picture_of(cluster(9, 5))).boxes if not box.parent]
    assert names == ["host", "node1", "node2", "node3", "6 more like node3"]
    names = [box.name for box in folded(picture_of(cluster(9, 5, down=8))).boxes if not box.parent]
    assert "node8" in names
    in_order(layout_of(folded(picture_of(cluster(9, 5, down=8)))))


def test_any_picture_with_tunnels_can_be_drawn() -> None:
    nested = joined = 0
    for seed in range(60):
        dice = random.Random(seed)
        picture = with_tunnels(picture_of(some_topology(dice)), dice)
        nested += bool(parents(picture))
        joined += bool(picture.tunnels)
        layout = layout_of(picture)
        in_order(layout)
        assert svg_of(layout, "") == svg_of(layout_of(picture), "")
    assert nested > 5
    assert joined > 20


def test_any_two_pictures_can_be_compared() -> None:
    nested = 0
    for seed in range(60):
        dice = random.Random(seed)
        before, after = (with_tunnels(picture_of(some_topology(dice)), dice) for _ in range(2))
        both = compared(before, after)
        nested += bool(parents(both))
        in_order(layout_of(both))
        in_order(layout_of(folded(both)))
        assert not re.search(r"^ *[-+~] ", text_of(compared(before, before)).split("\n", 1)[-1], re.MULTILINE)
    assert nested > 5


def with_tunnels(picture: Picture, dice: random.Random) -> Picture:
    ends = [box for box in picture.boxes if dice.random() < 0.3]
    plug = Plug("vx", "vxlan", mtu=1450, facts=("vni 1", "local 10.0.0.1"))
    boxes = tuple(replace(box, plugs=(*box.plugs, plug)) if box in ends else box for box in picture.boxes)
    pairs = [(a, b) for i, a in enumerate(ends) for b in ends[i + 1 :] if dice.random() < 0.6]
    found = tuple(Tunnel(((a.name, "vx"), (b.name, "vx")), "VXLAN vni 1", dice.random() < 0.2) for a, b in pairs)
    return replace(picture, boxes=boxes, tunnels=found)
