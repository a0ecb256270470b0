"""In the notebook: check_exercise shows points and hints and keeps progress; labkit author tells a good exercise."""

from __future__ import annotations

import json
import os
import shutil

import nbformat
import pytest

from labkit import cli
from labkit.author import build, law
from labkit.author.run import executed
from labkit.grading import exercises

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures", "solutions")
COUNT = "90-fixtures/count-links"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A learner's copy of the course, with one exercise in it."""
    monkeypatch.setenv("LABKIT_SOLUTIONS", FIXTURES)
    (tmp_path / ".labkit").mkdir()
    folder = tmp_path / "exercises" / COUNT
    folder.mkdir(parents=True)
    return tmp_path


def stamped(id_: str = COUNT, solutions: str = FIXTURES):
    return build.stamped(build.read(id_, solutions), exercises.load(id_, solutions))


def check_cell(notebook, course):
    return executed(notebook, str(course / "exercises" / COUNT)).cells[-1]


def text(cell) -> str:
    return cell.outputs[0].data["text/plain"]


def test_a_learner_sees_points_then_hint_after_hint_and_their_progress(course, capsys):
    notebook = build.unsolved(stamped())
    cell = check_cell(notebook, course)
    assert text(cell) == (
        "Count the links: 0 of 3 points\n"
        "✗   0/1  namespace-box: there is no namespace called box; there are: none\n"
        "         Look at: ip netns list\n"
        "         Hint: ip netns has a verb for it.\n"
        "✗   0/1  links: there is no answer called 'links' yet\n"
        '         its value is still None, or this was not run: labkit.answer("links", ...)\n'
        "         Look at: ip -n box link\n"
        "         Hint: Even lo counts.\n"
        "…   0/1  box-has-no-eth0: (blocked) waits for: links"
    )
    assert "<table>" in cell.outputs[0].data["text/html"]
    assert cell.outputs[1].data == {"text/plain": "0", "text/html": "<b>Count the links: 0 of 3 points</b>"}
    assert "Hint: ip netns add NAME" in text(check_cell(notebook, course))
    assert text(check_cell(stamped(), course)).startswith("Count the links: 3 of 3 points")
    assert cli.main(["progress", str(course)]) == 0
    assert capsys.readouterr().out == (
        "90-fixtures\n  ✓ count-links  3 of 3 points\n  · two-rooms\n"
        "1 of 2 exercises done; next: 90-fixtures/two-rooms\n"
    )


def test_nbgrader_reads_the_points_as_partial_credit(course):
    from nbgrader.utils import determine_grade

    notebook = stamped()
    assert determine_grade(check_cell(notebook, course)) == (3, 3)
    notebook.cells[-2].source = 'labkit.answer("links", 7)'
    assert determine_grade(check_cell(notebook, course)) == (1, 3)


