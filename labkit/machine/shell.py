"""labkit shell: a terminal in the lab machine of a running notebook, so that tcpdump runs here while a cell pings."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import replace

from labkit.errors import NotFound, WrongUse
from labkit.machine import find, join, programs, terminal
from labkit.machine.run import execute
from labkit.machine.uml import door
from labkit.net import namespace

__all__ = ["TAKES_COMMAND", "add_arguments", "choose", "main"]

TAKES_COMMAND = True  # what follows -- is a command, whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit shell` understands."""
    parser.usage = "labkit shell [NAMESPACE] [--notebook NAME] [-- COMMAND...]"
    parser.description = (
        "Open a shell in a lab machine that is running: the one of an open notebook, or of a 'labkit run'. You are "
        "root there, over a network of its own; sudo is not needed and does no harm. With NAMESPACE, the shell "
        "is inside that network namespace. The shell ends when the lab machine ends."
    )
    parser.epilog = "examples: `labkit shell`, `labkit shell red`, `labkit shell red --notebook 03 -- tcpdump -ni eth0`"
    parser.add_argument("namespace", nargs="?", default="host", metavar="NAMESPACE", help="a name from 'ip netns'")
    parser.add_argument("--notebook", metavar="NAME", help="which notebook's lab machine, when several run")
    parser.add_argument("--known-as", help=argparse.SUPPRESS)
    parser.set_defaults(command=[])


def main(arguments: argparse.Namespace) -> int:
    """Open the shell, or run the command; return its exit status."""
    machines = find.running()
    if arguments.known_as and machines:  # in a guest, whose first lab machine is the one that was chosen outside
        machine = replace(machines[0], notebook=arguments.known_as)
    else:
        machine = choose(machines, arguments.notebook)
    name = arguments.namespace
    if machine.has_door:
        known_as = machine.notebook or machine.command
        words = ["shell", name, "--known-as", known_as, *(["--", *arguments.command] if arguments.command else [])]
        return door.visit(machine, words)
    if name != "host":
        os.close(join.open_namespace(machine, name))
    with terminal.kept():
        return join.run_inside(machine, lambda: _inside(machine, name, arguments.command))


def choose(machines: list[find.Machine], wanted: str | None = None) -> find.Machine:
    """Return the one lab machine that `wanted` names: a notebook's name or path, the start of one, or a PID.

    Raises NotFound where there is none, WrongUse (listing them) where there are several."""
    if not machines:
        raise NotFound(
            "failed to find a lab machine: none of yours is running",
            "open a notebook with the kernel 'labkit', or start one: labkit run bash",
        )
    if wanted is not None:
        for matches in (_is, _begins, _contains):
            found = [machine for machine in machines if matches(machine, wanted)]
            if found:
                break
        else:
            raise NotFound(f"failed to find the lab machine of '{wanted}': no such notebook runs", _listed(machines))
        machines = found
    if len(machines) > 1:
        raise WrongUse(
            f"failed to choose a lab machine: {len(machines)} are running; say which with --notebook NAME (or its PID)",
            _listed(machines),
        )
    return machines[0]


def _is(machine: find.Machine, wanted: str) -> bool:
    return wanted in (machine.name, str(machine.pid), _short(machine), os.path.basename(machine.name))


def _begins(machine: find.Machine, wanted: str) -> bool:
    return _short(machine).startswith(wanted)


def _contains(machine: find.Machine, wanted: str) -> bool:
    return wanted in machine.name


def _short(machine: find.Machine) -> str:
    """Return the notebook's file name without its ending; for `labkit run make`, "run"."""
    if machine.notebook:
        return os.path.basename(machine.notebook).removesuffix(".ipynb")
    return "run"


def _listed(machines: list[find.Machine]) -> str:
    lines = [f"{machine.pid:>9}  {machine.name:.80}" for machine in machines]
    return "running:\n" + "\n".join(lines)


def _inside(machine: find.Machine, name: str, command: list[str]) -> int:
    """In the lab machine: become the command or the shell, in namespace `name`."""
    if not command:
        os.environ["LABKIT_PROMPT"] = rf"\[\e[1m\]{name}\[\e[0m\]@{_short(machine)}:\w# "
        os.environ["PS1"] = f"{name}@{_short(machine)}# "
        bash = shutil.which("bash")
        command = [bash, "--rcfile", f"{programs.BIN}/shell-rc", "-i"] if bash else ["sh", "-i"]
        there = ", ".join(["host", *namespace.names()])
        print(f"lab machine of {machine.name:.60}; namespaces: {there:.200}; leave with exit", file=sys.stderr)
    if name != "host":
        command = [f"{programs.BIN}/ip", "netns", "exec", name, *command]
    return execute(command)
