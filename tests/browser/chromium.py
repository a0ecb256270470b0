"""Chromium, and in it a JupyterLab page that remembers what was asked for and what went wrong."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from browser.jupyter import Jupyter, wait_for
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
WAIT = 60_000  # milliseconds


@contextlib.contextmanager
def new_page(width: int = 1280, height: int = 1000) -> Iterator[Page]:
    """Yields an empty page."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: install it with your package manager")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
            page.set_default_timeout(WAIT)
            yield page
        finally:
            browser.close()


@dataclass
class Notebook:
    """A notebook, open in JupyterLab. `asked`: every address that the page asked for. `wrong`: its errors."""

    page: Page
    server: Jupyter
    name: str  # its path in the course
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url.replace("ws:", "http:", 1)))
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")

    def outside(self) -> list[str]:
        """Return the addresses that are not the server's."""
        return [url for url in self.asked if not url.startswith((self.server.address, "data:", "blob:"))]

    def open(self) -> None:
        """It is shown, and its kernel can run cells: until then JupyterLab says idle, and runs nothing."""
        self.page.goto(f"{self.server.address}/lab/tree/{self.name}?token={self.server.token}")
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        """JupyterLab is connected with the kernel, which does nothing at the moment."""

        def connected() -> bool:
            self.page.wait_for_timeout(200)
            try:
                kernels = self.server.ask("kernels")
            except OSError:  # too busy to answer; or it lists a kernel a moment before it knows when it was last active
                return False
            return any(one["connections"] and one["execution_state"] == "idle" for one in kernels)

        wait_for("JupyterLab has its kernel", connected)
        self.page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(state="attached")

    def menu(self, *names: str) -> None:
        """Choose an entry of a menu: "Run", "Run All Cells"."""
        for name in names:
            label = re.compile(f"^{re.escape(name)}$")
            self.page.locator(".lm-MenuBar-itemLabel, .lm-Menu-itemLabel").filter(has_text=label).click()

    def cells(self) -> list[Any]:
        """Return the cells with code, as they are saved."""
        try:
            cells = json.loads(self.path.read_text())["cells"]
        except ValueError:  # Jupyter is writing it
            return []
        return [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]

    def run_all(self, seconds: float = 120) -> None:
        """Every cell has run and is saved, and none has failed."""
        self.menu("Run", "Run All Cells")
        try:
            wait_for("every cell has run and is saved", self._saved_and_done, seconds)
        except AssertionError as error:
            left = ["".join(cell["source"]).splitlines()[0] for cell in self.cells() if not cell["execution_count"]]
            asking = self.page.locator(".jp-Dialog").all_inner_texts()
            raise AssertionError(f"{error}; not run: {left}; dialogs: {asking}; errors: {self.wrong}") from error

    def _saved_and_done(self) -> bool:
        self.page.keyboard.press("Control+s")
        self.page.wait_for_timeout(500)
        outputs = [output for cell in self.cells() for output in cell["outputs"]]
        assert [output["traceback"] for output in outputs if output["output_type"] == "error"] == []
        return bool(outputs) and all(cell["execution_count"] for cell in self.cells())

    @property
    def path(self) -> Path:
        """The notebook's file."""
        return self.server.course / self.name
