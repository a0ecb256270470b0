"""Who holds this port? Read from /proc, as `ss -lnp` does, in the calling thread's namespace."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["holder"]

LISTEN, UNCONNECTED = "0A", "07"


def holder(port: int, udp: bool = False) -> str | None:
    """Return "python3 (process 42)", or "this program" for one of our own, or None if nobody is found."""
    inodes = _inodes(port, udp)
    for process in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{process}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{process}/fd/{descriptor}") in inodes:
                        return _name(process)
    return None


def _inodes(port: int, udp: bool) -> set[str]:
    found: set[str] = set()
    for table in ("udp", "udp6") if udp else ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/thread-self/net/{table}", encoding="ascii") as lines:
            next(lines)
            for line in lines:
                words = line.split()
                if int(words[1].rpartition(":")[2], 16) == port and words[3] == (UNCONNECTED if udp else LISTEN):
                    found.add(f"socket:[{words[9]}]")
    return found


def _name(process: str) -> str:
    if process == str(os.getpid()):
        return "this program itself"
    with open(f"/proc/{process}/comm", encoding="utf-8") as comm:
        return f"{comm.read().strip()} (process {process})"
