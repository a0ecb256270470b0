"""Does a notebook say the same to labkit and to its reader? What it needs, in its metadata and in its first cell.

labkit's own commands read the metadata, a person who opens it elsewhere meets the first cell: labkit.needs("ip_vs").
A later cell may say in its first line what it needs for itself alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from labkit.machine.features import FEATURES
from labkit.machine.suits import needs_of, needs_of_cell

__all__ = ["needs_disagree"]

_CALL = re.compile(r"(?<![\w.])(?:labkit\.)?needs\(([^()]*)\)")  # a cell holds !commands too: it is no Python


def needs_disagree(notebook: Mapping[str, Any]) -> list[str]:
    """Return as sentences what is wrong with what a notebook, a dict as nbformat 4 describes it, says that it needs."""
    listed = notebook["metadata"].get("labkit", {}).get("needs", [])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        return ['metadata.labkit.needs must be a list of features, such as ["ip_vs"]']
    known = {feature.name for feature in FEATURES}
    wrong = [f"metadata.labkit.needs names '{name}': no such feature" for name in listed if name not in known]
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for source in cells[1:]:
        own = needs_of_cell(source)
        wrong += [f"a cell needs '{name}': no such feature" for name in own if name not in known]
        if len(_CALL.findall(source)) != bool(own):
            wrong.append('what a later cell alone needs is its whole first line: labkit.needs("nftables")')
    said = _said(cells[0]) if cells else []
    if said is None:
        wrong.append('the first code cell must name what it needs as plain strings: labkit.needs("ip_vs")')
    elif sorted(said) != sorted(needs_of(notebook)):
        wrong.append(
            f"the first code cell needs {', '.join(said) or 'nothing'}, "
            f"and metadata.labkit.needs says {', '.join(listed) or 'nothing'}"
        )
    return wrong


def _said(source: str) -> list[str] | None:
    """Return the features that a cell's call of needs() names; None where they cannot be read."""
    said: list[str] = []
    for arguments in _CALL.findall(source):
        try:
            names = ast.literal_eval(f"[{arguments}]")
        except (ValueError, SyntaxError):
            return None
        if not all(isinstance(name, str) for name in names):
            return None
        said += names
    return said
