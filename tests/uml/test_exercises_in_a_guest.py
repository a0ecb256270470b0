"""One exercise a chapter in User-Mode Linux, solved and unsolved: the same points as on the computer's own kernel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.errors import LabkitError
from labkit.grading import exercises
from labkit.machine.uml import needs

pytestmark = pytest.mark.timeout(660)  # the first test waits for all of them
PROJECT = Path(__file__).parent.parent.parent
SOLUTIONS = Path(exercises.solutions_folder())
ONE_A_CHAPTER = {id_.split("/")[0]: id_ for id_ in sorted(exercises.ids(str(SOLUTIONS)), reverse=True)}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The JSON reports of all, graded in one guest: a notebook's path from the folder -> its report."""
    try:
        needs.program()
    except LabkitError as error:
        pytest.skip(str(error).replace("\n", "; "))
    folder = tmp_path_factory.mktemp("work")
    for chapter, id_ in ONE_A_CHAPTER.items():
        name = id_.split("/")[1]
        for state, top in (("solved", SOLUTIONS), ("unsolved", PROJECT / "exercises")):
            place = folder / state / chapter
            place.mkdir(parents=True)
            shutil.copy(top / chapter / name / f"{name}.ipynb", place)
    command = [sys.executable, "-m", "labkit.cli", "grade", "--machine", "uml", str(folder)]
    result = folder / "result.json"
    done = subprocess.run([*command, "--json", str(result)], capture_output=True, text=True, timeout=600)
    assert result.exists(), done.stdout + done.stderr
    found = json.loads(result.read_text())["notebooks"]
    return {os.path.relpath(report["notebook"], folder): report for report in found}


@pytest.mark.parametrize("chapter", sorted(ONE_A_CHAPTER))
def test_a_solved_exercise_has_all_points_and_an_unsolved_one_has_not(chapter: str, reports: dict[str, dict]) -> None:
    name = ONE_A_CHAPTER[chapter].split("/")[1]
    solved, unsolved = (reports[f"{state}/{chapter}/{name}.ipynb"] for state in ("solved", "unsolved"))

    assert solved["score"] == solved["max_score"] > 0, solved
    assert unsolved["score"] < unsolved["max_score"], unsolved
    assert {check["status"] for check in solved["checks"]} == {"passed"}
