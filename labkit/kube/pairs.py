"""Who reached whom, and whom did the called side see? Every pair at once, by a TCP connection and a ping of its own.

One listening socket and one ICMP socket stand in each namespace; one loop serves them all. The called side writes down
the source address of what came, and the address at which it was called: that is what NAT cannot hide.
Measured on two cores: the 870 pairs of 30 pods on 3 nodes, and the 30 of node and pod, in 0.15 to 0.32 s.
Source: tcp(7), raw(7), icmp(7); RFC 792.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from labkit.errors import Refused, cause
from labkit.packets.icmp import checksum
from labkit.packets.inside import inside

__all__ = ["PORT", "Answer", "Pair", "Pairs"]

PORT = 7007  # TCP: where the called side listens
MOST = 400  # calls under way at a time
_TOKEN = struct.Struct(">8sI")  # which run, which pair
_UNREACHABLE = {0: "network unreachable", 1: "host unreachable", 3: "port unreachable", 13: "prohibited by a filter"}


@dataclass(frozen=True)
class Pair:
    """A call from namespace `caller` to the address `address`, which namespace `callee` should have."""

    caller: str
    callee: str
    address: str


@dataclass
class Answer:
    """What came of one call. `seen`: the source address that the called side saw, `called`: the address it was called
    at, `by`: the namespace that was called; all "" where nothing arrived. `ok`: the answer came back; `error`: why
    not, in words; `sent` is False where the caller's own kernel refused."""

    seen: str = ""
    called: str = ""
    by: str = ""
    ok: bool = False
    error: str = ""
    sent: bool = True


@dataclass
class _Call:
    pair: Pair
    number: int
    tcp: Answer = field(default_factory=Answer)
    ping: Answer = field(default_factory=Answer)
    sock: socket.socket | None = None
    began: float = 0.0
    pinging: bool = False


