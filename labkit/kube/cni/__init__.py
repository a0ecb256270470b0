"""CNI, the Container Network Interface: who wires a pod, and in which words is it asked to?

from labkit.kube import cni

runtime = cni.Runtime()
runtime.add(network, "web-1", namespace="web")    # as libcni would: every plugin of the list in turn
runtime.calls                                      # what was run, as shell commands

Source: CNI specification 1.1.0 (SPEC.md of containernetworking/cni), and libcni's api.go.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.kube.cni.bench import BIN
    from labkit.kube.cni.call import PATH, Call, PluginRefused
    from labkit.kube.cni.conflist import Network, load, parse
    from labkit.kube.cni.runtime import Runtime
    from labkit.kube.cni.shim import record, records

_HOME = {
    "BIN": "bench",
    "Call": "call",
    "Network": "conflist",
    "PATH": "call",
    "PluginRefused": "call",
    "Runtime": "runtime",
    "load": "conflist",
    "parse": "conflist",
    "record": "shim",
    "records": "shim",
}

__all__ = ["BIN", "PATH", "Call", "Network", "PluginRefused", "Runtime", "load", "parse", "record", "records"]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: our own plugin starts at every ADD, and quickly."""
    if name not in _HOME:
        raise AttributeError(f"module 'labkit.kube.cni' has no attribute '{name}'")
    return getattr(importlib.import_module(f"labkit.kube.cni.{_HOME[name]}"), name)
