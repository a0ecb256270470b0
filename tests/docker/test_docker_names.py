"""The embedded DNS beside Docker's own: both are asked the same, in containers that both have made."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from labkit.docker import Docker, command_line, daemon, dns, lookup
from labkit.errors import Refused
from labkit.net import iptables, link, namespace

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(daemon.missing() != "", reason=f"needs a real Docker: {daemon.missing()}"),
]


def rules_of(where: str) -> list[str]:
    """Return the rules of nat, without counters and the two ports that the kernel chose."""
    saved = iptables.save("nat", namespace=where)
    lines = [re.sub(r"\[\d+:\d+\] ?", "", line) for line in saved.splitlines() if not line.startswith("#")]
    return [re.sub(r"(127\.0\.0\.11:|--sport )\d+", r"\1PORT", line) for line in lines]


RUNS = (
    "network create red",
    "network create Blue.net",
    "run --detach --name Web --network red --network-alias WWW --network-alias svc labkit/busybox",
    "run --detach --name db.one --network red --network-alias svc labkit/busybox",
    "run --detach --name two --network red labkit/busybox",
    "run --detach --name other --network Blue.net labkit/busybox",
    "run --detach --name plain labkit/busybox",
)


@pytest.fixture(scope="module")
def both() -> Iterator[None]:
    """A real Docker and the model have made the same. In the first, container NAME is namespace docker.NAME."""
    with ExitStack() as undo:
        for host in ("real", "model"):
            namespace.add(host)
            undo.callback(namespace.delete, host)
            link.set_up("lo", namespace=host)
        real = daemon.start("real")
        undo.callback(real.stop)
        if not real.version.startswith("20.10."):
            pytest.skip(f"needs Docker 20.10, which the model is one of; here is {real.version}")
        model = undo.enter_context(Docker("model"))
        for words in map(str.split, RUNS):
            real.docker(*words)
            command_line.do(model, tuple(words))
        real.docker("network", "connect", "--alias", "both", "Blue.net", "two")
        model.network_connect("Blue.net", "two", aliases=["both"])
        for name in ("Web", "two", "plain"):
            os.symlink(f"/proc/{real.pid(name)}/ns/net", namespace.path(f"docker.{name}"))
            undo.callback(os.unlink, namespace.path(f"docker.{name}"))
        yield


@pytest.mark.parametrize(
    ("asker", "name", "kind"),
    [
        ("Web", "web", "A"),
        ("Web", "two", "A"),
        ("Web", "WWW.red", "A"),
        ("Web", "www", "A"),
        ("Web", "svc", "A"),
        ("Web", "db.one.red", "A"),
        ("Web", "172.18.0.2", "PTR"),
        ("Web", "two", "AAAA"),
        ("Web", "two", "MX"),
        ("two", "two", "A"),
        ("two", "two.red", "A"),
        ("two", "two.Blue.net", "A"),
        ("two", "other", "A"),
        ("two", "both", "A"),
        ("two", "172.19.0.3", "PTR"),
    ],
)
def test_docker_answers_the_same(both, asker, name, kind):
    real, ours = (lookup(where, name, kind) for where in (f"docker.{asker}", asker))
    assert replace(ours, answers=()) == replace(real, answers=())
    assert sorted(ours.answers) == sorted(real.answers)


@pytest.mark.parametrize(
    ("asker", "name", "kind"),
    [
        ("Web", "example.com", "A"),
        ("Web", "nosuch", "AAAA"),
        ("Web", "other", "A"),
        ("Web", "web.RED", "A"),
        ("Web", "two.Blue.net", "A"),
        ("Web", "172.19.0.3", "PTR"),
        ("two", "two", "TXT"),
    ],
)
def test_where_docker_asks_a_name_server_that_is_not_there_ours_refuses(both, asker, name, kind):
    with pytest.raises(Refused, match="no answer"):
        lookup(f"docker.{asker}", name, kind, timeout=0.3)
    assert lookup(asker, name, kind).status == "REFUSED"


def test_on_dockers_default_bridge_nobody_answers_either(both):
    for where in ("docker.plain", "plain"):
        with pytest.raises(Refused, match="connection refused"):
            lookup(where, "web")


@pytest.mark.parametrize("message", [b"lU\1\0\0\1\0\0\0\0\0\0\xc0", b"lU\1\0" + bytes(8), b"lU\x29\0" + bytes(8)])
def test_docker_answers_the_same_to_what_is_no_query(both, message):
    replies = []
    for where in ("docker.Web", "Web"):
        with namespace.inside(where, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
            udp.settimeout(10)
            udp.sendto(message, (dns.ADDRESS, 53))
            replies.append(udp.recv(512))
    assert replies[0] == replies[1]


def test_dockers_resolv_conf_and_rules_are_the_same(both):
    assert daemon.find("real").docker("exec", "Web", "cat", "/etc/resolv.conf") == dns.RESOLV_CONF.rstrip()
    real, ours = (rules_of(where) for where in ("docker.Web", "Web"))
    assert ours == real
    assert len(ours) > 8
