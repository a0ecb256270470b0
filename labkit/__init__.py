"""labkit: the live lab under the course on container networking.

    from labkit import Bridge, Container, Topology, build

    lab = build(Topology(Bridge("br0", "10.0.0.1/24"), Container("red", "10.0.0.2/24", link="br0")))
    lab.run("red", "ip -br address")
    lab.ping("red", "br0")

Names are loaded when they are first used: `import labkit` itself costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "labkit.lab": ("Bridge", "Container", "Interface", "Lab", "Topology", "build", "run"),
    "labkit.state": ("Snapshot", "difference", "snapshot"),
    "labkit.state.firewall": ("hooks",),
    "labkit.tracing": ("trace",),
    "labkit.packets": ("capture", "connect", "ping", "send", "serve"),
    "labkit.check": ("mark",),
    "labkit.net.namespace": ("enter",),
    "labkit.live": ("view",),
    "labkit.needs": ("needs",),
    "labkit.grading.notebook": ("answer", "check_exercise"),
}
_HOME = {name: module for module, names in _WHERE.items() for name in names}

__all__ = sorted(["errors", *_HOME])


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("labkit.errors")
    if name not in _HOME:
        raise AttributeError(f"module 'labkit' has no attribute '{name}'")
    found = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found  # the next look finds it at once, and a module of the same name does not hide it
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
