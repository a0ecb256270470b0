"""Which lab machines run here? Found by their init processes in /proc: nothing is registered, so nothing goes stale."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from labkit.machine import init
from labkit.machine.uml import host
from labkit.net import here

__all__ = ["Machine", "running", "started"]


@dataclass(frozen=True)
class Machine:
    """A running lab machine, seen from the computer.

    `pid`: its init, or the launcher of a guest. `kind`: "namespaces" or "uml". `notebook`: the notebook's path as
    Jupyter says it, None for `labkit run`. `user`: the uid that started it. `command`: what it was started as.
    `started`: when, in clock ticks since boot. `has_door`: it is a guest, and its launcher lets visitors in."""

    pid: int
    kind: str
    notebook: str | None
    user: int
    command: str
    started: int
    has_door: bool = False

    @property
    def name(self) -> str:
        """What a person calls it: the notebook's name, or the command."""
        return self.notebook or self.command


def running() -> list[Machine]:
    """Return this user's running lab machines, the oldest first. Same as: lsns -t pid, more or less"""
    machines = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if entry.isdigit():
            with suppress(OSError, ValueError):
                machine = _read(int(entry))
                if machine:
                    machines.append(machine)
    return sorted(machines, key=lambda machine: (machine.started, machine.pid))


def _read(pid: int) -> Machine | None:
    """Return the lab machine whose init is `pid`: it is named so, it is this user's, and its mark is its own.

    Of a guest only the launcher can be seen, whose door is open."""
    folder = f"/proc/{pid}"
    name = _text(f"{folder}/comm").strip()
    user = os.stat(folder).st_uid
    if name not in (init.NAME, host.NAME) or user != os.getuid():
        return None
    if name == host.NAME:
        kind = "uml"
        if f"@{host.door(pid)[1:]}\n" not in _text("/proc/net/unix"):
            return None
    else:
        inode, kind = _text(f"{folder}/root{here.RUN}/machine").split()
        if inode != str(os.stat(f"{folder}/ns/pid").st_ino):
            return None
    environment = dict(variable.split("=", 1) for variable in _text(f"{folder}/environ").split("\0") if "=" in variable)
    command = _text(f"{folder}/cmdline").rstrip("\0").split("\0")
    notebook = environment.get("JPY_SESSION_NAME") if "labkit.machine.kernel" in command else None
    return Machine(pid, kind, notebook, user, _readable(command), started(pid), name == host.NAME)


def started(pid: int) -> int:
    """Return when process `pid` started, in clock ticks since the computer's start (proc(5), stat, field 22)."""
    return int(_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[19])


def _readable(command: list[str]) -> str:
    """Return the command as typed: `labkit run make`, not the interpreter's path."""
    words = [os.path.basename(word) if index < 2 else word for index, word in enumerate(command)]
    if words and words[0].startswith("python"):
        words = words[1:]
    return " ".join("a notebook" if word == "labkit.machine.kernel" else word for word in words if word != "-m")


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
