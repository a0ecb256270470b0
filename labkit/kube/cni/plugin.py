"""A CNI plugin: a container gets a cable to a bridge, an address on it, and a way out.

As an executable it is labkit/kube/cni/bin/labkit-bridge. Its configuration, all but `type` and the subnet optional:

    {"type": "labkit-bridge", "bridge": "cni0", "mtu": 1500,
     "ipam": {"subnet": "10.244.1.0/24", "gateway": "10.244.1.1", "routes": [{"dst": "0.0.0.0/0"}]}}

With a `type` in `ipam`, such as host-local, another plugin gives the addresses; else this one does.
Source: CNI specification 1.1.0; compare plugins/main/bridge of containernetworking/plugins.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, NamedTuple

from labkit.errors import Duplicate
from labkit.kube.cni import addresses
from labkit.kube.cni.protocol import Fault, Request, serve
from labkit.net import address, link, route, sysctl
from labkit.net import namespace as namespaces
from labkit.net.operation import Operation, Session, perform

__all__ = ["OPERATIONS", "add", "add_all", "check", "commands", "delete", "gc", "main", "status"]

_KNOWN = {"cniVersion", "name", "type", "bridge", "mtu", "ipam", "dns", "args", "runtimeConfig", "prevResult"}

_FORWARD = "net.ipv4.ip_forward"


def add(request: Request) -> dict[str, Any]:
    """ADD: the container's interface exists, with an address and routes; returns the result.

    Where a step fails, nothing of it stays, and what was raised goes on."""
    if request.ifname in _links(request.sandbox):
        raise Fault(100, f"{request.ifname} exists in the container already")
    return add_all([request])[0]


def add_all(requests: Sequence[Request], session: Session | None = None, ifindex: int = 0) -> list[dict[str, Any]]:
    """ADD for several containers of one network on one node, in their order: all are wired, or none.

    The kernel is asked in few messages. `session`: sockets that are open already; `ifindex`: of the next link in each
    sandbox, where that is known to be the same."""
    first = requests[0]
    done: list[Request] = []
    with addresses.locked(first):
        taken = addresses.held(first)
        try:
            wired = []
            for request in requests:
                given = addresses.allocate(request, taken)
                done.append(request)
                wired.append(_wiring(request, given, ifindex))
            _raise_bridge(first, wired[0].address, wired[0].gateway)
            if session is not None and ifindex:
                session.ifindexes.update({(request.sandbox, request.ifname): ifindex for request in requests})
            perform([operation for one in wired for operation in one.on_node[:1]], session)
            perform([operation for one in wired for operation in one.in_sandbox], session)
            perform([operation for one in wired for operation in one.on_node[1:]], session)
        except BaseException:
            for request in done:
                link.delete(_host_side(request), namespace=request.node)
                addresses.release(request)
            raise
    return [one.result for one in wired]


def commands(request: Request, result: dict[str, Any]) -> list[str]:
    """Return the shell commands that make what ADD made, `result` being its answer."""
    wired = _wiring(request, result, 0)
    done = [*_bridge_plan(request, wired.address, wired.gateway), *wired.on_node, *wired.in_sandbox]
    forwards = sysctl.Setting(_FORWARD, "1", request.node).command
    return [*(operation.command for operation in done if operation.verb != "show"), forwards]


class _Wiring(NamedTuple):
    """What makes one container's cable, and what ADD answers. The first operation on the node makes the cable."""

    address: IPv4Interface
    gateway: IPv4Address
    on_node: list[Operation]
    in_sandbox: list[Operation]
    result: dict[str, Any]


def _wiring(request: Request, given: dict[str, Any], ifindex: int) -> _Wiring:
    ip = IPv4Interface(given["ips"][0]["address"])
    gateway = IPv4Address(given["ips"][0].get("gateway", ip.network[1]))
    ways = given.get("routes") or [{"dst": "0.0.0.0/0"}]
    routes = [{"dst": way["dst"], "gw": way.get("gw", str(gateway))} for way in ways]
    here, there, sandbox = _host_side(request), request.ifname, request.sandbox
    cable = link.add_veth.plan(here, there, namespace=request.node, peer_namespace=sandbox, mac=_mac(ip.ip, 0x0E),
                               peer_mac=_mac(ip.ip), mtu=request.config.get("mtu"), master=_bridge(request), up=True,
                               peer_ifindex=ifindex)  # fmt: skip
    inside = [
        address.add.plan(str(ip), there, namespace=sandbox),
        link.set_up.plan(there, namespace=sandbox),
        *(route.add.plan(way["dst"], via=way["gw"], dev=there, namespace=sandbox) for way in routes),
    ]
    result = {
        "interfaces": [
            {"name": _bridge(request), "mac": _mac(gateway)},
            {"name": here, "mac": _mac(ip.ip, 0x0E)},
            {"name": there, "mac": _mac(ip.ip), "sandbox": request.netns},
        ],
        "ips": [{"address": str(ip), "gateway": str(gateway), "interface": 2}],
        "routes": routes,
        "dns": request.config.get("dns", {}),
    }
    carries = link.show.plan(here, namespace=request.node)  # now, not a second later
    return _Wiring(ip, gateway, [cable, carries], inside, result)


def _raise_bridge(request: Request, ip: IPv4Interface, gateway: IPv4Address) -> None:
    """The bridge is there and up, with the gateway's address, and the node forwards."""
    for operation in _bridge_plan(request, ip, gateway):
        with suppress(Duplicate):  # an earlier ADD made it
            perform([operation])
    sysctl.set(_FORWARD, 1, namespace=request.node)


def _bridge_plan(request: Request, ip: IPv4Interface, gateway: IPv4Address) -> list[Operation]:
    bridge, node = _bridge(request), request.node
    return [
        link.add_bridge.plan(bridge, namespace=node, mac=_mac(gateway)),
        address.add.plan(f"{gateway}/{ip.network.prefixlen}", bridge, namespace=node),
        link.set_up.plan(bridge, namespace=node),
    ]


def delete(request: Request) -> None:
    """DEL: the cable and the address are gone. It needs no sandbox, and it does not matter what is gone already."""
    with addresses.locked(request):
        link.delete(_host_side(request), namespace=request.node)
        addresses.release(request)


def check(request: Request) -> None:
    """CHECK: what `prevResult` says of this interface is so. Raises Fault for the first thing that is not."""
    prev = request.config.get("prevResult")
    if not isinstance(prev, dict):
        raise Fault(7, "CHECK needs prevResult")
    here, there = _links(request.node), _links(request.sandbox)
    for one in prev.get("interfaces", []):
        if one["name"] in (_bridge(request), _host_side(request), request.ifname):  # the others are other plugins'
            seen = (there if one.get("sandbox") else here).get(one["name"])
            if seen is None or "UP" not in seen["flags"]:
                raise Fault(100, f"{one['name']} is missing or down")
            if one.get("sandbox") and seen["address"] != one["mac"]:
                raise Fault(100, f"{one['name']} has another MAC than {one['mac']}")
    if here[_host_side(request)].get("master") != _bridge(request):
        raise Fault(100, f"{_host_side(request)} is not a port of {_bridge(request)}")
    has = [f"{one['local']}/{one['prefixlen']}" for one in there[request.ifname]["addr_info"]]
    ways = [one["dst"].replace("default", "0.0.0.0/0") for one in _ip(request.sandbox, "-4", "route", "show")]
    for missing in [one["address"] for one in prev.get("ips", []) if one["address"] not in has]:
        raise Fault(100, f"{request.ifname} does not have {missing}")
    for missing in [one["dst"] for one in prev.get("routes", []) if one["dst"] not in ways]:
        raise Fault(100, f"there is no route to {missing}")
    if addresses.delegated(request):
        addresses.delegate(request)
    elif request.key not in addresses.held(request).values():
        raise Fault(100, f"no address is reserved for {request.container}")


def gc(request: Request) -> None:
    """GC: every cable and address that is none of `cni.dev/valid-attachments` is gone."""
    valid = {f"{one['containerID']}\r\n{one['ifname']}" for one in request.config.get("cni.dev/valid-attachments", [])}
    with addresses.locked(request):
        for ip, key in addresses.held(request).items():
            if key not in valid:
                link.delete(_host_side(request, key), namespace=request.node)
                if not addresses.delegated(request):
                    os.unlink(os.path.join(addresses.folder(request), ip))
        if addresses.delegated(request):
            addresses.delegate(request)


def status(request: Request) -> None:
    """STATUS: an ADD would be served. Raises Fault 51 where containers that exist suffer too, else 50."""
    bridge = _links(request.node).get(_bridge(request))
    if bridge and "UP" not in bridge["flags"]:
        raise Fault(51, f"the bridge {_bridge(request)} is down")
    if addresses.delegated(request):
        addresses.delegate(request)
    elif next(addresses.free(request, addresses.held(request)), None) is None:
        raise Fault(50, f"no address is free in {request.ipam['subnet']}")


def _usable(config: dict[str, Any]) -> None:
    """Raises Fault for a configuration that this plugin cannot use."""
    for key in config:
        if key not in _KNOWN and not key.startswith("cni.dev/"):
            raise Fault(2, f"unsupported field {key}: {json.dumps(config[key])}")
    ipam = config.get("ipam", {})
    try:
        if "type" not in ipam:
            IPv4Network(ipam["subnet"])
    except (KeyError, TypeError, ValueError) as error:
        raise Fault(7, "ipam has neither a type nor a subnet such as 10.244.1.0/24", str(error)) from error


def _bridge(request: Request) -> str:
    return str(request.config.get("bridge", "cni0"))


def _host_side(request: Request, key: str = "") -> str:
    """The cable's name on the node. It follows from who it is for, so that DEL and GC find it."""
    whose = f"{request.config['name']} {key or request.key}"
    return f"veth{hashlib.sha256(whose.encode()).hexdigest()[:8]}"


def _mac(ip: IPv4Address, first: int = 0x0A) -> str:
    """A MAC that follows from the address, so that what a neighbour remembers stays true: 0a:58:0a:f4:01:02."""
    return bytes([first, 0x58, *ip.packed]).hex(":")


def _links(namespace: str) -> dict[str, dict[str, Any]]:
    return {one["ifname"]: one for one in _ip(namespace, "address", "show")}


def _ip(namespace: str, *words: str) -> list[dict[str, Any]]:
    """Return what `ip -json` says in a namespace."""
    command = ["ip", "-json", *words]
    done = namespaces.inside(namespace, lambda: subprocess.run(command, capture_output=True, text=True, check=True))
    return [one for one in json.loads(done.stdout or "[]") if one]


OPERATIONS = {"ADD": add, "DEL": delete, "CHECK": check, "GC": gc, "STATUS": status}


def main() -> int:
    """Serve one request."""
    exit_status, said = serve(OPERATIONS, os.environ, sys.stdin.read(), _usable)
    if said:
        print(said)
    return exit_status


if __name__ == "__main__":
    sys.exit(main())
