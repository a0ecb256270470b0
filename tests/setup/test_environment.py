"""What set-up installs, and how it finds out that it is done."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from setup import PROJECT, VENV, environment, packages


@pytest.fixture
def bare_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A computer without programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "SBIN", str(tmp_path))
    monkeypatch.setattr(packages, "RECORD", str(tmp_path / "record"))
    return tmp_path


def test_one_sentence_says_what_is_missing_and_what_is_lost(
    bare_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = tuple(package for package in packages.LESSONS if package.name in ("tcpdump", "conntrack"))
    packages.provide(wanted, sys.executable)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "labkit: not installed: tcpdump, conntrack (this system has no apt-get: use its own package manager). What is "
        "lost: tcpdump in a terminal (labkit's own captures work); chapter 05, where it lists connections. "
        "Everything else works."
    )


@pytest.mark.as_user
def test_no_root_and_no_sudo_is_said(bare_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bare_path / "apt-get").symlink_to("/bin/true")
    packages.provide(tuple(package for package in packages.LESSONS if package.name == "tcpdump"), sys.executable)
    assert "not installed: tcpdump (that needs root, and there is no sudo). " in capsys.readouterr().err


def test_packages_that_are_there_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_install", lambda names: pytest.fail(f"would install {names}"))
    packages.provide(packages.LESSONS, environment.PYTHON)


def test_the_interpreter_is_everybodys() -> None:
    assert environment.executable_by_all(environment.interpreter())


def test_an_interpreter_in_a_closed_home_is_not_everybodys(tmp_path: Path) -> None:
    python = tmp_path / "home" / "python3"
    python.parent.mkdir(mode=0o700)
    python.symlink_to(sys.executable)
    assert not environment.executable_by_all(str(python))


def test_everything_in_venv_is_everybodys() -> None:
    for folder, names, files in os.walk(VENV):
        for name in [*names, *files]:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if not stat.S_ISLNK(mode):
                assert mode & stat.S_IROTH, f"{folder}/{name} is closed"
                assert not mode & stat.S_IXUSR or mode & stat.S_IXOTH, f"{folder}/{name} is not everybody's to execute"


def test_a_second_set_up_finds_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_make", lambda *arguments: pytest.fail("would install"))
    for kind in ("lessons", "tests"):
        environment.provide(kind, environment.interpreter())


@pytest.mark.parametrize("name", ["setup/lessons.txt", "setup/tests.txt", "setup/uv.txt"])
def test_locks_have_hashes_and_name_no_host(name: str) -> None:
    text = Path(PROJECT, name).read_text()
    pins = re.findall(r"^[A-Za-z0-9._-]+==\S+", text, re.MULTILINE)
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(pins) == len(blocks)
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


def test_lessons_and_tests_agree_on_every_version() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([A-Za-z0-9._-]+==\S+)", Path(PROJECT, name).read_text(), re.MULTILINE))

    assert pins("setup/uv.txt") <= pins("setup/lessons.txt") <= pins("setup/tests.txt")


def test_the_kernel_stands_on_this_venv() -> None:
    spec = json.loads(Path(VENV, "share/jupyter/kernels/labkit/kernel.json").read_text())
    assert os.path.dirname(os.path.realpath(os.path.dirname(spec["argv"][0]))) == os.path.realpath(VENV)


def test_set_up_says_what_it_can_do() -> None:
    result = subprocess.run([sys.executable, "-m", "setup", "--help"], cwd=PROJECT, capture_output=True, text=True)
    assert "uninstall" in result.stdout
