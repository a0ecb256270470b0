"""A build is all or nothing: what it builds is what its commands build, and nothing is left when it fails or ends."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import resource
import signal
import subprocess
import threading
import time
from contextlib import suppress

import pytest

from labkit.errors import Duplicate, LabkitError, NamespaceGone, NotFound, Refused, Unavailable, WrongUse
from labkit.lab import Bridge, Container, Interface, Lab, Topology, build
from labkit.net import address, fdb, libc, link, namespace, neighbour, route, sysctl

pytestmark = pytest.mark.usefixtures("network")

PAIR = Topology(
    Bridge("br0", "10.0.0.1/24"), Container("red", "10.0.0.2/24", "br0"), Container("blue", "10.0.0.3/24", "br0")
)
EVERYTHING = Topology(
    Bridge("br0", "10.0.0.1/24"),
    Container("red", "10.0.0.2/24", "br0", routes=("10.9.0.0/16 via 10.0.0.3",)),
    Container("blue", "10.0.0.3/24", "br0", interfaces=(Interface("eth1", "10.2.0.1/24", "green"),)),
    Container("green", "10.2.0.2/24", "blue:eth1", gateway="10.2.0.1"),
    Container("calico", "10.3.0.2/32", "host", gateway="169.254.1.1", mtu=1450),
    Container("leaf", interfaces=(Interface("eth0", "10.4.0.2/24", "host", host_address="10.4.0.1/24"),)),
    Container("switch", sysctls={"net.ipv4.ip_forward": 1}),
    Bridge("cni0", on="switch"),
    Container("six", "fd00::2/64", "cni0"),
    Container("seven", "fd00::3/64", "switch:cni0", mac="02:00:00:00:00:07"),
)


def many(number: int) -> Topology:
    addresses = (f"10.0.{1 + place // 250}.{1 + place % 250}/16" for place in range(number))
    containers = (Container(f"c{place}", text, "br0") for place, text in enumerate(addresses))
    return Topology(Bridge("br0", "10.0.0.1/16"), *containers)


def links(name: str | None = None) -> list[str]:
    within = ["-n", name] if name else []
    return [entry["ifname"] for entry in json.loads(subprocess.check_output(["ip", *within, "-j", "link"]))]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def nothing_is_left() -> bool:
    return namespace.names() == [] and links() == ["lo"]


def told(name: str) -> object:
    def steady(record: dict[str, object]) -> dict[str, object]:
        passing = ("ifindex", "link_index", "link_netnsid", "group", "tentative")
        return {key: value for key, value in record.items() if key not in passing}

    within = "" if name == "host" else f"-n {name} "
    questions = [f"ip {within}-j link", f"ip {within}-j address", f"ip {within}-j route", f"ip {within}-6 -j route"]
    answers = (subprocess.check_output(question.split(), text=True) for question in questions)
    return [json.loads(answer or "[]", object_hook=steady) for answer in answers]


def test_a_build_is_what_its_commands_build() -> None:
    names = ("host", *EVERYTHING.namespaces)
    with build(EVERYTHING):
        built = {name: told(name) for name in names}
        forwarding = subprocess.check_output(
            ["ip", "netns", "exec", "switch", "sysctl", "net.ipv4.ip_forward"], text=True
        )
    assert nothing_is_left()
    for line in EVERYTHING.commands():
        subprocess.run(line.split(), check=True)
        if line.startswith("ip netns add "):
            with namespace.enter(line.split()[-1]):  # what the lab machine's own `ip` does besides
                sysctl.state_here()

    end = time.monotonic() + 5
    while {name: told(name) for name in names} != built and time.monotonic() < end:
        time.sleep(0.02)  # the kernel notes a carrier's coming a moment later
    for name in names:
        assert told(name) == built[name], name
    assert forwarding == "net.ipv4.ip_forward = 1\n"


def test_everybody_answers_at_once() -> None:
    with build(EVERYTHING) as lab:
        for one, to in [("red", "10.0.0.3"), ("red", "10.0.0.1"), ("green", "10.0.0.3"), ("leaf", "10.4.0.1")]:
            assert lab.run(one, ["ping", "-c1", "-W1", to]), f"{one} to {to}"
        assert lab.run("six", "ping -c1 -W1 fd00::3")


def test_stated_sysctls_hold_in_every_container() -> None:
    with build(PAIR):
        for name in PAIR.namespaces:
            with namespace.enter(name):
                assert sysctl.state_here() == {}


def test_a_bridge_with_an_address_says_nothing_of_its_own_accord() -> None:
    """It joins 224.0.0.106 (RFC 4286), and within a second would report that to every port."""
    heard = {}
    for reports in ("1", "0"):  # as the kernel has it, then as stated
        with build(PAIR) as lab, lab.enter("host"):
            sysctl.write({"net.ipv4.igmp_link_local_mcast_reports": reports})
            with lab.capture("red") as seen:
                lab.run("host", "ip link set br0 down")
                lab.run("host", "ip link set br0 up")
                heard[reports] = seen.wait(lambda frame: "IGMP" in frame.summary(), timeout=1.5)
    assert heard == {"1": True, "0": False}


def test_a_build_replaces_what_its_name_built_before() -> None:
    before = descriptors()
    first = build(PAIR)
    second = build(Topology(Container("green")))

    assert namespace.names() == ["green"]
    assert links() == ["lo"]
    assert (repr(first), repr(second)) == ("Lab 'lab': 2 containers, down", "Lab 'lab': 1 container")
    second.down()
    second.down()
    assert nothing_is_left()
    assert descriptors() <= before + 1  # the host's netlink socket stays


def test_labs_of_two_names_stand_side_by_side() -> None:
    one = build(PAIR, "one")
    two = build(Topology(Bridge("br1"), Container("green", link="br1")), "two")
    one.down()

    assert namespace.names() == ["green"]
    assert links() == ["lo", "br1", "veth-green"]
    two.down()
    assert nothing_is_left()


def test_ip_netns_takes_a_labs_namespaces_for_its_own() -> None:
    with build(PAIR):
        listed = subprocess.check_output(["ip", "netns", "list"], text=True).split("\n")
        assert {line.split(" ")[0] for line in listed if line} == {"red", "blue"}
        inside = subprocess.check_output(["ip", "netns", "exec", "red", "readlink", "/proc/self/ns/net"], text=True)
        assert inside.strip() == f"net:[{namespace.inode('red')}]"


def test_macs_and_addresses_are_the_same_on_every_build() -> None:
    macs = []
    for _ in range(2):
        with build(PAIR) as lab:
            shown = json.loads(subprocess.check_output(["ip", "-n", "red", "-j", "link", "show", "eth0"]))
            assert shown[0]["address"] == lab.mac("red")
            macs.append((lab.mac("red"), lab.mac("br0"), lab.ip("red"), lab.ip("br0")))
    assert macs[0] == macs[1]


def test_a_build_works_while_an_event_loop_runs() -> None:
    async def cell() -> bool:
        with build(PAIR) as lab:
            return bool(lab.run("red", "ping -c1 -W1 10.0.0.3"))

    assert asyncio.run(cell())


def test_a_build_made_inside_a_namespace_is_made_on_the_host() -> None:
    namespace.add("elsewhere")
    with namespace.enter("elsewhere"):
        lab = build(PAIR)

    assert "br0" in links()
    lab.down()


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2])
def test_ctrl_c_in_the_middle_of_a_build_leaves_nothing(delay: float) -> None:
    topology = many(100)
    before = descriptors()
    timer = threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        timer.start()
        lab = build(topology)
        signal.pause()
    except KeyboardInterrupt:
        pass
    timer.join()
    if namespace.names():  # it came too late
        lab.down()
    assert nothing_is_left()
    assert descriptors() <= before + 1

    with build(topology):
        assert len(namespace.names()) == 100


def test_ctrl_c_while_a_lab_goes_down_waits_until_it_is_down() -> None:
    lab = build(many(100))
    timer = threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        timer.start()
        lab.down()
        signal.pause()
    except KeyboardInterrupt:
        pass
    if not repr(lab).endswith(", down"):  # it came too early
        lab.down()

    assert nothing_is_left()


def test_a_build_that_fails_leaves_nothing_and_descriptors_neither() -> None:
    link.add_bridge("br0")
    before = descriptors()
    with pytest.raises(Duplicate) as refused:
        build(PAIR)

    assert str(refused.value) == "failed to add 'br0' in namespace 'host': it exists already\nlinks there: lo, br0"
    assert (namespace.names(), links(), descriptors()) == ([], ["lo", "br0"], before)


def test_no_descriptors_left_is_one_sentence_and_nothing_half_built() -> None:
    namespace.add("red")
    before, limits, held = descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE), []
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, limits[1]))
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(Unavailable) as refused, namespace.enter("red"):
            pass
        resource.setrlimit(resource.RLIMIT_NOFILE, (1_040, limits[1]))
        with pytest.raises(Unavailable) as unbuilt:
            build(many(50))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in held:
            os.close(descriptor)
    hint = "\nclose files or labs that you opened, or restart the kernel"
    assert str(refused.value) == "failed to enter namespace 'red': too many open files" + hint
    assert str(unbuilt.value) == "failed to build lab 'lab': too many open files" + hint
    assert (namespace.names(), links(), descriptors() <= before + 1) == (["red"], ["lo"], True)


def test_ipv6_on_the_host_stays_as_long_as_a_lab_needs_it() -> None:
    def off() -> str:
        with namespace.enter("host"):
            return sysctl.read("net.ipv6.conf.all.disable_ipv6")

    first = build(Topology(Bridge("br0", "fd00::1/64")), name="first")
    build(Topology(Bridge("br1", "fd01::1/64")), name="second").down()
    assert off() == "0"
    first.down()
    assert off() == "1"


def test_what_the_learner_made_is_not_replaced() -> None:
    namespace.add("blue")
    with pytest.raises(Duplicate) as refused:
        build(PAIR)

    assert str(refused.value) == (
        "failed to add namespace 'blue': it exists already\ndelete it first: ip netns delete blue"
    )
    assert (namespace.names(), links()) == (["blue"], ["lo"])


def test_a_full_disk_leaves_nothing() -> None:
    libc.mount("full", namespace.NETNS, "tmpfs", options="nr_inodes=2")
    try:
        with pytest.raises(Refused) as refused:
            build(PAIR)
        assert str(refused.value) == (
            "failed to add namespace 'blue': no space left on device\nits name is a file in /run/netns"
        )
        namespace.add("red")
        with pytest.raises(Refused) as refused:
            namespace.add("blue")
        assert str(refused.value).startswith("failed to add namespace 'blue': no space left on device")
        namespace.delete("red")
        assert nothing_is_left()
    finally:
        libc.umount2(namespace.NETNS)


def test_a_wrong_sysctl_is_refused_and_nothing_is_left() -> None:
    with pytest.raises(Refused) as refused:
        build(Topology(Container("red", sysctls={"net.ipv4.ip_froward": 1})))

    assert str(refused.value) == (
        "failed to set 'net.ipv4.ip_froward' in namespace 'red': no such file or directory\n"
        "sysctls there: ip netns exec red sysctl -a"
    )
    assert nothing_is_left()


def test_the_name_of_a_process_that_ended_is_taken_over() -> None:
    os.symlink("/proc/4000000/fd/3", namespace.path("red"))
    with pytest.raises(NamespaceGone) as gone:
        namespace.inode("red")
    assert str(gone.value) == (
        "failed to enter namespace 'red': the process that kept it alive has ended\nnamespaces there: host, red"
    )

    with build(PAIR) as lab:
        assert lab.run("red", "true")


def test_a_socket_kept_is_not_used_for_another_namespace_of_the_same_name() -> None:
    lab = build(PAIR)
    namespace.delete("red")
    namespace.add("red")

    link.add_bridge("br7", namespace="red")

    assert links("red") == ["lo", "br7"]
    lab.down()
    assert namespace.names() == ["red"]  # what the learner made under the name stays


LIVE: list[tuple[object, type[LabkitError], str]] = [
    (
        lambda: link.add_bridge("a-name-of-16-chr"),
        WrongUse,
        (
            "failed to add 'a-name-of-16-chr' in namespace 'host': a link's name has at most 15 characters\n"
            "'a-name-of-16-chr' has 16"
        ),
    ),
    (
        lambda: link.add_bridge("lo"),
        Duplicate,
        "failed to add 'lo' in namespace 'host': it exists already\nlinks there: lo",
    ),
    (
        lambda: link.set_up("eth0", namespace="red"),
        NotFound,
        "failed to set 'eth0' in namespace 'red': no such link\nlinks there: lo",
    ),
    (
        lambda: link.add_veth("v", "p", namespace="red", master="br0"),
        NotFound,
        "failed to add 'v' in namespace 'red': no link 'br0'\nlinks there: lo",
    ),
    (
        lambda: link.set_master("lo", "lo", namespace="red"),
        Refused,
        "failed to set 'lo' in namespace 'red': operation not supported\nlinks there: lo",
    ),
    (
        lambda: link.set_mtu("lo", 67, namespace="red"),
        WrongUse,
        "failed to set 'lo' in namespace 'red': MTU 67 is out of range\na veth or a bridge takes 68 to 65535 bytes",
    ),
    (
        lambda: link.move("lo", "gone", namespace="red"),
        NotFound,
        "failed to enter namespace 'gone': no such namespace\nnamespaces there: host, red",
    ),
    (
        lambda: link.set_up("lo", namespace="gone"),
        NotFound,
        "failed to enter namespace 'gone': no such namespace\nnamespaces there: host, red",
    ),
    (
        lambda: address.add("10.0.0.2", "lo", namespace="red"),
        WrongUse,
        "failed to add '10.0.0.2' in namespace 'red': address '10.0.0.2' has no prefix length\nwrite it as 10.0.0.2/24",
    ),
    (
        lambda: [address.add("10.0.0.2/24", "lo", namespace="red") for _ in range(2)],
        Duplicate,
        "failed to add '10.0.0.2/24' in namespace 'red': it exists already\nlinks there: lo",
    ),
    (
        lambda: address.add("10.0.0.2/24", "eth0", namespace="red"),
        NotFound,
        "failed to add '10.0.0.2/24' in namespace 'red': no link 'eth0'\nlinks there: lo",
    ),
    (
        lambda: address.add("fd00::2/64", "lo", namespace="red"),
        Refused,
        ("failed to add 'fd00::2/64' in namespace 'red': permission denied\nlinks there: lo"),
    ),
    (
        lambda: route.add("default", via="10.0.0.1", namespace="red"),
        Refused,
        ("failed to add 'default' in namespace 'red': network is unreachable\nlinks there: lo"),
    ),
    (
        lambda: route.add("10.0.0.1/24", dev="lo", namespace="red"),
        WrongUse,
        (
            "failed to add '10.0.0.1/24' in namespace 'red': 10.0.0.1/24 has host bits set\n"
            "write the destination as 10.1.0.0/24 or default"
        ),
    ),
    (
        lambda: route.add("10.1.0.0/16", via="fd00::1", namespace="red"),
        WrongUse,
        (
            "failed to add '10.1.0.0/16' in namespace 'red': an IPv4 route cannot go via 'fd00::1', an IPv6 address\n"
            "destination and gateway are of one family"
        ),
    ),
    (
        lambda: neighbour.add("10.0.0.1/24", "02:00:00:00:00:01", "lo", namespace="red"),
        WrongUse,
        (
            "failed to add '10.0.0.1/24' in namespace 'red': '10.0.0.1/24' is not an IP address\n"
            "a neighbour has no prefix length"
        ),
    ),
    (
        lambda: fdb.add("02:00:00:00:00:01", "lo", dst="red", namespace="red"),
        WrongUse,
        (
            "failed to add '02:00:00:00:00:01' in namespace 'red': 'red' is not an IP address\n"
            "a VTEP has no prefix length"
        ),
    ),
    (
        lambda: fdb.add("02:00:00:00:00:01", "lo", namespace="red"),
        Refused,
        ("failed to add '02:00:00:00:00:01' in namespace 'red': invalid argument\nlinks there: lo"),
    ),
    (
        lambda: namespace.add("red"),
        Duplicate,
        "failed to add namespace 'red': it exists already\ndelete it first: ip netns delete red",
    ),
    (
        lambda: namespace.add("a/b"),
        WrongUse,
        (
            "failed to name namespace 'a/b': not a usable name\n"
            "a namespace's name is one file name in /run/netns; 'host' is the lab machine's first namespace"
        ),
    ),
]


@pytest.mark.parametrize(("wrong", "kind", "sentence"), LIVE, ids=[case[2].split("\n")[0] for case in LIVE])
def test_what_the_kernel_refuses_is_told_in_one_sentence(wrong: object, kind: type, sentence: str) -> None:
    namespace.add("red")
    before = links("red"), links()
    with pytest.raises(LabkitError) as refused:
        wrong()  # type: ignore[operator]

    told = re.sub(r" \(.*\)", "", str(refused.value))  # the kernel's own explanation changes from kernel to kernel
    assert (told, type(refused.value)) == (sentence, kind)
    assert (links("red"), links()) == before


def test_the_kernels_own_explanation_is_passed_on() -> None:
    with pytest.raises(Refused, match=r"operation not supported \(.+\)|invalid argument \(.+\)") as refused:
        fdb.add("02:00:00:00:00:01", "lo")

    assert refused.value.errno in (errno.EOPNOTSUPP, errno.EINVAL)


def test_a_lab_has_a_line_of_its_own() -> None:
    with build(PAIR) as lab:
        assert isinstance(lab, Lab)
        assert repr(lab) == "Lab 'lab': 2 containers"
        assert lab.commands() == PAIR.commands()
        assert lab.namespaces == ("red", "blue")


def test_cables_between_containers_carry_at_once() -> None:
    """The kernel is asked for either end once both are up; else it acts on the carrier up to a second later."""
    router = Container(
        "router",
        interfaces=(Interface("eth0", "10.1.0.1/24", "red"), Interface("eth1", "10.2.0.1/24", "blue")),
        sysctls={"net.ipv4.ip_forward": 1},
    )
    red, blue = (
        Container(name, f"10.{n}.0.2/24", "router", gateway=f"10.{n}.0.1") for n, name in ((1, "red"), (2, "blue"))
    )
    for _ in range(10):
        with build(Topology(red, router, blue)) as lab:
            assert lab.ping("red", "blue", timeout=0.5)
