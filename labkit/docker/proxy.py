"""The userland proxy: who answers on a published port when no rule rewrites the packet?

The rules of a published port are for packets that come from elsewhere. A connection from the host to 127.0.0.1, and one
from a container to the host on its own bridge, end on the host itself, and there somebody has to listen. Docker starts
the program docker-proxy for each port; here one thread plays it for all of them: it takes the connection, opens one of
its own to the container, and passes bytes on both ways. So the container sees the host's address, not the caller's.
With `userland_proxy=False` nobody answers, and the port is only kept from being taken by others.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from labkit.docker.ports import Published
from labkit.errors import Refused, cause
from labkit.net import namespace as namespaces

__all__ = ["Proxy"]

_KEPT = 90.0  # seconds after which the socket of a UDP caller is given up, and made anew when it calls again
Address = tuple[str, int]


class Proxy:
    """The listeners of one Docker. `relay` false: they only keep the ports."""

    def __init__(self, host: str, relay: bool) -> None:
        self._host, self._relay = host, relay
        self._kept: dict[Published, socket.socket] = {}
        self._servers: dict[Published, asyncio.Server | asyncio.DatagramTransport] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def listen(self, what: str, port: Published, target: Address) -> None:
        """Somebody listens on the host's address and port. Raises Refused: the port is in use, or the address is not
        one of the host's."""
        sock = namespaces.inside(self._host, lambda: _listener(what, port))
        if not self._relay:
            self._kept[port] = sock
            return
        self._servers[port] = self._do(_serve(sock, port.protocol, target))

    def close(self, port: Published) -> None:
        """Nobody listens there any more. Closing again changes nothing."""
        if sock := self._kept.pop(port, None):
            sock.close()
        if server := self._servers.pop(port, None):
            self._do(_stop(server))

    def end(self) -> None:
        """Nobody listens anywhere."""
        for port in [*self._kept, *self._servers]:
            self.close(port)
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop = self._thread = None

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self._loop is None:
            self._loop = self._start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _start(self) -> asyncio.AbstractEventLoop:
        """Return the loop of a new thread, which lives in the host's namespace: its sockets are the host's."""
        started: Future[asyncio.AbstractEventLoop] = Future()

        def run() -> None:
            with namespaces.enter(self._host):
                loop = asyncio.new_event_loop()
                started.set_result(loop)
                loop.run_forever()
                for task in asyncio.all_tasks(loop):
                    task.cancel()
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(asyncio.sleep(0))
                loop.close()

        self._thread = threading.Thread(target=run, name=f"labkit-docker-proxy-{self._host}", daemon=True)
        self._thread.start()
        return started.result()


def _listener(what: str, port: Published) -> socket.socket:
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    try:
        if port.protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((port.host_ip, port.host_port))
        if port.protocol == "tcp":
            sock.listen()
    except OSError as error:
        sock.close()
        raise Refused(
            f"{what}: port {port.host_port}/{port.protocol} of {port.host_ip}: {cause(error.errno or 0)}",
            "who listens there: ss -ltunp; the host's addresses: ip -br address",
            errno=error.errno or 0,
        ) from error
    return sock


async def _serve(sock: socket.socket, protocol: str, target: Address) -> asyncio.Server | asyncio.DatagramTransport:
    if protocol == "tcp":
        return await asyncio.start_server(lambda reader, writer: _relay(reader, writer, target), sock=sock)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(target), sock=sock)
    return transport


async def _stop(server: asyncio.Server | asyncio.DatagramTransport) -> None:
    server.close()
    await asyncio.sleep(0)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Address) -> None:
    """Pass on what one TCP connection says, both ways, until both have said all."""
    try:
        to_reader, to_writer = await asyncio.open_connection(*target)
    except OSError:  # nobody listens in the container: the caller has its connection, and it ends
        writer.close()
        return
    try:
        await asyncio.gather(_pass_on(reader, to_writer), _pass_on(to_reader, writer))
    finally:
        writer.close()
        to_writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()


class _Datagrams(asyncio.DatagramProtocol):
    """The datagrams of one UDP port: each caller gets a socket of its own to the container."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._ways: dict[Address, socket.socket] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        for caller in list(self._ways):
            self._forget(caller)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if addr not in self._ways:
            self._open(addr)
        with suppress(OSError):
            self._ways[addr].send(data)

    def _open(self, caller: Address) -> None:
        way = self._ways[caller] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        way.connect(self._target)
        loop = asyncio.get_running_loop()
        loop.add_reader(way, self._reply, way, caller)
        loop.call_later(_KEPT, self._forget, caller)

    def _reply(self, way: socket.socket, caller: Address) -> None:
        with suppress(OSError):
            data = way.recv(65535)
            if self._transport is not None:
                self._transport.sendto(data, caller)

    def _forget(self, caller: Address) -> None:
        if way := self._ways.pop(caller, None):
            asyncio.get_running_loop().remove_reader(way)
            way.close()
