"""What does the kernel say? A Snapshot is all of it at one moment; a Difference is what came, went and changed."""

from labkit.state.difference import Change, Difference, difference
from labkit.state.read import snapshot
from labkit.state.records import Address, FdbEntry, Link, Neighbour, Route, Rule
from labkit.state.snapshot import NamespaceState, Snapshot
from labkit.state.watch import Watcher, watch

__all__ = [
    "Address",
    "Change",
    "Difference",
    "FdbEntry",
    "Link",
    "NamespaceState",
    "Neighbour",
    "Route",
    "Rule",
    "Snapshot",
    "Watcher",
    "difference",
    "snapshot",
    "watch",
]
