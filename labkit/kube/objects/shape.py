"""Which fields has a type of Kubernetes' API, and where does a field stand?

Read from lightkube-models' classes, which are made from Kubernetes' own OpenAPI.
"""

from __future__ import annotations

import difflib
import functools
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labkit.kube.objects.fields import FIELDS, SET_BY_SERVER
from labkit.kube.objects.kinds import Kind

__all__ = ["Slot", "meant", "places", "shape"]


@dataclass(frozen=True)
class Slot:
    """A field. `type` of its value or of each of its items: None for texts and numbers. `texts`: a map of texts."""

    type: type[Any] | None
    required: bool
    texts: bool
    empty: Callable[[], Any]


@functools.cache
def shape(cls: Any) -> dict[str, Slot]:
    """Return the fields of one of Kubernetes' types, by name."""
    import msgspec

    found = {}
    for one in msgspec.structs.fields(cls):
        struct, outer = _struct(one.type), typing.get_origin(one.type) or one.type
        outer = next((part for part in (typing.get_origin(arg) for arg in typing.get_args(one.type)) if part), outer)
        empty = outer if outer in (str, int, bool, list) else dict
        found[one.encode_name] = Slot(struct, one.required, dict in typing.get_args(one.type), empty)
    return found


def _struct(annotation: Any) -> type[Any] | None:
    """The struct in Optional[X], List[X], Dict[str, X]."""
    if isinstance(annotation, type) and hasattr(annotation, "__struct_fields__"):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _struct(part))), None)


@functools.cache
def places(kind: Kind) -> dict[str, str]:
    """Return where in a kind's documents the modelled fields stand: image is spec.containers[].image."""
    found: dict[str, str] = {}
    todo: list[tuple[Any, str]] = [(kind.model, "")]
    for cls, path in todo:  # grows: what stands less deep comes first
        slots = shape(cls)
        for key in sorted(FIELDS[cls.__name__].modelled - SET_BY_SERVER - {"status"}):
            below = f"{path}.{key}" if path else key
            found.setdefault(key, below)
            if slots[key].type is not None:
                todo.append((slots[key].type, f"{below}[]" if slots[key].empty is list else below))
    return found


def meant(key: str, path: str, cls: Any, kind: Kind) -> str:
    """Say of an unknown field which was meant: one here with a similar name, one elsewhere, or one of those here."""
    lower = {name.lower(): name for name in shape(cls)}
    near = difflib.get_close_matches(key.lower(), lower, 1)
    if near:
        return f'did you mean "{path[: len(path) - len(key)]}{lower[near[0]]}"?'
    if key in places(kind):
        return f'a {kind.name} has it as "{places(kind)[key]}": look at how far the line is indented'
    known = FIELDS.get(cls.__name__)
    there = sorted(known.modelled - SET_BY_SERVER) if known else sorted(lower.values())
    return f"fields there: {', '.join(there)}"
