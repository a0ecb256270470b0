"""What a Snapshot says is what `ip -json` and `bridge -json` say, in a network that plain commands made."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from labkit.pytest_plugin import clear
from labkit.state import Snapshot, snapshot

NETWORK = """
for n in red blue router; do ip netns add $n; ip -n $n link set lo up; done
ip link add br0 type bridge ageing_time 12000
ip address add 10.0.0.1/24 dev br0
ip link set br0 up
for n in red blue; do
    ip link add veth-$n type veth peer name eth0 netns $n
    ip link set veth-$n master br0 up
    ip -n $n link set eth0 up
done
ip -n red address add 10.0.0.2/24 dev eth0
ip -n red address add 10.0.0.20/24 dev eth0
ip -n red address add 10.7.0.1 peer 10.7.0.2/32 dev eth0
ip -n blue address add 10.0.0.3/24 broadcast + dev eth0
ip netns exec red sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0
ip -n red address add fd00::2/64 dev eth0 nodad
ip link set veth-blue mtu 1400
bridge link set dev veth-red hairpin on isolated on learning off flood off
bridge fdb add 02:00:00:00:00:99 dev veth-red master static
bridge fdb add 02:00:00:00:00:98 dev br0 self local
ip -n red route add default via 10.0.0.1
ip -n red route add 10.1.0.0/16 via 10.0.0.3 metric 50 mtu 1300
ip -n red route add 10.2.0.0/16 nexthop via 10.0.0.1 weight 1 nexthop via 10.0.0.3 weight 3
ip -n red route add blackhole 10.3.0.0/16
ip -n red route add unreachable 10.4.0.0/16 metric 9
ip -n red route add 169.254.1.1 dev eth0 scope link
ip -n red route add 10.5.0.0/16 via 169.254.7.7 dev eth0 onlink proto bird
ip -n red route add default via 10.0.0.3 table 100
ip -n red route add 10.6.0.0/16 via inet6 fd00::9 dev eth0
ip -n red route add fd00:1::/64 via fd00::9
ip -n red rule add from 10.0.0.20 lookup 100 priority 1000
ip -n red rule add not fwmark 0x5/0xff to 10.9.0.0/16 iif eth0 lookup main priority 1001
ip -n red rule add from 10.8.0.0/16 blackhole priority 1002
ip -n red rule add ipproto tcp sport 7 dport 80-90 lookup 100 priority 1003
ip -n red rule add ipproto icmp unreachable priority 1004
ip -n red neighbour add 10.0.0.77 lladdr 02:00:00:00:00:77 dev eth0
ip -n red neighbour add fd00::77 lladdr 02:00:00:00:00:77 dev eth0
ip -n red neighbour add proxy 10.0.0.88 dev eth0
ip link add uplink type veth peer name eth0 netns router
ip link set uplink up
ip -n router link set eth0 name wan
ip -n router link set wan up
ip -n router link add vx42 type vxlan id 42 dstport 8472 local 10.0.0.1 nolearning dev wan
ip -n router link set vx42 up
bridge -n router fdb append 00:00:00:00:00:00 dev vx42 dst 192.0.2.7
bridge -n router fdb append 02:00:00:00:00:42 dev vx42 dst 192.0.2.8
ip -n router link add mv0 link wan type macvlan mode bridge
ip -n router link add v1 type veth peer name v2
ip -n router link add direct type veth peer name direct netns blue
ip netns exec router sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.wan.proxy_arp=1
ip netns exec blue ping -c 1 -W 1 10.0.0.1 >/dev/null
"""
NAMESPACES = ("host", "red", "blue", "router")


@pytest.fixture(scope="module")
def seen() -> Iterator[Snapshot]:
    clear()
    subprocess.run(["sh", "-ec", NETWORK], check=True)
    yield snapshot()
    clear()


def told(namespace: str, *command: str) -> list[dict[str, Any]]:
    within = [] if namespace == "host" else ["ip", "netns", "exec", namespace]
    program, *words = command
    done = subprocess.run([*within, program, "-d", "-json", *words], capture_output=True, text=True, check=True)
    return [entry for entry in json.loads(done.stdout or "[]") if entry]


def without_nothing(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value not in (None, [], (), "")}


def in_order(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(map(without_nothing, entries), key=lambda entry: json.dumps(entry, sort_keys=True))


def test_it_holds_every_namespace_host_first(seen: Snapshot) -> None:
    assert list(seen) == ["host", "blue", "red", "router"]


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_links(seen: Snapshot, namespace: str) -> None:
    keys = ("ifindex", "ifname", "mtu", "operstate", "link_type", "address", "master", "link_index", "link_netnsid")
    theirs = told(namespace, "ip", "link", "show")
    ours = [
        {key: getattr(link, key) for key in keys} | {"flags": sorted(link.flags), "kind": link.kind}
        for link in seen[namespace].links
    ]
    assert in_order(ours) == in_order(
        [
            {key: entry.get(key) for key in keys}
            | {
                "flags": sorted(set(entry["flags"]) - {"NO-CARRIER", "M-DOWN"}),
                "kind": entry.get("linkinfo", {}).get("info_kind"),
                "link_index": entry.get("link_index") or link_index(entry, theirs),
            }
            for entry in theirs
        ]
    )


def link_index(entry: dict[str, Any], links: list[dict[str, Any]]) -> int | None:
    """`ip` names the device below where it can, and gives its index elsewhere."""
    return next((other["ifindex"] for other in links if other["ifname"] == entry.get("link")), None)


def test_what_a_bridge_knows_of_its_ports(seen: Snapshot) -> None:
    for theirs in told("host", "ip", "link", "show", "master", "br0"):
        port = seen["host"].link(theirs["ifname"]).port
        data = theirs["linkinfo"]["info_slave_data"]
        assert port
        assert dict(port) == {key: data[key] for key in port}


def test_what_one_kind_of_link_alone_has(seen: Snapshot) -> None:
    for namespace in NAMESPACES:
        for theirs in told(namespace, "ip", "link", "show"):
            data = theirs.get("linkinfo", {}).get("info_data", {})
            details = seen[namespace].link(theirs["ifname"]).details
            assert dict(details) == {key: data.get(key, False) for key in details}  # `ip` leaves out some that are off
    assert dict(seen["router"].link("vx42").details).items() >= {"id": 42, "port": 8472, "learning": False}.items()


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_addresses(seen: Snapshot, namespace: str) -> None:
    theirs = [
        {"ifname": entry["ifname"]}
        | {key: info.get(key) for key in ("family", "local", "prefixlen", "scope", "broadcast")}
        | {"peer": info.get("address"), "secondary": info.get("secondary", False)}
        for entry in told(namespace, "ip", "address", "show")
        for info in entry["addr_info"]
    ]
    ours = [
        {
            "ifname": address.ifname,
            "family": address.family,
            "local": address.local,
            "prefixlen": address.prefixlen,
            "scope": address.scope,
            "broadcast": address.broadcast,
            "peer": address.peer,
            "secondary": "secondary" in address.flags,
        }
        for address in seen[namespace].addresses
    ]
    assert in_order(ours) == in_order(theirs)


@pytest.mark.parametrize("family", ["inet", "inet6"])
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_routes(seen: Snapshot, namespace: str, family: str) -> None:
    words = ("dst", "type", "gateway", "dev", "protocol", "prefsrc", "metric")
    theirs = [
        {key: entry.get(key) for key in words}
        | {
            "table": entry.get("table", "main"),
            "gateway": entry.get("gateway") or entry.get("via", {}).get("host"),
            "scope": entry.get("scope"),
            "flags": sorted(entry["flags"]),
            "mtu": next((metrics["mtu"] for metrics in entry.get("metrics", []) if "mtu" in metrics), None),
            "nexthops": [(hop.get("gateway"), hop.get("dev"), hop["weight"]) for hop in entry.get("nexthops", [])],
        }
        for entry in told(namespace, "ip", "-4" if family == "inet" else "-6", "route", "show", "table", "all")
    ]
    ours = [
        {key: getattr(route, key) for key in words}
        | {
            "table": route.table,
            "scope": route.scope,
            "flags": sorted(route.flags),
            "mtu": route.mtu,
            "nexthops": list(route.nexthops),
        }
        for route in seen[namespace].routes
        if route.family == family
    ]
    assert in_order(ours) == in_order(theirs)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_neighbours(seen: Snapshot, namespace: str) -> None:
    """Those of groups come and go as the kernel subscribes, so they are left out."""
    theirs = told(namespace, "ip", "neighbour", "show", "nud", "all") + [
        entry | {"flags": ["proxy"]} for entry in told(namespace, "ip", "neighbour", "show", "proxy")
    ]
    theirs = [entry for entry in theirs if not entry["dst"].startswith(("224.", "ff"))]
    ageing = {"REACHABLE", "STALE", "DELAY", "PROBE"}
    assert in_order(
        [
            {"dst": entry.dst, "dev": entry.dev, "lladdr": entry.lladdr, "proxy": "proxy" in entry.flags}
            | {"state": "learned" if entry.state in ageing else entry.state}
            for entry in seen[namespace].neighbours
            if not entry.dst.startswith(("224.", "ff"))
        ]
    ) == in_order(
        [
            {"dst": entry["dst"], "dev": entry["dev"], "lladdr": entry.get("lladdr"), "proxy": bool(entry.get("flags"))}
            | {"state": "learned" if set(entry.get("state", [])) & ageing else " ".join(entry.get("state", ["NONE"]))}
            for entry in theirs
        ]
    )


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_fdb(seen: Snapshot, namespace: str) -> None:
    keys = ("mac", "ifname", "state", "master", "dst", "vlan")
    theirs = told(namespace, "bridge", "fdb", "show")
    assert in_order(
        [{key: getattr(entry, key) for key in keys} | {"flags": sorted(entry.flags)} for entry in seen[namespace].fdb]
    ) == in_order([{key: entry.get(key) for key in keys} | {"flags": sorted(entry["flags"])} for entry in theirs])


@pytest.mark.parametrize("family", ["inet", "inet6"])
@pytest.mark.parametrize("namespace", NAMESPACES)
def test_rules(seen: Snapshot, namespace: str, family: str) -> None:
    command = ["ip", "-4" if family == "inet" else "-6", "rule", "show"]
    within = [] if namespace == "host" else ["ip", "netns", "exec", namespace]
    done = subprocess.run([*within, *command], capture_output=True, text=True, check=True)
    theirs = [" ".join(line.split(" proto ")[0].split()) for line in done.stdout.splitlines()]
    assert [rule.text for rule in seen[namespace].rules if rule.family == family] == theirs


def test_peers_are_found_across_namespaces(seen: Snapshot) -> None:
    peers = {(name, link.ifname): link.peer for name in seen for link in seen[name].links if link.kind == "veth"}
    assert peers == {
        ("host", "veth-red"): ("red", "eth0"),
        ("host", "veth-blue"): ("blue", "eth0"),
        ("host", "uplink"): ("router", "wan"),
        ("red", "eth0"): ("host", "veth-red"),
        ("blue", "eth0"): ("host", "veth-blue"),
        ("blue", "direct"): ("router", "direct"),
        ("router", "wan"): ("host", "uplink"),
        ("router", "direct"): ("blue", "direct"),
        ("router", "v1"): ("router", "v2"),
        ("router", "v2"): ("router", "v1"),
    }


def test_numbers_of_namespaces_are_those_that_ip_tells(seen: Snapshot) -> None:
    for name in NAMESPACES:
        listed = told(name, "ip", "netns", "list-id")
        named = {entry["nsid"]: entry.get("name") for entry in listed}
        for number, other in seen[name].nsids:
            assert named[number] in (other, None), f"{name}: {number}"


def test_sysctls_are_those_of_proc(seen: Snapshot) -> None:
    for name in NAMESPACES:
        within = [] if name == "host" else ["ip", "netns", "exec", name]
        for key, value in seen[name].sysctls.items():
            told_value = subprocess.run(
                [*within, "sysctl", "-n", key], capture_output=True, text=True, check=True
            ).stdout
            assert told_value.strip() == value, f"{name}: {key}"
    assert seen["router"].forwards
    assert seen["router"].link("wan").sysctls["proxy_arp"] == 1
    assert not seen["red"].forwards
