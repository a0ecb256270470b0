"""Is this document what its kind says, field for field?

The types are lightkube-models', made from Kubernetes' own OpenAPI: what they know is not written here again.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.kube.objects.errors import bad_request, forbidden, required
from labkit.kube.objects.fields import FIELDS, UNMODELLED, Fields
from labkit.kube.objects.kinds import Kind
from labkit.kube.objects.shape import Slot, meant, shape

__all__ = ["Findings", "as_json", "completed", "decode", "without_nulls"]

IN_QUOTES = 'a text that looks like a number or like yes and no is written in quotes: "80"'


@dataclass
class Findings:
    """What is to be said of a document. `unknown`: paths of fields; `hint`: about the first of them."""

    kind: Kind
    unknown: list[str] = field(default_factory=list)
    mistyped: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    hint: str = ""


def decode(document: dict[str, Any], kind: Kind) -> Findings:
    """Return what is to be said of a document's fields, apart from their values.

    Raises WrongUse, as the API server's strict decoding does, for fields that Kubernetes does not know and for values
    of another type."""
    found = Findings(kind)
    document = copy.deepcopy(document)
    _walk(document, kind.model, "", found, FIELDS[kind.name])
    if found.unknown:
        said = ", ".join(f'unknown field "{path}"' for path in found.unknown)
        raise bad_request(kind.name, kind.api_version, f"strict decoding error: {said}", found.hint)
    if found.mistyped:
        raise bad_request(kind.name, kind.api_version, found.mistyped[0], IN_QUOTES)
    _convert(without_nulls(document), kind)
    found.errors[:] = [said for said in found.errors if not said.startswith("status.")]  # which is forgotten
    return found


def completed(document: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """Return a copy that has every field without which Kubernetes takes no object, an empty one where it said none."""
    document = copy.deepcopy(document)
    _walk(document, kind.model, "", Findings(kind), None)
    return document


def as_json(value: Any, left: list[int] | None = None) -> Any:
    """Return a copy of plain data as JSON has it: keys are texts, sequences lists.

    Raises RecursionError for data that contains itself, is too deep, or has more than 100,000 values."""
    left = [100_000] if left is None else left
    left[0] -= 1
    if left[0] < 0:
        raise RecursionError
    if isinstance(value, Mapping):
        return {_key(key): as_json(item, left) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item, left) for item in value]
    return value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key, default=str)


def without_nulls(value: Any) -> Any:
    """Return the value without the fields that are null: they ask for nothing."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _walk(value: Any, cls: Any, path: str, found: Findings, fields: Fields | None) -> None:
    """`fields` None: below a field that is left out or refused, where only unknown names are to be found."""
    if not isinstance(value, dict):
        return  # of another type, which _convert says
    slots = shape(cls)
    for key, item in value.items():
        below = f"{path}.{key}" if path else str(key)
        if key not in slots:
            found.unknown.append(below)
            found.hint = found.hint or meant(str(key), below, cls, found.kind)
        elif item is not None:
            _enter(item, slots[key], below, found, fields)
    for key, slot in slots.items():
        if slot.required and value.get(key) is None:
            value[key] = slot.empty()  # so that _convert looks at the rest
            _missing(value[key], slot, f"{path}.{key}" if path else key, found, fields)


def _missing(empty: Any, slot: Slot, path: str, found: Findings, fields: Fields | None) -> None:
    """Say that a field is missing, or rather which of its own fields are."""
    before = len(found.errors)
    if slot.type is not None:
        _walk(empty, slot.type, path, found, fields)
    if len(found.errors) == before:
        found.errors.append(required(path))


def _enter(item: Any, slot: Slot, path: str, found: Findings, fields: Fields | None) -> None:
    modelled = fields is not None and _modelled(path.rpartition(".")[2], item, path, found, fields)
    if slot.type is not None:
        inner = FIELDS.get(slot.type.__name__) if modelled else None
        for place, one in _items(item, path):
            _walk(one, slot.type, place, found, inner)
    elif slot.texts and modelled and isinstance(item, dict):
        found.mistyped += [
            f"{path}.{key}: got {_TYPES.get(type(text).__name__, 'null')}, expected string"
            for key, text in item.items()
            if not isinstance(text, str)
        ]


def _modelled(key: str, item: Any, path: str, found: Findings, fields: Fields) -> bool:
    if key in fields.modelled:
        return True
    if item is False or item in ("", [], {}):
        return False
    if key in fields.left_out:
        found.warnings.append(f"{path} has no effect: {fields.left_out[key]}")
    else:
        found.errors.append(forbidden(path, fields.refused.get(key, UNMODELLED)))
    return False


def _items(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, list):
        return [(f"{path}[{place}]", item) for place, item in enumerate(value)]
    return [(path, value)]


def _convert(document: dict[str, Any], kind: Kind) -> None:
    import msgspec

    try:
        msgspec.convert(document, kind.model)
    except msgspec.ValidationError as error:
        said, path = re.fullmatch(r"(.+?)(?: - at `\$\.?(.*)`)?", str(error)).groups()  # type: ignore[union-attr]
        types = re.fullmatch("Expected `(.+)`, got `(.+)`", said)
        if types:
            expected, got = (_TYPES.get(name.removesuffix(" | null"), name) for name in types.groups())
            said = f"got {got}, expected {expected}"
        hint = next((hint for form, hint in _HINTS.items() if re.fullmatch(form, said)), "")
        raise bad_request(kind.name, kind.api_version, f"{path}: {said}", hint) from None


_HINTS = {
    "got (integer|number|boolean), expected string": IN_QUOTES,
    "got .*, expected array": 'it is a list: each of its items begins with "- ", or write [a, b]',
}
_TYPES: Mapping[str, str] = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "object": "map",
    "dict": "map",
    "array": "array",
    "list": "array",
}
