"""Each operation does what its command does: one namespace by netlink, one by `ip`, and the kernel tells the same."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

import pytest

from labkit.errors import WrongUse
from labkit.net import address, fdb, link, namespace, neighbour, route, rule
from labkit.net.operation import Operation, perform

pytestmark = pytest.mark.usefixtures("network")

MAC = "02:00:00:00:00:07"
VETH = "ip -n {ns} link add v address 02:00:00:00:00:01 type veth peer p address 02:00:00:00:00:02"
UP = f"{VETH} && ip -n {{ns}} link set v up && ip -n {{ns}} link set p up"
SUBNET = f"{UP} && ip -n {{ns}} address add 10.0.0.1/24 dev v"
BRIDGE = "ip -n {ns} link add name b address 02:00:00:00:00:09 type bridge && ip -n {ns} link set dev b up"
PORT = f"{UP} && {BRIDGE} && ip -n {{ns}} link set v master b"
IPV6 = f"ip netns exec {{ns}} sysctl -qw net.ipv6.conf.all.disable_ipv6=0 && {VETH}"
PEER = {"mac": "02:00:00:00:00:03", "peer_mac": "02:00:00:00:00:04"}
BLACKHOLE = "ip -n {ns} route add blackhole 10.9.0.0/16"

CASES: dict[str, tuple[str, Callable[[str], Operation]]] = {
    "veth": ("true", lambda ns: link.add_veth("v", "p", namespace=ns, **PEER)),
    "veth, peer elsewhere": (
        "true",
        lambda ns: link.add_veth("v", "eth0", namespace=ns, peer_namespace=f"{ns}-far", mtu=1400, up=True, **PEER),
    ),
    "veth, port at once": (
        BRIDGE,
        lambda ns: link.add_veth(
            "w", "eth0", namespace=ns, peer_namespace=f"{ns}-far", master="b", group=7, up=True, **PEER
        ),
    ),
    "bridge": ("true", lambda ns: link.add_bridge("b", namespace=ns, mac=MAC, mtu=1400, group=9)),
    "delete a link": (VETH, lambda ns: link.delete("v", namespace=ns)),
    "delete a group": (
        f"{VETH} && ip -n {{ns}} link set v group 7",
        lambda ns: link.delete_group(7, namespace=ns),
    ),
    "up": (VETH, lambda ns: link.set_up("v", namespace=ns)),
    "down": (SUBNET, lambda ns: link.set_down("v", namespace=ns)),
    "group": (VETH, lambda ns: link.set_group("v", 7, namespace=ns)),
    "mtu": (VETH, lambda ns: link.set_mtu("v", 68, namespace=ns)),
    "mac": (VETH, lambda ns: link.set_mac("v", MAC, namespace=ns)),
    "master": (f"{VETH} && {BRIDGE}", lambda ns: link.set_master("v", "b", namespace=ns)),
    "no master": (PORT, lambda ns: link.set_master("v", None, namespace=ns)),
    "rename": (VETH, lambda ns: link.rename("v", "eth0", namespace=ns)),
    "move": (VETH, lambda ns: link.move("p", f"{ns}-far", namespace=ns)),
    "port flags": (PORT, lambda ns: link.set_port("v", isolated=True, learning=False, namespace=ns)),
    "port flags back": (
        f"{PORT} && bridge -n {{ns}} link set dev v hairpin on",
        lambda ns: link.set_port("v", hairpin=False, flood=False, namespace=ns),
    ),
    "address": (UP, lambda ns: address.add("10.0.0.1/24", "v", namespace=ns)),
    "address /32": (UP, lambda ns: address.add("10.0.0.1/32", "v", namespace=ns)),
    "address /31": (UP, lambda ns: address.add("10.0.0.1/31", "v", namespace=ns)),
    "second address": (SUBNET, lambda ns: address.add("10.0.0.9/24", "v", namespace=ns)),
    "IPv6 address": (IPV6, lambda ns: address.add("fd00::1/64", "v", namespace=ns)),
    "delete an address": (SUBNET, lambda ns: address.delete("10.0.0.1/24", "v", namespace=ns)),
    "default route": (SUBNET, lambda ns: route.add("default", via="10.0.0.2", namespace=ns)),
    "route": (SUBNET, lambda ns: route.add("10.1.0.0/16", via="10.0.0.2", dev="v", metric=5, namespace=ns)),
    "route to a link": (SUBNET, lambda ns: route.add("10.1.0.0/16", dev="v", namespace=ns)),
    "onlink route": (SUBNET, lambda ns: route.add("default", via="169.254.1.1", dev="v", onlink=True, namespace=ns)),
    "table": (SUBNET, lambda ns: route.add("10.1.0.0/16", via="10.0.0.2", table=1000, namespace=ns)),
    "blackhole": ("true", lambda ns: route.add("10.9.0.0/16", kind="blackhole", namespace=ns)),
    "unreachable": ("true", lambda ns: route.add("10.9.0.0/16", kind="unreachable", metric=9, namespace=ns)),
    "prohibit": ("true", lambda ns: route.add("default", kind="prohibit", table=100, namespace=ns)),
    "route replaced": (
        f"{SUBNET} && ip -n {{ns}} route add default via 10.0.0.2",
        lambda ns: route.replace("default", via="10.0.0.3", namespace=ns),
    ),
    "route replaced by none": (
        f"{SUBNET} && ip -n {{ns}} route add 10.1.0.0/16 via 10.0.0.2",
        lambda ns: route.replace("10.1.0.0/16", kind="unreachable", namespace=ns),
    ),
    "replacing what is not there": (SUBNET, lambda ns: route.replace("10.1.0.0/16", dev="v", namespace=ns)),
    "delete a route": (
        f"{SUBNET} && ip -n {{ns}} route add default via 10.0.0.2",
        lambda ns: route.delete("default", via="10.0.0.2", namespace=ns),
    ),
    "delete a blackhole": (BLACKHOLE, lambda ns: route.delete("10.9.0.0/16", namespace=ns)),
    "IPv6 route": (
        f"{IPV6} && ip -n {{ns}} link set v up && ip -n {{ns}} address add fd00::1/64 dev v nodad",
        lambda ns: route.add("fd01::/64", via="fd00::2", namespace=ns),
    ),
    "rule": ("true", lambda ns: rule.add(100, from_="10.0.0.1", table=1000, namespace=ns)),
    "rule by all": (
        VETH,
        lambda ns: rule.add(
            7, from_="10.0.0.0/8", to="10.1.0.0/16", iif="v", fwmark=5, fwmask=0xFF, table=100, namespace=ns
        ),
    ),
    "rule for all": ("true", lambda ns: rule.add(0, table="main", namespace=ns)),
    "rule by mark": ("true", lambda ns: rule.add(100, fwmark=5, action="prohibit", namespace=ns)),
    "rule of IPv6": (IPV6, lambda ns: rule.add(100, to="fd00::/64", action="unreachable", namespace=ns)),
    "delete a rule": (
        "ip -n {ns} rule add priority 100 from 10.0.0.1 lookup 100",
        lambda ns: rule.delete(100, namespace=ns),
    ),
    "delete one of two": (
        "for to in 1 2; do ip -n {ns} rule add priority 100 to 10.0.0.$to prohibit; done",
        lambda ns: rule.delete(100, to="10.0.0.2", action="prohibit", namespace=ns),
    ),
    "neighbour": (SUBNET, lambda ns: neighbour.add("10.0.0.2", MAC, "v", namespace=ns)),
    "neighbour replaced": (
        f"{SUBNET} && ip -n {{ns}} neighbour add 10.0.0.2 lladdr 02:00:00:00:00:99 dev v",
        lambda ns: neighbour.add("10.0.0.2", MAC, "v", namespace=ns),
    ),
    "delete a neighbour": (
        f"{SUBNET} && ip -n {{ns}} neighbour add 10.0.0.2 lladdr {MAC} dev v",
        lambda ns: neighbour.delete("10.0.0.2", "v", namespace=ns),
    ),
    "FDB entry": (PORT, lambda ns: fdb.add(MAC, "v", namespace=ns)),
    "FDB entry, local": (PORT, lambda ns: fdb.add(MAC, "v", local=True, namespace=ns)),
    "delete an FDB entry": (
        f"{PORT} && bridge -n {{ns}} fdb add {MAC} dev v master static",
        lambda ns: fdb.delete(MAC, "v", namespace=ns),
    ),
}

UNDONE = [
    "veth",
    "veth, peer elsewhere",
    "bridge",
    "rename",
    "address",
    "IPv6 address",
    "default route",
    "route",
    "table",
    "prohibit",
    "replacing what is not there",
    "rule",
    "rule by all",
    "rule by mark",
    "neighbour",
    "FDB entry",
]


def soon_alike(one: Callable[[], object], other: Callable[[], object]) -> bool:
    """Return whether both say the same within two seconds: the kernel notes a carrier's coming and going later."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        if one() == other():
            return True
    assert one() == other()
    return True


