"""What does a document ask for that it does not say?

The API server fills in defaults before it checks an object; here, those of the fields that the cluster models.
Source: Kubernetes' pkg/apis/core/v1/defaults.go and pkg/apis/apps/v1/defaults.go.
"""

from __future__ import annotations

from typing import Any

from labkit.kube.objects.fields import SET_BY_SERVER
from labkit.kube.objects.kinds import Kind

__all__ = ["fill_in"]

Object = dict[str, Any]


def fill_in(one: Object, kind: Kind, namespace: str) -> Object:
    """The object has its defaults, and nothing that only the API server says. Returns it.

    `namespace`: for an object that says none."""
    one.pop("status", None)
    data = one["metadata"] = {key: value for key, value in one.get("metadata", {}).items() if key not in SET_BY_SERVER}
    if kind.namespaced:
        data["namespace"] = data.get("namespace") or namespace
    _FILL[kind.name](one)
    return one


def _pod(one: Object) -> None:
    if "spec" in one:
        _pod_spec(one["spec"])


def _pod_spec(spec: Object) -> None:
    spec["restartPolicy"] = spec.get("restartPolicy") or "Always"
    for container in spec.get("containers", []):
        for port in container.get("ports", []):
            port["protocol"] = port.get("protocol") or "TCP"
            if port.get("hostPort") == 0:
                del port["hostPort"]
            if spec.get("hostNetwork") and "containerPort" in port:
                port.setdefault("hostPort", port["containerPort"])


def _node(one: Object) -> None:
    spec = one.setdefault("spec", {})
    if spec.get("podCIDRs") and not spec.get("podCIDR"):
        spec["podCIDR"] = spec["podCIDRs"][0]
    elif spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    if one["metadata"].get("name"):
        one["metadata"].setdefault("labels", {}).setdefault("kubernetes.io/hostname", one["metadata"]["name"])


def _namespace(one: Object) -> None:
    if one["metadata"].get("name"):
        one["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = one["metadata"]["name"]


def _deployment(one: Object) -> None:
    spec = one.get("spec")
    if spec is None:
        return
    spec.setdefault("replicas", 1)
    if "spec" in spec.get("template", {}):
        _pod_spec(spec["template"]["spec"])


_FILL = {"Pod": _pod, "Node": _node, "Namespace": _namespace, "Deployment": _deployment}
