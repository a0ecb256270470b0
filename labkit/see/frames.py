"""A capture as a table and as a picture. A frame is anything with `where`, `direction` and `summary()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.see.layout import CHARACTER
from labkit.see.svg import document, text

__all__ = ["svg_table", "text_table"]

MOST = 60  # frames shown
ROW = 24.0


def text_table(capture: Any) -> str:
    """Return one line a frame, in aligned columns, then what is missing. The same in every run: no times."""
    rows = _rows(capture)
    if not rows:
        return "\n".join(["no frames", *_missing(capture)])
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{number:>{widths[0]}}  {where:<{widths[1]}}  {direction:<{widths[2]}}  {told}"
        for number, where, direction, told in rows
    ]
    return "\n".join([*lines, *_missing(capture)])


def svg_table(capture: Any) -> str:
    """Return the same table as SVG."""
    rows = [("", "seen at", "", "frame"), *_rows(capture)]
    widths = [max(len(row[column]) for row in rows) * CHARACTER for column in range(4)]
    lefts = [20.0, 20 + widths[0] + 16, 20 + widths[0] + widths[1] + 34, 20 + sum(widths[:3]) + 52]
    width, notes = lefts[3] + widths[3] + 24, _missing(capture)
    height = 20 + ROW * (len(rows) + len(notes)) + 12
    parts = []
    for index, row in enumerate(rows):
        y = 20 + ROW * index + 16
        if index % 2:
            parts.append(f'<rect class="stripe" x="8" y="{y - 16:g}" width="{width - 16:g}" height="{ROW:g}" rx="4"/>')
        kinds = ("s",) * 4 if index == 0 else ("fact", "name", row[2], "cell")
        for left, kind, cell in zip(lefts, kinds, row, strict=True):
            if cell:
                parts.append(text(left, y, kind, cell))
    y = 20 + ROW * len(rows) + 16
    for note in notes:
        parts.append(text(20, y, "down", note))
        y += ROW
    count = len(rows) - 1
    return document(width, height, f"a capture of {count} frames", text_table(capture), parts)


def _rows(capture: Any) -> list[tuple[str, str, str, str]]:
    shown: Sequence[Any] = list(capture)[:MOST]
    return [(str(number), frame.where, frame.direction, frame.summary()) for number, frame in enumerate(shown, 1)]


def _missing(capture: Any) -> list[str]:
    more = len(capture) - MOST
    lines = [f"and {more} more frames"] if more > 0 else []
    lines += list(getattr(capture, "notes", ()))
    return lines
