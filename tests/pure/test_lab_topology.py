"""What a Topology is, and what it refuses, in which words: all of it before anything exists."""

from __future__ import annotations

import pytest

from labkit.errors import Duplicate, LabkitError, NotFound, WrongUse
from labkit.lab import Bridge, Container, Interface, Topology
from labkit.net import names

BR0 = Bridge("br0", "10.0.0.1/24")
LIKE = "use letters, digits, '-', '.' and '_'"

REFUSED: list[tuple[list[object], type[LabkitError], str]] = [
    (
        [Container("red", interfaces=(Interface("a-name-of-16-chr"),))],
        WrongUse,
        (
            "failed to add 'a-name-of-16-chr' in namespace 'red': a link's name has at most 15 characters\n"
            "'a-name-of-16-chr' has 16"
        ),
    ),
    (
        [Bridge("bridge/zero")],
        WrongUse,
        f"failed to add 'bridge/zero' in namespace 'host': a link's name cannot contain '/'\n{LIKE}",
    ),
    (
        [Bridge("the bridge")],
        WrongUse,
        f"failed to add 'the bridge' in namespace 'host': a link's name cannot contain ' '\n{LIKE}",
    ),
    (
        [Bridge("")],
        WrongUse,
        "failed to add '' in namespace 'host': not a usable name\na link's name has 1 to 15 characters, as in eth0",
    ),
    (
        [Container("red/blue")],
        WrongUse,
        f"failed to add container 'red/blue': a name cannot contain '/'\n{LIKE}",
    ),
    (
        [Container("host")],
        WrongUse,
        "failed to add container 'host': 'host' is the lab machine's first namespace\nchoose another name",
    ),
    (
        [Container("")],
        WrongUse,
        "failed to add container '': not a usable name\na container's name is one file name in /run/netns",
    ),
    (
        [Container("red"), Container("red")],
        Duplicate,
        "failed to add container 'red': the name is taken\ncontainers there: red, red",
    ),
    (
        [Bridge("br0"), Bridge("br0")],
        Duplicate,
        "failed to add 'br0' in namespace 'host': the name is taken\nlinks there: lo, br0",
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0", interfaces=(Interface("eth0"),))],
        Duplicate,
        "failed to add 'eth0' in namespace 'red': the name is taken\nlinks there: eth0, lo",
    ),
    (
        [BR0, Container("veth", link="br0"), Bridge("veth-veth")],
        Duplicate,
        (
            "failed to add 'veth-veth' in namespace 'host': the name is taken\n"
            "it is the other side of 'veth': choose another name"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2", "br0")],
        WrongUse,
        "failed to add '10.0.0.2' in namespace 'red': address '10.0.0.2' has no prefix length\nwrite it as 10.0.0.2/24",
    ),
    (
        [Bridge("br0", "fd00::1")],
        WrongUse,
        "failed to add 'fd00::1' in namespace 'host': address 'fd00::1' has no prefix length\nwrite it as fd00::1/64",
    ),
    (
        [BR0, Container("red", "10.0.0.256/24", "br0")],
        WrongUse,
        (
            "failed to add '10.0.0.256/24' in namespace 'red': '10.0.0.256/24' is not an IP address\n"
            "write it as 10.0.0.2/24 or fd00::2/64"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/33", "br0")],
        WrongUse,
        (
            "failed to add '10.0.0.2/33' in namespace 'red': '10.0.0.2/33' is not an IP address\n"
            "write it as 10.0.0.2/24 or fd00::2/64"
        ),
    ),
    (
        [BR0, Container("red", "10.0.1.2/24", "br0")],
        WrongUse,
        (
            "failed to add '10.0.1.2/24' in namespace 'red': it is outside the subnet 10.0.0.0/24 of bridge 'br0'\n"
            "as in 10.0.0.2/24"
        ),
    ),
    (
        [Bridge("br0", "fd00::1/64"), Container("red", "fd01::2/64", "br0")],
        WrongUse,
        (
            "failed to add 'fd01::2/64' in namespace 'red': it is outside the subnet fd00::/64 of bridge 'br0'\n"
            "as in fd00::2/64"
        ),
    ),
    (
        [Bridge("br0", "10.0.0.1/32"), Container("red", "10.0.0.2/32", "br0")],
        WrongUse,
        (
            "failed to add '10.0.0.2/32' in namespace 'red': it is outside the subnet 10.0.0.1/32 of bridge 'br0'\n"
            "only the bridge itself is in it"
        ),
    ),
    (
        [Container("red", interfaces=(Interface("eth0", "10.0.0.2/24", "host", host_address="fd00::1/64"),))],
        WrongUse,
        (
            "failed to add 'fd00::1/64' in namespace 'host': it is IPv6, and the other end of the cable has "
            "10.0.0.2/24\nthe addresses of one cable are of one family"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0", routes=("",))],
        WrongUse,
        (
            "failed to add '' in namespace 'red': '' does not appear to be an IPv4 or IPv6 network\n"
            "write the destination as 10.1.0.0/24 or default"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.0/24", "br0")],
        WrongUse,
        (
            "failed to add '10.0.0.0/24' in namespace 'red': it is the subnet itself\n"
            "the first address of 10.0.0.0/24 is 10.0.0.1"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.255/24", "br0")],
        WrongUse,
        (
            "failed to add '10.0.0.255/24' in namespace 'red': it is the subnet's broadcast address\n"
            "the last address of 10.0.0.0/24 is 10.0.0.254"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0"), Container("blue", "10.0.0.2/24", "br0")],
        Duplicate,
        "failed to add '10.0.0.2/24' in namespace 'blue': the address is taken\nby container 'red'",
    ),
    (
        [BR0, Container("red", "10.0.0.1/24", "br0")],
        Duplicate,
        "failed to add '10.0.0.1/24' in namespace 'red': the address is taken\nby bridge 'br0'",
    ),
    (
        [Container("red", interfaces=(Interface("eth0", "10.0.0.1/24", "host", host_address="10.0.0.1/24"),))],
        Duplicate,
        "failed to add '10.0.0.1/24' in namespace 'red': the address is taken\nby the host",
    ),
    (
        [Container("red", "10.0.0.1/24", "blue"), Container("blue", "10.0.0.1/24", "red")],
        Duplicate,
        "failed to add '10.0.0.1/24' in namespace 'blue': the address is taken\nby container 'red'",
    ),
    (
        [BR0, Container("red", "fd00::2/64", "br0")],
        WrongUse,
        (
            "failed to add 'fd00::2/64' in namespace 'red': "
            "it is IPv6, and bridge 'br0' has the IPv4 address 10.0.0.1/24\n"
            "addresses on one bridge are of one family"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0", gateway="fd00::1")],
        WrongUse,
        (
            "failed to add gateway 'fd00::1' in namespace 'red': it is an IPv6 address, and '10.0.0.2/24' is IPv4\n"
            "address and gateway are of one family"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0", gateway="10.0.1.1")],
        WrongUse,
        (
            "failed to add gateway '10.0.1.1' in namespace 'red': it is outside the subnet 10.0.0.0/24\n"
            "a gateway is a neighbour of the container"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0", gateway="10.0.0.1/24")],
        WrongUse,
        (
            "failed to add gateway '10.0.0.1/24' in namespace 'red': '10.0.0.1/24' is not an IP address\n"
            "a gateway has no prefix length"
        ),
    ),
    (
        [BR0, Container("red", link="br0", gateway="10.0.0.1")],
        WrongUse,
        (
            "failed to add gateway '10.0.0.1' in namespace 'red': the container has no address\n"
            "as in Container('red', '10.0.0.2/24')"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br1")],
        NotFound,
        (
            "failed to link 'eth0' of container 'red' to 'br1': no such bridge or container\n"
            "bridges there: br0; containers there: red; or 'host'"
        ),
    ),
    (
        [Container("red", link="blue"), Container("blue")],
        WrongUse,
        (
            "failed to link 'eth0' of container 'red' to 'blue': 'blue' does not link back\n"
            "both sides of a cable say so: Container('blue', link='red')"
        ),
    ),
    (
        [Container("red", link="red")],
        WrongUse,
        (
            "failed to link 'eth0' of container 'red' to 'red': 'red' does not link back\n"
            "both sides of a cable say so: Container('red', link='red')"
        ),
    ),
    (
        [Container("a"), Container("b"), Bridge("br0", on="a"), Bridge("br0", on="b"), Container("red", link="br0")],
        WrongUse,
        (
            "failed to link 'eth0' of container 'red' to 'br0': there is more than one bridge of that name\n"
            "say which: a:br0, b:br0"
        ),
    ),
    (
        [Bridge("br0", on="node")],
        NotFound,
        "failed to add 'br0' in namespace 'node': no such container\ncontainers there: none",
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0", mtu=67)],
        WrongUse,
        "failed to add 'eth0' in namespace 'red': MTU 67 is out of range\na veth or a bridge takes 68 to 65535 bytes",
    ),
    (
        [Bridge("br0", mtu=65536)],
        WrongUse,
        (
            "failed to add 'br0' in namespace 'host': MTU 65536 is out of range\n"
            "a veth or a bridge takes 68 to 65535 bytes"
        ),
    ),
    (
        [Bridge("br0", mac="02:00:00:00:00")],
        WrongUse,
        (
            "failed to add 'br0' in namespace 'host': '02:00:00:00:00' is not a MAC address\n"
            "a MAC address is six bytes, as in 02:00:00:00:00:01"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0", mac="01:00:5e:00:00:01")],
        WrongUse,
        (
            "failed to add 'eth0' in namespace 'red': '01:00:5e:00:00:01' is a multicast address\n"
            "the lowest bit of a link's first byte is 0, as in 02:..."
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0", routes=("10.1.0.0/16 through 10.0.0.9",))],
        WrongUse,
        (
            "failed to add route '10.1.0.0/16 through 10.0.0.9' in namespace 'red': not understood\n"
            "write it as 10.1.0.0/24 via 10.0.0.9 [dev eth0] [onlink]"
        ),
    ),
    (
        [BR0, Container("red", "10.0.0.2/24", "br0", routes=("fd01::/64 via 10.0.0.9",))],
        WrongUse,
        (
            "failed to add 'fd01::/64' in namespace 'red': an IPv6 route cannot go via '10.0.0.9', an IPv4 address\n"
            "destination and gateway are of one family"
        ),
    ),
    (
        [Bridge("br0"), *(Container(f"c{number}", link="br0") for number in range(1024))],
        WrongUse,
        "failed to link container 'c1023' to 'br0': the bridge is full\na bridge has at most 1023 ports",
    ),
    (
        ["red"],
        WrongUse,
        (
            "failed to read topology: 'red' is neither a Bridge nor a Container\n"
            "as in Topology(Bridge('br0'), Container('red', link='br0'))"
        ),
    ),
]


@pytest.mark.parametrize(("things", "kind", "sentence"), REFUSED, ids=[case[2].split("\n")[0] for case in REFUSED])
def test_what_cannot_be_built_is_refused_in_one_sentence(
    things: list[object], kind: type[LabkitError], sentence: str
) -> None:
    with pytest.raises(kind) as refused:
        Topology(*things)  # type: ignore[arg-type]

    assert str(refused.value) == sentence
    assert type(refused.value) is kind


def test_an_address_and_a_link_are_short_for_one_interface() -> None:
    short = Container("red", "10.0.0.2/24", "br0", mtu=1400)

    assert short.interfaces == (Interface("eth0", "10.0.0.2/24", "br0", mtu=1400),)


def test_the_bridge_is_the_gateway() -> None:
    topology = Topology(
        BR0, Container("red", "10.0.0.2/24", "br0"), Container("blue", "10.0.0.3/24", "br0", gateway=None)
    )

    assert "ip -n red route add default via 10.0.0.1 dev eth0" in topology.commands()
    assert not [line for line in topology.commands() if line.startswith("ip -n blue route")]


def test_a_container_without_a_subnet_says_that_its_gateway_is_on_the_link() -> None:
    topology = Topology(Container("red", "10.0.0.2/32", "host", gateway="169.254.1.1"))

    assert "ip -n red route add default via 169.254.1.1 dev eth0 onlink" in topology.commands()


def test_a_cable_between_two_containers_is_one_veth() -> None:
    topology = Topology(Container("red", "10.0.0.1/24", "blue"), Container("blue", "10.0.0.2/24", "red"))

    assert len([line for line in topology.commands() if "type veth" in line]) == 1


def test_two_cables_between_two_containers_are_told_apart_by_their_names() -> None:
    topology = Topology(
        Container("red", interfaces=(Interface("a", link="blue:b"), Interface("c", link="blue:d"))),
        Container("blue", interfaces=(Interface("d", link="red:c"), Interface("b", link="red:a"))),
    )

    assert [(cable.interface.name, cable.name) for cable in topology.cables] == [("a", "b"), ("c", "d")]


def test_macs_follow_from_names() -> None:
    assert names.mac("red/eth0") == names.mac("red/eth0") != names.mac("blue/eth0")
    assert names.mac("red/eth0").startswith("02:")


def test_the_host_side_says_whose_it_is_within_15_characters() -> None:
    assert names.host_side("red") == "veth-red"
    assert names.host_side("red", "eth1") == "veth-red-eth1"
    long = [names.host_side(f"a-very-long-container-name-{number}") for number in range(100)]
    assert len(set(long)) == 100
    assert all(len(name) == 15 and name.startswith("veth-a-ver") for name in long)


def test_a_topology_says_what_it_is() -> None:
    assert repr(Topology(BR0, Container("red"), Container("blue"))) == "Topology: 1 bridge, 2 containers"