def told(name: str) -> dict[str, object]:
    """Return what iproute2 says of a namespace, without timers and what a kernel counts."""
    tables = {}
    for question in (
        "ip -n {} -j -d link",
        "ip -n {} -j address",
        "ip -n {} -j route show table all",
        "ip -n {} -4 -j -d rule",
        "ip -n {} -6 -j -d rule",
        "ip -n {} -6 -j route",
        "ip -n {} -j neighbour",
        "bridge -n {} -j fdb",
        "bridge -n {} -j -d link",
    ):
        out = subprocess.run(question.format(name).split(), capture_output=True, text=True, check=True).stdout
        tables[question] = json.loads(out or "[]", object_hook=steady)
    return tables


def steady(record: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in record.items() if not key.endswith(("_timer", "lladdr_age"))}


@pytest.mark.parametrize("case", CASES)
def test_an_operation_does_what_its_command_does(case: str) -> None:
    prepare, verb = CASES[case]
    for name in ("left", "left-far", "right", "right-far"):
        namespace.add(name)
    for name in ("left", "right"):
        subprocess.run(["sh", "-c", prepare.format(ns=name)], check=True)

    operation = verb("left")
    subprocess.run(operation.command.replace("left", "right").split(), check=True)

    assert soon_alike(lambda: told("left"), lambda: told("right"))
    assert soon_alike(lambda: told("left-far"), lambda: told("right-far"))


