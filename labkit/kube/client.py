"""A cluster's client: what can a notebook or a command do with the cluster of this lab machine?

from labkit import kube

cluster = kube.up(nodes=3)
cluster.apply("pods.yaml")
cluster.get("pods")
cluster.exec("web", "ip route")
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import Any, Self

from labkit.errors import LabkitError, NotFound, Unavailable, WrongUse
from labkit.kube import network as networks
from labkit.kube import wire
from labkit.kube.answers import Applied, Listing
from labkit.kube.cni import conflist as configurations
from labkit.kube.pods import called, namespace_of
from labkit.kube.requirements import Endpoint, Verdict, requirements
from labkit.kube.store import Object
from labkit.lab.build import clears
from labkit.lab.run import Ran, run
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine

__all__ = ["Cluster", "down", "up"]

_PATIENCE = 60.0  # seconds for a controller to start or to end


def up(nodes: int = 3, network: str = "bridge", cni: str | dict[str, Any] = "native") -> Cluster:
    """A cluster runs in this lab machine, in place of the one that was there.

    `network`: how nodes know the way to each other's pods. `cni`: what wires a pod on its node: "native" (our plugin's
    functions, called by the kubelet), "bridge" (Debian's plugins bridge, host-local and portmap, executed), the path of
    a configuration list, or one as a dictionary.
    Raises WrongUse, Duplicate (a namespace or link is called as the cluster needs it), Unavailable.
    Same as: labkit cluster up --nodes NODES --network NETWORK --cni CNI"""
    ensure_lab_machine("start a cluster")
    wanted: dict[str, Any] = {"nodes": nodes, "pod_network": network, "cni": _configuration(cni)}
    networks.check(**wanted)
    down()
    os.makedirs(wire.FOLDER, exist_ok=True)
    controller = None
    here, there = socket.socketpair()
    try:
        with there, open(f"{wire.FOLDER}/log", "wb") as log, namespaces.enter("host"):
            controller = subprocess.Popen(
                [sys.executable, "-m", "labkit.kube.controller", json.dumps(wanted), str(there.fileno())],
                pass_fds=(there.fileno(),), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        with here.makefile("rb") as report:
            said = report.readline()
    except BaseException:  # Ctrl-C: a controller that nobody waits for gives up
        here.close()
        if controller is not None:
            controller.wait()
        raise
    with here:
        if said == b"\n":
            here.sendall(b"\n")
    if said.strip():
        controller.wait()
        raise wire.raised(json.loads(said))
    if not said:
        controller.wait()
        with open(f"{wire.FOLDER}/log", encoding="utf-8", errors="replace") as text:
            last = (text.read().strip() or "it said nothing").splitlines()[-1]
        raise Unavailable(f"failed to start a cluster: its controller ended: {last}", f"its words: {wire.FOLDER}/log")
    _started.append(controller)
    return Cluster()


_started: list[subprocess.Popen[bytes]] = []  # controllers of this process, to be reaped


def _configuration(cni: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(cni, str) and ("/" in cni or cni.endswith((".conflist", ".conf", ".json"))):
        return configurations.load(cni).source
    return cni


@clears
def down() -> None:
    """The cluster of this lab machine, if there is one, is gone."""
    try:
        pid = int(wire.ask("status")["pid"])
        wire.ask("down", patience=_PATIENCE)
    except NotFound:
        if os.path.exists(wire.SOCKET):  # its controller was killed: with it went all but this
            networks.remove_underlay()
            _forget_dead()
            os.unlink(wire.SOCKET)
        return
    end = time.monotonic() + _PATIENCE
    while os.path.exists(wire.SOCKET) and os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
        time.sleep(0.002)
    for one in _started:
        one.wait()
    _started.clear()


def _forget_dead() -> None:
    """Names of namespaces whose process has ended are gone."""
    for name in namespaces.names():
        path = namespaces.path(name)
        if os.path.islink(path) and not os.path.exists(path):
            os.unlink(path)


class Cluster:
    """The cluster that runs in this lab machine. Raises NotFound where none does.

    Its nodes and pods are namespaces with names, so that labkit.ping, trace, capture and view work on them."""

    def __init__(self) -> None:
        ensure_lab_machine("ask a cluster")
        self.status()

    # --- objects

    def apply(self, manifest: str | dict[str, Any] | list[dict[str, Any]], *, wait: bool = True) -> Applied:
        """Every object of the manifest is as it says, or nothing has changed: YAML, a file's path, or data.

        `wait`: until its pods run, or 30 seconds are over; what does not run by then, `get` and `events` tell.
        Raises WrongUse, NotFound. Same as: kubectl apply -f FILE"""
        done = Applied(wire.ask("apply", objects=_text(manifest)))
        for kind, namespace in {(one["kind"], one["namespace"]) for one in done if wait}:
            if kind in ("Pod", "Deployment"):
                names = [one["name"] for one in done if (one["kind"], one["namespace"]) == (kind, namespace)]
                self.wait(kind, *names, namespace=namespace)
        return done

    def get(
        self, kind: str, name: str = "", *, namespace: str | None = "default", selector: str = "", wide: bool = True
    ) -> Listing:
        """Return objects: "pods", "nodes", "deployments", "namespaces"; `namespace` None for those of all namespaces.

        `selector`: "app=web,tier=front". Raises NotFound. Same as: kubectl get KIND NAME -n NAMESPACE -o wide"""
        from labkit.kube.objects.kinds import kind as known

        found = known(kind)
        labels = dict(one.split("=", 1) for one in selector.split(",") if "=" in one)
        objects = wire.ask("get", kind=found.name, name=name, namespace=namespace, selector=labels)
        return Listing(found.name, objects, wide, namespace is None)

    def delete(self, kind: str, name: str, *, namespace: str = "default", wait: bool = True) -> None:
        """The object is gone. Raises NotFound, WrongUse. Same as: kubectl delete KIND NAME"""
        from labkit.kube.objects.kinds import kind as known

        found = known(kind)
        wire.ask("delete", kind=found.name, name=name, namespace=namespace)
        if wait and found.name in ("Pod", "Node"):
            self.wait(found.name, name, namespace=namespace, until="deleted")

    def wait(
        self, kind: str, *names: str, namespace: str | None = "default", until: str = "Ready", timeout: float = 30.0
    ) -> bool:
        """Wait until objects are "Ready" or "deleted", all of the kind when none is named; return whether they are.

        `timeout`: seconds. Same as: kubectl wait --for=condition=Ready KIND/NAME"""
        from labkit.kube.objects.kinds import kind as known

        behind = wire.ask(
            "wait", kind=known(kind).name, names=list(names), namespace=namespace, what=until, timeout=timeout
        )
        return not behind

    def scale(self, deployment: str, replicas: int, *, namespace: str = "default", wait: bool = True) -> None:
        """The Deployment has so many pods. Same as: kubectl scale deployment NAME --replicas=REPLICAS"""
        wire.ask("scale", name=deployment, replicas=replicas, namespace=namespace)
        if wait:
            self.wait("Deployment", deployment, namespace=namespace)

    def events(self, name: str = "") -> list[Object]:
        """Return what happened, to one object or to all, the oldest first. Same as: kubectl events"""
        return [one for one in wire.ask("events") if name in ("", one["involvedObject"]["name"])]

    # --- pods

    def pod(self, name: str, *, namespace: str = "default") -> Object:
        """Return one pod. Raises NotFound."""
        found: Object = wire.ask("get", kind="Pod", name=name, namespace=namespace)[0]
        return found

    def namespace(self, pod: str, *, namespace: str = "default") -> str:
        """Return the name of a pod's network namespace. Raises NotFound."""
        return namespace_of(self.pod(pod, namespace=namespace))

    def ip(self, name: str, *, namespace: str = "default") -> str:
        """Return the address of a pod, or of a node. Raises NotFound, also where it has none yet."""
        for node in self.nodes:
            if node.name == name:
                return node.address
        found = self.pod(name, namespace=namespace)["status"].get("podIP")
        if not found:
            raise NotFound(f"failed to find the address of '{name}': it has none yet", "labkit kubectl describe pod")
        return str(found)

    def exec(self, pod: str, command: str | list[str], *, namespace: str = "default", container: str = "",
             timeout: float = 30.0) -> Ran:  # fmt: skip
        """Run a command in a pod's network and return what it printed; the files it sees are the lab machine's.

        Same as: kubectl exec POD -- COMMAND

        Raises NotFound (pod, container), WrongUse (the container does not run), CommandNotInstalled."""
        one = self.pod(pod, namespace=namespace)
        pid = running_container(one, container)["containerID"].removeprefix("labkit://")
        by = ["nsenter", f"--target={pid}", "--uts", "--"]
        return run(namespace_of(one), command, timeout=timeout, by=by)

    def logs(self, pod: str, *, namespace: str = "default", container: str = "") -> str:
        """Return what a container has printed. Raises NotFound. Same as: kubectl logs POD -c CONTAINER"""
        one = self.pod(pod, namespace=namespace)
        path = f"{wire.FOLDER}/logs/{called(one)}/{_container(one, container)['name']}.log"
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    # --- nodes

    def cordon(self, node: str) -> None:
        """The node takes no new pods. Same as: kubectl cordon NODE"""
        wire.ask("cordon", name=node)

    def uncordon(self, node: str) -> None:
        """The node takes pods again. Same as: kubectl uncordon NODE"""
        wire.ask("cordon", name=node, on=False)

    def drain(self, node: str, *, force: bool = False, timeout: float = 30.0) -> list[str]:
        """The node has no pods and takes none; returns those that it had. Same as: kubectl drain NODE

        Raises WrongUse for pods that nobody would make again elsewhere, unless `force`."""
        gone: list[str] = wire.ask("drain", name=node, force=force)
        for one in gone:
            space, name = one.split("/")
            self.wait("Pod", name, namespace=space, until="deleted", timeout=timeout)
        return gone

    def fail(self, node: str) -> None:
        """The node loses its power: all that ran there is gone, and it is NotReady. `join` brings it back."""
        wire.ask("fail", name=node)

    def join(self, node: str | None = None) -> str:
        """A new node is in the cluster, or a failed one is back; returns its name. Same as: labkit cluster join NODE"""
        return str(wire.ask("join", name=node))

    # --- the whole

    @property
    def nodes(self) -> list[Endpoint]:
        """The nodes: each its namespace, which is called like it, its address and the CIDR of its pods."""
        return [Endpoint(one["name"], one["address"], one["name"], one["podCIDR"]) for one in self.status()["nodes"]]

    @property
    def pods(self) -> list[Endpoint]:
        """The pods that have an address and a network of their own: each its namespace, address and node."""
        return [
            Endpoint(namespace_of(one), one["status"]["podIP"], one["spec"]["nodeName"])
            for one in self.get("pods", namespace=None)
            if one["status"].get("podIP") and not one["spec"].get("hostNetwork")
        ]

    def status(self) -> dict[str, Any]:
        """Return what the cluster is: its network, its cni, and its nodes with their addresses. Raises NotFound."""
        found: dict[str, Any] = wire.ask("status")
        return found

    def commands(self, name: str, *, namespace: str = "default") -> list[str]:
        """Return the shell commands that make a node, or a pod's network. Raises NotFound."""
        lines: list[str] = wire.ask("commands", name=name, namespace=namespace)
        return lines

    def requirements(self) -> Verdict:
        """Return whether the three requirements of the Kubernetes network model hold, over all pairs of pods that are
        there: those of a node that has failed are not."""
        there = self.namespaces
        return requirements(*([one for one in ends if one.name in there] for ends in (self.pods, self.nodes)))

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names of the network namespaces of its nodes and pods that are there."""
        alive = [one["name"] for one in self.status()["nodes"] if one["ready"]]
        return (*alive, *(one.name for one in self.pods if one.node in alive))

    def snapshot(self) -> Any:
        """Return a Snapshot of the host, the nodes and the pods."""
        from labkit import state

        return state.snapshot("host", *self.namespaces)

    def down(self) -> None:
        """The cluster is gone. Once more is as good as once. Same as: labkit cluster down"""
        down()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        try:
            snapshot = self.snapshot()
        except LabkitError:  # it is down, or a pod has just gone
            return {"text/plain": repr(self)}
        from labkit import see

        return {"text/plain": see.topology_text(snapshot), "image/svg+xml": see.topology_svg(snapshot)}

    def __repr__(self) -> str:
        try:
            told = self.status()
        except LabkitError:
            return "Cluster, down"
        nodes = [f"{one['name']} {one['podCIDR']}{'' if one['ready'] else ' NotReady'}" for one in told["nodes"]]
        return f"Cluster, network '{told['network']}': {', '.join(nodes)}"


def running_container(pod: Object, name: str = "") -> Object:
    """Return the status of a container that runs. Raises NotFound, WrongUse."""
    found = _container(pod, name)
    for one in pod["status"].get("containerStatuses", []):
        alive = os.path.exists(f"/proc/{one.get('containerID', '').removeprefix('labkit://') or 'none'}")
        if one["name"] == found["name"] and "running" in one["state"] and alive:
            return dict(one)
    raise WrongUse(f"container \"{found['name']}\" of pod \"{pod['metadata']['name']}\" does not run",
                   "labkit kubectl describe pod says why")  # fmt: skip


def _container(pod: Object, name: str) -> Object:
    containers: list[Object] = pod["spec"]["containers"]
    for one in containers:
        if name in ("", one["name"]):
            return one
    names = ", ".join(one["name"] for one in containers)
    raise NotFound(f"container {name} is not valid for pod {pod['metadata']['name']}", f"its containers: {names}")


def _text(manifest: str | dict[str, Any] | list[dict[str, Any]]) -> str:
    if not isinstance(manifest, str):
        documents = manifest if isinstance(manifest, list) else [manifest]
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    if "\n" in manifest or ":" in manifest:
        return manifest
    try:
        with open(manifest, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise NotFound(f"failed to read manifest '{manifest}': {os.strerror(error.errno or 0).lower()}") from error
