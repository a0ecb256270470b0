"""The development containers: their steps in a fresh Debian, and what they print when somebody attaches.

The command line of the specification, `devcontainer`, is used where it is installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fresh import images
from fresh.debian import Debian
from fresh.dockerfile import copy
from fresh.engine import Engine, engine

PROJECT = images.PROJECT
WORKSPACE = "/workspaces/labkit"
KINDS = {"": "namespaces", "unprivileged/": "uml"}  # the folder of devcontainer.json, and what it leads to

pytestmark = pytest.mark.timeout(900)


def settings(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PROJECT / ".devcontainer" / folder / "devcontainer.json").read_text())
    return found


class Made(NamedTuple):
    """The image `labkit-dev` in an engine, and the checkout in which `postCreateCommand` has run."""

    engine: Engine
    workspace: Path


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    if reason := images.missing():
        pytest.skip(reason)
    with images.smallest_debian() as debian, engine() as running:
        file = images.build(debian, ".devcontainer/Dockerfile")
        create(debian)
        workspace = debian.root.parent / "labkit"
        (debian.root / WORKSPACE.lstrip("/")).rename(workspace)
        running.load(debian.root, "labkit-dev", file.changes())
        assert debian.run("userdel -r vscode && rm /etc/sudoers.d/vscode").returncode == 0
        running.load(debian.root, file.base)  # so that its steps find everything, without a network
        yield Made(running, workspace)


def create(debian: Debian) -> None:
    """A checkout in the container has what `postCreateCommand` makes, as an ordinary user with sudo, with a network."""
    copy(PROJECT, debian.root / WORKSPACE.lstrip("/"))
    debian.run(f"chown -R vscode:vscode {WORKSPACE}")
    result = images.fetching(debian, f"cd {WORKSPACE} && {settings('')['postCreateCommand']}", "vscode")
    assert result.returncode == 0, result.stdout[-4000:]
    assert "files are as shipped" in result.stdout


@pytest.mark.parametrize(("folder", "kind"), KINDS.items())
def test_who_attaches_is_told_which_kind_runs(made: Made, folder: str, kind: str) -> None:
    options = ["--init", *(["--privileged"] if settings(folder).get("privileged") else [])]
    mount = ["--volume", f"{made.workspace}:{WORKSPACE}", "--workdir", WORKSPACE]
    command = settings(folder)["postAttachCommand"]
    result = made.engine.docker("run", "--rm", *options, *mount, "labkit-dev", "sh", "-c", command)
    assert result.returncode == 0, result.stdout
    assert first_kind(result.stdout) == kind, result.stdout


def first_kind(report: str) -> str:
    """Return the first kind of lab machine that the doctor's report says yes to."""
    found = re.search(r"^  yes +(\S+)", report, re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("folder", KINDS)
def test_every_file_leads_to_a_container_in_which_lab_machines_run(made: Made, folder: str) -> None:
    if not shutil.which("devcontainer"):
        pytest.skip("no devcontainer: npm install --global @devcontainers/cli")
    config = made.workspace / ".devcontainer" / folder / "devcontainer.json"
    where = ["--workspace-folder", str(made.workspace), "--config", str(config)]
    up = devcontainer(made, "up", *where, "--buildkit", "never", "--id-label", f"labkit={folder or 'default'}")
    assert up["outcome"] == "success", up
    try:
        assert up["remoteUser"] == "vscode"
        assert up["remoteWorkspaceFolder"] == WORKSPACE
        run = ["exec", "--user", "vscode", "--workdir", WORKSPACE, up["containerId"], ".venv/bin/labkit", "run"]
        result = made.engine.docker(*run, "--", "ip", "-br", "link")
        assert (result.returncode, result.stdout.split()[:1]) == (0, ["lo"]), result.stdout
    finally:
        made.engine.docker("rm", "--force", up["containerId"])


def devcontainer(made: Made, *words: str) -> dict[str, Any]:
    """Run `devcontainer WORDS` on the engine; return the JSON of its last line."""
    environment = made.engine.environment() | {"PATH": os.environ["PATH"]}
    result = subprocess.run(["devcontainer", *words], env=environment, capture_output=True, text=True, timeout=600)
    assert result.stdout.strip(), result.stderr[-4000:]
    answer: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    assert answer.get("outcome") != "error", f"{answer}\n{result.stderr[-4000:]}"
    return answer
