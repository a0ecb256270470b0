"""Messages: what do the spawner and its owner say to each other?

JSON, one object a message, with descriptors. Each tells of a process: the kernel tells its receiver the PID as the
receiver knows it, since the two are in different PID namespaces. Source: unix(7), SCM_CREDENTIALS and SCM_RIGHTS.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

__all__ = ["pair", "receive", "send"]

_CREDENTIALS = struct.Struct("3i")
_MOST = 1 << 16  # bytes that the owner is told at once


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets; the first is told whom a message is about."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ours, theirs


def send(to: socket.socket, what: dict[str, Any], pid: int = 0, descriptors: Sequence[int] = ()) -> None:
    """Send a message about the process `pid`, or about the sender. Raises OSError."""
    who = _CREDENTIALS.pack(pid or os.getpid(), os.getuid(), os.getgid())
    ancillary: list[tuple[int, int, bytes]] = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, who)]
    if descriptors:
        handed = struct.pack(f"{len(descriptors)}i", *descriptors)
        ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, handed))
    to.sendmsg([json.dumps(what).encode()], ancillary)


def receive(sock: socket.socket) -> tuple[dict[str, Any], int, list[int]]:
    """Return the next message, the PID of whom it is about, and the descriptors that came with it; {} at the end."""
    try:
        data, ancillary, _, _ = sock.recvmsg(_MOST, 128, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        data, ancillary = b"", []
    pid = 0
    descriptors: list[int] = []
    for _, kind, value in ancillary:
        if kind == socket.SCM_CREDENTIALS:
            pid = _CREDENTIALS.unpack(value)[0]
        elif kind == socket.SCM_RIGHTS:
            descriptors += struct.unpack(f"{len(value) // 4}i", value)
    return (json.loads(data) if data else {}), pid, descriptors
