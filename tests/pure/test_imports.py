"""Modules import down only, and `import labkit` is cheap. (That `__all__` is sorted is ruff's to say.)"""

from __future__ import annotations

import ast
import glob
import os
import subprocess
import sys

import pytest

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# What each part of labkit may import: what stands below it. `see` is pure functions of data: everybody may show
# themselves with it, inside a function, and it knows nobody.
ORDER = ["errors", "net", "state", "packets", "tracing", "lab", "docker", "kube", "check", "live", "grading", "author"]
MAY = {name: set(ORDER[:place]) for place, name in enumerate(ORDER)}
MAY["see"] = {"errors", "net", "state", "packets", "tracing", "lab"}
for _above in ("docker", "kube", "check", "live", "grading", "author"):
    MAY[_above].add("see")
MAY["machine"] = {"errors", "net", "recording"}
for _above in ("grading", "author"):
    MAY[_above].add("machine")
MAY["grading"].add("course")  # where the learner's copy, and so their progress, lies
MAY["needs"] = {"errors", "net", "machine"}
MAY["course"] = {"errors", "machine", "recording"}  # what this computer can run decides what is delivered
MAY["recording"] = {"errors"}
MAY["server"] = {"errors", "course"}
MAY["saved"] = set()
MAY["author"].add("saved")
for _above in ("grading", "author"):
    MAY[_above].add("course")
MAY["commands"] = {"errors", "net", "state", "packets", "tracing", "see", "docker", "kube"}
MAY["commands"].add("grading")  # its files, written as a whole
MAY["cli"] = MAY["in_guest"] = MAY["completion"] = MAY["pytest_plugin"] = {
    *ORDER,
    "see",
    "machine",
    "needs",
    "course",
    "server",
    "commands",
    "cli",
    "completion",
}
MAY["__init__"] = MAY["cli"]  # it names what others make, and imports it when asked; see the tests at the end


def modules() -> list[str]:
    paths = glob.glob("labkit/**/*.py", root_dir=PROJECT, recursive=True)
    return sorted(path for path in paths if not path.startswith("labkit/machine/programs/"))


def part_of(path: str) -> str:
    """labkit/net/link.py → net, labkit/cli.py → cli"""
    return path.split("/")[1].removesuffix(".py")


def imports(path: str) -> list[tuple[str, int, bool]]:
    """Return (part of labkit, line, inside a function) for each import of labkit that runs."""
    with open(os.path.join(PROJECT, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found: list[tuple[str, int, bool]] = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: say labkit's modules by their full names"
            module = node.module or ""
            names = [f"labkit.{alias.name}" for alias in node.names] if module == "labkit" else [module]
        found.extend((name.split(".")[1], node.lineno, inside) for name in names if name.startswith("labkit."))
        deeper = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, deeper)

    visit(tree, False)
    return found


@pytest.mark.parametrize("path", modules())
def test_imports_point_down(path: str) -> None:
    mine = part_of(path)
    assert mine in MAY, f"{path}: say in {__name__} where '{mine}' stands"
    for part, line, inside in imports(path):
        shows_itself = part == "see" and inside
        if part.startswith("_") or part == mine or shows_itself or not known(part):
            continue
        assert part in MAY[mine], f"{path}:{line}: {mine} imports {part}, which does not stand below it"


def known(part: str) -> bool:
    """Is it a module? `from labkit import Topology` names a thing, which is for users of labkit."""
    return any(os.path.exists(os.path.join(PROJECT, "labkit", name)) for name in (part, f"{part}.py"))


@pytest.mark.parametrize("path", [path for path in modules() if part_of(path) not in ("__init__", "cli")])
def test_the_library_does_not_use_its_own_front_door(path: str) -> None:
    with open(os.path.join(PROJECT, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "labkit":
            for alias in node.names:
                assert known(alias.name) or alias.name.startswith("__"), (
                    f"{path}:{node.lineno}: import {alias.name} from its module"
                )


@pytest.mark.parametrize("path", modules())
def test_a_module_says_which_question_it_answers(path: str) -> None:
    with open(os.path.join(PROJECT, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    assert ast.get_docstring(tree), f"{path} has no docstring"


def in_a_fresh_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_labkit_is_cheap() -> None:
    heavy = "{'pyroute2', 'scapy', 'IPython', 'ipykernel', 'zmq', 'asyncio', 'nbformat', 'anywidget'}"
    assert in_a_fresh_python(f"import sys, labkit; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_every_name_at_the_top_is_there() -> None:
    listed = "import labkit; print([name for name in labkit.__all__ if getattr(labkit, name, None) is None])"
    assert in_a_fresh_python(listed) == "[]"