class Pairs:
    """Stands in every namespace of `names`, ready to be called, until the end of its `with` block.

    Raises NotFound, NamespaceGone, Refused where TCP port 7007 is taken."""

    def __init__(self, names: Iterable[str]) -> None:
        self._run = os.urandom(8)
        self._selector = selectors.DefaultSelector()
        self._icmp: dict[str, socket.socket] = {}
        self._open: set[socket.socket] = set()
        self._calls: list[_Call] = []
        self._under_way: dict[int, _Call] = {}  # by number, the oldest first
        try:
            for name in dict.fromkeys(names):
                self._stand_in(name)
        except BaseException:
            self.close()
            raise

    def _stand_in(self, name: str) -> None:
        listener, icmp = inside(name, lambda: _sockets(name))
        self._icmp[name] = icmp
        self._register(listener, selectors.EVENT_READ, lambda: self._accept(name, listener))
        self._register(icmp, selectors.EVENT_READ, lambda: self._hear(name))

    def ask(self, pairs: Sequence[Pair], timeout: float = 1.0) -> list[tuple[Answer, Answer]]:
        """Make every call and return, in order, the answers by TCP and by ping. `timeout`: seconds for each call."""
        self._calls = [_Call(pair, number) for number, pair in enumerate(pairs)]
        for caller in dict.fromkeys(pair.caller for pair in pairs):
            mine = [call for call in self._calls if call.pair.caller == caller]
            for begin in range(0, len(mine), MOST):
                some = mine[begin : begin + MOST]
                self._serve(timeout, MOST - len(some))
                self._begin(caller, some)
        self._serve(timeout, 0)
        return [(call.tcp, call.ping) for call in self._calls]

    def _begin(self, caller: str, calls: list[_Call]) -> None:
        sockets = inside(caller, lambda: [socket.socket() for _ in calls])
        for call, sock in zip(calls, sockets, strict=True):
            call.began = time.monotonic()
            self._under_way[call.number] = call
            self._connect(call, sock)
            self._ping(call)
            self._settle(call)
        self._turn(0)

    def _serve(self, timeout: float, most: int) -> None:
        """Serve until at most `most` calls are under way."""
        while len(self._under_way) > most:
            oldest = next(iter(self._under_way.values()))
            left = oldest.began + timeout - time.monotonic()
            self._turn(max(left, 0))
            if left <= 0 and oldest.number in self._under_way:
                self._give_up(oldest, f"no answer within {timeout:g} s")

    def _give_up(self, call: _Call, error: str) -> None:
        if call.sock is not None:
            self._end(call, error)
        if call.pinging:
            self._pinged(call, error)

    def _settle(self, call: _Call) -> None:
        if call.sock is None and not call.pinging:
            self._under_way.pop(call.number, None)

    def _turn(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.fileobj in self._open:  # another one's turn may have closed it
                key.data()

    # the calling side

    def _connect(self, call: _Call, sock: socket.socket) -> None:
        call.sock = sock
        sock.setblocking(False)
        self._register(sock, selectors.EVENT_WRITE, lambda: self._connected(call))
        number = sock.connect_ex((call.pair.address, PORT))
        if number not in (0, errno.EINPROGRESS):
            call.tcp.sent = False
            self._end(call, _words(number))

    def _connected(self, call: _Call) -> None:
        sock = call.sock
        assert sock is not None
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            if number:
                raise OSError(number, "")
            sock.send(_TOKEN.pack(self._run, call.number))
            self._selector.modify(sock, selectors.EVENT_READ, lambda: self._told(call))
        except OSError as error:
            self._end(call, _words(error.errno or 0))

    def _told(self, call: _Call) -> None:
        assert call.sock is not None
        try:
            call.tcp.ok = call.sock.recv(16) == b"seen"
            self._end(call, "" if call.tcp.ok else "closed without an answer")
        except OSError as error:
            self._end(call, _words(error.errno or 0))

    def _end(self, call: _Call, error: str) -> None:
        assert call.sock is not None
        call.tcp.error = error
        self._close(call.sock)
        call.sock = None
        self._settle(call)

    def _ping(self, call: _Call) -> None:
        mark = self._run[:2] + struct.pack(">H", call.number & 0xFFFF)
        payload = mark + _TOKEN.pack(self._run, call.number)
        sum_ = checksum(b"\x08\0\0\0" + payload)
        call.pinging = True
        try:
            self._icmp[call.pair.caller].sendto(b"\x08\0" + sum_ + payload, (call.pair.address, 0))
        except OSError as error:
            call.ping.sent = False
            self._pinged(call, _words(error.errno or 0))

    def _pinged(self, call: _Call, error: str = "") -> None:
        call.pinging, call.ping.ok, call.ping.error = False, not error, error
        self._settle(call)

    # the called side

    def _accept(self, name: str, listener: socket.socket) -> None:
        try:
            sock, peer = listener.accept()
        except OSError:  # the caller has left already
            return
        sock.setblocking(False)
        self._register(sock, selectors.EVENT_READ, lambda: self._called(name, sock, peer[0]))

    def _called(self, name: str, sock: socket.socket, source: str) -> None:
        try:
            call = self._of(sock.recv(_TOKEN.size))
            if call is not None:
                call.tcp.seen, call.tcp.called, call.tcp.by = source, sock.getsockname()[0], name
                sock.send(b"seen")
        except OSError:  # the caller has left already
            pass
        self._close(sock)

    def _hear(self, name: str) -> None:
        """Read what ICMP came: a request at the called side, an answer or an error at the caller's."""
        try:
            data = self._icmp[name].recv(2048)
        except OSError:
            return
        source, to = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
        body = data[(data[0] & 15) * 4 :]
        kind, code = body[0], body[1]
        call = self._of(body[8:20])
        if kind == 8 and call is not None and call.ping.by != call.pair.callee:
            call.ping.seen, call.ping.called, call.ping.by = source, to, name
        elif kind == 0 and call is not None and call.pair.caller == name and call.pinging:
            self._pinged(call)
        elif kind in (3, 11):
            self._refused(name, body, source, _UNREACHABLE.get(code, "unreachable") if kind == 3 else "TTL used up")

    def _refused(self, name: str, body: bytes, source: str, words: str) -> None:
        inner = body[8:]
        request = inner[(inner[0] & 15) * 4 :] if inner else b""
        if request[:1] != b"\x08" or request[4:6] != self._run[:2]:
            return
        number = int.from_bytes(request[6:8], "big")
        for call in self._calls[number::65536]:
            if call.pair.caller == name and call.pinging:
                self._pinged(call, f"{words}, from {source}")

    def _of(self, token: bytes) -> _Call | None:
        if len(token) != _TOKEN.size:
            return None
        run, number = _TOKEN.unpack(token)
        return self._calls[number] if run == self._run and number < len(self._calls) else None

    # sockets

    def _register(self, sock: socket.socket, events: int, work: Callable[[], None]) -> None:
        self._open.add(sock)
        self._selector.register(sock, events, work)

    def _close(self, sock: socket.socket) -> None:
        self._open.discard(sock)
        self._selector.unregister(sock)
        sock.close()

    def close(self) -> None:
        """Leave every namespace."""
        for sock in list(self._open):
            self._close(sock)
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sockets(name: str) -> tuple[socket.socket, socket.socket]:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("0.0.0.0", PORT))  # noqa: S104 - inside a namespace, every address of it
        listener.listen(4096)
    except OSError as error:
        listener.close()
        raise Refused(
            f"failed to listen on TCP port {PORT} in namespace '{name}': {cause(error.errno or 0)}",
            f"who listens: ip netns exec {name} ss -lntp",
            errno=error.errno or 0,
        ) from error
    icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    for sock in (listener, icmp):
        sock.setblocking(False)
    return listener, icmp


def _words(number: int) -> str:
    if number == errno.EPERM:
        return "a filter of its own namespace dropped it"
    return {errno.ENETUNREACH: "network unreachable", errno.EHOSTUNREACH: "host unreachable"}.get(number, cause(number))
