"""Records, snapshots and differences as data: nothing here needs a kernel."""

from __future__ import annotations

import os
from dataclasses import FrozenInstanceError, replace

import pytest

from labkit import see
from labkit.errors import NotFound, NotInLabMachine
from labkit.net.here import in_lab_machine
from labkit.state import Snapshot, difference, snapshot
from labkit.state.records import Details, FdbEntry, Link, Neighbour, Route, Rule

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")


def kept(name: str) -> Snapshot:
    with open(os.path.join(GOLDEN, f"{name}.json"), encoding="utf-8") as file:
        return Snapshot.from_json(file.read())


RED = """\
namespace red
  link       lo    UP  loopback                     mtu 65536
             eth0  UP  veth      02:35:8a:db:b3:14  mtu 1500   peer veth-red in host
  address    lo    127.0.0.1/8
             eth0  10.0.0.2/24
  route      default via 10.0.0.1 dev eth0
             10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.2
  neighbour  10.0.0.3 dev eth0 lladdr 02:70:e8:32:b4:95 learned"""

ROUTES = {
    "default via 10.0.0.1 dev eth0": Route("default", gateway="10.0.0.1", dev="eth0"),
    "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.2": Route(
        "10.0.0.0/24", dev="eth0", protocol="kernel", scope="link", prefsrc="10.0.0.2"
    ),
    "blackhole 10.3.0.0/16": Route("10.3.0.0/16", type="blackhole"),
    "10.6.0.0/16 via inet6 fd00::9 dev eth0": Route("10.6.0.0/16", gateway="fd00::9", dev="eth0"),
    "fd00:1::/64 via fd00::9 dev eth0 metric 1024": Route(
        "fd00:1::/64", "inet6", gateway="fd00::9", dev="eth0", metric=1024
    ),
    "10.2.0.0/16 nexthop via 10.0.0.1 dev eth0 weight 1 nexthop dev eth1 weight 3": Route(
        "10.2.0.0/16", nexthops=(("10.0.0.1", "eth0", 1), (None, "eth1", 3))
    ),
    "default via 10.0.0.3 dev eth0 table 100 onlink": Route(
        "default", gateway="10.0.0.3", dev="eth0", table="100", flags=("onlink",)
    ),
}


@pytest.mark.parametrize("text", ROUTES)
def test_a_route_reads_as_ip_writes_it(text: str) -> None:
    assert ROUTES[text].text == text


def test_other_records_read_as_ip_and_bridge_write_them() -> None:
    assert Rule(32766).text == "32766: from all lookup main"
    assert Rule(5, "10.0.0.0/8", action="blackhole", table=None).text == "5: from 10.0.0.0/8 blackhole"
    web = Rule(7, table="100", ipproto="tcp", sport=(7, 7), dport=(80, 90))
    assert web.text == "7: from all ipproto tcp sport 7 dport 80-90 lookup 100"
    assert FdbEntry("02:00:00:00:00:01", "p", master="br0").text == "02:00:00:00:00:01 dev p master br0 learned"
    vxlan = FdbEntry("00:00:00:00:00:00", "vx0", "permanent", ("self",), dst="192.0.2.7")
    assert vxlan.text == "00:00:00:00:00:00 dev vx0 dst 192.0.2.7 self permanent"
    assert Neighbour("10.0.0.3", "eth0", state="INCOMPLETE").text == "10.0.0.3 dev eth0 unanswered"


@pytest.mark.parametrize("state", ["REACHABLE", "STALE", "DELAY", "PROBE"])
def test_a_neighbour_entry_that_ages_reads_the_same(state: str) -> None:
    assert Neighbour("10.0.0.3", "eth0", "02:00:00:00:00:01", state).text.endswith("02:00:00:00:00:01 learned")


