"""How does a trace read? The verdict first, then hop by hop what changed and what decided it, then why it ended.

The same in every run: no times, no ephemeral ports, no identifiers. Hops are numbered as in `trace.hops`, from 1."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from labkit.packets.decode import EPHEMERAL
from labkit.see.measure import CHARACTER, LINE
from labkit.see.svg import document, text
from labkit.see.way import arrow, bead, way_of
from labkit.tracing.records import Change, Hop, Leg, Trace

__all__ = ["Step", "ending", "headline", "steps_of", "svg_of_trace", "text_of_trace", "unseen"]

WIDTH = 100  # columns
LEGS: tuple[Leg, ...] = ("request", "answer")
_HEADINGS = {"request": "the request", "answer": "the answer"}
_INDENT = " " * 6


@dataclass(frozen=True, slots=True)
class Step:
    """A hop, ready to be told. `summary`: the frame, or a shorter form where it is as it was one hop before.

    `reasons`: pairs of a word and what it is about: ("changed", "ttl 64 → 63"), ("because", "route: default ...")."""

    number: int
    hop: Hop
    summary: str
    reasons: tuple[tuple[str, str], ...]

    @property
    def where(self) -> str:
        """As "red/eth0"."""
        return self.hop.where


def steps_of(trace: Trace, leg: Leg) -> list[Step]:
    """Return the hops of one way, copies included, in order."""
    steps, before = list[Step](), ""
    for number, hop in enumerate(trace.hops, 1):
        if hop.leg != leg:
            continue
        summary = hop.summary
        steps.append(Step(number, hop, _summary(hop, summary, before), _reasons(hop)))
        before = summary
    return steps


def _summary(hop: Hop, summary: str, before: str) -> str:
    told = summary if summary != before else "as above, but" if _changes(hop) else "as above"
    return f"{told} (copy)" if hop.copy else told


def _reasons(hop: Hop) -> tuple[tuple[str, str], ...]:
    changed = [("changed", change.text) for change in _changes(hop)]
    return (*changed, *(("because", f"{decision.kind}: {decision.text}") for decision in hop.decided_by))


def _changes(hop: Hop) -> list[Change]:
    """The changes that are the same in every run: not one ephemeral port for another."""
    return [change for change in hop.changed if not (_is_ephemeral(change.before) and _is_ephemeral(change.after))]


def _is_ephemeral(text: str) -> bool:
    return text.isdecimal() and int(text) in EPHEMERAL


def ending(trace: Trace) -> list[tuple[str, str]]:
    """Return what is told below the hops, as pairs of a kind and a sentence: the cause ("down"), how it is known
    and the notes ("fact")."""
    told = []
    if trace.cause:
        told.append(("down", f"{trace.cause.heading}: {trace.cause.sentence}"))
        told += [("fact", f"known by: {trace.cause.known_by}")] if trace.cause.known_by else []
    return told + [("fact", f"note: {note}") for note in trace.notes]


def text_of_trace(trace: Trace) -> str:
    """Return the trace in words, at most 100 columns wide where words can be broken."""
    lines = [headline(trace)]
    for leg in LEGS:
        steps = steps_of(trace, leg)
        lines += ["", *_way(leg, steps)] if steps else []
    if not trace.hops:
        lines += ["", unseen(trace)]
    told = [line for _, sentence in ending(trace) for line in _wrapped(sentence, "", "  ")]
    return "\n".join([*lines, *(["", *told] if told else [])])


def unseen(trace: Trace) -> str:
    """Return what is told in the place of hops where there are none."""
    return "no frame of it was kept" if trace.delivered else "no interface saw it"


def headline(trace: Trace) -> str:
    """Return the first line: what was sent, from where, and what became of it."""
    return f"{trace.what} from {trace.source}: {trace.verdict}"


def _way(leg: Leg, steps: list[Step]) -> list[str]:
    number = max(len(str(step.number)) for step in steps)
    where = max(len(step.where) for step in steps)
    lines: list[str] = [leg]
    for step in steps:
        head = f"{step.number:>{number + 1}}  {step.where:<{where}}  {step.hop.direction:<3}  "
        lines += _wrapped(step.summary, head, " " * len(head))
        for word, told in _said_once(step.reasons):
            lines += _wrapped(told, f"{_INDENT}{word}", f"{_INDENT}{' ' * len(word)}  ")
    return lines


def _said_once(reasons: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Return the reasons in two columns; a word that stands above already is not repeated."""
    before, told = "", []
    for word, reason in reasons:
        told.append((f"{'' if word == before else word:<7}  ", reason))
        before = word
    return told


