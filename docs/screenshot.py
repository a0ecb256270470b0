"""Takes the README's screenshot in a real JupyterLab: `make pictures`, or `PYTHONPATH=tests python docs/screenshot.py`.

It shows the trace of docs/pictures.py at the hop where the router has turned the address."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from browser.chromium import CHROMIUM, Notebook, new_page
from browser.jupyter import jupyter
from pictures import FOLDER

FILE = os.path.join(FOLDER, "stepper.png")
HOP = 3
DRAW = f"""
import sys
import labkit
sys.path.insert(0, {os.path.dirname(FOLDER)!r})
import pictures
trace = pictures.through_a_router()
"""
CELLS = [DRAW.strip(), "labkit.view(trace)"]


def take(path: str) -> None:
    """The file shows the second cell: the picture, the controls, and what is told of the hop."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"name": "labkit", "display_name": "labkit", "language": "python"}}
    with tempfile.TemporaryDirectory() as folder, new_page(1320, 1400) as page:
        course = Path(folder, "course")
        course.mkdir()
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), course / "trace.ipynb")
        with jupyter(course) as server:
            notebook = Notebook(page, server, "trace.ipynb")
            notebook.open()
            notebook.run_all()
            view = page.get_by_role("group", name=re.compile("hop by hop"))
            page.emulate_media(reduced_motion="reduce")  # the packet is at its place at once
            for _ in range(HOP - 1):
                view.get_by_role("button", name="Next").click()
            page.mouse.move(0, 0)
            cell = page.locator(".jp-CodeCell", has=view).bounding_box()
            told = view.locator(".labkit-hop").bounding_box()
            assert cell
            assert told
            height = told["y"] + told["height"] + 6 - cell["y"]
            page.screenshot(path=path, clip={**cell, "height": height})


if __name__ == "__main__":
    if CHROMIUM is None:
        print("docs/img/stepper.png stays as it is: there is no Chromium to take it with")
    else:
        take(sys.argv[1] if len(sys.argv) > 1 else FILE)
