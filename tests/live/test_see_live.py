"""The picture of a plan and of what was built from it; tunnels and macvlans as plain `ip` commands make them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from labkit import Bridge, Container, Interface, Topology, build, see
from labkit.pytest_plugin import clear
from labkit.see.picture import Picture
from labkit.see.show import picture_of
from labkit.state import snapshot

NODES = """
ip link add br0 type bridge
ip link set br0 up
for n in 1 2; do
    ip netns add node$n
    ip link add veth-node$n type veth peer name eth0 netns node$n
    ip link set veth-node$n master br0 up
    ip -n node$n link set eth0 up
    ip -n node$n address add 192.168.0.1$n/24 dev eth0
    ip -n node$n link add vx type vxlan id 7 dstport 8472 local 192.168.0.1$n dev eth0 nolearning
    ip -n node$n link set vx up
done
bridge -n node1 fdb append 02:00:00:00:00:02 dev vx dst 192.168.0.12
"""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    clear()
    yield
    clear()


def sh(script: str) -> None:
    subprocess.run(["sh", "-ec", script], check=True, timeout=60)


def cluster() -> Topology:
    things: list[Bridge | Container] = [Bridge("br0", "192.168.0.1/24")]
    for n in (1, 2):
        uplink = Interface("eth0", f"192.168.0.{n + 1}/24", "br0")
        cali = Interface("cali1", link=f"lone{n}:eth0")
        things += [
            Container(f"node{n}", interfaces=(uplink, cali), sysctls={"net.ipv4.ip_forward": 1}),
            Bridge("cni0", f"10.244.{n}.1/24", on=f"node{n}"),
            Container(f"pod{n}", f"10.244.{n}.2/24", f"node{n}:cni0"),
            Container(f"lone{n}", f"10.65.{n}.2/32", f"node{n}:cali1"),
        ]
    return Topology(*things)


def plain() -> Topology:
    return Topology(
        Bridge("br0", "10.0.0.1/24"),
        Container("red", "10.0.0.2/24", "br0"),
        Container(
            "router",
            interfaces=(Interface("eth0", "10.0.0.3/24", "br0"), Interface("eth1", "10.0.1.1/24", "leaf:eth0")),
            sysctls={"net.ipv4.ip_forward": 1},
        ),
        Container("leaf", "10.0.1.2/24", "router:eth1"),
    )


@pytest.mark.parametrize(("plan", "nested"), [(cluster(), 4), (plain(), 0)], ids=["cluster", "plain"])
def test_a_plan_and_what_was_built_from_it_show_the_same_boxes_in_the_same_boxes(plan: Topology, nested: int) -> None:
    with build(plan) as lab:
        now = picture_of(lab.snapshot())
        assert shape(now) == shape(picture_of(plan))
        assert sum(bool(box.parent) for box in now.boxes) == nested
        changed = see.difference(plan, lab.snapshot()).text.split("\n", 1)[1]
        assert [line for line in changed.splitlines() if line.lstrip().startswith(("+ ", "- ", "~ "))] == []


def shape(picture: Picture) -> object:
    boxes = {
        (box.name, box.parent, box.facts, frozenset((plug.name, plug.mac, plug.addresses) for plug in box.every_plug()))
        for box in picture.boxes
    }
    return boxes, {frozenset(cable.ends) for cable in picture.cables}


def test_a_vxlan_tunnel_is_drawn_as_far_as_the_fdb_knows_it() -> None:
    sh(NODES)
    (tunnel,) = picture_of(snapshot()).tunnels
    assert (tunnel.ends, tunnel.one_way) == ((("node1", "vx"), ("node2", "vx")), True)
    before = snapshot()
    sh("bridge -n node2 fdb append 02:00:00:00:00:01 dev vx dst 192.168.0.11")
    (tunnel,) = picture_of(snapshot()).tunnels
    assert (tunnel.label, tunnel.one_way) == ("VXLAN vni 7", False)
    assert "~ tunnel VXLAN vni 7 to node2/vx" in see.difference(before, snapshot()).text


def test_a_vxlan_with_a_remote_is_told_apart_from_one_with_a_group() -> None:
    sh("ip link add one type vxlan id 1 dstport 4789 remote 10.0.0.2")
    sh("ip link add v type veth peer name w; ip link add two type vxlan id 2 dstport 4789 group 239.1.1.1 dev v")
    host = snapshot("host")["host"]
    assert host.link("one").details["remote"] == "10.0.0.2"
    assert host.link("two").details["group"] == "239.1.1.1"
    text = see.topology_text(snapshot("host"))
    assert "vni 1, remote 10.0.0.2, port 4789" in text
    assert "vni 2, group 239.1.1.1, port 4789, on v" in text


def test_a_macvlan_in_a_container_says_what_it_sits_on() -> None:
    sh("ip netns add red; ip link add lower type veth peer name other; ip link set lower up")
    sh("ip link add mv0 link lower type macvlan mode bridge; ip link set mv0 netns red name eth0")
    text = see.topology_text(snapshot())
    assert "mode bridge, on lower in host" in text
    assert "carries macvlan red/eth0" in text
    assert "on a link not shown here" in see.topology_text(snapshot("red"))


def test_a_cable_to_a_namespace_that_is_not_in_the_picture_says_so() -> None:
    sh("ip netns add red; ip link add v type veth peer name eth0 netns red")
    assert "peer in a namespace not shown here" in see.topology_text(snapshot("red"))
    assert "peer in a namespace not shown here" not in see.topology_text(snapshot())
