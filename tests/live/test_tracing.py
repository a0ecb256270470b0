"""Tracing leaves nothing behind, mixes nothing up, invents nothing, and says clearly what it cannot do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from labkit.errors import LabkitError, NotFound, WrongUse
from labkit.lab import Bridge, Container, Lab, Topology, build
from labkit.packets import capture, serve
from labkit.tracing import CAUSES, evidence, trace

PAIR = Topology(
    Bridge("br0", "10.0.0.1/24"),
    Container("red", "10.0.0.2/24", "br0"),
    Container("blue", "10.0.0.3/24", "br0"),
    Container("green", "10.0.0.4/24", "br0"),
)


@pytest.fixture
def lab(network: None) -> Any:
    with build(PAIR) as built:
        yield built


ACCEPTS = "nft 'table inet f { chain i { type filter hook input priority 0; icmp type echo-request accept; }; }'"


def sh(script: str) -> str:
    return subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True).stdout


def everything(names: tuple[str, ...] = ("red", "blue", "green")) -> list[str]:
    """Rules, loggers and sysctls of every namespace."""
    look = "nft list ruleset; for t in filter raw nat; do iptables-legacy -t $t -S; done"
    look += "; cat /proc/sys/net/netfilter/nf_log/2"
    return [sh(look), *(sh(f"ip netns exec {name} sh -c '{look}'") for name in names)]


def test_it_leaves_no_rule_no_logger_no_socket_no_thread_behind(lab: Lab) -> None:
    lab.run(
        "blue", "nft 'table inet f { chain i { type filter hook input priority 0; icmp type echo-request accept; }; }'"
    )
    lab.run("green", "iptables-legacy -A INPUT -p icmp -j ACCEPT")
    trace(
        "blue", "red"
    )  # sockets that are kept for good, and the table `raw` of iptables-legacy, are there from now on
    before, descriptors = everything(), len(os.listdir("/proc/self/fd"))
    for to in ("blue", "green", "10.0.0.9"):
        trace(to, "red")
    assert everything() == before
    wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith("labkit")])
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


def wait_until(condition: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_killed_in_the_middle_it_leaves_no_rule_of_nftables(lab: Lab) -> None:
    rules = "table inet f { chain i { type filter hook input priority 0; icmp type echo-request accept; }; }"
    added = lab.run("blue", f"nft '{rules}'")
    assert added, added
    before = lab.run("blue", "nft list ruleset").stdout
    program = "from labkit.tracing import trace; trace('10.0.0.9', 'red', timeout=60)"  # nobody has it: it waits
    child = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(lambda: "labkit_trace" in lab.run("blue", "nft list ruleset").stdout, 20)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    wait_until(lambda: lab.run("blue", "nft list ruleset").stdout == before)


def test_two_traces_at_once_do_not_mix(lab: Lab) -> None:
    lab.run("blue", ACCEPTS)
    quiet = [trace("blue", "red"), trace("blue", "green")]
    for _ in range(3):
        with ThreadPoolExecutor(2) as both:
            found = list(both.map(partial(trace, "blue"), ("red", "green")))
        assert [repr(one) for one in found] == [repr(one) for one in quiet]


def test_other_traffic_is_not_taken_for_it(lab: Lab) -> None:
    quiet = trace("blue", "red")
    noise = subprocess.Popen(
        ["ip", "netns", "exec", "red", "ping", "-i", "0.002", "10.0.0.3"], stdout=subprocess.DEVNULL
    )
    try:
        with capture("blue", filter="icmp") as seen:
            assert seen.wait(count=10)
            assert repr(trace("blue", "red")) == repr(quiet)
    finally:
        noise.kill()
        noise.wait()


def test_the_same_trace_again_reads_the_same(lab: Lab) -> None:
    trace("blue", "red")
    with serve("blue", 80):
        assert len({repr(trace("blue", "red", tcp=80)) for _ in range(3)}) == 1


def test_its_json_has_what_is_promised(lab: Lab) -> None:
    with serve("blue", 80):
        told = json.loads(trace("blue", "red", tcp=80).json())
    assert (told["delivered"], told["answered"], told["cause"]) == (True, True, None)
    keys = {"leg", "namespace", "interface", "direction", "summary", "changed", "decided_by"}
    assert all(keys <= hop.keys() for hop in told["hops"])
    legs = [(hop["leg"], hop["namespace"], hop["direction"]) for hop in told["hops"]]
    assert legs[0] == ("request", "red", "out")
    assert legs[-1] == ("answer", "red", "in")
    lost = json.loads(trace("10.0.0.9", "red").json())
    assert lost["cause"].keys() >= {"kind", "namespace", "interface", "sentence"}
    assert lost["cause"]["kind"] in CAUSES


def test_a_namespace_without_a_name_is_not_invented(lab: Lab) -> None:
    """What goes on behind a cable into a namespace that nobody can enter by name, the trace does not say."""
    with subprocess.Popen(["unshare", "-n", "sleep", "60"]) as hidden:
        try:
            sh(f"""until [ "$(readlink /proc/{hidden.pid}/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
            ip -n red link add eth1 type veth peer name far netns {hidden.pid}; ip -n red link set eth1 up
            ip -n red address add 10.7.0.1/24 dev eth1; nsenter -t {hidden.pid} -n ip link set far up
            ip -n red neighbour add 10.7.0.2 lladdr 02:00:00:00:00:77 dev eth1; ip -n red link show eth1""")
            one = trace("10.7.0.2", "red")
        finally:
            hidden.kill()
    assert [hop.where for hop in one.hops] == ["red/eth1"]
    assert one.cause is not None
    assert (one.cause.kind, one.cause.sentence) == (
        "unknown",
        "it left red by eth1, and what is at the other end is in no namespace with a name",
    )


def test_interrupted_it_leaves_nothing(lab: Lab) -> None:
    rules = "table inet f { chain i { type filter hook input priority 0; icmp type echo-request accept; }; }"
    added = lab.run("blue", f"nft '{rules}'")
    assert added, added
    before = lab.run("blue", "nft list ruleset").stdout
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trace("10.0.0.9", "red", timeout=30)
    assert lab.run("blue", "nft list ruleset").stdout == before
    wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith("labkit")])


def test_a_lab_traces_by_its_own_names(lab: Lab) -> None:
    one = lab.trace("br0", "red")
    assert (one.what, one.verdict) == ("ping 10.0.0.1", "delivered and answered")


def scapy_without_mac() -> Any:
    from scapy.layers.inet import ICMP, IP
    from scapy.layers.l2 import Ether

    return Ether() / IP(dst="10.0.0.3") / ICMP()


THERE = "namespaces there: host, blue, green, red"
WHAT = "an IP address, the name of a namespace, bytes, or a packet of scapy's"
NEITHER = "failed to trace a packet of 3 bytes: it is neither an Ethernet frame nor an IP packet\n"
REFUSALS: list[tuple[Any, str, dict[str, Any], type[LabkitError], str]] = [
    ("10.0.0.300", "red", {}, NotFound, f"failed to enter namespace '10.0.0.300': no such namespace\n{THERE}"),
    ("blue", "pink", {}, NotFound, f"failed to enter namespace 'pink': no such namespace\n{THERE}"),
    ("blue", "red", {"tcp": 80, "udp": 53}, WrongUse, "failed to trace: tcp and udp were asked for at once\ngive one"),
    ("blue", "red", {"tcp": 0}, WrongUse, "failed to trace: 0 is no port\nports are 1 to 65535"),
    ("blue", "red", {"tcp": 70000}, WrongUse, "failed to trace: 70000 is no port\nports are 1 to 65535"),
    ("blue", "red", {"ttl": 0}, WrongUse, "failed to trace: a TTL of 0 is out of range\na TTL is 1 to 255"),
    ("blue", "red", {"size": -1}, WrongUse, "failed to trace: a ping of -1 bytes is out of range\n0 to 65507 bytes"),
    (b"abc", "red", {}, WrongUse, f"{NEITHER}as in IP(dst='10.0.0.3') / ICMP(), or Ether(...) / ARP(...)"),
    (None, "red", {}, WrongUse, f"failed to trace a NoneType: it is no packet\n{WHAT}"),
    (
        scapy_without_mac,
        "red",
        {},
        WrongUse,
        "failed to trace a frame: its destination MAC is not written out\nas in Ether(dst='02:...') / ...",
    ),
]


@pytest.mark.parametrize(("packet", "start", "options", "kind", "sentence"), REFUSALS)
def test_what_cannot_be_traced_is_a_sentence(
    lab: Lab, packet: Any, start: str, options: dict[str, Any], kind: type[LabkitError], sentence: str
) -> None:
    with pytest.raises(kind) as refused:
        trace(packet() if callable(packet) else packet, start, **options)
    assert str(refused.value) == sentence


def test_a_namespace_without_an_address_cannot_be_named_as_destination(lab: Lab) -> None:
    sh("ip netns add bare")
    with pytest.raises(NotFound, match="that namespace has no address"):
        trace("bare", "red")


def test_a_slow_server_is_waited_for(lab: Lab) -> None:
    def slowly(data: bytes, _peer: object) -> bytes:
        time.sleep(0.6)
        return data

    with serve("blue", 53, udp=True, reply=slowly):
        assert trace("blue", "red", dns="web.default").answered


def test_another_name_of_a_namespace_is_the_one_that_was_asked_for(lab: Lab) -> None:
    sh("ln -s /run/netns/red /run/netns/zebra; ln -s /run/netns/red /run/netns/ant")
    for name in ("zebra", "ant", "red"):
        one = trace("blue", name)
        assert (one.answered, one.hops[0].where) == (True, f"{name}/eth0")
    sh("rm /run/netns/zebra /run/netns/ant")


def test_a_neighbour_that_is_asked_for_already_is_waited_for(lab: Lab) -> None:
    sh("ip -n blue link set eth0 down; ip netns exec red ping -c1 -W0.1 10.0.0.3 >/dev/null || true")
    sh("ip -n blue link set eth0 up")
    assert trace("blue", "red", timeout=3).answered


def test_a_flood_that_meets_rules_is_a_note_and_no_error(lab: Lab) -> None:
    lab.run("blue", "nft 'table inet f { chain i { type filter hook input priority 0; counter accept; }; }'")
    program = (
        "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); end = time.time() + 3\n"
        "while time.time() < end: s.sendto(b'x' * 200, ('10.0.0.4', 9))"
    )
    with subprocess.Popen(["ip", "netns", "exec", "blue", sys.executable, "-c", program]) as flood:
        try:
            with capture("blue", filter="udp") as seen:
                assert seen.wait(count=100, timeout=5)
            one = trace("blue", "red")
        finally:
            flood.kill()
    assert one.delivered


def test_what_was_answered_was_delivered_though_no_frame_of_it_was_kept(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MOST", 0)
    one = trace("blue", "red")
    assert (one.hops, one.delivered, one.answered, one.cause) == ((), True, True, None)
    assert "no frame of it was kept" in repr(one)
    assert any("came after the bound (0 frames" in note for note in one.notes)
