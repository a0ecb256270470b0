"""labkit cluster: a cluster in this lab machine. What is there, what comes, what fails?"""

from __future__ import annotations

import argparse
import os
import shutil
from contextlib import suppress
from typing import Any

from labkit.commands.output import ensure_lab_machine, put, whole_number
from labkit.kube import wire
from labkit.kube.printing import aligned

__all__ = ["BIN", "add_arguments", "main", "offer_kubectl"]

BIN = "/run/labkit/bin"  # at the end of PATH in every lab machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit cluster` understands."""
    parser.description = (
        "Start a Kubernetes cluster in this lab machine, small enough to read: nodes are network namespaces with a "
        "wire between them, pods are namespaces on a node, and one process is the whole control plane. It ends with "
        "the lab machine. `labkit kubectl` asks it."
    )
    parser.epilog = "examples: labkit cluster up --nodes 2; labkit cluster fail node-2; labkit cluster join node-2"
    verbs = parser.add_subparsers(
        title="what to do", dest="verb", metavar="up | down | status | fail | join", required=True
    )
    up = _verb(verbs, "up", _up, "start a cluster, in place of the one that runs here")
    up.add_argument("--nodes", type=whole_number, default=3, metavar="N", help="how many (default: 3)")
    up.add_argument("--network", default="bridge", help="how pods reach pods of other nodes (default: bridge)")
    up.add_argument("--cni", default="native", metavar="native | bridge | FILE.conflist",
                    help="what wires a pod on its node: our own plugin in process, Debian's bridge, or a configuration "
                    "list (default: native)")  # fmt: skip
    _verb(verbs, "down", _down, "end the cluster")
    _verb(verbs, "status", _status, "say what the cluster is")
    fail = _verb(verbs, "fail", _fail, "let a node lose its power: all that ran there is gone")
    fail.add_argument("node", metavar="NODE")
    join = _verb(verbs, "join", _join, "bring a failed node back, or a new one in")
    join.add_argument("node", nargs="?", metavar="NODE", help="its name (default: the next node-N)")


def _verb(verbs: Any, name: str, act: Any, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=about, description=about)
    parser.set_defaults(act=act)
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Do it; return 0. What goes wrong is a LabkitError."""
    ensure_lab_machine(f"cluster {arguments.verb}")
    arguments.act(arguments)
    return 0


def _up(arguments: argparse.Namespace) -> None:
    from labkit.kube.client import up

    up(arguments.nodes, arguments.network, arguments.cni)
    offer_kubectl()
    _status(arguments)
    put("\nask it with: labkit kubectl get pods\n")


def _down(_: argparse.Namespace) -> None:
    from labkit.kube.client import down

    down()


def _status(_: argparse.Namespace) -> None:
    told = wire.ask("status")
    cni = told["cni"] if isinstance(told["cni"], str) else told["cni"].get("name", "")
    put(f"Cluster with network '{told['network']}', pods wired by '{cni}'; controller: process {told['pid']}\n\n")
    rows = [["NODE", "STATUS", "ADDRESS", "POD CIDR", "PODS"]]
    for one in told["nodes"]:
        ready = "Ready" if one["ready"] else "NotReady"
        rows.append([one["name"], ready, one["address"], one["podCIDR"], str(one["pods"])])
    put(aligned(rows))


def _fail(arguments: argparse.Namespace) -> None:
    wire.ask("fail", name=arguments.node)
    put(f"node/{arguments.node} failed\n")


def _join(arguments: argparse.Namespace) -> None:
    put(f"node/{wire.ask('join', name=arguments.node)} joined\n")


def offer_kubectl() -> None:
    """`kubectl` is on PATH, where no other is: it asks this cluster."""
    if shutil.which("kubectl") is None:
        with suppress(OSError), open(f"{BIN}/kubectl", "x", encoding="utf-8", opener=_program) as file:
            file.write('#!/bin/sh\nexec labkit kubectl "$@"\n')


def _program(path: str, flags: int) -> int:
    return os.open(path, flags, 0o755)
