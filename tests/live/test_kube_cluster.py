"""A cluster's nodes and pods are what Kubernetes' are to the network: namespaces, routes, rules, processes, packets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit import kube
from labkit.errors import Duplicate, LabkitError, NotFound, WrongUse
from labkit.kube import wire
from labkit.kube.cni import Runtime, parse
from labkit.kube.cni.bench import BIN
from labkit.kube.cni.call import PATH
from labkit.kube.control import ready
from labkit.lab import run
from labkit.net import here, link, namespace, route
from labkit.packets import ping
from labkit.state import snapshot

ECHO = {"name": "echo", "image": "echo"}


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    data = {"name": name}
    if "namespace" in spec:
        data["namespace"] = spec.pop("namespace")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": data,
            "spec": {"containers": list(containers) or [ECHO], **spec}}  # fmt: skip


def deployment(name: str, replicas: int, *containers: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": list(containers) or [ECHO]}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}}  # fmt: skip


@pytest.fixture
def cluster() -> Iterator[kube.Cluster]:
    with kube.up(nodes=3) as up:
        yield up


def until(condition: Callable[[], Any], seconds: float = 15, every: float = 0.02) -> Any:
    end = time.monotonic() + seconds
    while not (seen := condition()) and time.monotonic() < end:
        time.sleep(every)
    return seen


def told(*words: str) -> Any:
    return json.loads(subprocess.run(["ip", "-json", *words], capture_output=True, text=True, check=True).stdout)


def phases(cluster: kube.Cluster) -> dict[str, str]:
    return {one["metadata"]["name"]: one["status"]["phase"] for one in cluster.get("pods")}


def where(cluster: kube.Cluster) -> list[str]:
    return sorted(one["spec"]["nodeName"] for one in cluster.get("pods"))


# ---- nodes


def test_a_node_has_an_address_a_route_to_each_other_nodes_pods_and_forwards(cluster: kube.Cluster) -> None:
    ways = {one["dst"]: one.get("gateway") for one in told("-n", "node-2", "route")}
    assert ways == {
        "default": "192.168.50.1",
        "10.244.1.0/24": "192.168.50.11",
        "10.244.3.0/24": "192.168.50.13",
        "192.168.50.0/24": None,
    }
    assert run("node-2", "sysctl -n net.ipv4.ip_forward").stdout == "1\n"
    assert ping("node-1", cluster.ip("node-3")).answered


def test_what_leaves_the_cluster_is_masqueraded_and_what_stays_is_not(cluster: kube.Cluster) -> None:
    cluster.apply([pod("red", nodeName="node-1"), pod("blue", nodeName="node-2")])
    assert "from: 10.244.1.2" in cluster.exec("red", "curl -s 10.244.2.2:8080").stdout
    assert run("host", "ip route get 10.244.1.2").status != 0  # the host knows no way to pods, and yet answers:
    assert ping("red", "192.168.50.1").answered


def test_the_three_requirements_hold_and_one_that_is_broken_fails(cluster: kube.Cluster) -> None:
    cluster.apply(deployment("web", 6))
    assert cluster.requirements().ok
    route.delete("10.244.3.0/24", namespace="node-1")
    assert not cluster.requirements().ok


def test_a_node_joins_and_leaves(cluster: kube.Cluster) -> None:
    assert cluster.join() == "node-4"
    assert {one["dst"] for one in told("-n", "node-1", "route")} >= {"10.244.4.0/24"}
    cluster.apply(pod("far", nodeName="node-4"))
    assert ping("node-1", cluster.ip("far")).answered
    cluster.delete("node", "node-4")
    assert "10.244.4.0/24" not in {one["dst"] for one in told("-n", "node-1", "route")}
    assert "node-4" not in namespace.names()
    assert "far" not in phases(cluster)


def test_a_node_that_fails_loses_its_pods_and_gets_them_back(cluster: kube.Cluster) -> None:
    cluster.apply([deployment("web", 3), pod("bare", nodeName="node-2")])
    cluster.fail("node-2")
    assert "node-2" not in namespace.names()
    assert not ping("node-1", "192.168.50.12", timeout=0.2).answered
    assert cluster.wait("deployment", "web")
    alive = [one for one in cluster.get("pods") if ready(one)]
    assert len(alive) == 3
    assert "node-2" not in {one["spec"]["nodeName"] for one in alive}
    verdict = cluster.requirements()
    assert verdict.ok, verdict
    cluster.join("node-2")
    assert cluster.wait("pod", "bare")
    assert ping("node-1", cluster.ip("bare")).answered
    assert cluster.requirements().ok


def test_drain_moves_what_a_deployment_makes_again_and_refuses_the_rest(cluster: kube.Cluster) -> None:
    cluster.apply([deployment("web", 3), pod("bare", nodeName="node-1")])
    with pytest.raises(WrongUse, match=r"use --force to override.*default/bare"):
        cluster.drain("node-1")
    assert phases(cluster)["bare"] == "Running"
    cluster.drain("node-1", force=True)
    assert cluster.wait("deployment", "web")
    assert "node-1" not in where(cluster)
    cluster.uncordon("node-1")
    cluster.scale("web", 4)
    assert "node-1" in where(cluster)


# ---- pods


def test_the_containers_of_a_pod_share_one_namespace_and_its_ports(cluster: kube.Cluster) -> None:
    first, second = ECHO, {"name": "second", "image": "echo", "args": ["--port", "9090"]}
    cluster.apply(pod("pair", first, second))
    assert cluster.exec("pair", "hostname").stdout == "pair\n"
    assert "container: second" in cluster.exec("pair", "curl -s 127.0.0.1:9090").stdout
    assert "container: echo" in cluster.exec("pair", "curl -s 127.0.0.1:8080").stdout
    cluster.apply(pod("clash", ECHO, {"name": "second", "image": "echo"}), wait=False)
    one = until(lambda: next((s for s in cluster.pod("clash")["status"].get("containerStatuses", [])
                              if s["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"), None))  # fmt: skip
    assert one["name"] == "second"
    assert "address already in use" in cluster.logs("clash", container="second")


def test_the_pause_holds_the_namespace_and_when_it_is_killed_the_pod_begins_anew(cluster: kube.Cluster) -> None:
    cluster.apply(pod("web"))
    before = os.readlink(namespace.path("web"))
    os.kill(int(before.split("/")[2]), signal.SIGKILL)
    assert until(lambda: any(one["reason"] == "SandboxChanged" for one in cluster.events("web")))
    assert cluster.wait("pod", "web")
    assert os.readlink(namespace.path("web")) != before
    assert ping("node-1", cluster.ip("web")).answered


def test_a_container_that_is_killed_runs_again(cluster: kube.Cluster) -> None:
    cluster.apply(pod("web"))
    status = cluster.pod("web")["status"]["containerStatuses"][0]
    os.kill(int(status["containerID"].removeprefix("labkit://")), signal.SIGKILL)
    again = until(lambda: cluster.pod("web")["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert again
    assert cluster.wait("pod", "web")
    assert "pod: web" in cluster.exec("web", "curl -s 127.0.0.1:8080").stdout


def test_a_pod_that_is_not_to_run_again_has_succeeded_or_failed(cluster: kube.Cluster) -> None:
    says = {"name": "c", "image": "tools", "command": ["echo", "done"]}
    fails = {"name": "c", "image": "tools", "command": ["false"]}
    cluster.apply([pod("good", says, restartPolicy="Never"), pod("bad", fails, restartPolicy="Never")], wait=False)
    assert until(lambda: phases(cluster) == {"good": "Succeeded", "bad": "Failed"})
    assert cluster.logs("good") == "done\n"


def test_a_host_network_pod_lives_in_its_nodes_namespace(cluster: kube.Cluster) -> None:
    cluster.apply(pod("agent", hostNetwork=True, nodeName="node-2"))
    assert cluster.ip("agent") == "192.168.50.12"
    assert "pod: agent" in run("node-1", "curl -s 192.168.50.12:8080").stdout


def test_a_host_port_that_no_plugin_publishes_is_warned_of(cluster: kube.Cluster) -> None:
    published = {"name": "echo", "image": "echo", "ports": [{"containerPort": 8080, "hostPort": 80}]}
    assert "hostPort has no effect" in repr(cluster.apply(pod("web", published)))
    assert cluster.apply(deployment("shop", 1))[0]["warnings"] == []


def test_the_pods_of_a_deployment_that_no_node_has_go_with_it(cluster: kube.Cluster) -> None:
    for node in cluster.nodes:
        cluster.cordon(node.name)
    cluster.apply(deployment("web", 3), wait=False)
    assert until(lambda: len(cluster.get("pods")) == 3)
    cluster.delete("deployment", "web")
    assert until(lambda: not cluster.get("pods"))


def test_nothing_can_be_run_in_a_pod_whose_node_has_failed(cluster: kube.Cluster) -> None:
    cluster.apply(pod("web", nodeName="node-1"))
    cluster.fail("node-1")
    with pytest.raises(WrongUse, match="does not run"):
        cluster.exec("web", "ls")
    with pytest.raises(WrongUse, match="has failed already"):
        cluster.fail("node-1")


def test_pods_of_two_kubernetes_namespaces_may_have_one_name(cluster: kube.Cluster) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
    cluster.apply([space, pod("web"), pod("web", namespace="team")])
    assert {"web", "team_web"} <= set(namespace.names())
    assert cluster.ip("web") != cluster.ip("web", namespace="team")
    cluster.delete("namespace", "team")
    assert until(lambda: "team_web" not in namespace.names())


def test_a_deployment_keeps_its_number_and_follows_its_template(cluster: kube.Cluster) -> None:
    cluster.apply(deployment("web", 3))
    gone = cluster.get("pods")[0]["metadata"]["name"]
    cluster.delete("pod", gone)
    assert cluster.wait("deployment", "web")
    assert len(cluster.get("pods")) == 3
    old = {one["metadata"]["name"] for one in cluster.get("pods")}
    cluster.apply(deployment("web", 3, {"name": "echo", "image": "udp-echo"}))
    assert until(lambda: len(cluster.get("pods")) == 3 and not old & set(phases(cluster)))
    cluster.delete("deployment", "web")
    assert until(lambda: not cluster.get("pods"))


def test_what_is_deleted_is_gone_from_the_kernel_and_its_address_is_free(cluster: kube.Cluster) -> None:
    cluster.apply(pod("web", nodeName="node-1"))
    address = cluster.ip("web")
    cluster.delete("pod", "web")
    assert "web" not in namespace.names()
    assert [one["ifname"] for one in told("-n", "node-1", "link") if one["ifname"].startswith("veth")] == []
    cluster.apply(pod("next", nodeName="node-1"))
    assert cluster.ip("next") == address


# ---- CNI in pods


def tables(node: str, container: str) -> dict[str, Any]:
    def plain(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        unstable = {"ifindex", "link_index", "link_netnsid", "linkinfo"}
        return [{key: value for key, value in one.items() if key not in unstable} for one in records]

    return {
        "node": plain(told("-n", node, "-d", "address")),
        "container": [plain(told("-n", container, "-d", what)) for what in ("address", "route")],
    }


def state_of(node: str, container: str) -> dict[str, Any]:
    taken = subprocess.run(f"cd /run/labkit/cni/{node}/networks/pods && tail -n +1 10.*", shell=True, text=True,
                           capture_output=True, check=True).stdout  # fmt: skip
    result = Path(f"/run/labkit/cni/{node}/results/pods-{container}-eth0").read_text()
    return {**tables(node, container), "taken": taken, "result": json.loads(result)}


def test_the_native_path_leaves_what_the_executable_leaves(cluster: kube.Cluster) -> None:
    cluster.apply(pod("web", {"name": "c", "image": "pause"}, nodeName="node-1"))
    native = state_of("node-1", "web")
    configuration = Path("/run/labkit/kube/node-1/net.d/10-pods.conflist").read_text()
    cluster.delete("pod", "web")
    link.delete("cni0", namespace="node-1")
    namespace.add("web")
    link.set_up("lo", namespace="web")
    try:
        Runtime("node-1", path=(*PATH, BIN)).add(parse(configuration), "web", namespace="web")
        assert state_of("node-1", "web") == native
        Runtime("node-1", path=(*PATH, BIN)).delete(parse(configuration), "web")
    finally:
        namespace.delete("web")


def test_the_commands_that_are_told_make_the_same(cluster: kube.Cluster) -> None:
    cluster.apply(pod("web", {"name": "c", "image": "pause"}, nodeName="node-1"))
    built = [state_of("node-1", "web")[what] for what in ("node", "container")]
    ways = told("-n", "node-1", "route")
    rules = run("node-1", "iptables -t nat -S").stdout
    lines = [line for name in ("node-1", "web") for line in cluster.commands(name)]
    cluster.down()
    link.add_bridge("underlay")
    try:
        subprocess.run(["sh", "-ec", "\n".join(lines)], check=True)
        assert [state[what] for state in [tables("node-1", "web")] for what in ("node", "container")] == built
        assert [one["dst"] for one in told("-n", "node-1", "route")] == [one["dst"] for one in ways]
        assert run("node-1", "iptables -t nat -S").stdout == rules
    finally:
        for name in ("node-1", "web"):
            namespace.delete(name)
        link.delete("underlay")


def test_the_reference_plugins_wire_pods_too() -> None:
    with kube.up(nodes=2, cni="bridge") as cluster:
        published = {"name": "echo", "image": "echo", "ports": [{"containerPort": 8080, "hostPort": 80}]}
        cluster.apply([pod("red", nodeName="node-1"), pod("blue", published, nodeName="node-2")])
        assert cluster.requirements().ok
        assert "from: 10.244.1.2" in cluster.exec("red", "curl -s 10.244.2.2:8080").stdout
        assert min(os.listdir("/run/labkit/cni/node-1/networks/pods")) == "10.244.1.2"
        assert "pod: blue" in run("node-1", "curl -s -m 5 192.168.50.12:80").stdout
        cluster.delete("pod", "red")
        assert "10.244.1.2" not in os.listdir("/run/labkit/cni/node-1/networks/pods")


LOCAL = {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}]}
LISTS = {
    "ptp": [{"type": "ptp", "ipam": LOCAL}],
    "bridge, tuning": [
        {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": LOCAL},
        {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}},
    ],
    "bridge, firewall": [
        {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": LOCAL},
        {"type": "firewall"},
    ],
}


@pytest.mark.parametrize("name", LISTS)
def test_any_list_of_plugins_makes_a_pod_network(name: str) -> None:
    if here.on_user_mode_linux() and "firewall" in name:
        pytest.skip("needs: iptables as the plugin firewall calls it, which User-Mode Linux lacks")
    with kube.up(nodes=2, cni={"cniVersion": "1.0.0", "name": "pods", "plugins": LISTS[name]}) as cluster:
        cluster.apply([pod("red", nodeName="node-1"), pod("blue", nodeName="node-2"), pod("near", nodeName="node-1")])
        verdict = cluster.requirements()
        assert verdict.ok, verdict


def test_a_plugin_that_fails_is_told_and_tried_again(cluster: kube.Cluster, tmp_path: Path) -> None:
    where = Path("/run/labkit/kube/node-1/net.d/10-pods.conflist")
    good = where.read_text()
    where.write_text(json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "no-such-plugin"}]}))
    cluster.apply(pod("web", nodeName="node-1"), wait=False)
    failed = until(lambda: [one for one in cluster.events("web") if one["reason"] == "FailedCreatePodSandBox"])
    assert "no-such-plugin" in failed[0]["message"]
    assert phases(cluster) == {"web": "Pending"}
    where.write_text(good)
    assert cluster.wait("pod", "web")


def test_a_full_range_is_told_and_others_go_on(cluster: kube.Cluster) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "small"}, "spec": {"podCIDR": "10.244.99.0/29"}}
    cluster.apply(node)
    cluster.apply([pod(f"p{number}", {"name": "c", "image": "pause"}, nodeName="small") for number in range(6)],
                  wait=False)  # fmt: skip
    told = until(lambda: [one for one in cluster.events("p5") if "no address is free" in one["message"]])
    assert told
    assert cluster.wait("pod", *(f"p{number}" for number in range(5)))
    cluster.delete("pod", "p0")
    assert cluster.wait("pod", "p5")


def test_a_pod_deleted_while_its_plugin_hangs_goes_and_leaves_nothing(cluster: kube.Cluster, tmp_path: Path) -> None:
    folder = Path("/run/labkit/kube/node-1/net.d/10-pods.conflist")
    script = tmp_path / "slow"
    script.write_text('#!/bin/sh\nsleep 2\necho \'{"cniVersion": "1.0.0"}\'\n')
    script.chmod(0o755)
    folder.write_text(json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "slow"}]}))
    os.symlink(script, f"{wire.FOLDER}/node-1/bin/slow")
    cluster.apply(pod("web", nodeName="node-1"), wait=False)
    assert until(lambda: "web" in namespace.names())
    cluster.delete("pod", "web")
    assert "web" not in namespace.names()
    assert phases(cluster) == {}


# ---- wrong use, and bad luck

REFUSED: list[tuple[Any, str]] = [
    ([pod("web"), pod("Web")], "Web"),
    (pod("node-1"), "a network namespace is called so"),
    (pod("web", nodeName="node-9"), 'no node "node-9"'),
    (pod("web", namespace="nowhere"), 'namespaces "nowhere" not found'),
    ({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"podCIDR": "10.244.1.0/25"}}, "overlaps"),
    (
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"podCIDR": "10.1.0.0/24"}},
        "10.1.0.0/24",
    ),
]


@pytest.fixture(scope="module")
def quiet() -> Iterator[None]:
    """A cluster in which nothing is to happen."""
    with kube.up(nodes=1):
        yield


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("manifest", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_is_refused_and_nothing_of_it_is_there(manifest: Any, words: str) -> None:
    cluster = kube.Cluster()
    with pytest.raises(LabkitError, match=words):
        cluster.apply(manifest)
    assert len(cluster.get("pods")) == 0
    assert len(cluster.get("nodes")) == 1


@pytest.mark.usefixtures("quiet")
def test_of_several_documents_one_is_bad_and_none_is_applied() -> None:
    cluster = kube.Cluster()
    good = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: echo}]}\n"
    with pytest.raises(WrongUse, match="imagee"):
        cluster.apply(good + "---\n" + good.replace("name: a", "name: b").replace("image:", "imagee:"))
    assert len(cluster.get("pods")) == 0


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nodes": 0}, "1 to 100"),
        ({"network": "flanel"}, "networks: bridge"),
        ({"cni": "bridg"}, "native, bridge"),
        ({"cni": {"name": "pods", "plugins": []}}, "plugins"),
        ({"cni": "/no/such.conflist"}, "no such file"),
    ],
)
def test_a_cluster_that_cannot_be_is_not_begun(options: dict[str, Any], words: str) -> None:
    with pytest.raises(LabkitError, match=words):
        kube.up(**options)
    assert len(kube.Cluster().get("nodes")) == 1  # the one that was there is


def test_a_namespace_or_link_that_is_in_the_way_is_named_and_nothing_is_left() -> None:
    namespace.add("node-2")
    try:
        with pytest.raises(Duplicate, match="node-2"):
            kube.up(nodes=3)
        assert namespace.names() == ["node-2"]
        assert "underlay" not in {one["ifname"] for one in told("link")}
    finally:
        namespace.delete("node-2")


def test_without_a_cluster_a_client_says_how_to_start_one() -> None:
    with pytest.raises(NotFound, match="labkit cluster up"):
        kube.Cluster()


def test_a_cluster_takes_the_place_of_the_one_before_and_down_leaves_nothing() -> None:
    before = {one["ifname"] for one in told("link")}
    kube.up(nodes=1).apply(pod("web"))
    cluster = kube.up(nodes=2)
    assert len(cluster.get("pods")) == 0
    cluster.down()
    cluster.down()
    assert {one["ifname"] for one in told("link")} == before
    assert namespace.names() == []
    assert not os.path.exists(wire.SOCKET)


def test_a_controller_that_is_killed_takes_all_with_it_and_the_next_begins_clean() -> None:
    cluster = kube.up(nodes=2)
    cluster.apply(pod("web"))
    os.kill(cluster.status()["pid"], signal.SIGKILL)
    assert until(lambda: not any(os.path.exists(namespace.path(name)) for name in ("node-1", "node-2", "web")))
    with kube.up(nodes=1) as again:
        assert len(again.get("nodes")) == 1
        assert namespace.names() == ["node-1"]


STARTING: dict[str, Callable[[], object]] = {
    "nothing yet": lambda: True,
    "its first node": namespace.names,
    "its first cable": lambda: any(one.ifname == "node-1" for one in snapshot("host")["host"].links),
}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("phase", STARTING)
def test_a_start_that_is_given_up_leaves_no_cluster(phase: str, how: signal.Signals) -> None:
    starting = subprocess.Popen([sys.executable, "-c", "from labkit import kube; kube.up(nodes=40)"],
                                stderr=subprocess.DEVNULL)  # fmt: skip
    children = Path(f"/proc/{starting.pid}/task/{starting.pid}/children")
    controller = int(until(lambda: children.read_text(encoding="ascii"), every=0))
    assert until(STARTING[phase], every=0)
    os.kill(controller, signal.SIGSTOP)
    assert not os.path.exists(wire.SOCKET)  # it is starting still
    starting.send_signal(how)
    os.kill(controller, signal.SIGCONT)
    assert starting.wait() == -how
    assert until(lambda: not os.path.exists(f"/proc/{controller}"))
    assert (namespace.names(), [one.ifname for one in snapshot("host")["host"].links]) == ([], ["lo"])
    with kube.up(nodes=2) as again:
        assert len(again.get("nodes")) == 2


def test_a_command_of_another_process_sees_the_same_cluster(cluster: kube.Cluster) -> None:
    code = "from labkit import kube; print(sorted(one.name for one in kube.Cluster().nodes))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout == "['node-1', 'node-2', 'node-3']\n"
