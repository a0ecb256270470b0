"""Whose is this file: the course's or the learner's? `labkit course` looks after the working copy.

Lessons are done in a copy of notebooks/ and exercises/ that git ignores. `.labkit/manifest.json` in it remembers what
was delivered. A file that the learner has not written in follows the course's new version; one that they have is
kept, and the new version is offered. What `update NAME` and `reset NAME` replace is first put into kept/DATE/.
Notebooks are delivered without their outputs: a prediction is one only while the answer is not there yet. Where nothing
can run, lessons are delivered with them, as a recording. And each is delivered for the kernel that suits what it needs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import stat
import tempfile
import time
from typing import Any, NamedTuple

from labkit import recording
from labkit.errors import NotFound, Unavailable, WrongUse

__all__ = ["File", "add_arguments", "default_folder", "files", "main", "refresh", "replace", "why_recorded"]

PARTS = ("notebooks", "exercises")
SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MANIFEST = os.path.join(".labkit", "manifest.json")
SIGNATURES = os.path.join(".labkit", "jupyter", "data")  # where the Jupyter server of `labkit lab` looks for them
KERNELS = ("labkit", "labkit-uml")

STATES = {
    "shipped": "as shipped",
    "new": "not here yet",
    "old": "a new version comes with the next `labkit lab`",
    "other": "made for what this computer could do before; it comes anew with the next `labkit lab`",
    "yours": "yours: you wrote in it",
    "offered": "yours, and a new version is waiting: labkit course update {name}",
    "dropped": "yours, and no longer in the course",
    "obsolete": "no longer in the course; goes with the next `labkit lab`",
}

DONE = {
    "obsolete": "removed",
    "new": "the new version",
    "old": "the new version",
    "other": "as this computer can run it",
}


class File(NamedTuple):
    """A file of the course: its name as in "notebooks/00-your-lab-machine.ipynb", and one of STATES."""

    name: str
    state: str


def default_folder() -> str:
    """Return the working copy's place: course/ in the project, or ~/labkit-course where the project is another's."""
    inside = os.path.join(SOURCE, "course")
    writable = os.access(inside if os.path.isdir(inside) else SOURCE, os.W_OK)
    return inside if writable else os.path.expanduser("~/labkit-course")


def files(folder: str) -> list[File]:
    """Return every file of the course and how the working copy in `folder` stands to it."""
    delivered, shipped = _manifest(folder), _shipped()
    found = []
    for name in sorted({*shipped, *delivered}):
        mine = _content(os.path.join(folder, name))
        state = _state(mine, delivered.get(name), _content(os.path.join(SOURCE, name)) if name in shipped else None)
        if state == "shipped" and name.endswith(".ipynb") and _is_other(folder, name):
            state = "other"
        if state:
            found.append(File(name, state))
    return found


def refresh(folder: str) -> list[File]:
    """The working copy has every file of the course, and the new version of each that the learner did not write in.

    So has it a recording where nothing can run, and a live notebook once something can.
    Returns what was done, as the files' states before. Raises Unavailable when the folder cannot be written."""
    done = [file for file in files(folder) if file.state in ("new", "old", "other", "obsolete")]
    try:
        for name, state in done:
            if state == "obsolete":
                os.unlink(os.path.join(folder, name))
            else:
                _deliver(folder, name)
        _remember(folder, [file.name for file in files(folder) if file.state == "shipped"])
    except OSError as error:
        raise _unwritable(folder, error) from error
    return done


