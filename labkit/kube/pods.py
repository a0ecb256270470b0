"""A pod on its node: which processes are it, and what does its status say?"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any

from labkit.kube.control import condition
from labkit.kube.store import Object, now

__all__ = ["Container", "Running", "called", "expanded", "namespace_of", "status_of"]

_FIRST, _LONGEST = 10.0, 300.0  # seconds between two starts of a container that keeps ending: CrashLoopBackOff
_STEADY = 600.0  # one that has run this long begins with the shortest again


def called(pod: Object) -> str:
    """Return a pod's name in the lab machine: "web", or "NAMESPACE_web" outside the namespace default.

    No DNS-1123 name has an underscore, so that no two pods are called the same."""
    data = pod["metadata"]
    space = data.get("namespace", "default")
    return str(data["name"]) if space == "default" else f"{space}_{data['name']}"


def namespace_of(pod: Object) -> str:
    """Return the name of a pod's network namespace: its own, or its node's (hostNetwork)."""
    return str(pod["spec"].get("nodeName", "")) if pod["spec"].get("hostNetwork") else called(pod)


def expanded(text: str, environment: dict[str, str]) -> str:
    """Return a word of a command with each $(NAME) replaced by that variable, where there is one; $$(NAME) stays
    $(NAME). Source: Kubernetes documentation, "Define dependent environment variables"."""

    def value(found: re.Match[str]) -> str:
        if found[0].startswith("$$"):
            return found[0][1:]
        return environment.get(found[1], found[0])

    return re.sub(r"\$?\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", value, text)


@dataclass(eq=False)
class Container:
    """One container of a pod on its node. `pid`: 0 while it does not run; `wanted`: it is to run, at `due`."""

    spec: Object
    pid: int = 0
    restarts: int = -1  # the first start is none
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    wanted: bool = True
    due: float = 0.0
    _began: float = 0.0
    _wait: float = 0.0

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return str(self.spec["name"])

    def is_due(self, moment: float) -> bool:
        """Return whether it is to be started now."""
        return self.pid == 0 and self.wanted and self.due <= moment

    def started(self, pid: int) -> None:
        """It runs, as process `pid`."""
        self.pid, self._began = pid, time.monotonic()
        self.restarts += 1
        self.state = {"running": {"startedAt": now()}}

    def ended(self, status: int, policy: str, reason: str = "", message: str = "") -> None:
        """It has ended with an exit status, and by the pod's restart policy is to run again, or not."""
        if self.pid == 0:
            self.restarts += 1
        self.pid = 0
        how: dict[str, Any] = {"exitCode": status, "reason": reason or ("Completed" if status == 0 else "Error")}
        how |= {"message": message} if message else {}
        self.wanted = policy == "Always" or (policy == "OnFailure" and status != 0)
        if not self.wanted:
            self.state = {"terminated": how}
            return
        if self._began and time.monotonic() - self._began > _STEADY:
            self._wait = 0.0
        self.due = time.monotonic() + self._wait
        again = f"back-off {self._wait:g}s restarting failed container={self.name}"
        self.last = {"terminated": how}
        self.state = {"waiting": {"reason": "CrashLoopBackOff", "message": again}} if self._wait else self.last
        self._wait = min(_LONGEST, 2 * self._wait or _FIRST)


@dataclass(eq=False)
class Running:
    """A pod that this node runs or is about to. `sandbox`: the process that holds its namespaces, 0 while there is
    none; `shared`: it is the node's own."""

    pod: Object
    containers: list[Container]
    sandbox: int = 0
    shared: bool = False
    attached: bool = False
    address: str = ""
    failures: int = 0
    due: float = 0.0

    @classmethod
    def of(cls, pod: Object) -> Running:
        """Return a pod of which nothing runs yet."""
        return cls(pod, [Container(spec) for spec in pod["spec"]["containers"]])

    @property
    def uid(self) -> str:
        """Which pod it is: a later one of the same name is another."""
        return str(self.pod["metadata"]["uid"])

    @property
    def namespace(self) -> str:
        """The name of its network namespace."""
        return namespace_of(self.pod)

    @property
    def hostname(self) -> str:
        """What it calls itself."""
        return str(self.pod["spec"].get("hostname", self.pod["metadata"]["name"]))

    @property
    def host_network(self) -> bool:
        """Whether it lives in its node's network."""
        return bool(self.pod["spec"].get("hostNetwork"))

    @property
    def policy(self) -> str:
        """Its restart policy: Always, OnFailure, Never."""
        return str(self.pod["spec"].get("restartPolicy", "Always"))

    @property
    def capabilities(self) -> dict[str, Any]:
        """What CNI plugins that ask for it are told: the ports that the pod wants on its node."""
        ports = [
            {"hostPort": port["hostPort"], "containerPort": port["containerPort"],
             "protocol": port.get("protocol", "TCP").lower()}
            for spec in self.pod["spec"]["containers"] for port in spec.get("ports", []) if port.get("hostPort")
        ]  # fmt: skip
        return {"portMappings": ports} if ports else {}

    @property
    def processes(self) -> list[int]:
        """Its processes that run."""
        own = [self.sandbox] if self.sandbox and not self.shared else []
        return [*own, *(one.pid for one in self.containers if one.pid)]

    def waits(self, reason: str) -> None:
        """Its containers wait for what `reason` says."""
        for one in self.containers:
            one.state = {"waiting": {"reason": reason}}

    def renew(self) -> None:
        """Nothing of it runs any more, and all of it is to run again."""
        self.sandbox, self.address = 0, ""
        for one in self.containers:
            one.pid, one.wanted, one.due = 0, True, 0.0
        self.waits("ContainerCreating")

    def next_try(self) -> float | None:
        """Return when something is to be tried again, on the clock time.monotonic, or None."""
        if not self.sandbox:
            return self.due
        due = [one.due for one in self.containers if one.wanted and not one.pid]
        return min(due, default=None)


def status_of(one: Running, host: str) -> Object:
    """Return the status of a pod, in the API's form. `host`: its node's address."""
    alive = [container.pid != 0 for container in one.containers]
    everything = bool(one.sandbox) and all(alive)
    status: Object = {
        "phase": _phase(one, alive),
        "hostIP": host,
        "conditions": [
            condition("Initialized", True),
            condition("ContainersReady", everything, "" if everything else "ContainersNotReady"),
            condition("Ready", everything, "" if everything else "ContainersNotReady"),
        ],
        "containerStatuses": [_container(container) for container in one.containers],
    }
    address = host if one.host_network else one.address
    if address and one.sandbox:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status


def _phase(one: Running, alive: list[bool]) -> str:
    if any(alive):
        return "Running"
    over = ["terminated" in container.state and not container.wanted for container in one.containers]
    if all(over):
        failed = any(container.state["terminated"]["exitCode"] for container in one.containers)
        return "Failed" if failed else "Succeeded"
    return "Running" if any(container.restarts >= 0 for container in one.containers) else "Pending"


def _container(one: Container) -> Object:
    return {
        "name": one.name,
        "image": one.spec["image"],
        "ready": one.pid != 0,
        "started": one.pid != 0,
        "restartCount": max(0, one.restarts),
        "state": one.state,
        **({"lastState": one.last} if one.last else {}),
        **({"containerID": f"labkit://{one.pid}"} if one.pid else {}),
    }
