"""`labkit cluster` and `labkit kubectl` from a shell: what they say, where, and with which exit status."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest
import yaml

from labkit import cli, kube
from labkit.commands import cluster as cluster_command
from labkit.errors import NotFound
from labkit.kube.objects import read, typed

LABKIT = [sys.executable, "-m", "labkit.cli"]
POD = """
apiVersion: v1
kind: Pod
metadata: {name: db, labels: {app: db}}
spec:
  nodeName: node-2
  containers:
  - {name: tools, image: tools, env: [{name: COLOUR, value: red}]}
  - {name: echo, image: echo}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: echo, image: echo}]}
"""
NOT_FOUND = 'Error from server (NotFound): pods "nope" not found\n'

Done = subprocess.CompletedProcess[str]


def labkit(*words: str, stdin: str = "") -> Done:
    """The command in a process of its own."""
    return subprocess.run([*LABKIT, *words], input=stdin, capture_output=True, text=True, timeout=60, check=False)


def kubectl(*words: str, stdin: str = "") -> Done:
    """The command in this process, which is quicker; `exec` starts programs, which write to its own streams."""
    if "exec" in words:
        return labkit("kubectl", *words, stdin=stdin)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        status = cli.main(["kubectl", *words])
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def said(*words: str, stdin: str = "") -> str:
    """What it prints when all goes well."""
    done = kubectl(*words, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(*words: str, stdin: str = "") -> str:
    """What it complains of."""
    done = kubectl(*words, stdin=stdin)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def running() -> Iterator[kube.Cluster]:
    with kube.up(nodes=2) as up:
        yield up


@pytest.fixture
def cluster(running: kube.Cluster) -> Iterator[kube.Cluster]:
    """Two nodes and nothing on them."""
    yield running
    for kind in ("deployments", "pods"):
        for one in running.get(kind):
            with suppress(NotFound):  # it was on its way
                running.delete(kind, one["metadata"]["name"])
    for node in running.nodes:
        running.uncordon(node.name)


@pytest.fixture
def db(cluster: kube.Cluster) -> None:
    """The pod db, of two containers, on node-2."""
    cluster.apply(POD)


@pytest.fixture
def web(cluster: kube.Cluster) -> None:
    """The Deployment web, of two pods."""
    cluster.apply(DEPLOYMENT)


# --- the cluster


def test_a_cluster_comes_and_goes() -> None:
    done = labkit("cluster", "up", "--nodes", "1")
    assert done.returncode == 0, done.stderr
    assert "node-1   Ready    192.168.50.11   10.244.1.0/24   0\n" in done.stdout
    assert said("get", "nodes").splitlines()[1].split()[:3] == ["node-1", "Ready", "<none>"]
    assert labkit("cluster", "down").returncode == 0
    assert labkit("cluster", "down").returncode == 0
    assert refused("get", "nodes") == (
        "The connection to the server was refused - no cluster runs in this lab machine. Start one: labkit cluster up\n"
    )
    status = labkit("cluster", "status")
    assert (status.returncode, status.stdout) == (2, "")
    assert status.stderr.endswith("start one with labkit cluster up, or in Python labkit.kube.up()\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--network", "calico"), "with network 'calico': there is none of that name"),
        (("--cni", "weave"), "with the CNI configuration 'weave': there is none of that name"),
        (("--cni", "./weave.conflist"), "no such file"),
        (("--nodes", "0"), "'0' is not a whole number from 1 on"),
        (("--nodes", "101"), "a cluster of 101 nodes: not a usable number"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(words: tuple[str, ...], complaint: str) -> None:
    done = labkit("cluster", "up", *words)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_where_no_kubectl_is_the_name_asks_this_cluster(cluster: kube.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    cluster_command.offer_kubectl()
    try:
        words = [f"{cluster_command.BIN}/kubectl", "get", "nodes", "-o", "name"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "node/node-1\nnode/node-2\n"
    finally:
        os.unlink(f"{cluster_command.BIN}/kubectl")


def test_a_node_fails_and_comes_back(cluster: kube.Cluster) -> None:
    assert labkit("cluster", "fail", "node-2").stdout == "node/node-2 failed\n"
    assert said("get", "nodes", "node-2").splitlines()[1].split()[1] == "NotReady"
    assert labkit("cluster", "join", "node-2").stdout == "node/node-2 joined\n"
    assert said("wait", "node/node-2", "--for=condition=Ready") == "node/node-2 condition met\n"
    assert 'nodes "node-9" not found' in labkit("cluster", "fail", "node-9").stderr


def test_a_new_node_joins_and_leaves(cluster: kube.Cluster) -> None:
    assert labkit("cluster", "join").stdout == "node/node-3 joined\n"
    assert "node-3   Ready    192.168.50.13   10.244.3.0/24   0\n" in labkit("cluster", "status").stdout
    assert said("delete", "node", "node-3") == 'node "node-3" deleted\n'
    assert "node-3" not in said("get", "nodes")


# --- apply and delete


def test_what_is_applied_is_created_then_unchanged_then_configured(cluster: kube.Cluster, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(f"{POD}---{DEPLOYMENT}")
    assert said("apply", "-f", str(file)) == "pod/db created\ndeployment.apps/web created\n"
    assert said("apply", "-f", str(tmp_path)) == "pod/db unchanged\ndeployment.apps/web unchanged\n"
    assert said("apply", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: 1")) == (
        "deployment.apps/web configured\n"
    )
    assert said("delete", "-f", str(file)) == 'pod "db" deleted\ndeployment.apps "web" deleted\n'
    assert refused("delete", "-f", str(file)).startswith(
        f'Error from server (NotFound): error when deleting "{file}": pods "db" not found\n'
    )


def test_what_has_no_effect_is_a_warning_on_the_other_stream(cluster: kube.Cluster) -> None:
    done = kubectl("apply", "-f", "-", stdin=POD.replace("image: echo", "image: echo, tty: true"))
    assert (done.returncode, done.stdout) == (0, "pod/db created\n")
    assert done.stderr.startswith("Warning: spec.containers[1].tty has no effect: ")


def test_of_a_good_document_and_a_bad_one_none_is_applied(cluster: kube.Cluster) -> None:
    assert refused("apply", "-f", "-", stdin=f"{DEPLOYMENT}---{POD.replace('image', 'imgae')}") == (
        'Error from server (BadRequest): error when creating "STDIN": Pod in version "v1" cannot be handled as a Pod: '
        'strict decoding error: unknown field "spec.containers[0].imgae", unknown field "spec.containers[1].imgae"\n'
        'did you mean "spec.containers[0].image"?\n'
        "document 2 of 2, from line 12 on; none of them was applied\n"
    )
    assert kubectl("get", "all").stderr == "No resources found in default namespace.\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "error: no objects passed to apply\n"),
        ("a: b: c", "error: error parsing YAML: line 1: mapping values are not allowed in this context\n"),
        ("kind: Pod", "error: error validating data: [apiVersion not set]\n"),
        (POD.replace("Pod", "Service"), 'error: no matches for kind "Service" in version "v1"\n'),
        (
            POD.replace("name: db", "name: DB"),
            'The Pod "DB" is invalid: metadata.name: Invalid value: "DB": a lowercase',
        ),
        (POD.replace("node-2", "node-7"), 'The Pod "db" is invalid: spec.nodeName: '),
        (
            POD.replace("name: db,", "name: db, namespace: blue,"),
            'Error from server (NotFound): error when creating "STDIN": ',
        ),
    ],
)
def test_a_document_that_cannot_be_is_refused_as_kubectl_says_it(
    cluster: kube.Cluster, text: str, complaint: str
) -> None:
    assert refused("apply", "-f", "-", stdin=text).startswith(complaint)


def test_a_file_that_is_not_there_is_named(cluster: kube.Cluster) -> None:
    assert refused("apply", "-f", "/nowhere.yaml") == 'error: the path "/nowhere.yaml" does not exist\n'


def test_what_is_deleted_is_gone_when_the_command_ends(db: None) -> None:
    assert os.path.exists("/run/netns/db")
    assert said("delete", "pod/db") == 'pod "db" deleted\n'
    assert not os.path.lexists("/run/netns/db")
    assert refused("get", "pod", "db") == NOT_FOUND.replace("nope", "db")


def test_deleting_goes_on_after_what_is_not_there(db: None) -> None:
    done = kubectl("delete", "pod", "nope", "db")
    assert (done.returncode, done.stdout, done.stderr) == (1, 'pod "db" deleted\n', NOT_FOUND)
    assert said("delete", "pod", "nope", "--ignore-not-found") == ""


def test_nothing_is_deleted_without_a_name(cluster: kube.Cluster) -> None:
    assert refused("delete", "pods").startswith("error: resource(s) were provided, but no name was specified\n")
    assert "Forbidden" in refused("delete", "ns", "default")


# --- get


def test_pods_are_shown_with_kubectls_columns(db: None) -> None:
    head, row = said("get", "pods", "-o", "wide").splitlines()
    assert head.split("   ")[:1] == ["NAME"]
    form = r"db +2/2 +Running +0 +\d+s +10\.244\.2\.\d+ +node-2 +<none> +<none>"
    assert re.fullmatch(form, row), row
    assert head.index("NODE") == row.index("node-2")


def test_objects_come_whole_too(db: None) -> None:
    one = yaml.safe_load(said("get", "pod", "db", "-o", "yaml"))
    assert one == json.loads(said("get", "pod/db", "-o", "json"))
    assert json.loads(said("get", "pods", "-o", "json"))["items"] == [one]
    assert typed(one).status.podIP == one["status"]["podIP"]
    assert said("get", "pods,nodes", "-o", "name") == "pod/db\nnode/node-1\nnode/node-2\n"


def test_what_get_prints_can_be_applied_again(db: None, web: None) -> None:
    for kind, name in (("pod", "db"), ("deploy", "web"), ("node", "node-1")):
        whole = said("get", kind, name, "-o", "yaml")
        assert read(whole)[0].object["metadata"]["name"] == name
        assert said("apply", "-f", "-", stdin=whole).endswith(f"/{name} unchanged\n")


def test_labels_select(db: None, web: None) -> None:
    assert len(said("get", "pods", "-l", "app=web", "--no-headers").splitlines()) == 2
    assert said("get", "pods", "-l", "app!=web", "-o", "name") == "pod/db\n"
    assert said("get", "pods", "-l", "!app", "-o", "name") == ""
    assert refused("get", "pods", "-l", "app in (web)").startswith("error: unable to parse requirement")


def test_several_kinds_are_several_tables(db: None, web: None) -> None:
    tables = said("get", "all").split("\n\n")
    assert [table.split()[0] for table in tables] == ["NAME", "NAME"]
    assert "deployment.apps/web   2/2 " in tables[0]
    assert "pod/db " in tables[1]


def test_namespaces_part_the_pods(cluster: kube.Cluster) -> None:
    said("apply", "-f", "-", stdin="{apiVersion: v1, kind: Namespace, metadata: {name: blue}}")
    said("apply", "-n", "blue", "-f", "-", stdin=POD.replace("name: db", "name: db, namespace: blue"))
    assert kubectl("get", "pods").stderr == "No resources found in default namespace.\n"
    assert (
        said("-n", "blue", "get", "pods", "-o", "name") == said("get", "pods", "-n", "blue", "-o", "name") == "pod/db\n"
    )
    assert said("get", "pods", "-A").splitlines()[1].split()[:2] == ["blue", "db"]
    assert said("delete", "ns", "blue") == 'namespace "blue" deleted\n'
    said("wait", "-n", "blue", "pod/db", "--for=delete")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("get", "podz"), 'error: the server doesn\'t have a resource type "podz"\n'),
        (("get", "pod", "nope"), NOT_FOUND),
        (("get", "pod", "nope", "-A"), "error: a resource cannot be retrieved by name across all namespaces\n"),
        (("get", "pod/nope", "nope"), "error: there is no need to specify a resource type as a separate argument"),
        (("describe", "pod", "nope"), NOT_FOUND),
        (("logs", "nope"), NOT_FOUND),
        (("exec", "nope", "--", "true"), NOT_FOUND),
        (("exec", "nope", "true"), "error: exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND]"),
        (("exec", "nope"), "error: you must specify at least one command for the container\n"),
        (("wait", "pod/nope", "--for=condition=Ready"), NOT_FOUND),
        (("cordon", "nope"), 'Error from server (NotFound): nodes "nope" not found\n'),
        (("scale", "pod/db", "--replicas=2"), "error: cannot scale a pod\n"),
    ],
)
def test_what_is_not_there_is_said_as_kubectl_says_it(
    cluster: kube.Cluster, words: tuple[str, ...], complaint: str
) -> None:
    assert refused(*words).startswith(complaint)


def test_a_watch_shows_what_changes(cluster: kube.Cluster) -> None:
    watch = subprocess.Popen([*LABKIT, "kubectl", "get", "pods", "-w"], stdout=subprocess.PIPE, text=True)
    assert watch.stdout is not None
    try:
        said("apply", "-f", "-", stdin=POD)
        lines = [watch.stdout.readline()]
        while "Running" not in lines[-1]:
            lines.append(watch.stdout.readline())
        said("delete", "pod", "db")
        while "Terminating" not in lines[-1]:
            lines.append(watch.stdout.readline())
        watch.send_signal(signal.SIGINT)
        assert watch.wait() == 130
    finally:
        watch.kill()
        watch.communicate()
    assert lines[0].startswith("NAME")
    assert all(line.startswith("db ") for line in lines[1:])


# --- exec, logs, describe, events


def test_a_command_runs_in_the_pod(db: None) -> None:
    done = kubectl(
        "exec", "db", "-c", "tools", "--", "sh", "-c", "hostname; echo $COLOUR; ip -br -4 address show eth0; exit 3"
    )
    name, colour, address = done.stdout.splitlines()
    assert (name, colour) == ("db", "red")
    assert "10.244.2." in address
    assert (done.returncode, done.stderr) == (3, "command terminated with exit code 3\n")


def test_a_command_reads_what_is_given_to_it_only_with_i(db: None) -> None:
    assert said("exec", "-i", "db", "-c", "tools", "--", "cat", stdin="told") == "told"
    assert said("exec", "db", "-c", "tools", "--", "cat", stdin="told") == ""


def test_of_several_containers_the_first_is_taken_and_that_is_said(db: None) -> None:
    done = kubectl("exec", "db", "--", "true")
    assert (done.returncode, done.stderr) == (0, 'Defaulted container "tools" out of: tools, echo\n')
    assert refused("exec", "db", "-c", "nope", "--", "true") == (
        "Error from server (BadRequest): container nope is not valid for pod db\nits containers: tools, echo\n"
    )


def test_a_program_that_is_not_there_is_named(db: None) -> None:
    assert 'exec: "nosuch": executable file not found in $PATH' in refused("exec", "db", "-c", "tools", "--", "nosuch")


def test_a_container_tells_what_it_has_served(db: None) -> None:
    assert "container: echo\n" in said("exec", "db", "-c", "tools", "--", "curl", "-s", "127.0.0.1:8080/x")
    until(lambda: "GET /x" in said("logs", "db", "-c", "echo"))
    assert said("logs", "db", "-c", "echo", "--tail", "1").count("\n") == 1


def test_a_deployments_first_pod_is_taken(web: None) -> None:
    done = kubectl("exec", "deploy/web", "--", "hostname")
    assert done.stdout.startswith("web-")
    assert done.stderr == f"Found 2 pods, using pod/{done.stdout}"


def test_an_object_is_described_with_what_happened_to_it(db: None, web: None) -> None:
    told = said("describe", "pod", "db")
    assert re.search(r"^Node: +node-2/192\.168\.50\.12$", told, re.MULTILINE)
    assert re.search(r"^  Normal +Started +\d+s.* +Started container echo$", told, re.MULTILINE)
    for kind in ("node", "deploy", "ns"):
        assert said("describe", kind).startswith("Name: ")
    assert "Started container echo" in said("events")
    assert said("get", "events", "-A").startswith("LAST SEEN ")


# --- nodes, replicas, waiting


def test_a_deployment_is_scaled(web: None) -> None:
    assert said("scale", "deployment/web", "--replicas=3") == "deployment.apps/web scaled\n"
    assert said("wait", "deploy/web", "--for=condition=Available") == "deployment.apps/web condition met\n"
    assert len(said("get", "pods", "--no-headers").splitlines()) == 3


def test_waiting_ends_in_time_with_a_sentence(cluster: kube.Cluster) -> None:
    said("apply", "-f", "-", stdin=POD.replace("nodeName: node-2", "nodeSelector: {disk: fast}"))
    done = kubectl("wait", "pod/db", "--for=condition=Ready", "--timeout=100ms")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: timed out waiting for the condition on pods/db\n"
    assert said("wait", "pod/nope", "--for=delete") == ""


def test_a_node_is_cordoned_and_drained(db: None, web: None) -> None:
    assert said("cordon", "node-2") == "node/node-2 cordoned\n"
    assert said("cordon", "node-2") == "node/node-2 already cordoned\n"
    assert "Ready,SchedulingDisabled" in said("get", "node", "node-2")
    done = kubectl("drain", "node-2")
    assert (done.returncode, done.stdout) == (1, "node/node-2 already cordoned\n")
    assert done.stderr.endswith(
        "error: cannot delete Pods that declare no controller (use --force to override): default/db\n"
    )
    told = said("drain", "node-2", "--force", "--ignore-daemonsets").splitlines()
    assert told[0] == "node/node-2 already cordoned"
    assert told[-1] == "node/node-2 drained"
    assert {"evicting pod default/db", "pod/db evicted"} < set(told)
    assert said("wait", "deploy/web", "--for=condition=Available") == "deployment.apps/web condition met\n"
    assert "node-2" not in said("get", "pods", "-o", "wide")
    assert said("uncordon", "node-2") == "node/node-2 uncordoned\n"


def test_the_kinds_are_listed(cluster: kube.Cluster) -> None:
    assert said("api-resources").splitlines()[-1].split() == ["deployments", "deploy", "apps/v1", "true", "Deployment"]


def test_a_file_without_a_namespace_is_of_the_one_that_is_asked_for(cluster: None) -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: lone}\nspec: {containers: [{name: c, image: pause}]}\n"
    assert said("apply", "-n", "kube-system", "-f", "-", stdin=text) == "pod/lone created\n"
    assert kubectl("get", "pod", "lone").returncode == 1
    assert kubectl("delete", "-f", "-", stdin=text).returncode == 1  # there is none in default
    assert said("delete", "-n", "kube-system", "-f", "-", stdin=text) == 'pod "lone" deleted\n'
    other = text.replace("{name: lone}", "{name: lone, namespace: default}")
    refused = kubectl("apply", "-n", "kube-system", "-f", "-", stdin=other)
    assert refused.returncode == 1
    assert (
        'the namespace from the provided object "default" does not match the namespace "kube-system"' in refused.stderr
    )
    assert kubectl("apply", "-n", "nowhere", "-f", "-", stdin=text).returncode == 1


def test_several_nodes_are_cordoned_and_a_deployment_is_waited_for_by_its_own_condition(cluster: None) -> None:
    assert said("cordon", "node-1", "node-2") == "node/node-1 cordoned\nnode/node-2 cordoned\n"
    assert said("uncordon", "node-1", "node-2") == "node/node-1 uncordoned\nnode/node-2 uncordoned\n"
    waited = kubectl("wait", "deployment/web", "--for=condition=Ready")
    assert (waited.returncode, "--for=condition=Available" in waited.stderr) == (1, True)