def test_an_answer_says_what_it_noted_and_what_it_cannot_take(course):
    cells = [
        "import labkit\nlabkit.answer('who', {'red', 'blue'})",
        "try:\n    labkit.answer('who', print)\nexcept labkit.errors.WrongUse as error:\n    print(error)",
        "labkit.check_exercise('90-fixtures/none')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    said = [cell.outputs[0] for cell in executed(notebook, str(course)).cells]
    assert said[0].data["text/plain"] == 'noted: who = ["blue", "red"]'
    assert said[1].text.startswith(
        "failed to record the answer 'who': a builtin_function_or_method is not plain data\n"
    )
    assert "the course has none of this id" in said[2].data["text/plain"]


# ---- the exercise law


@pytest.fixture
def solutions(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_SOLUTIONS", str(tmp_path / "solutions"))
    shutil.copytree(FIXTURES, tmp_path / "solutions")
    return str(tmp_path / "solutions")


def edit(solutions: str, id_: str, sources: dict[str, str], checks: dict[str, str]) -> None:
    notebook = build.read(id_, solutions)
    for cell in notebook.cells:
        cell.source = sources.get(cell.id, cell.source)
    nbformat.write(notebook, build.notebook_path(id_, solutions))
    path = os.path.join(solutions, id_, "checks.py")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for old, new in checks.items():
        assert old in text
        text = text.replace(old, new)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def test_the_law_finds_an_exercise_that_gives_points_away_or_breaks_when_run_again(solutions):
    edit(
        solutions,
        COUNT,
        {
            "start": "import labkit\n\n!ip netns add box 2>/dev/null",
            "box": "### BEGIN SOLUTION\nsecret_word = 1\n### END SOLUTION",
            "predict": "### BEGIN SOLUTION\nlinks = 1\n### END SOLUTION\nlabkit.answer('links', links)\n"
            "!test -e /run/again && ip -n box link add eth1 type veth peer name eth2; touch /run/again",
        },
        {
            'replace={"predict": \'labkit.answer("links", 0)\'}, red=["links"]': 'replace={}, red=["links"]',
            '"a text"': '"also red"',
            'red=["links"]),\n        Fault(\n': 'red=["links", "namespace-box"]),\n        Fault(\n',
            'look_at="ip -n box link"': 'look_at="secret_word = 1"',
        },
    )
    found = "\n".join(law.law(COUNT, solutions))
    for sentence in (
        "unsolved: cell 3 (predict) raised NameError: name 'links' is not defined",
        "unsolved: it scores 1 points, by namespace-box; it must score 0",
        "solved, after its cells ran in reverse and then in order: 'links' is failed",
        "fault 'none': 'links' should be red and is passed",
        "fault 'also red': 'namespace-box' should be red and is passed",
        "nothing turns 'namespace-box' red",
        "the message of 'links' gives the answer away: secret_word = 1",
    ):
        assert sentence in found, found


def test_the_form_is_looked_at_before_anything_runs(solutions):
    edit(
        solutions,
        COUNT,
        {"check": "1 + 1", "box": "!ip netns add box", "predict": 'labkit.answer("links", 1)'},
        {
            'hints=["Even lo counts."]': "hints=[]",
            '"box": "!ip': '"bax": "!ip',
            "has_no_link": "has_link",
            "box-has-no-eth0": "box-eth0",
        },
    )
    assert law.law(COUNT, solutions) == [
        "no check is of something that must not work (must_not, does_not_reach, has_no_link...)",
        "check 'links' has no hint",
        "fault 'a cable too many' replaces cell 'bax', and there is none; there are: box, check, predict, start",
        "no code cell has a solution region (### BEGIN SOLUTION ... ### END SOLUTION)",
        'the last code cell must be: labkit.check_exercise("90-fixtures/count-links")',
    ]


# ---- authoring


def test_a_new_exercise_keeps_the_law_from_its_first_minute(solutions, capsys):
    assert cli.main(["author", "new", "exercise", "90-fixtures/brand-new"]) == 0
    assert cli.main(["author", "run", "brand-new"]) == 0
    assert cli.main(["author", "check", "brand-new"]) == 0, capsys.readouterr().out
    assert cli.main(["author", "new", "exercise", "90-fixtures/brand-new"]) == 2
    assert "failed to start exercise '90-fixtures/brand-new': it exists" in capsys.readouterr().err


def test_exercises_are_built_without_solutions_and_outputs_and_a_difference_is_found(solutions, capsys):
    assert cli.main(["author", "build", "--check"]) == 1
    assert cli.main(["author", "build"]) == 0
    assert cli.main(["author", "build", "--check"]) == 0
    path = os.path.join(build.exercises_folder(solutions), COUNT, "count-links.ipynb")
    with open(path, encoding="utf-8") as file:
        made = json.load(file)
    assert os.listdir(os.path.dirname(path)) == ["count-links.ipynb"]
    code = {cell["id"]: cell for cell in made["cells"] if cell["cell_type"] == "code"}
    assert {(cell["execution_count"], *cell["outputs"]) for cell in code.values()} == {(None,)}
    assert "".join(code["predict"]["source"]) == 'links = None\n# YOUR TURN\nlabkit.answer("links", links)'
    assert code["predict"]["metadata"]["nbgrader"]["solution"] is True
    assert code["check"]["metadata"]["nbgrader"]["points"] == 3
    shutil.rmtree(os.path.join(solutions, COUNT))
    capsys.readouterr()
    assert cli.main(["author", "build", "--check"]) == 1
    assert cli.main(["author", "build"]) == 0
    assert not os.path.exists(os.path.dirname(path))


def test_a_lesson_starts_with_its_parts(solutions):
    assert cli.main(["author", "new", "lesson", "90-fixtures"]) == 0
    made = nbformat.read(os.path.join(os.path.dirname(solutions), "notebooks", "90-fixtures.ipynb"), as_version=4)
    assert [cell.id for cell in made.cells][:4] == ["title", "start", "picture", "topology"]
    assert made.metadata.kernelspec.name == "labkit"
