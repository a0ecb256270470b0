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
# What a guest may not do, and what is left when it dies: of User-Mode Linux the part that differs as root.
WALLS = ("tests/machine/test_uml_walls.py", "tests/machine/test_uml_death.py")
LAW = "tests/books/test_exercise_law.py"
BESIDE_DOCKER = ("tests/docker/test_docker_daemon.py", "tests/docker/test_docker_names.py")
NBVAL_UML = ("--nbval", "--nbval-kernel-name=labkit-uml", *NBVAL[2:])


class Group(NamedTuple):
    """Tests that share a process; paths are relative to the project, {results} is where results go."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    machine: str = ""  # nothing of it can run where no lab machine of this kind can be started
    limit: float = 12 * 60  # seconds for one command: what hangs is ended, and counted as failed
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
            machine="namespaces",
            differs_as_root=True,
        ),
        Group(
            "docker",
            ((f"{BIN}/labkit", "run", "--", *PYTEST, "tests/docker/test_docker_recorded.py"),),
            machine="namespaces",
        ),
        Group(
            "dockerd",
            (
                (f"{BIN}/labkit", "run", "--", *PYTEST, *BESIDE_DOCKER),
                (*PYTEST, "tests/docker/test_docker_machine.py"),
            ),
            machine="namespaces",
            root_only=True,
        ),
        Group("machine", ((*PYTEST, *PARALLEL, "tests/machine", "--ignore-glob=*/test_uml*"),), differs_as_root=True),
        Group("walls", ((*PYTEST, *WALLS),), machine="uml", differs_as_root=True),
        Group(
            "books",
            (
                (*PYTEST, *NBVAL, *PARALLEL, "notebooks", "solutions", "tests/books", f"--ignore={LAW}"),
                (*PYTEST, "-n", "2", "--dist", "worksteal", LAW),  # not by file, which would be one after the other
            ),
            machine="namespaces",
        ),
        Group(
            "uml",
            (
                (*PYTEST, *NBVAL_UML, *PARALLEL, "notebooks"),
                (*PYTEST, "tests/uml"),
                (*PYTEST, "tests/machine", "--ignore-glob=*/test_[!u]*", *(f"--ignore={path}" for path in WALLS)),
            ),
            machine="uml",
        ),
        Group(
            "uml-all",
            (
                (f"{BIN}/labkit", "run", "--machine=uml", "--write={results}", "--", *PYTEST, "tests/live"),
                (*PYTEST, *NBVAL_UML, *PARALLEL, "solutions"),
            ),
            machine="uml",
            limit=2 * 60 * 60,
            only_when_all=True,
        ),
        Group("browser", ((*PYTEST, "tests/browser"),), machine="namespaces"),
        Group("fresh", ((*PYTEST, "tests/fresh/test_fresh_debian.py"),), root_only=True, only_when_all=True),
        Group(
            "containers",
            ((*PYTEST, "tests/fresh/test_binder.py"), (*PYTEST, "tests/fresh/test_devcontainer.py")),
            root_only=True,
            only_when_all=True,
        ),
    )
}
