"""Netfilter's netlink: how does one ask for connections and rules, and hear which rules a packet met?

A message's kind is a subsystem (CONNTRACK, LOG, NFTABLES) and a number in it; its fixed header is struct nfgenmsg: u8
family, u8 version, be16 resource. Numbers inside attributes are in network byte order. Changes of nftables travel in a
batch between two marks, all or nothing.
Source: include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h, nfnetlink_conntrack.h, nfnetlink_log.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from labkit.net.netlink import ACK, DUMP, REQUEST, attribute

__all__ = ["CONNTRACK", "LOG", "NFTABLES", "Message", "Socket", "be32", "nested", "number"]

CONNTRACK, LOG, NFTABLES = 1, 4, 10
NESTED = 0x8000
_BATCH_BEGIN, _BATCH_END, _ERROR, _DONE = 0x10, 0x11, 2, 3
_BUFFER = 1 << 18
_header = struct.Struct("=IHHII")
_general = struct.Struct(">BBH")


class Message(NamedTuple):
    """One message: `kind` in its subsystem, address family, resource, and the attributes' bytes."""

    subsystem: int
    kind: int
    family: int
    body: bytes = b""
    resource: int = 0
    flags: int = 0


def be32(value: int) -> bytes:
    """Return a number as attributes carry it."""
    return struct.pack(">I", value & 0xFFFFFFFF)


def number(data: bytes | None) -> int | None:
    """Return the number that an attribute carries, or None where there is no attribute."""
    return None if data is None else int.from_bytes(data, "big")


def nested(kind: int, *inner: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(inner))


class Socket:
    """A netfilter socket in the namespace of the thread that makes it. Only one thread at a time uses it.

    `groups`: multicast groups to hear (9: nftables' trace)."""

    def __init__(self, *groups: int) -> None:
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 12)  # NETLINK_NETFILTER
        try:
            self.sock.bind((0, sum(1 << group - 1 for group in groups)))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        except BaseException:
            self.sock.close()
            raise
        self._sequence = 0
        self.lost = False  # messages came faster than they were read

    def close(self) -> None:
        """Close the socket; tables that it owns vanish with it."""
        self.sock.close()

    def ask(self, message: Message) -> list[bytes]:
        """Have the kernel carry out one message; return the attributes of each answer. Raises OSError."""
        self._send([message._replace(flags=message.flags | ACK)])
        return [body for _, _, body in self._answers(self._sequence)]

    def batch(self, messages: Sequence[Message]) -> None:
        """Have the kernel carry out `messages` of one subsystem, all or nothing. Raises OSError."""
        mark = Message(0, _BATCH_BEGIN, 0, resource=messages[0].subsystem)
        *most, last = messages
        self._send([mark, *most, last._replace(flags=last.flags | ACK), mark._replace(kind=_BATCH_END)])
        for _ in self._answers(self._sequence - 1):
            pass

    def dump(self, message: Message) -> list[tuple[int, bytes]]:
        """Return (family, attributes) of every object that the kernel tells of. Raises OSError."""
        for _ in range(10):
            self._send([message._replace(flags=message.flags | DUMP)])
            found: list[tuple[int, bytes]] = []
            try:
                for _kind, family, body in self._answers(self._sequence):
                    found.append((family, body))
            except InterruptedError:  # the table changed while it was read
                continue
            return found
        return found

    def heard(self) -> list[tuple[int, int, bytes]]:
        """Return (kind, family, attributes) of everything that came without being asked for, and is here now."""
        return [(kind, family, body) for kind, _, family, body in self.told()]

    def told(self) -> list[tuple[int, int, int, bytes]]:
        """Return the same with each message's flags: (kind, flags, family, attributes)."""
        found: list[tuple[int, int, int, bytes]] = []
        while True:
            try:
                data = self.sock.recv(_BUFFER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost = True
            else:
                found += [(kind, flags, family, body) for kind, flags, _, family, body in _messages(data)]

    def _send(self, messages: Sequence[Message]) -> None:
        parts = []
        for message in messages:
            self._sequence += 1
            kind = message.kind if message.kind in (_BATCH_BEGIN, _BATCH_END) else message.subsystem << 8 | message.kind
            body = _general.pack(message.family, 0, message.resource) + message.body
            parts += [_header.pack(16 + len(body), kind, message.flags | REQUEST, self._sequence, 0), body]
        self.sock.send(b"".join(parts))

    def _answers(self, last: int) -> Iterator[tuple[int, int, bytes]]:
        while True:
            for kind, flags, sequence, family, body in _messages(self.sock.recv(_BUFFER)):
                if flags & 0x10:  # NLM_F_DUMP_INTR
                    raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
                if kind == _ERROR:
                    code = -int.from_bytes(body[:4], "little", signed=True)
                    if code:
                        raise OSError(code, os.strerror(code))
                elif kind != _DONE:
                    yield kind, family, body
                    continue
                if sequence == last:
                    return


def _messages(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Yield (kind, flags, sequence, family, body) of each message; an error's body begins with its number."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = _header.unpack_from(data, offset)
        body = data[offset + 16 : offset + length]
        offset += length + 3 & ~3
        yield (
            (kind, flags, sequence, 0, body)
            if kind in (_ERROR, _DONE)
            else (
                kind,
                flags,
                sequence,
                body[0],
                body[4:],
            )
        )
