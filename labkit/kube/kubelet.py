"""The kubelet: on one node, do the pods run that are bound to it?

It looks at the pods that the store has for its node and makes it so: a sandbox (a process that holds the namespaces),
the pod network by CNI, then the containers; containers that end are started again, later and later. It goes in rounds,
one thread a node: within a round all new pods take each step together, in the order in which they were made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from labkit.errors import LabkitError
from labkit.kube.attaching import Attaching
from labkit.kube.cni.runtime import Attachment
from labkit.kube.pods import Container, Running, called, expanded, status_of
from labkit.kube.processes.spawner import Wanted
from labkit.kube.store import Object, Store, now
from labkit.net import netlink
from labkit.net.operation import Session

__all__ = ["Kubelet", "Processes"]

_AGAIN = (1.0, 2.0, 4.0, 8.0)  # seconds until a sandbox that could not be made is tried again


class Processes(Protocol):
    """What a kubelet wants of a container runtime: spawner.Spawner."""

    def sandboxes(
        self, wanted: Sequence[tuple[str, str]], sockets: dict[str, netlink.Socket] | None = None
    ) -> list[int]: ...

    def start_all(self, wanted: Sequence[Wanted]) -> list[int | LabkitError]: ...

    def end_all(self, pids: Iterable[int]) -> None: ...


class Kubelet:
    """The kubelet of one node, whose namespace is process `machine`'s."""

    def __init__(self, node: str, machine: int, store: Store, processes: Processes) -> None:
        self.node = node
        self.machine = machine
        self.network = Attaching(node)
        self._store = store
        self._processes = processes
        self._running: dict[str, Running] = {}  # by uid
        self._exits: list[tuple[int, int]] = []
        self._over = False
        self._thread = threading.Thread(target=self._live, name=f"kubelet-{node}", daemon=True)

    def start(self) -> None:
        """Begin: nothing is held on the node's pod network by pods of before."""
        self._thread.start()

    def halt(self) -> None:
        """It stops as soon as it can."""
        self._over = True
        self._store.wake()

    def stop(self) -> list[int]:
        """It does nothing any more. Returns the processes of its pods, which go on."""
        self.halt()
        self._thread.join()
        return [pid for one in self._running.values() for pid in one.processes]

    def exited(self, pid: int, status: int) -> None:
        """A process has ended by itself. Whose it is, the next round finds out."""
        self._exits.append((pid, status))
        self._store.wake()

    def _live(self) -> None:
        while not self._over:
            seen = self._store.version(self.node)
            try:
                self._round()
            except Exception as error:  # noqa: BLE001 - one pod's misfortune must not end the node
                self._complain(error)
            self._store.wait(
                lambda seen=seen: self._over or self._exits or self._store.version(self.node) != seen,  # type: ignore[misc]
                self._patience(),
            )

    def _complain(self, error: Exception) -> None:
        node = self._store.find("Node", self.node)
        if node is not None:
            self._store.event(node, "KubeletFailed", f"{type(error).__name__}: {error}", "Warning")
        time.sleep(0.2)

    def _round(self) -> None:
        self._bury()
        pods = self._store.pods_on(self.node)
        known = {pod["metadata"]["uid"]: pod for pod in pods}
        leaving = [pod for pod in pods if "deletionTimestamp" in pod["metadata"]]
        self._end([self._running[uid] for uid in self._running if uid not in known], [])
        self._end([self._running[uid] for pod in leaving if (uid := pod["metadata"]["uid"]) in self._running], leaving)
        for pod in pods:
            if pod not in leaving and pod["metadata"]["uid"] not in self._running and not _over(pod):
                self._running[pod["metadata"]["uid"]] = Running.of(pod)
        moment = time.monotonic()
        self._begin([one for one in self._running.values() if not one.sandbox and one.due <= moment])
        self._start_containers()
        self._tell(self._running.values())

    def _patience(self) -> float | None:
        """Seconds until something is to be tried again."""
        due = [when for one in self._running.values() if (when := one.next_try()) is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    # --- beginning

    def _begin(self, new: list[Running]) -> None:
        """Each has a sandbox and is on the pod network, or says why not, and is tried again."""
        if not new:
            return
        for one in new:
            one.waits("ContainerCreating")
        self._tell(new)
        own = [one for one in new if not one.host_network]
        for one in new:
            if one.host_network:
                one.sandbox, one.shared = self.machine, True
        sockets: dict[str, netlink.Socket] = {}
        try:
            for one, pid in zip(own, self._sandboxes(own, sockets), strict=True):
                one.sandbox = pid
            if made := [one for one in own if one.sandbox]:
                self._attach(made, sockets)
        finally:
            for opened in sockets.values():
                opened.close()

    def _sandboxes(self, wanted: list[Running], sockets: dict[str, netlink.Socket]) -> list[int]:
        try:
            return self._processes.sandboxes([(one.namespace, one.hostname) for one in wanted], sockets)
        except LabkitError as error:
            if len(wanted) > 1:
                return [self._sandboxes([one], sockets)[0] for one in wanted]
            return [self._fails(one, "FailedCreatePodSandBox", error) for one in wanted]

    def _attach(self, made: list[Running], sockets: dict[str, netlink.Socket]) -> None:
        asked = [Attachment(one.namespace, one.namespace, capability_args=one.capabilities) for one in made]
        results: list[dict[str, Any] | LabkitError]
        try:
            with Session() as session:
                session.sockets.update(sockets)
                results = self.network.add(asked, session, _next_link(sockets[made[0].namespace]))
        except LabkitError as error:
            results = [error] * len(made)
        for one, result in zip(made, results, strict=True):
            if isinstance(result, LabkitError):
                self._processes.end_all([one.sandbox])
                one.sandbox = 0
                self._fails(one, "FailedCreatePodSandBox", result)
            else:
                one.address = result["ips"][0]["address"].partition("/")[0] if result.get("ips") else ""
                one.attached = True

    def _fails(self, one: Running, reason: str, error: LabkitError) -> int:
        one.due = time.monotonic() + _AGAIN[min(one.failures, len(_AGAIN) - 1)]
        one.failures += 1
        self._store.event(one.pod, reason, str(error), "Warning")
        return 0

    def _start_containers(self) -> None:
        """Every container that is to run, and whose time has come, runs, or has ended already.

        Those of a pod begin one after the other; those of all pods that have the same place in theirs, together."""
        moment = time.monotonic()
        there = [one for one in self._running.values() if one.sandbox]
        for place in range(max((len(one.containers) for one in there), default=0)):
            due = [(one, one.containers[place]) for one in there if place < len(one.containers)]
            self._start([(one, container) for one, container in due if container.is_due(moment)])

    def _start(self, due: list[tuple[Running, Container]]) -> None:
        begun = self._processes.start_all([_wanted(one, container) for one, container in due]) if due else []
        with self._store.together():
            for (one, container), pid in zip(due, begun, strict=True):
                if isinstance(pid, LabkitError):
                    container.ended(128, one.policy, "StartError", str(pid))
                    self._store.event(one.pod, "Failed", f"Error: {pid}", "Warning")
                else:
                    container.started(pid)
                    self._store.event(one.pod, "Started", f"Started container {container.name}")

    # --- ending

    def _end(self, going: list[Running], objects: list[Object]) -> None:
        """Nothing of these pods runs or is on the network any more, and the store has them no more."""
        if going:
            self._processes.end_all([container.pid for one in going for container in one.containers if container.pid])
        for one in going:
            self._detach(one)
            self._running.pop(one.uid, None)
        self._processes.end_all([one.sandbox for one in going if one.sandbox and not one.shared])
        with self._store.together():
            for pod in objects:
                self._store.remove(pod)

    def _detach(self, one: Running) -> None:
        if one.attached:
            try:
                self.network.delete(one.namespace)
            except LabkitError as error:  # the sandbox goes all the same; what the plugin holds, GC frees
                self._store.event(one.pod, "FailedKillPod", str(error), "Warning")
            one.attached = False

    def _bury(self) -> None:
        """Processes that have ended by themselves are noted; a pod whose sandbox is gone begins anew."""
        exits, self._exits[:] = self._exits[:], []
        for pid, status in exits:
            for one in list(self._running.values()):
                if pid == one.sandbox and not one.shared:
                    self._renew(one)
                for container in one.containers:
                    if pid == container.pid:
                        container.ended(status, one.policy)

    def _renew(self, one: Running) -> None:
        left = [container.pid for container in one.containers if container.pid]
        one.renew()
        self._tell([one])
        self._store.event(one.pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        self._processes.end_all(left)
        self._detach(one)

    # --- telling

    def _tell(self, about: Iterable[Running]) -> None:
        node = self._store.find("Node", self.node)
        host = node["status"]["addresses"][0]["address"] if node else ""
        with self._store.together():
            for one in about:
                status = status_of(one, host)
                data = one.pod["metadata"]
                said = self._store.change(
                    "Pod", data["name"], data["namespace"], lambda pod, to=status: _keep(pod, to)  # type: ignore[misc]
                )  # fmt: skip
                if said is not None:
                    one.pod = said


def _wanted(one: Running, container: Container) -> Wanted:
    spec = container.spec
    env = {"HOSTNAME": one.hostname} | {item["name"]: str(item.get("value", "")) for item in spec.get("env", [])}
    command, arguments = ([expanded(word, env) for word in spec.get(key, [])] for key in ("command", "args"))
    return Wanted(called(one.pod), container.name, spec["image"], command, arguments, env, one.sandbox)


def _next_link(there: netlink.Socket) -> int:
    """Return the index of the next link in a new namespace: after lo, and what else the kernel puts there."""
    links = there.dump(netlink.GETLINK, netlink.pack(netlink.LinkHeader()))
    return 1 + max(int(record.header.ifindex) for record in links)


def _over(pod: Object) -> bool:
    """Whether the pod has run to its end, and is not to run again."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _keep(pod: Object, status: Object) -> None:
    """The pod's status is `status`; what was true before stays, and so does the time of its beginning."""
    scheduled = [one for one in pod["status"].get("conditions", []) if one["type"] == "PodScheduled"]
    began = pod["status"].get("startTime", now())
    pod["status"] = {**status, "startTime": began, "conditions": [*scheduled, *status["conditions"]]}
