"""Docker is unpacked, not installed. Its packages are made here, and an apt-get of the test's own hands them out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from setup import SetupError, docker, packages

APT_GET = """#!/bin/sh
while [ "$1" != download ]; do [ "$1" ] || exit 0; shift; done
shift
for name do
    case $name in
        docker.io) set -- usr/sbin/dockerd usr/bin/docker usr/bin/dnet usr/share/bash-completion/completions/docker ;;
        libdevmapper1.02.1) set -- lib/x86_64-linux-gnu/libdevmapper.so.1.02.1 ;;
        busybox-static) set -- bin/busybox ;;
        containerd|runc) set -- usr/bin/$name ;;
        *) echo "E: Unable to locate package $name" >&2; exit 100 ;;
    esac
    mkdir -p tree/DEBIAN
    for line in "Package: $name" 'Version: 1' 'Architecture: all' 'Maintainer: a@b' 'Description: a test'; do
        echo "$line" >>tree/DEBIAN/control
    done
    for path do mkdir -p tree/${path%/*}; echo "$name" >tree/$path; chmod 755 tree/$path; done
    dpkg-deb --build -Znone tree $name.deb >/dev/null
    rm -r tree
done
"""
NEEDED = ("cat", "chmod", "dpkg-deb", "mkdir", "rm", "sh", "tar")


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer without Docker, whose apt-get is APT_GET; returns the folder of its programs."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in NEEDED:
        os.symlink(shutil.which(name) or name, programs / name)
    (programs / "apt-get").write_text(APT_GET)
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(packages, "SBIN", str(programs))
    return programs


def unpacked(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_programs_that_a_daemon_needs_are_unpacked_and_no_others(nothing_installed: Path, tmp_path: Path) -> None:
    docker.provide(str(tmp_path / "docker"))
    names = ("dockerd", "docker", "containerd", "runc", "busybox")
    assert unpacked(tmp_path / "docker") == {*(f"bin/{name}" for name in names), "lib/libdevmapper.so.1.02.1"}
    assert sorted(os.listdir(tmp_path)) == ["docker", "programs"]


def test_what_is_unpacked_is_left_alone(nothing_installed: Path, tmp_path: Path) -> None:
    docker.provide(str(tmp_path / "docker"))
    (nothing_installed / "apt-get").write_text("#!/bin/sh\nexit 1\n")
    docker.provide(str(tmp_path / "docker"))
    assert (tmp_path / "docker" / "bin" / "dockerd").exists()


def test_of_an_installed_docker_only_the_busybox_is_missing(nothing_installed: Path, tmp_path: Path) -> None:
    (nothing_installed / "dockerd").touch(mode=0o755)
    docker.provide(str(tmp_path / "docker"))
    assert unpacked(tmp_path / "docker") == {"bin/busybox"}


def test_a_failed_download_is_one_sentence_and_leaves_nothing(nothing_installed: Path, tmp_path: Path) -> None:
    (nothing_installed / "apt-get").write_text("#!/bin/sh\necho 'E: no way out' >&2\nexit 100\n")
    with pytest.raises(SetupError) as error:
        docker.provide(str(tmp_path / "docker"))
    assert str(error.value) == "failed to unpack docker.io, containerd, runc, busybox-static: no way out"
    assert os.listdir(tmp_path) == ["programs"]
