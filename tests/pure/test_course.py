"""The learner's copy of the course: an update never takes anything away."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
from pathlib import Path

import pytest

from labkit import course, server
from labkit.cli import main
from labkit.errors import NamespacesForbidden, NotFound, Unavailable
from labkit.machine import suits

LESSON = "notebooks/01-network-namespaces.ipynb"
EXERCISE = "exercises/01-network-namespaces/find-the-door.ipynb"


FORBIDDEN = NamespacesForbidden("failed to start a lab machine: this is macOS", "use a container")


def notebook(*sources: str, output: str = "", needs: tuple[str, ...] = (), kernel: str = "") -> str:
    outputs = [{"name": "stdout", "output_type": "stream", "text": [output]}] if output else []
    cells = [
        {
            "cell_type": "code",
            "execution_count": 1 if output else None,
            "id": f"c{number}",
            "metadata": {},
            "outputs": outputs,
            "source": source,
        }
        for number, source in enumerate(sources)
    ]
    metadata: dict[str, object] = {"labkit": {"needs": list(needs)}} if needs else {}
    if kernel:
        metadata["kernelspec"] = {"display_name": kernel, "language": "python", "name": kernel}
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = tmp_path / "project"
    for name in (LESSON, EXERCISE):
        path = source / name
        path.parent.mkdir(parents=True)
        path.write_text(notebook("1 + 1"))
    (source / "notebooks" / "picture.svg").write_text("<svg/>")
    monkeypatch.setattr(course, "SOURCE", str(source))
    monkeypatch.setattr(suits, "nothing_runs", lambda: None)
    return source


@pytest.fixture
def nothing_runs(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer on which no lab machine starts, and a lesson that was recorded on another one."""
    (shipped / LESSON).write_text(notebook("1 + 1", output="2"))
    monkeypatch.setattr(suits, "nothing_runs", lambda: FORBIDDEN)


def live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suits, "nothing_runs", lambda: None)


