"""Is a learner's table of hops right? One check of some of its columns, marked by a packet that is followed now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from labkit.check.builders import Options
from labkit.check.form import Check
from labkit.check.mark import Cell, Marked, mark
from labkit.tracing.records import Leg, Trace

if TYPE_CHECKING:
    from labkit.check.look import Look

__all__ = ["table"]

_IS = {"wrong": "is not right", "empty": "is not filled in"}


def table(
    answer: str,
    trace: Callable[[Look], Trace],
    columns: Sequence[str] = ("where",),
    *,
    leg: Leg = "request",
    what: str = "the interfaces are",
    called: str = "",
    also: Callable[[Marked], Iterable[str]] = lambda marked: (),  # noqa: ARG005
    **options: Unpack[Options],
) -> Check:
    """The rows that the learner recorded with labkit.answer(answer, rows) are right in these columns.

    trace: follows the packet that marks them, now; where it raises NotFound, that sentence is the failed check's.
    columns: of labkit.mark; "where" alone marks the interfaces, and comes with any other column. what, called: as in
    "ping a: the MACs are right in every row". also: more that is wrong with them, in sentences.
    No message holds what is right. Give look_at=, name= and, for other columns than "where", after= the interfaces."""

    def evidence(look: Look) -> dict[str, Any]:
        marked = mark(_only(look.answer(answer), columns), trace(look), leg=leg)
        told = _misplaced(marked.cells) if tuple(columns) == ("where",) else _wrong(marked.cells)
        told = [*told, *also(marked)]
        return {"right": marked.passed and not told, "wrong": "; ".join(told) or "there are no rows"}

    called = called or answer
    fields: dict[str, Any] = {
        "name": f"{answer}-{columns[-1]}".replace("_", "-"),
        "passed": f"{called}: {what} right in every row",
        "failed": f"{called}: {{wrong}}",
        **options,
    }
    return Check(evidence=evidence, verdict=lambda right, wrong: right, **fields)  # noqa: ARG005  the sentence wants it


def _only(rows: Any, columns: Sequence[str]) -> Any:
    """Return the table with these columns; what is no table stays, and mark() refuses it with a sentence."""
    if not isinstance(rows, list):
        return rows
    return [{name: row.get(name) for name in columns} if isinstance(row, dict) else row for row in rows]


def _misplaced(cells: Iterable[Cell]) -> list[str]:
    """What is wrong with the interfaces, in words, without naming one that is not in the table."""
    bad = [cell for cell in cells if cell.verdict != "ok"]
    if any(cell.verdict == "empty" for cell in bad):
        return ["not every row says where it is"]
    strange = ", ".join(cell.given for cell in bad if cell.given)
    missing = any(cell.verdict != "extra" for cell in bad)
    told = [f"does not see it, or not at that place of its way: {strange}"] if strange else []
    return [*told, "an interface that sees it is missing, or not at its place"] if missing else told


def _wrong(cells: Iterable[Cell]) -> list[str]:
    """Which cells are not right, column by column, without what is."""
    told: dict[str, list[str]] = {}
    for cell in cells:
        if cell.verdict in _IS:
            told.setdefault(f"{cell.field} {_IS[cell.verdict]}", []).append(str(cell.hop))
    return [f"in row {', '.join(rows)}, {what}" for what, rows in told.items()]
