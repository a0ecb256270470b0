"""labkit run: any command in a fresh lab machine."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys

from labkit.machine import kinds, launch, terminal

__all__ = ["add_arguments", "main", "start_command"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit run` understands."""
    parser.description = (
        "Run a command in a fresh lab machine. It sees your files, your folder, your environment, and a network of "
        "its own in which it may do everything; nothing of that reaches your computer's network. When the command "
        "ends, the lab machine ends, with every process left in it."
    )
    parser.epilog = "examples: `labkit run ip link`, `labkit run python build.py`, `labkit run bash`"
    kinds.add_option(parser)
    parser.add_argument(
        "--write",
        action="append",
        default=[],
        metavar="FOLDER",
        help="kind uml: a folder that the command may write, beside the one it starts in",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="[--] COMMAND...", help="the command to run")


def main(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    command = arguments.command
    if command and command[0] == "--":
        command = command[1:]
    if not command:
        print("labkit run: which command? For example: labkit run ip link", file=sys.stderr)
        return 2
    choice = kinds.choose(arguments.machine)
    if choice.kind == "namespaces":
        return start_command(command)
    if arguments.machine is None and sys.stderr.isatty():
        print(f"labkit: {kinds.sentence('uml', choice.why)}", file=sys.stderr)
    return kinds.in_guest(["run", "--", *command], choice.why, arguments.write)


def start_command(command: list[str]) -> int:
    """Run `command` in a fresh lab machine of kind `namespaces`; return its exit status, 128 + N for signal N."""
    with terminal.kept():
        return launch.start(lambda: execute(command))


def execute(command: list[str]) -> int:
    """Become `command`; return only if that fails: 127 where there is no such command, 126 where it cannot start."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - that is what it is for
    except OSError as error:
        missing = shutil.which(command[0], os.F_OK) is None
        if missing:  # also where a folder of PATH may not be read, which is what the error says then
            print(f"labkit: command '{command[0]}' not found; is it installed?", file=sys.stderr)
        elif isinstance(error, FileNotFoundError):
            print(f"labkit: cannot start '{command[0]}': its interpreter is missing", file=sys.stderr)
        else:
            print(f"labkit: cannot start '{command[0]}': {error.strerror}", file=sys.stderr)
        return 127 if missing else 126
