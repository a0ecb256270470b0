"""A layout as SVG: static, small, nothing fetched, light and dark."""

from __future__ import annotations

import hashlib
from html import escape
from string import Template

from labkit.see.lanes import Branch, Lane, Trunk
from labkit.see.layout import CHANNEL, PAD, TITLE, Layout, PlacedBox, PlacedBridge, Row
from labkit.see.measure import CHARACTER, LINE, in_lines
from labkit.see.picture import SIGNS, Cable, state_between

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

# Tunnels are a pipe with a dash-dotted line in it.
_TUNNEL = Template(
    ".lk .tunnel{stroke:$violet}.lk .via{fill:$violet}.lk .pipe{stroke:$pipe}.lk .mouth{fill:$page;stroke:$violet}"
    ".lk .tunnel.off{stroke:$bad}.lk .tunnel.is-added,.lk .mouth.is-added{stroke:$green}"
    ".lk .tunnel.is-removed,.lk .mouth.is-removed{stroke:$red}"
    ".lk .tunnel.is-changed,.lk .mouth.is-changed{stroke:$amber}"
)
_TUNNEL_LIGHT = {**_LIGHT, "violet": "#6639ba", "pipe": "#ece3fb"}
_TUNNEL_DARK = {**_DARK, "violet": "#c8a6ff", "pipe": "#2b2145"}
TUNNELS = (
    "\n.lk .tunnel,.lk .pipe{fill:none;stroke-linejoin:round}.lk .tunnel{stroke-width:2;stroke-dasharray:10 4 2 4}"
    ".lk .pipe{stroke-width:9;stroke-linecap:round}.lk .mouth{stroke-width:2}.lk .via{font-weight:700}"
    ".lk .tunnel.off{stroke-dasharray:6 5}.lk .tunnel.is-removed{stroke-dasharray:3 4}"
    ".lk .mouth.is-removed{stroke-dasharray:none}\n"
    f"{_TUNNEL.substitute(_TUNNEL_LIGHT)}\n@media(prefers-color-scheme:dark){{{_TUNNEL.substitute(_TUNNEL_DARK)}}}"
)

SITS = "\n.lk .sits{stroke-width:1}"  # a macvlan on its link: thinner than a cable

_MARKS = {"+": "is-added", "-": "is-removed", "~": "is-changed"}


def document(width: float, height: float, title: str, description: str, parts: list[str]) -> str:
    """Return a whole SVG: role, title and description for those who do not see it, style, background, parts."""
    body = "\n".join(parts)
    style = STYLE + TUNNELS * ('class="pipe"' in body) + SITS * ('class="cable sits' in body)
    ident = "lk" + hashlib.sha256((title + description + body).encode()).hexdigest()[:8]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lk" role="img" aria-labelledby="{ident}-t {ident}-d" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width:100%;height:auto">\n'
        f'<title id="{ident}-t">{escape(title)}</title>\n<desc id="{ident}-d">{escape(description)}</desc>\n'
        f"<style>{style}</style>\n"
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
    parts += [part for trunk in layout.trunks for part in _trunk(trunk)]
    for (cable, one, other), reach in zip(layout.cables, layout.loops, strict=True):
        parts += _cable(state_between([one.plug, other.plug]), cable, one, other, reach)
    cabled = {id(row) for _, *rows in layout.cables for row in rows}
    parts += [_dot(row) for box in layout.boxes for row in box.every_row() if id(row) in cabled]
    parts += [part for trunk in layout.trunks for part in _mouths(trunk)]
    return parts + [part for trunk in layout.trunks for part in _words(trunk)]


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
        at = row.x - PAD if row.side == "right" else placed.x + PAD
        parts += _row(row, at, "end" if row.side == "right" else "")
    first = placed.y + placed.height - len(placed.footer) * LINE + 3
    parts += _lines(placed.footer, placed.x + PAD, first)
    return [*parts, "</g>"]


