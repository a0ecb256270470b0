"""The cluster, as its controller holds it: what may clients ask?"""

from __future__ import annotations

import copy
import os
import threading
from typing import Any

from labkit.kube import network
from labkit.kube.cni import conflist as configurations
from labkit.kube.control import manage, ready
from labkit.kube.machines import Machines
from labkit.kube.pods import called, namespace_of
from labkit.kube.processes.spawner import Spawner
from labkit.kube.store import Object, Store, now, owner, selected
from labkit.kube.wire import refusal

__all__ = ["Cluster"]

_ALWAYS = ("default", "kube-system")


class Cluster:
    """The nodes, their kubelets and the store. VERBS are what clients may ask."""

    VERBS = (
        "apply", "delete", "get", "events", "scale", "cordon", "drain", "fail", "join", "status", "wait", "commands",
        "down",
    )  # fmt: skip

    def __init__(self, nodes: int, pod_network: str, cni: str | dict[str, Any], processes: Spawner) -> None:
        self.store = Store()
        self.ended = threading.Event()
        self.pod_network, self.cni = pod_network, cni
        for name in _ALWAYS:
            self.store.put(_namespace(name))
        self.machines = Machines(self.store, cni, processes)
        try:
            self.machines.join([f"node-{number}" for number in range(1, nodes + 1)])
        except BaseException:
            self.machines.take_down()
            raise

    # --- objects

    def apply(self, objects: str, namespace: str = "default") -> list[dict[str, Any]]:
        """Every object of the YAML is there as it says, or nothing has changed. Raises WrongUse, NotFound.

        `namespace`: of objects that say none. Returns what became of each: "kind", "name", "namespace", "warnings", and
        "done", which is "created", "configured" or "unchanged"."""
        from labkit.kube.objects import read

        wanted = read(objects, namespace)
        new = {one.object["metadata"]["name"] for one in wanted if one.object["kind"] == "Namespace"}
        with self.store.together():
            for one in wanted:
                self._admit(one.object, new)
            done = [self._put(one.object) | {"warnings": [*one.warnings, *self._unheard(one.object)]} for one in wanted]
        for said, one in zip(done, wanted, strict=True):
            if said["kind"] == "Node" and said["done"] == "created":
                self.machines.join([said["name"]], one.object)
        return done

    def _unheard(self, one: Object) -> list[str]:
        """Return a warning where pods want ports of their node, and no plugin here would be told."""
        spec = one["spec"]["template"]["spec"] if one["kind"] == "Deployment" else one.get("spec", {})
        wants = any(port.get("hostPort") for each in spec.get("containers", []) for port in each.get("ports", []))
        given = network.CONFLISTS[self.cni] if isinstance(self.cni, str) else self.cni
        if not wants or spec.get("hostNetwork") or "portMappings" in configurations.parse(given).capabilities:
            return []
        return ["hostPort has no effect: no CNI plugin of this cluster publishes ports; start it with --cni bridge"]

    def _admit(self, one: Object, new: set[str]) -> None:
        """Raises WrongUse for what the API server would refuse for what there is already."""
        kind, data = one["kind"], one["metadata"]
        space = data.get("namespace", "")
        if space and space not in new and self.store.find("Namespace", space) is None:
            raise refusal("NotFound", f'namespaces "{space}" not found', f"create it first: {_NAMESPACE % space}")
        was = self.store.find(kind, data["name"], space)
        if kind == "Pod":
            self._admit_pod(one, was)
        if kind == "Deployment" and was and was["spec"]["selector"] != one["spec"]["selector"]:
            raise refusal("Invalid", f'Deployment.apps "{data["name"]}" is invalid: spec.selector: field is immutable')
        if kind == "Node" and was is None:
            network.place(data["name"], self.machines.places.values(), one.get("spec", {}).get("podCIDR"))

    def _admit_pod(self, one: Object, was: Object | None) -> None:
        name, node = one["metadata"]["name"], one["spec"].get("nodeName")
        if was is not None:
            if "deletionTimestamp" in was["metadata"]:
                raise refusal("Conflict", f'pods "{name}" is being deleted', "wait until it is gone")
            if _wish(was, one) != one["spec"]:
                raise refusal("Invalid", f'Pod "{name}" is invalid: spec: Forbidden: pod updates may not change fields',
                              "delete the pod first: what runs in it cannot be changed")  # fmt: skip
            return
        if node and self.store.find("Node", node) is None:
            names = ", ".join(one["metadata"]["name"] for one in self.store.all("Node"))
            raise refusal("Invalid", f'Pod "{name}" is invalid: spec.nodeName: no node "{node}"', f"nodes: {names}")
        if len(called(one)) > 255:
            raise refusal("Invalid", f'Pod "{name}" is invalid: metadata.name: too long with its namespace\'s name',
                          "NAMESPACE_NAME is the name of a file in /run/netns: at most 255 characters")  # fmt: skip
        if namespace_of(one) in {*self.machines.places, "host"} and not one["spec"].get("hostNetwork"):
            raise refusal("Invalid", f'Pod "{name}" is invalid: metadata.name: a network namespace is called so',
                          "a pod's network namespace is called like the pod, and a node's like the node")  # fmt: skip

    def _put(self, one: Object) -> dict[str, Any]:
        kind, data = one["kind"], one["metadata"]
        space = data.get("namespace", "")
        was = self.store.find(kind, data["name"], space)
        said = {"kind": kind, "name": data["name"], "namespace": space, "warnings": []}
        if was is None:
            if kind != "Node":  # which is there when its machine is
                self.store.put(_fresh(one))
            return {**said, "done": "created"}
        changed = self.store.change(kind, data["name"], space, lambda it: _merge(it, one))
        return {**said, "done": "unchanged" if changed is None else "configured"}

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        """The object is gone, or will be: a pod goes when its node has ended it. Raises NotFound, WrongUse."""
        found = self.store.get(kind, name, "" if kind in ("Node", "Namespace") else namespace)
        if kind == "Pod":
            self.store.change("Pod", name, namespace, lambda one: one["metadata"].update(deletionTimestamp=now()))
            if not found["spec"].get("nodeName"):
                self.store.remove(found)
        elif kind == "Node":
            self.machines.leave(name)
        elif kind == "Namespace":
            self._empty(name)
        else:
            self.store.remove(found)

    def _empty(self, name: str) -> None:
        if name in _ALWAYS:
            raise refusal("Forbidden", f'namespaces "{name}" is forbidden: this namespace may not be deleted')
        with self.store.together():
            for one in [*self.store.all("Deployment", name), *self.store.all("Pod", name)]:
                self.delete(one["kind"], one["metadata"]["name"], name)
            self.store.remove(self.store.get("Namespace", name))

    def get(
        self, kind: str, name: str = "", namespace: str | None = "default", selector: dict[str, str] | None = None
    ) -> list[Object]:
        """Return the objects of a kind, one or all; `namespace` None for those of all namespaces. Raises NotFound."""
        space = "" if kind in ("Node", "Namespace") else namespace
        found = [self.store.get(kind, name, space or "default" if space != "" else "")] if name else \
            self.store.all(kind, None if space == "" else space)  # fmt: skip
        return [one for one in found if selected(one, selector or {})]

    def events(self) -> list[Object]:
        """Return what happened, the oldest first."""
        return self.store.events()

    def scale(self, name: str, replicas: int, namespace: str = "default") -> None:
        """The Deployment asks for so many replicas. Raises NotFound, WrongUse."""
        if replicas < 0:
            raise refusal("Invalid", f'Deployment.apps "{name}" is invalid: spec.replicas: must be 0 or more')
        self.store.get("Deployment", name, namespace)
        self.store.change("Deployment", name, namespace, lambda one: one["spec"].update(replicas=replicas))

    def wait(
        self, kind: str, names: list[str] | None = None, namespace: str | None = "default", what: str = "Ready",
        timeout: float = 30.0
    ) -> list[str]:  # fmt: skip
        """Wait until objects are "Ready", "Available" or "deleted"; all of the kind when none is named.

        Returns the names of those that are not so when `timeout` seconds are over."""

        def behind() -> list[str]:
            there = {one["metadata"]["name"]: one for one in self.get(kind, "", namespace)}
            if what == "deleted":
                return [name for name in names or there if name in there]
            return [name for name in names or there if name not in there or not _is(there[name], what)]

        manage(self.store)  # or a Deployment's status might tell of a moment ago
        self.store.wait(lambda: not behind() or self.ended.is_set(), timeout)
        return behind()

    # --- nodes

    def join(self, name: str | None = None) -> str:
        """A new node is in the cluster, or one that had failed is back; returns its name. Raises WrongUse."""
        if name is None:
            known = {one["metadata"]["name"] for one in self.store.all("Node")}
            name = next(f"node-{number}" for number in range(1, 1000) if f"node-{number}" not in known)
        was = self.store.find("Node", name)
        if was is not None and ready(was):
            raise refusal("AlreadyExists", f'nodes "{name}" already exists', "it is ready")
        self.machines.join([name], was)
        return name

    def cordon(self, name: str, on: bool = True) -> bool:
        """The node takes no new pods, or takes them again. Returns whether that changed anything. Raises NotFound."""
        self.store.get("Node", name)

        def change(node: Object) -> None:
            node["spec"].pop("unschedulable", None)
            if on:
                node["spec"]["unschedulable"] = True

        return self.store.change("Node", name, "", change) is not None

    def drain(self, name: str, force: bool = False) -> list[str]:
        """The node is cordoned and its pods are to be deleted; returns their names, NAMESPACE/NAME.

        Raises NotFound, and WrongUse for pods that nobody would make again elsewhere, unless `force`."""
        self.cordon(name)
        pods = [pod for pod in self.store.pods_on(name) if "deletionTimestamp" not in pod["metadata"]]
        bare = [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods if not owner(pod)]
        if bare and not force:
            raise refusal(
                "Forbidden",
                "cannot delete Pods that declare no controller (use --force to override): " + ", ".join(bare),
                f"node {name} is cordoned; nothing was deleted",
            )
        for pod in pods:
            self.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
        return [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods]

    def fail(self, name: str) -> None:
        """The node has lost its power: its processes, its namespaces and its cable are gone. Raises NotFound.

        Its pods stay in the store until it comes back or is deleted; a Deployment's are replaced at once, which takes
        five minutes in a real cluster."""
        if not ready(self.store.get("Node", name)):
            raise refusal("Conflict", f'nodes "{name}" has failed already', "bring it back: labkit cluster join")
        self.machines.fail(name)

    def status(self) -> dict[str, Any]:
        """Return what the cluster is: network, cni, pid, and nodes: each name, address, podCIDR, ready, pods."""
        nodes = [
            {
                "name": one["metadata"]["name"],
                "address": one["status"]["addresses"][0]["address"],
                "podCIDR": one["spec"]["podCIDR"],
                "ready": ready(one),
                "pods": len(self.store.pods_on(one["metadata"]["name"])),
            }
            for one in self.store.all("Node")
        ]
        return {"network": self.pod_network, "cni": self.cni, "nodes": nodes, "pid": os.getpid()}

    def commands(self, name: str, namespace: str = "default") -> list[str]:
        """Return the shell commands that make a node, or a pod's network. Raises NotFound."""
        if self.store.find("Node", name) is not None:
            return self.machines.commands(name)
        pod = self.store.get("Pod", name, namespace)
        there = self.machines.attaching(pod["spec"].get("nodeName", ""))
        if there is None or pod["spec"].get("hostNetwork"):
            return []
        return [*network.sandbox(called(pod)), *there.commands(called(pod))]

    def down(self) -> None:
        """Nothing of the cluster is left."""
        self.machines.take_down()
        self.ended.set()
        self.store.wake()


