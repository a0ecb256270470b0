"""The judge: a process outside the learner's Python that asks an exercise's checks.

    python -I -m labkit.grading.judge EXERCISE SOLUTIONS

It loads the checks and everything that they need, then waits for a line on its input: "here", or the PID of the process
1 of the lab machine to judge. So all its code was read before any of the submission's ran. It answers one JSON object a
line: {"ready": true}, then each result, then {"end": true}; or {"error": sentence}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict
from typing import Any

from labkit.check import Look, run
from labkit.errors import LabkitError
from labkit.grading import exercises, place

__all__ = ["main"]

_AHEAD = ("labkit.lab", "labkit.packets", "labkit.state")


def main(id_: str, solutions: str) -> int:
    """Judge one machine, and return 0 if it could be judged."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a check prints goes to the errors

    def say(**message: Any) -> None:
        answer.write(json.dumps(message) + "\n")
        answer.flush()

    try:
        exercise = exercises.load(id_, solutions)
        for module in _AHEAD:
            importlib.import_module(module)
        say(ready=True)
        where = sys.stdin.readline().strip()
        there = place.stay() if where == "here" else place.join(int(where))
        for result in run(exercise, Look(there.answers, there.refresh)):
            say(result=asdict(result))
    except (LabkitError, OSError) as error:
        say(error=str(error))
        return 1
    say(end=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
