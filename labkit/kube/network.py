"""What is the network of a cluster before the first pod: the wire between the nodes, and each node's way to the others?

The underlay is a bridge on the host, 192.168.50.0/24, and the host is what lies outside the cluster. The pod network
`bridge` is what kindnet makes: a subnet of 10.244.0.0/16 a node, a route to each other node's subnet via that node, and
a chain that masquerades what leaves the cluster, and nothing else. What is on the node itself, a bridge and cables,
is the CNI plugin's.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from labkit.errors import WrongUse
from labkit.kube.cni import conflist as configurations
from labkit.kube.wire import FOLDER
from labkit.net import address, iptables, link, names, route, sysctl
from labkit.net.operation import Operation, perform

__all__ = [
    "CLUSTER",
    "CONFLISTS",
    "NETWORKS",
    "UNDERLAY",
    "Place",
    "binaries",
    "check",
    "commands",
    "conflist",
    "connect",
    "disconnect",
    "folder",
    "masquerade",
    "place",
    "raise_underlay",
    "remove_underlay",
    "routes",
    "sandbox",
]

UNDERLAY = "underlay"
WIRE = IPv4Network("192.168.50.0/24")
CLUSTER = IPv4Network("10.244.0.0/16")
NETWORKS = ("bridge",)
_OUT = [{"dst": "0.0.0.0/0"}]
CONFLISTS: dict[str, dict[str, Any]] = {
    "native": {
        "cniVersion": "1.1.0",
        "name": "pods",
        "plugins": [{"type": "labkit-bridge", "bridge": "cni0", "ipam": {"routes": _OUT}}],
    },
    "bridge": {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": {"type": "host-local", "routes": _OUT}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    },
}
_FORWARDS = ("net.ipv4.ip_forward", 1)
_MOST = 100  # nodes of a new cluster
_LAST = 200  # the highest number of a node: 192.168.50.210


@dataclass(frozen=True)
class Place:
    """A node's place in the network. `cidr`: the subnet of its pods."""

    name: str
    number: int
    cidr: IPv4Network

    @property
    def address(self) -> IPv4Address:
        """Its address on the underlay."""
        return WIRE[10 + self.number]

    @property
    def cable(self) -> str:
        """The name of its cable's other end, which is on the host."""
        return names.host_side(self.name) if len(self.name) > 15 else self.name


def place(name: str, others: Iterable[Place], cidr: str | None = None) -> Place:
    """Return a new node's place: the number in its name where that is free, else the lowest; 10.244.NUMBER.0/24.

    Raises WrongUse: the CIDR overlaps another, or is not in 10.244.0.0/16; no number is free."""
    what = f"failed to join node '{name}'"
    others = list(others)
    taken = {one.number for one in others}
    _, _, said = name.rpartition("-")
    free = [number for number in range(1, _LAST + 1) if number not in taken]
    if not free:
        raise WrongUse(f"{what}: the cluster is full", f"it has at most {_LAST} nodes")
    number = int(said) if said.isdecimal() and int(said) in free else free[0]
    wanted = _cidr(what, cidr) if cidr else CLUSTER[number << 8]
    subnet = wanted if isinstance(wanted, IPv4Network) else IPv4Network((wanted, 24))
    for other in others:
        if other.cidr.overlaps(subnet):
            if cidr is None:
                return place(name, others, _free_cidr(what, others))
            raise WrongUse(
                f"{what}: its pod CIDR {subnet} overlaps {other.cidr}, which is {other.name}'s",
                "each node has a subnet of its own, of 10.244.0.0/16",
            )
    return Place(name, number, subnet)


def _free_cidr(what: str, others: list[Place]) -> str:
    for subnet in CLUSTER.subnets(new_prefix=24):
        if not any(one.cidr.overlaps(subnet) for one in others):
            return str(subnet)
    raise WrongUse(f"{what}: no subnet of {CLUSTER} is free", "delete a node, or state smaller pod CIDRs")


def _cidr(what: str, text: str) -> IPv4Network:
    try:
        found = IPv4Network(text)
    except ValueError as error:
        raise WrongUse(f"{what}: its pod CIDR '{text}' is no subnet: {error}", "write it as 10.244.7.0/24") from error
    if not found.subnet_of(CLUSTER) or found.prefixlen > 29:
        raise WrongUse(f"{what}: its pod CIDR {found} is not usable", f"a subnet of {CLUSTER}, at most a /29 small")
    return found


def raise_underlay() -> None:
    """The wire between the nodes exists, and the host is on it with 192.168.50.1. Raises Duplicate."""
    perform(_underlay())


def _underlay() -> list[Operation]:
    return [
        link.add_bridge.plan(UNDERLAY, mac=names.mac(f"host/{UNDERLAY}")),
        address.add.plan(f"{WIRE[1]}/{WIRE.prefixlen}", UNDERLAY),
        link.set_up.plan(UNDERLAY),
    ]


def remove_underlay() -> None:
    """The wire is gone."""
    link.delete(UNDERLAY)


