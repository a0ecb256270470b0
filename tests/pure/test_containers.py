"""The files from which images and development containers are made agree with each other and with the project."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from fresh.dockerfile import Dockerfile
from traitlets.config import Config

from labkit import server
from labkit.cli import COMMANDS

PROJECT = Path(__file__).parent.parent.parent
FILES = ("binder/Dockerfile", ".devcontainer/Dockerfile")
DEVCONTAINERS = (".devcontainer/devcontainer.json", ".devcontainer/unprivileged/devcontainer.json")


def dockerfile(name: str) -> Dockerfile:
    return Dockerfile(PROJECT / name, PROJECT)


def devcontainer(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PROJECT / name).read_text())
    return found


def test_both_dockerfiles_start_from_one_dated_debian() -> None:
    assert len({dockerfile(name).base for name in FILES}) == 1
    assert re.fullmatch(r"debian:bookworm-\d{8}-slim", dockerfile(FILES[0]).base)


def test_binders_image_has_the_variables_of_labkit_lab() -> None:
    file = dockerfile("binder/Dockerfile")
    wanted = server.environment("/home/jovyan/labkit-course")
    assert {name: file.variables.get(name) for name in wanted} == wanted


def test_binders_image_runs_what_it_is_told_as_uid_1000() -> None:
    words = [one.word for one in dockerfile("binder/Dockerfile").instructions]
    assert "ENTRYPOINT" not in words
    assert dockerfile("binder/Dockerfile").changes()[-2:] == [
        "USER 1000",
        'CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser"]',
    ]


def test_an_instruction_that_nobody_carries_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:1\nADD a b\n")
    with pytest.raises(AssertionError, match="does not know 'ADD a b'"):
        Dockerfile(tmp_path / "Dockerfile", tmp_path)


def test_binders_lock_has_the_versions_of_the_tests() -> None:
    pinned = re.findall(r"^\S+==\S+", (PROJECT / "setup" / "binder.txt").read_text(), re.MULTILINE)
    assert [word.split("==")[0] for word in pinned] == ["notebook"]
    assert f"\n{pinned[0]} " in (PROJECT / "setup" / "tests.txt").read_text()


def test_a_configured_server_opens_the_course(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABKIT_COURSE", str(tmp_path / "course"))
    config = Config()
    server.configure(config)
    assert config.ServerApp.root_dir == str(tmp_path / "course")
    assert config.LabApp.default_url == f"/lab/tree/{server.FIRST}"
    assert config.MultiKernelManager.default_kernel_name == "labkit"
    assert "ip" not in config.ServerApp
    assert (tmp_path / "course" / server.FIRST).exists()
    assert os.path.isdir(config.LabApp.app_settings_dir)


def test_the_development_containers_differ_only_in_privileges() -> None:
    privileged, unprivileged = (devcontainer(name) for name in DEVCONTAINERS)
    assert privileged.pop("privileged") is True
    for one in (privileged, unprivileged):
        del one["name"], one["build"]
    assert privileged == unprivileged
    assert "runArgs" not in unprivileged


@pytest.mark.parametrize("name", DEVCONTAINERS)
def test_what_a_devcontainer_names_is_there(name: str) -> None:
    found = devcontainer(name)
    assert (PROJECT / name).parent.joinpath(found["build"]["dockerfile"]).resolve() == PROJECT / FILES[1]
    assert f"USER {found['remoteUser']}" in dockerfile(FILES[1]).changes()
    commands = f"{found['postCreateCommand']} && {found['postAttachCommand']}"
    assert set(re.findall(r"bin/labkit (\S+)", commands)) <= {command.name for command in COMMANDS}
    assert re.search(r"^setup:", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert commands.startswith("make setup && ")
    for path in found["customizations"]["codespaces"]["openFiles"]:
        assert (PROJECT / path.removeprefix("course/")).exists()
