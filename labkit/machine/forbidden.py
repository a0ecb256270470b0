"""Why does the kernel give no namespaces here, and what is the remedy?"""

from __future__ import annotations

import errno
import platform
from contextlib import suppress

__all__ = ["remedy"]

_NAMES = {"Darwin": "macOS"}
_LIMITS = tuple(f"user.max_{kind}_namespaces" for kind in ("user", "mnt", "pid", "net", "uts", "ipc"))


def remedy(number: int, *, root: bool) -> str:
    """Return one sentence: what forbids namespaces (as far as this computer tells), and what to do.

    `number`: the kernel's answer. `root`: whether it was root who asked, whom no sudo helps."""
    if platform.system() != "Linux":
        return (
            f"namespaces are a part of Linux, and this is {_NAMES.get(platform.system(), platform.system())}: "
            "use labkit in a Linux container or a virtual machine (docs/where-it-runs.md)"
        )
    if platform.release().endswith("-Microsoft"):
        return "this is WSL 1, which has no Linux kernel, in PowerShell: wsl --set-version DISTRIBUTION 2"
    or_root = "" if root else ", or start it with sudo"
    closed = [key for key in _LIMITS if _read("/proc/sys/" + key.replace(".", "/")) == "0"]
    if number == errno.ENOSPC or (closed and not root):
        settings = " ".join(f"{key}=10000" for key in closed or _LIMITS[:1])
        return f"a setting forbids it: {'' if root else 'sudo '}sysctl {settings}{or_root}"
    if root:
        return (
            "root may not do it either, as in a container without privileges: "
            "start the container with --privileged, or use labkit outside of it"
        )
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor forbids it (Ubuntu since 24.04): "
            f"sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0{or_root}"
        )
    if _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return f"a setting forbids it: sudo sysctl kernel.unprivileged_userns_clone=1{or_root}"
    if "\nSeccomp:\t2" in _read("/proc/self/status"):
        return (
            "a filter forbids it, as in a container with Docker's default profile: "
            "start the container with --privileged, or use labkit outside of it"
        )
    return "start it with sudo, or ask who looks after this computer to allow user namespaces"


def _read(path: str) -> str:
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return ""
