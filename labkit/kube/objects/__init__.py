"""What does a document ask for, and can the cluster do it?

Kubernetes' own manifests in, objects out: plain dicts as JSON has them, with the API server's defaults, or one error in
the API server's words. Nothing that a document says is silently ignored: a field that Kubernetes does not know is an
error, as in kubectl; one that the cluster does not model is an error or a warning, which `fields` lists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.errors import LabkitError, WrongUse
from labkit.kube.objects import kinds
from labkit.kube.objects.decode import as_json, completed, decode, without_nulls
from labkit.kube.objects.defaults import fill_in
from labkit.kube.objects.errors import other_namespace, refuse
from labkit.kube.objects.reading import documents
from labkit.kube.objects.rules import errors
from labkit.kube.processes.images import IMAGES

__all__ = ["Checked", "check", "plain", "read", "typed"]


@dataclass(frozen=True)
class Checked:
    """An object that the cluster can do, with defaults, and what of it has no effect here."""

    object: dict[str, Any]
    warnings: tuple[str, ...] = ()


def read(text: str, namespace: str = "default") -> list[Checked]:
    """Return the objects of a text: YAML or JSON, several documents, a List.

    `namespace`: of objects that say none; where it is not default, objects that say another are refused.
    All are checked before any is returned. Raises what `check` raises for the first document that is wrong, and says
    which; WrongUse for a text that is neither YAML nor JSON. Equivalent: `kubectl apply -f FILE`, which applies the
    documents that are right."""
    found = documents(text)
    checked = []
    for number, document in enumerate(found, 1):
        try:
            checked.append(check(document.object, namespace))
        except LabkitError as error:
            if len(found) == 1:
                raise
            where = f"document {number} of {len(found)}, from line {document.line} on; none of them was applied"
            raise _elsewhere(error, where) from None
    return checked


def check(document: Mapping[str, Any], namespace: str = "default") -> Checked:
    """Return the object that a document asks for. It is for what users say: `status` and the like are forgotten.

    Raises NotFound for a kind that the cluster does not have; WrongUse, with `reason` BadRequest for fields that
    Kubernetes does not know, and Invalid for all other errors, together."""
    if not isinstance(document, Mapping):
        raise WrongUse(f"failed to read an object: it is a {type(document).__name__}", "give a dict, or YAML")
    try:
        data: dict[str, Any] = as_json(document)
    except RecursionError:
        raise WrongUse("failed to read an object: it contains itself, or is too large") from None
    missing = [f"{key} not set" for key in ("apiVersion", "kind") if not data.get(key)]
    if missing:
        hint = "the first lines of a document: apiVersion: v1, kind: Pod"
        raise WrongUse(f"error validating data: [{', '.join(missing)}]", hint)
    kind = kinds.of(data)
    findings = decode(data, kind)
    one = fill_in(without_nulls(data), kind, namespace)
    wrong = [*findings.errors, *errors(one, kind)]
    if wrong:
        name = one["metadata"].get("name", "")
        raise refuse(kind.name, name, wrong, _hint(wrong, name))
    said = one["metadata"].get("namespace", namespace)
    if namespace not in ("default", said):
        raise other_namespace(said, namespace)
    return Checked(one, tuple(findings.warnings))


def typed(one: dict[str, Any]) -> Any:
    """Return an object as lightkube-models' class: `pod.spec.containers[0].image`.

    What Kubernetes always says of an object and this cluster does not (a container's imageID) is empty."""
    import msgspec

    kind = kinds.of(one)
    return msgspec.convert(completed(one, kind), kind.model)


def plain(model: Any) -> dict[str, Any]:
    """Return an object of lightkube-models as a plain dict, without the fields that are not set."""
    found: dict[str, Any] = model.to_dict()
    return found


def _hint(wrong: list[str], name: str) -> str:
    if wrong[0].startswith("metadata.name: Invalid"):
        usable = re.sub("[^a-z0-9]+", "-", name.lower())[:63].strip("-")
        return f'as in "{usable}"' if usable else ""
    if any(".image: Unsupported" in one for one in wrong):
        return "images here: " + "; ".join(f"{one.name} {one.about}" for one in IMAGES.values())
    if any(": Forbidden: " in one for one in wrong):
        return "what the cluster models of Kubernetes: docs/kube.md"
    return ""


def _elsewhere(error: LabkitError, where: str) -> LabkitError:
    """The same error, which says where it is too."""
    moved = type(error)(error.message, f"{error.hint}\n{where}" if error.hint else where)
    moved.__dict__.update(reason=error.__dict__["reason"]) if "reason" in error.__dict__ else None
    return moved
