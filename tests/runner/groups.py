"""Which tests are there, and what starts them?"""

from __future__ import annotations

from typing import NamedTuple

BIN = ".venv/bin"
PYTEST = (f"{BIN}/python", "-m", "pytest", "-q", "--no-header")
PARALLEL = ("-n", "2", "--dist", "loadscope")
NBVAL = (
    "--nbval",
    "--nbval-kernel-name=labkit",
    "--nbval-cell-timeout=60",
    "--nbval-sanitize-with=tests/books/nbval.cfg",
)
NBVAL_UML = ("--nbval", "--nbval-kernel-name=labkit-uml", *NBVAL[2:])


class Group(NamedTuple):
    """Tests that share a process; paths are relative to the project, {results} is where results go."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    in_machines: bool = False  # nothing of it can run where no lab machine can be started
    differs_as_root: bool = False
    root_only: bool = False
    only_when_all: bool = False


GROUPS = {
    group.name: group
    for group in (
        Group(
            "lint",
            (
                (f"{BIN}/python", "-m", "ruff", "check", "--no-cache"),
                (f"{BIN}/python", "-m", "ruff", "format", "--check", "--no-cache"),
                (f"{BIN}/python", "-m", "mypy", "--cache-dir=/dev/null"),
            ),
        ),
        Group("pure", ((*PYTEST, *PARALLEL, "tests/pure"),)),
        Group("setup", ((*PYTEST, "tests/setup"),), differs_as_root=True),
        Group(
            "live",
            ((f"{BIN}/labkit", "run", "--", *PYTEST, "tests/live"),),
            in_machines=True,
            differs_as_root=True,
        ),
        Group("machine", ((*PYTEST, "tests/machine"),), differs_as_root=True),
        Group("books", ((*PYTEST, *NBVAL, *PARALLEL, "notebooks", "solutions", "tests/books"),), in_machines=True),
        Group(
            "uml",
            (
                (*PYTEST, *NBVAL_UML, *PARALLEL, "notebooks"),
                (*PYTEST, "tests/uml"),
            ),
        ),
        Group(
            "uml-all",
            (
                (f"{BIN}/labkit", "run", "--machine=uml", "--write={results}", "--", *PYTEST, "tests/live"),
                (*PYTEST, *NBVAL_UML, *PARALLEL, "solutions"),
            ),
            only_when_all=True,
        ),
        Group("browser", ((*PYTEST, "tests/browser"),), in_machines=True),
        Group("fresh", ((*PYTEST, "tests/fresh/test_fresh_debian.py"),), root_only=True, only_when_all=True),
        Group(
            "containers",
            ((*PYTEST, "tests/fresh/test_binder.py"), (*PYTEST, "tests/fresh/test_devcontainer.py")),
            root_only=True,
            only_when_all=True,
        ),
    )
}
