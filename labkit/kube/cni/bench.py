"""A test bench for one plugin: a node and containers of its own, and what stands on them.

Every case has a fresh one, so that no case sees what another left.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any, Self

from labkit.errors import Unavailable, WrongUse
from labkit.kube.cni.call import PATH, Call, result_of
from labkit.kube.cni.conflist import Network, parse
from labkit.kube.cni.runtime import FOLDER, Attachment, Runtime
from labkit.kube.cni.versions import SUPPORTED
from labkit.net import link
from labkit.net import namespace as namespaces
from labkit.net.here import on_user_mode_linux

__all__ = ["BIN", "Bench", "Subject", "network_for"]

BIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin")  # our own plugin
UPLINK = "up0"  # the node's own interface, for plugins that need one
_OURS = {"bridge": "cni0", "ipam": {"subnet": "10.88.0.0/24"}}  # for a plugin that nobody knows
_GIVEN = {"type": "host-local", "subnet": "10.88.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
_BASE = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": _GIVEN}
_KNOWN: dict[str, tuple[dict[str, Any], ...]] = {  # what the plugins that everybody has are tried with
    "bridge": ({"bridge": "cni0", "isGateway": True, "ipMasq": True, "ipam": _GIVEN},),
    "ptp": ({"ipMasq": True, "ipam": _GIVEN},),
    "macvlan": ({"master": UPLINK, "ipam": _GIVEN},),
    "ipvlan": ({"master": UPLINK, "ipam": _GIVEN},),
    "loopback": ({},),
    "host-local": ({"ipam": _GIVEN},),
    "portmap": (_BASE, {"capabilities": {"portMappings": True}}),
    "firewall": (_BASE, {}),
    "tuning": (_BASE, {"sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}),
    "bandwidth": (_BASE, {"ingressRate": 1000000, "ingressBurst": 1000000}),
}
_CAPABILITY_ARGS = {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}
_STATE = (
    "ip -o link | sed 's/^[0-9]*: //; s/[@:].*//'; ip -o -4 address | awk '$2 != \"lo\" {print $2, $4}'; "
    "ip -4 route | sed 's/ linkdown//'; "
    "iptables-save 2>/dev/null | grep -- ^-A; tc qdisc | grep -v noqueue"
)


def _patience() -> float:
    """Seconds for one call. User-Mode Linux has one processor, and starts six plugins at once in five times as long."""
    return 50 if on_user_mode_linux() else 10


def network_for(kind: str, version: str, plugins: list[dict[str, Any]] | None = None) -> Network:
    """Return the configuration that `kind` is tried with: `plugins`, or else one that suits it."""
    if plugins is None:
        *before, last = _KNOWN.get(kind, (_OURS,))
        plugins = [*before, {"type": kind, **last}]
    return parse({"cniVersion": version, "name": "conformance", "plugins": plugins})


@dataclass(frozen=True)
class Subject:
    """The plugin under test: its file, the versions it claims, and what it is configured with."""

    path: str
    versions: tuple[str, ...]
    network: Network

    @property
    def kind(self) -> str:
        """Its type."""
        return os.path.basename(self.path)

    @property
    def plugin(self) -> dict[str, Any]:
        """Its own part of the configuration."""
        return self.network.plugins[self.place]

    @property
    def place(self) -> int:
        """Which of the list it is, from 0 on."""
        return self.network.types.index(self.kind)

    @property
    def chained(self) -> bool:
        """Whether others come before it: it changes an interface, instead of making one."""
        return self.place > 0

    @property
    def only_ipam(self) -> bool:
        """Whether it gives addresses and makes no interface."""
        return bool(self.plugin.get("ipam", {}).get("type") == self.kind)

    @classmethod
    def of(cls, path: str, configuration: Network | None = None) -> Subject:
        """Return the plugin at `path`, which was asked for its versions. Raises PluginRefused, NotFound, WrongUse."""
        path = os.path.abspath(path)
        runtime = Runtime(path=(os.path.dirname(path), *PATH, BIN), timeout=_patience())
        spoken = runtime.versions(os.path.basename(path))
        plugins = list(configuration.plugins) if configuration else None
        network = network_for(os.path.basename(path), SUPPORTED[-1], plugins)
        if os.path.basename(path) not in network.types:
            raise WrongUse(
                f"failed to test plugin '{os.path.basename(path)}': it is not in the configuration",
                f"types there: {', '.join(network.types)}",
            )
        common = set(spoken)
        for plugin in network.plugins:
            for kind in (plugin["type"], plugin.get("ipam", {}).get("type")):
                common &= set(runtime.versions(kind)) if kind else common
        if not any(version in common for version in SUPPORTED):
            raise WrongUse(
                f"failed to test plugin '{os.path.basename(path)}': no version that labkit speaks",
                f"it speaks {', '.join(spoken)}; labkit {', '.join(SUPPORTED)}",
            )
        usable = tuple(version for version in SUPPORTED if version in common)
        return cls(path, spoken, network_for(os.path.basename(path), usable[-1], plugins))


def _links() -> str:
    with open("/proc/thread-self/net/dev", encoding="ascii", errors="replace") as file:
        return file.read()


@dataclass
class Bench:
    """A node with a plugin on it, within `with`; afterwards nothing of it is left."""

    subject: Subject
    network: Network

    @property
    def node(self) -> str:
        """The node's namespace."""
        return f"cni-test-{self.subject.kind}"

    def sandbox(self, container: str) -> str:
        """Return the namespace of a container."""
        return f"{self.node}-{container}"

    def __enter__(self) -> Self:
        self._clear()
        namespaces.add(self.node)
        link.add_veth(UPLINK, "far", namespace=self.node, up=True)
        link.set_up("far", namespace=self.node)
        path = (os.path.dirname(self.subject.path), *PATH, BIN)
        self.runtime = Runtime(self.node, path, timeout=_patience())
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def _clear(self) -> None:
        for name in namespaces.names():
            if name == self.node or name.startswith(f"{self.node}-"):
                namespaces.delete(name)
        shutil.rmtree(f"{FOLDER}/{self.node}", ignore_errors=True)

    def container(self, name: str) -> Attachment:
        """Return a container's attachment; its namespace exists."""
        sandbox = self.sandbox(name)
        if sandbox not in namespaces.names():
            namespaces.add(sandbox)
        ifname = "lo" if self.subject.kind == "loopback" else "eth0"
        return Attachment(name, sandbox, ifname, capability_args=_CAPABILITY_ARGS)

    def destroy(self, container: str) -> None:
        """A container's namespace is gone, and all in it: the kernel frees it some time after its last user left.

        All links of a namespace go together, so a cable laid for the purpose tells when."""
        link.add_veth("probe", "probe", namespace=self.node, peer_namespace=self.sandbox(container))
        namespaces.delete(self.sandbox(container))
        deadline = time.monotonic() + 10
        while "probe:" in namespaces.inside(self.node, _links):
            if time.monotonic() > deadline:
                raise Unavailable(f"failed to delete namespace '{self.sandbox(container)}': something keeps it")
            time.sleep(0.002)

    def call(
        self,
        operation: str,
        one: Attachment | None = None,
        prev: Any = None,
        *,
        without: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        stdin: str | None = None,
        keys: Mapping[str, Any] | None = None,
    ) -> Call:
        """Call the plugin under test. `without`: variables that are not told; `keys`: of its configuration."""
        one = one or Attachment("", ifname="")
        told = {**self.runtime.environment(operation, one), **(environment or {})}
        told = {name: value for name, value in told.items() if name not in without}
        given = {**self.runtime.configuration(self.network, self.subject.plugin, one, prev), **(keys or {})}
        return self.runtime.call(self.subject.kind, told, json.dumps(given) if stdin is None else stdin)

    def before(self, one: Attachment) -> Any:
        """The plugins before the one under test have done their ADD; returns their result, None if there are none."""
        result = None
        for plugin in self.network.plugins[: self.subject.place]:
            given = self.runtime.configuration(self.network, plugin, one, result)
            call = self.runtime.call(plugin["type"], self.runtime.environment("ADD", one), json.dumps(given))
            result = result_of(call)
        return result

    def add(self, one: Attachment) -> Any:
        """The container is on the network; returns the result. Raises PluginRefused."""
        return result_of(self.call("ADD", one, self.before(one)))

    def after(self, one: Attachment) -> None:
        """The plugins before the one under test have done their DEL."""
        for plugin in reversed(self.network.plugins[: self.subject.place]):
            given = self.runtime.configuration(self.network, plugin, one)
            self.runtime.call(plugin["type"], self.runtime.environment("DEL", one), json.dumps(given))

    def delete(self, one: Attachment, prev: Any = None) -> None:
        """The container is off the network. Raises PluginRefused."""
        result_of(self.call("DEL", one, prev))
        self.after(one)

    def reconfigure(self, **ipam: Any) -> None:
        """The plugin's `ipam` has these keys from now on."""
        plugins = list(self.network.plugins)
        plugins[self.subject.place] = {**self.subject.plugin, "ipam": {**self.subject.plugin["ipam"], **ipam}}
        self.network = network_for(self.subject.kind, self.network.version, plugins)
        self.subject = Subject(self.subject.path, self.subject.versions, self.network)

    def used(self) -> None:
        """A container came and went: what the first ADD makes for good, such as the bridge, is there."""
        one = self.container("first")
        self.delete(one, self.add(one))

    def state(self, *containers: str) -> list[str]:
        """Return what stands on the node and in `containers`: links, addresses, routes, rules, reserved addresses."""
        found = []
        for label, name in [("node", self.node), *((one, self.sandbox(one)) for one in containers)]:
            done = namespaces.inside(
                name, lambda: subprocess.run(["sh", "-c", _STATE], capture_output=True, text=True, check=False)
            )
            found += [f"{label}: {line.strip()}" for line in done.stdout.splitlines()]
        return sorted(found + [f"reserved: {address}" for address in self.reserved()])

    def reserved(self) -> list[str]:
        """Return the addresses that are kept for somebody."""
        folder = self.subject.plugin.get("ipam", {}).get("dataDir", self.runtime.data_dir)
        found = []
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(os.path.join(folder, self.network.name))):
                with suppress(ValueError):
                    found.append(str(IPv4Interface(name).ip))
        return found
