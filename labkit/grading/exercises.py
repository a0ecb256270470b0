"""Where are the course's exercises, and what are their checks?

Checks are taken from the installed course by the exercise's id, never from beside a submission.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
from types import ModuleType
from typing import Any

import labkit
from labkit.check import Exercise
from labkit.errors import LabkitError, NotFound, WrongUse

__all__ = ["exercise_of", "folder_of", "ids", "load", "solutions_folder"]

_ID = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*")


def solutions_folder() -> str:
    """Return the folder that holds CHAPTER/NAME/checks.py: LABKIT_SOLUTIONS, or the one beside the package."""
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(labkit.__file__))), "solutions")
    return os.path.abspath(os.environ.get("LABKIT_SOLUTIONS") or beside)


def ids(solutions: str | None = None) -> list[str]:
    """Return the ids of all exercises of the course, in its order: a chapter's in the order of its lesson's links."""
    root = solutions or solutions_folder()
    found = []
    for chapter in _folders(root):
        lesson = _text(os.path.join(os.path.dirname(root), "notebooks", f"{chapter}.ipynb"))
        places = {name: lesson.find(f"/{chapter}/{name}/") for name in _folders(os.path.join(root, chapter))}
        ordered = sorted(places, key=lambda name, places=places: (places[name] < 0, places[name]))  # type: ignore[misc]
        found += [f"{chapter}/{name}" for name in ordered]
    return [id_ for id_ in found if os.path.isfile(os.path.join(root, id_, "checks.py"))]


def folder_of(id_: str, solutions: str | None = None) -> str:
    """Return the folder of an exercise. Raises NotFound, with those that exist, for an id that the course has not."""
    root = solutions or solutions_folder()
    folder = os.path.join(root, id_)
    if not _ID.fullmatch(id_) or not os.path.isfile(os.path.join(folder, "checks.py")):
        raise NotFound(f"failed to find exercise '{id_}': the course has none of this id", _there(id_, root))
    return folder


def load(id_: str, solutions: str | None = None) -> Exercise:
    """Return the exercise with this id. Raises NotFound, and WrongUse for a checks.py that does not hold."""
    path = os.path.join(folder_of(id_, solutions), "checks.py")
    try:
        exercise = getattr(_run(path, id_), "exercise", None)
    except LabkitError:
        raise
    except Exception as error:
        raise WrongUse(f"failed to load exercise '{id_}': {type(error).__name__}: {error}", f"in {path}") from error
    if not isinstance(exercise, Exercise):
        raise WrongUse(f"failed to load exercise '{id_}': it defines no `exercise = Exercise(...)`", f"in {path}")
    if exercise.id != id_:
        raise WrongUse(f"failed to load exercise '{id_}': it calls itself '{exercise.id}'", f"in {path}")
    return exercise


def exercise_of(metadata: Any) -> str:
    """Return the exercise's id that a notebook's metadata names, or "" where it names none."""
    labkit_metadata = metadata.get("labkit") if isinstance(metadata, dict) else None
    id_ = labkit_metadata.get("exercise") if isinstance(labkit_metadata, dict) else None
    return id_ if isinstance(id_, str) else ""


def _run(path: str, id_: str) -> ModuleType:
    name = "labkit_checks_" + re.sub(r"\W", "_", id_)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def _there(id_: str, root: str) -> str:
    chapter = id_.partition("/")[0]
    there = ids(root)
    near = [other for other in there if other.startswith(f"{chapter}/")] or there
    return f"exercises there: {', '.join(near) or 'none, in ' + root}"


def _text(path: str) -> str:
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        return file.read()
    return ""


def _folders(path: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and entry.name[:1] not in "._")
    except OSError:
        return []
