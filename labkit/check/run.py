"""In which order are checks asked, how long again and again, and what waits for what?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from labkit.check.form import Check, Exercise, Result
from labkit.errors import LabkitError, Unavailable

if TYPE_CHECKING:
    from labkit.check.look import Look

__all__ = ["ask", "run"]

PAUSE = 0.05  # seconds between two tries of a check that may still come true


def run(
    exercise: Exercise,
    look: Look,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Result]:
    """Ask every check of the exercise in order and give one result each, as it comes, whatever happens on the way.

    A check's time counts from the start, or from the last check that passed: what takes a moment gets it, and a lab in
    which nothing works is told so without waiting for each check anew."""
    results: dict[str, Result] = {}
    since = clock()
    for check in exercise.checks:
        waits_for = [name for name in check.after if results[name].status != "passed"]
        waiting = check.blocked(f"waits for: {', '.join(waits_for)}") if waits_for else None
        results[check.name] = waiting or ask(check, look, since, clock, pause)
        if results[check.name].status == "passed":
            since = clock()
        yield results[check.name]


def ask(check: Check, look: Look, since: float, clock: Callable[[], float], pause: Callable[[float], None]) -> Result:
    """Ask the control, then the check, at least twice and until its time is over or it passes; return the last result.

    One that has no time of its own (within=0) is asked once."""
    if check.control is not None:
        control = ask(check.control, look, since, clock, pause)
        if control.status == "not_run":
            return check.not_run(control.message, crashed=control.crashed)
        if control.status != "passed":
            return check.blocked(f"counts only once something else works: {control.message}")
    result = _once(check, look)
    asked = 1
    while result.status == "failed" and check.within and (asked < 2 or clock() < since + check.within):
        pause(PAUSE)
        result = _once(check, look)
        asked += 1
    return result


def _once(check: Check, look: Look) -> Result:
    try:
        return check.judge(check.evidence(look))
    except Unavailable as error:
        return check.not_run(f"cannot be asked here: {error}")
    except LabkitError as error:  # what it looks for is not there
        return check.fails(str(error))
    except Exception as error:  # noqa: BLE001  a check's own mistake must not take the others with it
        return check.not_run(f"the check itself went wrong: {type(error).__name__}: {error}", crashed=True)