def replace(folder: str, names: list[str]) -> str | None:
    """Each file in `names` is the course's own version again. Returns the folder that keeps what was there, if any.

    Raises Unavailable when the folder cannot be written; what was there is then still there, or in kept/."""
    kept = os.path.join(folder, "kept", time.strftime("%Y-%m-%d-%H%M%S"))
    shipped, keeps = _shipped(), False
    try:
        for name in names:
            path = os.path.join(folder, name)
            if os.path.exists(path) and (name not in shipped or _bytes(path) != _delivered(name)):
                _write(os.path.join(kept, name), _bytes(path))
                keeps = True
            if name in shipped:
                _deliver(folder, name)
        _remember(folder, names)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return kept if keeps else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit course` understands."""
    parser.description = (
        "You do the course in a copy of your own. These commands show what you changed in it, and bring the "
        "course's own version back. Nothing that you wrote is lost: what is replaced goes into the folder kept/."
    )
    parser.add_argument("--dir", metavar="FOLDER", help="your copy of the course (default: the one of `labkit lab`)")
    actions = parser.add_subparsers(dest="action", metavar="status | update | reset")
    actions.add_parser("status", help="show which files are yours, and which have a new version waiting")
    update = actions.add_parser("update", help="take new versions: of what you did not change, or of NAME")
    update.add_argument("names", nargs="*", metavar="NAME", help="a file, a folder, or a number such as 01")
    reset = actions.add_parser("reset", help="start over: bring NAME back as the course ships it")
    reset.add_argument("names", nargs="*", metavar="NAME", help="a file, a folder, or a number such as 01")
    reset.add_argument("--all", action="store_true", help="the whole course")


def main(arguments: argparse.Namespace) -> int:
    """Carry out `labkit course`; return the exit status."""
    folder = os.path.abspath(arguments.dir or default_folder())
    if not os.path.isdir(folder):
        raise NotFound(f"failed to find your copy of the course in '{folder}'", "`labkit lab` makes it")
    if arguments.action == "reset":
        if not arguments.names and not arguments.all:
            raise WrongUse("failed to reset: of what?", "labkit course reset 01, for example, or --all")
        return _bring_back(folder, sorted(_shipped()) if arguments.all else _matching(arguments.names))
    if arguments.action == "update" and arguments.names:
        return _bring_back(folder, _matching(arguments.names))
    if arguments.action == "update":
        for name, state in refresh(folder):
            print(f"{name}: {DONE[state]}")
    _print_status(folder)
    return 0


def _bring_back(folder: str, names: list[str]) -> int:
    kept = replace(folder, names)
    print(
        f"{len(names)} {'file is as the course ships it' if len(names) == 1 else 'files are as the course ships them'}."
    )
    if kept:
        print(f"What you had is in {kept}")
    return 0


def _print_status(folder: str) -> None:
    found = files(folder)
    print(f"Your copy of the course: {folder}")
    if why := why_recorded():
        print(f"Nothing runs here, so lessons are recordings. {why}")
    for name, state in found:
        if state != "shipped":
            print(f"  {name}: {STATES[state].format(name=name)}")
    print(f"  {sum(file.state == 'shipped' for file in found)} of {len(found)} files are as shipped")


def _state(mine: str | None, delivered: str | None, shipped: str | None) -> str:
    """Compare what is there, what was delivered, and what would be delivered now; None: no such file."""
    if shipped is None:
        return "" if mine is None else "obsolete" if mine == delivered else "dropped"
    if mine is None:
        return "new"
    if mine == shipped:
        return "shipped"
    if mine == delivered:
        return "old"
    return "yours" if delivered == shipped else "offered"


def _unwritable(folder: str, error: OSError) -> Unavailable:
    hint = "it belongs to somebody else, or the disk is full; another place: labkit lab --dir ~/labkit-course"
    return Unavailable(f"failed to write the course into '{folder}': {error.strerror}", hint)


def _matching(wanted: list[str]) -> list[str]:
    """Return the course's files that the learner means: by path, folder, number or last name."""
    shipped, found = sorted(_shipped()), []
    for word in wanted:
        plain = word.strip("/").removesuffix(".ipynb")
        hits = [name for name in shipped if _means(plain, name)]
        if not hits:
            there = ", ".join(os.path.basename(name).removesuffix(".ipynb") for name in shipped)
            raise NotFound(f"failed to find '{word}' in the course", f"there is: {there}")
        found += hits
    return sorted(set(found))


def _means(plain: str, name: str) -> bool:
    whole = name.removesuffix(".ipynb")
    parts = whole.split("/")[1:]
    by_number = plain.isdigit() and any(part.startswith(f"{plain}-") for part in parts)
    return by_number or plain in parts or f"{whole}/".startswith(f"{plain}/")


def _shipped() -> set[str]:
    """Return the names of the files that the course ships."""
    found: set[str] = set()
    for part in PARTS:
        for folder, folders, names in os.walk(os.path.join(SOURCE, part)):
            folders[:] = [name for name in folders if not name.startswith((".", "__"))]
            relative = os.path.relpath(folder, SOURCE)
            found.update(os.path.join(relative, name) for name in names if not name.startswith("."))
    return found


def _content(path: str) -> str | None:
    """Return a fingerprint of what somebody wrote: of a notebook the cells, without what running them left in it."""
    try:
        data = _bytes(path)
    except FileNotFoundError:
        return None
    if path.endswith(".ipynb"):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            own = recording.cells(json.loads(data))
            cells = [[cell["cell_type"], "".join(cell["source"])] for cell in own]
            data = json.dumps(cells).encode()
    return hashlib.sha256(data).hexdigest()


def _manifest(folder: str) -> dict[str, str]:
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            return dict(json.load(file)["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _remember(folder: str, names: list[str]) -> None:
    """The manifest says that the present version of `names` was delivered; what is gone from disk is forgotten."""
    known = {name: content for name, content in _manifest(folder).items() if os.path.exists(os.path.join(folder, name))}
    for name in names:
        if content := _content(os.path.join(SOURCE, name)):
            known[name] = content
    text = json.dumps({"files": dict(sorted(known.items()))}, indent=1)
    _write(os.path.join(folder, MANIFEST), f"{text}\n".encode())


def why_recorded() -> str:
    """Return why lessons are delivered as recordings, "" where they are not: lab machines start here."""
    from labkit.machine import suits

    why = suits.nothing_runs()
    return str(why) if why else ""


def _deliver(folder: str, name: str) -> None:
    """The working copy has the file `name` as the course delivers it on this computer."""
    path, data = os.path.join(folder, name), _delivered(name)
    _write(path, data)
    if name.endswith(".ipynb") and recording.is_recording(json.loads(data)):
        recording.sign(path, os.path.join(folder, SIGNATURES))


def _delivered(name: str) -> bytes:
    """Return what the learner gets of the course's file `name`: of a notebook, the cells as if nobody had run them.

    Of a lesson where nothing can run, a recording."""
    from labkit.machine import suits

    data = _bytes(os.path.join(SOURCE, name))
    if not name.endswith(".ipynb"):
        return data
    notebook = json.loads(data)
    if recording.was_run(notebook) and (why := suits.nothing_runs()):
        return _text(recording.marked(notebook, why, name))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    if needs := suits.needs_of(notebook):
        kernel = suits.kernel_for(needs)
        notebook["metadata"]["kernelspec"] = {"display_name": kernel, "language": "python", "name": kernel}
    return _text(notebook)


def _is_other(folder: str, name: str) -> bool:
    """Return whether the notebook, in which the learner did not write, would be delivered differently now.

    Outputs that are the learner's own are a reason to leave it as it is."""
    mine, ours = (json.loads(data) for data in (_bytes(os.path.join(folder, name)), _delivered(name)))
    if recording.is_recording(mine) or recording.was_run(mine):
        return recording.is_recording(mine) and not recording.is_recording(ours)
    if recording.is_recording(ours):
        return True
    kernels = [notebook["metadata"].get("kernelspec", {}).get("name") for notebook in (mine, ours)]
    return kernels[0] != kernels[1] and set(kernels) == set(KERNELS)


def _text(notebook: Any) -> bytes:
    return f"{json.dumps(notebook, indent=1, ensure_ascii=False)}\n".encode()


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, data: bytes) -> None:
    """`path` holds `data`, or what it held before: never a part of it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=".labkit-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o644)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise
