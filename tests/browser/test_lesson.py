"""A learner in a browser: opens chapter 00, runs all cells, sees no error; and nothing asks the outside world."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.chromium import Notebook, new_page
from browser.jupyter import Jupyter, jupyter
from playwright.sync_api import Page

from labkit import course

LESSON = Path("notebooks", "00-your-lab-machine.ipynb")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Jupyter]:
    folder = tmp_path / "course"
    course.refresh(str(folder))
    lesson = json.loads((folder / LESSON).read_text())
    for cell in lesson["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    (folder / LESSON).write_text(json.dumps(lesson))
    with jupyter(folder) as running:
        yield running


@pytest.fixture
def page() -> Iterator[Page]:
    with new_page() as page:
        yield page


@pytest.mark.timeout(420)
def test_chapter_00_runs_in_the_browser(server: Jupyter, page: Page, tmp_path: Path) -> None:
    notebook = Notebook(page, server, str(LESSON))
    page.goto(server.url)  # as it is printed for the learner
    notebook.wait_for_kernel()
    try:
        notebook.run_all(240)  # with all other work on two cores: 60 to 100; its last cell boots User-Mode Linux
    finally:
        folder = os.environ.get("LABKIT_SCREENSHOTS", str(tmp_path))
        page.screenshot(path=os.path.join(folder, "chapter-00.png"))
    assert notebook.asked
    assert notebook.outside() == []
