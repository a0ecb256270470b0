"""Runs a notebook on the kernel that suits it, cell by cell; says which cell failed, and leaves the file as it is."""

# mypy: allow-untyped-calls
from __future__ import annotations

import os
import sys

from labkit.machine import suits

__all__ = ["main"]


def main(path: str) -> int:
    """Run it with nbclient, in its own folder; return 0 when every cell ran."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, nbformat.reader.NotJSONError) as error:
        print(f"labkit: cannot read the notebook '{path}': {error}", file=sys.stderr)
        return 1
    folder = os.path.dirname(os.path.abspath(path))
    name = suits.kernel_for(suits.needs_of(notebook))
    client = NotebookClient(notebook, kernel_name=name, timeout=120, resources={"metadata": {"path": folder}})
    try:
        client.execute(env=os.environ | {"JPY_SESSION_NAME": os.path.abspath(path)})
    except CellExecutionError as error:
        print(f"labkit: a cell of '{path}' failed:\n{error}", file=sys.stderr)
        return 1
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"labkit: '{path}' ran, {cells} code cells")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
