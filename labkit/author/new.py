"""Where does a new lesson or exercise start? From a small one that already has the form."""

from __future__ import annotations

import os
import re
from typing import Any

import nbformat.v4

from labkit.author.build import BEGIN, END, written
from labkit.errors import Duplicate, WrongUse
from labkit.grading import exercises
from labkit.grading.files import write_text

__all__ = ["exercise", "lesson"]

_LESSON = re.compile(r"[0-9]{2}-[a-z0-9][a-z0-9-]*")
_EXERCISE = re.compile(rf"{_LESSON.pattern}/[a-z0-9][a-z0-9-]*")

_METADATA = {
    "kernelspec": {"display_name": "labkit", "language": "python", "name": "labkit"},
    "language_info": {"name": "python"},
}

_CHECKS = '''"""What does the exercise ask? One line."""

from labkit.check import Exercise, Fault, does_not_reach, has_link, namespace_exists, reaches

exercise = Exercise(
    "{id}",
    title="{title}",
    checks=[
        namespace_exists("red", hints=["`ip netns` has a verb for it.", "ip netns add NAME"]),
        has_link("red", "lo", is_up=True, after=["namespace-red"], hints=["`ip -n red link` shows lo's state."]),
        does_not_reach("red", "10.0.0.1", control=reaches("red", "127.0.0.1"), hints=["Who made a cable?"]),
    ],
    faults=[
        Fault("lo left down", replace={{"build": "!ip netns add red"}}, red=["red-lo"]),
        Fault(
            "another name",
            replace={{"build": "!ip netns add rad\\n!ip -n rad link set lo up"}},
            red=["namespace-red"],
        ),
        Fault(
            "it has the address itself",
            replace={{
                "build": "!ip netns add red\\n!ip -n red link set lo up\\n!ip -n red address add 10.0.0.1/32 dev lo"
            }},
            red=["red-does-not-reach-10.0.0.1"],
        ),
    ],
)
'''


def exercise(id_: str) -> list[str]:
    """Write solutions/CHAPTER/NAME/ with a small exercise that keeps the law, to be changed. Return the paths.

    Raises WrongUse for another form of id, Duplicate where it exists."""
    if not _EXERCISE.fullmatch(id_):
        raise WrongUse(f"failed to start exercise '{id_}': an id is CHAPTER/NAME, as in 04-routing/two-nets")
    folder = os.path.join(exercises.solutions_folder(), id_)
    _free(folder, "exercise", id_)
    name = id_.rpartition("/")[2]
    title = name.replace("-", " ").capitalize()
    cells = [
        _text("title", f"# {title}\n\nWhat it is about, in two sentences. Chapter: {id_.partition('/')[0]}."),
        _code("start", "import labkit\n\n!ip netns delete red 2>/dev/null"),
        _text("task", "**Your task.** Make a namespace called red, and set its lo up."),
        _code("build", f"{BEGIN}\n!ip netns add red\n!ip -n red link set lo up\n{END}"),
        _text("look", "What does the judge say?"),
        _code("check", f'labkit.check_exercise("{id_}")'),
    ]
    return _write(
        {
            os.path.join(folder, f"{name}.ipynb"): _notebook(cells, {"labkit": {"exercise": id_, "needs": []}}),
            os.path.join(folder, "checks.py"): _CHECKS.format(id=id_, title=title),
        }
    )


def lesson(name: str) -> list[str]:
    """Write notebooks/NAME.ipynb with the parts that every lesson has. Return the paths. Raises WrongUse, Duplicate."""
    if not _LESSON.fullmatch(name):
        raise WrongUse(f"failed to start lesson '{name}': a name is its number and words, as in 04-routing")
    path = os.path.join(os.path.dirname(exercises.solutions_folder()), "notebooks", f"{name}.ipynb")
    _free(path, "lesson", name)
    title = f"{name[:2]} {name[3:].replace('-', ' ').capitalize()}"
    cells = [
        _text(
            "title",
            f"# {title}\n\n**The one question?**\n\nThe guess that most people make, and what is wrong with it.",
        ),
        _code("start", "from labkit import Bridge, Container, Topology, build"),
        _text("picture", "What will be built:"),
        _code(
            "topology",
            'topology = Topology(Bridge("br0", "10.0.0.1/24"), Container("red", "10.0.0.2/24", link="br0"))\ntopology',
        ),
        _text(
            "need",
            "## One idea\n\nWhy it is needed.\n\n**Predict.** Write down your guess before you run the next cell.",
        ),
        _code("run", 'lab = build(topology)\nlab.ping("red", "10.0.0.1")'),
        _text("explain", "What was seen, and why."),
        _text("end", "## Summary\n\n## Exercises\n\n## Real\n\n## Sources"),
    ]
    return _write({path: _notebook(cells, {})})


def _notebook(cells: list[Any], metadata: dict[str, Any]) -> str:
    return written(nbformat.v4.new_notebook(cells=cells, metadata={**_METADATA, **metadata}))  # type: ignore[no-untyped-call]


def _text(id_: str, source: str) -> Any:
    return nbformat.v4.new_markdown_cell(source, id=id_)  # type: ignore[no-untyped-call]


def _code(id_: str, source: str) -> Any:
    return nbformat.v4.new_code_cell(source, id=id_)  # type: ignore[no-untyped-call]


def _free(path: str, what: str, name: str) -> None:
    if os.path.exists(path):
        raise Duplicate(f"failed to start {what} '{name}': it exists", f"in {path}")


def _write(files: dict[str, str]) -> list[str]:
    for path, text in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_text(path, text)
    return list(files)
