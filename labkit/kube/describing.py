"""What is there to know of one object? As `kubectl describe` tells it, shorter.

Source: k8s.io/kubectl, pkg/describe/describe.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from labkit.kube.printing import aligned, pod_status, seen_last

__all__ = ["describe"]

Object = dict[str, Any]
Pairs = Mapping[str, str]


def describe(one: Object, events: Sequence[Object] = (), now: datetime | None = None) -> str:
    """Return what is known of an object, and the `events` that happened to it."""
    data = one["metadata"]
    first = {"Name": data["name"]}
    if "namespace" in data:
        first["Namespace"] = data["namespace"]
    mine = [event for event in events if _is_about(event, one)]
    parts = [*_ABOUT[one["kind"]](one, first), _events(mine, now or datetime.now(UTC))]
    return "".join(parts)


def _is_about(event: Object, one: Object) -> bool:
    about, data = event["involvedObject"], one["metadata"]
    return (about["kind"], about["name"], about.get("namespace", "")) == (
        one["kind"],
        data["name"],
        data.get("namespace", ""),
    )


def _pod(one: Object, first: dict[str, str]) -> Iterator[str]:
    spec, status, data = one["spec"], one.get("status", {}), one["metadata"]
    node = "/".join(part for part in (spec.get("nodeName"), status.get("hostIP")) if part)
    owners = [f"{owner['kind']}/{owner['name']}" for owner in data.get("ownerReferences", [])]
    yield _pairs(
        {
            **first,
            "Node": node or "<none>",
            "Start Time": _moment(status.get("startTime")),
            "Labels": _texts(data.get("labels")),
            "Annotations": _texts(data.get("annotations"), ": "),
            "Status": pod_status(one) if "deletionTimestamp" in data else status.get("phase", ""),
            "IP": status.get("podIP", ""),
            **({"Controlled By": owners[0]} if owners else {}),
        }
    )
    known = {said["name"]: said for said in status.get("containerStatuses", [])}
    yield "Containers:\n"
    for container in spec["containers"]:
        yield f"  {container['name']}:\n"
        yield _pairs(_container(container, known.get(container["name"], {})), "    ")
    yield _conditions(one)
    yield _pairs({"Node-Selectors": _texts(spec.get("nodeSelector"))})


def _container(spec: Object, status: Object) -> dict[str, str]:
    ports = spec.get("ports", [])
    found = {
        "Image": spec["image"],
        "Port": ", ".join(f"{port['containerPort']}/{port['protocol']}" for port in ports) or "<none>",
        "Host Port": ", ".join(f"{port.get('hostPort', 0)}/{port['protocol']}" for port in ports) or "<none>",
        "Command": " ".join(spec.get("command", [])),
        "Args": " ".join(spec.get("args", [])),
        **_state("State", status.get("state", {})),
        **_state("Last State", status.get("lastState", {})),
        "Ready": str(bool(status.get("ready"))),
        "Restart Count": str(status.get("restartCount", 0)),
        "Environment": _texts({item["name"]: item.get("value", "") for item in spec.get("env", [])}),
    }
    return {key: value for key, value in found.items() if value}


def _state(name: str, state: Object) -> dict[str, str]:
    """`Waiting`, its reason below it, and so on."""
    for word, said in state.items():
        details = {
            f"  {label}": str(said[key])
            for key, label in (("reason", "Reason"), ("message", "Message"), ("exitCode", "Exit Code"))
            if key in said
        }
        times = {f"  {label}": _moment(said.get(key)) for key, label in _TIMES if said.get(key)}
        return {name: word.capitalize(), **{f"{name}{key}": value for key, value in {**details, **times}.items()}}
    return {}


_TIMES = (("startedAt", "Started"), ("finishedAt", "Finished"))


def _node(one: Object, first: dict[str, str]) -> Iterator[str]:
    spec, status, data = one.get("spec", {}), one.get("status", {}), one["metadata"]
    yield _pairs(
        {
            **first,
            "Labels": _texts(data.get("labels")),
            "Annotations": _texts(data.get("annotations"), ": "),
            "CreationTimestamp": _moment(data.get("creationTimestamp")),
            "Unschedulable": str(bool(spec.get("unschedulable"))).lower(),
            "PodCIDR": spec.get("podCIDR", ""),
        }
    )
    yield _conditions(one)
    yield "Addresses:\n"
    yield _pairs({said["type"]: said["address"] for said in status.get("addresses", [])}, "  ")


def _deployment(one: Object, first: dict[str, str]) -> Iterator[str]:
    spec, status, data = one["spec"], one.get("status", {}), one["metadata"]
    there = {name: status.get(f"{name}Replicas", 0) for name in ("updated", "available")}
    total = status.get("replicas", 0)
    yield _pairs(
        {
            **first,
            "CreationTimestamp": _moment(data.get("creationTimestamp")),
            "Labels": _texts(data.get("labels")),
            "Annotations": _texts(data.get("annotations"), ": "),
            "Selector": ",".join(f"{key}={value}" for key, value in spec["selector"].get("matchLabels", {}).items()),
            "Replicas": f"{spec.get('replicas', 1)} desired | {there['updated']} updated | {total} total | "
            f"{there['available']} available | {total - there['available']} unavailable",
        }
    )
    template = spec["template"]
    yield "Pod Template:\n"
    yield _pairs({"Labels": _texts(template.get("metadata", {}).get("labels"))}, "  ")
    yield "  Containers:\n"
    for container in template["spec"]["containers"]:
        yield f"   {container['name']}:\n"
        told = _container(container, {})
        yield _pairs({key: told[key] for key in told if key not in ("Ready", "Restart Count")}, "    ")


def _namespace(one: Object, first: dict[str, str]) -> Iterator[str]:
    data = one["metadata"]
    yield _pairs(
        {
            **first,
            "Labels": _texts(data.get("labels")),
            "Annotations": _texts(data.get("annotations"), ": "),
            "Status": one.get("status", {}).get("phase", ""),
        }
    )


_ABOUT = {"Pod": _pod, "Node": _node, "Deployment": _deployment, "Namespace": _namespace}


def _conditions(one: Object) -> str:
    conditions = one.get("status", {}).get("conditions", [])
    if not conditions:
        return ""
    rows = [
        ["Type", "Status", "Reason"],
        *([said["type"], said["status"], said.get("reason", "")] for said in conditions),
    ]
    return "Conditions:\n" + _indented(aligned(rows, 2, 0))


def _events(happened: Sequence[Object], now: datetime) -> str:
    if not happened:
        return "Events:  <none>\n"
    rows = [["Type", "Reason", "Age", "Message"], ["----", "------", "----", "-------"]]
    rows += [[one["type"], one["reason"], seen_last(one, now), one["message"].replace("\n", "; ")] for one in happened]
    return "Events:\n" + _indented(aligned(rows, 2, 0))


def _indented(text: str) -> str:
    return "".join(f"  {line.rstrip()}\n" for line in text.splitlines())


def _pairs(told: Pairs, before: str = "") -> str:
    """`Name:  value` below each other; what begins with its parent's name and two blanks is said below it."""
    shown = [(_own(name, told), value) for name, value in told.items()]
    width = max(len(name) for name, _ in shown) + 3 if shown else 0
    lines = []
    for name, value in shown:
        first, *rest = value.split("\n")
        lines.append(f"{before}{f'{name}:'.ljust(width)}{first}".rstrip())
        lines += [f"{before}{'':{width}}{line}" for line in rest]
    return "".join(f"{line}\n" for line in lines)


def _own(name: str, told: Pairs) -> str:
    parent = next((other for other in told if name.startswith(f"{other}  ")), "")
    return name.removeprefix(parent)


def _texts(texts: Mapping[str, str] | None, between: str = "=") -> str:
    return "\n".join(f"{key}{between}{value}" for key, value in sorted((texts or {}).items())) or "<none>"


def _moment(text: str | None) -> str:
    return datetime.fromisoformat(text).strftime("%a, %d %b %Y %H:%M:%S %z") if text else "<unknown>"
