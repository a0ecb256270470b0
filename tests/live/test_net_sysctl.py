"""A sysctl is set in one namespace, and sysctl(8) reads there what was written, and elsewhere what was there."""

from __future__ import annotations

import subprocess

import pytest

from labkit.errors import NotFound, Refused, WrongUse
from labkit.net import address, link, namespace, route, rule, sysctl
from labkit.packets import ping

pytestmark = pytest.mark.usefixtures("network")

FORWARD = "net.ipv4.ip_forward"


def read(name: str, key: str) -> str:
    return subprocess.check_output(["ip", "netns", "exec", name, "sysctl", "-n", key], text=True).strip()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (FORWARD, 1),
        ("net.ipv4.conf.all.rp_filter", "2"),
        ("net/ipv4/conf/lo/proxy_arp", True),
        ("net.ipv4.ip_local_port_range", "40000 50000"),
    ],
)
def test_a_sysctl_is_set_as_its_command_sets_it(key: str, value: object) -> None:
    for name in ("left", "right"):
        namespace.add(name)
    value = int(value) if isinstance(value, bool) else value

    setting = sysctl.set(key, value, namespace="left")
    command = setting.command.replace("left", "right")
    subprocess.run(["sh", "-c", command.replace(f"{key}={value}", f"'{key}={value}'")], check=True, capture_output=True)

    assert read("left", key) == read("right", key) == sysctl.get(key, namespace="right")
    assert read("left", key).split() == str(value).split()


def test_it_shows_the_command_and_changes_one_namespace_only() -> None:
    namespace.add("red")

    assert repr(sysctl.set(FORWARD, 1, namespace="red")) == f"ip netns exec red sysctl -w {FORWARD}=1"
    assert repr(sysctl.set(FORWARD, 0)) == f"sysctl -w {FORWARD}=0"
    assert (sysctl.get(FORWARD), sysctl.get(FORWARD, namespace="red")) == ("0", "1")


@pytest.mark.parametrize("key", ["kernel.hostname", "vm/swappiness", "net/../kernel/hostname", "net..ipv4", "network"])
def test_what_belongs_to_the_whole_computer_is_refused(key: str) -> None:
    with pytest.raises(WrongUse, match=rf"^failed to set '{key}' in namespace 'host': it is no setting of a network\n"):
        sysctl.set(key, "x")


def test_a_key_that_is_not_there_and_a_value_that_cannot_be_are_told_apart() -> None:
    with pytest.raises(NotFound) as missing:
        sysctl.set("net.ipv4.conf.eth7.rp_filter", 1)
    assert str(missing.value) == (
        "failed to set 'net.ipv4.conf.eth7.rp_filter' in namespace 'host': there is no such setting\n"
        "see those there with: sysctl -a -r ^net"
    )
    with pytest.raises(Refused) as refused:
        sysctl.set(FORWARD, "yes")
    assert str(refused.value) == (
        f"failed to set '{FORWARD}' in namespace 'host': invalid argument (value 'yes')\n"
        "kernel documentation: networking/ip-sysctl"
    )
    with pytest.raises(NotFound, match="no such namespace"):
        sysctl.get(FORWARD, namespace="nowhere")


def test_a_rule_leads_a_packet_to_its_table_until_it_is_deleted() -> None:
    """red's packets with the source 10.0.0.9, and no others, have a route to 10.9.0.1."""
    namespace.add("red")
    link.add_veth("v", "eth0", peer_namespace="red")
    link.set_up("v")
    link.set_up("eth0", namespace="red")
    for name, one in (("host", "10.0.0.1/24"), ("red", "10.0.0.2/24"), ("red", "10.0.0.9/24")):
        address.add(one, "v" if name == "host" else "eth0", namespace=name)
    link.set_up("lo")
    address.add("10.9.0.1/32", "lo")
    route.add("default", via="10.0.0.1", table=100, namespace="red")
    rule.add(100, from_="10.0.0.9", table=100, namespace="red")

    assert ping("red", "10.9.0.1", source="10.0.0.9").answered
    assert not ping("red", "10.9.0.1", source="10.0.0.2", timeout=0.2).answered

    rule.delete(100, namespace="red")
    assert not ping("red", "10.9.0.1", source="10.0.0.9", timeout=0.2).answered
