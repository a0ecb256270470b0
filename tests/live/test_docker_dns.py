"""The embedded DNS at work: found by programs in containers, in bad luck too, and gone with its owner."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from dnslib import DNSRecord

from labkit.docker import dns, lookup
from labkit.docker.dns import Endpoint, Resolver
from labkit.errors import LabkitError, NotFound, Refused, WrongUse
from labkit.lab.build import build
from labkit.lab.run import run
from labkit.lab.topology import Bridge, Container, Topology
from labkit.net import iptables, link, namespace

NETWORK = Topology(
    Bridge("br0", "172.18.0.1/24"),
    *(Container(name, f"172.18.0.{last}/24", "br0") for name, last in (("web", 2), ("db", 3), ("plain", 9))),
)
ENDPOINTS = [Endpoint("red", "web", "172.18.0.2", ("www",)), Endpoint("red", "db", "172.18.0.3", ("www", "store"))]


@pytest.fixture(scope="module")
def resolver() -> Iterator[Resolver]:
    """web and db are served, plain is not."""
    with build(NETWORK, "dns"):
        there = Resolver()
        there.serve("web")
        there.serve("db")
        yield there
        there.close()


@pytest.fixture(autouse=True)
def names(request: pytest.FixtureRequest) -> None:
    if "resolver" in request.fixturenames:
        request.getfixturevalue("resolver").update(ENDPOINTS)


@pytest.fixture
def green() -> Iterator[None]:
    """One more namespace."""
    namespace.add("green")
    link.set_up("lo", namespace="green")
    yield
    namespace.delete("green")


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def sock(name: str, kind: socket.SocketKind) -> socket.socket:
    """Return a socket in a namespace, connected to the embedded DNS."""
    there = namespace.inside(name, lambda: socket.socket(socket.AF_INET, kind))
    there.settimeout(10)
    there.connect((dns.ADDRESS, 53))
    return there


def test_programs_find_containers_by_name(resolver):
    assert run("web", "getent hosts db").stdout.split() == ["172.18.0.3", "db"]
    assert run("web", "getent hosts store.red").stdout.split() == ["172.18.0.3", "store.red"]
    assert run("web", "getent hosts 172.18.0.3").stdout.split() == ["172.18.0.3", "db.red"]
    assert run("db", "getent ahostsv4 www").stdout.count("STREAM") == 2
    assert run("web", "ping -c 1 -W 5 db")
    assert run("web", "getent hosts nosuch").status == 2


def test_a_served_container_has_dockers_resolv_conf_and_no_other_has(resolver):
    assert run("web", "cat /etc/resolv.conf").stdout == "nameserver 127.0.0.11\noptions ndots:0\n"
    before = run("host", "cat /etc/resolv.conf")
    assert run("plain", "cat /etc/resolv.conf") == before
    assert dns.ADDRESS not in before.stdout


def test_the_rules_are_dockers(resolver):
    saved = iptables.save("nat", namespace="web")
    rules = [re.sub(r"^\[\d+:\d+\] ", "", line) for line in saved.splitlines() if " -A " in f" {line}"]
    udp, tcp = (re.search(rf"-p {kind} .* --to-destination 127.0.0.11:(\d+)", saved)[1] for kind in ("udp", "tcp"))
    assert rules == [
        "-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT",
        "-A POSTROUTING -d 127.0.0.11/32 -j DOCKER_POSTROUTING",
        f"-A DOCKER_OUTPUT -d 127.0.0.11/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 127.0.0.11:{tcp}",
        f"-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:{udp}",
        f"-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport {tcp} -j SNAT --to-source :53",
        f"-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p udp -m udp --sport {udp} -j SNAT --to-source :53",
    ]


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("db", "A", "db A: 172.18.0.3 (TTL 600 s)"),
        ("172.18.0.3", "PTR", "172.18.0.3 PTR: db.red (TTL 600 s)"),
        ("db", "AAAA", "db AAAA: the name exists, and has no such record"),
        (
            "example.com",
            "A",
            "example.com A: REFUSED, 127.0.0.11 does not know it and has nobody to ask",
        ),
    ],
)
def test_a_reply_is_a_sentence(resolver, name, kind, sentence):
    assert repr(lookup("web", name, kind)) == sentence


def test_many_addresses_come_over_tcp(resolver):
    resolver.update([*ENDPOINTS, *(Endpoint("red", f"c{last}", f"172.18.1.{last}", ("all",)) for last in range(200))])
    with sock("web", socket.SOCK_DGRAM) as udp:
        udp.send(DNSRecord.question("all").pack())
        reply = DNSRecord.parse(udp.recv(65535))
    assert reply.header.tc
    assert 0 < len(reply.rr) < 200
    assert len(set(lookup("web", "all").answers)) == 200


def test_queries_over_tcp_may_come_in_pieces_and_together(resolver):
    first, second = (DNSRecord.question(name).pack() for name in ("db", "web"))
    sent = b"".join(len(query).to_bytes(2, "big") + query for query in (first, second))
    with sock("web", socket.SOCK_STREAM) as tcp, tcp.makefile("rb") as stream:
        for byte in sent[:9]:
            tcp.sendall(bytes([byte]))
        tcp.sendall(sent[9:])
        replies = [DNSRecord.parse(stream.read(int.from_bytes(stream.read(2), "big"))) for _ in range(2)]
    assert [str(reply.rr[0].rdata) for reply in replies] == ["172.18.0.3", "172.18.0.2"]


def test_connections_that_say_nothing_keep_nobody_from_asking(resolver):
    idle = [sock("web", socket.SOCK_STREAM) for _ in range(100)]
    assert lookup("web", "db").answers == ("172.18.0.3",)
    assert lookup("db", "web").answers == ("172.18.0.2",)
    wait_until(lambda: len(os.listdir(f"/proc/{resolver.pid}/fd")) < 50)
    for connection in idle:
        connection.close()


def test_a_query_after_an_update_knows_it(resolver):
    with sock("web", socket.SOCK_DGRAM) as udp:
        for last in range(1, 200):
            resolver.update([Endpoint("red", "web", "172.18.0.2"), Endpoint("red", "db", f"172.18.0.{last}")])
            udp.send(DNSRecord.question("db").pack())
            assert str(DNSRecord.parse(udp.recv(512)).rr[0].rdata) == f"172.18.0.{last}"


def test_garbage_keeps_nobody_from_asking(resolver):
    with sock("web", socket.SOCK_DGRAM) as udp, sock("web", socket.SOCK_STREAM) as tcp:
        for size in (0, 1, 11, 12, 13, 600):
            udp.send(os.urandom(size))
        tcp.sendall(b"\0\3abc\0\0\xff\xff")
    assert lookup("web", "db").answers == ("172.18.0.3",)


def test_who_is_not_served_is_told(resolver):
    with pytest.raises(Refused) as refused:
        lookup("plain", "db")
    assert str(refused.value) == (
        "failed to look up 'db' in namespace 'plain': 127.0.0.11: connection refused\n"
        "127.0.0.11 answers in containers on a user-defined network, while labkit-dns runs: ps -C labkit-dns"
    )


@pytest.mark.parametrize(
    ("where", "name", "kind", "error", "sentence"),
    [
        ("nowhere", "db", "A", NotFound, "failed to enter namespace 'nowhere': no such namespace"),
        ("web", "x" * 64, "A", WrongUse, f"failed to look up '{'x' * 64}' in namespace 'web': no query for such"),
        ("web", "db", "NONSENSE", WrongUse, "failed to look up 'db' in namespace 'web': no query for such"),
    ],
)
def test_what_cannot_be_asked(resolver, where, name, kind, error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        lookup(where, name, kind)


def test_where_the_rules_are_refused_nothing_is_left(resolver, green, monkeypatch):
    before = len(os.listdir(f"/proc/{os.getpid()}/fd"))
    monkeypatch.setattr(dns, "_RULES", dns._RULES.replace("DNAT", "NONSENSE"))
    with pytest.raises(LabkitError, match="NONSENSE"):
        resolver.serve("green")
    assert "DOCKER_OUTPUT" not in iptables.save("nat", namespace="green")
    assert not os.path.exists(f"{namespace.ETC}/green")
    assert len(os.listdir(f"/proc/{os.getpid()}/fd")) == before
    assert "green" not in repr(resolver)


def test_a_namespace_with_the_number_of_one_that_is_gone_gets_its_rules(resolver, green, monkeypatch):
    monkeypatch.setattr(resolver, "_ruled", {namespace.inode("green")})
    resolver.serve("green")
    resolver.update([*ENDPOINTS, Endpoint("red", "green", "172.18.0.4")])
    assert lookup("green", "db")
    resolver.serve("green")
    assert lookup("green", "db")
    assert iptables.save("nat", namespace="green").count("-A ") == 6
    resolver.stop("green")


def test_a_container_that_is_stopped_is_answered_no_more(resolver, green):
    resolver.serve("green")
    resolver.update([*ENDPOINTS, Endpoint("red", "green", "172.18.0.4")])
    assert lookup("green", "db")
    resolver.stop("green")
    resolver.stop("green")
    with pytest.raises(Refused, match="connection refused"):
        lookup("green", "db")
    assert not os.path.exists(f"{namespace.ETC}/green")


def test_a_namespace_that_was_deleted_is_given_up(resolver, green):
    """Else the sockets there would keep it alive, and its links."""
    before = len(os.listdir(f"/proc/{resolver.pid}/fd"))
    resolver.serve("green")
    wait_until(lambda: len(os.listdir(f"/proc/{resolver.pid}/fd")) == before + 2)
    namespace.delete("green")
    wait_until(lambda: len(os.listdir(f"/proc/{resolver.pid}/fd")) == before)
    wait_until(lambda: not os.path.exists(f"{namespace.ETC}/green"))
    assert lookup("web", "db")
    resolver.stop("green")


def test_two_dockers_do_not_know_each_other(resolver):
    with build(Topology(Container("east", "10.0.0.2/24")), "other"):
        other = Resolver()
        other.serve("web", "east")
        other.update([Endpoint("red", "web", "10.0.0.2"), Endpoint("red", "db", "10.0.0.3")])
        assert lookup("east", "db").answers == ("10.0.0.3",)
        assert lookup("web", "db").answers == ("172.18.0.3",)
        other.close()
        other.close()
        with pytest.raises(Refused, match="connection refused"):
            lookup("east", "db")
        assert not os.path.exists(f"{namespace.ETC}/east")
    assert lookup("web", "db")


def test_when_it_was_killed_the_owner_says_so_and_starts_another(resolver, green):
    killed = resolver.pid
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: resolver.ended)
    with pytest.raises(Refused) as refused:
        resolver.update(ENDPOINTS)
    assert str(refused.value) == (
        f"failed to update the names: the embedded DNS, process {killed}, was killed by SIGKILL\n"
        "another starts with the Resolver's restart(), or with a new Docker()"
    )
    with pytest.raises(Refused, match="was killed by SIGKILL"):
        resolver.serve("green")
    assert "DOCKER_OUTPUT" not in iptables.save("nat", namespace="green")
    assert not os.path.exists(f"{namespace.ETC}/green")
    with pytest.raises(Refused, match="connection refused"):
        lookup("web", "db")
    rules = iptables.save("nat", namespace="web").count("-A ")
    resolver.restart()
    assert resolver.pid != killed
    assert lookup("web", "db").answers == ("172.18.0.3",)
    assert lookup("db", "web").answers == ("172.18.0.2",)
    assert iptables.save("nat", namespace="web").count("-A ") == rules


OWNER = """
import os, signal
from labkit.docker.dns import Resolver
resolver = Resolver()
resolver.serve("plain")
print(resolver.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_its_owner_however_that_ends(resolver):
    process = int(subprocess.run([sys.executable, "-c", OWNER], capture_output=True, text=True, check=False).stdout)
    wait_until(lambda: not os.path.exists(f"/proc/{process}"))
    assert not os.path.exists(f"{namespace.ETC}/plain")
    assert lookup("web", "db")


def test_ps_and_ss_show_it_by_name(resolver):
    assert run("host", f"ps -o comm= {resolver.pid}").stdout == "labkit-dns\n"
    assert repr(resolver) == f"labkit-dns, process {resolver.pid}, answers db, web"
