"""labkit cni test PLUGIN: does a CNI plugin keep to the specification?"""

from __future__ import annotations

import argparse
import os

from labkit.commands.output import ensure_lab_machine, put
from labkit.kube.cni import conformance, load
from labkit.kube.cni.bench import BIN, Subject
from labkit.kube.cni.call import PATH, find

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit cni` understands."""
    parser.description = (
        "Ask a CNI plugin for its versions, then for everything that the specification says of them, on a node and in "
        "containers of its own. What it does not claim is not asked. The exit status is 0 when all passed, 1 when the "
        "plugin deviates, 2 when it could not be tried."
    )
    parser.epilog = "examples: labkit run labkit cni test bridge; labkit cni test ./my-plugin --conf my.conflist"
    actions = parser.add_subparsers(title="what to do", dest="action", metavar="test | table", required=True)
    test = actions.add_parser("test", help="run the conformance suite on a plugin")
    test.add_argument("plugin", metavar="PLUGIN", help=f"a file, or a name in {':'.join(PATH)}, or labkit-bridge")
    test.add_argument("--conf", metavar="FILE", help="the network configuration that it is tried with")
    table = actions.add_parser("table", help="run it on several, and print a Markdown table")
    table.add_argument("plugins", metavar="PLUGIN", nargs="+", help="as for test")


def main(arguments: argparse.Namespace) -> int:
    """Print a line a case; return 0 when all passed, 1 when the plugin deviates."""
    ensure_lab_machine(f"cni {arguments.action}")
    if arguments.action == "table":
        subjects = [Subject.of(_path(name)) for name in arguments.plugins]
        put(conformance.table({subject.kind: conformance.run(subject) for subject in subjects}))
        return 0
    subject = Subject.of(_path(arguments.plugin), load(arguments.conf) if arguments.conf else None)
    outcomes = []
    for case in conformance.CASES:
        outcomes += conformance.run(subject, [case])
        put(conformance.told(outcomes[-1:]) + "\n")
    put(conformance.counted(outcomes) + "\n")
    return 1 if any(one.verdict == conformance.DEVIATION for one in outcomes) else 0


def _path(plugin: str) -> str:
    if "/" not in plugin:
        return find(plugin, (*PATH, BIN))
    return find(os.path.basename(plugin), (os.path.dirname(plugin),))
