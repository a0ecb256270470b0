"""What is a check, what is an exercise, and what is a plausible wrong answer? Plain records, no kernel."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from labkit.errors import WrongUse

if TYPE_CHECKING:
    from labkit.check.look import Look

__all__ = ["Check", "Exercise", "Fault", "Result", "Status"]

Status = Literal["passed", "failed", "blocked", "not_run"]
Evidence = Mapping[str, Any]
LONGEST_MESSAGE = 1000  # characters; evidence comes from the learner and may be of any size

_NAME = re.compile(r"[a-z0-9][a-z0-9.:/-]*")
_ID = re.compile(r"[0-9]{2}-[a-z0-9-]+/[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Result:
    """What one check found. `points` are those given; only "passed" gives any."""

    name: str
    status: Status
    points: int
    max_points: int
    message: str
    hints: tuple[str, ...] = ()
    crashed: bool = False  # the check itself went wrong: its author's turn, not the learner's

    def json(self) -> dict[str, Any]:
        """Return the result as the JSON of `labkit grade` has it; hints stay with the learner's notebook."""
        return {
            "name": self.name,
            "status": self.status,
            "points": self.points,
            "max_points": self.max_points,
            "message": self.message,
        }


@dataclass(frozen=True)
class Check:
    """One question to the kernel or the wire, and what to say to either answer.

    `evidence(look)` gathers data and returns it by name. `verdict` gets that data by keyword and answers True or
    False; it is a pure function. `passed` and `failed` are sentences in which {name} is replaced by the evidence of
    that name. `failed` says what was observed, `look_at` where to look, usually a command; neither gives the answer.

    points: whole number, at least 1. within: seconds to try again until the verdict is True, since the start or the
    last check that passed; 0 asks once. after: names of checks that must have passed, or this one is *blocked*.
    must_not: it is of something that must NOT work, so it needs `control`, a check that shows that the probe itself
    works (it is asked first, gives no points, and blocks this one unless it passes), or an `after`.
    hints: shown one by one, after each failed attempt one more. secret: texts that no message may contain, such as the
    right answer; `labkit author check` tests it."""

    name: str
    evidence: Callable[[Look], Evidence]
    verdict: Callable[..., object]
    passed: str
    failed: str
    look_at: str = ""
    points: int = 1
    within: float = 0.0
    after: Sequence[str] = ()
    control: Check | None = None
    must_not: bool = False
    hints: Sequence[str] = ()
    secret: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise WrongUse(f"failed to make check '{self.name}': a name is small letters, digits and . : / -")
        if self.points < 1:
            raise WrongUse(f"failed to make check '{self.name}': {self.points} points, and 1 is the least")
        if self.must_not and self.control is None and not self.after:
            raise WrongUse(
                f"failed to make check '{self.name}': it is of what must not work, and has no positive control",
                "give it control=reaches(...), or after=[...] with the name of a check that shows that the probe works",
            )

    def judge(self, evidence: Evidence) -> Result:
        """Return the result for this evidence: a pure function, tested without a kernel."""
        right = bool(self.verdict(**evidence))
        sentence = (self.passed if right else self.failed).format(**evidence)
        return self.passes(sentence) if right else self.fails(sentence)

    def passes(self, sentence: str) -> Result:
        """Return the result that gives all points."""
        return Result(self.name, "passed", self.points, self.points, _bounded(sentence))

    def fails(self, observed: str) -> Result:
        """Return the result for what was observed, with where to look and the hints."""
        message = f"{observed}\nLook at: {self.look_at}" if self.look_at else observed
        return Result(self.name, "failed", 0, self.points, _bounded(message), tuple(self.hints))

    def blocked(self, reason: str) -> Result:
        """Return the result for a check that has to wait: neither right nor wrong."""
        return Result(self.name, "blocked", 0, self.points, _bounded(reason))

    def not_run(self, reason: str, crashed: bool = False) -> Result:
        """Return the result for a check that could not be asked."""
        return Result(self.name, "not_run", 0, self.points, _bounded(reason), crashed=crashed)


@dataclass(frozen=True)
class Fault:
    """A plausible wrong answer: the solved notebook with some cells' source replaced, and exactly the checks that fail.

    `replace` maps a cell's id to its other source. `red` names the checks that fail; those that wait for them are
    blocked, and blocked is not red."""

    name: str
    replace: Mapping[str, str]
    red: Collection[str]


@dataclass(frozen=True)
class Exercise:
    """The checks of one exercise, in the order in which they are asked.

    id: "01-network-namespaces/two-names": chapter and exercise, as the folders are called. needs: kernel features, as
    in labkit.needs. Raises WrongUse, with a sentence, for a form that cannot hold."""

    id: str
    title: str
    checks: Sequence[Check]
    faults: Sequence[Fault] = ()
    needs: Sequence[str] = ()
    max_score: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_score", sum(check.points for check in self.checks))
        if not _ID.fullmatch(self.id):
            raise WrongUse(f"failed to make exercise '{self.id}': an id is CHAPTER/NAME, as in 01-namespaces/two-names")
        if not self.checks:
            raise WrongUse(f"failed to make exercise '{self.id}': it has no checks")
        seen: set[str] = set()
        for check in self.checks:
            if check.name in seen:
                raise WrongUse(f"failed to make exercise '{self.id}': two checks are called '{check.name}'")
            for name in check.after:
                if name not in seen:
                    raise WrongUse(
                        f"failed to make exercise '{self.id}': '{check.name}' comes after '{name}', which is not an"
                        " earlier check",
                        f"earlier checks: {', '.join(sorted(seen)) or 'none'}",
                    )
            seen.add(check.name)
        for fault in self.faults:
            unknown = sorted(set(fault.red) - seen)
            if unknown or not fault.red:
                raise WrongUse(
                    f"failed to make exercise '{self.id}': fault '{fault.name}' turns red"
                    f" {', '.join(unknown) or 'nothing'}",
                    f"checks there: {', '.join(sorted(seen))}",
                )

    def not_run(self, reason: str) -> list[Result]:
        """Return a result for every check when none could be asked."""
        return [check.not_run(reason) for check in self.checks]


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"
