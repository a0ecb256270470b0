"""A layout as SVG: static, small, nothing fetched, light and dark."""

from __future__ import annotations

import hashlib
from html import escape
from string import Template

from labkit.see.layout import PAD, TITLE, Layout, PlacedBox, PlacedBridge, Row
from labkit.see.measure import CHARACTER, LINE, in_lines
from labkit.see.picture import SIGNS, Cable

__all__ = ["document", "parts_of", "svg_of"]

_FORM = """
.lk text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.lk .t{font:600 14px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.lk .s{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.lk .name,.lk .down,.lk .added,.lk .removed,.lk .changed{font-weight:700}
.lk .frame{fill:none;stroke-width:1.5}.lk .bridge,.lk .lane{stroke-width:1.5}.lk .stripe{opacity:.55}
.lk .cable{fill:none;stroke-width:2}.lk .dot{stroke-width:2}
.lk .off{stroke-dasharray:6 5}.lk .plan{stroke-dasharray:1 4;stroke-linecap:round}
.lk .is-added,.lk .is-changed{stroke-width:2.5}.lk .is-removed{stroke-dasharray:3 4;stroke-width:2}
.lk .dot.is-removed{stroke-dasharray:none}
""".strip()

# Written out for each of the two schemes, since what makes PDFs of notebooks knows no CSS variables.
_COLOURS = Template(
    ".lk text{fill:$ink}.lk .s,.lk .mac,.lk .fact,.lk .route,.lk .kind{fill:$soft}.lk .address,.lk .out{fill:$blue}"
    ".lk .down{fill:$bad}.lk .added,.lk .in{fill:$green}.lk .removed{fill:$red}.lk .changed{fill:$amber}"
    ".lk .bg,.lk .label{fill:$page}.lk .box{fill:$box;stroke:$edge}.lk .frame,.lk .lane{stroke:$edge}"
    ".lk .host,.lk .stripe{fill:$host}.lk .container{fill:$container}.lk .bridge{fill:$switch;stroke:$rim}"
    ".lk .cable{stroke:$cable}.lk .dot{fill:$page;stroke:$cable}.lk .full{fill:$cable}.lk .off{stroke:$bad}"
    ".lk .is-added{stroke:$green}.lk .is-removed{stroke:$red}.lk .is-changed{stroke:$amber}"
)
_LIGHT = {"page": "#fff", "ink": "#1f2328", "soft": "#59636e", "box": "#fff", "edge": "#c3ccd5", "host": "#eaeef2",
          "container": "#dff3ec", "switch": "#eef5ff", "rim": "#7aa7e6", "blue": "#0550ae", "bad": "#b34700",
          "green": "#116329", "red": "#a40e26", "amber": "#7d4e00", "cable": "#57606a"}  # fmt: skip
_DARK = {"page": "#0d1117", "ink": "#e6edf3", "soft": "#a3adb8", "box": "#151b23", "edge": "#444c56", "host": "#262c36",
         "container": "#173a31", "switch": "#11243d", "rim": "#4178be", "blue": "#79c0ff", "bad": "#ffa657",
         "green": "#56d364", "red": "#ff8a80", "amber": "#e3b341", "cable": "#9198a1"}  # fmt: skip
STYLE = f"{_FORM}\n{_COLOURS.substitute(_LIGHT)}\n@media(prefers-color-scheme:dark){{{_COLOURS.substitute(_DARK)}}}"

_MARKS = {"+": "is-added", "-": "is-removed", "~": "is-changed"}


def document(width: float, height: float, title: str, description: str, parts: list[str]) -> str:
    """Return a whole SVG: role, title and description for those who do not see it, style, background, parts."""
    body = "\n".join(parts)
    ident = "lk" + hashlib.sha256((title + description + body).encode()).hexdigest()[:8]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lk" role="img" aria-labelledby="{ident}-t {ident}-d" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width:100%;height:auto">\n'
        f'<title id="{ident}-t">{escape(title)}</title>\n<desc id="{ident}-d">{escape(description)}</desc>\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="bg" width="{width:.0f}" height="{height:.0f}" rx="10"/>\n{body}\n</svg>'
    )


def svg_of(layout: Layout, description: str) -> str:
    """Return the layout as one SVG."""
    return document(layout.width, layout.height, layout.picture.title, description, parts_of(layout))


def parts_of(layout: Layout) -> list[str]:
    """Return what is drawn of the layout, for a document that may hold more."""
    picture = layout.picture
    parts = [text(20, 30, "s", picture.caption)] if picture.caption else []
    parts += [part for box in layout.boxes for part in _box(box)]
    loops = 0
    for cable, one, other in layout.cables:
        loops += one.side == other.side
        parts += _cable(picture.cable_state(cable), cable, one, other, 26.0 + 9 * (loops % 5))
    return parts + [_dot(row) for box in layout.boxes for row in box.every_row() if row.side]


def text(x: float, y: float, kind: str, content: str, anchor: str = "") -> str:
    """Return one line of text; `y` is its baseline."""
    anchored = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}"{anchored}>{escape(content)}</text>'


def tspan(kind: str, content: str, spaced: bool) -> str:
    """Return a part of a line of text, two characters from the one before it when `spaced`."""
    space = f' dx="{2 * CHARACTER:g}"' if spaced else ""
    return f'<tspan class="{kind}"{space}>{escape(content)}</tspan>'


