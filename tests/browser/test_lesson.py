"""A learner in a browser: opens chapter 00, runs all cells, sees no error; and nothing asks the outside world."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser.jupyter import Jupyter, jupyter, wait_for
from playwright.sync_api import Page, sync_playwright

from labkit import course

LESSON = Path("notebooks", "00-your-lab-machine.ipynb")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


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
    if CHROMIUM is None:
        pytest.skip("no Chromium: install it with your package manager")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser.new_page(viewport={"width": 1280, "height": 1000})
        browser.close()


def code_cells(path: Path) -> list[Any]:
    try:
        cells = json.loads(path.read_text())["cells"]
    except ValueError:  # Jupyter is writing it
        return []
    return [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


@pytest.mark.timeout(240)
def test_chapter_00_runs_in_the_browser(server: Jupyter, page: Page, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)

    def connected() -> bool:
        page.wait_for_timeout(200)
        return any(one["connections"] and one["execution_state"] == "idle" for one in server.ask("kernels"))

    wait_for("JupyterLab has its kernel", connected)  # until then it says idle, and runs nothing
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    def saved_and_done() -> bool:
        page.keyboard.press("Control+s")
        page.wait_for_timeout(500)
        cells = code_cells(server.course / LESSON)
        outputs = [output for cell in cells for output in cell["outputs"]]
        assert [output["traceback"] for output in outputs if output["output_type"] == "error"] == []
        return bool(outputs) and all(cell["execution_count"] for cell in cells)

    try:
        wait_for("every cell has run and is saved", saved_and_done, 120)
    finally:
        folder = os.environ.get("LABKIT_SCREENSHOTS", str(tmp_path))
        page.screenshot(path=os.path.join(folder, "chapter-00.png"))
    assert [url for url in asked if not url.startswith((server.address, "data:", "blob:"))] == []
