"""The kernel's objects: one module each, one verb per function, in iproute2's words.

A module is loaded when it is first used: after `from labkit import net`, `net.rule.add(...)` needs no other import.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    missing = f"module '{__name__}' has no attribute '{name}'"
    if name.startswith("_"):
        raise AttributeError(missing)
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(missing) from error
