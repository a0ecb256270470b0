"""echo: whom does a server see, when somebody asks it something over HTTP?

Source: RFC 9112 (HTTP/1.1), of which it knows what curl and a browser need."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from labkit.kube.processes.servers.listening import Loop, Talk, no_more, options, say, streams

__all__ = ["PORT", "server"]

PORT = 8080
_HEAD, _BODY = 1 << 14, 1 << 20  # bytes that a request may have
_REASONS = {
    200: "OK",
    400: "Bad Request",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
}


def server(arguments: Sequence[str], pod: str, container: str) -> Loop:
    """Return a server that listens. `arguments`: [--port PORT]. Raises CannotServe.

    It answers any request with lines of text: its pod and container, the address that it sees as the caller's, the one
    that was called, and the request; and /hostname with the pod's name only."""
    port, rest = options(arguments, PORT)
    no_more(rest, "--port PORT")
    loop = Loop()
    streams(loop, port, lambda loop, sock: Http(loop, sock, pod, container))
    return loop


class Http(Talk):
    """One caller's connection, on which requests may follow each other."""

    def __init__(self, loop: Loop, sock: socket.socket, pod: str, container: str) -> None:
        super().__init__(loop, sock)
        self.pod, self.container = pod, container
        self.caller = sock.getpeername()[0]
        address, port = sock.getsockname()
        self.called = f"{address}:{port}"

    def answer(self) -> bytes:
        """Return the response to the first request, as soon as it is there as a whole."""
        head, blank, rest = self.came.partition(b"\r\n\r\n")
        if not blank:
            return self._fail(431) if len(head) > _HEAD else b""
        line, *lines = head.decode("latin-1").split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return self._fail(400)
        headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        if "transfer-encoding" in headers:
            return self._fail(501)
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            return self._fail(400)
        if int(length) > _BODY:
            return self._fail(413)
        if len(rest) < int(length):
            return b""
        body, self.came = rest[: int(length)], rest[int(length) :]
        default = "keep-alive" if words[2] == "HTTP/1.1" else "close"
        self.last = headers.get("connection", default).lower() != "keep-alive"
        return self._respond(200, words[0], words[1], self._text(words[0], words[1], body))

    def _text(self, method: str, target: str, body: bytes) -> str:
        if target == "/hostname":
            return self.pod + "\n"
        lines = [
            f"pod: {self.pod}",
            f"container: {self.container}",
            f"from: {self.caller}",
            f"to: {self.called}",
            f"request: {method} {target}",
        ]
        if body:
            lines.append(f"body: {body.decode(errors='replace')}")
        return "\n".join(lines) + "\n"

    def _fail(self, status: int) -> bytes:
        self.last = True
        return self._respond(status, "", "", f"{_REASONS[status].lower()}\n")

    def _respond(self, status: int, method: str, target: str, text: str) -> bytes:
        say(f'{self.caller} "{method} {target}" {status}' if method else f"{self.caller} - {status}")
        content = text.encode()
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(content)}\r\n"
            f"Connection: {'close' if self.last else 'keep-alive'}\r\n\r\n"
        )
        return head.encode() + (b"" if method == "HEAD" else content)
