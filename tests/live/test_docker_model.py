"""The model of Docker carries packets as Docker does, and leaves nothing of itself, also when it is refused."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from labkit import packets
from labkit.docker import Docker, ipam
from labkit.errors import CommandNotInstalled, Duplicate, LabkitError, NotFound, Refused, Unavailable, WrongUse
from labkit.lab import Bridge, Container, Interface, Topology, build
from labkit.net import iptables, link, namespace, sysctl
from labkit.packets import connect, reply_source, serve

pytestmark = pytest.mark.usefixtures("network")

OUTSIDE = Topology(
    Container(
        "far", gateway="192.0.2.1", interfaces=(Interface("eth0", "192.0.2.2/24", "host", host_address="192.0.2.1/24"),)
    )
)


@pytest.fixture
def docker() -> Iterator[Docker]:
    """Docker on the host."""
    with Docker() as there:
        yield there


def state() -> str:
    """All that a Docker could leave behind."""
    rules = [line for line in iptables.save().splitlines() if not line.startswith(("#", "*", "COMMIT", ":"))]
    asked = "ip -br link; ip -br -4 address; ss -Hltun; sysctl net.ipv4.ip_forward; ls /run/labkit/etc; ls /run/netns"
    return "\n".join([*rules, subprocess.run(asked, shell=True, capture_output=True, text=True, check=False).stdout])


def policy() -> str:
    return next(line for line in iptables.save("filter").splitlines() if line.startswith(":FORWARD")).split()[1]


def seen_from(caller: str, address: str, port: int, container: str, inside: int = 80, *, udp: bool = False) -> str:
    """Return which address the container sees when it is called, or what the caller is told instead."""
    with serve(container, inside, reply=reply_source, udp=udp):
        called = connect(caller, address, port, data="who", udp=udp, timeout=0.5)
        return called.text if called else called.error or "nothing"


# What `docker run -p` does


def test_a_container_has_dockers_address_mac_and_route(docker: Docker) -> None:
    web = docker.run("web")
    there = docker.snapshot()["web"]
    eth0 = there.link("eth0")
    assert (web.ip, eth0.address) == ("172.17.0.2", "02:42:ac:11:00:02")
    assert [(route.dst, route.gateway) for route in there.routes if route.gateway] == [("default", "172.17.0.1")]
    assert docker.ping("web", "bridge")


def test_a_published_port_leads_to_the_container_from_outside_the_host_and_loopback(docker: Docker) -> None:
    with build(OUTSIDE, "outside"):
        docker.run("web", publish="8080:80")
        assert seen_from("far", "192.0.2.1", 8080, "web") == "192.0.2.2"
        assert seen_from("host", "172.17.0.1", 8080, "web") == "172.17.0.1"
        assert seen_from("host", "127.0.0.1", 8080, "web") == "172.17.0.1"  # the proxy calls
        assert not connect("far", "172.17.0.2", 22, timeout=0.2)


def test_a_port_published_on_loopback_is_not_published_outside(docker: Docker) -> None:
    with build(OUTSIDE, "outside"):
        docker.run("web", publish=["127.0.0.1:8080:80", "8081:80"])
        assert seen_from("host", "127.0.0.1", 8080, "web") == "172.17.0.1"
        assert seen_from("far", "192.0.2.1", 8081, "web") == "192.0.2.2"
        assert "refused" in seen_from("far", "192.0.2.1", 8080, "web")


def test_udp_is_published_through_the_rules_and_through_the_proxy(docker: Docker) -> None:
    with build(OUTSIDE, "outside"):
        docker.run("dns", publish="5353:53/udp")
        assert seen_from("far", "192.0.2.1", 5353, "dns", 53, udp=True) == "192.0.2.2"
        assert seen_from("host", "127.0.0.1", 5353, "dns", 53, udp=True) == "172.17.0.1"


def test_what_leaves_the_host_leaves_with_its_address(docker: Docker) -> None:
    with build(OUTSIDE, "outside"):
        docker.run("web")
        assert seen_from("web", "192.0.2.2", 80, "far") == "192.0.2.1"


def test_a_container_reaches_its_own_published_port(docker: Docker) -> None:
    docker.run("web", publish="8080:80")
    assert seen_from("web", "172.17.0.1", 8080, "web") == "172.17.0.1"


def test_without_the_proxy_hairpin_and_loopback_work_by_rules_alone() -> None:
    with Docker(userland_proxy=False) as docker:
        docker.run("web", publish="8080:80")
        assert seen_from("web", "172.17.0.1", 8080, "web") == "172.17.0.1"
        assert seen_from("host", "127.0.0.1", 8080, "web") == "172.17.0.1"
        with pytest.raises(Refused, match="in use"):
            serve("host", 8080)


# Networks


def test_networks_do_not_reach_each_other_unless_a_container_is_on_both(docker: Docker) -> None:
    for name, network in (("red", "one"), ("blue", "two")):
        docker.network_create(network)
        docker.run(name, network=network)
    docker.run("green", network="one")
    assert docker.ping("red", "green")
    assert not docker.ping("red", "blue", timeout=0.2)
    docker.network_connect("two", "red")
    assert docker.ping("red", "blue")
    docker.network_disconnect("two", "red")
    assert not docker.ping("red", "blue", timeout=0.2)


def test_an_internal_network_reaches_nobody_outside(docker: Docker) -> None:
    with build(OUTSIDE, "outside"):
        docker.network_create("inner", internal=True)
        docker.run("red", network="inner", publish="8080:80")
        docker.run("blue", network="inner")
        assert docker.ping("red", "blue")
        assert not docker.ping("red", "192.0.2.2", timeout=0.2)
        assert "refused" in seen_from("far", "192.0.2.1", 8080, "red")


def test_icc_off_keeps_containers_of_one_network_apart() -> None:
    try:
        sysctl.read("net.bridge.bridge-nf-call-iptables")
    except FileNotFoundError:
        pytest.skip("needs: br_netfilter")
    with Docker(icc=False) as docker:
        docker.run("red", publish="8080:80")
        docker.run("blue")
        assert docker.ping("red", "bridge")
        assert not docker.ping("red", "blue", timeout=0.2)
        assert seen_from("blue", "172.17.0.1", 8080, "red") == "172.17.0.1"  # the host may
    assert sysctl.read("net.bridge.bridge-nf-call-iptables") == "0"


def test_names_and_aliases_are_found_on_shared_networks_only(docker: Docker) -> None:
    docker.network_create("front")
    docker.run("web", network="front", aliases=["www"])
    docker.run("db", network="front")
    docker.run("other")
    assert docker.exec("db", "getent hosts www web").stdout.split() == ["172.18.0.2", "www", "172.18.0.2", "web"]
    assert "127.0.0.11" not in docker.exec("other", "cat /etc/resolv.conf").stdout
    assert "172.18.0.3\t" in docker.exec("db", "cat /etc/hosts").stdout
    docker.network_connect("front", "other", aliases=["late"])
    assert docker.exec("other", "getent hosts web")
    assert docker.exec("db", "getent hosts late")
    docker.stop("web")
    assert not docker.exec("db", "getent hosts web")


def test_the_network_first_in_the_alphabet_has_the_default_route_and_the_ports(docker: Docker) -> None:
    docker.network_create("alpha")
    docker.network_create("zeta")
    docker.run("web", publish="8080:80")

    def gateway() -> str | None:
        return next((route.gateway for route in docker.snapshot()["web"].routes if route.dst == "default"), None)

    assert gateway() == "172.17.0.1"
    docker.network_connect("zeta", "web")
    assert gateway() == "172.17.0.1"
    docker.network_connect("alpha", "web")
    assert gateway() == "172.18.0.1"
    assert "--to-destination 172.18.0.2:80" in iptables.save("nat")
    assert seen_from("host", "172.17.0.1", 8080, "web") == "172.18.0.1"
    docker.network_disconnect("alpha", "web")
    assert gateway() == "172.17.0.1"
    assert [one.interface for one in docker.container("web").endpoints.values()] == ["eth0", "eth1"]
    docker.network_disconnect("bridge", "web")
    docker.network_disconnect("zeta", "web")
    assert gateway() is None
    docker.network_connect("zeta", "web")
    assert [one.interface for one in docker.container("web").endpoints.values()] == ["eth3"]


# Modes


def test_host_none_and_container_modes_share_what_they_say(docker: Docker) -> None:
    docker.run("web", publish="8080:80")
    docker.run("near", network="host", publish="8081:80")
    docker.run("alone", network="none", publish="8082:80")
    docker.run("side", network="container:web")
    assert namespace.inode("near") == namespace.inode("host")
    assert namespace.inode("side") == namespace.inode("web")
    assert docker.exec("alone", "ip -br link").stdout.split()[0::4] == ["lo"]
    assert docker.exec("side", "cat /etc/hosts").stdout == docker.exec("web", "cat /etc/hosts").stdout
    assert [row["PORTS"] for row in docker.ps()] == ["", "", "", "0.0.0.0:8080->80/tcp"]
    with serve("side", 80), pytest.raises(Refused, match="in use"):
        serve("web", 80)
    docker.stop("web")
    assert docker.exec("side", "ip -br link").stdout.split() == [
        "lo",
        "UNKNOWN",
        "00:00:00:00:00:00",
        "<LOOPBACK,UP,LOWER_UP>",
    ]


# Coming and going


def test_a_stopped_container_gives_its_address_and_ports_to_others(docker: Docker) -> None:
    docker.run("web", publish="8080:80")
    docker.stop("web")
    assert docker.run("other", publish="8080:80").ip == "172.17.0.2"
    with pytest.raises(Duplicate):
        docker.start("web")
    docker.rm("other", force=True)
    docker.run("third")
    assert docker.start("web").ip == "172.17.0.3"
    assert seen_from("host", "127.0.0.1", 8080, "web") == "172.17.0.1"


def test_a_container_whose_process_ends_loses_its_network(docker: Docker) -> None:
    docker.run("short", "echo said; exit 3", publish="8080:80")
    deadline = time.monotonic() + 10
    while docker.namespaces:
        assert time.monotonic() < deadline
        docker.ps()
        time.sleep(0.01)
    assert [row["STATUS"] for row in docker.ps(all=True)] == ["Exited (3)"]
    assert docker.logs("short") == "said\n"
    assert docker.run("next", publish="8080:80").ip == "172.17.0.2"


def test_what_is_taken_down_leaves_nothing() -> None:
    before = state()
    docker = Docker()
    assert policy() == "DROP"
    docker.network_create("front")
    docker.run("web", network="front", publish=["8080:80", "5353:53/udp"])
    docker.run("near", network="host")
    subprocess.run("iptables -t nat -F DOCKER; iptables -F DOCKER-USER", shell=True, check=True)  # by a learner
    docker.down()
    docker.down()
    assert state() == before
    assert policy() == "ACCEPT"
    with pytest.raises(WrongUse, match="this Docker is down"):
        docker.run("web")


def test_a_new_docker_replaces_the_old_one_and_an_empty_topology_clears_the_stage() -> None:
    before = state()
    first = Docker()
    first.run("web")
    second = Docker()
    assert second.namespaces == ()
    assert repr(first) == "Docker in namespace 'host': 0 networks, 0 containers, down"
    build(Topology())
    assert state() == before


def test_a_namespace_can_play_the_host() -> None:
    node = Topology(Bridge("br0", "10.0.0.1/24"), Container("node", "10.0.0.2/24", "br0"))
    with build(node, "nodes"), Docker("node") as docker:
        docker.run("web", publish="8080:80")
        assert seen_from("host", "10.0.0.2", 8080, "web") == "10.0.0.1"
        assert seen_from("node", "127.0.0.1", 8080, "web") == "172.17.0.1"
        assert "ip netns exec node iptables" in "\n".join(docker.last)


def test_the_commands_build_the_same() -> None:
    with Docker() as docker:
        docker.network_create("front", "10.5.0.0/24")
        docker.run("web", publish=["8080:80", "127.0.0.1:8081:81"])
        docker.run("db", network="front")
        commands, rules, there = docker.commands(), state_of_rules(), addresses()
    try:
        chains = "iptables -N DOCKER"
        assert chains in commands
        script = [line for line in commands if not line.startswith("docker-proxy")]
        quiet = subprocess.DEVNULL  # the containers' processes live on, and would keep a pipe open
        subprocess.run(["sh", "-ec", "\n".join(script)], check=True, stdout=quiet, stderr=quiet)
        assert (state_of_rules(), addresses()) == (rules, there)
    finally:
        undo = "pkill -x sleep; ip -all netns delete; ip link delete docker0; iptables -P FORWARD ACCEPT; "
        undo += "iptables -F; iptables -X; iptables -t nat -F; iptables -t nat -X; sysctl -qw net.ipv4.ip_forward=0; "
        undo += "for one in $(ip -br link | grep -o '^br-[0-9a-f]*'); do ip link delete $one; done"
        subprocess.run(undo, shell=True, check=False, capture_output=True)


def state_of_rules() -> list[str]:
    return [line for line in iptables.save().splitlines() if "DNS" not in line and not line.startswith("#")]


def addresses() -> list[list[str]]:
    shown = [
        subprocess.run(["ip", "-n", name, "-br", "-4", "address"], capture_output=True, text=True, check=True).stdout
        for name in ("web", "db")
    ]
    return [line.split()[2:] for text in shown for line in text.splitlines()]


# What is refused leaves nothing

REFUSED: list[tuple[str, Callable[[Docker], object], type[LabkitError], str]] = [
    (
        "a published port twice",
        lambda docker: docker.run("two", publish="8080:80"),
        Duplicate,
        (
            "failed to run 'two' in namespace 'host': port 8080/tcp of 0.0.0.0 is published by 'web'\n"
            "published there: 0.0.0.0:8080->80/tcp of 'web'"
        ),
    ),
    (
        "a port in use",
        lambda docker: docker.run("two", publish="7777:80"),
        Refused,
        (
            "failed to run 'two' in namespace 'host': port 7777/tcp of 0.0.0.0: address already in use\n"
            "who listens there: ss -ltunp; the host's addresses: ip -br address"
        ),
    ),
    (
        "an address of nobody's",
        lambda docker: docker.run("two", publish="192.0.2.99:80:80"),
        Refused,
        (
            "failed to run 'two' in namespace 'host': port 80/tcp of 192.0.2.99: cannot assign requested address\n"
            "who listens there: ss -ltunp; the host's addresses: ip -br address"
        ),
    ),
    (
        "the second of two ports",
        lambda docker: docker.run("two", publish=["9000:90", "8080:80"]),
        Duplicate,
        (
            "failed to run 'two' in namespace 'host': port 8080/tcp of 0.0.0.0 is published by 'web'\n"
            "published there: 0.0.0.0:8080->80/tcp of 'web', 0.0.0.0:9000->90/tcp of 'two'"
        ),
    ),
    (
        "a container name that exists",
        lambda docker: docker.run("web"),
        Duplicate,
        "failed to run 'web' in namespace 'host': the name is taken\ncontainers there: web, full, alone, near",
    ),
    (
        "a namespace of somebody else's",
        lambda docker: docker.run("stranger"),
        Duplicate,
        "failed to add namespace 'stranger': it exists already\ndelete it first: ip netns delete stranger",
    ),
    (
        "an unknown network",
        lambda docker: docker.run("two", network="nope"),
        NotFound,
        "failed to run 'two' in namespace 'host': no network 'nope'\nnetworks there: host, none, bridge, tiny, own",
    ),
    (
        "a subnet exhausted",
        lambda docker: docker.run("two", network="tiny"),
        Unavailable,
        (
            "failed to run 'two' in namespace 'host': no address is free in 10.77.0.0/30\n"
            "in use: 10.77.0.0, 10.77.0.1, 10.77.0.2, 10.77.0.3"
        ),
    ),
    (
        "an address twice",
        lambda docker: docker.run("two", network="own", ip="10.88.0.1"),
        Duplicate,
        "failed to run 'two' in namespace 'host': address 10.88.0.1 is in use\nin use: 10.88.0.0, 10.88.0.1",
    ),
    (
        "an address on the default bridge",
        lambda docker: docker.run("two", ip="172.17.0.9"),
        WrongUse,
        (
            "failed to run 'two' in namespace 'host': network 'bridge' chose its subnet itself, and chooses the "
            "addresses too\nstate the subnet when you create a network: network_create('own', '10.1.0.0/24')"
        ),
    ),
    (
        "an alias on the default bridge",
        lambda docker: docker.run("two", aliases=["too"]),
        WrongUse,
        "failed to run 'two' in namespace 'host': aliases are for user-defined networks\n'bridge' has no names",
    ),
    (
        "a program that is not there",
        lambda docker: docker.run("two", "no-such-program -x"),
        CommandNotInstalled,
        (
            "failed to run 'two' in namespace 'host': the command 'no-such-program' is not installed\n"
            "look for its package with: apt-cache search no-such-program"
        ),
    ),
    (
        "the namespace of a container that is not there",
        lambda docker: docker.run("two", network="container:gone"),
        NotFound,
        "failed to run 'two' in namespace 'host': no container 'gone'\ncontainers there: web, full, alone, near",
    ),
    (
        "ports for a namespace of another's",
        lambda docker: docker.run("two", network="container:web", publish="80"),
        WrongUse,
        (
            "failed to run 'two' in namespace 'host': ports are published where the namespace is made\n"
            "publish them with container:web"
        ),
    ),
    (
        "overlapping subnets",
        lambda docker: docker.network_create("two", "172.17.9.0/24"),
        Duplicate,
        (
            "failed to create network 'two' in namespace 'host': subnet 172.17.9.0/24 overlaps 172.17.0.0/16 of "
            "network 'bridge'\nchoose another subnet"
        ),
    ),
    (
        "an option that is none",
        lambda docker: docker.network_create("two", colour="red"),
        WrongUse,
        (
            "failed to create network 'two' in namespace 'host': no option 'colour'\n"
            "options: subnet, gateway, ip_range, internal, icc, masquerade, bridge, host_binding, mtu"
        ),
    ),
    (
        "a bridge that somebody else has made",
        lambda docker: docker.network_create("two", bridge="br0"),
        Duplicate,
        "failed to add 'br0' in namespace 'host': it exists already\n",
    ),
    (
        "to disconnect what is not connected",
        lambda docker: docker.network_disconnect("tiny", "web"),
        NotFound,
        "failed to disconnect 'web' from network 'tiny' in namespace 'host': it is not on it\nits networks: bridge",
    ),
    (
        "to connect what is connected",
        lambda docker: docker.network_connect("bridge", "web"),
        Duplicate,
        "failed to connect 'web' to network 'bridge' in namespace 'host': it is on it already\nits networks: bridge",
    ),
    (
        "to connect to a full network",
        lambda docker: docker.network_connect("tiny", "web"),
        Unavailable,
        (
            "failed to connect 'web' to network 'tiny' in namespace 'host': no address is free in 10.77.0.0/30\n"
            "in use: 10.77.0.0, 10.77.0.1, 10.77.0.2, 10.77.0.3"
        ),
    ),
    (
        "to connect without a network",
        lambda docker: docker.network_connect("own", "alone"),
        WrongUse,
        (
            "failed to connect 'alone' to network 'own' in namespace 'host': with network 'none' there is no other\n"
            "run another container on a bridge network"
        ),
    ),
    (
        "to connect the host",
        lambda docker: docker.network_connect("own", "near"),
        WrongUse,
        (
            "failed to connect 'near' to network 'own' in namespace 'host': its namespace is not its own\n"
            "it runs with network 'host'"
        ),
    ),
    (
        "to remove a network in use",
        lambda docker: docker.network_rm("tiny"),
        WrongUse,
        "failed to remove network 'tiny' in namespace 'host': it is in use\non it: full; stop or disconnect them first",
    ),
    (
        "to remove Docker's own network",
        lambda docker: docker.network_rm("bridge"),
        WrongUse,
        (
            "failed to remove network 'bridge' in namespace 'host': it is predefined\n"
            "only networks that you created can be removed"
        ),
    ),
    (
        "to remove what runs",
        lambda docker: docker.rm("web"),
        WrongUse,
        (
            "failed to remove 'web' in namespace 'host': it is running\n"
            "stop it first: stop('web'), or rm('web', force=True)"
        ),
    ),
]


def test_what_is_refused_is_a_sentence_and_changes_nothing(docker: Docker) -> None:
    docker.network_create("tiny", "10.77.0.0/30")
    docker.network_create("own", "10.88.0.0/24")
    docker.run("web", publish="8080:80")
    docker.run("full", network="tiny")
    docker.run("alone", network="none")
    docker.run("near", network="host")
    link.add_bridge("br0")
    namespace.add("stranger")
    with serve("host", 7777):
        before, listed, networks = state(), repr(docker.ps(all=True)), repr(docker.network_ls())
        for what, verb, kind, said in REFUSED:
            with pytest.raises(kind) as refusal:
                verb(docker)
            assert str(refusal.value).startswith(said), what
            now = state(), repr(docker.ps(all=True)), repr(docker.network_ls())
            assert now == (before, listed, networks), what
        assert seen_from("host", "127.0.0.1", 8080, "web") == "172.17.0.1"


def test_rules_of_the_other_iptables_are_refused_and_docker_does_not_start() -> None:
    other = {"nft": "iptables-legacy", "legacy": "iptables-nft"}[iptables.backend()]
    if subprocess.run(
        f"{other} -A INPUT -p tcp --dport 1 -j ACCEPT && {other}-save", shell=True, capture_output=True
    ).returncode:
        pytest.skip(f"needs: {other}, and the right to list its rules")
    before = state()
    try:
        with pytest.raises(Refused, match=f"{other} holds rules there"):
            Docker()
        assert state() == before
    finally:
        subprocess.run(f"{other} -F; {other} -X", shell=True, check=True)


def test_a_bridge_called_docker0_of_somebody_elses_is_not_touched() -> None:
    link.add_bridge("docker0")
    try:
        before = state()
        with pytest.raises(Duplicate, match="failed to add 'docker0'"):
            Docker()
        assert state() == before
    finally:
        link.delete("docker0")


def test_docker_shows_itself(docker: Docker) -> None:
    docker.run("web", publish="8080:80")
    shown = docker._repr_mimebundle_()
    assert "docker0" in shown["text/plain"]
    assert shown["image/svg+xml"].startswith("<svg")
    assert repr(docker) == "Docker in namespace 'host': 3 networks, 1 container"
    assert docker.inspect("web")["NetworkSettings"]["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    assert docker.network_inspect("bridge")["Containers"][docker.container("web").id]["IPv4Address"] == "172.17.0.2/16"
    assert ipam.mac_of(IPv4Address(docker.ip("web"))) in shown["text/plain"]


def test_a_trace_names_the_rule_that_publishes(docker: Docker) -> None:
    with build(OUTSIDE, "outside"):
        docker.run("web", publish="8080:80")
        with serve("web", 80):
            told = repr(docker.trace("192.0.2.1", from_="far", tcp=8080))
        assert "web/eth0" in told
        assert "--to-destination 172.17.0.2:80" in told


def test_containers_are_captured_by_their_names(docker: Docker) -> None:
    docker.run("web")
    docker.run("db")
    with docker.capture("web") as seen:
        assert docker.ping("db", "web")
    assert [frame.where for frame in seen if "ICMP" in repr(frame)] == ["web/eth0", "web/eth0"]
    assert isinstance(seen, packets.Capture)
