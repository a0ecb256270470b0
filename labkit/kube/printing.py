"""How does kubectl show objects? The same columns, spaces and words.

Sources: Kubernetes' pkg/printers/internalversion/printers.go (rows), k8s.io/cli-runtime, pkg/printers (spacing), and
k8s.io/apimachinery, pkg/util/duration (ages).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

__all__ = ["NOTHING", "age", "aligned", "duration", "events", "pod_status", "table"]

Object = dict[str, Any]
Row = list[str]

NOTHING = "No resources found"
_NONE, _UNKNOWN = "<none>", "<unknown>"
_ROLE = "node-role.kubernetes.io/"


def table(
    kind: str, objects: Sequence[Object], wide: bool = False, now: datetime | None = None, namespaces: bool = False
) -> str:
    """Return objects of a kind ("Pod") as `kubectl get` shows them, a line each, or that there are none.

    `wide`: as with -o wide; `now`: by which ages are told; `namespaces`: with their Namespaces, as with -A."""
    if not objects:
        return f"{NOTHING}\n"
    narrow, wider, row = _ROWS[kind]
    now = now or datetime.now(UTC)
    few, more = narrow.split("|"), wider.split("|") if wide and wider else []
    head = [*(["NAMESPACE"] if namespaces else []), *few, *more]
    rows = []
    for one in objects:
        space = [one["metadata"].get("namespace", "")] if namespaces else []
        rows.append([*space, *row(one, now)[: len(few) + len(more)]])
    return aligned([head, *rows])


def aligned(rows: Sequence[Row], gap: int = 3, least: int = 6) -> str:
    """Return rows as lines with their cells below each other, `gap` blanks between the widest and the next."""
    widths = [max(least, gap + max(len(row[place]) for row in rows)) for place in range(len(rows[0]) - 1)]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) for row in rows]
    return "".join(f"{line}\n" for line in lines)


def age(one: Object, now: datetime, key: str = "creationTimestamp") -> str:
    """Return how long ago an object was made: 12s, 3m4s."""
    return _since(one["metadata"].get(key), now)


def duration(seconds: float) -> str:
    """Return a time as kubectl writes it, two or three digits of it: 119s, 2m, 9m59s, 10m, 3h, 7h59m, 2d3h."""
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _both(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _both(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _both(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _both(days // 365, "y", days % 365, "d") if days < 8 * 365 else f"{days // 365}y"


def _both(many: int, unit: str, rest: int, small: str) -> str:
    return f"{many}{unit}{rest}{small}" if rest else f"{many}{unit}"


def _since(moment: str | None, now: datetime) -> str:
    return duration((now - datetime.fromisoformat(moment)).total_seconds()) if moment else _UNKNOWN


def pod_status(pod: Object) -> str:
    """Return what the column STATUS says: of the first container that is not well, or else of the whole pod."""
    status = pod.get("status", {})
    phase = status.get("phase", "")
    said = status.get("reason") or phase
    runs = False
    for one in reversed(status.get("containerStatuses", [])):
        state = one.get("state", {})
        waiting, ended = state.get("waiting", {}), state.get("terminated")
        if waiting.get("reason"):
            said = waiting["reason"]
        elif ended is not None:
            said = ended.get("reason") or f"ExitCode:{ended.get('exitCode', 0)}"
        elif one.get("ready") and "running" in state:
            runs = True
    if said == "Completed" and runs:
        said = "Running" if _condition(pod, "Ready") == "True" else "NotReady"
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if phase not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(said)


def _condition(one: Object, kind: str) -> str:
    conditions = one.get("status", {}).get("conditions", [])
    return next((str(said["status"]) for said in conditions if said["type"] == kind), "")


def _pod(one: Object, now: datetime) -> Row:
    status, spec = one.get("status", {}), one.get("spec", {})
    known = status.get("containerStatuses", [])
    ready = sum(bool(said.get("ready")) and "running" in said.get("state", {}) for said in known)
    return [
        one["metadata"]["name"],
        f"{ready}/{len(spec.get('containers', []))}",
        pod_status(one),
        _restarts(known, now),
        age(one, now),
        status.get("podIP") or _NONE,
        spec.get("nodeName") or _NONE,
        status.get("nominatedNodeName") or _NONE,
        _NONE,
    ]


def _restarts(containers: Sequence[Object], now: datetime) -> str:
    number = sum(int(said.get("restartCount", 0)) for said in containers)
    ends = [said.get("lastState", {}).get("terminated", {}).get("finishedAt") for said in containers]
    last = max((moment for moment in ends if moment), default=None)
    return f"{number} ({_since(last, now)} ago)" if number and last else str(number)


def _node(one: Object, now: datetime) -> Row:
    status = one.get("status", {})
    ready = {"True": "Ready", "": "Unknown"}.get(_condition(one, "Ready"), "NotReady")
    labels = one["metadata"].get("labels", {})
    roles = sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE) and key != _ROLE)
    addresses = {said["type"]: said["address"] for said in reversed(status.get("addresses", []))}
    info = status.get("nodeInfo", {})
    return [
        one["metadata"]["name"],
        ready + (",SchedulingDisabled" if one.get("spec", {}).get("unschedulable") else ""),
        ",".join(roles) or _NONE,
        age(one, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", _NONE),
        addresses.get("ExternalIP", _NONE),
        *(info.get(key) or _UNKNOWN for key in ("osImage", "kernelVersion", "containerRuntimeVersion")),
    ]


def _deployment(one: Object, now: datetime) -> Row:
    status, spec = one.get("status", {}), one["spec"]
    containers = spec["template"]["spec"]["containers"]
    return [
        one["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        str(status.get("updatedReplicas", 0)),
        str(status.get("availableReplicas", 0)),
        age(one, now),
        ",".join(container["name"] for container in containers),
        ",".join(container["image"] for container in containers),
        ",".join(f"{key}={value}" for key, value in sorted(spec["selector"].get("matchLabels", {}).items())) or _NONE,
    ]


def _namespace(one: Object, now: datetime) -> Row:
    phase = one.get("status", {}).get("phase", "")
    return [one["metadata"]["name"], phase, age(one, now)]


_ROWS: dict[str, tuple[str, str, Callable[[Object, datetime], Row]]] = {
    "Pod": ("NAME|READY|STATUS|RESTARTS|AGE", "IP|NODE|NOMINATED NODE|READINESS GATES", _pod),
    "Node": (
        "NAME|STATUS|ROLES|AGE|VERSION",
        "INTERNAL-IP|EXTERNAL-IP|OS-IMAGE|KERNEL-VERSION|CONTAINER-RUNTIME",
        _node,
    ),
    "Deployment": ("NAME|READY|UP-TO-DATE|AVAILABLE|AGE", "CONTAINERS|IMAGES|SELECTOR", _deployment),
    "Namespace": ("NAME|STATUS|AGE", "", _namespace),
}


def events(happened: Sequence[Object], now: datetime | None = None) -> str:
    """Return events as `kubectl events` shows them, the latest last."""
    if not happened:
        return f"{NOTHING}\n"
    return aligned([["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], *_events(happened, now or datetime.now(UTC))])


def _events(happened: Sequence[Object], now: datetime) -> Iterator[Row]:
    for one in happened:
        about = one["involvedObject"]
        seen = seen_last(one, now)
        yield [seen, one["type"], one["reason"], f"{about['kind']}/{about['name']}", one["message"].replace("\n", "; ")]


def seen_last(event: Object, now: datetime) -> str:
    """Return when an event was seen last, and how often: 4s, 4s (x3 over 2m)."""
    last = _since(event.get("lastTimestamp"), now)
    count = event.get("count", 1)
    return f"{last} (x{count} over {_since(event.get('firstTimestamp'), now)})" if count > 1 else last
