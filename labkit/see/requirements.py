"""How does a verdict on the three requirements read? A sentence for each, its counterexamples, and who reached whom."""

from __future__ import annotations

import textwrap
from typing import Any

from labkit.see.measure import CHARACTER, LINE
from labkit.see.svg import document, text

__all__ = ["svg_of_verdict", "text_of_requirement", "text_of_verdict"]

WIDTH = 100  # columns
ROW = 24.0
SHOWN = 3  # counterexamples of a requirement
MOST = 40  # pods whose marks are drawn
MARKS = {"ok": "✓", "lost": "✗", "rewritten": "N", "untested": "?", "": "–"}
LEGEND = {
    "ok": "✓ reached, by the caller's own address",
    "lost": "✗ not reached",
    "rewritten": "N reached, but another address was seen",
    "untested": "? not tested",
}
_KINDS = {"ok": "added", "lost": "down", "rewritten": "changed", "untested": "fact", "": "fact"}
_NODE = "its node"
Told = list[tuple[str, str]]  # a class, which says the colour, and a line


def text_of_verdict(verdict: Any) -> str:
    """Return the verdict in words, then who reached whom: callers are rows."""
    lines = [headline(verdict), *(line for one in verdict.requirements for _, line in _told(one))]
    if not _is_drawn(verdict):
        return "\n".join(lines)
    heads, rows = _table(verdict)
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    numbered = heads[1] == "1"
    if numbered:
        widths[1 : len(verdict.pods) + 1] = [len(str(len(verdict.pods)))] * len(verdict.pods)
    space = " " if numbered else "  "
    table = [
        row[0].ljust(widths[0]) + "  " + space.join(map(str.center, row[1:], widths[1:])) for row in [heads, *rows]
    ]
    return "\n".join([*lines, "", *(line.rstrip() for line in table), *_legend(verdict)])


def text_of_requirement(requirement: Any) -> str:
    """Return one requirement in words."""
    return "\n".join(line for _, line in _told(requirement))


def svg_of_verdict(verdict: Any) -> str:
    """Return the same as SVG. No mark is told by colour alone."""
    told = [part for one in verdict.requirements for part in _told(one)]
    parts = [text(20, 30, "t", headline(verdict))]
    y = 40.0
    for kind, line in told:
        y += LINE
        parts.append(text(20, y, kind, line.replace(" ", "\u00a0")))
    wide = max([8.8 * len(headline(verdict)), *(CHARACTER * len(line) for _, line in told)]) + 40
    if _is_drawn(verdict):
        table, table_wide, y = _svg_table(verdict, y + 16)
        parts += table
        wide = max(wide, table_wide)
    return document(wide, y + 16, "the three requirements", text_of_verdict(verdict), parts)


def headline(verdict: Any) -> str:
    """Return the first line."""
    held = sum(1 for one in verdict.requirements if one.held)
    on = f" on {_some(len(verdict.nodes), 'node')}" if verdict.nodes else ""
    return f"{held} of 3 requirements hold: {_some(len(verdict.pods), 'pod')}{on}"


def _is_drawn(verdict: Any) -> bool:
    return bool(verdict.marks) and len(verdict.pods) <= MOST


def _some(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _told(requirement: Any) -> Told:
    failures = requirement.failures
    first = f"{requirement.number}  {requirement.text}: "
    if failures:
        lines: Told = [("down", f"{first}broken, {len(failures)} of {_some(requirement.tested, requirement.unit)}")]
    elif requirement.tested:
        lines = [("added", f"{first}holds, {_some(requirement.tested, requirement.unit)}")]
    else:
        lines = [("fact", f"{first}not tested")]
    if requirement.untested:
        lines.append(("fact", f"   not tested: {_some(requirement.untested, requirement.unit)}, see requirement 1"))
    shown = [one for one in failures if one.reason or one.kind == "address"][:SHOWN]
    for failure in shown:
        lines += [("name", line) for line in _wrapped(f"{failure.what}: {failure.observed}", "   ")]
        lines += [("fact", line) for line in _wrapped(f"why: {failure.reason}", "     ") if failure.reason]
    more = len(failures) - len(shown)
    if more:
        lines.append(("fact", f"   and {_some(more, f'more {requirement.unit}')}"))
    return lines


def _wrapped(sentence: str, indent: str) -> list[str]:
    return textwrap.wrap(
        sentence, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )


def _table(verdict: Any) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows, in characters."""
    heads, kinds = _kinds(verdict)
    rows = [[row[0], *(MARKS[kind] for kind in row[1:])] for row in kinds]
    return heads, rows


def _kinds(verdict: Any) -> tuple[list[str], list[list[str]]]:
    """Return the heads, and for each pod a row: who it is, a kind of mark for each pod called, one for its node."""
    pods, nodes = verdict.pods, {node.name for node in verdict.nodes}
    short = sum(len(pod.name) + 2 for pod in pods) <= 60
    labels = [pod.name if short else str(number) for number, pod in enumerate(pods, 1)]
    wide = max(len(pod.name) for pod in pods) + (0 if short else len(str(len(pods))) + 1)
    wide_address = max(len(pod.address) for pod in pods)
    rows = []
    for label, pod in zip(labels, pods, strict=True):
        own = pod.name if short else f"{label:>{len(str(len(pods)))}} {pod.name}"
        row = ["" if pod is other else verdict.marks[pod.name, other.name] for other in pods]
        from_node = [verdict.marks.get((pod.node, pod.name), "")] if nodes else []
        rows.append([f"{own:<{wide}}  {pod.address:<{wide_address}}  {pod.node}".rstrip(), *row, *from_node])
    return ["from \\ to", *labels, *([_NODE] if nodes else [])], rows


def _legend(verdict: Any) -> list[str]:
    there = set(verdict.marks.values())
    own = [f"{_NODE}: the pod called by its node"] if verdict.nodes else []
    return ["; ".join([words for kind, words in LEGEND.items() if kind in there] + own)]


def _svg_table(verdict: Any, y: float) -> tuple[list[str], float, float]:
    """Return the table's parts below `y`, how wide it is, and where it ends."""
    heads, rows = _kinds(verdict)
    first = CHARACTER * max(len(row[0]) for row in [heads, *rows]) + 36
    widths = [max(ROW, CHARACTER * len(head) + 12) for head in heads[1:]]
    middles = [first + sum(widths[:column]) + wide / 2 for column, wide in enumerate(widths)]
    parts = [text(20, y + 16, "s", heads[0])]
    parts += [text(middle, y + 16, "s", head, "middle") for middle, head in zip(middles, heads[1:], strict=True)]
    wide = first + sum(widths) + 20
    for index, (label, *kinds) in enumerate(rows):
        top = y + ROW * (index + 1)
        if index % 2 == 0:
            parts.append(f'<rect class="stripe" x="8" y="{top:g}" width="{wide - 16:g}" height="{ROW:g}" rx="4"/>')
        parts.append(text(20, top + 16, "name", label.replace(" ", "\u00a0")))
        parts += [
            text(middle, top + 16, _KINDS[kind], MARKS[kind], "middle")
            for middle, kind in zip(middles, kinds, strict=True)
        ]
    bottom = y + ROW * (len(rows) + 1) + 4
    for line in _legend(verdict):
        bottom += LINE
        parts.append(text(20, bottom, "s", line))
        wide = max(wide, CHARACTER * len(line) + 40)
    return parts, wide, bottom
