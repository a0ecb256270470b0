"""Does the port answer, and whom does it see? A caller and a server, real sockets in any namespace.

Source: tcp(7), udp(7), socket(7).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import selectors
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

from labkit.errors import Refused, WrongUse, cause
from labkit.net.here import ensure_lab_machine
from labkit.packets import neighbours
from labkit.packets.holders import holder
from labkit.packets.inside import inside

__all__ = ["Connection", "Server", "connect", "reply_http", "reply_source", "serve"]

Peer = tuple[str, int]
Reply = bytes | str | Callable[[bytes, Peer], bytes]
MOST = 65536  # bytes read at a time


@dataclass(frozen=True, repr=False)
class Connection:
    """What came of a call. Its text has no ephemeral port in it; `source` has."""

    namespace: str
    address: str
    port: int
    udp: bool
    ok: bool
    peer: Peer | None  # who answered
    source: Peer | None = field(compare=False)  # the caller's own address and port
    data: bytes = b""  # the answer
    error: str | None = None
    command: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """The answer as text."""
        return self.data.decode(errors="replace")

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        told = f"{self.namespace} → {_end(self.address, self.port)} {'UDP' if self.udp else 'TCP'}: "
        if self.error:
            return told + self.error
        return told + ("answered" if self.udp else "connected") + (f": {self.text!r}" if self.data else "")


def connect(
    namespace: str,
    address: str,
    port: int,
    *,
    udp: bool = False,
    data: bytes | str = b"",
    timeout: float = 1.0,
    source: str | tuple[str, int] | None = None,
) -> Connection:
    """Call `address` `port` from `namespace`, send `data`, and return a Connection with the answer.

    TCP is ok when the connection stands (and, with data, something came back); UDP when an answer came, since UDP alone
    tells nothing. timeout: seconds for each step. source: address, or address and port, to call from.
    What goes wrong is in the Connection's `error`, in words, not an exception. Raises WrongUse, NotFound (namespace).
    Same as: ip netns exec NAMESPACE nc [-u] ADDRESS PORT"""
    ensure_lab_machine(f"connect to {address}")
    _check(address, port)
    sent = data.encode() if isinstance(data, str) else data
    prefix = "" if namespace == "host" else f"ip netns exec {namespace} "
    words = prefix + ("nc -u " if udp else "nc ") + f"{address} {port}"
    told = partial(Connection, namespace, address, port, udp, command=words)
    sock = inside(namespace, lambda: _socket(address, udp))
    here: Peer | None = None
    with sock:
        sock.settimeout(timeout)
        try:
            if source is not None:
                sock.bind((source, 0) if isinstance(source, str) else source)
            sock.connect((address, port))
            here = sock.getsockname()[:2]
            if udp or sent:
                sock.sendall(sent)
            answer = _answer(sock, udp) if udp or sent else b""
            return told(True, sock.getpeername()[:2], here, answer)
        except TimeoutError:
            return told(False, None, here, error=_silence(namespace, address, timeout, here is not None and not udp))
        except OSError as error:
            return told(False, None, here, error=_spoken(error.errno or 0, namespace, address, port, udp, source))


def _answer(sock: socket.socket, udp: bool) -> bytes:
    if udp:
        return sock.recv(MOST)
    first = sock.recv(MOST)
    rest = [first]
    sock.settimeout(0.02)  # what is part of the same answer is there by now, or the other side has closed
    try:
        while piece := sock.recv(MOST):
            rest.append(piece)
    except OSError:
        pass
    return b"".join(rest)


def _silence(namespace: str, address: str, timeout: float, connected: bool) -> str:
    if connected:
        return f"connected, but no answer within {timeout:g} s"
    unanswered = neighbours.unanswered(namespace, ipaddress.ip_address(address))
    return f"no answer to {unanswered}" if unanswered else f"no answer within {timeout:g} s"


def _spoken(
    number: int, namespace: str, address: str, port: int, udp: bool, source: str | tuple[str, int] | None
) -> str:
    if number == errno.ECONNREFUSED:
        place = f"{'UDP' if udp else 'TCP'} port {port} of {address}"
        return f"connection refused: nothing listens on {place}, or a filter rejects"
    if number == errno.ENETUNREACH:
        return f"network is unreachable: no route to {address} in namespace '{namespace}'"
    if number == errno.EHOSTUNREACH:
        unanswered = neighbours.unanswered(namespace, ipaddress.ip_address(address))
        return f"no answer to {unanswered}" if unanswered else "no route to host: somebody on the way said so"
    if number == errno.EPERM:
        return f"not sent: a filter in namespace '{namespace}' dropped it"
    if number == errno.EADDRNOTAVAIL and source is not None:
        return f"source {source} is on no link of namespace '{namespace}'"
    if number == errno.ECONNRESET:
        return "connection reset by the other side"
    return cause(number)


def reply_source(_data: bytes, peer: Peer) -> bytes:
    """A reply for `serve`: the address that the server sees the caller come from."""
    return peer[0].encode()


def reply_http(text: str) -> bytes:
    """A reply for `serve`: `text` as an HTTP response, for curl."""
    body = text.encode()
    return b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def serve(
    namespace: str,
    port: int,
    *,
    address: str = "0.0.0.0",  # noqa: S104 - inside a namespace, every address of it
    udp: bool = False,
    reply: Reply | None = None,
) -> Server:
    """Listen on `port` in `namespace` and answer; return the Server, which stops at the end of its `with` block.

    reply: what is answered: nothing given, the very bytes that came (echo); bytes or str; or a function of
    (data, (address, port)), such as `reply_source`. Over TCP each piece that comes is answered; a fixed reply is
    answered once and the connection closed, as HTTP/1.0 does.
    address: "0.0.0.0" is every IPv4 address, "::" every IPv6 address of the namespace.
    Raises Refused (port in use, and by whom; no such address), WrongUse, NotFound.
    Same as: ip netns exec NAMESPACE nc -l [-u] PORT"""
    ensure_lab_machine(f"serve port {port} in namespace '{namespace}'")
    _check(address, port)
    sock = inside(namespace, lambda: _listener(namespace, address, port, udp))
    return Server(sock, namespace, address, port, udp, reply)


class Server:
    """A thread with a listening socket in a namespace. `seen`: the (address, port) of every caller, in order."""

    def __init__(
        self, sock: socket.socket, namespace: str, address: str, port: int, udp: bool, reply: Reply | None
    ) -> None:
        self.namespace, self.address, self.udp = namespace, address, udp
        self.port: int = sock.getsockname()[1]
        self.seen: list[Peer] = []
        self._sock = sock
        self._once = isinstance(reply, bytes | str)
        self._reply = _function(reply)
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._selector.register(sock, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"labkit-serve-{namespace}-{port}", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._sock.fileno() >= 0

    @property
    def callers(self) -> list[str]:
        """The address of every caller, in order."""
        return [address for address, _ in self.seen]

    @property
    def command(self) -> str:
        """The equivalent shell command."""
        prefix = "" if self.namespace == "host" else f"ip netns exec {self.namespace} "
        return f"{prefix}nc -l{' -u' if self.udp else ''} {self.port}"

    def stop(self) -> None:
        """Stop listening, and end every connection. Stopping again changes nothing."""
        if self.running:
            os.eventfd_write(self._wake, 1)
            self._thread.join()

    def _run(self) -> None:
        connections: dict[socket.socket, Peer] = {}
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj == self._wake:
                        return
                    assert isinstance(key.fileobj, socket.socket)
                    if key.fileobj in connections:
                        self._answer(key.fileobj, connections)
                    elif self.udp:
                        self._answer_datagram()
                    else:
                        self._accept(connections)
        finally:
            for sock in connections:
                sock.close()
            self._selector.close()
            os.close(self._wake)
            self._sock.close()

    def _accept(self, connections: dict[socket.socket, Peer]) -> None:
        try:
            sock, peer = self._sock.accept()
        except OSError:  # the caller has left already
            return
        sock.settimeout(1.0)  # for an answer that the caller does not read
        self.seen.append(peer[:2])
        connections[sock] = peer[:2]
        self._selector.register(sock, selectors.EVENT_READ)

    def _answer(self, sock: socket.socket, connections: dict[socket.socket, Peer]) -> None:
        done = self._once
        try:
            data = sock.recv(MOST)
            if data:
                sock.sendall(self._reply(data, connections[sock]))
            done = done or not data
        except OSError:
            done = True
        if done:
            self._selector.unregister(sock)
            del connections[sock]
            sock.close()

    def _answer_datagram(self) -> None:
        try:
            data, peer = self._sock.recvfrom(MOST)
            self.seen.append(peer[:2])
            self._sock.sendto(self._reply(data, peer[:2]), peer)
        except OSError:  # nobody there any more, or no way back: UDP does not mind
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "listens" if self.running else "stopped"
        return f"server in {self.namespace}: {_end(self.address, self.port)} {'UDP' if self.udp else 'TCP'}, {state}"


def _function(reply: Reply | None) -> Callable[[bytes, Peer], bytes]:
    if reply is None:
        return lambda data, _peer: data
    if callable(reply):
        return reply
    fixed = reply.encode() if isinstance(reply, str) else reply
    return lambda _data, _peer: fixed


def _socket(address: str, udp: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)


def _listener(namespace: str, address: str, port: int, udp: bool) -> socket.socket:
    sock = _socket(address, udp)
    try:
        if not udp:  # a port whose connections still wind down can be used again
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if not udp:
            sock.listen(128)
    except OSError as error:
        sock.close()
        number = error.errno or 0
        name = f"{'UDP' if udp else 'TCP'} port {port}"
        if number == errno.EADDRINUSE:
            held = holder(port, udp)
            told = "it is in use" + (f" by {held}" if held else "")
            hint = f"who listens: ip netns exec {namespace} ss -lnp"
        elif number == errno.EADDRNOTAVAIL:
            told, hint = f"address {address} is on no link there", f"addresses there: ip -n {namespace} -br address"
        else:
            told, hint = cause(number), ""
        if namespace == "host":
            hint = hint.replace("ip netns exec host ", "").replace("ip -n host ", "ip ")
        raise Refused(f"failed to serve {name} in namespace '{namespace}': {told}", hint, errno=number) from error
    return sock


def _check(address: str, port: int) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise WrongUse(
            f"failed to use '{address}': not an IP address", "write it without a prefix: 10.0.0.2, not 10.0.0.2/24"
        ) from error
    if not 0 <= port <= 65535:
        raise WrongUse(f"failed to use port {port}: a port is 0 to 65535")


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