def test_a_link_knows_whether_frames_pass() -> None:
    up = Link(2, "eth0", ("UP", "LOWER_UP"))
    assert (up.state, up.is_up, up.has_carrier) == ("up", True, True)
    assert replace(up, flags=("UP",)).state == "no carrier"
    assert replace(up, flags=()).state == "down"
    assert Link(3, "tunl0").is_fallback
    assert not Link(3, "tunl0", ("UP",)).is_fallback


def test_records_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Link(1, "lo").mtu = 9  # type: ignore[misc]
    with pytest.raises(TypeError):
        Details({"id": 42})["id"] = 43  # type: ignore[index]
    assert hash(Link(1, "vx0", details=Details({"id": 42}))) == hash(Link(1, "vx0", details=Details({"id": 42})))


def test_a_namespace_reads_as_a_table() -> None:
    assert repr(kept("before")["red"]) == RED


def test_a_snapshot_is_a_mapping_of_namespaces() -> None:
    seen = kept("before")
    assert list(seen) == ["host", "red", "blue", "green"]
    assert "red" in seen
    assert seen.get("nobody") is None
    assert seen["red"].link("eth0").peer == ("host", "veth-red")
    assert [port.ifname for port in seen["host"].ports_of("br0")] == ["veth-red", "veth-blue", "veth-green"]
    with pytest.raises(NotFound, match="links there: lo, eth0"):
        seen["red"].link("eth1")
    assert list(seen.only("red")) == ["red"]


def test_json_and_back_is_the_same() -> None:
    assert Snapshot.from_json(kept("after").json()) == kept("after")


def test_a_long_snapshot_says_how_much_more_there_is() -> None:
    state = kept("before")["red"]
    many = Snapshot(tuple(replace(state, name=f"c{i}") for i in range(1000)))
    assert repr(many).endswith("and 988 more: c12, c13, c14, ...")
    assert repr(Snapshot()) == "a snapshot of no namespace"


def test_a_difference_is_falsy_when_nothing_changed() -> None:
    same = difference(kept("before"), kept("before"))
    assert not same
    assert repr(same) == "no difference"


def test_a_difference_tells_what_came_went_and_changed() -> None:
    told = difference(kept("before"), kept("after"))
    path = os.path.join(GOLDEN, "changes.txt")
    if os.environ.get("LABKIT_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write(repr(told) + "\n")
    with open(path, encoding="utf-8") as file:
        assert repr(told) == file.read().removesuffix("\n")
    assert {change.sign for change in told.added} == {"+"}
    assert {change.word for change in told.removed} == {"removed"}
    assert len(told) == len(told.added) + len(told.removed) + len(told.changed)


def test_indexes_and_ages_are_not_compared() -> None:
    state = kept("before")["red"]
    later = replace(
        state,
        links=tuple(replace(link, ifindex=link.ifindex + 7, group=3) for link in state.links),
        neighbours=tuple(replace(entry, state="STALE") for entry in state.neighbours),
    )
    assert not difference(Snapshot((state,)), Snapshot((later,)))


@pytest.mark.skipif(in_lab_machine(), reason="this is about the computer itself")
def test_reading_refuses_outside_a_lab_machine() -> None:
    with pytest.raises(NotInLabMachine, match="failed to read the network: this is not a lab machine"):
        snapshot()


def test_a_fallback_device_is_in_the_data_and_not_in_tables_pictures_or_differences() -> None:
    state = kept("before")["red"]
    with_tunl0 = replace(state, links=(*state.links, Link(9, "tunl0", mtu=1480, kind="ipip")))
    assert with_tunl0.link("tunl0").is_fallback
    assert repr(with_tunl0) == repr(state)
    assert see.topology_text(Snapshot((with_tunl0,))) == see.topology_text(Snapshot((state,)))
    assert not difference(Snapshot((state,)), Snapshot((with_tunl0,)))
    up = replace(with_tunl0, links=(*state.links, Link(9, "tunl0", ("UP", "LOWER_UP"), kind="ipip")))
    assert "tunl0" in repr(up)
