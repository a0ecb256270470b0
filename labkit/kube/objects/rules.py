"""Can this object be? Its names, labels, ports and images, field by field, as the API server's validation asks.

Source: Kubernetes' pkg/apis/core/validation and pkg/apis/apps/validation. Only what concerns one object alone: whether
a name is taken or a Namespace is there, the store knows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

from labkit.errors import NotFound
from labkit.kube.objects import form as form
from labkit.kube.objects.errors import duplicate, forbidden, invalid, required, unsupported
from labkit.kube.objects.kinds import Kind
from labkit.kube.processes.images import IMAGES, image

__all__ = ["errors"]

Object = dict[str, Any]
_MOST = 2**31 - 1  # of an int32


def errors(one: Object, kind: Kind) -> list[str]:
    """Return what is wrong with an object whose fields are of the right types and have their defaults."""
    return [*_metadata(one, kind), *_RULES[kind.name](one)]


def _metadata(one: Object, kind: Kind) -> Iterator[str]:
    data = one["metadata"]
    if not data.get("name"):
        yield required("metadata.name", "name or generateName is required")
    else:
        yield from _formed("metadata.name", data["name"], form.label if kind.name == "Namespace" else form.subdomain)
    if kind.namespaced:
        yield from _formed("metadata.namespace", data["namespace"], form.label)
    elif data.get("namespace"):
        yield forbidden("metadata.namespace", "not allowed on this type")
    yield from _labels(data.get("labels"), "metadata.labels")
    for key in data.get("annotations", {}):
        yield from _formed("metadata.annotations", key, form.label_key)


def _labels(labels: Object | None, path: str) -> Iterator[str]:
    for key, value in (labels or {}).items():
        yield from _formed(path, key, form.label_key)
        yield from _formed(path, value, form.label_value)


def _formed(path: str, text: str, of: form.Form) -> Iterator[str]:
    for why in of(text):
        yield invalid(path, text, why)


def _pod(one: Object) -> Iterator[str]:
    if "spec" not in one:
        yield required("spec.containers")
        return
    yield from _pod_spec(one["spec"], "spec", ("Always", "Never", "OnFailure"))


def _pod_spec(spec: Object, path: str, policies: tuple[str, ...]) -> Iterator[str]:
    containers = spec.get("containers", [])
    if "containers" in spec and not containers:
        yield required(f"{path}.containers")
    names: set[str] = set()
    for place, container in enumerate(containers):
        yield from _container(container, f"{path}.containers[{place}]", names, bool(spec.get("hostNetwork")))
    yield from _host_ports(containers, path)
    if spec["restartPolicy"] not in policies:
        yield unsupported(f"{path}.restartPolicy", spec["restartPolicy"], policies)
    yield from _labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    if spec.get("nodeName"):
        yield from _formed(f"{path}.nodeName", spec["nodeName"], form.subdomain)
    if spec.get("hostname"):
        yield from _formed(f"{path}.hostname", spec["hostname"], form.label)


def _container(one: Object, path: str, names: set[str], host_network: bool) -> Iterator[str]:
    name = one.get("name")
    if name == "":
        yield required(f"{path}.name")
    elif name is not None:
        yield from _formed(f"{path}.name", name, form.label)
        if name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
    yield from _image(one.get("image"), f"{path}.image")
    for place, variable in enumerate(one.get("env", [])):
        if "name" in variable:
            yield from _formed(f"{path}.env[{place}].name", variable["name"], form.env_name)
    known: set[str] = set()
    for place, port in enumerate(one.get("ports", [])):
        yield from _port(port, f"{path}.ports[{place}]", known, host_network)


def _image(name: str | None, path: str) -> Iterator[str]:
    if not name:
        yield required(path)
        return
    try:
        image(name)
    except NotFound:
        yield unsupported(path, name, sorted(IMAGES))


def _port(port: Object, path: str, names: set[str], host_network: bool) -> Iterator[str]:
    if port.get("name"):
        yield from _formed(f"{path}.name", port["name"], form.port_name)
        if port["name"] in names:
            yield duplicate(f"{path}.name", port["name"])
        names.add(port["name"])
    for key in ("containerPort", "hostPort"):
        if key in port and not 1 <= port[key] <= 65535:
            yield invalid(f"{path}.{key}", port[key], "must be between 1 and 65535, inclusive")
    if host_network and port.get("hostPort") != port.get("containerPort"):
        yield invalid(
            f"{path}.containerPort", port.get("containerPort"), "must match `hostPort` when `hostNetwork` is true"
        )
    if port["protocol"] not in ("SCTP", "TCP", "UDP"):
        yield unsupported(f"{path}.protocol", port["protocol"], ("SCTP", "TCP", "UDP"))


def _host_ports(containers: list[Object], path: str) -> Iterator[str]:
    """A port of the node is asked for once in a pod."""
    taken: set[str] = set()
    for place, container in enumerate(containers):
        for number, port in enumerate(container.get("ports", [])):
            if "hostPort" in port:
                asked = f"{port['protocol']}//{port['hostPort']}"
                if asked in taken:
                    yield duplicate(f"{path}.containers[{place}].ports[{number}].hostPort", asked)
                taken.add(asked)


def _node(one: Object) -> Iterator[str]:
    text = one["spec"].get("podCIDR")
    if not text:
        return
    if one["spec"]["podCIDRs"] != [text]:
        yield invalid("spec.podCIDRs", one["spec"]["podCIDRs"], "a node has one range here, the same as podCIDR")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or "/" not in text:
        yield invalid("spec.podCIDR", text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
    elif str(network) != text:
        yield invalid("spec.podCIDR", text, f'must not have bits set beyond the prefix length, as in "{network}"')
    elif network.version == 6 or not 8 <= network.prefixlen <= 30:
        yield invalid("spec.podCIDR", text, "labkit's pod networks are IPv4, from /8 to /30")


def _deployment(one: Object) -> Iterator[str]:
    spec = one.get("spec")
    if spec is None:
        return
    replicas = spec["replicas"]
    if replicas < 0:
        yield invalid("spec.replicas", replicas, "must be greater than or equal to 0")
    elif replicas > _MOST:
        yield invalid("spec.replicas", replicas, f"must be no more than {_MOST}")
    template = spec.get("template")
    if template is not None:
        yield from _template(template)
        if "selector" in spec:
            yield from _selector(spec["selector"], template)


def _template(template: Object) -> Iterator[str]:
    yield from _labels(template.get("metadata", {}).get("labels"), "spec.template.metadata.labels")
    if "spec" not in template:
        yield required("spec.template.spec.containers")
        return
    yield from _pod_spec(template["spec"], "spec.template.spec", ("Always",))


def _selector(selector: Object, template: Object) -> Iterator[str]:
    wanted = selector.get("matchLabels")
    labels = template.get("metadata", {}).get("labels", {})
    if not wanted:
        yield invalid("spec.selector", selector, "empty selector is invalid for deployment")
    elif not wanted.items() <= labels.items():
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _labels(wanted, "spec.selector.matchLabels")


def _nothing(_: Object) -> Iterator[str]:
    yield from ()


_RULES: dict[str, Callable[[Object], Iterator[str]]] = {
    "Pod": _pod,
    "Node": _node,
    "Namespace": _nothing,
    "Deployment": _deployment,
}