def connect(one: Place) -> None:
    """Plug a node, whose namespace exists, into the underlay; it forwards."""
    perform(_cable(one))
    sysctl.set(*_FORWARDS, namespace=one.name)


def _cable(one: Place) -> list[Operation]:
    return [
        link.add_veth.plan(one.cable, "eth0", peer_namespace=one.name, mac=names.mac(f"host/{one.cable}"),
                           peer_mac=names.mac(f"{one.name}/eth0"), master=UNDERLAY, up=True),
        address.add.plan(f"{one.address}/{WIRE.prefixlen}", "eth0", namespace=one.name),
        link.set_up.plan("eth0", namespace=one.name),
        route.add.plan("default", via=str(WIRE[1]), namespace=one.name),
        link.show.plan(one.cable),
        link.show.plan("eth0", namespace=one.name),
    ]  # fmt: skip


def disconnect(one: Place) -> None:
    """The node's cable is gone from the host, whatever has become of the node."""
    link.delete(one.cable)


def routes(at: Place, others: Iterable[Place]) -> list[Operation]:
    """Return how a node comes to the pods of the others: a route each, via the other node's address."""
    return [route.replace.plan(str(one.cidr), via=str(one.address), namespace=at.name) for one in others if one != at]


def masquerade() -> str:
    """Return the rules by which a node masquerades what leaves the cluster, and nothing else.

    The chain that kindnet makes, without its comments: what stays in the cluster returns before the last rule."""
    return "\n".join(
        (
            "*nat",
            ":KIND-MASQ-AGENT - [0:0]",
            "-A POSTROUTING -m addrtype ! --dst-type LOCAL -j KIND-MASQ-AGENT",
            f"-A KIND-MASQ-AGENT -d {CLUSTER} -j RETURN",
            "-A KIND-MASQ-AGENT -j MASQUERADE",
            "COMMIT",
        )
    )


def raise_masquerade(one: Place) -> None:
    """The rules of `masquerade` are in the node's table nat. Raises Refused, CommandNotInstalled."""
    iptables.apply(masquerade(), namespace=one.name, put_back=False)


def commands(one: Place, others: Iterable[Place]) -> list[str]:
    """Return the shell commands that make a node: its namespace, cable, routes and rules."""
    done = [*_cable(one), *routes(one, others)]
    lines = [operation.command for operation in done if operation.verb != "show"]
    forwards = sysctl.Setting(_FORWARDS[0], str(_FORWARDS[1]), one.name).command
    rules = f"ip netns exec {one.name} iptables-restore -w --noflush <<'END'\n{masquerade()}\nEND"
    return [*sandbox(one.name), *lines, forwards, rules]


def sandbox(name: str) -> list[str]:
    """Return the shell commands that make a namespace as a sandbox has it, but for the process that holds it."""
    return [f"ip netns add {name}", link.set_up.plan("lo", namespace=name).command]


def folder(node: str) -> str:
    """Return where a node keeps its CNI configuration: what /etc/cni/net.d is elsewhere."""
    return f"{FOLDER}/{node}/net.d"


def binaries(node: str) -> str:
    """Return where a node looks for CNI plugins first: what /opt/cni/bin is elsewhere."""
    return f"{FOLDER}/{node}/bin"


def conflist(given: str | dict[str, Any], one: Place) -> str:
    """Write the node's CNI configuration, with the node's subnet where IPAM states none; return its path.

    `given`: "native", "bridge", or a configuration list as a dictionary."""
    told = json.loads(json.dumps(CONFLISTS[given] if isinstance(given, str) else given))
    for plugin in told.get("plugins", []):
        ipam = plugin.get("ipam") if isinstance(plugin, dict) else None
        if isinstance(ipam, dict) and ipam.get("type", "host-local") == "host-local" and "ranges" not in ipam:
            ipam.setdefault("subnet", str(one.cidr))
    os.makedirs(folder(one.name), exist_ok=True)
    os.makedirs(binaries(one.name), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder(one.name)):
            os.unlink(os.path.join(folder(one.name), name))
    path = f"{folder(one.name)}/10-pods.conflist"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(told, file, indent=2)
    return path


def check(nodes: int, pod_network: str, cni: str | dict[str, Any]) -> None:
    """Raises WrongUse for a cluster that cannot be."""
    if not 1 <= nodes <= _MOST:
        raise WrongUse(f"failed to start a cluster of {nodes} nodes: not a usable number", f"1 to {_MOST}")
    if pod_network not in NETWORKS:
        raise WrongUse(f"failed to start a cluster with network '{pod_network}': there is none of that name",
                       f"networks: {', '.join(NETWORKS)}")  # fmt: skip
    if isinstance(cni, dict):
        configurations.parse(cni)
    elif cni not in CONFLISTS:
        raise WrongUse(f"failed to start a cluster with the CNI configuration '{cni}': there is none of that name",
                       f"{', '.join(CONFLISTS)}, or a configuration list")  # fmt: skip
