"""Which kinds of objects does the cluster have, and by which words is each known?"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from labkit.errors import NotFound

__all__ = ["KINDS", "Kind", "kind", "of"]


@dataclass(frozen=True)
class Kind:
    """A kind of object: its names, its API version, and whether each of its objects is in a Namespace.

    Equivalent: one line of `kubectl api-resources`."""

    name: str
    plural: str
    short: tuple[str, ...]
    api_version: str
    namespaced: bool
    source: str  # the module of lightkube-models that has it

    @property
    def singular(self) -> str:
        """The name as kubectl writes it: pod."""
        return self.name.lower()

    @property
    def group(self) -> str:
        """The API group: "apps", or "" for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def resource(self) -> str:
        """The name as kubectl writes it in `RESOURCE/NAME created`: pod, deployment.apps."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    @property
    def resources(self) -> str:
        """The name as the API server's errors write it: pods, deployments.apps."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def words(self) -> tuple[str, ...]:
        """All words by which it is found, lower case."""
        version = self.api_version.rpartition("/")[2]
        plain = (self.singular, self.plural, *self.short)
        full = (f"{self.plural}.{version}.{self.group}", self.resource, self.resources) if self.group else ()
        return (*plain, *full)

    @property
    def model(self) -> type[Any]:
        """Its class in lightkube-models, imported now."""
        return _model(self.source, self.name)


KINDS: dict[str, Kind] = {
    one.name: one
    for one in (
        Kind("Pod", "pods", ("po",), "v1", True, "core_v1"),
        Kind("Node", "nodes", ("no",), "v1", False, "core_v1"),
        Kind("Namespace", "namespaces", ("ns",), "v1", False, "core_v1"),
        Kind("Deployment", "deployments", ("deploy",), "apps/v1", True, "apps_v1"),
    )
}


def kind(word: str) -> Kind:
    """Return the kind that `word` names: pod, pods, po, Pod, deployment.apps. Raises NotFound, as kubectl says it."""
    found = _by_word().get(word.lower())
    if found is None:
        near = difflib.get_close_matches(word.lower(), _by_word(), 1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        message = f'the server doesn\'t have a resource type "{word}"'
        raise NotFound(message, f"{hint}resource types: {', '.join(one.plural for one in KINDS.values())}")
    return found


def of(document: dict[str, Any]) -> Kind:
    """Return the kind of a document that says `kind` and `apiVersion`. Raises NotFound when the cluster has none."""
    name, version = document.get("kind"), document.get("apiVersion")
    found = KINDS.get(str(name))
    if found and found.api_version == version:
        return found
    near = difflib.get_close_matches(str(name), KINDS, 1)
    there = ", ".join(f"{one.name} ({one.api_version})" for one in KINDS.values())
    hint = f"a {found.name} has apiVersion: {found.api_version}" if found else f"the cluster has: {there}"
    if not found and near:
        hint = f"did you mean '{near[0]}'? {hint}"
    raise NotFound(f'no matches for kind "{name}" in version "{version}"', hint)


@functools.cache
def _by_word() -> dict[str, Kind]:
    return {word: one for one in KINDS.values() for word in one.words}


@functools.cache
def _model(source: str, name: str) -> type[Any]:
    if "lightkube" not in sys.modules:
        _provide_lightkube()
    found: type[Any] = getattr(importlib.import_module(f"lightkube.models.{source}"), name)
    return found


def _provide_lightkube() -> None:
    """`lightkube` is there for its models; its client of a real API server, 0.2 s of imports, comes when asked for."""
    spec = importlib.util.find_spec("lightkube")
    assert spec is not None
    assert spec.loader is not None
    package, loader = importlib.util.module_from_spec(spec), spec.loader

    def rest(name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, name)

    package.__dict__["__getattr__"] = rest
    _register(package)


def _register(package: ModuleType) -> None:
    sys.modules["lightkube"] = package
