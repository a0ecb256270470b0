"""What is there after Docker, or the model, has made a scenario: lines of text that can be compared.

Names that are drawn by lot are replaced: br-0123456789ab is `br-red`, the bridge of network red; vethf381b4b is
`veth-web-eth0`, the host side of web's eth0; a port of the embedded DNS server is PORT. So are the MACs of bridges and
of host sides, which are left out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from labkit.lab.run import run
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine
from labkit.state.read import snapshot
from labkit.state.records import Link
from labkit.state.snapshot import NamespaceState, Snapshot

__all__ = ["KINDS", "Tables", "read"]

Tables = dict[str, dict[str, list[str]]]  # place ("host", "web") -> kind -> lines

KINDS = ("namespace", "link", "address", "route", "sysctl", "socket", "filter", "nat")
_HOST_SYSCTLS = ("net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables")
_BRIDGE_SYSCTLS = ("net.ipv4.conf.{}.route_localnet", "net.ipv6.conf.{}.accept_ra")
_CONTAINER_SYSCTLS = (
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv6.conf.all.disable_ipv6",
    "net.ipv6.conf.default.disable_ipv6",
)
_NO_GROUP = {"65534 65534": "1 0"}  # ping_group_range, the usual empty one, seen by a user whose machine has one group
_OWN_PORT = re.compile(r" 127\.0\.0\.1:(?:3[3-9]\d\d\d|[4-6]\d\d\d\d)$")
_PATIENCE = 5.0  # seconds, for what the kernel does up to one second later
_DNS_PORT = re.compile(r"(127\.0\.0\.11:|--sport )\d+")


def read(host: str, containers: Mapping[str, str], bridges: Mapping[str, str], besides: Iterable[str] = ()) -> Tables:
    """Return the tables of a host and its containers.

    `host`: the namespace that plays the host. `containers`: a container's name -> its namespace. `bridges`: a
    network's name -> the name of its bridge. `besides`: links of the host that are left out."""
    ensure_lab_machine("read what Docker made")
    there = _settled(*dict.fromkeys([host, *containers.values()]))
    places = {"host": host, **containers}
    names = {bridge: f"br-{network}" for network, bridge in bridges.items() if bridge != "docker0"}
    names |= _host_sides(there, places)
    tables: Tables = {}
    for place, namespace in places.items():
        shared = next((other for other in tables if there[places[other]].inode == there[namespace].inode), None)
        if shared:
            tables[place] = {"namespace": [f"that of {shared}"]}
        else:
            tables[place] = _place(there[namespace], namespace, names, host=place == "host")
    for link in besides:
        for kind in ("link", "address", "route"):
            tables["host"][kind] = [line for line in tables["host"][kind] if link not in line.split()]
    return tables


def _settled(*names: str) -> Snapshot:
    """Return a snapshot in which each route says of its link's carrier what the link says.

    Linux 6.1 marks routes `linkdown` up to a second after the carrier went (net/core/link_watch.c), whoever asks."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        there = snapshot(*names)
        if all(_agrees(there[name]) for name in names) or time.monotonic() > deadline:
            return there
        time.sleep(0.02)


def _agrees(state: NamespaceState) -> bool:
    carries = {link.ifname: link.has_carrier for link in state.links}
    routes = [route for route in state.routes if route.table == "main" and route.dev in carries]
    return all(carries[str(route.dev)] != ("linkdown" in route.flags) for route in routes)


def _host_sides(there: Snapshot, places: Mapping[str, str]) -> dict[str, str]:
    """Return what the links of the host are called whose other end is in a container."""
    owner = {there[namespace].name: place for place, namespace in reversed(list(places.items()))}
    return {
        link.ifname: f"veth-{owner[link.peer[0]]}-{link.peer[1]}"
        for link in there[places["host"]].links
        if link.peer and owner.get(link.peer[0], "host") != "host"
    }


def _place(state: NamespaceState, namespace: str, names: Mapping[str, str], *, host: bool) -> dict[str, list[str]]:
    links = [link for link in state.links if not link.is_fallback]
    lines = {
        "namespace": ["its own"],
        "link": sorted(_link(link, host=host) for link in links),
        "address": sorted(
            f"{address.text} brd {address.broadcast or 'none'} scope {address.scope} dev {address.ifname}"
            for address in state.addresses
        ),
        "route": sorted(
            route.text for route in state.routes if route.table == "main" and "multicast" not in route.type
        ),
        "sysctl": _sysctls(namespace, _HOST_SYSCTLS if host else _CONTAINER_SYSCTLS)
        + [line for link in links if link.kind == "bridge" for line in _sysctls(namespace, _of_bridge(link.ifname))],
        "socket": _sockets(namespace),
        "filter": _rules(namespace, "filter"),
        "nat": _rules(namespace, "nat"),
    }
    return {kind: _named(kind, lines[kind], names) for kind in KINDS}


def _link(link: Link, *, host: bool) -> str:
    words = [link.ifname, link.state, link.kind, f"mtu {link.mtu}"]
    words += [] if host or not link.kind else [link.address]
    words += [f"master {link.master}"] if link.master else []
    words += ["hairpin"] if link.port.get("hairpin") else []
    return " ".join(word for word in words if word)


def _of_bridge(bridge: str) -> tuple[str, ...]:
    return tuple(key.format(bridge.replace(".", "/")) for key in _BRIDGE_SYSCTLS)


def _sysctls(namespace: str, keys: tuple[str, ...]) -> list[str]:
    """Return "key = value" for those that this kernel has; each is read in a thread inside the namespace."""

    def work() -> list[str]:
        found = []
        for key in keys:
            with suppress(OSError), open(f"/proc/sys/{key.replace('.', '/')}", encoding="ascii") as file:
                value = " ".join(file.read().split())
                found.append(f"{key} = {_NO_GROUP.get(value, value)}")
        return found

    return namespaces.inside(namespace, work)


def _sockets(namespace: str) -> list[str]:
    """Return what listens: "tcp 0.0.0.0:8080"; but for programs that talk to themselves, on 127.0.0.1 and a port that
    the kernel chose, as a notebook's kernel does."""
    told = run(namespace, ["ss", "-H", "-l", "-t", "-u", "-n"]).stdout
    found = sorted(f"{words[0]} {words[4]}" for line in told.splitlines() if (words := line.split()))
    return [line for line in found if not _OWN_PORT.search(line)]


def _rules(namespace: str, table: str) -> list[str]:
    """Return the rules of an iptables table as iptables-save writes them, without counters, chains by name.

    A table that nobody used has none: neither rules nor policies."""
    chains: dict[str, list[str]] = {}
    for line in run(namespace, ["iptables-save", "-t", table]).stdout.splitlines():
        if line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            chains[chain] = [f"-P {chain} {policy}" if policy != "-" else f"-N {chain}"]
        elif line.startswith("-A "):
            chains[line.split()[1]].append(line)
    used = any(len(lines) > 1 or lines[0].startswith("-N") or "DROP" in lines[0] for lines in chains.values())
    return [line for chain in sorted(chains) for line in chains[chain]] if used else []


def _named(kind: str, lines: list[str], names: Mapping[str, str]) -> list[str]:
    """Return the lines with names in place of those drawn by lot."""
    if names:
        pattern = re.compile("|".join(rf"(?<![\w-]){re.escape(name)}(?![\w-])" for name in names))
        lines = [pattern.sub(lambda found: names[found[0]], line) for line in lines]
    lines = [_DNS_PORT.sub(r"\1PORT", line) for line in lines] if kind in ("nat", "socket") else lines
    return lines if kind in ("filter", "nat", "sysctl") else sorted(lines)
