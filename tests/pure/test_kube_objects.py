"""What a document asks for, read with Kubernetes' own types; what it refuses is in test_kube_refused."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from labkit.commands import kubectl
from labkit.errors import LabkitError, NotFound
from labkit.kube.objects import check, plain, read, typed
from labkit.kube.objects.fields import FIELDS, SET_BY_SERVER, UNMODELLED
from labkit.kube.objects.form import env_name, label, label_key, label_value, port_name, subdomain
from labkit.kube.objects.kinds import KINDS, kind
from labkit.kube.objects.shape import places, shape
from labkit.kube.processes.images import IMAGES

DOCS = os.path.join(os.path.dirname(__file__), "../../docs/kube.md")
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: echo
    image: echo
    ports: [{containerPort: 8080}]
"""
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web", "tier": "front"}},
            "spec": {"containers": [{"name": "echo", "image": "echo:1.0"}]},
        },
    },
}


def pod(**spec: Any) -> dict[str, Any]:
    document = read(POD)[0].object
    document["spec"].update(spec)
    return document


def one(**fields: Any) -> dict[str, Any]:
    """A pod of one container with these fields."""
    return pod(containers=[{"name": "echo", "image": "echo", **fields}])


# --- what is asked for


def test_a_pod_has_the_defaults_of_the_api_server() -> None:
    found = read(POD)[0]
    assert found.warnings == ()
    assert found.object == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}, "namespace": "default"},
        "spec": {
            "restartPolicy": "Always",
            "containers": [
                {"name": "echo", "image": "echo", "ports": [{"containerPort": 8080, "protocol": "TCP"}]},
            ],
        },
    }


def test_a_deployment_has_one_replica_and_its_pods_have_their_defaults() -> None:
    spec = check(DEPLOYMENT).object["spec"]
    assert spec["replicas"] == 1
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


