"""How objects are shown: kubectl's columns, spaces and words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from labkit.kube.describing import describe
from labkit.kube.printing import duration, events, pod_status, table

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
MADE = "2026-01-31T11:59:18Z"
RUNNING = {"running": {"startedAt": "2026-01-31T11:59:20Z"}}


def status(state: dict[str, Any], name: str = "echo", restarts: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "ready": "running" in state, "restartCount": restarts, "state": state, **more}


def pod(*containers: dict[str, Any], name: str = "web", phase: str = "Running", **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True"}]
    spec = {"containers": [{"name": one["name"], "image": "echo"} for one in containers], "nodeName": "node-1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": MADE, **metadata},
        "spec": spec,
        "status": {
            "phase": phase,
            "podIP": "10.244.1.2",
            "hostIP": "192.168.50.11",
            "conditions": conditions,
            "containerStatuses": list(containers),
        },
    }


# --- tables


def test_pods_look_as_in_kubectl() -> None:
    two = pod(status(RUNNING, "a"), status({"waiting": {"reason": "CrashLoopBackOff"}}, "b", 3), name="a-longer-name")
    assert table("Pod", [pod(status(RUNNING)), two], now=NOW) == (
        "NAME            READY   STATUS             RESTARTS   AGE\n"
        "web             1/1     Running            0          42s\n"
        "a-longer-name   1/2     CrashLoopBackOff   3          42s\n"
    )


def test_wide_pods_have_an_address_and_a_node() -> None:
    waiting = pod(status({"waiting": {"reason": "ContainerCreating"}}), name="new", phase="Pending")
    del waiting["status"]["podIP"], waiting["spec"]["nodeName"]
    assert table("Pod", [pod(status(RUNNING)), waiting], wide=True, now=NOW) == (
        "NAME   READY   STATUS              RESTARTS   AGE   IP           NODE     NOMINATED NODE   READINESS GATES\n"
        "web    1/1     Running             0          42s   10.244.1.2   node-1   <none>           <none>\n"
        "new    0/1     ContainerCreating   0          42s   <none>       <none>   <none>           <none>\n"
    )


def test_pods_of_all_namespaces_have_their_namespace_in_front() -> None:
    assert table("Pod", [pod(status(RUNNING), namespace="kube-system")], now=NOW, namespaces=True) == (
        "NAMESPACE     NAME   READY   STATUS    RESTARTS   AGE\n"
        "kube-system   web    1/1     Running   0          42s\n"
    )  # fmt: skip


def test_restarts_say_when_the_last_one_was() -> None:
    ended = {"terminated": {"finishedAt": "2026-01-31T11:59:55Z", "exitCode": 1}}
    assert "   4 (5s ago)   42s\n" in table("Pod", [pod(status(RUNNING, restarts=4, lastState=ended))], now=NOW)


def node(name: str, ready: str = "True", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name, "creationTimestamp": MADE, "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"podCIDR": "10.244.1.0/24", **spec},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "addresses": [{"type": "InternalIP", "address": "192.168.50.11"}],
            "nodeInfo": {"kubeletVersion": "labkit"},
        },
    }


def test_nodes_look_as_in_kubectl() -> None:
    nodes = [node("node-1"), node("node-2", unschedulable=True), node("node-3", "Unknown")]
    nodes[1]["metadata"]["labels"] = {}
    assert table("Node", nodes, now=NOW) == (
        "NAME     STATUS                     ROLES           AGE   VERSION\n"
        "node-1   Ready                      control-plane   42s   labkit\n"
        "node-2   Ready,SchedulingDisabled   <none>          42s   labkit\n"
        "node-3   NotReady                   control-plane   42s   labkit\n"
    )
    assert table("Node", nodes[:1], wide=True, now=NOW).splitlines()[1].split()[5:] == [
        "192.168.50.11", "<none>", "<unknown>", "<unknown>", "<unknown>"
    ]  # fmt: skip


def deployment() -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [
                {"name": "echo", "image": "echo"},
                {"name": "side", "image": "tools", "args": ["sleep", "9"]},
            ]
        },
    }
    return {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "creationTimestamp": MADE},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2},
    }


def test_deployments_look_as_in_kubectl() -> None:
    assert table("Deployment", [deployment()], wide=True, now=NOW) == (
        "NAME   READY   UP-TO-DATE   AVAILABLE   AGE   CONTAINERS   IMAGES       SELECTOR\n"
        "web    2/3     3            2           42s   echo,side    echo,tools   app=web\n"
    )


def test_namespaces_look_as_in_kubectl() -> None:
    one = {"metadata": {"name": "blue", "creationTimestamp": MADE}, "status": {"phase": "Active"}}
    assert table("Namespace", [one], wide=True, now=NOW) == "NAME   STATUS   AGE\nblue   Active   42s\n"


@pytest.mark.parametrize("kind", ["Pod", "Node", "Deployment", "Namespace"])
def test_nothing_is_said_in_a_sentence(kind: str) -> None:
    assert table(kind, []) == "No resources found\n"


def test_what_has_no_status_yet_has_a_row() -> None:
    for one in (pod(status(RUNNING)), node("node-1"), deployment()):
        del one["status"], one["metadata"]["creationTimestamp"]
        assert "<unknown>" in table(one["kind"], [one], wide=True, now=NOW)


# --- the status of a pod


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (pod(phase="Pending"), "Pending"),
        (pod(status({"waiting": {"reason": "ContainerCreating"}}), phase="Pending"), "ContainerCreating"),
        (pod(status(RUNNING)), "Running"),
        (pod(status({"waiting": {"reason": "CrashLoopBackOff"}})), "CrashLoopBackOff"),
        (pod(status({"terminated": {"reason": "Error", "exitCode": 1}}), phase="Failed"), "Error"),
        (pod(status({"terminated": {"reason": "Completed", "exitCode": 0}}), phase="Succeeded"), "Completed"),
        (pod(status({"terminated": {"exitCode": 137}})), "ExitCode:137"),
        (pod(status({"terminated": {"reason": "Completed"}}, "a"), status(RUNNING, "b")), "Running"),
        (pod(status({"terminated": {"reason": "Error"}}, "a"), status(RUNNING, "b")), "Error"),
        (pod(status(RUNNING, "a"), status({"waiting": {"reason": "ErrImagePull"}}, "b")), "ErrImagePull"),
        (pod(status(RUNNING), deletionTimestamp=MADE), "Terminating"),
        (pod(status(RUNNING), phase="Succeeded", deletionTimestamp=MADE), "Succeeded"),
    ],
)
def test_the_status_of_a_pod(one: dict[str, Any], said: str) -> None:
    assert pod_status(one) == said


# --- ages


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (119, "119s"),
        (120, "2m"),
        (184, "3m4s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (28740, "7h59m"),
        (28800, "8h"),
        (172799, "47h"),
        (172800, "2d"),
        (187200, "2d4h"),
        (691200, "8d"),
        (62899200, "728d"),
        (63072000, "2y"),
        (63158400, "2y1d"),
        (252288000, "8y"),
    ],
)
def test_a_time_is_written_as_kubectl_writes_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


# --- events and descriptions


def event(reason: str, message: str, count: int = 1, kind: str = "Normal", name: str = "web") -> dict[str, Any]:
    return {
        "type": kind,
        "reason": reason,
        "message": message,
        "count": count,
        "involvedObject": {"kind": "Pod", "name": name, "namespace": "default"},
        "firstTimestamp": MADE,
        "lastTimestamp": "2026-01-31T11:59:50Z",
    }


def test_events_look_as_in_kubectl() -> None:
    happened = [event("Scheduled", "Successfully assigned"), event("BackOff", "again\nand again", 3, "Warning")]
    assert events(happened, NOW) == (
        "LAST SEEN           TYPE      REASON      OBJECT    MESSAGE\n"
        "10s                 Normal    Scheduled   Pod/web   Successfully assigned\n"
        "10s (x3 over 42s)   Warning   BackOff     Pod/web   again; and again\n"
    )


def test_a_pod_is_described() -> None:
    ended = {"terminated": {"reason": "Error", "exitCode": 1}}
    one = pod(status(RUNNING, restarts=1, lastState=ended), labels={"app": "web", "tier": "front"})
    one["spec"]["containers"][0] |= {
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "args": ["--port", "8080"],
        "env": [{"name": "A", "value": "1"}],
    }
    assert (
        describe(one, [event("Started", "Started container echo"), event("Other", "", name="db")], NOW)
        == """\
Name:         web
Namespace:    default
Node:         node-1/192.168.50.11
Start Time:   <unknown>
Labels:       app=web
              tier=front
Annotations:  <none>
Status:       Running
IP:           10.244.1.2
Containers:
  echo:
    Image:          echo
    Port:           8080/TCP
    Host Port:      0/TCP
    Args:           --port 8080
    State:          Running
      Started:      Sat, 31 Jan 2026 11:59:20 +0000
    Last State:     Terminated
      Reason:       Error
      Exit Code:    1
    Ready:          True
    Restart Count:  1
    Environment:    A=1
Conditions:
  Type   Status  Reason
  Ready  True
Node-Selectors:  <none>
Events:
  Type    Reason   Age   Message
  ----    ------   ----  -------
  Normal  Started  10s   Started container echo
""".replace("---- -", "----  -").replace("10s  S", "10s   S")
    )


@pytest.mark.parametrize("one", [node("node-1"), deployment()])
def test_other_kinds_are_described_too(one: dict[str, Any]) -> None:
    said = describe(one, (), NOW)
    assert said.startswith("Name:  ")
    assert one["metadata"]["name"] in said
    assert said.endswith("Events:  <none>\n")
