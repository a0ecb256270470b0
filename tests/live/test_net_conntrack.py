"""Connections are forgotten by any part of what they are, and heard of as they come and go: as conntrack does it."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit import Bridge, Container, Lab, Topology, build
from labkit.errors import NotFound, Refused
from labkit.net import conntrack, iptables, namespace, sysctl
from labkit.net.conntrack import Watcher
from labkit.state.conntrack import conntrack as table

pytestmark = pytest.mark.usefixtures("network")

WORLD = Topology(
    Bridge("br0", "10.0.0.1/24"),
    Container("red", "10.0.0.2/24", link="br0"),
    Container("blue", "10.0.0.3/24", link="br0"),
)
TRACK = ("filter", "OUTPUT", "-m conntrack --ctstate INVALID -j DROP")


@pytest.fixture
def lab(network: None) -> Lab:
    """Two containers; red tracks its connections."""
    lab = build(WORLD)
    iptables.append(*TRACK, namespace="red")
    return lab


def send(*ports: int, to: str = "10.0.0.3", source: int = 0) -> None:
    """Send a UDP datagram from red to each port, all from one port of its own."""
    with namespace.enter("red"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", source))
        for port in ports:
            sock.sendto(b"?", (to, port))


def oracle(words: str = "") -> list[tuple[str, ...]]:
    """What `conntrack -L` lists: the original direction of each."""
    shown = subprocess.run(
        ["ip", "netns", "exec", "red", "conntrack", "-L", *words.split()], capture_output=True, text=True, check=False
    ).stdout
    return sorted(re.findall(r"^(\w+).*? src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)", shown, re.MULTILINE))


def listed() -> list[tuple[str, ...]]:
    """The same as labkit reads it."""
    return sorted(
        (entry.protocol, entry.original.src, entry.original.dst, str(entry.original.sport), str(entry.original.dport))
        for entry in table("red")
    )


DELETIONS = [
    ({"protocol": "udp"}, 4),
    ({"protocol": "tcp"}, 0),
    ({"protocol": "icmp"}, 1),
    ({"src": "10.0.0.2"}, 5),
    ({"src": "10.0.0.3"}, 0),
    ({"dst": "10.0.0.3"}, 4),
    ({"dst": "10.0.0.0/24"}, 5),
    ({"dst": "10.0.0.0/31"}, 1),
    ({"dst": "fd00::/8"}, 0),
    ({"dport": 53}, 2),
    ({"protocol": "udp", "dst": "10.0.0.3", "dport": 53}, 1),
    ({"protocol": "udp", "sport": 5000}, 4),
    ({"protocol": "udp", "sport": 5001}, 0),
    ({"reply_src": "10.0.0.1"}, 1),
    ({"reply_dst": "10.0.0.2"}, 5),
    ({"reply_sport": 54}, 1),
    ({"reply_dport": 5000}, 4),
]


def test_connections_are_forgotten_by_any_part_of_what_they_are(lab: Lab) -> None:
    for wanted, count in DELETIONS:
        conntrack.flush(namespace="red")
        send(53, 54, 55, source=5000)
        send(53, to="10.0.0.1", source=5000)
        assert lab.ping("red", "blue")
        assert len(table("red")) == 5
        assert conntrack.delete(namespace="red", **wanted) == count, wanted  # type: ignore[arg-type]
        assert len(table("red")) == 5 - count, wanted
        assert listed() == sorted((*oracle("-p udp"), *(one for one in listed() if one[0] == "icmp")))


def test_the_other_namespaces_keep_their_connections(lab: Lab) -> None:
    iptables.append(*TRACK, namespace="blue")
    assert lab.ping("red", "blue")
    assert conntrack.delete("icmp", namespace="red") == 1
    assert (len(table("red")), len(table("blue"))) == (0, 1)
    assert conntrack.flush(namespace="blue") == 1
    assert table("blue") == ()


def test_deleting_where_nothing_is_tracked_deletes_none() -> None:
    namespace.add("red")
    assert conntrack.delete("udp", namespace="red") == 0
    assert conntrack.flush(namespace="red") == 0
    with pytest.raises(NotFound, match="no such namespace"):
        conntrack.delete("udp", namespace="gone")


def test_connections_of_ipv6_are_forgotten_too() -> None:
    namespace.add("red")
    with namespace.enter("red"):
        sysctl.write({"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.lo.disable_ipv6": 0})
    subprocess.run(["ip", "-n", "red", "link", "set", "lo", "up"], check=True)
    iptables.append(*TRACK, namespace="red", family="ip6")
    with namespace.enter("red"), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"?", ("::1", 53))
        sock.sendto(b"?", ("::1", 54))
    assert len(table("red")) == 2
    assert conntrack.delete("udp", dst="::1", dport=53, namespace="red") == 1
    assert [entry.original.dport for entry in table("red")] == [54]


def test_a_connection_goes_on_to_its_old_backend_until_its_entry_goes(lab: Lab) -> None:
    """NAT is decided for a connection's first packet: the reason why kube-proxy deletes entries of UDP."""
    dnat = "-d 10.96.0.1 -p udp --dport 53 -j DNAT --to-destination {}"
    iptables.append("nat", "OUTPUT", dnat.format("10.0.0.3"), namespace="red")
    send(53, to="10.96.0.1", source=5000)
    iptables.delete("nat", "OUTPUT", dnat.format("10.0.0.3"), namespace="red")
    iptables.append("nat", "OUTPUT", dnat.format("10.0.0.1"), namespace="red")
    send(53, to="10.96.0.1", source=5000)
    assert [entry.reply.src for entry in table("red")] == ["10.0.0.3"]
    assert conntrack.delete("udp", dst="10.96.0.1", dport=53, namespace="red") == 1
    send(53, to="10.96.0.1", source=5000)
    assert [entry.reply.src for entry in table("red")] == ["10.0.0.1"]