def _wrapped(sentence: str, first: str, more: str) -> list[str]:
    return textwrap.wrap(
        sentence, WIDTH, initial_indent=first, subsequent_indent=more, break_long_words=False, break_on_hyphens=False
    ) or [first.rstrip()]


def svg_of_trace(trace: Trace) -> str:
    """Return the picture with the way on it, and below it the hops one by one: a group, data-size is the picture's."""
    layout, parts = way_of(trace)
    top = layout.height + 4
    lines, width, bottom = _table(trace, top, layout.width)
    rule = f'<path class="lane" d="M20 {top - 4:g}H{width - 20:g}"/>'
    table = [f'<g class="hops" data-size="{layout.width:.0f} {layout.height:.0f}">', rule, *lines, "</g>"]
    return document(width, bottom, headline(trace), text_of_trace(trace), [*parts, *table])


def _table(trace: Trace, top: float, width: float) -> tuple[list[str], float, float]:
    """Return the parts, how wide they are, `width` at least, and where they end."""
    every = {leg: steps_of(trace, leg) for leg in LEGS}
    where = CHARACTER * max([len(step.where) for steps in every.values() for step in steps], default=0)
    left = 48.0 + where + 14
    rows = [(leg, step, _cell(step)) for leg, steps in every.items() for step in steps]
    ends = [(kind, line) for kind, sentence in ending(trace) for line in _broken(sentence)]
    width = max([width, *(left + 52 + CHARACTER * len(words) for *_, cell in rows for _, words in cell)])
    width = max([width, *(40 + CHARACTER * len(line) for _, line in ends)])
    y, parts, said, stripe = top, list[str](), "", False
    for leg, step, cell in rows:
        if leg != said:
            parts += _heading(leg, y)
            y, said, stripe = y + 30, leg, True
        height = LINE * len(cell) + 9
        parts += [f'<rect class="stripe" x="8" y="{y:g}" width="{width - 16:g}" height="{height:g}" rx="4"/>'] * stripe
        parts += [*bead(step.number, step.hop, 29, y + 13), text(48, y + 17, "name", step.where)]
        parts.append(text(left, y + 17, step.hop.direction, step.hop.direction))
        parts += [text(left + 32, y + 17 + LINE * line, kind, words) for line, (kind, words) in enumerate(cell)]
        y, stripe = y + height, not stripe
    parts += [text(20, y + 22 + LINE * line, kind, words) for line, (kind, words) in enumerate(ends)]
    return parts, width, y + LINE * len(ends) + 22


def _heading(leg: Leg, y: float) -> list[str]:
    """The name of a way, and the line that it is drawn with."""
    return [text(20, y + 20, "t", leg), f'<path class="way {leg}" d="M92 {y + 15:g}h44"/>', *arrow(leg, 142, y + 15, 0)]


def _cell(step: Step) -> list[tuple[str, str]]:
    """The lines beside a hop: its frame, then what changed and why."""
    told = [("cell", line) for line in _broken(step.summary)]
    for (word, _), (first, reason) in zip(step.reasons, _said_once(step.reasons), strict=True):
        told += [("changed" if word == "changed" else "fact", line) for line in _broken(reason, first)]
    return told


def _broken(sentence: str, first: str = "") -> list[str]:
    more = " " * (len(first) + 2 * bool(first))
    return [line.replace("  ", "\u00a0\u00a0") for line in _wrapped(sentence, first, more)]