def _box(placed: PlacedBox) -> list[str]:
    box = placed.box
    mark = _MARKS.get(box.sign, "")
    parts = [f'<g data-namespace="{escape(box.name)}">']
    if box.more:
        parts += [_rectangle(placed, "box", 8, shift) for shift in (8, 4)]
    parts += [_rectangle(placed, "box", 8), _band(placed), _rectangle(placed, f"frame {mark}".strip(), 8)]
    parts.append(text(placed.x + PAD, placed.y + TITLE - 9, "t", box.name))
    right = placed.x + placed.width - PAD
    if box.sign:
        parts.append(text(right, placed.y + TITLE - 9, SIGNS[box.sign], f"{box.sign} {SIGNS[box.sign]}", "end"))
    elif box.facts:
        parts.append(text(right, placed.y + TITLE - 9, "s", ", ".join(box.facts), "end"))
    for bridge in placed.bridges:
        parts += _bridge(bridge)
    for row in placed.rows:
        inset = PAD if row.side != "right" else placed.width - PAD
        parts += _row(row, placed.x + inset, "end" if row.side == "right" else "")
    first = placed.y + placed.height - len(placed.footer) * LINE + 3
    parts += _lines(placed.footer, placed.x + PAD, first)
    return [*parts, "</g>"]


def _band(placed: PlacedBox) -> str:
    """The strip behind the title: one colour for containers, another for what holds bridges, as hosts and nodes do."""
    kind = "host" if placed.bridges or placed.box.name == "host" else "container"
    x, y, wide = placed.x, placed.y, placed.width
    edge = f"M{x:g} {y + TITLE:g}V{y + 8:g}q0 -8 8 -8H{x + wide - 8:g}q8 0 8 8V{y + TITLE:g}z"
    return f'<path class="{kind}" d="{edge}"/>'


def _bridge(placed: PlacedBridge) -> list[str]:
    kind = f"bridge {_MARKS.get(placed.bridge.plug.sign, '')}".strip()
    parts = [f'<g data-interface="{escape(placed.bridge.plug.name)}">', _rectangle(placed, kind, 6)]
    x, anchor = placed.x + PAD, ""
    if placed.head:
        x, anchor = placed.x + placed.width / 2, "middle"
    elif any(row.side == "left" for row in placed.rows):
        x, anchor = placed.x + placed.width - PAD, "end"
    parts += _lines(placed.lines, x, placed.y + PAD + LINE / 2 + 4, anchor)
    for row in placed.rows:
        at = placed.x + (PAD if row.side == "left" else placed.width - PAD)
        parts += _row(row, at, "" if row.side == "left" else "end")
    return [*parts, "</g>"]


def _row(row: Row, x: float, anchor: str) -> list[str]:
    return [f'<g data-interface="{escape(row.plug.name)}">', *_lines(row.lines, x, row.y + 4, anchor), "</g>"]


def _lines(parts: list[tuple[str, str]], x: float, y: float, anchor: str = "") -> list[str]:
    drawn = []
    for line in in_lines(parts):
        if len(line) == 1:
            drawn.append(text(x, y, *line[0], anchor))
        else:
            spans = [tspan(kind, content, index > 0) for index, (kind, content) in enumerate(line)]
            anchored = f' text-anchor="{anchor}"' if anchor else ""
            drawn.append(f'<text x="{x:g}" y="{y:g}"{anchored}>{"".join(spans)}</text>')
        y += LINE
    return drawn


def _rectangle(placed: PlacedBox | PlacedBridge, kind: str, radius: int, shift: int = 0) -> str:
    return (
        f'<rect class="{kind}" x="{placed.x + shift:g}" y="{placed.y + shift:g}" width="{placed.width:g}" '
        f'height="{placed.height:g}" rx="{radius}"/>'
    )


def _dot(row: Row) -> str:
    kind = " ".join(filter(None, ["dot", _MARKS.get(row.plug.sign, "")]))
    return f'<circle class="{kind}" cx="{row.x:g}" cy="{row.y:g}" r="4.5"/>'


def _cable(state: str, cable: Cable, one: Row, other: Row, reach: float) -> list[str]:
    ends = " ".join(f"{box}/{plug}" for box, plug in cable.ends)
    kind = " ".join(
        filter(None, ["cable", {"up": "", "planned": "plan"}.get(state, "off"), _MARKS.get(cable.sign, "")])
    )
    first, last = sorted((one, other), key=lambda row: row.x)
    if first.side == last.side:  # both in one column: a loop beside it
        reach = reach if first.side == "right" else -reach
        far = max(first.x, last.x) + reach
        path = f"M{first.x:g} {first.y:g}C{far:g} {first.y:g} {far:g} {last.y:g} {last.x:g} {last.y:g}"
        middle = far - reach / 4, (first.y + last.y) / 2
    elif first.y == last.y:
        path = f"M{first.x:g} {first.y:g}H{last.x:g}"
        middle = (first.x + last.x) / 2, first.y
    else:
        bend = (first.x + last.x) / 2
        path = f"M{first.x:g} {first.y:g}C{bend:g} {first.y:g} {bend:g} {last.y:g} {last.x:g} {last.y:g}"
        middle = bend, (first.y + last.y) / 2
    parts = [f'<path class="{kind}" d="{path}" data-ends="{escape(ends)}"/>']
    label = f"{cable.sign} {SIGNS[cable.sign]}" if cable.sign else state if state in ("down", "no carrier") else ""
    if label and first.side != last.side:  # beside a loop there is no room: the words at its ends must do
        wide = CHARACTER * len(label) + 8
        x, y = middle
        parts.append(f'<rect class="label" x="{x - wide / 2:g}" y="{y - 9:g}" width="{wide:g}" height="18" rx="4"/>')
        parts.append(text(x, y + 4, SIGNS.get(cable.sign, "down"), label, "middle"))
    return parts
