"""labkit grade: run exercises, each in a fresh lab machine, and say what they are worth."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from labkit.check import Exercise, Result
from labkit.errors import LabkitError, Unavailable
from labkit.grading import exercises
from labkit.grading.files import write_json
from labkit.grading.report import Report
from labkit.grading.submission import CELL_TIMEOUT
from labkit.machine import kinds, suits

__all__ = ["ALL_POINTS", "CANNOT_RUN", "NOT_ALL_POINTS", "NOT_GRADED", "add_arguments", "grade", "main", "notebooks_in"]

ALL_POINTS, NOT_ALL_POINTS, NOT_GRADED, CANNOT_RUN = 0, 1, 2, 3
MOST_NOTEBOOK = 50_000_000  # bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit grade` understands."""
    parser.description = (
        "Run a notebook, or every exercise in a folder, each in a fresh lab machine, and judge what it built there "
        "by the checks of the installed course."
    )
    parser.epilog = (
        "Exit status: 0 all points; 1 graded, and not all points; 2 something could not be graded (no such notebook or "
        "exercise, no check ran); 3 this computer cannot run a lab machine. The JSON file is written in every case."
    )
    kinds.add_option(parser)
    parser.add_argument("path", metavar="PATH", help="a notebook, or a folder of them")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--exercise", metavar="ID", help="the exercise it must be, such as 02-veth-pairs/two-rooms")
    parser.add_argument(
        "--cell-timeout", metavar="SECONDS", type=float, default=CELL_TIMEOUT, help="for each cell (%(default)g)"
    )


def main(arguments: argparse.Namespace) -> int:
    """Grade, print, and return the exit status."""
    if (guest := _in_guest(arguments)) is not None:
        return guest
    reports: list[Report] = []
    problem, status = "", NOT_GRADED
    _end_on_sigterm()
    try:
        paths = notebooks_in(arguments.path)
        if not paths:
            problem = f"there is no exercise to grade in {arguments.path}"
        for path in paths:
            report = grade(path, arguments.exercise, arguments.cell_timeout)
            print(report.text(title=len(paths) > 1 or not report.exercise), end="\n\n", flush=True)
            reports.append(report)
        status = max((report.status for report in reports), default=NOT_GRADED)
    except BrokenPipeError:
        problem = "its reader went away"
        raise
    except OSError as error:
        problem = f"cannot read {error.filename or arguments.path}: {error.strerror}"
    except BaseException:
        problem = "it was stopped before its end"
        raise
    finally:
        if arguments.json:
            status = max(status, _write(arguments.json, summary(reports, problem)))
    if problem:
        print(f"labkit grade: {problem}", file=sys.stderr)
    if len(reports) > 1:
        print(f"all together: {sum(r.score for r in reports)} of {sum(r.max_score for r in reports)} points")
    return status


def _in_guest(arguments: argparse.Namespace) -> int | None:
    """Grade in User-Mode Linux if that is the kind to use: all of it, judge and lab machines, in one guest.

    Returns None where that is not the kind; the exit status of `labkit grade` there otherwise."""
    try:
        choice = kinds.choose(arguments.machine or _suiting(arguments.path))
    except Unavailable:
        return None  # each notebook's report will say so
    if choice.kind != "uml":
        return None
    words, write = ["grade", os.path.abspath(arguments.path)], [os.path.dirname(os.path.abspath(arguments.path))]
    if arguments.json:
        words += ["--json", os.path.abspath(arguments.json)]
        write.append(os.path.dirname(os.path.abspath(arguments.json)))
    if arguments.exercise:
        words += ["--exercise", arguments.exercise]
    words += ["--cell-timeout", str(arguments.cell_timeout), "--machine", "namespaces"]
    try:
        return kinds.in_guest(words, choice.why, write)
    except Unavailable as error:
        print(f"labkit grade: {error}", file=sys.stderr)
        return CANNOT_RUN


def _suiting(path: str) -> str | None:
    """Return "uml" for a notebook that needs what only User-Mode Linux has here; None for others, and for a folder."""
    if not path.endswith(".ipynb"):
        return None
    try:
        return "uml" if suits.kernel_for(suits.needs_of(_read(path))) == "labkit-uml" else None
    except (OSError, ValueError):
        return None  # its report will say so


