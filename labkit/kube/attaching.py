"""How does a node's kubelet have a pod wired: by executing the plugins of the node's configuration, or by our own
plugin's functions?

A configuration of nothing but `labkit-bridge` is served in this process, by the functions that the executable calls:
what it leaves in the kernel, in IPAM's files and in the cache is the same, without a Python that starts for each pod.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from labkit.errors import LabkitError, NotFound, Refused
from labkit.kube import network
from labkit.kube.cni import plugin
from labkit.kube.cni.call import PATH
from labkit.kube.cni.conflist import Network, load
from labkit.kube.cni.protocol import Fault, Request
from labkit.kube.cni.runtime import Attachment, Runtime
from labkit.kube.cni.versions import as_version
from labkit.net.operation import Session

__all__ = ["OWN", "Attaching"]

OWN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cni", "bin")  # where labkit-bridge lies


class Attaching:
    """The pod network of one node, as the kubelet there uses it."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.runtime = Runtime(node=node, path=(network.binaries(node), *PATH, OWN))

    def configuration(self) -> Network:
        """Return the node's network: of its folder the first configuration, as the runtimes have it.

        Raises NotFound, WrongUse. It is read anew each time, so that whoever edits it sees it used."""
        there = network.folder(self.node)
        found = sorted(os.listdir(there)) if os.path.isdir(there) else []
        lists = [name for name in found if name.endswith((".conflist", ".conf", ".json"))]
        if not lists:
            raise NotFound(
                f"failed to find the pod network of node '{self.node}': no configuration", f"looked in {there}"
            )
        return load(os.path.join(there, lists[0]))

    def add(
        self, pods: Sequence[Attachment], session: Session | None = None, ifindex: int = 0
    ) -> list[dict[str, Any] | LabkitError]:
        """The pods are on the network; return for each its result, or why it is not.

        `session`, `ifindex`: as plugin.add_all has them. Raises NotFound, WrongUse for the configuration."""
        found = self.configuration()
        if not _own(found):
            return [_or_error(lambda one=one: self._execute(found, one)) for one in pods]  # type: ignore[misc]
        try:
            return list(self._serve(found, pods, session, ifindex))
        except LabkitError as error:
            if len(pods) == 1:
                return [error]
            return [_or_error(lambda one=one: self._serve(found, [one])[0]) for one in pods]  # type: ignore[misc]

    def _execute(self, found: Network, one: Attachment) -> dict[str, Any]:
        told = {"args": one.args, "capability_args": one.capability_args}
        return self.runtime.add(found, one.container, namespace=one.namespace, **told)

    def _serve(
        self, found: Network, pods: Sequence[Attachment], session: Session | None = None, ifindex: int = 0
    ) -> list[dict[str, Any]]:
        asked = [self._request(found, one) for one in pods]
        with _told("ADD", self.node):
            done = plugin.add_all(asked, session, ifindex)
        results = [as_version(result, found.version) for result in done]
        for one, result in zip(pods, results, strict=True):
            self.runtime.keep(found, one, result)
        return results

    def delete(self, container: str) -> None:
        """The pod is off the network. Deleting what is gone is success. Raises what the runtime raises."""
        found = self.configuration()
        if not _own(found):
            self.runtime.delete(found, container)
            return
        one, _ = self.runtime.known(found, Attachment(container))
        with _told("DEL", self.node):
            plugin.delete(self._request(found, one))
        self.runtime.forget(found, one)

    def commands(self, container: str) -> list[str]:
        """Return the shell commands that wired a pod: what our plugin did, or the calls of those that were executed."""
        found = self.configuration()
        one, result = self.runtime.known(found, Attachment(container, container))
        if _own(found):
            return plugin.commands(self._request(found, one), result) if result else []
        calls = [call for call in self.runtime.calls if call.environment.get("CNI_CONTAINERID") == container]
        return [call.command for call in calls if call.operation == "ADD"]

    def gc(self) -> None:
        """Nothing is held for anybody: the node begins anew."""
        found = self.configuration()
        if not _own(found):
            self.runtime.gc(found, [])
            return
        with _told("GC", self.node):
            plugin.gc(self._request(found, Attachment("", ifname="")))
        for one in self.runtime.attachments(found.name):
            self.runtime.forget(found, one)

    def _request(self, found: Network, one: Attachment) -> Request:
        given = self.runtime.configuration(found, found.plugins[0], one)
        return Request(one.container, one.ifname, given, self.node, one.namespace or "", one.netns)


def _own(found: Network) -> bool:
    return found.types == ("labkit-bridge",) and "type" not in found.plugins[0].get("ipam", {})


def _or_error(work: Callable[[], dict[str, Any]]) -> dict[str, Any] | LabkitError:
    try:
        return work()
    except LabkitError as error:
        return error


@contextmanager
def _told(operation: str, node: str) -> Iterator[None]:
    """Our plugin's errors are raised as a runtime raises a plugin's."""
    try:
        yield
    except Fault as fault:
        raise Refused(
            f"failed to {operation} in namespace '{node}': plugin 'labkit-bridge': {fault}", f"code {fault.code}"
        ) from fault
