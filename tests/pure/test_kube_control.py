"""What the controller manager and the scheduler decide follows from the objects alone."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from labkit.errors import LabkitError, NotFound, WrongUse
from labkit.kube import control, network, pods, wire
from labkit.kube.cluster import Cluster
from labkit.kube.network import Place
from labkit.kube.store import Object, Store


def node(name: str, *, is_ready: bool = True, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    status = {"conditions": [control.condition("Ready", is_ready)]}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": status}


def pod(name: str, **spec: Any) -> Object:
    data = {"name": name, "namespace": "default"}
    spec = {"containers": [{"name": "c", "image": "echo"}], **spec}
    return {"kind": "Pod", "metadata": data, "spec": spec, "status": {"phase": "Pending"}}


def deployment(replicas: int, image: str = "echo") -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": spec, "status": {}}


def names(store: Store, *, going: bool = False) -> list[str]:
    return [one["metadata"]["name"] for one in store.all("Pod") if ("deletionTimestamp" in one["metadata"]) == going]


def places(store: Store) -> dict[str, str | None]:
    return {one["metadata"]["name"]: one["spec"].get("nodeName") for one in store.all("Pod")}


# ---- Deployments


def test_a_deployment_that_lost_a_pod_a_moment_ago_is_waited_for() -> None:
    store = Store()
    store.put(node("node-1"))
    store.put(deployment(2))
    control.manage(store)
    for name in names(store):
        store.change(
            "Pod", name, "default", lambda it: it["status"].update(conditions=[control.condition("Ready", True)])
        )
    control.manage(store)
    cluster = object.__new__(Cluster)
    cluster.store, cluster.ended = store, threading.Event()
    assert cluster.wait("Deployment", ["web"], timeout=0) == []
    store.change("Pod", names(store)[0], "default", lambda it: it["metadata"].update(deletionTimestamp="now"))
    assert store.get("Deployment", "web", "default")["status"]["availableReplicas"] == 2  # what it was
    assert cluster.wait("Deployment", ["web"], timeout=0) == ["web"]


@pytest.mark.parametrize("labels", [{}, {"app": "web"}])
def test_a_pod_that_lost_the_label_of_its_template_is_replaced(labels: dict[str, str]) -> None:
    store = Store()
    store.put(node("node-1"))
    store.put(deployment(2))
    control.manage(store)
    lost, kept = names(store)
    store.change("Pod", lost, "default", lambda it: it["metadata"].update(labels=labels))
    control.manage(store)
    assert names(store, going=True) == [lost]
    assert len(names(store)) == 2
    assert kept in names(store)


def test_a_deployment_has_the_pods_it_asks_for_and_again_changes_nothing() -> None:
    store = Store()
    store.put(deployment(3))
    control.deploy(store)
    first = names(store)
    assert len(first) == 3
    control.deploy(store)
    assert names(store) == first


def test_pods_too_many_are_to_go_those_without_a_node_first() -> None:
    store = Store()
    store.put(deployment(3))
    control.deploy(store)
    bound = names(store)[0]
    store.change("Pod", bound, "default", lambda one: one["spec"].update(nodeName="node-1"))
    store.change("Deployment", "web", "default", lambda one: one["spec"].update(replicas=1))
    control.deploy(store)
    assert names(store) == [bound]
    assert names(store, going=True) == []  # no node has them: they are gone


def test_another_template_makes_other_pods() -> None:
    store = Store()
    store.put(deployment(2))
    control.deploy(store)
    old = names(store)
    for name in old:
        store.change("Pod", name, "default", lambda one: one["spec"].update(nodeName="node-1"))
    store.change("Deployment", "web", "default", lambda one: one.update(spec=deployment(2, "udp-echo")["spec"]))
    control.deploy(store)
    assert names(store, going=True) == old
    assert not set(names(store)) & set(old)


def test_a_pod_that_ended_or_is_going_is_replaced_under_another_name() -> None:
    store = Store()
    store.put(deployment(2))
    control.deploy(store)
    first, second = names(store)
    store.change("Pod", first, "default", lambda one: one["status"].update(phase="Failed"))
    store.change("Pod", second, "default", lambda one: one["metadata"].update(deletionTimestamp="now"))
    control.deploy(store)
    assert len(set(names(store)) - {first, second}) == 2


def test_the_pods_of_a_deployment_that_is_gone_are_to_go() -> None:
    store = Store()
    gone = store.put(deployment(2))
    control.deploy(store)
    store.remove(gone)
    control.deploy(store)
    assert names(store) == []


# ---- scheduling


def test_pods_go_to_the_node_with_the_fewest_then_by_name() -> None:
    store = Store()
    for name in ("node-10", "node-2", "node-1"):
        store.put(node(name))
    for name in ("a", "b", "c", "d"):
        store.put(pod(name))
    control.schedule(store)
    assert places(store) == {"a": "node-1", "b": "node-2", "c": "node-10", "d": "node-1"}


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (node("n", is_ready=False), "1 node(s) had no Ready status"),
        (node("n", unschedulable=True), "1 node(s) were unschedulable"),
        (node("n", labels={"disk": "hdd"}), "1 node(s) didn't match Pod's node affinity/selector"),
    ],
)
def test_a_pod_that_fits_nowhere_says_why(there: Object, why: str) -> None:
    store = Store()
    store.put(there)
    store.put(pod("web", nodeSelector={"disk": "ssd"} if there["metadata"]["labels"] else {}))
    control.schedule(store)
    assert places(store) == {"web": None}
    assert [one["message"] for one in store.events()] == [f"0/1 nodes are available: {why}."]
    control.schedule(store)
    assert [one["count"] for one in store.events()] == [1]


def test_a_pod_follows_its_node_selector() -> None:
    store = Store()
    store.put(node("a"))
    store.put(node("b", labels={"disk": "ssd"}))
    store.put(pod("web", nodeSelector={"disk": "ssd"}))
    control.schedule(store)
    assert places(store) == {"web": "b"}


# ---- the store


def test_an_object_in_the_store_is_never_changed_in_place() -> None:
    store = Store()
    given = pod("web")
    before = store.put(given)
    given["spec"]["nodeName"] = "elsewhere"
    store.change("Pod", "web", "default", lambda one: one["status"].update(phase="Running"))
    assert before["status"] == {"phase": "Pending"}
    assert "nodeName" not in store.get("Pod", "web", "default")["spec"]
    assert store.get("Pod", "web", "default")["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_change_that_changes_nothing_is_none() -> None:
    store = Store()
    store.put(pod("web"))
    version = store.version()
    assert store.change("Pod", "web", "default", lambda one: one["status"].update(phase="Pending")) is None
    assert store.change("Pod", "gone", "default", lambda one: one.clear()) is None
    assert store.version() == version


def test_what_is_not_there_is_told_as_kubectl_has_it() -> None:
    with pytest.raises(NotFound, match=r'^pods "web" not found'):
        Store().get("Pod", "web", "default")


def test_an_error_travels_as_what_it_is() -> None:
    for reason in ("NotFound", "AlreadyExists", "Invalid", "Forbidden", "Conflict", "InternalError"):
        error = wire.refusal(reason, "failed", "look there")
        again = wire.raised(wire.error_as_data(error))
        assert (type(again), again.message, again.hint, wire.reason_of(again)) == (
            type(error), "failed", "look there", reason,
        )  # fmt: skip


# ---- places in the network


def test_a_node_gets_the_number_in_its_name_or_the_lowest_that_is_free() -> None:
    first = network.place("node-1", [])
    assert (str(first.address), str(first.cidr), first.cable) == ("192.168.50.11", "10.244.1.0/24", "node-1")
    assert network.place("worker", [first]).number == 2
    assert network.place("other-1", [first]).number == 2
    assert len(network.place("a-node-with-a-long-name", []).cable) <= 15


def test_a_node_whose_subnet_is_taken_gets_another() -> None:
    wide = network.place("wide", [], "10.244.0.0/22")
    assert str(network.place("node-2", [wide]).cidr) == "10.244.4.0/24"


@pytest.mark.parametrize(
    ("cidr", "words"),
    [
        ("10.244.1.0/25", "overlaps 10.244.1.0/24, which is node-1's"),
        ("10.1.0.0/24", "a subnet of 10.244.0.0/16"),
        ("10.244.9.0/30", "at most a /29 small"),
        ("10.244.9.1/24", "has host bits set"),
        ("pods", "write it as 10.244.7.0/24"),
    ],
)
def test_a_pod_cidr_that_cannot_be_is_refused(cidr: str, words: str) -> None:
    with pytest.raises(WrongUse) as refused:
        network.place("node-2", [network.place("node-1", [])], cidr)
    assert words in str(refused.value)


def test_a_full_cluster_takes_no_more_nodes() -> None:
    there: list[Place] = []
    for number in range(1, 201):
        there.append(network.place(f"node-{number}", there))
    assert len({one.address for one in there}) == 200
    with pytest.raises(LabkitError, match="the cluster is full"):
        network.place("node-201", there)


# ---- what a pod says


def test_a_container_that_keeps_ending_waits_longer_each_time() -> None:
    one = pods.Container({"name": "c", "image": "echo"})
    waited = []
    for _ in range(7):
        one.started(100)
        one.ended(1, "Always")
        waited.append(one.state.get("waiting", {}).get("message", "at once"))
    assert one.restarts == 6
    assert waited[0] == "at once"
    assert [text.split()[1] for text in waited[1:]] == ["10s", "20s", "40s", "80s", "160s", "300s"]


@pytest.mark.parametrize(
    ("policy", "statuses", "phase"),
    [
        ("Never", [0, 0], "Succeeded"),
        ("Never", [0, 1], "Failed"),
        ("OnFailure", [0, 1], "Running"),
        ("Always", [0, 0], "Running"),
    ],
)
def test_the_phase_of_a_pod_whose_containers_have_ended(policy: str, statuses: list[int], phase: str) -> None:
    one = pods.Running.of(pod("web", restartPolicy=policy, containers=[{"name": n, "image": "echo"} for n in "ab"]))
    for container, status in zip(one.containers, statuses, strict=True):
        container.started(100)
        container.ended(status, policy)
    assert pods.status_of(one, "192.168.50.11")["phase"] == phase


def test_a_word_of_a_command_may_name_a_variable() -> None:
    values = {"A": "1", "B": ""}
    words = ["$(A)", "x$(A)y$(B)z", "$(C)", "$$(A)", "$A", "$("]
    assert [pods.expanded(word, values) for word in words] == ["1", "x1yz", "$(C)", "$(A)", "$A", "$("]


def test_two_pods_of_one_name_in_two_namespaces_are_called_differently() -> None:
    other = pod("web")
    other["metadata"]["namespace"] = "team"
    assert (pods.called(pod("web")), pods.called(other)) == ("web", "team_web")
    assert pods.namespace_of(pod("web", hostNetwork=True, nodeName="node-1")) == "node-1"
