"""Kubernetes' networking without Kubernetes: what does a cluster build on its nodes, and why?

from labkit import kube

cluster = kube.up(nodes=3)

`cni` is the interface by which a runtime has a pod wired: any plugin, called as libcni calls it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.kube.client import Cluster, down, up
    from labkit.kube.requirements import Endpoint, requirements

_HOME = {
    "Cluster": "client",
    "Endpoint": "requirements",
    "down": "client",
    "requirements": "requirements",
    "up": "client",
}

__all__ = ["Cluster", "Endpoint", "down", "requirements", "up"]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: the programs of this package start without it."""
    if name not in _HOME:
        raise AttributeError(f"module 'labkit.kube' has no attribute '{name}'")
    found = getattr(importlib.import_module(f"labkit.kube.{_HOME[name]}"), name)
    globals()[name] = found  # a module of the same name does not hide it
    return found
