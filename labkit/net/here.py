"""Is this a lab machine?

A lab machine's init writes a mark on the machine's private /run. The mark holds the inode of the machine's own PID
namespace, so that a copy of it proves nothing elsewhere. Every verb that changes or reads a network asks here first.
"""

from __future__ import annotations

import os
import sys
from functools import cache, lru_cache

from labkit.errors import NotInLabMachine

__all__ = ["HOST", "RUN", "choose", "ensure_lab_machine", "in_lab_machine", "kind", "write_mark"]

RUN = "/run/labkit"
HOST = f"{RUN}/host"  # the machine's first network namespace, bound here by init
_MARK = f"{RUN}/machine"


def write_mark() -> None:
    """Mark this as a lab machine, and say of which kind. Only a machine's init calls it, as PID 1."""
    os.makedirs(RUN, exist_ok=True)
    with open(_MARK, "w", encoding="ascii") as mark:
        mark.write(f"{_pid_namespace()} {'uml' if on_user_mode_linux() else 'namespaces'}\n")


@cache
def on_user_mode_linux() -> bool:
    """Return whether the kernel here is User-Mode Linux, which says so of its processor (proc(5), cpuinfo)."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as processor:
            return "User Mode Linux" in processor.read(200)
    except OSError:
        return False


def kind() -> str | None:
    """Return the kind of the lab machine that this process runs in ("namespaces", "uml"), or None on the computer."""
    try:
        with open(_MARK, encoding="ascii") as mark:
            inode, kind = mark.read().split()
    except (OSError, ValueError):
        return None
    return kind if inode == str(_pid_namespace()) else None


@lru_cache(maxsize=1)
def _machine_of(_pid: int) -> str | None:
    return kind()


def in_lab_machine() -> bool:
    """Return whether this process runs in a lab machine."""
    return _machine_of(os.getpid()) is not None


def ensure_lab_machine(verb: str) -> None:
    """Refuse `verb` ("add a bridge") on the computer itself, whoever asks. Raises NotInLabMachine."""
    if not in_lab_machine():
        raise NotInLabMachine(
            f"failed to {verb}: this is not a lab machine, and labkit never touches the computer's own network",
            "run it with: labkit run python FILE, or in a notebook with the kernel 'labkit'",
        )


def choose(kernel: str, kind: str) -> str:
    """Return how to come to a lab machine of another kind: in a notebook by its kernel, else by a command."""
    if "ipykernel" in sys.modules:
        return f"choose the kernel {kernel}: Kernel, Change Kernel"
    return f"run it with: labkit run --machine {kind}"


def _pid_namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino
