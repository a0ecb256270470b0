"""`python3 -m setup lessons|tests|all|docker [--witness FILE]` and `python3 -m setup uninstall [--course]`."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys

from . import PROJECT, SetupError, docker, environment, packages, say, uninstall, witness


def set_up(kind: str) -> None:
    """Everything that `kind` ("lessons", "tests", "all") needs is there; what is there already is left alone."""
    os.umask(0o022)  # other users of this computer run what is installed here
    python = environment.interpreter()
    packages.provide(packages.FOR[kind], python)
    environment.provide("lessons" if kind == "lessons" else "tests", python)
    if kind != "lessons" and os.geteuid() == 0:  # the tests beside a real Docker are root's
        try:
            docker.provide()
        except SetupError as error:
            say(f"{error}. What is lost: the tests beside a real Docker.")


def main() -> int:
    """Return the exit status: 0 when what was asked for is there, 1 after one sentence that says why not."""
    parser = argparse.ArgumentParser(prog="python3 -m setup", description=__doc__)
    parser.add_argument("what", choices=[*packages.FOR, "docker", "uninstall"])
    parser.add_argument("--witness", metavar="FILE", help="write what set-up changed in the computer's network to FILE")
    parser.add_argument("--course", action="store_true", help="uninstall: remove the learner's working copy too")
    options = parser.parse_args()
    lock = os.open(PROJECT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # two set-ups of one checkout take turns
    before = witness.look() if options.witness else None
    try:
        if options.what == "uninstall":
            uninstall.uninstall(course=options.course)
        elif options.what == "docker":
            docker.provide()
        else:
            set_up(options.what)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next `make setup` finishes it.")
        return 130
    if before is not None:
        with open(options.witness, "w") as file:
            json.dump(witness.settled_changes(before), file, indent=1)
    return 0


sys.exit(main())
