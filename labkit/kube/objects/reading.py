"""Which documents does a text have, YAML or JSON, as kubectl reads it?

kubectl's YAML differs from Python's in what a plain word is: 12:30 and 2026-01-31 are texts there, and a key that is
set twice is an error.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labkit.errors import WrongUse

__all__ = ["Document", "documents"]

_DEEPEST = 100
_WHOLE_NUMBER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)$")


@dataclass(frozen=True)
class Document:
    """What one document says, and the line it begins at."""

    object: dict[str, Any]
    line: int


def documents(text: str) -> list[Document]:
    """Return the documents of a text; empty ones are passed over, and a List gives its items.

    Raises WrongUse where the text is neither YAML nor JSON, or one of its documents is not an object."""
    found = [Document(value, line) for value, line in _values(text) if value is not None]
    if not found:
        raise WrongUse("no objects passed to apply", "the text is empty, or has nothing but comments")
    return [item for one in found for item in _items(one)]


def _items(document: Document) -> Iterator[Document]:
    if not isinstance(document.object, dict):
        kind = {list: "a list", str: "a text"}.get(type(document.object), "a single value")
        hint = "a document has apiVersion, kind, metadata and spec"
        raise WrongUse(f"error parsing YAML: line {document.line}: it is {kind}, not an object", hint)
    if document.object.get("kind") != "List":
        yield document
        return
    items = document.object.get("items") or []
    if not isinstance(items, list):
        raise WrongUse(f"error parsing YAML: line {document.line}: items of a List is not a list")
    for item in items:
        yield from _items(Document(item, document.line))


def _values(text: str) -> list[tuple[Any, int]]:
    if text.lstrip().startswith("{"):
        try:
            return list(_json(text))
        except (json.JSONDecodeError, RecursionError):
            pass  # YAML's flow style
    return _yaml(text)


def _json(text: str) -> Iterator[tuple[Any, int]]:
    """The same by Python's JSON, which takes a tenth of the time."""
    line = 1
    for part in re.split(r"^---$", text, flags=re.MULTILINE):
        yield json.loads(part, object_pairs_hook=_once), line + len(part) - len(part.lstrip("\n"))
        line += part.count("\n")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise WrongUse(f'error parsing JSON: key "{key}" already set in map')
        found[key] = value
    return found


def _yaml(text: str) -> list[tuple[Any, int]]:
    import yaml

    try:
        _ensure_shallow(text)
        loader = _loader()(text)
        found = []
        while loader.check_node():
            node = loader.get_node()
            found.append((loader.construct_document(node), node.start_mark.line + 1))
        return found
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise WrongUse(f"error parsing YAML: {where}{said}", _help(said)) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise WrongUse(f"error parsing YAML: {' '.join(str(error).split())}") from None


def _ensure_shallow(text: str) -> None:
    """No value is deeper than any object is: libyaml's composer recurses, and would end this process."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem="values are nested too deeply", problem_mark=event.start_mark)  # type: ignore[arg-type]


def _help(said: str) -> str:
    if "mapping values are not allowed" in said or "expected <block end>" in said:
        return "look at how far this line and the one above it are indented, and for a colon within a value"
    if "cannot start any token" in said:
        return "YAML is indented by spaces, not by tabs"
    return ""


@functools.cache
def _loader() -> Any:
    """A loader of plain data with kubectl's words: texts stay texts, except numbers, booleans and null."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            _ensure_once(node)
            found = super().construct_mapping(node, deep)
            return {key if isinstance(key, str) else json.dumps(key): value for key, value in found.items()}

    foreign = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:value")
    kept = yaml.SafeLoader.yaml_implicit_resolvers
    Loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in pairs if tag not in foreign] for first, pairs in kept.items()
    }
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:int",
        _WHOLE_NUMBER,
        list("-+0123456789"),
    )
    return Loader


def _ensure_once(node: Any) -> None:
    """No key is set twice in a mapping as it is written. (What `<<` brings may be set again.)"""
    import yaml

    keys: set[tuple[str, str]] = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        name = (key.tag, str(key.value))
        if name in keys and not name[0].endswith(":merge"):
            raise yaml.MarkedYAMLError(problem=f'key "{key.value}" already set in map', problem_mark=key.start_mark)
        keys.add(name)
