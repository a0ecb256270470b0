"""Changes that a program makes: where the kernel's own messages are not spoken here, which command is run?

A Command is to `iptables` and `nft` what an Operation is to `ip`: one small record whose repr is the shell command.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass

from labkit.errors import CommandNotInstalled
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine

__all__ = ["SEARCH", "Command", "run", "which"]

SEARCH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
_PACKAGES = {"nft": "nftables", "conntrack": "conntrack"}


@dataclass(frozen=True, slots=True, repr=False)
class Command:
    """One change to `name` in one namespace, made by a program. Its repr is the shell command.

    `text`: what the program reads, "" for nothing."""

    verb: str
    name: str
    namespace: str
    words: tuple[str, ...]
    text: str = ""

    @property
    def command(self) -> str:
        """The shell command: "ip netns exec red iptables -w -t nat -A POSTROUTING -j MASQUERADE"."""
        within = "" if self.namespace == "host" else f"ip netns exec {self.namespace} "
        return within + shlex.join(self.words) + (f" <<'END'\n{self.text.rstrip()}\nEND" if self.text else "")

    @property
    def failed(self) -> str:
        """How the sentence begins that says that it failed."""
        return f"failed to {self.verb} {self.name} in namespace '{self.namespace}'"

    def __repr__(self) -> str:
        return self.command

    __str__ = __repr__


def which(program: str) -> str | None:
    """Return the path of a program, which may lie where an ordinary user's PATH does not lead."""
    return shutil.which(program, path=SEARCH)


def run(command: Command) -> subprocess.CompletedProcess[str]:
    """Run a command in its namespace, inside a lab machine only, and return what became of it.

    Raises CommandNotInstalled, NotFound, NamespaceGone."""
    ensure_lab_machine(f"{command.verb} {command.name}")
    program, *words = command.words
    path = which(program)
    if path is None:
        package = _PACKAGES.get(program, "iptables")
        raise CommandNotInstalled(f"{command.failed}: {program} is not installed", f"sudo apt install {package}")
    return namespaces.inside(
        command.namespace,
        lambda: subprocess.run([path, *words], input=command.text, capture_output=True, text=True, check=False),
    )