@pytest.mark.parametrize("case", UNDONE)
def test_what_is_undone_leaves_nothing(case: str) -> None:
    prepare, verb = CASES[case]
    for name in ("left", "left-far"):
        namespace.add(name)
    subprocess.run(["sh", "-c", prepare.format(ns="left")], check=True)
    told("left"), told("left-far")  # the kernel has drawn the consequences of the carrier
    before = told("left"), told("left-far")

    undo = verb("left").undo
    assert undo is not None
    perform([undo])

    assert soon_alike(lambda: (told("left"), told("left-far")), lambda: before)


def test_a_verb_shows_the_command() -> None:
    assert repr(link.add_bridge("br0")) == "ip link add br0 type bridge"
    assert str(link.set_up("br0")) == "ip link set br0 up"
    assert link.delete.plan("eth0", namespace="red").command == "ip -n red link delete eth0"


def test_plan_changes_nothing() -> None:
    link.add_bridge.plan("br0")

    assert "br0" not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout


def test_deleting_what_is_gone_is_success() -> None:
    link.delete("gone")
    link.delete_group(4711)
    address.delete("10.0.0.1/24", "lo")
    route.delete("10.9.0.0/16")
    rule.delete(4711)
    neighbour.delete("10.0.0.1", "lo")
    namespace.delete("gone")


def test_deleting_what_went_with_its_link_is_success() -> None:
    address.delete("10.0.0.1/24", "gone")
    route.delete("10.9.0.0/16", dev="gone")
    neighbour.delete("10.0.0.1", "gone")
    fdb.delete("02:00:00:00:00:01", "gone")


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (
            lambda: link.set_mtu("lo", "15"),  # type: ignore[arg-type]
            (
                "failed to set 'lo' in namespace 'host': MTU '15' is out of range\n"
                "a veth or a bridge takes 68 to 65535 bytes"
            ),
        ),
        (
            lambda: route.add("10.9.0.0/16", dev="lo", metric=-1),
            "failed to add '10.9.0.0/16' in namespace 'host': metric -1 is out of range\na metric is 0 to 4294967295",
        ),
        (
            lambda: route.add("10.9.0.0/16", dev="lo", kind="prohibit"),
            (
                "failed to add '10.9.0.0/16' in namespace 'host': a route of type prohibit leads nowhere\n"
                "leave via and dev out"
            ),
        ),
        (
            lambda: route.replace("10.9.0.0/16", kind="drop"),
            (
                "failed to replace '10.9.0.0/16' in namespace 'host': no route is of type 'drop'\n"
                "types: unicast, blackhole, unreachable, prohibit"
            ),
        ),
        (
            lambda: rule.add(100, from_="10.0.0.1"),
            (
                "failed to add 'rule 100' in namespace 'host': it says neither a table nor an action\n"
                "as in table=100, or action='prohibit'"
            ),
        ),
        (
            lambda: rule.add(-1, table=100),
            "failed to add 'rule -1' in namespace 'host': priority -1 is out of range\na priority is 0 to 4294967295",
        ),
        (
            lambda: rule.add(100, from_="10.0.0.1/24", table=100),
            (
                "failed to add 'rule 100' in namespace 'host': from 10.0.0.1/24 has host bits set\n"
                "write it as 10.1.0.0/24, or as one address"
            ),
        ),
        (
            lambda: rule.add(100, from_="10.0.0.1", to="fd00::1", table=100),
            (
                "failed to add 'rule 100' in namespace 'host': 10.0.0.1 and fd00::1 are of two families\n"
                "a rule is for IPv4 or for IPv6"
            ),
        ),
        (
            lambda: rule.add(100, table="mine"),
            "failed to add 'rule 100' in namespace 'host': table 'mine' is out of range\na table is 1 to 4294967295",
        ),
        (
            lambda: rule.add(100, table=100, action="drop"),
            (
                "failed to add 'rule 100' in namespace 'host': its action is 'drop'\n"
                "a table to look up, or: blackhole, unreachable, prohibit"
            ),
        ),
    ],
)
def test_what_is_no_number_or_out_of_range_is_refused(refused: Callable[[], object], sentence: str) -> None:
    with pytest.raises(WrongUse) as refusal:
        refused()
    assert str(refusal.value) == sentence


def test_many_operations_travel_together() -> None:
    perform([link.add_bridge.plan(f"b{number}") for number in range(150)])

    assert len(json.loads(subprocess.check_output(["ip", "-j", "link"]))) == 151


def test_links_made_in_the_same_go_are_found_by_name() -> None:
    namespace.add("red")
    perform(
        [
            link.add_bridge.plan("b", namespace="red"),
            link.add_veth.plan("v", "p", namespace="red", master="b"),
            address.add.plan("10.0.0.1/24", "b", namespace="red"),
        ]
    )

    (port,) = json.loads(subprocess.check_output(["ip", "-n", "red", "-j", "link", "show", "v"]))
    assert port["master"] == "b"
