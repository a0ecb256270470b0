"""What must hold of every notebook, besides that its outputs are what the kernel says today (that is nbval's part)."""

from __future__ import annotations

import glob
import json
import os
import re
from typing import Any

import nbformat
import pytest

from labkit.author.form import needs_disagree

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LESSONS = sorted(glob.glob("notebooks/*.ipynb", root_dir=PROJECT))
SOLUTIONS = sorted(glob.glob("solutions/**/*.ipynb", root_dir=PROJECT, recursive=True))
EXERCISES = sorted(glob.glob("exercises/**/*.ipynb", root_dir=PROJECT, recursive=True))
CHAPTERS = [
    "00-your-lab-machine",
    "01-network-namespaces",
    "02-veth-pairs",
    "03-bridges",
    "04-routing",
    "05-filtering-nat-conntrack",
    "06-docker-by-hand",
    "07-the-kubernetes-model",
    "08-cni",
]

MACHINE_PATH = re.compile(r"/(?:root|home|work|tmp)/[A-Za-z0-9._-]+")
IGNORED = re.compile(r"nbval[-_]ignore[-_]output|nbval[-_]skip|nbval[-_]raises|raises-exception", re.IGNORECASE)
SKIPPED = re.compile(r"nbval[-_]skip", re.IGNORECASE)


def read(path: str) -> Any:
    return nbformat.read(os.path.join(PROJECT, path), as_version=4)


def code_cells(path: str) -> list[Any]:
    return [cell for cell in read(path).cells if cell.cell_type == "code" and cell.source.strip()]


def marks(cell: Any) -> str:
    return " ".join([*cell.metadata.get("tags", []), cell.source])


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_is_a_notebook_and_three_exercises(chapter: str) -> None:
    assert f"notebooks/{chapter}.ipynb" in LESSONS
    for part, found in (("solutions", SOLUTIONS), ("exercises", EXERCISES)):
        assert len([path for path in found if path.startswith(f"{part}/{chapter}/")]) >= 3, f"{part} of {chapter}"


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS)
def test_every_code_cell_was_run_in_order(path: str) -> None:
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), "restart the kernel, run all cells, save"


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS)
def test_no_cell_ends_in_an_error(path: str) -> None:
    for cell in code_cells(path):
        assert "error" not in [output.output_type for output in cell.outputs], cell.source


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS)
def test_few_outputs_are_left_unchecked(path: str) -> None:
    """At most one cell in ten may differ from run to run; no cell is left out."""
    cells = code_cells(path)
    ignored = [cell for cell in cells if IGNORED.search(marks(cell))]
    assert len(ignored) <= max(1, len(cells) // 10), [cell.source.splitlines()[0] for cell in ignored]
    assert not [cell.source for cell in cells if SKIPPED.search(marks(cell))]


def test_the_sanitizer_is_nearly_empty() -> None:
    with open(os.path.join(PROJECT, "tests/books/nbval.cfg")) as file:
        assert file.read().count("regex:") <= 2


@pytest.mark.parametrize("path", EXERCISES)
def test_an_exercise_comes_without_outputs(path: str) -> None:
    for cell in code_cells(path):
        assert cell.outputs == []
        assert cell.execution_count is None


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS + EXERCISES)
def test_a_notebook_is_whole_and_nobodys(path: str) -> None:
    """Valid, on the kernel labkit, without widget state or a path of one computer, and light enough for GitHub."""
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "labkit"
    assert "widgets" not in notebook.metadata
    with open(os.path.join(PROJECT, path), encoding="utf-8") as file:
        text = file.read()
    assert "widget-view" not in text
    assert "0x7f" not in text, "a memory address: give the object a repr"
    assert len(text) < 1_000_000
    assert MACHINE_PATH.findall("".join(_texts(json.loads(text)))) == []


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS + EXERCISES)
def test_the_first_cell_needs_what_the_metadata_says(path: str) -> None:
    assert needs_disagree(read(path)) == []


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return ["".join(value)] if all(isinstance(one, str) for one in value) else [t for v in value for t in _texts(v)]
    return [f"{value}\n"] if isinstance(value, str) else []


def test_exercises_and_solutions_mirror_each_other() -> None:
    assert [path.removeprefix("exercises/") for path in EXERCISES] == [
        path.removeprefix("solutions/") for path in SOLUTIONS
    ]


@pytest.mark.parametrize("path", LESSONS)
def test_the_readme_leads_to_every_lesson(path: str) -> None:
    with open(os.path.join(PROJECT, "README.md"), encoding="utf-8") as file:
        assert path in file.read()
