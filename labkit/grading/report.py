"""What is said about an exercise? As text, as HTML, as JSON: pure functions of the results."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.check import Exercise, Result

__all__ = ["Report"]

_SIGNS = {"passed": "✓", "failed": "✗", "blocked": "…", "not_run": "-"}
_COLOURS = {"passed": "#2e7d32", "failed": "#c62828", "blocked": "#8a6d00", "not_run": "#757575"}


@dataclass(frozen=True)
class Report:
    """The results of one exercise. `problems`: sentences about the run. `stages`: how many hints of a check to show."""

    path: str
    exercise: Exercise | None
    results: Sequence[Result]
    problems: Sequence[str] = ()
    cannot_run: bool = False
    exercise_id: str = ""
    stages: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.exercise is not None:
            object.__setattr__(self, "exercise_id", self.exercise.id)

    @classmethod
    def nothing(cls, path: str, exercise_id: str, problem: str) -> Report:
        """Return the report of what could not be judged at all."""
        return cls(path, None, [], [problem], exercise_id=exercise_id)

    @property
    def score(self) -> int:
        """Points given."""
        return sum(result.points for result in self.results)

    @property
    def max_score(self) -> int:
        """Points that there are."""
        return sum(result.max_points for result in self.results)

    @property
    def headline(self) -> str:
        """What it is and how many points: one line."""
        name = self.exercise.title if self.exercise else self.exercise_id or self.path
        return f"{name}: {self.score} of {self.max_score} points"

    @property
    def status(self) -> int:
        """The exit status: 0 all points, 1 not all, 2 no check ran, 3 no lab machine here."""
        if self.cannot_run:
            return 3
        if all(result.status == "not_run" for result in self.results):
            return 2
        return 0 if self.score == self.max_score else 1

    def json(self) -> dict[str, Any]:
        """Return what `labkit grade --json` writes."""
        return {
            "exercise": self.exercise_id,
            "notebook": self.path,
            "score": self.score,
            "max_score": self.max_score,
            "checks": [result.json() for result in self.results],
            "problems": list(self.problems),
        }

    def text(self, title: bool = True) -> str:
        """Return the report as lines of text."""
        lines = [self.headline]
        if title and self.path:
            lines.insert(0, self.path)
        lines += [f"! {problem}" for problem in self.problems]
        for result in self.results:
            points = f"{result.points}/{result.max_points}"
            first, *rest = result.message.splitlines() or [""]
            lines.append(f"{_SIGNS[result.status]} {points:>5}  {result.name}: {_word(result)}{first}")
            lines += [f"         {line}" for line in rest]
            lines += [f"         Hint: {hint}" for hint in self.hints(result)]
        return "\n".join(lines)

    def html(self) -> str:
        """Return the report as a table, without its headline: in a notebook the cell's value follows and says it."""
        rows = "".join(self._row(result) for result in self.results)
        problems = "".join(f"<p>{_escaped(problem)}</p>" for problem in self.problems)
        return f'<div class="labkit-report">{problems}<table>{rows}</table></div>'

    def hints(self, result: Result) -> Sequence[str]:
        """Return the hints of a failed check that it is time for."""
        return result.hints[: self.stages.get(result.name, 0)] if result.status == "failed" else ()

    def _row(self, result: Result) -> str:
        hints = "".join(f"<br><i>Hint: {_escaped(hint)}</i>" for hint in self.hints(result))
        sign = f'<td style="color:{_COLOURS[result.status]}"><b>{_SIGNS[result.status]}</b></td>'
        points = f"<td>{result.points}/{result.max_points}</td>"
        message = f"<b>{_escaped(result.name)}</b>: {_word(result)}{_escaped(result.message)}{hints}"
        return f'<tr>{sign}{points}<td style="text-align:left">{message}</td></tr>'


def _word(result: Result) -> str:
    return {"blocked": "(blocked) ", "not_run": "(not run) "}.get(result.status, "")


def _escaped(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
