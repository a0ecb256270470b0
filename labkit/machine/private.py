"""What makes a new set of namespaces a lab machine: private mounts, stated sysctls, and the mark."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

from labkit.machine import capabilities, groups, programs
from labkit.net import here, libc, namespace, sysctl

__all__ = ["SOURCE", "TEMPORARY", "CannotPrepare", "keep_readable", "prepare", "set_lo_up"]

TEMPORARY = f"{here.RUN}/tmp"  # noqa: S108 - on the private /run
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # where labkit lies
_kept: list[str] = []
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a tmpfs of the machine's own goes there
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


class CannotPrepare(Exception):
    """The kernel refused one step of the preparation."""

    def __init__(self, step: str, error: OSError) -> None:
        super().__init__(step)
        self.step, self.error = step, error

    def report(self) -> str:
        """Return what the launcher is told: the error number, then a text."""
        return f"{self.error.errno or 0} the kernel refused to {self.step}: {self.error}"


def keep_readable(*paths: str) -> None:
    """Files and folders that the lab machine must see even if they lie under the computer's /run."""
    _kept.extend(paths)


def prepare() -> None:
    """Make this process's fresh namespaces a lab machine. Raises CannotPrepare."""
    real = programs.find_real()
    _step("make the mounts private", lambda: libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE))
    with suppress(OSError):  # forbidden where the computer's own /proc is partly covered, as in a container
        libc.mount("proc", "/proc", "proc", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    _step("give it a /run of its own", _private_run)
    _private_sys()
    with suppress(OSError):
        libc.mount("tmpfs", _SHARED_MEMORY, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=1777")
    _step("hold its first network namespace", _hold_host)
    here.write_mark()
    _step("state its sysctls", sysctl.state_here)
    _step("set lo up", set_lo_up)
    _step("put its programs in place", lambda: programs.install(real))
    groups.forgive_setgroups()
    _step("give up capabilities", capabilities.drop)
    with suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    programs.complete_path()
    os.environ.pop("JPY_PARENT_PID", None)


def _step(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        raise CannotPrepare(what, error) from error


def _private_run() -> None:
    """A tmpfs on /run, with what must stay visible brought over: open files of programs do not move, names do."""
    working_folder = None
    with suppress(FileNotFoundError):  # it may have been deleted under us
        working_folder = os.getcwd()
    before = os.open("/run", os.O_PATH | os.O_CLOEXEC)
    wanted = [
        *_kept,
        working_folder or "/",
        os.path.expanduser("~"),
        sys.prefix,
        sys.base_prefix,
        SOURCE,
    ]
    hidden = sorted({path for path in map(os.path.realpath, wanted) if path.startswith("/run/")})
    resolver = os.path.realpath("/etc/resolv.conf")
    names = b""
    if resolver.startswith("/run/"):
        with suppress(OSError), open(resolver, "rb") as file:
            names = file.read()
    libc.mount("tmpfs", "/run", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755")
    for folder in (here.RUN, namespace.NETNS, TEMPORARY, "/run/lock"):
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755 if folder in (here.RUN, namespace.NETNS) else 0o1777)
    for path in hidden:
        if os.path.exists(path):
            continue
        source = f"/proc/self/fd/{before}/{path.removeprefix('/run/')}"
        if os.path.isdir(source):
            os.makedirs(path, exist_ok=True)
            libc.mount(source, path, flags=libc.MS_BIND | libc.MS_REC)
        elif os.path.isfile(source):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy(source, path)
    os.close(before)
    if resolver.startswith("/run/") and not os.path.exists(resolver):
        os.makedirs(os.path.dirname(resolver), exist_ok=True)
        with open(resolver, "wb") as file:
            file.write(names)
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.path.realpath(runtime).startswith("/run/"):
        os.makedirs(os.path.realpath(runtime), mode=0o700, exist_ok=True)
    if working_folder is not None:
        with suppress(OSError):
            os.chdir(working_folder)


def _private_sys() -> None:
    """/sys/class/net shows the network namespace of whoever mounted /sys; control groups stay where they were."""
    groups, aside = "/sys/fs/cgroup", f"{here.RUN}/cgroup"
    with suppress(OSError):
        os.makedirs(aside)
        libc.mount(groups, aside, flags=libc.MS_BIND | libc.MS_REC)
    try:
        libc.mount("sysfs", "/sys", "sysfs", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    except OSError:
        libc.umount2(aside, libc.MNT_DETACH)
    else:
        with suppress(OSError):
            libc.mount(aside, groups, flags=libc.MS_MOVE)
    with suppress(OSError):
        os.rmdir(aside)


def _hold_host() -> None:
    os.close(os.open(here.HOST, os.O_CREAT | os.O_WRONLY, 0o444))
    libc.mount("/proc/self/ns/net", here.HOST, flags=libc.MS_BIND)


def set_lo_up() -> None:
    """`lo` of this namespace is up. Same as: ip link set lo up"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