@contextmanager
def program_listens() -> Iterator[subprocess.Popen[str]]:
    """`conntrack -E` in red, as soon as its socket has joined the groups."""
    command = ["ip", "netns", "exec", "red", "stdbuf", "-oL", "conntrack", "-E"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        deadline = time.monotonic() + 10
        while not re.search(
            r"^\S+ 12 +\d+ +0{7}[1-9a-f]", Path(f"/proc/{program.pid}/net/netlink").read_text(), re.MULTILINE
        ):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield program
    finally:
        program.kill()
        program.communicate()


def test_a_watcher_hears_what_conntrack_hears_in_the_same_order(lab: Lab) -> None:
    with program_listens() as program, conntrack.watch("red") as seen:
        assert lab.ping("red", "blue")
        assert lab.run("red", "curl -sm1 http://10.0.0.3:80").status
        assert conntrack.delete("icmp", namespace="red") == 1
        seen.wait("destroy", count=2)
        assert program.stdout is not None
        said = [program.stdout.readline() for _ in seen]
    words = {"[NEW]": "new", "[UPDATE]": "update", "[DESTROY]": "destroy"}
    kinds = [(words[line.split()[0]], line.split()[1]) for line in said]
    assert kinds == [(event.what, event.entry.protocol) for event in seen]
    for line, event in zip(said, seen, strict=True):
        assert f"src={event.entry.original.src} dst={event.entry.original.dst}" in line
        assert (not event.entry.state) or f" {event.entry.state} " in line
    assert repr(seen) == (
        "new     icmp 10.0.0.2 > 10.0.0.3 [UNREPLIED] reply 10.0.0.3 > 10.0.0.2\n"
        "update  icmp 10.0.0.2 > 10.0.0.3 reply 10.0.0.3 > 10.0.0.2\n"
        "new     tcp SYN_SENT 10.0.0.2 > 10.0.0.3:80 [UNREPLIED] reply 10.0.0.3:80 > 10.0.0.2\n"
        "destroy tcp CLOSE 10.0.0.2 > 10.0.0.3:80 [UNREPLIED] reply 10.0.0.3:80 > 10.0.0.2\n"
        "destroy icmp 10.0.0.2 > 10.0.0.3 reply 10.0.0.3 > 10.0.0.2"
    )


def test_what_came_stays_after_the_watcher_is_closed(lab: Lab) -> None:
    seen: Watcher = conntrack.watch("red")
    send(53)
    seen.close()
    seen.close()
    send(54)
    assert [event.entry.original.dport for event in seen] == [53]
    assert (len(seen), seen.lost) == (1, False)


def test_a_watcher_says_when_it_could_not_hear_all(lab: Lab) -> None:
    with conntrack.watch("red") as seen:
        seen._socket.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        send(*range(1, 200))
    assert seen.lost
    assert 0 < len(seen) < 199
    assert repr(seen).endswith("and others, which came faster than they were taken")


def test_waiting_for_what_does_not_come_says_what_came(lab: Lab) -> None:
    with conntrack.watch("red") as seen:
        send(53)
        with pytest.raises(
            Refused, match=r"failed to wait for 2 'new' in namespace 'red': after 0\.1 seconds"
        ) as refused:
            seen.wait("new", count=2, timeout=0.1)
    assert "heard: new" in refused.value.hint


def test_events_of_other_namespaces_are_not_heard(lab: Lab) -> None:
    iptables.append(*TRACK, namespace="blue")
    with conntrack.watch("blue") as blue, conntrack.watch("red") as red:
        send(53, to="10.0.0.1")
        red.wait("new")
        assert len(blue) == 0
    assert repr(blue) == "no connection came or went"


def test_the_room_is_the_kernels_and_only_its_first_namespace_may_change_it(lab: Lab) -> None:
    """Since Linux 5.12.2; the limit is one number for all, and each namespace is counted by itself."""
    send(53, 54)
    room = conntrack.room("red")
    limit = int(lab.run("red", "sysctl -n net.netfilter.nf_conntrack_max").stdout)
    assert (room.used, room.limit, room.settable) == (2, limit, False)
    assert conntrack.room("blue").used == 0
    assert repr(room) == f"2 of {limit} connections, a limit that only the kernel's first namespace can change"
    with namespace.enter("red"), pytest.raises(PermissionError):
        sysctl.write({"net.netfilter.nf_conntrack_max": limit})
