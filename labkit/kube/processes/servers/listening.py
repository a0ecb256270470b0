"""Listening: how does one small process serve many callers at once?

It never waits for one of them: epoll says who has something to say."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

__all__ = ["CannotServe", "Loop", "Talk", "datagrams", "no_more", "options", "say", "streams"]

_ANY = "0.0.0.0"  # noqa: S104 - a pod's every address
_MOST = 1000  # connections at a time
_IP_PKTINFO = 8


class CannotServe(Exception):
    """The server does not start. `status`: its exit status."""

    def __init__(self, reason: str, status: int = 1) -> None:
        super().__init__(reason)
        self.status = status


class Loop:
    """Calls who has something to read, one after the other, for ever."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._readers: dict[int, Callable[[], object]] = {}

    def read(self, sock: socket.socket, reader: Callable[[], object]) -> None:
        """Call `reader` whenever `sock` has something to read, or room to write after `write`."""
        sock.setblocking(False)
        self._readers[sock.fileno()] = reader
        self._poll.register(sock, select.EPOLLIN)

    def write(self, sock: socket.socket, wanted: bool) -> None:
        """Wait for room to write instead of something to read, or the other way round."""
        self._poll.modify(sock, select.EPOLLOUT if wanted else select.EPOLLIN)

    def close(self, sock: socket.socket) -> None:
        """Close a socket that was read."""
        self._readers.pop(sock.fileno(), None)
        sock.close()

    def run(self) -> None:
        """Serve."""
        while True:
            for descriptor, _ in self._poll.poll():
                with suppress(BlockingIOError, ConnectionError):
                    self._readers.get(descriptor, lambda: None)()


class Talk:
    """One TCP connection. A protocol says in `answer` what is said back to what `came`, which it takes from there."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.loop, self.sock = loop, sock
        self.came = b""
        self.last = False  # what is said now is the end of it
        self._waiting = b""
        loop.read(sock, self._turn)

    def answer(self) -> bytes:
        """Return what to say, "" as long as what came is no whole request."""
        raise NotImplementedError

    def _turn(self) -> None:
        try:
            if self._waiting:
                self._say(b"")
            else:
                data = self.sock.recv(1 << 16)
                self.came += data
                self.last = not data
            while not (self.last or self._waiting) and (said := self.answer()):
                self._say(said)
        except BlockingIOError:
            return
        except OSError:
            self.last, self._waiting = True, b""
        if self.last and not self._waiting:
            self.loop.close(self.sock)

    def _say(self, data: bytes) -> None:
        had = bool(self._waiting)
        self._waiting += data
        with suppress(BlockingIOError):
            self._waiting = self._waiting[self.sock.send(self._waiting) :]
        if bool(self._waiting) != had:
            self.loop.write(self.sock, bool(self._waiting))


def options(arguments: Sequence[str], port: int) -> tuple[int, list[str]]:
    """Return the port of `--port PORT`, or `port`, and the other arguments. Raises CannotServe."""
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name != "--port":
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        if not value.isdecimal() or not 0 < int(value) < 65536:
            raise CannotServe(f"failed to read the arguments: --port wants a number from 1 to 65535, not '{value}'", 2)
        port = int(value)
    return port, rest


def no_more(rest: Sequence[str], usage: str) -> None:
    """Raises CannotServe where arguments are left."""
    if rest:
        raise CannotServe(f"failed to read the arguments: '{rest[0]}' is none of them ({usage})", 2)


def streams(loop: Loop, port: int, talk: Callable[[Loop, socket.socket], object]) -> None:
    """Whoever connects to TCP port `port` gets a `talk`. Raises CannotServe."""
    listener = _bound(socket.SOCK_STREAM, port)
    listener.listen(128)

    def accept() -> None:
        sock, _ = listener.accept()
        if len(loop._readers) > _MOST:
            sock.close()
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk(loop, sock)

    loop.read(listener, accept)


def datagrams(loop: Loop, port: int, answer: Callable[[bytes, str, str], bytes | None]) -> None:
    """Whoever sends a datagram to UDP port `port` gets what `answer` returns for it, its sender's address and its
    destination's; from there, as with several addresses it would not be without saying. Raises CannotServe."""
    sock = _bound(socket.SOCK_DGRAM, port)
    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def receive() -> None:
        data, ancillary, _, sender = sock.recvmsg(1 << 16, 64)
        here = bytes(ancillary[0][2][8:12])  # struct in_pktinfo: ifindex, the local address, the destination's
        reply = answer(data, sender[0], socket.inet_ntoa(here))
        if reply is not None:
            source = b"\0\0\0\0" + here + b"\0\0\0\0"
            with suppress(OSError):  # the way back is the network's business
                sock.sendmsg([reply], [(socket.IPPROTO_IP, _IP_PKTINFO, source)], 0, sender)

    loop.read(sock, receive)


def say(line: str) -> None:
    """Print a line at once."""
    os.write(1, f"{line}\n".encode(errors="replace"))


def _bound(kind: socket.SocketKind, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after a restart, old connections linger
        sock.bind((_ANY, port))
    except OSError as error:
        sock.close()
        why = os.strerror(error.errno or 0).lower()
        raise CannotServe(f"failed to listen on {_ANY}:{port}: {why}") from error
    return sock