def notebooks_in(path: str) -> list[str]:
    """Return the notebook, or those below the folder that name an exercise, sorted. Raises OSError."""
    if not os.path.isdir(path):
        os.stat(path)
        return [path]
    found = []
    for folder, folders, files in os.walk(path):
        kept = ".labkit" in folders  # in a copy of the course, kept/ holds what `labkit course reset` replaced
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not (kept and name == "kept"))
        found += [os.path.join(folder, name) for name in sorted(files) if name.endswith(".ipynb")]
    return [name for name in found if _names_exercise(name)]


def grade(path: str, expected: str | None = None, cell_timeout: float = CELL_TIMEOUT) -> Report:
    """Run one notebook in a fresh lab machine and return its report, whatever happens."""
    solutions = exercises.solutions_folder()
    id_ = expected or ""
    try:
        notebook = _read(path)
        named = exercises.exercise_of(notebook.metadata)
        id_ = expected or named
        if not id_:
            return Report.nothing(path, "", f"{path} does not say which exercise it is, in its metadata")
        exercise = exercises.load(id_, solutions)
    except (LabkitError, OSError, ValueError) as error:
        return Report.nothing(path, id_, str(error))
    if named != id_:
        return Report(
            path, exercise, exercise.not_run(f"this is exercise '{named}'"), [f"it says that it is '{named}'"]
        )
    try:
        results, notes = _run_and_judge(path, notebook, exercise, solutions, cell_timeout)
    except Unavailable as error:
        return Report(path, exercise, exercise.not_run(str(error)), [str(error)], cannot_run=True)
    except Exception as error:  # noqa: BLE001  one submission must not take the others with it
        problem = f"it could not be judged: {type(error).__name__}: {error}"
        return Report(path, exercise, exercise.not_run(problem), [problem])
    return Report(path, exercise, results, notes)


def _run_and_judge(
    path: str, notebook: Any, exercise: Exercise, solutions: str, cell_timeout: float
) -> tuple[list[Result], list[str]]:
    from labkit.grading import submission
    from labkit.grading.judging import Judge

    with Judge(exercise, solutions) as judge, submission.start(os.path.dirname(os.path.abspath(path))) as kernel:
        reason = judge.wait_until_ready()
        if reason:
            return exercise.not_run(reason), [reason]
        run = kernel.run(submission.code_cells(notebook), cell_timeout)
        if not run.alive:
            return exercise.not_run("the lab machine ended before it could be judged"), run.problems
        return judge.judge(str(kernel.init)), run.problems


def summary(reports: list[Report], problem: str = "") -> dict[str, Any]:
    """Return the JSON: of one notebook its own, of several their sum, and each below "notebooks"."""
    if len(reports) == 1 and not problem:
        return reports[0].json()
    return {
        "score": sum(report.score for report in reports),
        "max_score": sum(report.max_score for report in reports),
        "checks": [{**check.json(), "exercise": report.exercise_id} for report in reports for check in report.results],
        "problems": [problem] if problem else [],
        "notebooks": [report.json() for report in reports],
    }


def _end_on_sigterm() -> None:
    """SIGTERM ends the machine and writes the JSON before the process ends, as Ctrl-C does."""
    with suppress(ValueError):  # only a main thread may say so
        signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def _write(path: str, data: object) -> int:
    """Write the JSON; return 0, or 2 with a sentence where it cannot be."""
    try:
        write_json(path, data)
    except OSError as error:
        print(f"labkit grade: cannot write {path}: {error.strerror}", file=sys.stderr)
        return NOT_GRADED
    return ALL_POINTS


def _read(path: str) -> Any:
    import nbformat

    if os.path.getsize(path) > MOST_NOTEBOOK:
        raise ValueError(f"{path} is larger than {MOST_NOTEBOOK // 1_000_000} MB")
    try:
        with open(path, encoding="utf-8") as file:
            return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a notebook: {str(error).splitlines()[0]}") from error


def _names_exercise(path: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return bool(exercises.exercise_of(json.load(file).get("metadata")))
    except (OSError, ValueError, AttributeError):
        return False
