"""How does a solved notebook become an exercise? By nbgrader's own preprocessors.

solutions/CHAPTER/NAME/ is the source. Its cells get nbgrader's metadata: a cell with a solution region is a solution
cell, and the last code cell, which checks, is the graded one. exercises/CHAPTER/NAME/ is the same without the solution
regions and without outputs, so that an instructor can release and collect it with nbgrader.
"""

from __future__ import annotations

import copy
import logging
import os
import shutil
from typing import Any

import nbformat

from labkit.check import Exercise
from labkit.errors import WrongUse
from labkit.grading import exercises
from labkit.grading.files import write_text

__all__ = ["BEGIN", "END", "STUB", "build", "differences", "exercises_folder", "read", "stamped", "unsolved", "written"]

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = "# YOUR TURN"
TEXT_STUB = "*your turn*"
NOT_COPIED = ("checks.py", "__pycache__")


def exercises_folder(solutions: str) -> str:
    """Return where the exercises made from `solutions` live: beside it."""
    return os.path.join(os.path.dirname(os.path.abspath(solutions)), "exercises")


def read(id_: str, solutions: str) -> Any:
    """Return the solved notebook of an exercise. Raises WrongUse where there is none."""
    path = notebook_path(id_, solutions)
    try:
        return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise WrongUse(f"failed to read the solution of '{id_}': {error}", f"it belongs in {path}") from error


def notebook_path(id_: str, solutions: str) -> str:
    """Return the path of the solved notebook."""
    return os.path.join(exercises.folder_of(id_, solutions), id_.rpartition("/")[2] + ".ipynb")


def stamped(notebook: Any, exercise: Exercise) -> Any:
    """Return the notebook with labkit's and nbgrader's metadata. Raises WrongUse for a notebook without code."""
    result = copy.deepcopy(notebook)
    result.metadata["labkit"] = {"exercise": exercise.id, "needs": list(exercise.needs)}
    code = [cell for cell in result.cells if cell.cell_type == "code"]
    if not code:
        raise WrongUse(f"failed to build '{exercise.id}': the notebook has no code cell")
    for cell in result.cells:
        cell.metadata.pop("nbgrader", None)
        if BEGIN in cell.source:
            cell.metadata["nbgrader"] = _mark(cell, solution=True, grade=cell.cell_type == "markdown")
    code[-1].metadata["nbgrader"] = _mark(code[-1], grade=True, points=exercise.max_score)
    return result


def unsolved(notebook: Any) -> Any:
    """Return what the learner gets of a stamped notebook. Raises WrongUse where nbgrader refuses it."""
    from nbgrader.nbgraderformat import ValidationError
    from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, LockCells

    clear = ClearSolutions(code_stub={"python": STUB}, text_stub=TEXT_STUB)
    result = copy.deepcopy(notebook)
    resources: dict[str, Any] = {}
    try:
        for preprocessor in (CheckCellMetadata(), clear, LockCells(), ClearOutput(), CheckCellMetadata()):
            preprocessor.log.setLevel(logging.CRITICAL)  # it is said once, below
            result, resources = preprocessor.preprocess(result, resources)
    except (RuntimeError, ValidationError) as error:
        raise WrongUse(f"failed to build '{notebook.metadata['labkit']['exercise']}': {error}") from error
    for cell in result.cells:
        for key in ("execution", "collapsed", "ExecuteTime"):
            cell.metadata.pop(key, None)
    result.metadata.pop("widgets", None)
    result.metadata["language_info"] = {"name": "python"}
    return result


def written(notebook: Any) -> str:
    """Return the notebook as the text of its file; the same for the same notebook."""
    return str(nbformat.writes(notebook, version=4)).rstrip("\n") + "\n"  # type: ignore[no-untyped-call]


def build(solutions: str, target: str, ids: list[str] | None = None) -> list[str]:
    """Stamp the solutions and write the exercises; without `ids` all, and exercises of no solution go. Return what
    changed, as paths."""
    changed = []
    for path, text in _wanted(solutions, target, ids).items():
        if _text(path) != text:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_text(path, text)
            changed.append(path)
    for path in [] if ids else _orphans(solutions, target):
        shutil.rmtree(path)
        changed.append(path)
    return changed


def differences(solutions: str, target: str) -> list[str]:
    """Return the paths that build() would change."""
    wanted = _wanted(solutions, target, None)
    return [path for path, text in wanted.items() if _text(path) != text] + _orphans(solutions, target)


def _wanted(solutions: str, target: str, ids: list[str] | None) -> dict[str, str]:
    """Return the text that each file should have."""
    wanted = {}
    for id_ in exercises.ids(solutions) if ids is None else ids:
        source = stamped(read(id_, solutions), exercises.load(id_, solutions))
        path = notebook_path(id_, solutions)
        wanted[path] = written(source)
        wanted[os.path.join(target, os.path.relpath(path, solutions))] = written(unsolved(source))
        folder = os.path.dirname(path)
        for name in sorted(os.listdir(folder)):
            if name not in NOT_COPIED and not name.startswith(".") and os.path.join(folder, name) != path:
                other = os.path.join(folder, name)
                wanted[os.path.join(target, os.path.relpath(other, solutions))] = _text(other) or ""
    return wanted


def _orphans(solutions: str, target: str) -> list[str]:
    there = set(exercises.ids(solutions))
    found = []
    for chapter in sorted(os.listdir(target)) if os.path.isdir(target) else []:
        folder = os.path.join(target, chapter)
        if os.path.isdir(folder):
            found += [
                os.path.join(folder, name) for name in sorted(os.listdir(folder)) if f"{chapter}/{name}" not in there
            ]
    return [path for path in found if os.path.isdir(path)]


def _mark(cell: Any, *, solution: bool = False, grade: bool = False, points: int = 0) -> dict[str, Any]:
    mark = {"schema_version": 3, "grade_id": cell["id"], "cell_type": cell.cell_type, "task": False}
    mark |= {"solution": solution, "grade": grade, "locked": grade and not solution}
    return {**mark, "points": points} if grade else mark


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
