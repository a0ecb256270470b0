"""labkit author: write lessons and exercises, and check that they hold."""

from __future__ import annotations

import argparse
import os
import time

from labkit.errors import WrongUse
from labkit.grading import exercises

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit author` understands."""
    parser.description = (
        "For who writes the course. An exercise is a folder solutions/CHAPTER/NAME with NAME.ipynb, solved, and "
        "checks.py; exercises/ is made from it."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="make exercises/ from solutions/")
    build.add_argument("names", metavar="CHAPTER/NAME", nargs="*", help="only these (default: all)")
    build.add_argument("--check", action="store_true", help="change nothing; fail if something would change")
    build.set_defaults(action=_build)
    new = actions.add_parser("new", help="start a lesson or an exercise")
    new.add_argument("what", choices=["lesson", "exercise"])
    new.add_argument("name", metavar="NAME", help="04-routing for a lesson, 04-routing/two-nets for an exercise")
    new.set_defaults(action=_new)
    check = actions.add_parser("check", help="run the exercise law")
    check.add_argument("name", metavar="NAME", help="CHAPTER/NAME, NAME, CHAPTER, or all")
    check.set_defaults(action=_check)
    run = actions.add_parser("run", help="run a notebook in a fresh lab machine and keep the outputs")
    run.add_argument("name", metavar="NAME", help="a notebook's path, or an exercise (its solved notebook)")
    run.set_defaults(action=_run)


def main(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status: 0 when all holds, 1 when not."""
    return int(arguments.action(arguments))


def _build(arguments: argparse.Namespace) -> int:
    from labkit.author import build

    solutions = exercises.solutions_folder()
    target = build.exercises_folder(solutions)
    if arguments.check:
        stale = build.differences(solutions, target)
        for path in stale:
            print(f"differs: {os.path.relpath(path)}")
        print("run: labkit author build" if stale else "exercises/ is what solutions/ makes")
        return 1 if stale else 0
    ids = [id_ for name in arguments.names for id_ in _ids(name, solutions)] or None
    changed = build.build(solutions, target, ids)
    for path in changed:
        print(f"{'wrote' if os.path.exists(path) else 'removed'} {os.path.relpath(path)}")
    print(f"{len(changed)} files changed")
    return 0


def _new(arguments: argparse.Namespace) -> int:
    from labkit.author import new

    for path in new.lesson(arguments.name) if arguments.what == "lesson" else new.exercise(arguments.name):
        print(f"wrote {os.path.relpath(path)}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from labkit.author import law

    solutions = exercises.solutions_folder()
    failed = 0
    for id_ in _ids(arguments.name, solutions):
        start = time.monotonic()
        wrong = law.law(id_, solutions)
        print(
            f"{id_}: {'holds' if not wrong else f'{len(wrong)} wrong'} ({time.monotonic() - start:.1f} s)", flush=True
        )
        for sentence in wrong:
            print("  " + sentence.replace("\n", "\n    "))
        failed += bool(wrong)
    return 1 if failed else 0


def _run(arguments: argparse.Namespace) -> int:
    from nbclient.exceptions import CellExecutionError

    from labkit.author import build, run

    solutions = exercises.solutions_folder()
    is_path = os.path.isfile(arguments.name)
    paths = (
        [arguments.name] if is_path else [build.notebook_path(i, solutions) for i in _ids(arguments.name, solutions)]
    )
    for path in paths:
        try:
            run.run(path)
        except CellExecutionError as error:
            print(f"{os.path.relpath(path)}: {error}")
            return 1
        print(f"ran {os.path.relpath(path)}")
    return 0


def _ids(name: str, solutions: str) -> list[str]:
    """Return the ids that a name means: an id, the last part of one, a chapter, or all. Raises NotFound, WrongUse."""
    there = exercises.ids(solutions)
    word = name.strip("/").removeprefix("solutions/").removeprefix("exercises/")
    found = [id_ for id_ in there if word in ("all", id_, *id_.split("/"))]
    if not found and "/" in word:
        exercises.folder_of(word, solutions)
    if not found:
        raise WrongUse(
            f"failed to find '{name}': no exercise or chapter is called so", f"there are: {', '.join(there)}"
        )
    return found
