"""Docker's choices as data: addresses, MACs, ports, and the words of its rules."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from labkit.docker import ipam, networks, ports, rules
from labkit.docker.networks import Network, Options
from labkit.docker.ports import Published
from labkit.errors import Duplicate, LabkitError, NotInLabMachine, Unavailable, WrongUse

WHAT = "failed to create network 'red' in namespace 'host'"
WIDE = IPv4Network("172.17.0.0/16")


def test_on_the_computer_itself_docker_refuses() -> None:
    from labkit.docker import Docker

    with pytest.raises(NotInLabMachine, match="failed to start Docker in namespace 'host'"):
        Docker()


# Addresses


def test_the_mac_is_02_42_and_the_address() -> None:
    assert ipam.mac_of(IPv4Address("172.17.0.2")) == "02:42:ac:11:00:02"


def test_the_pools_are_dockers() -> None:
    assert [str(ipam.POOLS[place]) for place in (0, 14, 15, 16, 30)] == [
        "172.17.0.0/16",
        "172.31.0.0/16",
        "192.168.0.0/20",
        "192.168.16.0/20",
        "192.168.240.0/20",
    ]


def test_a_pool_that_the_host_uses_a_part_of_is_passed_over() -> None:
    assert ipam.free_subnet("", [WIDE, IPv4Network("172.18.5.0/24")]) == IPv4Network("172.19.0.0/16")


def test_pools_are_given_in_turn_also_when_an_earlier_one_is_free_again() -> None:
    first, second, third, *_, last = ipam.POOLS
    assert ipam.free_subnet(WHAT, [first], second) == third
    assert ipam.free_subnet(WHAT, [first], last) == second


def test_when_all_pools_are_used_a_sentence_says_so() -> None:
    with pytest.raises(Unavailable, match="all 31 address pools are in use"):
        ipam.free_subnet(WHAT, ipam.POOLS)


def test_the_lowest_free_address_is_given_and_the_gateway_is_the_first() -> None:
    pool = ipam.pool(WHAT, WIDE)
    assert str(pool.gateway) == "172.17.0.1"
    first, second, third = (pool.take(WHAT) for _ in range(3))
    assert [str(one) for one in (first, second, third)] == ["172.17.0.2", "172.17.0.3", "172.17.0.4"]
    pool.taken.discard(second)
    assert pool.take(WHAT) == second


def test_a_range_gives_all_its_addresses_also_its_first_and_last() -> None:
    pool = ipam.pool(WHAT, IPv4Network("10.5.0.0/16"), "10.5.5.0/30")
    assert str(pool.gateway) == "10.5.5.0"
    assert [str(pool.take(WHAT)) for _ in range(3)] == ["10.5.5.1", "10.5.5.2", "10.5.5.3"]
    with pytest.raises(Unavailable, match=r"no address is free in 10\.5\.5\.0/30"):
        pool.take(WHAT)


def there() -> list[Network]:
    return [*networks.plain(), networks.new("", networks.DEFAULT, Options(), [])]


REFUSED: list[tuple[str, Options, type[LabkitError], str]] = [
    ("bridge", Options(), Duplicate, f"{WHAT}: the name is taken\nnetworks there: host, none, bridge"),
    (
        "red",
        Options("172.17.5.0/24"),
        Duplicate,
        f"{WHAT}: subnet 172.17.5.0/24 overlaps 172.17.0.0/16 of network 'bridge'\nchoose another subnet",
    ),
    ("red", Options("10.1.0.0/33"), WrongUse, f"{WHAT}: '10.1.0.0/33' is not an IPv4 subnet\nwrite it as 10.1.0.0/24"),
    (
        "red",
        Options(gateway="10.1.0.1"),
        WrongUse,
        f"{WHAT}: a gateway or a range without a subnet\nstate the subnet too: subnet='10.1.0.0/24'",
    ),
    (
        "red",
        Options("10.1.0.0/24", gateway="10.2.0.1"),
        WrongUse,
        f"{WHAT}: no gateway: address 10.2.0.1 is not in the network's subnet\nits subnet: 10.1.0.0/24",
    ),
    (
        "red",
        Options("10.1.0.0/24", ip_range="10.2.0.0/24"),
        WrongUse,
        f"{WHAT}: the range 10.2.0.0/24 is not in the subnet 10.1.0.0/24\na range is a part of the subnet",
    ),
    (
        "red",
        Options("10.1.0.0/31"),
        Unavailable,
        f"{WHAT}: no gateway: no address is free in 10.1.0.0/31\nin use: 10.1.0.0, 10.1.0.1",
    ),
    (
        "red",
        Options(bridge="docker0"),
        Duplicate,
        f"{WHAT}: bridge 'docker0' is that of network 'bridge'\nchoose another bridge",
    ),
    (
        "red",
        Options(bridge="sixteen-letters-"),
        WrongUse,
        f"{WHAT}: a link's name has at most 15 characters\n'sixteen-letters-' has 16",
    ),
    (
        "a red one",
        Options(),
        WrongUse,
        (
            f"{WHAT}: not a usable name\nDocker's names begin with a letter or a digit; then letters, digits, "
            "'_', '.' and '-'"
        ),
    ),
]


@pytest.mark.parametrize(("name", "options", "kind", "said"), REFUSED)
def test_a_network_that_cannot_be_is_refused_in_a_sentence(
    name: str, options: Options, kind: type[LabkitError], said: str
) -> None:
    with pytest.raises(kind) as refusal:
        networks.new(WHAT, name, options, there())
    assert str(refusal.value) == said


def test_a_network_looks_the_same_on_every_run() -> None:
    one, other = (networks.new("", "red", Options(), there()) for _ in range(2))
    assert (one.id, one.bridge, one.bridge_mac) == (other.id, other.bridge, other.bridge_mac)
    assert repr(one) == f"network 'red': br-{one.id}, 172.18.0.0/16, gateway 172.18.0.1"
    assert len(one.bridge) == 15


# Ports


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("80", Published(80)),
        ("8080:80", Published(80, "tcp", "", 8080)),
        ("127.0.0.1:8080:80", Published(80, "tcp", "127.0.0.1", 8080)),
        ("127.0.0.1::80/udp", Published(80, "udp", "127.0.0.1", 0)),
        ("53:53/UDP", Published(53, "udp", "", 53)),
    ],
)
def test_what_stands_after_p(text: str, port: Published) -> None:
    assert ports.parse("", text) == (port,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web:80:80", "'web:80:80': 'web' is not an IPv4 address\nwrite it as 10.1.0.2"),
        ("70000", "'70000': a port is 1 to 65535\nas in '80', '8080:80', '127.0.0.1:8080:80' or '53:53/udp'"),
        ("80/icmp", "'80/icmp': no protocol 'icmp'\ntcp or udp"),
        ("8000-8003:80", "'8000-8003:80' is not a port to publish\npublish each port of a range by itself"),
        ("", "'' is not a port to publish\nas in '80', '8080:80', '127.0.0.1:8080:80' or '53:53/udp'"),
    ],
)
def test_what_cannot_stand_after_p(text: str, said: str) -> None:
    with pytest.raises(WrongUse) as refusal:
        ports.parse("failed", text)
    assert str(refusal.value) == f"failed: {said}"


def test_docker_takes_the_highest_host_port_first() -> None:
    found = ports.parse("", ["8081:80/udp", "8081:80", "9001:9001", "7000", "7001"])
    assert [str(port) for port in found] == [
        "0.0.0.0:9001->9001/tcp",
        "0.0.0.0:8081->80/tcp",
        "0.0.0.0:8081->80/udp",
        "0.0.0.0:0->7001/tcp",
        "0.0.0.0:0->7000/tcp",
    ]


def test_chosen_ports_go_up_and_one_given_back_is_not_chosen_again_at_once() -> None:
    allocator = ports.Allocator()
    first = allocator.take("", Published(80), "web")
    allocator.release(first)
    second = allocator.take("", Published(80), "web")
    assert (first.host_port, second.host_port) == (32768, 32769)


def test_a_port_of_all_addresses_is_one_of_each() -> None:
    allocator = ports.Allocator()
    allocator.take("", Published(80, host_port=8080), "web")
    allocator.take("", Published(80, "udp", host_port=8080), "dns")
    with pytest.raises(Duplicate, match=r"port 8080/tcp of 127\.0\.0\.1 is published by 'web'"):
        allocator.take("failed", Published(80, "tcp", "127.0.0.1", 8080), "api")


# Rules


def test_a_published_port_is_three_rules() -> None:
    made = rules.published("docker0", IPv4Address("172.17.0.2"), 80, "tcp", rules.ANY, 8080)
    assert [rule.command for rule in made] == [
        "iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        "iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT",
        "iptables -t nat -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE",
    ]


def test_without_the_proxy_packets_from_the_bridge_are_rewritten_too() -> None:
    made = rules.published("docker0", IPv4Address("172.17.0.2"), 80, "udp", "127.0.0.1", 53, userland_proxy=False)
    assert made[0].words == "DOCKER -d 127.0.0.1/32 -p udp -m udp --dport 53 -j DNAT --to-destination 172.17.0.2:80"
    words = [rule.words for rule in rules.network("docker0", WIDE, userland_proxy=False)]
    assert "POSTROUTING -o docker0 -m addrtype --src-type LOCAL -j MASQUERADE" in words
    assert "DOCKER -i docker0 -j RETURN" not in words


def test_an_internal_network_has_no_way_out_and_no_nat() -> None:
    made = rules.network("br-x", WIDE, internal=True)
    assert {rule.table for rule in made} == {"filter"}
    assert [rule.words for rule in made if rule.words.endswith("DROP")] == [
        "DOCKER-ISOLATION-STAGE-1 ! -d 172.17.0.0/16 -i br-x -j DROP",
        "DOCKER-ISOLATION-STAGE-1 ! -s 172.17.0.0/16 -o br-x -j DROP",
    ]


def test_icc_off_drops_at_the_end_of_the_chain() -> None:
    assert rules.network("br-x", WIDE, icc=False)[0] == rules.Rule("filter", "-A", "FORWARD -i br-x -o br-x -j DROP")


def test_rules_become_a_text_of_iptables_restore_and_its_opposite() -> None:
    first = [
        rules.Rule("filter", "-N", "DOCKER"),
        rules.Rule("filter", "-A", "FORWARD -j DOCKER"),
        rules.drop_forwarded(),
    ]
    assert rules.text(first) == "*filter\n:DOCKER - [0:0]\n-A FORWARD -j DOCKER\n:FORWARD DROP [0:0]\nCOMMIT\n"
    assert rules.without(first) == [rules.Rule("filter", "-D", "FORWARD -j DOCKER")]
