"""labkit on a computer without Linux: it says so, shows what it can, and never falls over.

macOS is simulated (fixtures/darwin): Python without what only Linux has, and without /proc.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent
DARWIN = PROJECT / "tests" / "fixtures" / "darwin"
MODULES = sorted(
    path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for path in glob.glob("labkit/**/*.py", root_dir=PROJECT, recursive=True)
)


def on_macos(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=PROJECT, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(DARWIN), **environment},
    )  # fmt: skip


def test_the_simulation_is_one() -> None:
    program = "import os, sys; print(sys.platform, hasattr(os, 'pidfd_open'), os.path.exists('/proc'))"
    assert on_macos("-c", program).stdout == "darwin False False\n"


def test_every_module_can_be_imported() -> None:
    program = f"import importlib\nfor name in {MODULES}: importlib.import_module(name)"
    result = on_macos("-c", program)
    assert (result.stderr, result.returncode) == ("", 0)
    assert len(MODULES) > 100


def test_a_topology_draws_itself() -> None:
    program = """
from labkit import Bridge, Container, Topology
topology = Topology(Bridge("br0", "10.0.0.1/24"), Container("red", "10.0.0.2/24", link="br0"))
shown = topology._repr_mimebundle_()
print(shown["image/svg+xml"][:4], "eth0 10.0.0.2/24" in shown["text/plain"])
"""
    assert on_macos("-c", program).stdout == "<svg True\n"


def test_building_it_is_one_sentence() -> None:
    result = on_macos("-c", "import labkit; labkit.build(labkit.Topology(labkit.Container('red')))")
    assert "NotInLabMachine: failed to build" in result.stderr


def test_doctor_says_what_would_help() -> None:
    result = on_macos("-m", "labkit.cli", "doctor")
    assert "Traceback" not in result.stderr
    assert result.returncode == 1
    assert "  no   namespaces       failed to start a lab machine: " in result.stdout
    assert (
        "remedy: namespaces are a part of Linux, and this is macOS: use labkit in a Linux container or a virtual "
        "machine (docs/where-it-runs.md)\n"
    ) in result.stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["run", "true"], 2, "labkit: failed to start a lab machine: "),
        (["run", "--machine", "uml", "true"], 2, "labkit: failed to start User-Mode Linux: it exists for Linux on x86"),
        (["shell"], 2, "labkit: failed to find a lab machine: none of yours is running"),
        (["see"], 2, "labkit: failed to run 'labkit see': this is not a lab machine"),
        (["course", "--dir", "/nowhere", "status"], 2, "labkit: failed to find your copy of the course in '/nowhere'"),
    ],
)
def test_commands_answer_in_one_sentence(words: list[str], status: int, said: str) -> None:
    result = on_macos("-m", "labkit.cli", *words)
    assert (result.returncode, result.stderr.startswith(said)) == (status, True), result.stderr


def test_labkit_lab_opens_recordings_and_their_kernel_says_why(tmp_path: Path) -> None:
    """The server itself is not started: what it would open is looked at, and its kernel asked."""
    program = f"""
import os, sys
from labkit import cli, server
server._become = lambda command, folder: 0
assert cli.main(["lab", "--no-browser", "--dir", {str(tmp_path)!r}]) == 0
from labkit.machine import kernelspec
kernelspec.install({str(tmp_path / "prefix")!r})
os.environ["JUPYTER_PATH"] = {str(tmp_path / "prefix" / "share" / "jupyter")!r}
os.environ["JPY_SESSION_NAME"] = "notebooks/02-veth-pairs.ipynb"
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name="labkit")
manager.start_kernel(cwd={str(tmp_path / "notebooks")!r})
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=30)
said = []
client.execute_interactive("1 + 1", timeout=30, output_hook=said.append)
print([message["content"]["evalue"] for message in said if message["msg_type"] == "error"][0])
client.stop_channels()
manager.shutdown_kernel(now=True)
"""
    result = on_macos("-c", program, XDG_STATE_HOME=str(tmp_path / "state"), IPYTHONDIR=str(tmp_path / "ipython"))
    assert "namespaces are a part of Linux, and this is macOS" in result.stdout, result.stderr
    assert result.stdout.endswith("labkit course reset 02-veth-pairs (then reload the notebook)\n")
    for lesson in sorted((tmp_path / "notebooks").glob("*.ipynb")):
        first, *cells = json.loads(lesson.read_text())["cells"]
        assert first["source"].startswith("**A recording.**"), lesson
        assert "What would make it live: namespaces are a part of Linux, and this is macOS: use " in first["source"]
        assert any("image/svg+xml" in output.get("data", {}) for cell in cells for output in cell.get("outputs", ()))
