"""How does a marked table look? One row a hop, one column a field, each cell with its word: "ok", "wrong"."""

from __future__ import annotations

from typing import Any

from labkit.see.measure import CHARACTER
from labkit.see.svg import document, text

__all__ = ["svg_of_marks", "text_of_marks"]

ROW = 26.0
_WORDS = {"ok": "added", "wrong": "down", "empty": "fact", "missing": "down", "extra": "down"}


def text_of_marks(marked: Any) -> str:
    """Return the table in aligned columns, how many cells are right above it."""
    heads, rows = _table(marked)
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [heads, *rows]
    ]
    return "\n".join([_headline(marked), *(lines if rows else [])])


def svg_of_marks(marked: Any) -> str:
    """Return the same table as SVG: what is not right is not told by colour alone, each cell has its word."""
    heads, rows = _table(marked)
    widths = [max(len(row[column]) for row in [heads, *rows]) * CHARACTER for column in range(len(heads))]
    lefts = [20 + sum(widths[:column]) + 22 * column for column in range(len(heads))]
    width = max(sum(widths) + 22 * len(widths) + 20, 8.8 * len(_headline(marked)) + 40)
    parts = [text(20, 30, "t", _headline(marked))]
    parts += [text(left, 60, "s", head) for left, head in zip(lefts, heads, strict=True)]
    for index, (row, cells) in enumerate(zip(rows, marked.rows(), strict=True)):
        y = 70 + ROW * index
        if index % 2 == 0:
            parts.append(f'<rect class="stripe" x="8" y="{y:g}" width="{width - 16:g}" height="{ROW:g}" rx="4"/>')
        kinds = ["name", *(_WORDS[cell.verdict] if cell else "fact" for cell in cells)]
        parts += [text(left, y + 17, kind, said) for left, kind, said in zip(lefts, kinds, row, strict=True) if said]
    return document(width, 70 + ROW * len(rows) + 14, "a prediction, marked", text_of_marks(marked), parts)


def _headline(marked: Any) -> str:
    return f"{marked.right} of {marked.total} right: {marked.title}"


def _table(marked: Any) -> tuple[list[str], list[list[str]]]:
    rows = marked.rows()
    fields = [next(row[column].field for row in rows if row[column]) for column in range(len(rows[0]))] if rows else []
    numbers = sorted({cell.hop for cell in marked.cells})
    told = [
        [str(number), *(cell.text(marked.reveal) if cell else "" for cell in row)]
        for number, row in zip(numbers, rows, strict=True)
    ]
    return ["hop", *fields], told
