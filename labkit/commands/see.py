"""labkit see: what is there, as text, a picture or JSON."""

from __future__ import annotations

import argparse

from labkit.commands.output import ensure_lab_machine, not_twice_stdout, put, save
from labkit.errors import NotFound
from labkit.see import topology_svg, topology_text
from labkit.state.read import snapshot
from labkit.state.snapshot import Snapshot

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit see` understands."""
    parser.description = (
        "Show the network of this lab machine as the kernel has it now: every namespace with its interfaces, "
        "addresses, bridges, tunnels and routes, and which cable leads where. It does not matter who built it, or how."
    )
    parser.epilog = (
        "example: `labkit see --svg net.svg` draws it. In a notebook's lab machine: `labkit shell -- labkit see`"
    )
    parser.add_argument(
        "namespace", nargs="*", metavar="NAMESPACE", help="show only these; `host` is the first one (default: all)"
    )
    parser.add_argument(
        "--svg", metavar="FILE", help="draw it into FILE, replaced as a whole, instead of text; - is standard output"
    )
    parser.add_argument("--json", action="store_true", help="print all that was read as JSON instead of text")


def main(arguments: argparse.Namespace) -> int:
    """Show it; return 0."""
    ensure_lab_machine("see")
    not_twice_stdout(arguments.json, arguments.svg)
    there = _wanted(snapshot(), arguments.namespace)
    if arguments.svg is not None:
        save(arguments.svg, topology_svg(there))
    if arguments.json:
        put(there.json() + "\n")
    elif arguments.svg is None:
        put(topology_text(there) + "\n")
    return 0


def _wanted(there: Snapshot, names: list[str]) -> Snapshot:
    """Return these namespaces, each once, by whichever of its names it was asked for. All are read, since where a
    cable leads is known only then. Raises NotFound."""
    if not names:
        return there
    for name in names:
        if name not in there:
            raise NotFound(
                f"failed to show namespace '{name}': no such namespace", f"namespaces there: {', '.join(there)}"
            )
    return there.only(*dict.fromkeys(there[name].name for name in names))
