"""What is written in a box, and how much room does it take?

A line of text is a class (which says its colour) and the text. Text is set in a fixed-width type, so that its width is
known without a browser: CHARACTER each, a line LINE high. Units are SVG's.
"""

from __future__ import annotations

import textwrap

from labkit.see.picture import SIGNS, Box, Note, Plug

__all__ = [
    "BREAK",
    "CHARACTER",
    "LINE",
    "Lines",
    "bridge_lines",
    "footer_lines",
    "in_lines",
    "row_height",
    "row_lines",
    "text_width",
]

CHARACTER, LINE = 7.3, 17.0
Lines = list[tuple[str, str]]
BREAK = ("", "")  # ends a first line that has several parts
_WRAP = 44


def row_lines(plug: Plug) -> Lines:
    """Return an interface's lines.

    The first is in parts: name, kind where it is not a veth, state where it is not up, first address."""
    first = [("name", plug.name)]
    first += [] if plug.kind in ("veth", "loopback", "ether", "") else [("kind", plug.kind)]
    first += [("down", plug.state)] if plug.state in ("down", "no carrier") else []
    first += [("address", plug.addresses[0])] if plug.addresses else []
    first += _sign(plug)
    return [*first, BREAK, *_below(plug, plug.addresses[1:])]


def bridge_lines(plug: Plug) -> Lines:
    """Return a bridge's own lines."""
    first = [("name", plug.name), ("kind", "bridge")]
    first += [("down", plug.state)] if plug.state in ("down", "no carrier") else []
    return [*first, *_sign(plug), BREAK, *_below(plug, plug.addresses)]


def _sign(plug: Plug) -> Lines:
    return [(SIGNS[plug.sign], f"{plug.sign} {SIGNS[plug.sign]}")] if plug.sign in ("+", "-") else []


def _below(plug: Plug, addresses: tuple[str, ...]) -> Lines:
    lines = [("address", text) for text in addresses]
    mac = " ".join(part for part in (plug.mac, f"mtu {plug.mtu}" if plug.mtu != 1500 else "") if part)
    lines += [("mac", mac)] if mac else []
    whole = ", ".join(fact.replace(" ", "\u00a0") for fact in plug.facts)  # lines break between facts only
    lines += [("fact", line.replace("\u00a0", " ")) for line in textwrap.wrap(whole, _WRAP, break_on_hyphens=False)]
    return lines + _note_lines(plug.notes)


def in_lines(parts: Lines) -> list[Lines]:
    """Return the parts line by line: those before BREAK share the first line, each other has its own."""
    first = parts.index(BREAK) if BREAK in parts else 0
    head = [parts[:first]] if first else []
    return head + [[part] for part in parts[first:] if part != BREAK]


def row_height(plug: Plug) -> float:
    """Return how high an interface is."""
    return LINE * len(in_lines(row_lines(plug)))


def _note_lines(notes: tuple[Note, ...]) -> Lines:
    lines = []
    for sign, text in notes:
        first, *more = textwrap.wrap(f"{sign} {text}".strip(), _WRAP, break_long_words=False)
        more = [f"\u00a0\u00a0{line}" for line in more]
        lines += [(SIGNS.get(sign, "fact"), line) for line in (first, *more)]
    return lines


def footer_lines(box: Box) -> Lines:
    """Return the lines at the bottom of a box: routes, then notes."""
    lines = [("route", route) for route in box.routes]
    return lines + _note_lines(box.notes)


def text_width(parts: Lines) -> float:
    """Return how wide the widest line is; parts of one line stand two characters apart."""
    return CHARACTER * max((sum(len(text) + 2 for _, text in line) - 2 for line in in_lines(parts)), default=0)
