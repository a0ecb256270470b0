"""What should be, and is not yet? The parts of the controller manager and of the scheduler, as functions of the store.

A Deployment's pods are made by the Deployment itself: in Kubernetes a ReplicaSet stands between. Their names are its
name, a hash of the template, and five characters which are random there and follow from a number here.
"""

from __future__ import annotations

import hashlib
import json

from labkit.kube.store import Object, Store, now, owner, selected

__all__ = ["condition", "deploy", "manage", "ready", "schedule", "status_of_deployments"]

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # as in Kubernetes' names, of which no word comes out


def manage(store: Store) -> None:
    """What was asked for is asked of nodes, and every Deployment's status tells of its pods as they are now."""
    with store.together():
        deploy(store)
        schedule(store)
        status_of_deployments(store)


def deploy(store: Store) -> None:
    """Every Deployment has the pods that it asks for, of its present template; those too many are to be deleted."""
    wanted = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in store.all("Deployment")}
    having: dict[tuple[str, str], list[Object]] = {key: [] for key in wanted}
    for pod in store.all("Pod"):
        if name := owner(pod):
            key = pod["metadata"]["namespace"], name
            if key in wanted:
                having[key].append(pod)
            elif "deletionTimestamp" not in pod["metadata"]:
                _delete(store, pod)
    for key, deployment in wanted.items():
        _fill(store, deployment, having[key])


def _fill(store: Store, deployment: Object, pods: list[Object]) -> None:
    template = hashed(deployment)
    alive = [pod for pod in pods if _counts(pod)]
    good = [pod for pod in alive if _template_of(pod) == template]
    replicas = deployment["spec"].get("replicas", 1)
    good.sort(key=lambda pod: (not pod["spec"].get("nodeName"), int(pod["metadata"]["uid"])))
    for pod in [*good[replicas:], *(pod for pod in alive if pod not in good)]:
        _delete(store, pod)
    number, taken = 0, {pod["metadata"]["name"] for pod in pods}
    for _ in range(replicas - len(good)):
        while (name := _pod_name(deployment, template, number)) in taken:
            number += 1
        taken.add(name)
        pod = store.put(_pod(deployment, template, name))
        store.event(deployment, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")


def _counts(pod: Object) -> bool:
    """A pod that is being deleted, or has ended, is none of its Deployment's replicas any more."""
    return "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") not in ("Failed", "Succeeded")


def _template_of(pod: Object) -> str:
    """Return the name of the template that a pod was made of; "" where somebody took that label from it."""
    return str(pod["metadata"].get("labels", {}).get("pod-template-hash", ""))


def _delete(store: Store, pod: Object) -> None:
    """The pod is to go; where no node has it, it is gone."""
    data = pod["metadata"]
    if not pod["spec"].get("nodeName"):
        store.remove(pod)
        return
    store.change("Pod", data["name"], data["namespace"], lambda one: one["metadata"].update(deletionTimestamp=now()))


def _pod(deployment: Object, template: str, name: str) -> Object:
    shape = deployment["spec"]["template"]
    data = deployment["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **shape.get("metadata", {}),
            "name": name,
            "namespace": data["namespace"],
            "labels": {**shape["metadata"].get("labels", {}), "pod-template-hash": template},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": data["name"], "uid": data["uid"],
                 "controller": True}
            ],
        },
        "spec": shape["spec"],
        "status": {"phase": "Pending"},
    }  # fmt: skip


def hashed(deployment: Object) -> str:
    """Return a name for the present template: other templates have other names."""
    text = json.dumps(deployment["spec"]["template"], sort_keys=True)
    return _word(text, 9)


def _pod_name(deployment: Object, template: str, number: int) -> str:
    name = deployment["metadata"]["name"]
    return f"{name}-{template}-{_word(f'{name} {template} {number}', 5)}"


def _word(text: str, length: int) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=length).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest)


def schedule(store: Store) -> None:
    """Every pod that can be has a node: one that is ready and takes pods, the one with the fewest, then by name."""
    pods, nodes = store.all("Pod"), store.all("Node")
    load = {one["metadata"]["name"]: 0 for one in nodes}
    for pod in pods:
        if pod["spec"].get("nodeName") in load:
            load[pod["spec"]["nodeName"]] += 1
    waiting = [pod for pod in pods if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]]
    for pod in sorted(waiting, key=lambda one: int(one["metadata"]["uid"])):
        fitting = [one["metadata"]["name"] for one in nodes if _fits(pod, one)]
        if not fitting:
            _stays(store, pod, nodes)
            continue
        chosen = min(fitting, key=lambda name: (load[name], _natural(name)))
        load[chosen] += 1
        _bind(store, pod, chosen)


def _fits(pod: Object, node: Object) -> bool:
    takes = ready(node) and not node["spec"].get("unschedulable")
    return takes and selected(node, pod["spec"].get("nodeSelector", {}))


def _natural(name: str) -> tuple[int, str]:
    return len(name), name  # node-2 before node-10


def _bind(store: Store, pod: Object, node: str) -> None:
    data = pod["metadata"]

    def bind(one: Object) -> None:
        one["spec"]["nodeName"] = node
        one["status"]["conditions"] = [condition("PodScheduled", True)]

    store.change("Pod", data["name"], data["namespace"], bind)
    store.event(pod, "Scheduled", f"Successfully assigned {data['namespace']}/{data['name']} to {node}")


def _stays(store: Store, pod: Object, nodes: list[Object]) -> None:
    why = {
        "had no Ready status": sum(not ready(one) for one in nodes),
        "were unschedulable": sum(bool(one["spec"].get("unschedulable")) for one in nodes),
        "didn't match Pod's node affinity/selector": sum(
            not selected(one, pod["spec"].get("nodeSelector", {})) for one in nodes
        ),
    }
    told = ", ".join(f"{number} node(s) {what}" for what, number in why.items() if number) or "no nodes"
    message = f"0/{len(nodes)} nodes are available: {told}."
    data = pod["metadata"]

    def stay(one: Object) -> None:
        one["status"]["conditions"] = [condition("PodScheduled", False, "Unschedulable", message)]

    if store.change("Pod", data["name"], data["namespace"], stay) is not None:
        store.event(pod, "FailedScheduling", message, "Warning")


def condition(kind: str, holds: bool, reason: str = "", message: str = "") -> Object:
    """Return a condition as a status has them."""
    said = {"type": kind, "status": "True" if holds else "False"}
    return said | ({"reason": reason} if reason else {}) | ({"message": message} if message else {})


def ready(one: Object) -> bool:
    """Return whether a pod or a node says that it is ready."""
    conditions = one.get("status", {}).get("conditions", [])
    return any(said["type"] == "Ready" and said["status"] == "True" for said in conditions)


def status_of_deployments(store: Store) -> None:
    """Every Deployment says how many of its pods there are, and how many are ready."""
    pods = [pod for pod in store.all("Pod") if _counts(pod)]
    for one in store.all("Deployment"):
        data = one["metadata"]
        mine = [pod for pod in pods if owner(pod) == data["name"] and pod["metadata"]["namespace"] == data["namespace"]]
        number = sum(map(ready, mine))
        new = sum(_template_of(pod) == hashed(one) for pod in mine)
        status = {"replicas": len(mine), "updatedReplicas": new, "readyReplicas": number, "availableReplicas": number}
        store.change("Deployment", data["name"], data["namespace"], lambda it, to=status: it.update(status=to))  # type: ignore[misc]
