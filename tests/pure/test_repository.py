"""What must hold of the files themselves."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent

# The addresses of package registries: where packages come from is the computer's to say. Spelled in two halves.
REGISTRIES = re.compile(
    "|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "deb" + r"\.debian", "npm" + r"js\.(com|org)"])
)
ONE_MACHINE = re.compile(r"(?<![\w.~])/(?:root|work)/[A-Za-z0-9._-]+")


def tracked() -> list[str]:
    files = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    return [name for name in files if name and (PROJECT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    return [(name, (PROJECT / name).read_text(encoding="utf-8", errors="replace")) for name in tracked()]


def test_no_file_names_a_package_registry() -> None:
    assert [name for name, text in texts() if REGISTRIES.search(text)] == []


def test_no_file_names_a_folder_of_one_computer() -> None:
    found = {name: ONE_MACHINE.findall(text) for name, text in texts()}
    assert {name: paths for name, paths in found.items() if paths} == {}


def test_no_file_is_large() -> None:
    assert [name for name in tracked() if (PROJECT / name).stat().st_size > 1_000_000] == []


def test_ci_runs_the_command_of_the_readme() -> None:
    assert (PROJECT / ".ci" / "run").read_text().rstrip().endswith("exec make test")
    assert os.access(PROJECT / ".ci" / "run", os.X_OK)
    assert "    make test\n" in (PROJECT / "README.md").read_text()


def test_every_make_target_that_a_text_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "docs/README.md"):
        named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", (PROJECT / name).read_text(), re.MULTILINE))
        assert named <= targets, name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/README.md"])
def test_every_link_leads_somewhere(name: str) -> None:
    path = PROJECT / name
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert "://" in target or (path.parent / target).exists(), f"{name} → {target}"


def test_every_subcommand_explains_itself() -> None:
    from labkit.cli import COMMANDS

    for command in COMMANDS:
        labkit = PROJECT / ".venv" / "bin" / "labkit"
        result = subprocess.run([labkit, command.name, "--help"], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert len(result.stdout.split()) > 20, command.name


def test_the_lock_holds_what_pyproject_asks_for() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = {
        "lessons.txt": project["project"]["dependencies"] + project["dependency-groups"]["setup"],
        "tests.txt": project["dependency-groups"]["test"],
    }
    for lock, requirements in wanted.items():
        pinned = {
            name.lower()
            for name in re.findall(r"^([A-Za-z0-9._-]+)==", (PROJECT / "setup" / lock).read_text(), re.MULTILINE)
        }
        names = {re.split(r"[<>=!~ \[;]", requirement)[0].lower() for requirement in requirements}
        assert names <= pinned, f"{lock}: run `make lock`"
