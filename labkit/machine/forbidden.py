"""Why does the kernel give no namespaces here, and what is the remedy?"""

from __future__ import annotations

import errno
from contextlib import suppress

__all__ = ["remedy"]


def remedy(number: int) -> str:
    """Return one sentence: what forbids namespaces (as far as this computer tells), and what to do."""
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor forbids it (Ubuntu since 24.04): sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, "
            "or start it with sudo"
        )
    if _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "a setting forbids it: sudo sysctl kernel.unprivileged_userns_clone=1, or start it with sudo"
    if number == errno.ENOSPC or _read("/proc/sys/user/max_user_namespaces") == "0":
        return "a setting forbids it: sudo sysctl user.max_user_namespaces=10000, or start it with sudo"
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
