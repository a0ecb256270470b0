"""labkit dockerd: a real Docker daemon in this lab machine, to play with."""

from __future__ import annotations

import argparse
import os
import shutil
from contextlib import suppress

from labkit.commands.output import ensure_lab_machine, put
from labkit.docker import daemon as daemons

__all__ = ["TAKES_COMMAND", "add_arguments", "main"]

TAKES_COMMAND = True  # what follows -- is dockerd's, whole
_CLIENTS = "/run/labkit/bin"  # at the end of PATH in every lab machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit dockerd` understands."""
    parser.usage = "labkit dockerd [--stop] [-- OPTION...]"
    parser.description = (
        "Start a real Docker daemon in this lab machine, or find the one that runs. It has its own network, files and "
        f"socket, one image, {daemons.IMAGE}, and no registry; it ends with the lab machine. It needs a lab machine of "
        "root's, or one of kind uml, which any user may start, where it takes a minute. Docker's programs come from "
        "the package docker.io, or from `make docker`, which unpacks it: to install it starts a Docker on the "
        "computer, which changes the computer's network."
    )
    parser.epilog = (
        'examples: `eval "$(labkit dockerd)"`, then `docker run -d -p 8080:80 ' + daemons.IMAGE + "`. "
        "`labkit dockerd -- --icc=false --userland-proxy=false` gives dockerd options"
    )
    parser.add_argument("--stop", action="store_true", help="end it, with its containers")
    parser.set_defaults(command=[])


def main(arguments: argparse.Namespace) -> int:
    """Start or find it, and print what a shell needs to reach it; return 0."""
    ensure_lab_machine("dockerd")
    daemon = daemons.find()
    if arguments.stop:
        if daemon:
            daemon.stop()
        return 0
    if daemon is None or arguments.command:
        daemon = daemons.start("host", *arguments.command)
    _offer_client()
    put(
        f"# Docker {daemon.version} runs in this lab machine, and ends with it. Its image: {daemons.IMAGE}\n"
        f"# in a notebook: %env DOCKER_HOST={daemon.host}\n"
        f"export DOCKER_HOST={daemon.host}\n"
    )
    return 0


def _offer_client() -> None:
    """`docker` is on PATH, where set-up unpacked it and nobody installed it."""
    if shutil.which("docker") is None:
        with suppress(FileExistsError):
            os.symlink(f"{daemons.UNPACKED}/bin/docker", f"{_CLIENTS}/docker")
