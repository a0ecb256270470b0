"""labkit completion: the words that a shell offers when Tab is pressed."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress

from labkit.errors import LabkitError

__all__ = ["add_arguments", "main", "words"]

_SCRIPT = """\
_labkit() {
    local word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=($(compgen -W "$(labkit completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "$word"))
}
complete -o default -F _labkit labkit
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit completion` understands."""
    parser.description = "Print a script that lets Tab complete labkit's commands and the names of namespaces."
    parser.epilog = "to have it in every bash:  echo 'source <(labkit completion bash)' >> ~/.bashrc"
    parser.add_argument("what", choices=["bash", "zsh", "words"], help="the shell")
    parser.add_argument("typed", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def main(arguments: argparse.Namespace) -> int:
    """Print the script, or (asked by the script) the words."""
    if arguments.what == "words":
        print("\n".join(words(arguments.typed)))
    elif arguments.what == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit\n" + _SCRIPT, end="")
    else:
        print(_SCRIPT, end="")
    return 0


def words(typed: list[str]) -> list[str]:
    """Return what may stand where the last of `typed` stands ("labkit" left out)."""
    from labkit import cli

    if len(typed) <= 1:
        return [command.name for command in cli.COMMANDS]
    if typed[0] != "shell" or "--" in typed[1:-1]:
        return []
    return _shell(typed[1:])


def _shell(typed: list[str]) -> list[str]:
    from labkit.machine import find, join, shell

    machines = find.running()
    if len(typed) > 1 and typed[-2] == "--notebook":
        return [os.path.basename(machine.name).split(" ")[0] for machine in machines]
    wanted = typed[typed.index("--notebook") + 1] if "--notebook" in typed[:-1] else None
    with suppress(LabkitError):
        machines = [shell.choose(machines, wanted)]
    names = {name for machine in machines for name in join.namespaces(machine)}
    return ["host", *sorted(names), "--notebook"]
