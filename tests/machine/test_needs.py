"""What a notebook needs decides its kernel; where none has it, or none runs, the learner is told so in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from labkit.machine import suits
from labkit.machine.features import FEATURES
from machine.conftest import LABKIT, with_uml

NOTEBOOKS = Path(__file__).parent.parent / "fixtures" / "needs"
NOTHING = """
mount --bind /dev/null "$UML"
for kind in user net; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done
exec "$@"
"""


def run(notebook: Any, kernel: str, folder: Path) -> Any:
    client = NotebookClient(notebook, kernel_name=kernel, timeout=60, resources={"metadata": {"path": str(folder)}})
    return client.execute()


def results(notebook: Any) -> list[list[Any]]:
    return [
        [output.get("text") or output["data"]["text/plain"] for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@with_uml
@pytest.mark.parametrize("name", ["ip_vs", "ebpf"])
def test_a_notebook_runs_on_the_kernel_that_its_metadata_chose(kernels: str, name: str, tmp_path: Path) -> None:
    """The outputs are the committed ones on either kind: a lab machine of kind uml is not seen in them."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    recorded = results(notebook)
    needs = suits.needs_of(notebook)
    kernel = suits.kernel_for(needs)
    assert kernel == ("labkit-uml" if suits.lacking_here(needs) else "labkit")

    assert results(run(notebook, kernel, tmp_path)) == recorded
    assert any(recorded)


@pytest.mark.as_user
def test_an_ordinary_user_loads_ebpf_in_user_mode_linux_only() -> None:
    assert suits.lacking_here(("ebpf", "veth")) == ("ebpf",)


def lacking() -> str:
    """Return a feature that User-Mode Linux has, and kind namespaces here has not."""
    candidates = [feature.name for feature in FEATURES if shutil.which(feature.program) and feature.name != "ipset"]
    found = suits.lacking_here([name for name in candidates if name not in suits.UML_LACKS])
    if not found:
        pytest.skip("the kernel of this computer has all that User-Mode Linux has")
    return found[0]


@with_uml
def test_the_first_cell_says_which_kernel_to_choose(kernels: str, tmp_path: Path) -> None:
    name = lacking()
    cell = nbformat.v4.new_code_cell(f'import labkit\nlabkit.needs("veth", "{name}")')
    with pytest.raises(CellExecutionError) as refused:
        run(nbformat.v4.new_notebook(cells=[cell]), "labkit", tmp_path)
    (output,) = [output for output in cell.outputs if output.output_type == "error"]
    sentence, remedy = output.evalue.split("\n")
    assert sentence.startswith(f"this needs {name}, "), refused.value
    assert remedy.startswith("choose the kernel labkit-uml: Kernel, Change Kernel")


@with_uml
def test_in_user_mode_linux_the_sentence_leads_back(tmp_path: Path) -> None:
    program = "import labkit; labkit.needs('veth', 'nftables')"
    result = subprocess.run(
        [*LABKIT, "run", "--machine", "uml", "--", sys.executable, "-c", program],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.stderr.endswith(
        "Unavailable: this needs nftables, packet filter and NAT, the present one: "
        "the kernel of User-Mode Linux has none\n"
        "run it with: labkit run --machine namespaces, which has it if this computer's own kernel does\n"
    )


@with_uml
def test_user_mode_linux_lacks_what_kernel_for_thinks_it_lacks(tmp_path: Path) -> None:
    command = [*LABKIT, "run", "--machine", "uml", "--", *LABKIT, "doctor", "--json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    answers = json.loads(result.stdout)["features"]["uml"]
    programs = {feature.name: feature.program for feature in FEATURES}
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    there = {name for name, program in programs.items() if shutil.which(program, path=path)}
    lacks = {answer["name"] for answer in answers if not answer["works"]} & there
    assert lacks == suits.UML_LACKS


def where_nothing_runs(program: str, **environment: str) -> str:
    """Run Python where the kernel gives no namespaces and there is no User-Mode Linux."""
    uml = shutil.which("linux.uml") or "/dev/null"
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", NOTHING, "sh", sys.executable, "-c", program],
        capture_output=True, text=True, timeout=90,
        env={**os.environ, "UML": uml, **environment},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_where_neither_kind_runs_the_reasons_are_one_error() -> None:
    said = where_nothing_runs("from labkit.machine import suits; print(suits.nothing_runs())")
    assert said.startswith(
        "failed to start a lab machine: the kernel gives this user no namespaces (no space left on device)\n"
        "a setting forbids it: sysctl user.max_user_namespaces=10000 user.max_net_namespaces=10000"
    )
    assert "User-Mode Linux would do instead: sudo apt install user-mode-linux" in said


def test_where_neither_kind_runs_a_lesson_is_a_recording_and_its_kernel_says_how_to_get_it_back(
    kernels: str, tmp_path: Path
) -> None:
    """The course as it is, delivered there; then its first cell is run."""
    program = f"""
import json, os, sys
sys.path.insert(0, "tests")
from labkit import course, recording
from machine.test_kernel import Kernel
folder = {str(tmp_path / "course")!r}
course.refresh(folder)
lesson = json.load(open(os.path.join(folder, "notebooks/00-your-lab-machine.ipynb")))
assert recording.is_recording(lesson) and recording.was_run(lesson)
kernel = Kernel(cwd=os.path.join(folder, "notebooks"))
print(next(message["evalue"] for message in kernel.run("1 + 1") if message["msg_type"] == "error"))
kernel.close()
"""
    said = where_nothing_runs(program, JPY_SESSION_NAME="notebooks/00-your-lab-machine.ipynb")
    assert said.startswith("failed to start a lab machine: ")
    assert said.endswith(
        "\nThe recorded output comes back with: labkit course reset 00-your-lab-machine (then reload the notebook)\n"
    )
