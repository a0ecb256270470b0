"""Docker's networking without Docker: what does it build on a host, and why?

from labkit.docker import Docker

docker = Docker()
docker.run("web", publish="8080:80")
docker.commands()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.docker.comparison import compare, live
    from labkit.docker.dns import lookup
    from labkit.docker.engine import Docker, clear

_HOME = {"Docker": "engine", "clear": "engine", "compare": "comparison", "live": "comparison", "lookup": "dns"}

__all__ = ["Docker", "clear", "compare", "live", "lookup"]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: the programs of this package start without it."""
    if name not in _HOME:
        raise AttributeError(f"module 'labkit.docker' has no attribute '{name}'")
    found = getattr(importlib.import_module(f"labkit.docker.{_HOME[name]}"), name)
    globals()[name] = found  # a module of the same name does not hide it
    return found
