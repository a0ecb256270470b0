"""What does a saved notebook show? The static form of every output: a live view needs the kernel that made it.

A widget in a saved notebook is a reference to a model that died with its kernel, which JupyterLab shows as an error.
So it is left out when a notebook is saved, wherever the output has another form. A pure function, and the extension
that has Jupyter's server call it before each save.
"""

from __future__ import annotations

from typing import Any

__all__ = ["strip", "stripped"]

WIDGET = "application/vnd.jupyter.widget-view+json"


def stripped(notebook: Any) -> Any:
    """Take references to widgets out of the outputs that show something else as well, and widget state out of the
    notebook's metadata once nothing refers to it; return the same notebook (a dict as nbformat 4 describes it)."""
    left = 0
    for cell in notebook.get("cells", ()):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if set(data) - {WIDGET, "text/plain"}:  # every widget has a line of text
                data.pop(WIDGET, None)
            left += WIDGET in data
    if not left:
        notebook.get("metadata", {}).pop("widgets", None)
    return notebook


def strip(model: Any, **_: object) -> None:
    """Before Jupyter saves: the notebook in `model` is one that needs no kernel to be looked at."""
    if model.get("type") == "notebook" and model.get("content"):
        stripped(model["content"])


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "labkit.saved"}]


def _load_jupyter_server_extension(server: Any) -> None:
    server.contents_manager.register_pre_save_hook(strip)
