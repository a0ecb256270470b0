"""Snapshots and differences of live networks: which namespaces are in them, and what a change reads like."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from labkit.errors import NamespaceGone, NotFound
from labkit.lab import Bridge, Container, Topology, build
from labkit.state import Snapshot, difference, snapshot

pytestmark = pytest.mark.usefixtures("network")


def sh(command: str) -> None:
    subprocess.run(["sh", "-ec", command], check=True)


def changes(command: str) -> list[str]:
    before = snapshot()
    sh(command)
    return [str(change) for change in difference(before, snapshot())]


PAIR = """
ip netns add red; ip netns add blue
ip link add eth0 address 02:00:00:00:00:01 netns red type veth peer name eth0 address 02:00:00:00:00:02 netns blue
for n in red blue; do ip -n $n link set eth0 up; done
ip -n red address add 10.0.0.1/24 dev eth0
ip -n blue address add 10.0.0.2/24 dev eth0
"""


@pytest.fixture
def pair() -> None:
    sh(PAIR)


def test_a_new_machine_has_a_host_and_nothing_else() -> None:
    seen = snapshot()
    assert list(seen) == ["host"]
    assert [link.ifname for link in seen["host"].links if not link.is_fallback] == ["lo"]


def test_a_namespace_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="no such namespace"):
        snapshot("nobody")
    assert "nobody" not in snapshot()
    with pytest.raises(NotFound, match="namespaces there: host"):
        snapshot()["nobody"]


def test_two_names_of_one_namespace_are_one_state() -> None:
    sh("ip netns add red; touch /run/netns/rouge; mount --bind /run/netns/red /run/netns/rouge")
    seen = snapshot()
    assert list(seen) == ["host", "red"]
    assert seen["rouge"] is seen["red"]
    assert "also called rouge" in repr(seen["red"])


def test_a_name_without_a_namespace_behind_it_is_left_out_and_refused_when_asked_for() -> None:
    sh("touch /run/netns/stale; ln -s /proc/1/fd/99999 /run/netns/dead")
    try:
        assert list(snapshot()) == ["host"]
        for name in ("stale", "dead"):
            with pytest.raises((NamespaceGone, NotFound)):
                snapshot(name)
    finally:
        os.unlink("/run/netns/dead")


def test_a_peer_in_a_namespace_without_a_name_is_said_to_be_out_of_sight() -> None:
    sleeper = subprocess.Popen(["unshare", "-n", "sleep", "30"])
    try:
        deadline = time.monotonic() + 5
        ours = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{sleeper.pid}/ns/net") == ours and time.monotonic() < deadline:
            time.sleep(0.01)
        sh(f"ip link add v type veth peer name eth0 netns {sleeper.pid}")
        link = snapshot()["host"].link("v")
        assert link.peer is None
        assert link.link_netnsid is not None
        assert "peer in a namespace not shown here" in repr(snapshot())
    finally:
        sleeper.kill()
        sleeper.wait()


def test_json_and_back_is_the_same(pair: None) -> None:
    seen = snapshot()
    assert Snapshot.from_json(seen.json()) == seen


def test_looking_changes_nothing(pair: None) -> None:
    sh("ip netns exec red ping -c 1 -W 1 10.0.0.2 >/dev/null")
    first = snapshot()
    assert not difference(first, snapshot())
    assert repr(difference(first, snapshot())) == "no difference"


def test_two_runs_read_the_same() -> None:
    texts = []
    for _ in range(2):
        with build(Topology(Bridge("br0", "10.0.0.1/24"), Container("red", "10.0.0.2/24", "br0"))) as lab:
            lab.ping("red", "br0")
            texts.append(repr(lab.snapshot()))
    assert texts[0] == texts[1]


def test_what_changed_reads_like_ip(pair: None) -> None:
    assert changes("ip -n red route add default via 10.0.0.2") == ["+ red: route default via 10.0.0.2 dev eth0"]
    assert changes("ip -n red route delete default") == ["- red: route default via 10.0.0.2 dev eth0"]
    assert changes("ip -n red link set eth0 mtu 1400") == ["~ red: link eth0 mtu 1500 → 1400"]
    assert changes("ip -n red address add 10.9.0.1/32 dev eth0") == ["+ red: address 10.9.0.1/32 dev eth0"]
    assert changes("ip -n red neighbour add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0") == [
        "+ red: neighbour 10.0.0.9 dev eth0 02:00:00:00:00:09 permanent"
    ]
    assert changes("ip netns exec red sysctl -qw net.ipv4.ip_forward=1") == [
        "~ red: sysctl net.ipv4.ip_forward 0 → 1",
    ]
    assert changes("ip -n red rule add from 10.9.0.0/16 lookup 100") == [
        "+ red: rule 32765: from 10.9.0.0/16 lookup 100"
    ]
    assert (
        changes("ip netns exec red ping -c 1 -W 1 10.0.0.2 >/dev/null")
        == [
            "+ red: neighbour 10.0.0.2 dev eth0 02:00:00:00:00:02 learned",
            "+ blue: neighbour 10.0.0.1 dev eth0 02:00:00:00:00:01 learned",
        ][::-1]
    )


def test_taking_a_link_down_tells_both_ends_and_the_routes(pair: None) -> None:
    settled = "until ip -n blue route | grep -q linkdown; do sleep 0.02; done"
    assert changes(f"ip -n red link set eth0 down; timeout 5 sh -c '{settled}'") == [
        "~ blue: link eth0 up → no carrier",
        "~ blue: route 10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.2 usable → linkdown",
        "~ red: link eth0 up → down",
        "- red: route 10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.1",
    ]


def test_a_renamed_link_is_not_one_gone_and_one_come() -> None:
    sh("ip link add v1 type veth peer name v2")
    assert changes("ip link set v1 name wan") == [
        "~ host: link v1 renamed wan",
        "~ host: link v2 peer v1 in host → wan in host",
    ]


def test_a_namespace_comes_with_lo_down_and_that_is_not_news() -> None:
    assert changes("ip netns add red") == ["+ red: namespace"]
    before = os.stat("/run/netns/red").st_ino
    sh("ip netns delete red; ip netns add red")
    if os.stat("/run/netns/red").st_ino == before:
        pytest.skip("needs: a kernel that gives a new namespace another inode than the last one's")
    assert changes("ip netns delete red; ip netns add red") == ["~ red: namespace is another one of that name now"]
    assert changes("ip netns delete red") == ["- red: namespace"]


def test_a_namespace_that_dies_meanwhile_is_left_out() -> None:
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            sh("ip netns add gone; ip netns delete gone")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(40):
            assert "host" in snapshot()
    finally:
        stop.set()
        thread.join()


def test_no_descriptor_is_left_open(pair: None) -> None:
    snapshot()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        snapshot()
    assert len(os.listdir("/proc/self/fd")) == before


def test_reading_costs_the_same_for_each_namespace_however_many_there_are() -> None:
    def seconds_each(number: int) -> float:
        containers = [Container(f"c{i}", f"10.0.{i // 250}.{i % 250 + 2}/16", "br0") for i in range(number)]
        with build(Topology(Bridge("br0", "10.0.0.1/16"), *containers)):
            return min(processor_time(snapshot) for _ in range(3)) / number

    assert seconds_each(250) <= 2 * seconds_each(50)


def processor_time(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun
