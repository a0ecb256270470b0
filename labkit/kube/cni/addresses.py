"""IPAM: which address does a container get, and who has which?

A file per address that is taken, named as the address, in dataDir/NETWORK; it says who has it: container, interface.
So host-local keeps them, and so its files can be read here. With a `type` in `ipam`, another plugin gives addresses.
Source: CNI specification 1.1.0, section 4; plugins/ipam/host-local of containernetworking/plugins.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from labkit.kube.cni.protocol import Fault, Request
from labkit.net import namespace as namespaces
from labkit.net.here import RUN

__all__ = ["allocate", "delegate", "delegated", "folder", "free", "held", "locked", "release", "subnet"]


def folder(request: Request) -> str:
    """Return where the network's addresses are kept."""
    return os.path.join(str(request.ipam.get("dataDir", f"{RUN}/cni/{request.node}/networks")), request.config["name"])


@contextmanager
def locked(request: Request) -> Iterator[None]:
    """One plugin at a time in the block, for this network: plugins are called at once for several containers.

    host-local locks the file `lock`, so it is another one here."""
    os.makedirs(folder(request), exist_ok=True)
    with open(os.path.join(folder(request), "lock.bridge"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def delegated(request: Request) -> bool:
    """Return whether another plugin gives the addresses."""
    return "type" in request.ipam


def allocate(request: Request, taken: dict[str, str]) -> dict[str, Any]:
    """An address is taken, the lowest that is free; returns `ips` and `routes`. Raises Fault.

    `taken`: what `held` says, to which this one is added."""
    if delegated(request):
        try:
            return delegate(request)
        except Fault:
            with suppress(Fault):
                delegate(request, "DEL")
            raise
    if request.key in taken.values():
        raise Fault(100, f"{request.container} has an address for {request.ifname} already")
    chosen = next(free(request, taken), None)
    if chosen is None:
        raise Fault(100, f"no address is free in {request.ipam['subnet']}")
    with open(os.path.join(folder(request), str(chosen)), "x", encoding="ascii", newline="") as file:
        file.write(request.key)
    taken[str(chosen)] = request.key
    within, gateway = subnet(request)
    given = [{"address": f"{chosen}/{within.prefixlen}", "gateway": str(gateway)}]
    return {"ips": given, "routes": request.ipam.get("routes")}


def release(request: Request) -> None:
    """What the container had is free. Nothing to free is success."""
    if delegated(request):
        delegate(request, "DEL")
        return
    for address, key in held(request).items():
        if key == request.key:
            os.unlink(os.path.join(folder(request), address))


def subnet(request: Request) -> tuple[IPv4Network, IPv4Address]:
    """Return the network's subnet, and the gateway's address, which is its first unless stated."""
    within = IPv4Network(request.ipam["subnet"])
    return within, IPv4Address(request.ipam.get("gateway", within[1]))


def free(request: Request, taken: dict[str, str]) -> Iterator[IPv4Address]:
    """Return the addresses that are not `taken`, from the lowest on: not the gateway's, nor the subnet's first and
    last."""
    within, gateway = subnet(request)
    return (one for one in within.hosts() if one != gateway and str(one) not in taken)


def held(request: Request) -> dict[str, str]:
    """Return each address that is taken, and who has it: "CONTAINER\\r\\nIFNAME"."""
    found = {}
    with suppress(FileNotFoundError):
        for name in os.listdir(folder(request)):
            if name[0].isdigit():
                with open(os.path.join(folder(request), name), encoding="ascii", newline="") as file:
                    found[name] = file.read()
    return found


def delegate(request: Request, command: str | None = None) -> dict[str, Any]:
    """Have the plugin `ipam.type` do its part: same variables, same standard input; return its result. Raises Fault."""
    environment = {**os.environ, **request.environment, **({"CNI_COMMAND": command} if command else {})}
    kind = request.ipam["type"]
    paths = [os.path.join(folder, kind) for folder in environment.get("CNI_PATH", "").split(":") if folder]
    found = next((path for path in paths if os.path.isfile(path)), None)
    if found is None:
        raise Fault(7, f"no plugin {kind} in CNI_PATH")
    stdin = json.dumps(request.config)
    done = namespaces.inside(
        request.node,
        lambda: subprocess.run([found], env=environment, input=stdin, text=True, stdout=subprocess.PIPE, check=False),
    )
    try:
        said = json.loads(done.stdout or "{}")
    except ValueError as error:
        raise Fault(6, f"{kind} printed what is not JSON", done.stdout) from error
    if done.returncode != 0:
        raise Fault(said.get("code", 100), f"{kind}: {said.get('msg', 'failed')}", said.get("details", ""))
    return dict(said)
