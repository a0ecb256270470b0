"""Reading again what changed is as good as reading everything, or says that it is not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from labkit.lab import Bridge, Container, Topology, build
from labkit.state import snapshot
from labkit.state.reread import refreshed


@pytest.fixture(autouse=True)
def lab(network: None) -> Iterator[None]:
    names = enumerate(("red", "blue", "green"), 2)
    containers = [Container(name, f"10.0.0.{number}/24", "br0") for number, name in names]
    with build(Topology(Bridge("br0", "10.0.0.1/24"), *containers)):
        snapshot()
        yield


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        ("ip -n red link set eth0 down", {"red", "host"}),
        ("ip -n red link set eth0 mtu 1400", {"red"}),
        ("ip -n red address add 10.9.0.1/32 dev eth0", {"red"}),
        ("ip link set veth-red nomaster", {"host"}),
        ("ip link add br1 type bridge", {"host"}),
        ("true", set()),
    ],
)
def test_it_is_what_reading_everything_gives(command: str, changed: set[str]) -> None:
    before = snapshot()
    subprocess.run(["sh", "-ec", command], check=True)
    assert refreshed(before, changed) == snapshot()


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        ("ip netns add new", {"new"}),
        ("ip netns delete red", {"red"}),
        ("ip netns delete red; ip netns add red", {"red"}),
        ("ip link add v type veth peer name w netns blue", {"host", "blue"}),
        ("ip -n red link set eth0 down; ip -n red link set eth0 name wan", {"red"}),
        ("ip link delete veth-red", {"host", "red"}),
    ],
)
def test_where_names_or_veth_ends_changed_everything_is_to_be_read(command: str, changed: set[str]) -> None:
    before = snapshot()
    subprocess.run(["sh", "-ec", command], check=True)
    assert refreshed(before, changed) is None