@pytest.fixture
def copy(shipped: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "course"
    course.refresh(str(folder))
    return folder


def states(folder: Path) -> dict[str, str]:
    return {file.name: file.state for file in course.files(str(folder)) if file.state != "shipped"}


def test_a_first_copy_has_everything(shipped: Path, copy: Path) -> None:
    for name in (LESSON, EXERCISE, "notebooks/picture.svg"):
        assert (copy / name).read_bytes() == (shipped / name).read_bytes()
    assert states(copy) == {}


def test_a_lesson_comes_without_the_answers_that_it_was_recorded_with(shipped: Path, tmp_path: Path) -> None:
    (shipped / LESSON).write_text(notebook("1 + 1", output="2"))
    course.refresh(str(tmp_path / "course"))
    assert (tmp_path / "course" / LESSON).read_text() == notebook("1 + 1")


def test_a_second_refresh_does_nothing(copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.ipynb")}
    assert course.refresh(str(copy)) == []
    assert before == {path: path.stat().st_mtime_ns for path in copy.rglob("*.ipynb")}


def test_a_lesson_that_was_only_run_follows_the_new_version(shipped: Path, copy: Path) -> None:
    (copy / LESSON).write_text(notebook("1 + 1", output="2"))
    assert states(copy) == {}
    (shipped / LESSON).write_text(notebook("1 + 2"))
    assert states(copy) == {LESSON: "old"}
    course.refresh(str(copy))
    assert (copy / LESSON).read_text() == notebook("1 + 2")


def test_what_a_learner_wrote_is_kept_and_the_new_version_offered(shipped: Path, copy: Path) -> None:
    (copy / LESSON).write_text(notebook("my answer"))
    assert states(copy) == {LESSON: "yours"}
    (shipped / LESSON).write_text(notebook("1 + 2"))
    for _ in range(2):
        course.refresh(str(copy))
        assert (copy / LESSON).read_text() == notebook("my answer")
        assert states(copy) == {LESSON: "offered"}


def test_a_file_that_the_course_drops_goes_only_if_nobody_wrote_in_it(shipped: Path, copy: Path) -> None:
    (copy / EXERCISE).write_text(notebook("my answer"))
    (shipped / EXERCISE).unlink()
    (shipped / LESSON).unlink()
    course.refresh(str(copy))
    assert not (copy / LESSON).exists()
    assert (copy / EXERCISE).read_text() == notebook("my answer")


def test_a_deleted_file_comes_back(shipped: Path, copy: Path) -> None:
    (copy / LESSON).unlink()
    course.refresh(str(copy))
    assert (copy / LESSON).read_bytes() == (shipped / LESSON).read_bytes()


def test_a_lost_manifest_loses_no_work(shipped: Path, copy: Path) -> None:
    (copy / LESSON).write_text(notebook("my answer"))
    (copy / course.MANIFEST).write_text("{ half")
    course.refresh(str(copy))
    assert (copy / LESSON).read_text() == notebook("my answer")
    assert states(copy) == {LESSON: "offered"}


def test_a_file_that_is_no_notebook_any_more_is_the_learners(copy: Path) -> None:
    (copy / LESSON).write_text("not json")
    course.refresh(str(copy))
    assert states(copy) == {LESSON: "yours"}


def test_reset_keeps_what_was_there(shipped: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / LESSON).write_text(notebook("my answer"))
    assert main(["course", "--dir", str(copy), "reset", "01-network-namespaces"]) == 0
    said = capsys.readouterr().out
    kept = re.search(r"^What you had is in (.*)$", said, re.MULTILINE)
    assert kept
    assert (Path(kept[1]) / LESSON).read_text() == notebook("my answer")
    assert (copy / LESSON).read_bytes() == (shipped / LESSON).read_bytes()
    assert states(copy) == {}


def test_reset_all_with_nothing_of_ones_own_keeps_nothing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["course", "--dir", str(copy), "reset", "--all"]) == 0
    assert capsys.readouterr().out == "3 files are as the course ships them.\n"
    assert not (copy / "kept").exists()


def test_update_of_a_name_takes_the_version_that_was_offered(shipped: Path, copy: Path) -> None:
    (copy / LESSON).write_text(notebook("my answer"))
    (shipped / LESSON).write_text(notebook("1 + 2"))
    course.refresh(str(copy))
    assert main(["course", "--dir", str(copy), "update", LESSON]) == 0
    assert (copy / LESSON).read_text() == notebook("1 + 2")
    assert len(list((copy / "kept").rglob("*.ipynb"))) == 1


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("01", [EXERCISE, LESSON]),
        ("01-network-namespaces", [EXERCISE, LESSON]),
        ("notebooks", [LESSON, "notebooks/picture.svg"]),
        ("find-the-door", [EXERCISE]),
        (LESSON, [LESSON]),
        ("exercises/01-network-namespaces/", [EXERCISE]),
    ],
)
def test_names_are_understood(shipped: Path, word: str, meant: list[str]) -> None:
    assert course._matching([word]) == meant


def test_a_name_that_is_not_there(copy: Path) -> None:
    with pytest.raises(NotFound, match="failed to find '99' in the course\nthere is: find-the-door, "):
        course.main(_arguments(copy, "reset", "99"))


def test_no_copy_yet(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"failed to find your copy of the course in '.*'\n`labkit lab` makes it"):
        course.main(_arguments(tmp_path / "none", "status"))


