"""The exercise law holds for every exercise of the course, and exercises/ is what solutions/ makes."""

from __future__ import annotations

import pytest

from labkit.author import build
from labkit.author.law import law
from labkit.grading import exercises

SOLUTIONS = exercises.solutions_folder()


def test_exercises_are_what_the_solutions_make() -> None:
    assert build.differences(SOLUTIONS, build.exercises_folder(SOLUTIONS)) == [], "run: labkit author build"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("exercise", exercises.ids(SOLUTIONS)[::-1])  # the longest first: two run side by side
def test_the_exercise_law_holds(exercise: str) -> None:
    assert law(exercise, SOLUTIONS) == []
