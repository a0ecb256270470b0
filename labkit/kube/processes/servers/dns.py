"""dns: what does a name server answer that knows a few names and asks nobody?

It is the authority for all that it is asked: a name that it was not told does not exist. Source: RFC 1035."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address

from dnslib import QTYPE, RCODE, RR, A, DNSError, DNSRecord

from labkit.kube.processes.servers.listening import CannotServe, Loop, Talk, datagrams, options, say, streams

__all__ = ["PORT", "TTL", "server"]

PORT = 53
TTL = 30  # seconds
_UDP = 512  # bytes that an answer over UDP may have


def server(arguments: Sequence[str]) -> Loop:
    """Return a server that listens, over UDP and TCP. `arguments`: [--port PORT] NAME=ADDRESS..., where a name may
    come again with another address. Raises CannotServe."""
    port, rest = options(arguments, PORT)
    names = _names(rest)
    loop = Loop()
    datagrams(loop, port, lambda data, caller, _: _answer(data, names, caller, _UDP))
    streams(loop, port, lambda loop, sock: _Stream(loop, sock, names))
    return loop


class _Stream(Talk):
    """Before each message stand two bytes with its length (RFC 1035, section 4.2.2)."""

    def __init__(self, loop: Loop, sock: socket.socket, names: dict[str, list[str]]) -> None:
        super().__init__(loop, sock)
        self.names = names
        self.caller = sock.getpeername()[0]

    def answer(self) -> bytes:
        length = int.from_bytes(self.came[:2], "big")
        if len(self.came) < 2 + length or len(self.came) < 2:
            return b""
        message, self.came = self.came[2 : 2 + length], self.came[2 + length :]
        reply = _answer(message, self.names, self.caller, 65535)
        self.last = reply is None
        return b"" if reply is None else len(reply).to_bytes(2, "big") + reply


def _names(words: Sequence[str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for word in words:
        name, equals, address = word.partition("=")
        try:
            names.setdefault(name.rstrip(".").lower(), []).append(str(IPv4Address(address)))
        except ValueError:
            equals = ""
        if not (name and equals):
            raise CannotServe(f"failed to read the arguments: '{word}' is no NAME=ADDRESS", 2)
    return names


def _answer(message: bytes, names: dict[str, list[str]], caller: str, most: int) -> bytes | None:
    """Return the answer, or None to what is no query."""
    try:
        query = DNSRecord.parse(message)
    except (DNSError, ValueError, IndexError):
        return None
    if query.header.qr or len(query.questions) != 1:
        return None
    name, kind = str(query.q.qname).rstrip(".").lower(), QTYPE.get(query.q.qtype)
    reply = query.reply(ra=0, aa=1)
    if name not in names:
        reply.header.rcode = RCODE.NXDOMAIN
    elif query.q.qtype == QTYPE.A:
        for address in names[name]:
            reply.add_answer(RR(query.q.qname, QTYPE.A, ttl=TTL, rdata=A(address)))
    say(f"{caller} {kind} {name} {RCODE.get(reply.header.rcode)}")
    packed = bytes(reply.pack())
    if len(packed) > most:
        reply.rr = []
        reply.header.tc = 1
        packed = bytes(reply.pack())
    return packed