def test_a_node_has_its_name_as_a_label() -> None:
    found = check({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-9"}}).object
    assert found["metadata"]["labels"] == {"kubernetes.io/hostname": "node-9"}
    assert "namespace" not in found["metadata"]


def test_a_nodes_range_is_told_twice() -> None:
    for spec in ({"podCIDR": "10.0.0.0/24"}, {"podCIDRs": ["10.0.0.0/24"]}):
        found = check({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-9"}, "spec": spec}).object
        assert found["spec"] == {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}


def test_a_port_of_the_hosts_network_is_the_hosts() -> None:
    ports = [{"containerPort": 80}]
    found = check(pod(hostNetwork=True, containers=[{"name": "a", "image": "echo", "ports": ports}])).object
    assert found["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_what_the_server_says_is_forgotten() -> None:
    document = pod() | {"status": {"phase": "Running", "containerStatuses": [{"name": "echo"}]}}
    document["metadata"] |= {"uid": "7", "resourceVersion": "12", "creationTimestamp": "2026-01-31T12:00:00Z"}
    assert check(document) == read(POD)[0]


def test_the_document_itself_is_not_changed() -> None:
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blue", "uid": None}}
    check(document)
    assert document == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blue", "uid": None}}


def test_null_asks_for_nothing() -> None:
    assert check(pod(nodeName=None, initContainers=None, securityContext=None)) == read(POD)[0]


def test_python_data_is_read_as_json_has_it() -> None:
    document = pod(containers=({"name": "echo", "image": "echo"},))
    document["metadata"]["labels"] = {1: "one", False: "no"}
    found = check(document).object
    assert found["metadata"]["labels"] == {"1": "one", "false": "no"}
    assert found["spec"]["containers"] == [{"name": "echo", "image": "echo"}]


def test_two_containers_may_want_one_port() -> None:
    two = [{"name": name, "image": "echo", "ports": [{"containerPort": 80}]} for name in "ab"]
    assert len(check(pod(containers=two)).object["spec"]["containers"]) == 2


# --- reading


def test_documents_come_in_their_order_and_empty_ones_are_passed_over() -> None:
    text = f"# first\n---\n{POD}\n---\n---\n{POD.replace('name: web', 'name: db')}"
    assert [found.object["metadata"]["name"] for found in read(text)] == ["web", "db"]


def test_json_is_read_and_so_is_a_list() -> None:
    text = '{"apiVersion": "v1", "kind": "List", "items": [%s]}'
    blue = '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blue"}}'
    assert read(text % blue) == read(blue)


def test_yaml_lists_too() -> None:
    items = "\n- ".join(POD.strip().splitlines()).replace("\n- ", "\n  ")
    assert read(f"apiVersion: v1\nkind: List\nitems:\n- {items}\n") == read(POD)


@pytest.mark.parametrize("word", ["12:30", "2026-01-31", "1.0.0", "0x", "~x"])
def test_a_word_that_kubectl_reads_as_text_is_a_text(word: str) -> None:
    assert read(POD.replace("[{containerPort: 8080}]", f"[]\n    args: [{word}]"))[0].object["spec"]["containers"][0][
        "args"
    ] == [word]


@pytest.mark.parametrize(("word", "number"), [("8080", 8080), ("0x50", 80), ("0o120", 80), ("0120", 80)])
def test_numbers_are_numbers(word: str, number: int) -> None:
    found = read(POD.replace("8080", word))[0].object
    assert found["spec"]["containers"][0]["ports"][0]["containerPort"] == number


def test_anchors_and_merges_are_read() -> None:
    text = POD.replace("metadata:", "metadata: &known").replace("- name: echo", "- &one\n    name: echo")
    text += "  - {<<: *one, name: other, image: tools}\n"
    names = [(given["name"], given["image"]) for given in read(text)[0].object["spec"]["containers"]]
    assert names == [("echo", "echo"), ("other", "tools")]


# --- left out


def test_what_has_no_effect_is_a_warning_that_names_it() -> None:
    assert check(one(resources={"limits": {"cpu": "1"}}, imagePullPolicy="Always")).warnings == (
        "spec.containers[0].resources has no effect: nothing here limits CPU or memory",
        "spec.containers[0].imagePullPolicy has no effect: no image is downloaded",
    )


def test_what_has_no_effect_stays_in_the_object() -> None:
    assert check(one(tty=True)).object["spec"]["containers"][0]["tty"] is True


def test_what_asks_for_nothing_is_no_warning() -> None:
    assert check(pod(volumes=[], hostPID=False, securityContext={}, affinity={})).warnings == ()


def test_a_warning_of_a_template_says_where() -> None:
    spec = DEPLOYMENT["spec"] | {"strategy": {"type": "Recreate"}}
    (warning,) = check(DEPLOYMENT | {"spec": spec}).warnings
    assert warning == "spec.strategy has no effect: pods of an older template are replaced all at once"


def test_all_errors_of_an_object_are_told_together() -> None:
    with pytest.raises(LabkitError) as refused:
        check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "Web"}, "spec": {"containers": [{}, {}]}})
    assert str(refused.value).count("\n* ") == 5
    assert refused.value.reason == "Invalid"  # type: ignore[attr-defined]


# --- the tables


def modelled() -> dict[str, Any]:
    """The types of Kubernetes' API that modelled fields lead to."""
    found: dict[str, Any] = {}
    todo = [one.model for one in KINDS.values()]
    for cls in todo:
        if cls.__name__ not in found:
            found[cls.__name__] = cls
            inside = FIELDS[cls.__name__].modelled - SET_BY_SERVER - {"status"}
            todo += [slot.type for key, slot in shape(cls).items() if key in inside and slot.type]
    return found


def test_every_type_that_is_modelled_is_in_the_table_and_no_other() -> None:
    assert set(FIELDS) == set(modelled())


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_in_the_table_is_kubernetes_own_and_in_one_list(name: str) -> None:
    fields = FIELDS[name]
    listed = [*fields.modelled, *fields.left_out, *fields.refused]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(shape(modelled()[name]))


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_without_which_kubernetes_takes_no_object_is_modelled(name: str) -> None:
    needed = {key for key, slot in shape(modelled()[name]).items() if slot.required}
    assert needed <= FIELDS[name].modelled


def test_where_a_field_stands_is_known() -> None:
    assert places(kind("pod"))["image"] == "spec.containers[].image"
    assert places(kind("deploy"))["image"] == "spec.template.spec.containers[].image"


# --- types


def test_an_object_is_typed_and_plain_again() -> None:
    found = read(POD)[0].object
    model = typed(found)
    assert type(model).__name__ == "Pod"
    assert model.spec.containers[0].ports[0].containerPort == 8080
    assert plain(model) == found


def test_what_a_status_does_not_say_is_empty() -> None:
    running = {"name": "echo", "image": "echo", "ready": True, "restartCount": 0, "state": {}}
    (status,) = typed(pod() | {"status": {"containerStatuses": [running]}}).status.containerStatuses
    assert (status.ready, status.imageID) == (True, "")


def test_the_types_do_not_bring_an_http_client_and_lightkube_is_still_whole() -> None:
    code = (
        "import sys; from labkit.kube.objects import read; read(sys.argv[1]); "
        "print('httpx2' in sys.modules, 'ssl' in sys.modules); import lightkube; print(lightkube.Client.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code, POD], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "Client"]


@pytest.mark.parametrize(
    "module",
    ["labkit", "labkit.kube", "labkit.kube.objects", "labkit.kube.cni.plugin", "labkit.kube.processes.spawner"],
)
def test_nothing_is_loaded_before_a_document_is_read(module: str) -> None:
    code = f"import sys, {module}; print({{'yaml', 'lightkube', 'msgspec'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


# --- kinds


@pytest.mark.parametrize(
    "word",
    ["deployment", "deployments", "deploy", "Deployment", "deployment.apps", "deployments.apps", "deployments.v1.apps"],
)
def test_a_kind_has_many_words(word: str) -> None:
    assert kind(word) is KINDS["Deployment"]


def test_an_unknown_word_is_said_as_kubectl_says_it() -> None:
    with pytest.raises(NotFound) as refused:
        kind("podz")
    assert str(refused.value) == (
        'the server doesn\'t have a resource type "podz"\n'
        "did you mean 'pod'? resource types: pods, nodes, namespaces, deployments"
    )


# --- forms


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        (label, ["a", "0", "a-b", 63 * "a"], ["", "-a", "a-", "A", "a.b", "a_b", "a\n", 64 * "a", "ä"]),
        (subdomain, ["a", "a.b", "1.2.3"], ["", ".a", "a.", "a..b", "A", "a_b", "a\n", 254 * "a"]),
        (label_key, ["a", "A_b.c-d", "k8s.io/name"], ["", "a b", "/a", "a/", "a/b/c", "A.io/x", 64 * "a", "-a"]),
        (label_value, ["", "a", "A_b.c-d", 63 * "a"], ["-", "a b", "a/b", "a-", 64 * "a"]),
        (port_name, ["http", "h2", "a-b"], ["", "80", "HTTP", "a--b", "-a", "a-", 16 * "a", "a_b"]),
        (env_name, ["A", "a.b", "1", "A B"], ["", "A=B", "ä", "a\n"]),
    ],
)
def test_a_form(form: Any, right: list[str], wrong: list[str]) -> None:
    assert [text for text in right if form(text)] == []
    assert [text for text in wrong if not form(text)] == []


# --- the documentation


def fields_as_markdown() -> str:
    """What docs/kube.md says of the fields of each type."""
    parts = []
    for name, fields in FIELDS.items():
        if fields.modelled >= {"apiVersion", "kind"}:
            continue
        others = [
            key for key in shape(modelled()[name]) if key not in {*fields.modelled, *fields.left_out, *fields.refused}
        ]
        rows = [f"| `{key}` | no effect, a warning | {why} |" for key, why in fields.left_out.items()]
        rows += [f"| `{key}` | refused | {why} |" for key, why in fields.refused.items()]
        rows += ["| " + ", ".join(f"`{key}`" for key in others) + f" | refused | {UNMODELLED} |"] if others else []
        known = ", ".join(f"`{key}`" for key in sorted(fields.modelled - SET_BY_SERVER)) or "nothing"
        table = "\n\n| field | what becomes of it | why |\n|---|---|---|\n" + "\n".join(rows) if rows else ""
        parts.append(f"**{name}**: {known}{table}")
    return "\n\n".join(parts)


def images_as_markdown() -> str:
    """What docs/kube.md says of the images."""
    rows = []
    for one in IMAGES.values():
        ports = ", ".join(f"{number}/{protocol}" for number, protocol in one.ports)
        rows.append(
            f"| `{one.name}` | {one.about} | {ports or '-'} | {f'`{one.arguments}`' if one.arguments else '-'} |"
        )
    return "| image | what it does | ports | args |\n|---|---|---|---|\n" + "\n".join(rows)


@pytest.mark.parametrize(("part", "made"), [("fields", fields_as_markdown), ("images", images_as_markdown)])
def test_the_documentation_says_what_the_tables_say(part: str, made: Callable[[], str]) -> None:
    """LABKIT_GOLDEN=write writes it."""
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->\n"
    with open(DOCS, encoding="utf-8") as file:
        before, _, rest = file.read().partition(begin)
    said, _, after = rest.partition(end)
    if os.environ.get("LABKIT_GOLDEN") == "write":
        said = f"\n{made()}\n\n"
        with open(DOCS, "w", encoding="utf-8") as file:
            file.write(before + begin + said + end + after)
    assert said.strip() == made()


def test_the_documentation_has_every_verb() -> None:
    parser = argparse.ArgumentParser()
    kubectl.add_arguments(parser)
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    with open(DOCS, encoding="utf-8") as file:
        text = file.read()
    assert [verb for verb in verbs.choices if f"`{verb}" not in text] == []