@pytest.mark.as_user
def test_a_copy_that_cannot_be_written(shipped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    with pytest.raises(Unavailable, match=r"failed to write the course into '.*closed': Permission denied\n"):
        course.refresh(str(folder))


def test_a_crash_while_writing_leaves_the_old_file(copy: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shipped / LESSON).write_text(notebook("1 + 2"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left on device"):
        course.refresh(str(copy))
    with pytest.raises(Unavailable, match="No space left on device"):
        course.replace(str(copy), [LESSON])
    assert (copy / LESSON).read_text() == notebook("1 + 1")
    assert [path.name for path in (copy / "notebooks").iterdir() if path.name.startswith(".")] == []


def test_where_nothing_can_run_a_lesson_comes_as_a_recording_that_says_so(nothing_runs: None, copy: Path) -> None:
    marker, cell = json.loads((copy / LESSON).read_text())["cells"]
    assert marker["source"] == (
        "**A recording.** The outputs below are those of a genuine run on another computer. When this copy was made, "
        "no lab machine started on this one: this is macOS. What would make it live: use a container. A cell that you "
        "run then answers with one sentence, which takes the place of its recorded output; `labkit course reset "
        "01-network-namespaces` brings that back."
    )
    assert cell["outputs"][0]["text"] == ["2"]
    assert states(copy) == {}


def test_an_exercise_is_no_recording_since_nothing_was_recorded(nothing_runs: None, copy: Path, shipped: Path) -> None:
    assert (copy / EXERCISE).read_bytes() == (shipped / EXERCISE).read_bytes()


def test_jupyterlab_trusts_the_pictures_of_a_recording(nothing_runs: None, copy: Path) -> None:
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary(data_dir=str(copy / course.SIGNATURES))
    assert notary.check_signature(nbformat.read(copy / LESSON, as_version=4))
    assert not notary.check_signature(nbformat.read(copy / EXERCISE, as_version=4))
    notary.store.close()


def test_a_recording_goes_when_the_computer_can_run_lab_machines(
    nothing_runs: None, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(monkeypatch)
    assert states(copy) == {LESSON: "other"}
    assert [file.name for file in course.refresh(str(copy))] == [LESSON]
    assert (copy / LESSON).read_text() == notebook("1 + 1")
    assert course.refresh(str(copy)) == []


def test_a_recording_that_the_learner_wrote_in_stays_theirs(
    nothing_runs: None, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = json.loads((copy / LESSON).read_text())
    changed["cells"][1]["source"] = "my answer"
    (copy / LESSON).write_text(json.dumps(changed))
    assert states(copy) == {LESSON: "yours"}
    live(monkeypatch)
    assert course.refresh(str(copy)) == []
    assert states(copy) == {LESSON: "yours"}


def test_outputs_of_ones_own_are_not_replaced_by_a_recording(
    shipped: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shipped / LESSON).write_text(notebook("1 + 1", output="2"))
    monkeypatch.setattr(suits, "nothing_runs", lambda: FORBIDDEN)
    (copy / LESSON).write_text(notebook("1 + 1", output="my own 2"))
    assert states(copy) == {}
    (copy / LESSON).write_text(notebook("1 + 1"))
    assert states(copy) == {LESSON: "other"}


def test_reset_brings_a_recording_back(nothing_runs: None, copy: Path) -> None:
    before = (copy / LESSON).read_bytes()
    (copy / LESSON).write_text(notebook("1 + 1", output="failed to start a lab machine"))
    assert main(["course", "--dir", str(copy), "reset", "01-network-namespaces"]) == 0
    assert (copy / LESSON).read_bytes() == before


def test_status_says_why_lessons_are_recordings(
    nothing_runs: None, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["course", "--dir", str(copy), "status"]) == 0
    said = capsys.readouterr().out
    assert "Nothing runs here, so lessons are recordings. failed to start a lab machine: this is macOS\nuse a" in said


def test_a_lesson_comes_on_the_kernel_that_suits_what_it_needs(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    kernels = {"first": "labkit-uml", "later": "labkit"}
    now = "first"
    monkeypatch.setattr(suits, "kernel_for", lambda needs: asked.append(needs) or kernels[now])
    (shipped / LESSON).write_text(notebook("1 + 1", output="2", needs=("ip_vs",), kernel="labkit"))
    copy = tmp_path / "course"
    course.refresh(str(copy))
    assert (copy / LESSON).read_text() == notebook("1 + 1", needs=("ip_vs",), kernel="labkit-uml")
    assert states(copy) == {}
    assert set(asked) == {("ip_vs",)}
    now = "later"
    assert states(copy) == {LESSON: "other"}
    (copy / LESSON).write_text(notebook("1 + 1", output="2", needs=("ip_vs",), kernel="labkit-uml"))
    assert states(copy) == {}, "it was run: the learner's outputs stay, and so does the kernel that made them"


def _arguments(folder: Path, *words: str):  # type: ignore[no-untyped-def]
    import argparse

    parser = argparse.ArgumentParser()
    course.add_arguments(parser)
    return parser.parse_args(["--dir", str(folder), *words])


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_jupyterlab_that_runs_is_found_past_a_proxy(tmp_path, monkeypatch):
    """A proxy cannot reach 127.0.0.1 for us, and must not see the token."""
    runtime = tmp_path / server.STATE / "data" / "runtime"
    runtime.mkdir(parents=True)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as jupyter:
        url = f"http://127.0.0.1:{jupyter.server_port}/"
        (runtime / "jpserver-1.json").write_text(json.dumps({"pid": os.getpid(), "url": url, "token": "t"}))
        jupyter.timeout = 5
        answering = threading.Thread(target=jupyter.handle_request)
        answering.start()
        assert server.running(str(tmp_path)) == f"{url}lab?token=t"
        answering.join()
