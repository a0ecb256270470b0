"""Images made by the project's Dockerfiles, of a Debian 12 by debootstrap: slow once, a minute from then on.

What was fetched is kept in .venv/fetched/, which goes with .venv; the steps themselves are taken each time.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fresh.debian import TRUST, Debian, authorities, bootstrap, mirror
from fresh.dockerfile import Dockerfile

PROJECT = Path(__file__).parent.parent.parent
FETCHED = PROJECT / ".venv" / "fetched"
CACHES = {"apt": "/var/cache/apt/archives", "python": "/fetched"}
TOOLS = ("coverage", "iniconfig", "nbval", "pluggy", "pytest", "pytest-timeout")  # what nbval needs beside labkit


def missing() -> str:
    """Return what this computer lacks to make images and run them, or "".

    Set-up does not install docker.io: its service would start with the computer, and change its network."""
    for program, package in (("debootstrap", "debootstrap"), ("dockerd", "docker.io"), ("docker", "docker.io")):
        if not shutil.which(program):
            return f"no {program}: apt-get install {package}"
    return "" if mirror("bookworm") else "this computer's apt knows no mirror of Debian 12"


@contextlib.contextmanager
def smallest_debian() -> Iterator[Debian]:
    """Yields debootstrap's smallest Debian 12, as the image debian:bookworm-slim is one."""
    FETCHED.mkdir(parents=True, exist_ok=True)
    kept = FETCHED / "debian-12.tar"
    folder = Path(tempfile.mkdtemp(prefix="labkit-image-", dir="/var/tmp"))
    try:
        if not kept.exists():
            fresh = bootstrap(folder / "new", packages="")
            _settle(fresh.root)
            subprocess.run(["tar", "-C", str(fresh.root), "-cf", f"{kept}.new", "."], check=True)
            Path(f"{kept}.new").rename(kept)
        (folder / "root").mkdir()
        subprocess.run(["tar", "-C", str(folder / "root"), "-xf", str(kept)], check=True)
        yield Debian(folder / "root", _mounts())
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


def _settle(root: Path) -> None:
    """What debootstrap leaves of its packages is not there in an image either."""
    for package in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
        package.unlink()


def _mounts() -> dict[Path, str]:
    for name in CACHES:
        (FETCHED / name).mkdir(exist_ok=True)
        (FETCHED / name).chmod(0o1777)  # every user of the image keeps packages there
    return {FETCHED / name: path for name, path in CACHES.items()}


def _variables() -> str:
    """Return shell assignments: where fetched packages are kept, and whom this computer trusts, as long as steps run.

    The file of authorities is a copy, since the package ca-certificates writes the image's own."""
    words = ["PIP_CACHE_DIR=/fetched/pip-$(id -u)", "UV_CACHE_DIR=/fetched/uv-$(id -u)"]
    if path := authorities():
        shutil.copyfile(path, FETCHED / "python" / "authorities")
        words += [f"{name}=/fetched/authorities" for name in TRUST]
    return f"export {' '.join(words)}"


def fetching(debian: Debian, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    """Run a shell command in `debian`, with the computer's network."""
    return debian.run(f"{_variables()}\n{command}", user, limit=900)


def build(debian: Debian, name: str) -> Dockerfile:
    """`debian` holds what the project's Dockerfile `name` makes; returns the Dockerfile."""
    file = Dockerfile(PROJECT / name, PROJECT)
    file.carry_out(debian, _variables())
    return file


def tools(debian: Debian) -> Path:
    """Return a folder of Python packages with nbval in it, for the Python of `debian`, in the lock file's versions."""
    lock = (PROJECT / "setup" / "tests.txt").read_text()
    wanted = [found[0] for tool in TOOLS if (found := re.search(rf"^{tool}==\S+", lock, re.MULTILINE))]
    assert len(wanted) == len(TOOLS)
    folder = FETCHED / "tools"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    inside = Debian(debian.root, {**debian.mounts, folder: "/tools"})
    command = f"/opt/labkit/.venv/bin/python -m pip install -q --no-deps --target /tools {' '.join(wanted)}"
    result = fetching(inside, command)
    assert result.returncode == 0, result.stdout
    return folder
