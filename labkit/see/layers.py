"""One frame, layer by layer, beside its bytes: as text and as a picture. What differs from run to run says "varies"."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from labkit.packets.fields import Field, Layer, layers_of
from labkit.see.measure import CHARACTER, LINE
from labkit.see.svg import document, text

if TYPE_CHECKING:
    from labkit.packets.frames import Frame

__all__ = ["packet_svg", "packet_text"]

ROW = 16  # bytes a row
MOST = 512  # bytes shown
TINTS = ("bridge", "container", "host")  # of layers that follow one another
HIDDEN = "··"  # a byte that differs from run to run
_WRAP = 76
_CELL = 3 * CHARACTER


def packet_text(frame: Frame) -> str:
    """Return the layers with the place of each field, then the bytes in rows of 16, counted from 0."""
    layers = layers_of(frame)
    lines = [_title(frame)]
    for number, layer in enumerate(layers, 1):
        lines.append(_heading(number, layer))
        rows = [_cells(field) for field in layer.fields]
        widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
        for (name, value, where), field in zip(rows, layer.fields, strict=True):
            lines.append(f"  {name:<{widths[0]}}  {value:<{widths[1]}}  {where}".rstrip())
            lines += [f"      {line}" for line in textwrap.wrap(field.remark, _WRAP)]
    shown = _shown_bytes(frame, layers)
    for at in range(0, len(shown), ROW):
        row = shown[at : at + ROW]
        lines.append(f"{at:>4}  {' '.join(row):<47}  {_characters(row)}".rstrip())
    return "\n".join([*lines, *_more(frame)])


def packet_svg(frame: Frame) -> str:
    """Return the same as a picture: the layers at the left, their bytes in the same tint at the right."""
    layers = layers_of(frame)
    left, parts, bottom = _svg_layers(layers)
    right, bytes_bottom = _svg_bytes(frame, layers, left + 28)
    notes = [text(left + 28, bytes_bottom + 18, "down", line) for line in _more(frame)]
    width = left + 28 + 5 * CHARACTER + ROW * _CELL + 14 + ROW * CHARACTER + 20
    title = text(20, 30, "name", _title(frame))
    width = max(width, 40 + CHARACTER * 1.1 * len(_title(frame)))
    height = max(bottom, bytes_bottom + LINE * len(notes)) + 16
    return document(
        width, height, f"a frame of {frame.length} bytes", packet_text(frame), [title, *parts, *right, *notes]
    )


def _title(frame: Frame) -> str:
    return f"{frame.where} {frame.direction}, {frame.length} bytes: {frame.summary()}"


def _heading(number: int, layer: Layer) -> str:
    return ", ".join(filter(None, [f"{number} {layer.name}", layer.where()]))


def _cells(field: Field) -> tuple[str, str, str]:
    return field.name, "varies" if field.varies else field.value, field.where()


def _shown_bytes(frame: Frame, layers: tuple[Layer, ...]) -> list[str]:
    shown = [f"{byte:02x}" for byte in frame.data[:MOST]]
    for layer in layers:
        for field in layer.fields:
            if field.varies and field.bytes:
                first, size = field.bytes
                shown[first : first + size] = [HIDDEN] * len(shown[first : first + size])
    return shown


def _characters(row: list[str]) -> str:
    codes = [0 if byte == HIDDEN else int(byte, 16) for byte in row]
    return "".join(chr(code) if 32 <= code < 127 else "." for code in codes)


def _more(frame: Frame) -> list[str]:
    lines = [f"and {len(frame.data) - MOST} more bytes"] if len(frame.data) > MOST else []
    cut = frame.length - len(frame.data)
    return lines + ([f"{cut} bytes were not kept"] if cut else [])


def _svg_layers(layers: tuple[Layer, ...]) -> tuple[float, list[str], float]:
    """Return the right edge, the parts and the lower edge of the list of layers."""
    fields = [_cells(field) for layer in layers for field in layer.fields]
    widths = [max((len(row[column]) for row in fields), default=0) * CHARACTER for column in range(3)]
    at = [34.0, 34 + widths[0] + 16, 34 + widths[0] + widths[1] + 32]
    right = max(at[2] + widths[2], *(36 + CHARACTER * len(_heading(9, layer)) for layer in layers))
    parts, y = [], 46.0
    for number, layer in enumerate(layers):
        parts.append(f'<rect class="{_tint(number)}" x="20" y="{y:g}" width="{right - 20:g}" height="20" rx="4"/>')
        parts.append(text(28, y + 14, "name", _heading(number + 1, layer)))
        y += 20
        for field in layer.fields:
            y += LINE
            kinds = ("fact", "cell", "fact")
            parts += [text(x, y - 3, *cell) for x, cell in zip(at, zip(kinds, _cells(field), strict=True), strict=True)]
            for line in textwrap.wrap(field.remark, int((right - at[0]) / CHARACTER)):
                y += LINE
                parts.append(text(at[0] + 8, y - 3, "down", line))
        y += 8
    return right, parts, y


def _tint(number: int) -> str:
    return TINTS[number % len(TINTS)]


def _svg_bytes(frame: Frame, layers: tuple[Layer, ...], x: float) -> tuple[list[str], float]:
    """Return the bytes in rows, those of each layer on its tint, and the lower edge."""
    shown = _shown_bytes(frame, layers)
    cells, letters = x + 5 * CHARACTER, x + 5 * CHARACTER + ROW * _CELL + 14
    parts = []
    for number, layer in enumerate(layers):
        for at, count in _runs(layer, len(shown)):
            row, column = divmod(at, ROW)
            y, tint = 46 + row * (LINE + 2), _tint(number)
            for left, cell in ((cells - 0.5 * CHARACTER, _CELL), (letters, CHARACTER)):
                parts.append(
                    f'<rect class="{tint}" x="{left + column * cell:g}" y="{y:g}" '
                    f'width="{count * cell:g}" height="{LINE + 1:g}"/>'
                )
    for at in range(0, len(shown), ROW):
        y, row_bytes = 46 + at / ROW * (LINE + 2) + 13, shown[at : at + ROW]
        parts.append(text(x, y, "fact", f"{at:>3}"))
        parts += [text(cells + _CELL * column, y, "cell", byte) for column, byte in enumerate(row_bytes)]
        parts += [
            text(letters + CHARACTER * column, y, "cell", letter)
            for column, letter in enumerate(_characters(row_bytes))
            if letter != " "
        ]
    return parts, 46 + -(-len(shown) // ROW) * (LINE + 2)


def _runs(layer: Layer, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the bytes of a layer begin in each row, and how many of them are there."""
    if layer.place is None:
        return
    at, size = layer.place
    last = min(at + size, end)
    while at < last:
        upto = min(last, (at // ROW + 1) * ROW)
        yield at, upto - at
        at = upto
