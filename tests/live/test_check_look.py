"""What a check may ask: the kernel, the wire, the answers. And the common checks, asked of a real lab."""

from __future__ import annotations

import time

import pytest

from labkit import check as checks
from labkit.check import Check, Exercise, Look
from labkit.errors import NotFound
from labkit.lab import Bridge, Container, Topology, build

pytestmark = pytest.mark.usefixtures("network")

TOPOLOGY = Topology(
    Bridge("br0", "10.0.0.1/24"),
    Container("red", "10.0.0.2/24", link="br0"),
    Container("blue", "10.0.0.3/24", link="br0"),
    Container("alone"),
)


@pytest.fixture
def look(network):
    build(TOPOLOGY)
    return Look(lambda: {"who": "red"})


def results(look: Look, *asked: Check) -> dict[str, str]:
    return {result.name: result.status for result in checks.run(Exercise("90-x/y", "title", asked), look)}


def test_the_kernel_is_asked_in_its_words(look):
    assert look.namespaces() == ["alone", "blue", "red"]
    assert look.inode("red") != look.inode("blue")
    assert look.link("red", "eth0").is_up
    assert look.link("red", "eth0").peer[0] == "host"
    assert look.addresses("red", "eth0") == ["10.0.0.2/24"]
    assert look.ip("red") == look.address_of("red") == "10.0.0.2"
    assert look.routes("red")[0].text == "default via 10.0.0.1 dev eth0"
    assert look.sysctl("red", "net.ipv4.ip_forward") == "0"
    assert look.run("red", "ip -br address show eth0").stdout.split()[2] == "10.0.0.2/24"
    assert sorted(look.snapshot()) == ["alone", "blue", "host", "red"]


def test_the_wire_is_asked(look):
    assert look.ping("red", "blue").answered
    assert not look.ping("red", "10.0.0.9").answered
    assert not look.connect("red", "blue", 80).ok
    assert look.connect("red", "blue", 80, serve=True).ok
    look.ping("red", "blue")
    heard = look.heard("red/eth0", "alone", filter="icmp", during=lambda: look.ping("red", "10.0.0.1"))
    assert heard == {"red/eth0": 2, "alone": 0}
    with look.capture("blue", filter="icmp") as frames:
        look.ping("red", "blue")
    assert [frame.interface for frame in frames] == ["eth0", "eth0"]


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda look: look.answer("when"), "there is no answer called 'when' yet"),
        (lambda look: look.link("red", "eth7"), "there is no link 'eth7' in namespace 'red'\nlinks there: lo, eth0"),
        (lambda look: look.link("rad", "eth0"), "namespace 'rad'"),
        (lambda look: look.inode("rad"), "failed to enter namespace 'rad': no such namespace"),
        (lambda look: look.ip("alone"), "namespace 'alone' has no IPv4 address\nlook at: ip -n alone address"),
        (lambda look: look.ping("rad", "red"), "failed to enter namespace 'rad': no such namespace"),
        (lambda look: look.ping("red", "rad"), "namespace 'rad'"),
        (lambda look: look.sysctl("red", "net.none"), "there is no sysctl 'net.none' in namespace 'red'"),
        (lambda look: look.heard("rad", filter="", during=int), "namespace 'rad'"),
    ],
)
def test_what_is_not_there_is_a_sentence(look, ask, sentence):
    with pytest.raises(NotFound) as caught:
        ask(look)
    assert sentence in str(caught.value)


def test_the_common_checks_pass_where_they_should(look):
    control = checks.reaches("red", "blue")
    found = results(
        look,
        checks.reaches("red", "10.0.0.3"),
        checks.does_not_reach("alone", "10.0.0.3", control=control),
        checks.connects("red", "blue", 80, serve=True),
        checks.does_not_connect("red", "blue", 81, control=control),
        checks.namespace_exists("red"),
        checks.has_link("red", "eth0", is_up=True, has_carrier=True, mtu=1500, kind="veth"),
        checks.has_no_link("alone", "eth0", control=control),
        checks.has_address("host", "br0", "10.0.0.1/24"),
        checks.has_route("red", "default", via="10.0.0.1", dev="eth0"),
        checks.has_sysctl("red", "net.ipv4.ip_forward", "0"),
        checks.answered("who", "RED"),
    )
    assert set(found.values()) == {"passed"}, found


def test_the_common_checks_fail_where_they_should(look):
    control = checks.reaches("red", "blue")
    found = results(
        look,
        checks.reaches("alone", "10.0.0.3"),
        checks.does_not_reach("red", "10.0.0.3", control=control),
        checks.connects("red", "blue", 81),
        checks.does_not_connect("red", "blue", 80, serve=True, control=control),
        checks.namespace_exists("green"),
        checks.has_link("red", "eth0", mtu=1400),
        checks.has_no_link("red", "eth0", control=control),
        checks.has_address("host", "br0", "10.0.0.9/24"),
        checks.has_route("red", "default", via="10.0.0.9"),
        checks.has_sysctl("red", "net.ipv4.ip_forward", "1"),
        checks.answered("who", "blue"),
    )
    assert set(found.values()) == {"failed"}, found


def test_a_check_that_passes_at_once_does_not_wait(look):
    start = time.monotonic()
    assert results(look, checks.reaches("red", "blue", within=60)) == {"red-reaches-blue": "passed"}
    assert time.monotonic() - start < 30
