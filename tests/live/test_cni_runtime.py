"""The runtime calls plugins as libcni does, whatever they do; and what they build carries packets."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import LabkitError, NotFound, Unavailable, WrongUse
from labkit.kube.cni import Network, PluginRefused, Runtime, parse, record, records
from labkit.kube.cni.bench import BIN
from labkit.kube.cni.call import PATH
from labkit.net import here, link, namespace

GIVEN = {"type": "host-local", "subnet": "10.50.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
BRIDGE = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": GIVEN}
OURS = {"type": "labkit-bridge", "bridge": "cni0", "ipam": {"subnet": "10.50.0.0/24"}}
Script = Callable[..., Runtime]


@pytest.fixture
def node() -> Iterator[Runtime]:
    """A node with two containers, web and db, and the runtime on it."""
    for name in ("node", "web", "db"):
        namespace.add(name)
    yield Runtime("node", path=(*PATH, BIN))
    for name in ("node", "web", "db"):
        namespace.delete(name)
    subprocess.run(["rm", "-rf", "/run/labkit/cni"], check=True)


@pytest.fixture
def script(node: Runtime, tmp_path: Path) -> Script:
    """Makes plugins of shell scripts, and gives a runtime that finds them."""

    def make(**bodies: str) -> Runtime:
        for name, body in bodies.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / name).chmod(0o755)
        node.path = (str(tmp_path), *node.path)
        return node

    return make


def network(*plugins: dict[str, Any], version: str = "1.0.0", **more: Any) -> Network:
    return parse({"cniVersion": version, "name": "pods", "plugins": list(plugins), **more})


def ping(source: str, address: str) -> bool:
    command = ["ip", "netns", "exec", source, "ping", "-c1", "-W2", address]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def links(where: str) -> set[str]:
    said = subprocess.run(["ip", "-n", where, "-json", "link"], capture_output=True, text=True, check=True).stdout
    return {one["ifname"] for one in json.loads(said)} - {"lo"}


NETS = {
    "bridge": [BRIDGE],
    "ptp": [{"type": "ptp", "ipam": GIVEN}],
    "bridge and portmap": [BRIDGE, {"type": "portmap", "capabilities": {"portMappings": True}}],
    "bridge and firewall": [BRIDGE, {"type": "firewall"}],
    "bridge and tuning": [BRIDGE, {"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}],
    "ours": [OURS],
    "ours and host-local": [{**OURS, "ipam": GIVEN}],
}


@pytest.mark.parametrize("name", NETS)
def test_containers_that_plugins_wired_reach_each_other(node: Runtime, name: str) -> None:
    if here.on_user_mode_linux() and ("portmap" in name or "firewall" in name):
        pytest.skip("needs: iptables as those plugins call it, which User-Mode Linux lacks")
    pods = network(*NETS[name])
    node.validate(pods)
    first = node.add(pods, "c1", namespace="web")
    second = node.add(pods, "c2", namespace="db")
    assert [one["ips"][0]["address"] for one in (first, second)] == ["10.50.0.2/24", "10.50.0.3/24"]
    if name != "bridge and firewall":  # that lets pass what was asked for, and its policy is the node's
        assert ping("web", "10.50.0.3")
    node.delete(pods, "c1")
    node.delete(pods, "c2")
    assert links("web") == links("db") == set()
    assert not os.listdir("/run/labkit/cni/node/results")


def test_a_chain_is_asked_in_order_and_in_reverse_with_the_result_before(script: Script) -> None:
    runtime = script(
        first='echo "{\\"cniVersion\\": \\"1.0.0\\", \\"ips\\": []}"', second="sed -n '/prevResult/,$p' >&2; echo '{}'"
    )
    pods = network({"type": "first"}, {"type": "second"})
    assert runtime.add(pods, "c1", namespace="web", args={"K8S_POD_NAME": "web-1"}) == {}
    assert [(one.operation, one.plugin) for one in runtime.calls] == [("ADD", "first"), ("ADD", "second")]
    told = json.loads(runtime.calls[1].stdin)
    assert told["prevResult"] == {"cniVersion": "1.0.0", "ips": []}
    assert "prevResult" not in json.loads(runtime.calls[0].stdin)
    assert runtime.calls[0].environment == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": "/run/netns/web",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "K8S_POD_NAME=web-1",
        "CNI_PATH": ":".join(runtime.path),
    }
    runtime.calls.clear()
    runtime.delete(pods, "c1")
    assert [(one.operation, one.plugin) for one in runtime.calls] == [("DEL", "second"), ("DEL", "first")]
    assert runtime.calls[0].environment["CNI_ARGS"] == "K8S_POD_NAME=web-1"
    assert all(json.loads(one.stdin)["prevResult"] == {"cniVersion": "1.0.0"} for one in runtime.calls)


BODIES = {  # what a plugin does, and what is said of it
    "echo nonsense": "it printed what is not a JSON object: 'nonsense'",
    "kill -SEGV $$": "it was ended by signal 11 (Segmentation fault)",
    "echo broken >&2; exit 3": "exit status 3, and it printed no error result",
    "echo oh; exit 1": "exit status 1, and it printed 'oh'",
    ":": "printed no result",
    'echo \'{"cniVersion": "1.0.0", "code": 11, "msg": "later"}\'; exit 1': "later",
    "sleep 60 & sleep 60": "it did not end in time, and was ended",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_plugin_that_fails_is_told_and_everybody_is_asked_to_del(script: Script, body: str) -> None:
    runtime = script(good="echo '{\"ips\": []}'", bad=f'[ "$CNI_COMMAND" = DEL ] && exit 0\n{body}')
    runtime.timeout = 0.5
    with pytest.raises(PluginRefused) as refused:
        runtime.add(network({"type": "good"}, {"type": "bad"}), "c1", namespace="web")
    assert BODIES[body] in refused.value.message
    assert refused.value.hint
    assert refused.value.code == (11 if "code" in body else 0)
    assert [one.plugin for one in runtime.calls if one.operation == "DEL"] == ["bad", "good"]
    assert runtime.attached("pods") == []


def test_a_plugin_that_is_missing_or_not_executable_or_no_program_is_told(script: Script, tmp_path: Path) -> None:
    runtime = script(loose="", odd="")
    (tmp_path / "loose").chmod(0o644)
    (tmp_path / "odd").write_text("#!/no/such/interpreter\n")
    with pytest.raises(Unavailable, match="not executable"):
        runtime.add(network({"type": "loose"}), "c1", namespace="web")
    with pytest.raises(Unavailable, match="no such file"):
        runtime.add(network({"type": "odd"}), "c1", namespace="web")
    with pytest.raises(NotFound, match="failed to call plugin 'cilium'") as refused:
        runtime.add(network({"type": "cilium"}), "c1", namespace="web")
    assert "labkit-bridge" in refused.value.hint


def test_add_is_refused_without_a_namespace_and_a_second_time(node: Runtime) -> None:
    pods = network(BRIDGE)
    with pytest.raises(NotFound):
        node.add(pods, "c1", namespace="nowhere")
    with pytest.raises(WrongUse, match="no namespace"):
        node.add(pods, "c1")
    with pytest.raises(WrongUse, match="failed to name container"):
        node.add(pods, "-c1", namespace="web")
    with pytest.raises(WrongUse, match="failed to name interface"):
        node.add(pods, "c1", namespace="web", ifname="a-name-much-too-long")
    assert node.calls == []
    node.add(pods, "c1", namespace="web")
    with pytest.raises(WrongUse, match="is on 'pods' already"):
        node.add(pods, "c1", namespace="web")


def test_check_finds_what_was_tampered_with_unless_it_is_disabled(node: Runtime) -> None:
    pods = network(OURS)
    with pytest.raises(WrongUse, match="no ADD came before"):
        node.check(pods, "c1")
    node.add(pods, "c1", namespace="web")
    node.check(pods, "c1")
    link.set_down("eth0", namespace="web")
    with pytest.raises(PluginRefused, match="eth0 is missing or down"):
        node.check(pods, "c1")
    node.check(network(OURS, disableCheck=True), "c1")
    with pytest.raises(WrongUse, match=r"0\.3\.1 has no CHECK"):
        node.check(network(OURS, version="0.3.1"), "c1")


def test_gc_frees_what_leaked_by_del_and_by_gc(node: Runtime) -> None:
    pods = network(OURS, version="1.1.0")
    node.add(pods, "c1", namespace="web")
    node.add(pods, "c2", namespace="db")
    os.unlink("/run/labkit/cni/node/results/pods-c2-eth0")  # the runtime forgot it: only GC can tell the plugin
    node.calls.clear()
    node.gc(network(OURS, version="1.1.0", disableGC=True), [])
    assert node.calls == []
    node.gc(pods, [("c1", "eth0")])
    assert [one.operation for one in node.calls] == ["GC"]
    assert links("web") == {"eth0"}
    assert links("db") == set()
    node.gc(pods, [])
    assert [one.operation for one in node.calls] == ["GC", "DEL", "GC"]
    assert links("web") == set()


def test_gc_before_1_1_0_is_a_del_of_what_is_not_valid(node: Runtime) -> None:
    pods = network(BRIDGE)
    node.add(pods, "c1", namespace="web")
    namespace.delete("web")
    node.calls.clear()
    node.gc(pods, [])
    assert [one.operation for one in node.calls] == ["DEL"]
    assert node.attached("pods") == []
    namespace.add("web")


def test_status_says_50_when_no_address_is_free_and_51_when_the_bridge_is_down(node: Runtime) -> None:
    pods = network({**OURS, "ipam": {"subnet": "10.50.0.0/30"}}, version="1.1.0")
    node.status(pods)
    node.add(pods, "c1", namespace="web")
    with pytest.raises(PluginRefused, match="no address is free") as refused:
        node.status(pods)
    assert refused.value.code == 50
    link.set_down("cni0", namespace="node")
    with pytest.raises(PluginRefused, match="cni0 is down") as refused:
        node.status(pods)
    assert refused.value.code == 51
    node.status(network(BRIDGE))  # before 1.1.0 nobody is asked


def test_a_version_that_a_plugin_does_not_speak_is_found_before_the_first_add(node: Runtime) -> None:
    with pytest.raises(WrongUse, match=r"plugin 'bridge' does not speak CNI 1\.1\.0"):
        node.validate(network(BRIDGE, version="1.1.0"))
    with pytest.raises(WrongUse, match="plugin 'host-local' does not speak"):
        node.validate(network({**OURS, "ipam": GIVEN}, version="1.1.0"))
    with pytest.raises(PluginRefused, match="incompatible CNI versions") as refused:
        node.add(network(BRIDGE, version="1.1.0"), "c1", namespace="web")
    assert refused.value.code == 1


def test_the_command_that_is_shown_asks_the_same(node: Runtime) -> None:
    pods = network(OURS)
    result = node.add(pods, "c1", namespace="web")
    shown = node.calls[-1].command
    node.delete(pods, "c1")
    again = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout) == result


def test_a_container_that_has_no_name_here_is_wired_by_its_path(node: Runtime) -> None:
    with subprocess.Popen(["ip", "netns", "exec", "web", "sleep", "60"]) as process:
        try:
            namespace_path = f"/proc/{process.pid}/ns/net"
            while os.stat(namespace_path).st_ino != namespace.inode("web"):
                pass
            namespace.delete("web")
            node.add(network(OURS), "c1", namespace=namespace_path)
            said = subprocess.run(
                ["nsenter", f"--net={namespace_path}", "ip", "-br", "link"], capture_output=True, text=True, check=True
            )
            assert "eth0" in said.stdout
            assert not [name for name in namespace.names() if name.startswith("cni-")]
        finally:
            process.kill()
    namespace.add("web")


def test_the_shim_records_and_is_otherwise_the_plugin(node: Runtime) -> None:
    folder = record("bridge", "host-local", path=node.path)
    plain = node.path
    node.path = (folder, *plain)
    pods = network(BRIDGE)
    result = node.add(pods, "c1", namespace="web")
    assert {one.plugin: one.operation for one in records()} == {"bridge": "ADD", "host-local": "ADD"}
    called = next(one for one in records() if one.plugin == "bridge")
    asked = node.calls[-1]
    assert (called.stdin, called.stdout, called.status) == (asked.stdin, asked.stdout, 0)
    assert called.environment == asked.environment
    assert json.loads(called.stdout) == result
    with pytest.raises(LabkitError) as refused:
        node.add(network(BRIDGE, version="1.1.0"), "c9", namespace="db")
    assert "incompatible CNI versions" in str(refused.value)
    assert records()[-2].status == 1
    node.path = plain
