"""A CNI runtime: how does a container come to a network, and how does it leave?

It does what libcni does, the library in containerd, CRI-O and podman. Each plugin of a list is told the network's name,
the version, the result of the one before it, and of the container what it declares to want; the last result is kept
for CHECK and DEL. Source: CNI specification 1.1.0, section 3; libcni/api.go of containernetworking/cni.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from labkit.errors import LabkitError, WrongUse
from labkit.kube.cni import call as calling
from labkit.kube.cni.call import PATH, Call, PluginRefused
from labkit.kube.cni.conflist import NAME, Network
from labkit.kube.cni.versions import SINCE, SUPPORTED, as_version, at_least
from labkit.net import namespace as namespaces
from labkit.net.here import RUN, ensure_lab_machine

__all__ = ["FOLDER", "Attachment", "Runtime"]

FOLDER = f"{RUN}/cni"  # FOLDER/NODE/results and FOLDER/NODE/networks: on the lab machine's own /run, gone with it
_IFNAME = re.compile(r"[^\s/:]{1,15}")


@dataclass(frozen=True)
class Attachment:
    """One container on one network: what the plugins are told of it.

    `namespace`: the container's, by name, or a path; None when it is gone. `args`: for CNI_ARGS. `capability_args`: for
    those plugins that declare the capability, such as {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}."""

    container: str
    namespace: str | None = None
    ifname: str = "eth0"
    args: Mapping[str, str] = field(default_factory=dict)
    capability_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def netns(self) -> str:
        """The path of its namespace, "" where there is none: CNI_NETNS."""
        if self.namespace is None or self.namespace.startswith("/"):
            return self.namespace or ""
        return namespaces.path(self.namespace)


@dataclass
class Runtime:
    """The runtime of one node: the namespace in which its plugins run. `calls` has every call that it made, in order.

    `path`: the folders in which plugins are looked for. `timeout`: seconds for one call."""

    node: str = "host"
    path: Sequence[str] = PATH
    timeout: float = 30
    calls: list[Call] = field(default_factory=list, repr=False)

    # --- the operations on one container

    def add(self, network: Network, container: str, **attachment: Any) -> dict[str, Any]:
        """The container is on the network; returns the result: interfaces, addresses, routes.

        Further arguments as Attachment has them. After a failure every plugin has been asked to DEL, and the failure
        is raised: PluginRefused, NotFound, Unavailable, WrongUse."""
        one = _checked(Attachment(container, **attachment))
        if one.namespace is None:
            raise WrongUse(f"failed to ADD '{container}': no namespace is stated", "namespace='web'")
        if not one.namespace.startswith("/"):
            os.close(namespaces.open_namespace(one.namespace))
        if self._cached(network, one) is not None:
            raise WrongUse(
                f"failed to ADD '{container}' in namespace '{self.node}': {one.ifname} is on '{network.name}' already",
                "the specification forbids a second ADD without a DEL between",
            )
        result: Any = None
        try:
            for plugin in network.plugins:
                result = self._ask("ADD", network, plugin, one, result)
                if result is None:
                    raise PluginRefused(f"failed to ADD '{container}' in namespace '{self.node}': plugin "
                                        f"'{plugin['type']}' printed no result", "ADD ends in a result, or an error",
                                        0, self.calls[-1])  # fmt: skip
        except BaseException:
            self._undo(network, one)
            raise
        self.keep(network, one, result)
        return dict(result)

    def check(self, network: Network, container: str, **attachment: Any) -> None:
        """Every plugin finds the container as ADD left it. Raises PluginRefused, WrongUse (no ADD before, or 0.3.1).

        Where the configuration says `disableCheck`, nobody is asked."""
        one = _checked(Attachment(container, **attachment))
        if not at_least(network.version, SINCE["CHECK"]):
            raise WrongUse(
                f"failed to CHECK '{container}' in namespace '{self.node}': CNI {network.version} has no CHECK",
                "it came with 0.4.0",
            )
        if network.disable_check:
            return
        one, result = self.known(network, one)
        if result is None:
            raise WrongUse(f"failed to CHECK '{container}' in namespace '{self.node}': no ADD came before",
                           f"on '{network.name}': {', '.join(self.attached(network.name)) or 'nobody'}")  # fmt: skip
        for plugin in network.plugins:
            self._ask("CHECK", network, plugin, one, result)

    def delete(self, network: Network, container: str, **attachment: Any) -> None:
        """The container is off the network, the plugins asked in reverse. Deleting what is gone is success.

        Raises PluginRefused, NotFound, Unavailable; the result is then kept, for another try."""
        one, result = self.known(network, _checked(Attachment(container, **attachment)))
        if not at_least(network.version, "0.4.0"):
            result = None
        for plugin in reversed(network.plugins):
            self._ask("DEL", network, plugin, one, result)
        self.forget(network, one)

    # --- the operations on a network

    def gc(self, network: Network, valid: Iterable[tuple[str, str]]) -> None:
        """What plugins hold for anybody but `valid`, pairs (container, ifname), is freed.

        Cached attachments that are not valid are deleted; then, from 1.1.0 on, every plugin is told who is valid. All
        are asked; raises the first that failed. `disableGC`: nothing happens."""
        if network.disable_gc:
            return
        still = set(valid)
        failures: list[LabkitError] = []
        for one in self.attachments(network.name):
            if (one.container, one.ifname) not in still:
                with _collected(failures):
                    self.delete(network, one.container, ifname=one.ifname)
        if at_least(network.version, SINCE["GC"]):
            told = [{"containerID": container, "ifname": ifname} for container, ifname in sorted(still)]
            for plugin in network.plugins:
                with _collected(failures):  # libcni writes the second key too, which it had by mistake
                    keys = {"cni.dev/valid-attachments": told, "cni.dev/attachments": told}
                    self._ask("GC", network, plugin | keys)
        if failures:
            raise failures[0]

    def status(self, network: Network) -> None:
        """Every plugin could serve an ADD now. Raises PluginRefused, code 50 or 51. Before 1.1.0 nobody is asked."""
        if at_least(network.version, SINCE["STATUS"]):
            for plugin in network.plugins:
                self._ask("STATUS", network, plugin)

    def versions(self, kind: str) -> tuple[str, ...]:
        """Return the versions that a plugin speaks: VERSION. Raises PluginRefused, NotFound."""
        call = self.call(kind, {"CNI_COMMAND": "VERSION"}, json.dumps({"cniVersion": SUPPORTED[-1]}))
        answer = calling.result_of(call)
        spoken = answer.get("supportedVersions") if answer else None
        if not isinstance(spoken, list) or not all(isinstance(one, str) for one in spoken):
            raise PluginRefused(f"failed to ask plugin '{kind}' for its versions: no list supportedVersions",
                                "VERSION prints {\"cniVersion\": ..., \"supportedVersions\": [...]}",
                                0, self.calls[-1])  # fmt: skip
        return tuple(spoken)

    def validate(self, network: Network) -> None:
        """Every plugin of the list, and every plugin that does its IPAM, is there and speaks the network's version.

        Raises NotFound, Unavailable, WrongUse."""
        for plugin in network.plugins:
            delegate = plugin.get("ipam", {}).get("type")
            for kind in (plugin["type"], *([delegate] if delegate else [])):
                spoken = self.versions(kind)
                if network.version not in spoken:
                    raise WrongUse(f"failed to use network '{network.name}': plugin '{kind}' does not speak "
                                   f"CNI {network.version}", f"it speaks {', '.join(spoken)}")  # fmt: skip

    def attached(self, network: str) -> list[str]:
        """Return the containers that are on a network by this runtime, sorted."""
        return sorted({one.container for one in self.attachments(network)})

    # --- one call

    def _ask(
        self, operation: str, network: Network, plugin: dict[str, Any], one: Attachment | None = None, prev: Any = None
    ) -> Any:
        one = one or Attachment("", ifname="")
        given = self.configuration(network, plugin, one, prev)
        return calling.result_of(
            self.call(plugin["type"], self.environment(operation, one), json.dumps(given, indent=2))
        )

    def configuration(
        self, network: Network, plugin: dict[str, Any], one: Attachment, prev: Any = None
    ) -> dict[str, Any]:
        """Return what one plugin reads: its configuration, and what the runtime adds."""
        given = {"cniVersion": network.version, "name": network.name, **plugin}
        wanted = [name for name, on in given.pop("capabilities", {}).items() if on]
        if told := {name: one.capability_args[name] for name in wanted if name in one.capability_args}:
            given["runtimeConfig"] = told
        ipam = given.get("ipam", {})
        if ipam.get("type") == "host-local" and "dataDir" not in ipam:
            given["ipam"] = {**ipam, "dataDir": self.data_dir}
        if prev is not None:
            given["prevResult"] = as_version(prev, network.version)
        return given

    def environment(self, operation: str, one: Attachment) -> dict[str, str]:
        """Return the variables that a plugin is told."""
        return {
            "CNI_COMMAND": operation,
            "CNI_CONTAINERID": one.container,
            "CNI_NETNS": one.netns,
            "CNI_IFNAME": one.ifname,
            "CNI_ARGS": ";".join(f"{name}={value}" for name, value in one.args.items()),
            "CNI_PATH": ":".join(self.path),
        }

    def call(self, kind: str, environment: Mapping[str, str], stdin: str) -> Call:
        """Call the plugin `kind` and return what became of it, whatever that is. Raises NotFound, Unavailable."""
        ensure_lab_machine(f"call plugin '{kind}'")
        found = calling.find(kind, self.path)
        self.calls.append(calling.execute(found, environment, stdin, node=self.node, timeout=self.timeout))
        return self.calls[-1]

    def _undo(self, network: Network, one: Attachment) -> None:
        for plugin in reversed(network.plugins):
            with suppress(LabkitError):
                self._ask("DEL", network, plugin, one)

    # --- what is kept: a file an attachment, as libcni writes it

    @property
    def data_dir(self) -> str:
        """Where host-local keeps this node's addresses, unless the configuration says where."""
        return f"{FOLDER}/{self.node}/networks"

    def _file(self, network: str, one: Attachment) -> str:
        return f"{FOLDER}/{self.node}/results/{network}-{one.container}-{one.ifname}"

    def keep(self, network: Network, one: Attachment, result: dict[str, Any]) -> None:
        """The result of ADD is kept, as libcni keeps it, for CHECK and DEL."""
        path = self._file(network.name, one)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        kept = {
            "kind": "cniCacheV1",
            "containerId": one.container,
            "config": base64.b64encode(json.dumps(network.source).encode()).decode(),
            "ifName": one.ifname,
            "networkName": network.name,
            "netns": one.netns,
            "cniArgs": [list(pair) for pair in one.args.items()],
            "capabilityArgs": dict(one.capability_args),
            "result": result,
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(kept, file, indent=2)

    def forget(self, network: Network, one: Attachment) -> None:
        """Nothing is kept of the attachment."""
        with suppress(FileNotFoundError):
            os.unlink(self._file(network.name, one))

    def _cached(self, network: Network, one: Attachment) -> dict[str, Any] | None:
        with suppress(OSError, ValueError), open(self._file(network.name, one), encoding="utf-8") as file:
            kept = json.load(file)
            return kept if kept.get("kind") == "cniCacheV1" else None
        return None

    def known(self, network: Network, one: Attachment) -> tuple[Attachment, Any]:
        """Return the attachment, completed by what ADD was told, and ADD's result, or None."""
        kept = self._cached(network, one)
        if kept is None:
            return one, None
        namespace = one.namespace or kept["netns"] or None
        args = one.args or dict(kept["cniArgs"])
        return Attachment(one.container, namespace, one.ifname, args, kept["capabilityArgs"]), kept["result"]

    def attachments(self, network: str) -> list[Attachment]:
        """Return who is on a network by this runtime: container and interface, of each result that is kept."""
        found = []
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(f"{FOLDER}/{self.node}/results")):
                with (
                    suppress(OSError, ValueError, KeyError),
                    open(f"{FOLDER}/{self.node}/results/{name}", encoding="utf-8") as file,
                ):
                    kept = json.load(file)
                    if kept["networkName"] == network:
                        found.append(Attachment(kept["containerId"], ifname=kept["ifName"]))
        return found


@contextmanager
def _collected(failures: list[LabkitError]) -> Iterator[None]:
    """Within the block, a labkit error is put aside."""
    try:
        yield
    except LabkitError as error:
        failures.append(error)


def _checked(one: Attachment) -> Attachment:
    what = f"failed to name container {one.container!r}"
    if not NAME.fullmatch(one.container):
        raise WrongUse(what, "a letter or digit, then letters, digits, '_', '.' and '-'")
    if not _IFNAME.fullmatch(one.ifname) or one.ifname in (".", ".."):
        raise WrongUse(f"failed to name interface {one.ifname!r} of container '{one.container}'",
                       "1 to 15 characters, without '/', ':' and spaces")  # fmt: skip
    return one
