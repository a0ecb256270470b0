"""Live views in saved notebooks: Jupyter and `labkit author run` keep the static form, and nbval agrees with it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
import pytest
from browser.jupyter import jupyter

from labkit.author.run import run
from labkit.saved import WIDGET

CELLS = [
    "import labkit\nfrom labkit import Bridge, Container, Topology, build",
    "lab = build(Topology(Bridge('br0', '10.0.0.1/24'), Container('red', '10.0.0.2/24', 'br0')))",
    "labkit.view(lab)",
    "labkit.view(lab.snapshot())",
]


def notebook(cells: list[Any]) -> Any:
    kernel = {"name": "labkit", "display_name": "labkit", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ran") / "view.ipynb"
    nbformat.write(notebook([nbformat.v4.new_code_cell(source) for source in CELLS]), path)
    run(str(path))
    return path


def test_author_run_keeps_the_static_form(ran: Path) -> None:
    saved = nbformat.read(ran, as_version=4)
    nbformat.validate(saved)
    shown = [output for cell in saved.cells for output in cell.outputs]
    assert [set(output.data) for output in shown] == [{"text/plain", "image/svg+xml"}] * 2
    assert shown[0].data["text/plain"].startswith("host\n  bridge br0 10.0.0.1/24")
    assert "widgets" not in saved.metadata
    assert "widget" not in ran.read_text().replace("labkit.view", "")


def test_nbval_finds_that_a_live_run_shows_what_was_saved(ran: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", f"--rootdir={ran.parent}",
         "--nbval", "--nbval-kernel-name=labkit", "--nbval-cell-timeout=60", str(ran)],
        capture_output=True, text=True, check=False, cwd=ran.parent,
    )  # fmt: skip
    assert f"{len(CELLS)} passed" in result.stdout, result.stdout


def test_jupyter_saves_a_notebook_without_references_to_widgets(tmp_path: Path) -> None:
    reference = {"version_major": 2, "version_minor": 0, "model_id": "0123"}
    shown = nbformat.v4.new_output("display_data", {"image/svg+xml": "<svg/>", WIDGET: reference, "text/plain": "host"})
    content = notebook([nbformat.v4.new_code_cell("labkit.view(lab)", outputs=[shown], execution_count=1)])
    with jupyter(tmp_path / "course") as server:
        request = urllib.request.Request(f"{server.address}/api/contents/view.ipynb", method="PUT")
        request.add_header("Authorization", f"token {server.token}")
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps({"type": "notebook", "format": "json", "content": content}).encode()
        urllib.request.urlopen(request, timeout=30).close()
        saved = nbformat.read(server.course / "view.ipynb", as_version=4)
    assert saved.cells[0].outputs[0].data == {"image/svg+xml": "<svg/>", "text/plain": "host"}
