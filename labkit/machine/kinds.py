"""Which kind of lab machine, and how does a command come into one?

namespaces   a part of the computer's own kernel: the quickest, where the kernel gives namespaces to this user
uml          a kernel of its own, User-Mode Linux: where it does not, or where the computer's kernel lacks something
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from typing import NamedTuple

from labkit.errors import Unavailable, WrongUse
from labkit.machine import launch, suits
from labkit.machine.uml import front, host, needs

__all__ = ["KINDS", "Choice", "add_option", "choose", "in_guest", "sentence"]

KINDS = ("namespaces", "uml")
VARIABLE = "LABKIT_MACHINE"
WHY = "LABKIT_MACHINE_WHY"  # goes with the choice into the lab machine, so that it can say so there


class Choice(NamedTuple):
    """A kind, and why this one."""

    kind: str
    why: str


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add --machine."""
    parser.add_argument(
        "--machine",
        choices=["auto", *KINDS],
        help="the kind of lab machine: namespaces, or uml (User-Mode Linux); auto: namespaces where that is allowed, "
        "else uml (default: the variable LABKIT_MACHINE, or auto)",
    )


def choose(wanted: str | None = None) -> Choice:
    """Return the kind to use: `wanted`, or what LABKIT_MACHINE says, or the first that can be had here.

    Raises NamespacesForbidden where neither can be, WrongUse for a kind that does not exist."""
    wanted = wanted or os.environ.get(VARIABLE) or "auto"
    if wanted in KINDS:
        return Choice(wanted, "it was asked for")
    if wanted != "auto":
        raise WrongUse(
            f"failed to choose a lab machine: there is no kind '{wanted}'", f"kinds: auto, {', '.join(KINDS)}"
        )
    forbidden = launch.forbidden()
    if forbidden is None:
        return Choice("namespaces", "the kernel gives this user namespaces")
    if (missing := suits.uml_missing()) is not None:
        raise suits.neither(forbidden.message, forbidden.hint, missing)
    return Choice("uml", forbidden.message.partition(": ")[2])


def in_guest(argv: list[str], why: str, write: Iterable[str] = ()) -> int:
    """Run labkit's command `argv` in a fresh guest; return its exit status. `write`: folders it may write, beside the
    one it is started in (see needs.writable). Raises Unavailable."""
    folders = set(needs.writable(os.getcwd(), os.environ.get("LABKIT_COURSE")))
    for folder in write:
        if not os.path.isdir(folder):
            raise Unavailable(f"failed to start a lab machine that may write in '{folder}': no such folder")
        folders.add(os.path.realpath(folder))
    os.environ[WHY] = why
    return host.start(front.request(argv), writable=sorted(folders))


def sentence(kind: str, why: str = "") -> str:
    """Return one line: which kind this lab machine is, and why."""
    why = why or os.environ.get(WHY, "")
    names = {
        "namespaces": "This lab machine is a private part of the computer's own Linux (kind namespaces)",
        "uml": "This lab machine is a Linux of its own, User-Mode Linux (kind uml)",
    }
    return names[kind] + (f": {why}." if why else ".")
