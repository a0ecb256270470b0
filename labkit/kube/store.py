"""The store: what has been asked for in the cluster, and what is known of it?

Objects are Kubernetes' own, as JSON has them. An object here is never changed in place: whoever changes one puts a new
one in its place, so that a reader needs no lock. The API server's part in Kubernetes, with etcd behind it; here the
objects live in the memory of one process, and end with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from labkit.kube.objects.kinds import KINDS
from labkit.kube.wire import refusal

__all__ = ["Object", "Store", "copied", "now", "owner", "selected"]

Object = dict[str, Any]
Key = tuple[str, str, str]  # kind, namespace ("" where the kind has none), name
Result = TypeVar("Result")
_EVENTS = 1000  # the oldest are forgotten


def now() -> str:
    """Return the time as Kubernetes writes it: 2026-01-31T12:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def copied(data: Any) -> Any:
    """Return a copy of data that is made of dictionaries, lists and the rest; quicker than copy.deepcopy."""
    if type(data) is dict:
        return {key: copied(value) for key, value in data.items()}
    if type(data) is list:
        return [copied(value) for value in data]
    return data


def owner(one: Object) -> str | None:
    """Return the name of the Deployment that an object belongs to."""
    return next((str(ref["name"]) for ref in one["metadata"].get("ownerReferences", [])), None)


def selected(one: Object, labels: dict[str, str]) -> bool:
    """Return whether an object has all these labels."""
    having: dict[str, str] = one["metadata"].get("labels", {})
    return labels.items() <= having.items()


class Store:
    """The objects, by kind, namespace and name. Safe for several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._objects: dict[Key, Object] = {}
        self._version = 0
        self._of_node: dict[str, int] = {}  # when a pod of this node, or the node itself, changed last
        self._events: dict[tuple[str, ...], Object] = {}

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """Return an object. Raises NotFound, in the API server's words."""
        found = self.find(kind, name, namespace)
        if found is None:
            raise refusal("NotFound", f'{KINDS[kind].resources} "{name}" not found')
        return found

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or None."""
        return self._objects.get((kind, namespace, name))

    def all(self, kind: str, namespace: str | None = None) -> list[Object]:
        """Return the objects of a kind, of one namespace or of all, by namespace and name."""
        with self._changed:
            keys = [key for key in self._objects if key[0] == kind and namespace in (None, key[1])]
            return [self._objects[key] for key in sorted(keys)]

    def pods_on(self, node: str) -> list[Object]:
        """Return the pods that are bound to a node, in the order in which they were made."""
        with self._changed:
            pods = [
                one for key, one in self._objects.items() if key[0] == "Pod" and one["spec"].get("nodeName") == node
            ]
        return sorted(pods, key=lambda one: int(one["metadata"]["uid"]))

    def put(self, one: Object) -> Object:
        """The object is in the store, a new one with its uid and the time of its creation."""
        return self._keep(copied(one))

    def change(self, kind: str, name: str, namespace: str, how: Callable[[Object], None]) -> Object | None:
        """The object is as `how` leaves it; returns it. None: it is gone, or nothing changed."""
        with self._changed:
            was = self.find(kind, name, namespace)
            if was is None:
                return None
            one: Object = copied(was)
            how(one)
            return self._keep(one) if one != was else None

    def remove(self, one: Object) -> None:
        """The object is gone. Removing what is gone is success."""
        with self._changed:
            key = one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]
            if self._objects.pop(key, None) is not None:
                self._version += 1
                self._tell(one)

    def event(self, one: Object, reason: str, message: str, kind: str = "Normal") -> None:
        """Something happened to an object: what `kubectl describe` shows below it. The same again is counted."""
        about = {
            "kind": one["kind"],
            "name": one["metadata"]["name"],
            "namespace": one["metadata"].get("namespace", ""),
            "uid": one["metadata"].get("uid", ""),
        }
        key = (*about.values(), reason, message)
        with self._changed:
            known = self._events.pop(key, None)
            if known is None and len(self._events) == _EVENTS:
                del self._events[next(iter(self._events))]
            first, count = (known["firstTimestamp"], known["count"] + 1) if known else (now(), 1)
            self._events[key] = {"type": kind, "reason": reason, "message": message, "involvedObject": about,
                                 "count": count, "firstTimestamp": first, "lastTimestamp": now()}  # fmt: skip

    def events(self) -> list[Object]:
        """Return what happened, the oldest first."""
        with self._changed:
            return list(self._events.values())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Changes inside the block are seen together."""
        with self._changed:
            yield

    # --- waiting

    def version(self, node: str | None = None) -> int:
        """Return a number that grows whenever something changes, of the pods of `node` or of anything."""
        return self._version if node is None else self._of_node.get(node, 0)

    def wake(self) -> None:
        """Whoever waits looks again."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, condition: Callable[[], Result], timeout: float | None) -> Result:
        """Return what `condition()` says as soon as that is true, or what it says when `timeout` seconds are over.

        It is asked under the lock, after each change."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def _keep(self, one: Object) -> Object:
        with self._changed:
            data = one["metadata"]
            self._version += 1
            data.setdefault("uid", str(self._version))
            data.setdefault("creationTimestamp", now())
            data["resourceVersion"] = str(self._version)
            self._objects[one["kind"], data.get("namespace", ""), data["name"]] = one
            self._tell(one)
        return one

    def _tell(self, one: Object) -> None:
        node = one["metadata"]["name"] if one["kind"] == "Node" else one.get("spec", {}).get("nodeName")
        if node:
            self._of_node[node] = self._version
        self._changed.notify_all()
