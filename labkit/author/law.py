"""The exercise law: does an exercise tell right from wrong?

One function, law(), that the tests and `labkit author check` share. It returns sentences; none means that it holds.
- form: a check of what must not work, hints, at least one fault, a solution region, a last cell that checks, a first
  cell that needs what the metadata says;
- unsolved, it fails by its checks, not by a traceback, and scores exactly 0;
- solved, it passes: twice in a row on a fresh machine, again after its cells ran in reverse and then in order;
- each fault turns exactly its checks red (blocked is not red), and each check is red somewhere;
- no message holds a line of the solution, or what the check calls secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from jupyter_core.utils import ensure_event_loop

from labkit.author import build
from labkit.author.form import needs_disagree
from labkit.check import Exercise, Fault, Result
from labkit.errors import LabkitError
from labkit.grading import exercises, submission
from labkit.grading.judging import Judge
from labkit.grading.submission import Cell

__all__ = ["form", "law"]

JOBS = 3  # machines at once: their cells mostly wait for commands
CELL_TIMEOUT = 60.0
SHORTEST_SECRET_LINE = 8  # characters: a solution's line "x = 1" says nothing when a message holds it


@dataclass(frozen=True)
class Trial:
    """What one machine showed: the errors of its cells, and what the judge found each time it was asked."""

    errors: Sequence[str]
    judged: Sequence[Sequence[Result]]


def law(id_: str, solutions: str | None = None) -> list[str]:
    """Return what is wrong with an exercise, as sentences. Raises NotFound, Unavailable."""
    solutions = solutions or exercises.solutions_folder()
    exercises.folder_of(id_, solutions)
    try:
        exercise = exercises.load(id_, solutions)
        solved = build.stamped(build.read(id_, solutions), exercise)
        learners = build.unsolved(solved)
    except LabkitError as error:
        return [str(error)]
    wrong = form(exercise, solved)
    if wrong:
        return wrong
    cells = submission.code_cells(solved)
    again = [cells[::-1], cells]
    plans: list[tuple[list[list[Cell]], list[int]]] = [
        ([submission.code_cells(learners)], [1]),
        ([cells, *again], [2, 0, 1]),
        *(([_with_fault(cells, fault)], [1]) for fault in exercise.faults),
    ]
    with ThreadPoolExecutor(JOBS) as pool:
        bare, right, *faulty = pool.map(lambda plan: _try(exercise, solutions, *plan), plans)
    wrong += _unsolved(bare) + _solved(right)
    for fault, trial in zip(exercise.faults, faulty, strict=True):
        wrong += _fault(fault, trial.judged[0])
    seen = [result for trial in (bare, *faulty) for judged in trial.judged for result in judged]
    return wrong + _never_red(exercise, seen) + _told(exercise, solved, seen)


def form(exercise: Exercise, notebook: Any) -> list[str]:
    """Return what is wrong with an exercise before anything runs."""
    cells = submission.code_cells(notebook)
    wrong = []
    if not any(check.must_not for check in exercise.checks):
        wrong.append("no check is of something that must not work (must_not, does_not_reach, has_no_link...)")
    wrong += [f"check '{check.name}' has no hint" for check in exercise.checks if not check.hints]
    if not exercise.faults:
        wrong.append("there is no fault: which wrong answers are plausible?")
    there = {cell.id for cell in cells}
    for fault in exercise.faults:
        wrong += [
            f"fault '{fault.name}' replaces cell '{cell}', and there is none; there are: {', '.join(sorted(there))}"
            for cell in fault.replace
            if cell not in there
        ]
    if not any(build.BEGIN in cell.source for cell in cells):
        wrong.append(f"no code cell has a solution region ({build.BEGIN} ... {build.END})")
    if cells[-1].source.strip() != f'labkit.check_exercise("{exercise.id}")':
        wrong.append(f'the last code cell must be: labkit.check_exercise("{exercise.id}")')
    return wrong + needs_disagree(notebook)


def _try(exercise: Exercise, solutions: str, rounds: list[list[Cell]], judgings: list[int]) -> Trial:
    """Run each round of cells in one fresh machine, and ask the judge so often after each."""
    errors: list[str] = []
    judged: list[Sequence[Result]] = []
    folder = exercises.folder_of(exercise.id, solutions)
    try:
        with ExitStack() as stack:
            judges = [stack.enter_context(Judge(exercise, solutions)) for _ in range(sum(judgings))]
            kernel = stack.enter_context(submission.start(folder))
            for cells, times in zip(rounds, judgings, strict=True):
                run = kernel.run(cells, CELL_TIMEOUT)
                errors += run.problems if times else []
                for _ in range(times):
                    judge = judges.pop()
                    reason = judge.wait_until_ready()
                    judged.append(exercise.not_run(reason) if reason else judge.judge(str(kernel.init)))
    finally:
        ensure_event_loop().close()  # jupyter_client made one for this thread
    return Trial(errors, judged)


def _unsolved(trial: Trial) -> list[str]:
    wrong = [f"unsolved: {error}" for error in trial.errors]
    (results,) = trial.judged
    score = sum(result.points for result in results)
    if score:
        given = ", ".join(result.name for result in results if result.points)
        wrong.append(f"unsolved: it scores {score} points, by {given}; it must score 0")
    if not any(result.status == "failed" for result in results):
        wrong.append("unsolved: no check failed")
    return wrong + _not_asked("unsolved", results)


def _solved(trial: Trial) -> list[str]:
    wrong = [f"solved: {error}" for error in trial.errors]
    when = ("", ", asked a second time", ", after its cells ran in reverse and then in order")
    for results, moment in zip(trial.judged, when, strict=True):
        wrong += [
            f"solved{moment}: '{result.name}' is {result.status}: {result.message}"
            for result in results
            if result.status != "passed"
        ]
    return wrong


def _fault(fault: Fault, results: Sequence[Result]) -> list[str]:
    red = {result.name for result in results if result.status == "failed"}
    wrong = []
    for name in sorted(set(fault.red) - red):
        status = next(result.status for result in results if result.name == name)
        wrong.append(f"fault '{fault.name}': '{name}' should be red and is {status}")
    for name in sorted(red - set(fault.red)):
        message = next(result.message for result in results if result.name == name)
        wrong.append(f"fault '{fault.name}': '{name}' is red and should not be: {message}")
    return wrong + _not_asked(f"fault '{fault.name}'", results)


def _not_asked(when: str, results: Sequence[Result]) -> list[str]:
    return [f"{when}: '{result.name}': {result.message}" for result in results if result.status == "not_run"]


def _never_red(exercise: Exercise, seen: Sequence[Result]) -> list[str]:
    red = {result.name for result in seen if result.status == "failed"}
    return [
        f"nothing turns '{check.name}' red, neither the unsolved notebook nor a fault: what does it prove?"
        for check in exercise.checks
        if check.name not in red
    ]


def _told(exercise: Exercise, notebook: object, seen: Sequence[Result]) -> list[str]:
    """Return the messages that give the answer away."""
    secrets = {check.name: list(check.secret) for check in exercise.checks}
    lines = _solution_lines(notebook)
    wrong = []
    for result in seen:
        if result.status == "failed":
            told = [text for text in [*lines, *secrets[result.name]] if text in result.message]
            wrong += [f"the message of '{result.name}' gives the answer away: {text}" for text in told]
    return sorted(set(wrong))


def _solution_lines(notebook: object) -> list[str]:
    lines, inside = [], False
    for cell in submission.code_cells(notebook):
        for line in cell.source.splitlines():
            if build.BEGIN in line or build.END in line:
                inside = build.BEGIN in line
            elif inside and len(line.strip(" !")) >= SHORTEST_SECRET_LINE:
                lines.append(line.strip(" !"))
    return lines


def _with_fault(cells: list[Cell], fault: Fault) -> list[Cell]:
    return [replace(cell, source=fault.replace.get(cell.id, cell.source)) for cell in cells]
