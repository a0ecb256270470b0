"""What does a learner call? check_exercise, which asks the judge about this machine, and answer, which records one."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Self

from labkit.errors import LabkitError, Refused, WrongUse, cause
from labkit.grading.files import write_text
from labkit.net import here

__all__ = ["Answer", "Score", "answer", "check_exercise"]

ANSWERS = f"{here.RUN}/answers"
LONGEST_ANSWER = 60_000  # bytes of JSON
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Score(int):
    """Points: a number, as nbgrader wants it for partial credit, that shows itself as a sentence."""

    sentence: str

    def __new__(cls, points: int, sentence: str) -> Self:
        """Return the number with its sentence."""
        self = super().__new__(cls, points)
        self.sentence = sentence
        return self

    def _repr_html_(self) -> str:
        return f"<b>{self.sentence}</b>"


class Answer:
    """What was recorded; shows itself in one line."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    def __repr__(self) -> str:
        return f"noted: {self.name} = {self.text}" if self.text else f"no answer to {self.name} yet"


def answer(name: str, value: Any) -> Answer:
    """Record your answer, for the checks of an exercise to read; None takes it back.

    value: text, number, True or False, or lists and dicts of such. Raises NotInLabMachine, WrongUse, Refused (the disk
    is full)."""
    here.ensure_lab_machine(f"record the answer '{name}'")
    if not _NAME.fullmatch(name):
        raise WrongUse(f"failed to record the answer '{name}': a name is letters, digits and . _ -")
    path = os.path.join(ANSWERS, f"{name}.json")
    if value is None or value is ...:
        if os.path.exists(path):
            os.unlink(path)
        return Answer(name, "")
    try:
        text = json.dumps(sorted(value) if isinstance(value, (set, frozenset)) else value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise WrongUse(
            f"failed to record the answer '{name}': a {type(value).__name__} is not plain data",
            "answers are text, numbers, True or False, or lists and dicts of such",
        ) from error
    if len(text.encode()) > LONGEST_ANSWER:
        raise WrongUse(f"failed to record the answer '{name}': it is longer than {LONGEST_ANSWER} bytes")
    try:
        os.makedirs(ANSWERS, exist_ok=True)
        write_text(path, text + "\n")
    except OSError as error:
        number = error.errno or 0
        raise Refused(f"failed to record the answer '{name}': {cause(number)}", f"it is {path}", number) from error
    return Answer(name, repr(value) if isinstance(value, bool) else text)


def check_exercise(exercise: str) -> Score:
    """Ask the exercise's checks about this lab machine, and show points, what was observed, and hints.

    The judge is a process of its own that looks at kernel state, at packets and at recorded answers. Never raises: what
    goes wrong is said in a sentence. Each failed attempt shows one hint more."""
    if os.environ.get("LABKIT_GRADING"):
        return Score(0, "being graded: the judge looks when the last cell has run")
    from labkit.grading.report import Report

    try:
        report = _judged(exercise)
    except LabkitError as error:
        report = Report.nothing("", exercise, str(error))
    except Exception as error:  # noqa: BLE001  a learner meets a sentence, whatever it is
        report = Report.nothing("", exercise, f"the check could not be made: {type(error).__name__}: {error}")
    _show(report)
    return Score(report.score, report.headline)


def _judged(id_: str) -> Any:
    from labkit.grading import exercises, progress
    from labkit.grading.judging import Judge
    from labkit.grading.report import Report

    here.ensure_lab_machine(f"check exercise '{id_}'")
    solutions = exercises.solutions_folder()
    exercise = exercises.load(id_, solutions)
    with Judge(exercise, solutions) as judge:
        reason = judge.wait_until_ready()
        results = exercise.not_run(reason) if reason else judge.judge("here")
    recorded = progress.record(progress.course_folder(), id_, results)
    problems = [sentence for sentence in (reason, recorded.problem) if sentence]
    return Report("", exercise, results, problems, stages=recorded.stages)


def _show(report: Any) -> None:
    try:
        from IPython import get_ipython
    except ImportError:
        get_ipython = None
    if get_ipython is None or get_ipython() is None:
        print(report.text())
        return
    from IPython.display import display

    bundle = {"text/plain": report.text(), "text/html": report.html()}
    display(bundle, raw=True)  # type: ignore[no-untyped-call]