def _band(placed: PlacedBox) -> str:
    """The strip behind the title: one colour for containers, another for what holds bridges, as hosts and nodes do."""
    holds = placed.bridges or placed.inside or placed.box.name == "host"
    kind = "host" if holds else "container"
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
        filter(
            None,
            [
                "cable sits" if cable.kind else "cable",
                {"up": "", "planned": "plan"}.get(state, "off"),
                _MARKS.get(cable.sign, ""),
            ],
        )
    )
    first, last = sorted((one, other), key=lambda row: row.x)
    ways = "".join(f"M{row.x:g} {row.y:g}H{row.out:g}" for row in (first, last) if row.out != row.x)
    if first.side == last.side:  # both in one column: a loop beside it
        reach = reach if first.side == "right" else -reach
        far = max(first.out, last.out) + reach
        path = f"{ways}M{first.out:g} {first.y:g}C{far:g} {first.y:g} {far:g} {last.y:g} {last.out:g} {last.y:g}"
        middle = far - reach / 4, (first.y + last.y) / 2
    elif first.y == last.y:
        path = f"M{first.x:g} {first.y:g}H{last.x:g}"
        middle = (first.x + last.x) / 2, first.y
    else:
        bend = (first.out + last.out) / 2
        path = f"{ways}M{first.out:g} {first.y:g}C{bend:g} {first.y:g} {bend:g} {last.y:g} {last.out:g} {last.y:g}"
        middle = bend, (first.y + last.y) / 2
    parts = [f'<path class="{kind}" d="{path}" data-ends="{escape(ends)}"/>']
    label = f"{cable.sign} {SIGNS[cable.sign]}" if cable.sign else state if state in ("down", "no carrier") else ""
    if CHARACTER * len(label) > last.x - first.x - 16 and last.x - first.x < CHANNEL:
        label = cable.sign  # inside a node there is no room for more: the words at its ends must do
    if label and first.side != last.side:  # beside a loop there is no room: the words at its ends must do
        parts += _label(*middle, SIGNS.get(cable.sign, "down"), label)
    return parts


def _label(x: float, y: float, kind: str, label: str) -> list[str]:
    """A word in the middle of a line."""
    wide = CHARACTER * len(label) + 8
    return [
        f'<rect class="label" x="{x - wide / 2:g}" y="{y - 9:g}" width="{wide:g}" height="18" rx="4"/>',
        text(x, y + 4, kind, label, "middle"),
    ]


def _trunk(trunk: Trunk) -> list[str]:
    """A tunnel, or several drawn as one: a line through lanes, with a branch to each of its ends, and its label."""
    ends = escape(" ".join(f"{box}/{plug}" for box, plug in trunk.ends))
    path = "".join(_lane(lane, trunk.bus) for lane in trunk.lanes)
    if trunk.bus:
        path += f"M{trunk.lanes[0].x:g} {trunk.bus:g}H{trunk.lanes[-1].x:g}"
    off = "off" if trunk.state in ("down", "no carrier") else ""
    kind = " ".join(filter(None, ["tunnel", off, _MARKS.get(trunk.sign, "")]))
    return [f'<path class="pipe" d="{path}"/>', f'<path class="{kind}" d="{path}" data-ends="{ends}"/>']


def _words(trunk: Trunk) -> list[str]:
    """Its label, on the line where that is straight, else at its right, over whatever cable passes there."""
    off = trunk.state in ("down", "no carrier")
    colour = SIGNS[trunk.sign] if trunk.sign else "down" if off else "via"
    parts: list[str] = []
    for lane in (lane for lane in trunk.lanes if lane.label):
        middle, y = lane.x + 9 + CHARACTER * len(lane.label) / 2, lane.label_y
        if lane.is_straight:
            middle, y = sum(branch.x for branch in lane.branches) / 2, lane.branches[0].y
        parts += _label(middle, y, colour, lane.label)
    return parts


def _lane(lane: Lane, bus: float) -> str:
    """From the first branch down to the last one, round at the corners, the others straight to the line between."""
    if lane.is_straight:
        one, other = lane.branches
        return f"M{one.x:g} {one.y:g}H{other.x:g}"
    first, *between, last = sorted(lane.branches, key=lambda branch: branch.y) * (1 if len(lane.branches) > 1 else 2)
    path = _from(first, lane.x, down=True)
    if bus:
        path += f"V{bus:g}"
        between.append(last)
    elif last.y - first.y >= 12:
        turn = 6 if last.x > lane.x else -6
        path += f"V{last.y - 6:g}q0 6 {turn:g} 6H{last.x:g}"
    else:
        path += f"V{last.y:g}H{last.x:g}"
    return path + "".join(f"M{branch.x:g} {branch.y:g}H{lane.x:g}" for branch in between if branch is not first)


def _from(branch: Branch, x: float, *, down: bool) -> str:
    turn = 6 if branch.x < x else -6
    return f"M{branch.x:g} {branch.y:g}H{x - turn:g}q{turn:g} 0 {turn:g} {6 if down else -6}"


def _mouths(trunk: Trunk) -> list[str]:
    """Where it ends: squares, and an arrow into the end that does not answer."""
    parts = []
    for branch in (branch for lane in trunk.lanes for branch in lane.branches):
        kind = " ".join(filter(None, ["mouth", _MARKS.get(trunk.sign, "")]))
        parts.append(f'<rect class="{kind}" x="{branch.x - 4:g}" y="{branch.y - 4:g}" width="8" height="8" rx="1"/>')
        if trunk.one_way and branch.end == trunk.ends[1]:
            lane = next(lane for lane in trunk.lanes if branch in lane.branches)
            way = 1 if lane.x > branch.x else -1
            parts.append(f'<path class="via" d="M{branch.x + 5 * way:g} {branch.y:g}l{9 * way} -5v10z"/>')
    return parts
