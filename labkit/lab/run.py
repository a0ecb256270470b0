"""Running: what does a command print in this namespace?"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.errors import CommandNotInstalled
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine

__all__ = ["Ran", "run"]

_SHELL = set("|&;<>()$`\\\"'*?[]#~=%{}\n")  # what makes a command one for the shell

_MISSING = re.compile(r"(\S+): (?:not found|Permission denied)\s*\Z")  # a folder on PATH may be closed to this user


@dataclass(frozen=True, repr=False)
class Ran:
    """A command that has ended: what it printed, and its exit status (0 is success). Its repr is the output."""

    stdout: str
    stderr: str
    status: int

    def __repr__(self) -> str:
        return (self.stdout + self.stderr).rstrip("\n")

    def __bool__(self) -> bool:
        return self.status == 0


def run(namespace: str, command: str | list[str], *, timeout: float = 30.0, by: Sequence[str] = ()) -> Ran:
    """Run `command` in a namespace and return what it printed. A string may use all that the shell has, as in
    "ip -br address | grep eth0". `timeout`: seconds. `by`: what starts the command there, as in ["env", "A=1"].

    Raises NotFound, CommandNotInstalled, subprocess.TimeoutExpired. Same as: ip netns exec NAMESPACE COMMAND"""
    ensure_lab_machine(f"run '{command}' in namespace '{namespace}'")
    namespaces.inode(namespace)
    for_shell = isinstance(command, str) and any(letter in _SHELL for letter in command)
    words = command if isinstance(command, list) else ["sh", "-c", command] if for_shell else shlex.split(command)
    if shutil.which(words[0]) is None:
        raise _not_installed(words[0], namespace)
    within = [] if namespace == "host" else ["ip", "netns", "exec", namespace]
    done = subprocess.run(
        [*within, *by, *words], capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
    )
    missing = _MISSING.search(done.stderr) if for_shell and done.returncode in (126, 127) else None
    if missing and shutil.which(missing[1]) is None:
        raise _not_installed(missing[1], namespace)
    return Ran(done.stdout, done.stderr, done.returncode)


def _not_installed(program: str, namespace: str) -> CommandNotInstalled:
    return CommandNotInstalled(
        f"failed to run '{program}' in namespace '{namespace}': the command is not installed",
        "look for its package with: apt-cache search " + program,
    )
