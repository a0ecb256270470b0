"""A saved notebook shows the static form: what is left out of it, and what is not."""

from __future__ import annotations

import copy
import importlib
import json
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest

from labkit import saved
from labkit.saved import WIDGET, strip, stripped

REFERENCE = {"version_major": 2, "version_minor": 0, "model_id": "0123"}


def notebook(*outputs: dict[str, Any], **metadata: Any) -> Any:
    cell = nbformat.v4.new_code_cell("labkit.view(lab)", outputs=list(outputs))
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("See:"), cell], metadata=metadata)


def result(**data: Any) -> Any:
    return nbformat.v4.new_output("execute_result", {key.replace("_", "/"): value for key, value in data.items()})


def view(kind: str = "execute_result") -> Any:
    return nbformat.v4.new_output(kind, {"text/plain": "host", "image/svg+xml": "<svg/>", WIDGET: REFERENCE})


@pytest.mark.parametrize("kind", ["execute_result", "display_data"])
def test_of_a_view_the_picture_and_the_text_stay(kind: str) -> None:
    (output,) = stripped(notebook(view(kind))).cells[1].outputs
    assert output.data == {"text/plain": "host", "image/svg+xml": "<svg/>"}


def test_widget_state_goes_from_the_metadata() -> None:
    saved = stripped(notebook(view(), widgets={"application/vnd.jupyter.widget-state+json": {}}, labkit={"needs": []}))
    assert saved.metadata == {"labkit": {"needs": []}}


def test_a_widget_that_has_no_other_form_stays_with_its_state() -> None:
    slider = nbformat.v4.new_output("display_data", {"text/plain": "IntSlider()", WIDGET: REFERENCE})
    before = notebook(slider, view(), widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}})
    saved = stripped(copy.deepcopy(before))
    assert saved.cells[1].outputs[0] == slider
    assert WIDGET not in saved.cells[1].outputs[1].data
    assert saved.metadata == before.metadata


def test_all_else_stays_as_it_is() -> None:
    before = notebook(
        nbformat.v4.new_output("stream", text="hello"),
        nbformat.v4.new_output("error", ename="E", evalue="", traceback=[]),
        result(text_plain="1"),
        nbformat.v4.new_output("display_data", {"text/html": "<b>x</b>", "text/plain": "x"}),
    )
    assert stripped(copy.deepcopy(before)) == before


def test_what_is_no_notebook_is_let_alone() -> None:
    for model in (
        {"type": "file", "content": "text", "format": "text"},
        {"type": "directory"},
        {"type": "notebook", "content": None},
    ):
        before = copy.deepcopy(model)
        strip(model=model, path="x", contents_manager=None)
        assert model == before


def test_jupyter_calls_it_with_a_model() -> None:
    model = {"type": "notebook", "content": notebook(view())}
    strip(model=model, path="x.ipynb", contents_manager=None)
    assert WIDGET not in str(model)


def test_every_jupyter_of_the_environment_loads_it() -> None:
    project = Path(__file__).parent.parent.parent
    targets = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    (source,) = (name for name, place in targets["shared-data"].items() if "jupyter_server_config.d" in place)
    extensions = json.loads((project / source).read_text())["ServerApp"]["jpserver_extensions"]
    assert [name for name, is_on in extensions.items() if is_on] == ["labkit.saved"]
    (point,) = saved._jupyter_server_extension_points()
    hooks: list[object] = []
    manager = SimpleNamespace(register_pre_save_hook=hooks.append)
    importlib.import_module(point["module"])._load_jupyter_server_extension(SimpleNamespace(contents_manager=manager))
    assert hooks == [strip]
