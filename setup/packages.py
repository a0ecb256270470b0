"""Which programs of the system does the course need, and what if one cannot be installed?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import NamedTuple

from . import PROJECT, SetupError, policy, say

RECORD = os.path.join(PROJECT, ".setup-packages")
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # not in the PATH of Debian's ordinary users


class Package(NamedTuple):
    """A package, the programs that show that it is there, and what is lost without it."""

    name: str
    programs: tuple[str, ...]
    lost: str


LESSONS = (
    Package("python3-venv", (), "nothing works without it"),
    Package("iproute2", ("ip", "bridge", "ss", "tc"), "no lesson works without it"),
    Package("iputils-ping", ("ping",), "cells that call `ping`"),
    Package("procps", ("sysctl", "ps"), "cells that call `sysctl` or `ps`"),
    Package("curl", ("curl",), "cells that call `curl`"),
    Package("ethtool", ("ethtool",), "the cells about checksum offload in chapter 02"),
    Package("tcpdump", ("tcpdump",), "tcpdump in a terminal (labkit's own captures work)"),
    Package("nftables", ("nft",), "chapters 05 and later, where they use nft"),
    Package("iptables", ("iptables",), "chapters 05 and later, where they use iptables"),
    Package("conntrack", ("conntrack",), "chapter 05, where it lists connections"),
    Package("containernetworking-plugins", ("/usr/lib/cni/bridge",), "chapters 07 and 08, where plugins wire pods"),
    Package("ipvsadm", ("ipvsadm",), "chapters 13 and 15, where they use IPVS"),
    Package("kmod", ("modprobe",), "lab machines of kind uml"),
    Package("user-mode-linux", ("linux.uml",), "lab machines of kind uml, which need no privileges (Debian has it)"),
)
TESTS = (
    Package("gcc", ("gcc",), "the C reference of the benchmarks"),
    Package("libc6-dev", ("/usr/include/stdio.h",), "the C reference of the benchmarks"),
    Package("chromium", ("chromium|chromium-browser|google-chrome",), "the browser tests"),
    Package("nodejs", ("node",), "the tests of the views' JavaScript"),
    Package("fonts-dejavu-core", ("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",), "readable screenshots"),
)
ALL = (Package("debootstrap", ("debootstrap",), "the set-up in a fresh Debian"),)
FOR = {"lessons": LESSONS, "tests": LESSONS + TESTS, "all": LESSONS + TESTS + ALL}


def provide(wanted: tuple[Package, ...], python: str) -> None:
    """Every package that can be installed is; one sentence names those that cannot. `python` is for .venv."""
    missing = [package for package in wanted if not _is_there(package, python)]
    if not missing:
        return
    names = [package.name for package in missing]
    say(f"installing system packages: {' '.join(names)}")
    reason = _install(names)
    still = [package for package in missing if not _is_there(package, python)]
    _record([package.name for package in missing if package not in still])
    if still:
        lost = "; ".join(dict.fromkeys(package.lost for package in still))
        sentence = f"not installed: {', '.join(package.name for package in still)} ({reason}). What is lost: {lost}."
        if "python3-venv" in [package.name for package in still]:
            raise SetupError(sentence)
        say(f"{sentence} Everything else works.")


def installed_by_set_up() -> list[str]:
    """The packages that set-up has installed since the last uninstall."""
    if not os.path.exists(RECORD):
        return []
    with open(RECORD) as file:
        return file.read().split()


def _record(names: list[str]) -> None:
    known = installed_by_set_up()
    if new := [name for name in names if name not in known]:
        with open(RECORD, "a") as file:
            file.write("".join(f"{name}\n" for name in new))


def _is_there(package: Package, python: str) -> bool:
    if package.name == "python3-venv":
        return subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    return all(
        any(os.path.exists(name) if name.startswith("/") else shutil.which(name, path=path) for name in one.split("|"))
        for one in package.programs
    )


def _install(names: list[str]) -> str:
    """Install by apt as root; return why something could not be installed, if so."""
    if not shutil.which("apt-get"):
        return "this system has no apt-get: use its own package manager"
    command = [sys.executable, "-E", "-m", "setup.packages", *names]
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            return "that needs root, and there is no sudo"
        asks = sys.stdin is not None and sys.stdin.isatty()
        if not asks and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode != 0:
            return "that needs root, and sudo asks for a password where nobody can type it"
        command = ["sudo", *([] if asks else ["-n"]), *command]
    result = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    return result.stdout.strip().splitlines()[-1] if result.stdout.strip() else "apt-get could not install it"


def _apt(names: list[str]) -> None:
    """As root: install `names`; with fresh package lists if the present ones do not do, one by one if it must be."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C.UTF-8"}
    options = ["-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    with policy.services_denied() as (prefix, descriptors):

        def apt_get(*arguments: str) -> str:
            """Return "" when it went well, otherwise apt's own last complaint."""
            result = subprocess.run(
                [*prefix, "apt-get", *options, *arguments],
                env=environment,
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            complaints = [line for line in result.stdout.splitlines() if line.startswith(("E:", "W:"))]
            return "" if result.returncode == 0 else (complaints or ["apt-get failed"])[-1].removeprefix("E: ")

        def install(*some: str) -> str:
            return apt_get("install", "--no-install-recommends", *some)

        if install(*names):
            apt_get("update")
            if install(*names) and (complaint := [text for name in names if (text := install(name))]):
                print(complaint[-1])


if __name__ == "__main__":
    try:
        _apt(sys.argv[1:])
    except SetupError as error:
        print(error)
