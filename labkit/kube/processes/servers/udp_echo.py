"""udp-echo: whom does a server see, when somebody sends it a datagram?"""

from __future__ import annotations

from collections.abc import Sequence

from labkit.kube.processes.servers.listening import Loop, datagrams, no_more, options, say

__all__ = ["PORT", "server"]

PORT = 8081
_MOST = 65507  # bytes of a datagram: 65535 - 20 IPv4 - 8 UDP


def server(arguments: Sequence[str]) -> Loop:
    """Return a server that listens. `arguments`: [--port PORT]. Raises CannotServe."""
    port, rest = options(arguments, PORT)
    no_more(rest, "--port PORT")

    def answer(data: bytes, caller: str, called: str) -> bytes:
        say(f"{caller} {len(data)} bytes")
        return (f"from {caller} to {called}:{port}: ".encode() + data)[:_MOST]

    loop = Loop()
    datagrams(loop, port, answer)
    return loop
