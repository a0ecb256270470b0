"""What does a learner get where nothing can run? The course's genuine outputs, marked as what they are: a recording.

The outputs that a lesson is committed with come from a real run, and tests compare them with today's kernel. Where no
lab machine starts, the lesson is delivered with them, and its first cell says so. Pure functions of a notebook (a dict
as nbformat 4 describes it), and the signature without which JupyterLab shows no picture of another's making.
"""

from __future__ import annotations

import json
import os
from typing import Any

from labkit.errors import LabkitError

__all__ = ["cells", "is_recording", "marked", "name_of", "sign", "was_run"]

_START = "failed to start a lab machine: "


def marked(notebook: dict[str, Any], why: LabkitError, name: str) -> dict[str, Any]:
    """Return `notebook`, outputs and all, with a first cell that says that it is a recording, and why.

    `name`: the notebook's file, by which `labkit course reset` finds it."""
    marker = {
        "cell_type": "markdown",
        "id": "recording",
        "metadata": {"deletable": False, "editable": False, "labkit": {"recording": True}},
        "source": _text(why, name_of(name)),
    }
    return {**notebook, "cells": [marker, *notebook["cells"]]}


def name_of(path: str) -> str:
    """Return what `labkit course reset` calls a notebook."""
    return os.path.basename(path).removesuffix(".ipynb")


def _text(why: LabkitError, name: str) -> str:
    return (
        "**A recording.** The outputs below are those of a genuine run on another computer. When this copy was made, "
        f"no lab machine started on this one: {why.message.removeprefix(_START)}. What would make it live: {why.hint}. "
        "A cell that you run then answers with one sentence, which takes the place of its recorded output; "
        f"`labkit course reset {name}` brings that back."
    )


def is_recording(notebook: Any) -> bool:
    """Return whether the notebook says that it is a recording."""
    return len(cells(notebook)) != len(notebook["cells"])


def cells(notebook: Any) -> list[dict[str, Any]]:
    """Return the notebook's own cells: without the one that says that it is a recording."""
    return [cell for cell in notebook["cells"] if not _is_marker(cell)]


def _is_marker(cell: Any) -> bool:
    own = cell.get("metadata", {}).get("labkit")
    return isinstance(own, dict) and bool(own.get("recording"))


def was_run(notebook: Any) -> bool:
    """Return whether a cell has an output or a count."""
    return any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])


def sign(path: str, folder: str) -> None:
    """JupyterLab, with its state in `folder`, shows the pictures of the notebook at `path`: the course made them.

    It shows none of those in a notebook that it has not seen run, unless that is signed (nbformat.sign)."""
    from nbformat import reads
    from nbformat.sign import NotebookNotary

    os.makedirs(folder, exist_ok=True)
    with open(path, encoding="utf-8") as file:
        notebook = reads(json.dumps(json.load(file)), as_version=4)  # type: ignore[no-untyped-call]
    notary = NotebookNotary(data_dir=folder)  # type: ignore[no-untyped-call]
    notary.sign(notebook)  # type: ignore[no-untyped-call]
    notary.store.close()
