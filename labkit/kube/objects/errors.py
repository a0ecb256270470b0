"""In which words does Kubernetes refuse an object?

The API server names the field, what is wrong with its value and what may stand there; kubectl puts a sentence
around it. Source: k8s.io/apimachinery, pkg/util/validation/field/errors.go, and kubectl's pkg/cmd/util/helpers.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from labkit.errors import LabkitError
from labkit.kube.wire import refusal

__all__ = [
    "bad_request",
    "duplicate",
    "forbidden",
    "invalid",
    "other_namespace",
    "refuse",
    "required",
    "too_long",
    "unsupported",
]


def refuse(kind: str, name: str, errors: Sequence[str], hint: str = "") -> LabkitError:
    """Return `The Pod "web" is invalid: ...` with one field's error, or a line for each."""
    listed = f" {errors[0]}" if len(errors) == 1 else " " + "".join(f"\n* {one}" for one in errors)
    return refusal("Invalid", f'The {kind} "{name}" is invalid:{listed}', hint)


def other_namespace(said: str, asked: str) -> LabkitError:
    """Return the error for an object of another Namespace than the one that is asked for."""
    what = f'the namespace from the provided object "{said}" does not match the namespace "{asked}"'
    return refusal("BadRequest", what, f"you must pass '--namespace={said}' to perform this operation")


def bad_request(kind: str, api_version: str, cause: str, hint: str = "") -> LabkitError:
    """Return the error for a document whose fields are not a `kind`'s."""
    version = api_version.rpartition("/")[2]
    return refusal("BadRequest", f'{kind} in version "{version}" cannot be handled as a {kind}: {cause}', hint)


def invalid(path: str, value: Any, why: str) -> str:
    """A field's value is not of the form it must have."""
    return f"{path}: Invalid value: {_shown(value)}: {why}"


def unsupported(path: str, value: Any, values: Iterable[str]) -> str:
    """A field's value is none of those that exist."""
    return f"{path}: Unsupported value: {_shown(value)}: supported values: {', '.join(map(_shown, values))}"


def required(path: str, why: str = "") -> str:
    """A field is missing."""
    return f"{path}: Required value" + (f": {why}" if why else "")


def forbidden(path: str, why: str) -> str:
    """A field may not stand there."""
    return f"{path}: Forbidden: {why}"


def duplicate(path: str, value: Any) -> str:
    """A value that must be unique is there twice."""
    return f"{path}: Duplicate value: {_shown(value)}"


def too_long(limit: int) -> str:
    """What is wrong with a text of more than `limit` bytes."""
    return f"must be no more than {limit} bytes"


def _shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
