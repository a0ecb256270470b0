"""Servers: what runs in a container that has no command?

Real, small servers on ordinary sockets of the pod: each is a process, listens where its arguments say, and prints a
line for each request."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence

from labkit.kube.processes.servers import echo, udp_echo
from labkit.kube.processes.servers.listening import CannotServe, Loop

__all__ = ["serve"]


def serve(image: str, arguments: Sequence[str], pod: str, container: str, ready: Callable[[], None]) -> int:
    """Be the server in this process until a signal ends it; `ready` is called when it listens.

    Return an exit status, with the reason on stderr, where it cannot: 1 an address in use, 2 wrong arguments."""
    try:
        loop = _server(image, arguments, pod.rpartition("_")[2], container)
    except CannotServe as reason:
        os.write(2, f"{reason}\n".encode())
        return reason.status
    ready()
    if loop is not None:
        loop.run()
    while True:
        signal.pause()


def _server(image: str, arguments: Sequence[str], pod: str, container: str) -> Loop | None:
    """Return the server of an image, None for one that does nothing."""
    if image == "echo":
        return echo.server(arguments, pod, container)
    if image == "udp-echo":
        return udp_echo.server(arguments)
    if image == "dns":
        from labkit.kube.processes.servers import dns  # loads much that the others do without

        return dns.server(arguments)
    return None
