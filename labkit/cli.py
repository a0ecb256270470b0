"""The command `labkit`: one table of subcommands, each with a body of its own, imported only when used."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from contextlib import suppress
from typing import NamedTuple

from labkit import __version__
from labkit.errors import LabkitError

__all__ = ["COMMANDS", "main"]


class Command(NamedTuple):
    """Where a subcommand lives: a module with add_arguments(parser) and main(arguments) -> exit status."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("lab", "labkit.server", "open the course in JupyterLab"),
    Command("course", "labkit.course", "reset or update your copy of the course"),
    Command("run", "labkit.machine.run", "run a command in a fresh lab machine"),
    Command("shell", "labkit.machine.shell", "open a shell in the lab machine of a running notebook"),
    Command("see", "labkit.commands.see", "show the network of this lab machine"),
    Command("capture", "labkit.commands.capture", "print frames as they come, or write them for Wireshark"),
    Command("trace", "labkit.commands.trace", "follow one packet hop by hop, and say what decided its way"),
    Command("dockerd", "labkit.commands.dockerd", "start a real Docker daemon in this lab machine"),
    Command("cluster", "labkit.commands.cluster", "start a Kubernetes cluster in this lab machine, or end it"),
    Command("kubectl", "labkit.commands.kubectl", "ask that cluster, in kubectl's words"),
    Command("cni", "labkit.commands.cni", "test whether a CNI plugin keeps to the specification"),
    Command("doctor", "labkit.machine.doctor", "say what this computer can do, and what to do about the rest"),
    Command("prove", "labkit.machine.prove", "show that a command leaves the computer's network as it was"),
    Command("grade", "labkit.grading.grade", "run exercises and say what they are worth"),
    Command("progress", "labkit.grading.progress", "show what is done and what is next"),
    Command("author", "labkit.author.cli", "write lessons and exercises, and check that they hold"),
    Command("completion", "labkit.completion", "print a script that completes labkit's commands in a shell"),
)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status. A LabkitError is a sentence on stderr and status 2."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        arguments = _parse(argv)
        status = int(arguments.body(arguments) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a reader that left is no surprise
        return status
    except LabkitError as error:
        print(f"labkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # what is still buffered goes there
        return 141


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="labkit",
        description="A course on container networking that you do, and the lab under it. "
        "Nothing here changes your computer's own network.",
        epilog="labkit COMMAND --help says more about one command. To start: labkit lab",
    )
    parser.add_argument("--version", action="version", version=f"labkit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    wanted = next((word for word in argv if not word.startswith("-")), None)
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.help, description=command.help)
        if command.name == wanted:
            module = importlib.import_module(command.module)
            sub.set_defaults(body=module.main, command_name=command.name)
            module.add_arguments(sub)
            if getattr(module, "TAKES_COMMAND", False) and "--" in argv:  # labkit shell red -- tcpdump -n
                cut = argv.index("--")
                argv, rest = argv[:cut], argv[cut + 1 :]
                sub.set_defaults(command=rest)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
