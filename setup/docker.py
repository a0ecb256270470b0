"""A Docker daemon, unpacked and not installed: installed, its service would start with the computer.

Its programs go to `.venv/docker/bin`, a library that the system may lack to `.venv/docker/lib`. Only `labkit dockerd`
and the tests of labkit.docker start them, in a lab machine. No step needs root.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile

from . import VENV, SetupError, packages, say

FOLDER = os.path.join(VENV, "docker")
DOCKER = ("docker.io", "containerd", "runc")
BUSYBOX = "busybox-static"  # installed, it would take the place of the package busybox
WHERE_THERE_IS_ONE = ("docker-cli", "libdevmapper1.02.1")  # some releases have the first, and need the second
PROGRAMS = (
    *("dockerd", "docker", "docker-proxy"),
    *("containerd", "containerd-shim-runc-v2", "runc"),
    "busybox",
)


def provide(folder: str = FOLDER) -> None:
    """A Docker daemon can be started, and an image be made for it. Raises SetupError."""
    installed = f"{os.environ.get('PATH', os.defpath)}:{packages.SBIN}"
    unpacked = os.path.join(folder, "bin")
    if shutil.which("dockerd", path=f"{installed}:{unpacked}") and shutil.which("busybox", path=unpacked):
        return
    wanted = [*(() if shutil.which("dockerd", path=installed) else DOCKER), BUSYBOX]
    say(f"unpacking, not installing: {' '.join(wanted)}")
    with tempfile.TemporaryDirectory(prefix="labkit-", dir=os.path.dirname(folder)) as work:
        if reason := _download(wanted, work):
            raise SetupError(f"failed to unpack {', '.join(wanted)}: {reason}")
        for name in WHERE_THERE_IS_ONE if len(wanted) > 1 else ():
            _download([name], work)
        shutil.rmtree(folder, ignore_errors=True)
        _unpack(work, folder)


def _download(names: list[str], folder: str) -> str:
    """The packages lie in `folder`; returns "", or why not: apt's last complaint, after it has read fresh lists."""
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *names]
    for first in (True, False):
        try:
            result = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        except FileNotFoundError:
            return "this system has no apt-get"
        if result.returncode == 0:
            return ""
        if first and len(names) > 1:
            subprocess.run(["apt-get", "-q", "update"], stdin=subprocess.DEVNULL, capture_output=True)
    return (result.stderr.strip().splitlines() or ["apt-get failed"])[-1].removeprefix("E: ")


def _unpack(work: str, folder: str) -> None:
    """`folder` holds the programs of the packages in `work`, as a whole or not at all."""
    for package in glob.glob(os.path.join(work, "*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, os.path.join(work, "root")], check=True)
    new = os.path.join(work, "new")
    os.makedirs(os.path.join(new, "lib"))
    os.makedirs(os.path.join(new, "bin"))
    for path in glob.glob(os.path.join(work, "root", "**"), recursive=True):
        name = os.path.basename(path)
        if name in PROGRAMS and os.path.basename(os.path.dirname(path)) in ("bin", "sbin") and not os.path.islink(path):
            shutil.move(path, os.path.join(new, "bin", name))
        elif ".so." in name and os.path.isfile(path):
            shutil.move(path, os.path.join(new, "lib", name))
    os.rename(new, folder)
