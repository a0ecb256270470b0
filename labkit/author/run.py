"""How do outputs get into a notebook? By running it in a fresh lab machine, and leaving out what changes by itself."""

from __future__ import annotations

import os
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from labkit.author.build import written
from labkit.grading.files import write_text
from labkit.grading.submission import CELL_TIMEOUT, Specs
from labkit.machine.suits import kernel_for, needs_of
from labkit.saved import stripped

__all__ = ["executed", "run"]

VOLATILE = ("execution", "ExecuteTime", "collapsed", "scrolled")


def run(path: str) -> None:
    """The notebook at `path` has the outputs of a run in a fresh lab machine. Raises CellExecutionError, OSError."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    write_text(path, written(executed(notebook, os.path.dirname(os.path.abspath(path)))))


class _Manager(AsyncKernelManager):
    """Starts the kernel of this very installation. nbclient makes it, and so ends it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "kernel_name": "labkit", "kernel_spec_manager": Specs()})


def executed(notebook: Any, folder: str) -> Any:
    """Return the notebook with outputs, run with `folder` as its working folder."""
    client = NotebookClient(
        notebook,
        kernel_name="labkit",
        kernel_manager_class=_Manager,
        timeout=int(CELL_TIMEOUT),
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": folder}},
    )
    kind = "uml" if kernel_for(needs_of(notebook)) == "labkit-uml" else "auto"
    result = client.execute(env={"LABKIT_MACHINE": kind} | os.environ)
    for cell in result.cells:
        for key in VOLATILE:
            cell.metadata.pop(key, None)
    stripped(result)
    result.metadata["language_info"] = {"name": "python"}
    return result