_NAMESPACE = "apiVersion: v1, kind: Namespace, metadata: {name: %s}"


def _namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name},
        "spec": {},
        "status": {"phase": "Active"},
    }


def _fresh(one: Object) -> Object:
    phase = {"Pod": {"phase": "Pending"}, "Namespace": {"phase": "Active"}, "Deployment": {}}
    return {**one, "status": phase[one["kind"]]}


def _wish(was: Object, one: Object) -> Object:
    """What was asked for a pod, without what the cluster has added."""
    spec = copy.deepcopy(was["spec"])
    if "nodeName" not in one["spec"]:
        spec.pop("nodeName", None)
    return dict(spec)


def _merge(was: Object, one: Object) -> None:
    """What the manifest says takes the place of what was; what the cluster has added stays."""
    for key in ("labels", "annotations"):
        if key in one["metadata"]:
            was["metadata"][key] = one["metadata"][key]
    if one["kind"] == "Deployment":
        was["spec"] = one["spec"]
    if one["kind"] == "Node":
        was["spec"] = {**was["spec"], **one.get("spec", {})}


def _is(one: Object, what: str) -> bool:
    if one["kind"] == "Deployment":
        return bool(one["status"].get("availableReplicas", -1) == one["spec"].get("replicas", 1)
                    == one["status"].get("updatedReplicas"))  # fmt: skip
    if one["kind"] == "Pod" and what == "Ready" and one["status"].get("phase") == "Succeeded":
        return True
    return ready(one)
