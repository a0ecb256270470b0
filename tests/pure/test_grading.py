"""Grading without a machine: reports, progress, where checks come from, and how a notebook is made ready."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest
from jupyter_client.manager import KernelManager

from labkit.check import Check, Exercise, Result
from labkit.errors import NotFound, Refused, WrongUse
from labkit.grading import exercises, files, notebook, progress, submission
from labkit.grading.report import Report
from labkit.machine.kernel import CHANNELS
from labkit.net import here

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures", "solutions")
COUNT = "90-fixtures/count-links"


def exercise(*names: str) -> Exercise:
    checks = [Check(name, dict, verdict=bool, passed="yes", failed="no", points=2) for name in names]
    return Exercise("90-x/y", "Some <title>", checks)


RESULTS = [
    Result("a", "passed", 2, 2, "a works"),
    Result("b", "failed", 0, 2, "b is <down>\nLook at: ip link", ("first", "second", "third")),
    Result("c", "blocked", 0, 2, "waits for: b"),
    Result("d", "not_run", 0, 2, "cannot be asked here: no ipvsadm"),
]


def report(results=RESULTS, **options) -> Report:
    return Report("mine.ipynb", exercise(*(result.name for result in results)), results, **options)


def test_a_report_reads_like_this():
    assert report(problems=["cell 1 (start) raised NameError"], stages={"b": 2}).text() == (
        "mine.ipynb\n"
        "Some <title>: 2 of 8 points\n"
        "! cell 1 (start) raised NameError\n"
        "✓   2/2  a: a works\n"
        "✗   0/2  b: b is <down>\n"
        "         Look at: ip link\n"
        "         Hint: first\n"
        "         Hint: second\n"
        "…   0/2  c: (blocked) waits for: b\n"
        "-   0/2  d: (not run) cannot be asked here: no ipvsadm"
    )


def test_html_says_the_same_and_escapes_it():
    html = report(stages={"b": 1}).html()
    assert "b is &lt;down&gt;<br>Look at: ip link<br><i>Hint: first</i>" in html
    assert "second" not in html
    assert "<down>" not in html


def test_json_has_the_form_that_graders_read_and_no_hints():
    data = report().json()
    assert (data["score"], data["max_score"]) == (2, 8)
    assert [entry["status"] for entry in data["checks"]] == ["passed", "failed", "blocked", "not_run"]
    assert set(data["checks"][0]) == {"name", "status", "points", "max_points", "message"}
    assert "first" not in json.dumps(data)


@pytest.mark.parametrize(
    ("results", "options", "status"),
    [
        (RESULTS[:1], {}, 0),
        (RESULTS, {}, 1),
        (RESULTS[3:], {}, 2),
        (RESULTS[3:], {"cannot_run": True}, 3),
    ],
)
def test_the_exit_status_tells_all_points_not_all_none_asked_and_no_machine(results, options, status):
    assert report(results, **options).status == status


def test_nothing_to_judge_is_a_failure():
    nothing = Report.nothing("mine.ipynb", "", "it does not say which exercise it is")
    assert (nothing.status, nothing.score, nothing.max_score) == (2, 0, 0)
    assert nothing.text(title=False) == "mine.ipynb: 0 of 0 points\n! it does not say which exercise it is"


# ---- exercises


def test_a_chapters_exercises_come_in_the_order_of_its_lesson(tmp_path):
    for name in ("apples", "pears", "unnamed"):
        (tmp_path / "solutions" / "01-fruit" / name).mkdir(parents=True)
        (tmp_path / "solutions" / "01-fruit" / name / "checks.py").touch()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01-fruit.ipynb").write_text("exercises/01-fruit/pears/ exercises/01-fruit/apples/")
    assert exercises.ids(str(tmp_path / "solutions")) == ["01-fruit/pears", "01-fruit/apples", "01-fruit/unnamed"]


def test_checks_come_from_the_course_by_id():
    assert exercises.load(COUNT, FIXTURES).title == "Count the links"
    assert exercises.ids(FIXTURES) == [COUNT, "90-fixtures/two-rooms"]


@pytest.mark.parametrize(
    "id_", ["", "count-links", "90-fixtures/none", "../solutions/90-fixtures/count-links", "/etc", "a/b/c"]
)
def test_an_id_that_the_course_has_not_is_not_found(id_):
    with pytest.raises(NotFound, match="the course has none of this id\nexercises there: 90-fixtures/count-links, "):
        exercises.load(id_, FIXTURES)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1/0", "failed to load exercise '90-x/y': ZeroDivisionError: division by zero"),
        ("", "failed to load exercise '90-x/y': it defines no `exercise = Exercise(...)`"),
        ("def (", "failed to load exercise '90-x/y': SyntaxError: invalid syntax (checks.py, line 1)"),
    ],
)
def test_checks_that_do_not_load_are_a_sentence(tmp_path, text, sentence):
    (tmp_path / "90-x" / "y").mkdir(parents=True)
    (tmp_path / "90-x" / "y" / "checks.py").write_text(text)
    with pytest.raises(WrongUse) as caught:
        exercises.load("90-x/y", str(tmp_path))
    assert caught.value.message == sentence
    assert not (tmp_path / "90-x" / "y" / "__pycache__").exists()


@pytest.mark.parametrize("metadata", [None, {}, {"labkit": None}, {"labkit": {"exercise": 3}}, {"labkit": []}, []])
def test_metadata_that_names_no_exercise_gives_none(metadata):
    assert exercises.exercise_of(metadata) == ""


# ---- progress


@pytest.fixture
def course(tmp_path):
    (tmp_path / ".labkit").mkdir()
    (tmp_path / "exercises" / "90-x" / "y").mkdir(parents=True)
    return str(tmp_path)


def test_each_failed_attempt_shows_one_hint_more_across_restarts(course):
    assert progress.record(course, "90-x/y", RESULTS).stages == {"b": 1}
    assert progress.record(course, "90-x/y", RESULTS).stages == {"b": 2}
    assert progress.record(course, "90-x/z", RESULTS).stages == {"b": 1}
    assert progress.record(course, "90-x/y", RESULTS[:1]).stages == {}
    data, _ = progress.read(course)
    assert data["exercises"]["90-x/y"] == {"best": 2, "attempts": {"b": 2}, "max_score": 2}


def test_the_course_folder_is_found_from_an_exercise(course, tmp_path_factory):
    assert progress.course_folder(os.path.join(course, "exercises", "90-x", "y")) == course
    assert progress.course_folder(str(tmp_path_factory.mktemp("elsewhere"))) is None


def test_without_a_course_folder_the_first_hint_shows_and_nothing_is_written(tmp_path):
    assert progress.record(None, "90-x/y", RESULTS).stages == {"b": 1}


def test_progress_reads_like_this(course):
    ids = ["90-x/y", "90-x/z", "91-u/v"]
    assert progress.text(course, ids).splitlines()[-1] == "0 of 3 exercises done; next: 90-x/y"
    progress.record(course, "90-x/y", RESULTS[:1])
    progress.record(course, "91-u/v", RESULTS)
    assert progress.text(course, ids) == (
        "90-x\n  ✓ y  2 of 2 points\n  · z\n91-u\n  … v  2 of 8 points\n1 of 3 exercises done; next: 90-x/z"
    )


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"exercises": 3}', '{"exercises": {"a": {"best": "x"}}}', "\x00" * 50]
)
def test_a_damaged_record_is_set_aside_with_a_sentence_and_not_lost(course, damage):
    path = os.path.join(course, ".labkit", "progress.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(damage)
    recorded = progress.record(course, "90-x/y", RESULTS)
    assert recorded.problem.startswith("the record of your progress was damaged; it is kept as ")
    aside = recorded.problem.partition("kept as ")[2].partition(",")[0]
    with open(aside, encoding="utf-8") as file:
        assert file.read() == damage
    assert progress.read(course)[0]["exercises"]["90-x/y"]["best"] == 2


def test_a_folder_that_cannot_be_written_is_a_sentence(course, monkeypatch):
    def full(path: str, data: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "write_json", full)
    recorded = progress.record(course, "90-x/y", RESULTS)
    assert recorded.stages == {"b": 1}
    assert recorded.problem == f"your progress could not be saved in {course}: No space left on device"


def test_two_kernels_at_once_lose_no_attempt(course):
    program = (
        "import sys; from labkit.grading import progress; from labkit.check import Result\n"
        "for _ in range(20): progress.record(sys.argv[1], '90-x/y', [Result('b', 'failed', 0, 2, '')])"
    )
    both = [subprocess.Popen([sys.executable, "-c", program, course]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert progress.read(course)[0]["exercises"]["90-x/y"]["attempts"] == {"b": 40}


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path = str(tmp_path / "data.json")
    files.write_json(path, {"a": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        files.write_json(path, {"a": 2})
    assert json.loads((tmp_path / "data.json").read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["data.json"]


# ---- the notebook's side


def test_points_are_a_number_for_nbgrader_and_a_sentence_for_people():
    score = notebook.Score(2, "Two rooms: 2 of 5 points")
    assert (repr(score), score + 1) == ("2", 3)
    assert score._repr_html_() == "<b>Two rooms: 2 of 5 points</b>"


def test_checking_elsewhere_than_in_a_lab_machine_is_a_sentence(capsys, monkeypatch):
    monkeypatch.setattr(here, "in_lab_machine", lambda: False)
    assert notebook.check_exercise(COUNT) == 0
    assert "this is not a lab machine" in capsys.readouterr().out


def test_an_answer_that_finds_the_disk_full_is_one_sentence(tmp_path, monkeypatch):
    def full(path: str, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(here, "ensure_lab_machine", lambda _verb: None)
    monkeypatch.setattr(notebook, "ANSWERS", str(tmp_path))
    monkeypatch.setattr(notebook, "write_text", full)
    with pytest.raises(Refused) as refused:
        notebook.answer("links", 1)
    assert str(refused.value) == (
        f"failed to record the answer 'links': no space left on device\nit is {tmp_path}/links.json"
    )


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    files.write_json(str(path), {"score": 1})
    assert json.loads(reader.communicate(timeout=10)[0]) == {"score": 1}
    assert path.is_fifo()


def test_a_kernels_ports_are_nobody_elses_before_it_listens_on_them():
    manager = KernelManager()
    with ExitStack() as until_ready:
        submission.keep_ports(manager, until_ready)
        for channel in CHANNELS:
            address = (manager.ip, getattr(manager, f"{channel}_port"))
            with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
                other.bind(address)
            with socket.socket() as kernel:
                kernel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                kernel.bind(address)
                kernel.listen()
