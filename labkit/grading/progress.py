"""labkit progress: what is done, and what is next? Kept in the learner's course folder, in .labkit/progress.json."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from labkit.check import Result
from labkit.course import default_folder
from labkit.grading import exercises
from labkit.grading.files import write_json

__all__ = ["Recorded", "add_arguments", "course_folder", "main", "read", "record", "text"]

FOLDER = ".labkit"


@dataclass(frozen=True)
class Recorded:
    """What recording an attempt told: how many hints to show for each failed check, and a sentence if it went wrong."""

    stages: dict[str, int]
    problem: str = ""


def course_folder(start: str | None = None) -> str | None:
    """Return the nearest folder, from `start` upwards, that is a copy of the course (it holds .labkit), or None."""
    folder = os.path.abspath(start or os.getcwd())
    while not os.path.isdir(os.path.join(folder, FOLDER)):
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)
    return folder


def record(course: str | None, exercise: str, results: Sequence[Result]) -> Recorded:
    """Note an attempt: the best score, and one more failed attempt for each check that failed. Never raises OSError."""
    failed = [result.name for result in results if result.status == "failed"]
    if course is None:
        return Recorded(dict.fromkeys(failed, 1))
    try:
        with _locked(course):
            data, problem = read(course)
            entry = data["exercises"].setdefault(exercise, {"best": 0, "attempts": {}})
            score = sum(result.points for result in results)
            entry["best"] = max(score, entry["best"])
            entry["max_score"] = sum(result.max_points for result in results)
            for name in failed:
                entry["attempts"][name] = entry["attempts"].get(name, 0) + 1
            write_json(_path(course), data)
            return Recorded({name: entry["attempts"][name] for name in failed}, problem)
    except OSError as error:
        return Recorded(dict.fromkeys(failed, 1), f"your progress could not be saved in {course}: {error.strerror}")


def read(course: str) -> tuple[dict[str, Any], str]:
    """Return what is recorded, and a sentence if the file was damaged; that file is then kept under another name."""
    empty: dict[str, Any] = {"version": 1, "exercises": {}}
    path = _path(course)
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        for entry in data["exercises"].values():
            entry["best"], entry["attempts"] = int(entry["best"]), {k: int(v) for k, v in entry["attempts"].items()}
    except FileNotFoundError:
        return empty, ""
    except (ValueError, TypeError, KeyError, AttributeError):
        aside = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"
        os.replace(path, aside)
        return empty, f"the record of your progress was damaged; it is kept as {aside}, and a new one begins"
    return data, ""


def text(course: str, ids: Sequence[str]) -> str:
    """Return what is done and what is next, as lines of text."""
    data, problem = read(course)
    lines = [f"! {problem}"] if problem else []
    recorded, following = data["exercises"], ""
    chapter = ""
    for id_ in ids:
        if id_.partition("/")[0] != chapter:
            chapter = id_.partition("/")[0]
            lines.append(chapter)
        entry = recorded.get(id_, {})
        best, most = entry.get("best", 0), entry.get("max_score")
        done = most is not None and best >= most
        following = following or ("" if done else id_)
        sign = "✓" if done else "·" if most is None else "…"
        lines.append(f"  {sign} {id_.partition('/')[2]}" + ("" if most is None else f"  {best} of {most} points"))
    done_count = sum(1 for line in lines if line.startswith("  ✓"))
    lines.append(f"{done_count} of {len(ids)} exercises done" + (f"; next: {following}" if following else ""))
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit progress` understands."""
    parser.description = "Show which exercises are done, how far the others are, and which is next."
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", help="your copy of the course (default: the one of `labkit lab`)"
    )


def main(arguments: argparse.Namespace) -> int:
    """Print the progress; return 0, or 2 where there is no copy of the course."""
    course = course_folder(arguments.folder) or (None if arguments.folder else course_folder(default_folder()))
    if course is None:
        print("labkit progress: there is no copy of the course here; start one with: labkit lab")
        return 2
    print(text(course, exercises.ids()))
    return 0


@contextmanager
def _locked(course: str) -> Iterator[None]:
    """Hold the lock of the record: two notebooks may finish at the same moment."""
    with open(os.path.join(course, FOLDER, "progress.lock"), "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _path(course: str) -> str:
    return os.path.join(course, FOLDER, "progress.json")
