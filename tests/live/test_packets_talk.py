# ruff: noqa: E501 - a table of inputs and sentences reads best one a line
"""ping, connect, serve, send and arp_request, with each thing that can go wrong in words."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from labkit.errors import NotFound, NotInLabMachine, Refused, WrongUse
from labkit.net import here, namespace
from labkit.packets import arp_request, capture, connect, icmp, ping, reply_http, reply_source, send, serve

SYSCTLS = {
    "ipv6/conf/all/disable_ipv6": "0",
    "ipv6/conf/default/disable_ipv6": "0",
    "ipv6/conf/default/dad_transmits": "0",  # link-local addresses are usable at once
    "ipv6/conf/all/forwarding": "1",
    "ipv4/conf/all/forwarding": "1",
}
BLUE_MAC = "02:00:00:00:00:0b"


def sh(script: str) -> str:
    return subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True).stdout


def batch(name: str, lines: str) -> None:
    subprocess.run(["ip", "-n", name, "-batch", "-"], input=lines, text=True, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def routed(network: None) -> Iterator[None]:
    """red 10.0.0.2 --- router 10.0.0.1, 10.1.0.1 --- blue 10.1.0.3; and the same in fd00:0::/64, fd00:1::/64."""
    for name in ("red", "router", "blue"):
        namespace.add(name)
        with namespace.enter(name):
            for key, value in SYSCTLS.items():
                with open(f"/proc/sys/net/{key}", "w", encoding="ascii") as setting:
                    setting.write(value)
    batch(
        "router",
        """
        link add left type veth peer name eth0 netns red
        link add right type veth peer name eth0 address 02:00:00:00:00:0b netns blue
        address add 10.0.0.1/24 dev left\n address add fd00:0::1/64 dev left nodad
        address add 10.1.0.1/24 dev right\n address add fd00:1::1/64 dev right nodad
        link set lo up\n link set left up\n link set right up
    """,
    )
    for name, address, six in (("red", "10.0.0.2/24", "fd00:0::2/64"), ("blue", "10.1.0.3/24", "fd00:1::3/64")):
        gateway, six_gateway = ("10.0.0.1", "fd00:0::1") if name == "red" else ("10.1.0.1", "fd00:1::1")
        batch(
            name,
            f"""
            link set lo up\n link set eth0 up
            address add {address} dev eth0\n address add {six} dev eth0 nodad
            route add default via {gateway}\n route add default via {six_gateway}
            link show eth0
        """,
        )
    batch("router", "link show left\n link show right")  # reading one link flushes its pending carrier event
    yield
    end = time.monotonic() + 5
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("labkit-")]:
        assert time.monotonic() < end, left
        time.sleep(0.005)


def test_what_answers_is_told_in_one_line_without_times(routed: None) -> None:
    end = time.monotonic() + 10
    while not ping("red", "fd00:1::3", timeout=0.2):  # IPv6 addresses are usable a moment after their link is
        assert time.monotonic() < end
    assert repr(ping("red", "10.1.0.3")) == "red → 10.1.0.3: 1 of 1 answered (TTL 63)"
    assert repr(ping("red", "fd00:1::3", count=3)) == "red → fd00:1::3: 3 of 3 answered (TTL 63)"
    assert repr(ping("red", "127.0.0.1", size=0)) == "red → 127.0.0.1: 1 of 1 answered (TTL 64)"
    result = ping("red", "10.1.0.3", count=2, size=20000)
    assert (result.sent, result.received, result.answered, result.error, len(result.rtts)) == (2, 2, True, None, 2)
    assert all(0 < rtt < 1 for rtt in result.rtts)
    assert result


def test_two_pings_at_once_do_not_take_each_others_answers(routed: None) -> None:
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda to=to: found.append((to, ping("red", to, count=200).received)))
        for to in ("10.1.0.3", "10.0.0.1") * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [("10.0.0.1", 200)] * 2 + [("10.1.0.3", 200)] * 2  # type: ignore[type-var]


def test_answers_to_others_that_came_before_the_socket_was_ready_take_no_room(
    routed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = icmp.attach_filter

    def late(sock: socket.socket, program: bytes) -> None:
        monkeypatch.setattr(icmp, "attach_filter", real)
        assert ping("red", "10.0.0.1", count=400).answered  # each answer is put into `sock` too, until that is full
        real(sock, program)

    monkeypatch.setattr(icmp, "attach_filter", late)
    assert ping("red", "10.1.0.3", timeout=5).answered


ERRORS = [
    ("", "10.1.0.3", {"ttl": 1}, "time to live exceeded, from 10.0.0.1"),
    ("", "fd00:1::3", {"ttl": 1}, "hop limit exceeded, from fd00::1"),
    ("", "10.0.0.9", {"timeout": 0.1}, "no answer to ARP for 10.0.0.9"),
    ("", "fd00::9", {"timeout": 0.1}, "no answer to neighbour solicitation for fd00::9"),
    ("", "10.1.0.9", {"timeout": 0.1}, "no answer within 0.1 s"),
    ("ip -n red route del default", "10.1.0.3", {}, "network is unreachable: no route to 10.1.0.3 in namespace 'red'"),
    ("ip -n red -6 route del default", "fd00:1::3", {}, "network is unreachable: no route to fd00:1::3 in namespace 'red'"),
    ("ip -n red route add prohibit 10.7.0.0/16", "10.7.0.1", {}, "permission denied"),
    ("ip -n router route add unreachable 10.7.0.0/16", "10.7.0.1", {}, "destination host unreachable, from 10.0.0.1"),
    ("ip -n router route add prohibit 10.7.0.0/16", "10.7.0.1", {}, "communication prohibited by a filter, from 10.0.0.1"),
    ("", "10.7.0.1", {}, "destination network unreachable, from 10.0.0.1"),
    ("ip -n router link set right mtu 1400", "10.1.0.3", {"size": 1472, "df": True}, "fragmentation needed, MTU 1400, from 10.0.0.1"),
    ("ip -n router link set right mtu 1400", "fd00:1::3", {"size": 1452, "df": True}, "packet too big, MTU 1400, from fd00::1"),
    ("", "10.0.0.1", {"size": 1473, "df": True}, "message too long, MTU 1500"),
    ("", "10.0.0.1", {"source": "10.0.0.77"}, "source address 10.0.0.77 is on no link of namespace 'red'"),
    ("ip netns exec blue sysctl -qw net.ipv4.icmp_echo_ignore_all=1", "10.1.0.3", {"timeout": 0.1}, "no answer within 0.1 s"),
    ("ip -n red link set eth0 down", "10.0.0.1", {}, "network is unreachable: no route to 10.0.0.1 in namespace 'red'"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "to", "options", "error"), ERRORS, ids=[error[3] for error in ERRORS])
def test_what_does_not_answer_is_told_in_words(
    routed: None, before: str, to: str, options: dict[str, object], error: str
) -> None:
    sh(before or "true")
    result = ping("red", to, **options)  # type: ignore[arg-type]
    assert result.error == error
    assert not result
    assert repr(result) == f"red → {to}: 0 of 1 answered: {error}"


def test_a_filter_that_drops_what_is_sent_is_told(routed: None) -> None:
    rules = "table ip t {\nchain c {\ntype filter hook output priority 0\nip protocol icmp drop\n}\n}"
    done = subprocess.run(
        ["ip", "netns", "exec", "red", "nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("needs: nftables' ip family")
    assert ping("red", "10.0.0.1").error == "not sent: a filter in namespace 'red' dropped it"


def test_no_answer_to_arp_is_told_also_when_the_kernel_gives_up_first(routed: None) -> None:
    sh("ip netns exec red sysctl -qw net.ipv4.neigh.eth0.retrans_time_ms=10")
    begin = time.monotonic()
    assert ping("red", "10.0.0.9", timeout=5).error == "no answer to ARP for 10.0.0.9"
    assert time.monotonic() - begin < 3


BAD = [
    ({"destination": "10.0.0.1/24"}, "failed to ping '10.0.0.1/24': not an IP address\nwrite it without a prefix: 10.0.0.2, not 10.0.0.2/24"),
    ({"destination": "blue"}, "failed to ping 'blue': not an IP address\nwrite it without a prefix: 10.0.0.2, not 10.0.0.2/24"),
    ({"ttl": 0}, "failed to ping 10.0.0.1: size is 0 to 65507, ttl 1 to 255, count at least 1, timeout above 0\nasked for: size 56, ttl 0, count 1, timeout 1.0"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "sentence"), BAD)
def test_a_ping_that_cannot_be_is_refused(routed: None, words: dict[str, object], sentence: str) -> None:
    with pytest.raises(WrongUse) as refusal:
        ping("red", **{"destination": "10.0.0.1", **words})  # type: ignore[arg-type]
    assert str(refusal.value) == sentence


def test_a_ping_from_nowhere_names_the_namespaces_there(routed: None) -> None:
    with pytest.raises(NotFound, match="no such namespace\nnamespaces there: host, blue, red, router"):
        ping("green", "10.0.0.1")


def test_the_command_of_a_ping_does_the_same(routed: None) -> None:
    result = ping("red", "10.1.0.3", count=2, ttl=9, size=1000, df=True, source="10.0.0.2", timeout=2)
    assert result.command == "ip netns exec red ping -n -c 2 -W 2 -s 1000 -t 9 -M do -I 10.0.0.2 10.1.0.3"
    assert "2 received" in sh(result.command)


def test_a_served_port_echoes_and_knows_its_callers(routed: None) -> None:
    with serve("blue", 80) as server:
        assert repr(server) == "server in blue: 0.0.0.0:80 TCP, listens"
        assert repr(connect("red", "10.1.0.3", 80)) == "red → 10.1.0.3:80 TCP: connected"
        answer = connect("red", "10.1.0.3", 80, data="hello " * 5000)
        assert (answer.ok, answer.text, answer.peer) == (True, "hello " * 5000, ("10.1.0.3", 80))
        assert server.callers == ["10.0.0.2", "10.0.0.2"]
        assert server.seen[1] == answer.source
        assert server.command == "ip netns exec blue nc -l 80"
    assert repr(server) == "server in blue: 0.0.0.0:80 TCP, stopped"
    assert (
        connect("red", "10.1.0.3", 80).error
        == "connection refused: nothing listens on TCP port 80 of 10.1.0.3, or a filter rejects"
    )
    with serve("blue", 80):  # at once again
        assert connect("red", "10.1.0.3", 80)


def test_udp_is_served_too(routed: None) -> None:
    with serve("blue", 53, udp=True, reply=reply_source) as server:
        assert repr(connect("red", "10.1.0.3", 53, udp=True)) == "red → 10.1.0.3:53 UDP: answered: '10.0.0.2'"
        assert server.callers == ["10.0.0.2"]
    assert (
        connect("red", "10.1.0.3", 53, udp=True).error
        == "connection refused: nothing listens on UDP port 53 of 10.1.0.3, or a filter rejects"
    )


def test_it_serves_ipv6_and_fixed_replies_for_curl(routed: None) -> None:
    with serve("blue", 80, address="::", reply=reply_http("hello")):
        assert sh("ip netns exec red curl -s http://10.1.0.3/") == "hello"
        assert sh("ip netns exec red curl -s 'http://[fd00:1::3]/'") == "hello"
        assert connect("red", "fd00:1::3", 80, data="x").text.endswith("hello")


def test_the_address_that_the_server_sees_is_told(routed: None) -> None:
    with serve("blue", 80, reply=reply_source):
        assert connect("red", "10.1.0.3", 80, data="?").text == "10.0.0.2"
        assert connect("red", "10.1.0.3", 80, data="?", source="10.0.0.2").text == "10.0.0.2"


CALLS = [
    ("", "10.0.0.9", "no answer to ARP for 10.0.0.9"),
    ("", "10.1.0.9", "no answer within 0.2 s"),
    ("ip -n red route del default", "10.1.0.3", "network is unreachable: no route to 10.1.0.3 in namespace 'red'"),
    ("ip -n router route add unreachable 10.7.0.0/16", "10.7.0.1", "no route to host: somebody on the way said so"),
]


@pytest.mark.parametrize(("before", "to", "error"), CALLS, ids=[call[2] for call in CALLS])
def test_a_call_that_fails_is_told_in_words(routed: None, before: str, to: str, error: str) -> None:
    sh(before or "true")
    assert repr(connect("red", to, 80, timeout=0.2)) == f"red → {to}:80 TCP: {error}"


def test_a_server_that_does_not_answer_is_told(routed: None) -> None:
    with serve("blue", 80, reply=b""):
        assert connect("red", "10.1.0.3", 80, data="x").data == b""
    with serve("blue", 80, reply=lambda _data, _peer: b""):
        assert connect("red", "10.1.0.3", 80, data="x", timeout=0.1).error == "connected, but no answer within 0.1 s"


def test_a_port_in_use_names_its_holder(routed: None) -> None:
    program = "import socket,sys; s=socket.create_server(('0.0.0.0', 80)); print(1, flush=True); sys.stdin.read()"
    command = ["ip", "netns", "exec", "blue", sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        comm = sh(f"cat /proc/{other.pid}/comm").strip()
        with pytest.raises(Refused) as refusal:
            serve("blue", 80)
        other.communicate("")
    assert str(refusal.value) == (
        f"failed to serve TCP port 80 in namespace 'blue': it is in use by {comm} (process {other.pid})\n"
        "who listens: ip netns exec blue ss -lnp"
    )
    with serve("blue", 80), serve("red", 80), pytest.raises(Refused, match="it is in use by this program itself"):
        serve("blue", 80)


def test_what_cannot_be_served_is_refused_in_words(routed: None) -> None:
    with pytest.raises(
        Refused, match=r"failed to serve TCP port 80 in namespace 'blue': address 10.9.9.9 is on no link"
    ):
        serve("blue", 80, address="10.9.9.9")
    with pytest.raises(WrongUse, match="failed to use port 70000: a port is 0 to 65535"):
        serve("blue", 70000)
    with pytest.raises(WrongUse, match="failed to use 'blue': not an IP address"):
        connect("red", "blue", 80)


def test_a_server_stops_with_connections_open_and_leaves_nothing(routed: None) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with ExitStack() as stack:
        server = stack.enter_context(serve("host", 8080))
        for _ in range(50):
            caller = stack.enter_context(socket.socket())
            stack.enter_context(namespace.enter("host"))
            caller.connect(("127.0.0.1", 8080))
        server.stop()
        server.stop()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_frame_goes_out_as_it_is(routed: None) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    raw = b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb5" + bytes(46)
    packet = (
        Ether(src="02:00:00:00:00:99", dst="ff:ff:ff:ff:ff:ff")
        / IP(src="1.2.3.4", dst="5.6.7.8")
        / UDP(sport=1, dport=2)
    )
    with capture("router/left", filter="ether proto 0x88b5 or src 1.2.3.4") as seen:
        assert send(raw, "red", "eth0") == 1
        assert send([packet, packet], "red", "eth0") == 2
        assert send(packet, "red", "eth0") == 1
    assert [one.data for one in seen] == [raw] + [bytes(packet)] * 3


SENDS = [
    ("", bytes(2000), "eth0", "failed to send on 'eth0' in namespace 'red': 2000 bytes are more than its MTU and header\nip link shows the MTU"),
    ("ip -n red link set eth0 down", bytes(60), "eth0", "failed to send on 'eth0' in namespace 'red': the link is down\nset it up: ip -n red link set eth0 up"),
    ("", bytes(60), "eth7", "failed to send on 'eth7' in namespace 'red': no such link\nlinks there: lo, eth0"),
    ("", b"short", "eth0", "failed to send a frame of 5 bytes: an Ethernet header alone has 14\na frame begins with destination MAC, source MAC and ethertype: Ether(...) / ..."),
]  # fmt: skip


@pytest.mark.parametrize(("before", "data", "link", "sentence"), SENDS)
def test_a_frame_that_cannot_go_out_is_refused(
    routed: None, before: str, data: bytes, link: str, sentence: str
) -> None:
    sh(before or "true")
    with pytest.raises((Refused, NotFound, WrongUse)) as refusal:
        send(data, "red", link)
    assert str(refusal.value) == sentence


def test_arp_is_asked_and_every_answer_heard(routed: None) -> None:
    assert arp_request("router", "right", "10.1.0.3") == [("10.1.0.3", BLUE_MAC)]
    begin = time.monotonic()
    assert arp_request("router", "right", "10.1.0.4", timeout=0.1) == []
    assert time.monotonic() - begin >= 0.1
    sh("ip -n router address flush dev right")
    assert arp_request("router", "right", "10.1.0.3") == [("10.1.0.3", BLUE_MAC)]  # a probe, from 0.0.0.0
    with pytest.raises(WrongUse, match="failed to ask for 'fd00::1': not an IPv4 address"):
        arp_request("router", "right", "fd00::1")


def test_two_owners_of_one_address_both_answer(routed: None) -> None:
    namespace.add("green")
    sh("""
    ip -n router link add br0 type bridge; ip -n router link set br0 up; ip -n router link set right master br0
    ip link add eth0 netns green address 02:00:00:00:00:0c type veth peer name third netns router
    ip -n router link set third master br0 up; ip -n green link set eth0 up; ip -n green address add 10.1.0.3/24 dev eth0
    """)
    wait = time.monotonic() + 5
    while len(answers := arp_request("router", "br0", "10.1.0.3", timeout=0.2)) < 2:
        assert time.monotonic() < wait
    assert sorted(answers) == [("10.1.0.3", BLUE_MAC), ("10.1.0.3", "02:00:00:00:00:0c")]


def test_all_of_it_works_where_an_event_loop_runs(routed: None) -> None:
    async def cell() -> None:
        with serve("blue", 80) as server:
            assert connect("red", "10.1.0.3", 80, data="x").data == b"x"
            assert ping("red", "10.1.0.3")
            assert arp_request("red", "eth0", "10.0.0.1")
            assert server.callers == ["10.0.0.2"]

    asyncio.run(cell())


def test_every_verb_refuses_outside_a_lab_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "in_lab_machine", lambda: False)
    for verb, words in (
        (ping, ("red", "10.0.0.1")),
        (connect, ("red", "10.0.0.1", 80)),
        (serve, ("red", 80)),
        (send, (b"", "red", "eth0")),
        (arp_request, ("red", "eth0", "10.0.0.1")),
    ):
        with pytest.raises(NotInLabMachine, match="this is not a lab machine, and labkit never touches the computer's"):
            verb(*words)  # type: ignore[operator]
