"""labkit completion: the words that a shell offers when Tab is pressed."""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import subprocess
import sys
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
    if typed[0] in ("see", "capture", "trace"):
        return _looking(typed)
    if typed[0] != "shell" or "--" in typed[1:-1]:
        return []
    return _shell(typed[1:])


def _looking(typed: list[str]) -> list[str]:
    """Options and namespaces, which only a lab machine has; after an option that takes a value, nothing."""
    options = _options(typed[0])
    if options.get(typed[-2]):
        return []
    given = [
        word for before, word in itertools.pairwise(typed[:-1]) if not word.startswith("-") and not options.get(before)
    ]
    places = [] if typed[0] == "trace" and len(given) >= 2 else _places(typed[-1] if typed[0] == "capture" else "")
    return [*places, *options]


def _options(name: str) -> dict[str, bool]:
    """Return the options of a command, each with whether it takes a value."""
    from labkit import cli

    command = next(command for command in cli.COMMANDS if command.name == name)
    parser = argparse.ArgumentParser()
    importlib.import_module(command.module).add_arguments(parser)
    return {option: action.nargs != 0 for action in parser._actions for option in action.option_strings}


def _places(word: str) -> list[str]:
    """Return the namespaces of this lab machine; once `word` names one and a slash, its interfaces: "red/eth0"."""
    from labkit.net import namespace
    from labkit.state.read import snapshot

    name, slash, _ = word.partition("/")
    with suppress(LabkitError):
        if slash:
            return [f"{name}/{link.ifname}" for link in snapshot(name)[name].links]
        return ["host", *namespace.names()]
    return []


def _ask(pid: int) -> list[str]:
    """Return the names of the namespaces in a guest, which only a command in it can see."""
    command = [sys.executable, "-m", "labkit.cli", "shell", "--notebook", str(pid), "--", "ls", "/run/netns"]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout.split()


def _shell(typed: list[str]) -> list[str]:
    from labkit.machine import find, join, shell

    machines = find.running()
    if len(typed) > 1 and typed[-2] == "--notebook":
        return [os.path.basename(machine.name).split(" ")[0] for machine in machines]
    wanted = typed[typed.index("--notebook") + 1] if "--notebook" in typed[:-1] else None
    with suppress(LabkitError):
        machines = [shell.choose(machines, wanted)]
    there = [_ask(machine.pid) if machine.has_door else join.namespaces(machine) for machine in machines]
    names = set(itertools.chain.from_iterable(there))
    return ["host", *sorted(names), "--notebook"]
