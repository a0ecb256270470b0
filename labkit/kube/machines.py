"""The nodes' machines: how does a node come into the cluster, and how does it leave, or fail?

A machine is a process that holds the node's namespaces, plugged into the underlay; the node's kubelet runs beside it,
in the controller. Of each node's machine Kubernetes knows nothing: it sees a Node whose kubelet reports, or does not.
"""

from __future__ import annotations

import copy
import shutil
import threading
from contextlib import suppress
from typing import Any

from labkit.errors import LabkitError
from labkit.kube import network
from labkit.kube.attaching import Attaching
from labkit.kube.cni.runtime import FOLDER as CNI
from labkit.kube.control import condition
from labkit.kube.kubelet import Kubelet
from labkit.kube.network import Place
from labkit.kube.processes.spawner import Spawner
from labkit.kube.store import Object, Store, now, owner
from labkit.kube.wire import FOLDER
from labkit.net import route
from labkit.net.operation import perform

__all__ = ["Machines"]

VERSION = "labkit"  # what the column VERSION of `kubectl get nodes` says


class Machines:
    """The nodes' machines and kubelets; `places`: where each node is in the network."""

    def __init__(self, store: Store, cni: str | dict[str, Any], processes: Spawner) -> None:
        self.places: dict[str, Place] = {}
        self._store, self._cni, self._processes = store, cni, processes
        self._kubelets: dict[str, Kubelet] = {}
        self._changing = threading.Lock()  # one change of the nodes at a time
        network.raise_underlay()
        threading.Thread(target=self._listen, name="exits", daemon=True).start()

    def join(self, names: list[str], like: Object | None = None) -> None:
        """Each node has a machine, and is ready. `like`: the Node as it is wanted, or as it was before it failed.

        Raises WrongUse (pod CIDR), Duplicate (a namespace or link is called so); then none of them is there."""
        with self._changing:
            new: list[Place] = []
            for name in names:
                cidr = like.get("spec", {}).get("podCIDR") if like else None
                new.append(self.places.get(name) or network.place(name, [*self.places.values(), *new], cidr))
            machines = self._processes.sandboxes([(one.name, one.name) for one in new])
            try:
                for place in new:
                    self._wire(place, [*self.places.values(), *new])
            except BaseException:
                self._processes.end_all(machines)
                for place in new:
                    network.disconnect(place)
                raise
            for place, machine in zip(new, machines, strict=True):
                self._begin(place, machine, like)

    def _begin(self, place: Place, machine: int, like: Object | None) -> None:
        self.places[place.name] = place
        kubelet = self._kubelets[place.name] = Kubelet(place.name, machine, self._store, self._processes)
        kubelet.network.gc()
        with self._store.together():
            for pod in self._store.pods_on(place.name):  # of before it failed
                if "deletionTimestamp" in pod["metadata"]:
                    self._store.remove(pod)
            self._store.put(_node(place, like))
        kubelet.start()

    def _wire(self, place: Place, all_places: list[Place]) -> None:
        """The node is on the underlay, knows the way to the others' pods, and they the way to its own."""
        network.connect(place)
        network.raise_masquerade(place)
        network.conflist(self._cni, place)
        perform(network.routes(place, all_places))
        for other in all_places:
            if other.name in self._kubelets and other.name != place.name:
                perform(network.routes(other, [place]))

    def commands(self, node: str) -> list[str]:
        """Return the shell commands that make a node's machine."""
        return network.commands(self.places[node], self.places.values())

    def attaching(self, node: str) -> Attaching | None:
        """Return the pod network of a node, None while the node has failed."""
        return self._kubelets[node].network if node in self._kubelets else None

    def fail(self, name: str) -> None:
        """The node's machine has lost its power. A Deployment's pods there are to be replaced."""
        with self._changing:
            self._power_off(name)
        with self._store.together():
            self._store.change("Node", name, "", lambda one: _say_ready(one, False))
            for pod in self._store.pods_on(name):
                data = pod["metadata"]
                self._store.change("Pod", data["name"], data["namespace"], _lost)

    def _power_off(self, name: str) -> None:
        kubelet = self._kubelets.pop(name, None)
        if kubelet is None:
            return
        kubelet.halt()
        self._processes.end_all([*kubelet.stop(), kubelet.machine])
        network.disconnect(self.places[name])

    def leave(self, name: str) -> None:
        """The node is gone, with its pods; the others have no route to them any more."""
        with self._changing:
            self._power_off(name)
            place = self.places.pop(name)
            for other in self._kubelets:
                with suppress(LabkitError):
                    route.delete(str(place.cidr), namespace=other)
            shutil.rmtree(f"{FOLDER}/{name}", ignore_errors=True)
            shutil.rmtree(f"{CNI}/{name}", ignore_errors=True)
        with self._store.together():
            for pod in self._store.pods_on(name):
                self._store.remove(pod)
            self._store.remove(self._store.get("Node", name))

    def take_down(self) -> None:
        """No node is left, and no process of one."""
        for kubelet in self._kubelets.values():
            kubelet.halt()
        for kubelet in self._kubelets.values():
            kubelet.stop()
        self._kubelets.clear()
        self._processes.close()
        network.remove_underlay()
        for name in self.places:
            shutil.rmtree(f"{FOLDER}/{name}", ignore_errors=True)
            shutil.rmtree(f"{CNI}/{name}", ignore_errors=True)

    def _listen(self) -> None:
        """Tell the kubelets which processes have ended by themselves."""
        while True:
            ended = self._processes.exits.get()
            for kubelet in list(self._kubelets.values()):
                kubelet.exited(ended.pid, ended.status)


def _node(place: Place, like: Object | None) -> Object:
    node: Object = copy.deepcopy(like or {"apiVersion": "v1", "kind": "Node", "metadata": {"name": place.name}})
    node["metadata"].setdefault("labels", {})["kubernetes.io/hostname"] = place.name
    node["spec"] = {**node.get("spec", {}), "podCIDR": str(place.cidr), "podCIDRs": [str(place.cidr)]}
    addresses = [("InternalIP", str(place.address)), ("Hostname", place.name)]
    node["status"] = {
        "addresses": [{"type": kind, "address": said} for kind, said in addresses],
        "nodeInfo": {"kubeletVersion": VERSION},
    }
    _say_ready(node, True)
    return node


def _say_ready(node: Object, is_ready: bool) -> None:
    reason, message = ("KubeletReady", "kubelet is posting ready status") if is_ready else \
        ("NodeStatusUnknown", "Kubelet stopped posting node status.")  # fmt: skip
    said = condition("Ready", is_ready, reason, message)
    node["status"]["conditions"] = [said | {"lastTransitionTime": now()}]
    if not is_ready:
        said["status"] = "Unknown"


def _lost(pod: Object) -> None:
    pod["status"]["conditions"] = [one for one in pod["status"].get("conditions", []) if one["type"] != "Ready"]
    pod["status"]["conditions"].append(condition("Ready", False, "NodeLost", "the node does not answer"))
    if owner(pod):
        pod["metadata"]["deletionTimestamp"] = now()
