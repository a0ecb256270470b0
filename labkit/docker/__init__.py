"""Docker's networking without Docker: what does it build on a host, and why?

from labkit.docker import Docker

docker = Docker()
docker.run("web", publish="8080:80")
docker.commands()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.docker.dns import lookup
    from labkit.docker.engine import Docker, clear

__all__ = ["Docker", "clear", "lookup"]


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: the programs of this package start without it."""
    if name not in __all__:
        raise AttributeError(f"module 'labkit.docker' has no attribute '{name}'")
    from labkit.docker import dns, engine

    return getattr(dns if name == "lookup" else engine, name)
