"""The embedded DNS as a program: who asks, and what may they know?

One process answers for all containers of one Docker. The sockets that it answers on lie in the containers' namespaces:
its owner, a `Resolver`, opens them there and hands them over with each change, on the socket that is this program's
standard input; what it says there is that somebody's sockets are closed. It ends when that is closed, with its owner.
"""

from __future__ import annotations

import json
import os
import random
import select
import socket
import struct
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from dnslib import OPCODE, PTR, QTYPE, RCODE, RR, A, DNSError, DNSQuestion, DNSRecord

from labkit.net import namespace as namespaces

__all__ = ["ADDRESS", "NAME", "TTL", "Endpoint", "Names", "Server", "answer", "forget_resolv_conf", "main"]

NAME = "labkit-dns"  # what ps says
ADDRESS = "127.0.0.11"
TTL = 600  # seconds
_HEADER = 12  # bytes
_UDP, _TCP = 512, 65535  # bytes that an answer may have; over UDP a query may allow more (RFC 6891)
_LOOK = 1.0  # seconds between two looks for what has gone
_PATIENCE = 2.0  # seconds that a TCP connection may say nothing
_REMEMBERED = 4096  # answers
_MOST = 64  # TCP connections of one container at a time


class Endpoint(NamedTuple):
    """One container on one user-defined network: the names that it can be asked for by there, and its address."""

    network: str
    container: str
    address: str
    aliases: tuple[str, ...] = ()


class Names:
    """Who may ask for what. A container knows the names on the networks that it is on itself, and no others.

    Networks are searched in the order of their names. Capitals make a difference in a network's name only.
    Source: libnetwork, sandbox.go, ResolveName and epHeap.Less; what Docker 20.10 was seen to answer."""

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self._networks: dict[str, list[str]] = defaultdict(list)
        self._addresses: dict[str, dict[str, list[str]]] = defaultdict(dict)
        self._containers: dict[str, dict[str, str]] = defaultdict(dict)
        for network, container, address, aliases in sorted(endpoints):
            self._networks[container].append(network)
            self._containers[network][address] = container
            for name in {container.lower(), *map(str.lower, aliases)}:
                self._addresses[network].setdefault(name, []).append(address)

    def addresses(self, asker: str, name: str) -> list[str]:
        """Return the addresses of `name`, as `asker` may know them: NAME, or NAME.NETWORK; dots may be in both."""
        words = name.rstrip(".").split(".")
        for cut in range(len(words), 0, -1):
            wanted, within = ".".join(words[:cut]).lower(), ".".join(words[cut:])
            for network in self._networks.get(asker, ()):
                if within in ("", network) and wanted in self._addresses[network]:
                    return self._addresses[network][wanted]
        return []

    def name(self, asker: str, address: str) -> str | None:
        """Return NAME.NETWORK of who has `address`, as `asker` may know it."""
        for network in self._networks.get(asker, ()):
            if address in self._containers[network]:
                return f"{self._containers[network][address]}.{network}"
        return None


def answer(message: bytes, names: Names, asker: str, most: int | None = None) -> bytes | None:
    """Return the answer to the query in `message`, or None where it is none and silence is due.

    What Docker would ask of the next name server is refused (REFUSED): a lab machine has none. `most`: bytes; None for
    what the query allows over UDP. Source: RFC 1035 section 4; libnetwork, resolver.go."""
    if len(message) < _HEADER or message[2] & 0x80:  # an answer itself
        return None
    try:
        query = DNSRecord.parse(message)
    except (DNSError, ValueError, IndexError):
        return _bare(message, RCODE.FORMERR)
    if query.header.opcode != OPCODE.QUERY:
        return _bare(message, RCODE.NOTIMP)
    if len(query.questions) != 1:
        return _bare(message, RCODE.FORMERR)
    reply = query.reply(ra=1, aa=0)
    records = _records(query.q, names, asker)
    if records is None:
        reply.header.rcode = RCODE.REFUSED
    for record in records or ():
        reply.add_answer(record)
    return _fit(reply, most or max([_UDP, *(extra.edns_len for extra in query.ar if extra.rtype == QTYPE.OPT)]))


def _bare(message: bytes, rcode: int) -> bytes:
    """Return an answer that is only a header: the query's own, with `rcode` and without anything after it."""
    identifier, flags = struct.unpack(">HH", message[:4])
    return struct.pack(">6H", identifier, 0x8000 | flags & 0x7900 | rcode, 0, 0, 0, 0)


def _records(question: DNSQuestion, names: Names, asker: str) -> list[RR] | None:
    """Return the records that answer, or None where the next name server would have to be asked."""
    name = str(question.qname)
    if question.qtype == QTYPE.PTR:
        host = names.name(asker, _address(name))
        return None if host is None else [RR(question.qname, QTYPE.PTR, ttl=TTL, rdata=PTR(host))]
    found = names.addresses(asker, name) if question.qtype in (QTYPE.A, QTYPE.AAAA, QTYPE.MX) else []
    if not found:
        return None
    if question.qtype != QTYPE.A:  # the name exists, without such a record
        return []
    shuffled = random.sample(found, len(found))
    return [RR(question.qname, QTYPE.A, ttl=TTL, rdata=A(address)) for address in shuffled]


def _address(name: str) -> str:
    """2.0.18.172.in-addr.arpa. → 172.18.0.2; "" for what is no such name"""
    reverse = name.lower().rstrip(".").removesuffix(".in-addr.arpa")
    return ".".join(reversed(reverse.split("."))) if reverse != name.lower().rstrip(".") else ""


def _fit(reply: DNSRecord, most: int) -> bytes:
    """Return the reply in at most `most` bytes; if answers had to be left out, with the bit that says so (TC)."""
    packed: bytes = reply.pack()
    if len(packed) <= most:
        return packed
    answers, reply.rr = reply.rr, []
    reply.header.tc = 1
    bare = len(reply.pack())
    reply.rr = answers[: (most - bare) * len(answers) // (len(packed) - bare)]  # they are of one size
    return bytes(reply.pack())


def resolv_conf(name: str) -> str:
    """Return the path of the file that programs in namespace `name` see as /etc/resolv.conf."""
    return f"{namespaces.ETC}/{name}/resolv.conf"


def forget_resolv_conf(name: str) -> None:
    """Programs in namespace `name` see the lab machine's /etc/resolv.conf again."""
    with suppress(OSError):
        os.unlink(resolv_conf(name))
        os.rmdir(os.path.dirname(resolv_conf(name)))


class Served:
    """One container that is answered, and its sockets."""

    def __init__(
        self, server: Server, container: str, namespace: str, inode: int, udp: socket.socket, tcp: socket.socket
    ) -> None:
        self.server, self.container, self.namespace, self.inode = server, container, namespace, inode
        self.udp, self.tcp = udp, tcp
        self.talks: dict[socket.socket, Talk] = {}
        server.read(udp, self._datagram)
        server.read(tcp, self._connection)

    def _datagram(self) -> None:
        message, sender = self.udp.recvfrom(65535)
        reply = self.server.answer(message, self.container)
        if reply is not None:
            self.udp.sendto(reply, sender)

    def _connection(self) -> None:
        sock, _ = self.tcp.accept()
        if len(self.talks) >= _MOST:
            sock.close()
            return
        sock.setblocking(False)
        self.talks[sock] = Talk(self, sock)

    def gone(self) -> bool:
        """Return whether the namespace has lost its name, or another one has it now."""
        try:
            return os.stat(namespaces.path(self.namespace)).st_ino != self.inode
        except OSError:
            return True

    def close(self) -> None:
        for talk in list(self.talks.values()):
            talk.close()
        self.server.close(self.udp)
        self.server.close(self.tcp)


class Talk:
    """One TCP connection: before each message stand two bytes with its length (RFC 1035, section 4.2.2)."""

    def __init__(self, served: Served, sock: socket.socket) -> None:
        self.served, self.sock = served, sock
        self.came = b""
        self.heard = time.monotonic()
        served.server.read(sock, self._read)

    def _read(self) -> None:
        try:
            data = self.sock.recv(65536)
            self.heard = time.monotonic()
            self.came += data
            while len(self.came) >= 2 and len(self.came) >= 2 + (length := int.from_bytes(self.came[:2], "big")):
                message, self.came = self.came[2 : 2 + length], self.came[2 + length :]
                reply = self.served.server.answer(message, self.served.container, _TCP)
                if reply is not None and self.sock.send(len(reply).to_bytes(2, "big") + reply) != len(reply) + 2:
                    data = b""  # who does not read is not answered
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()

    def close(self) -> None:
        self.served.talks.pop(self.sock, None)
        self.served.server.close(self.sock)


class Server:
    """The process. What its owner says comes before what containers ask: no answer is older than a change."""

    def __init__(self, owner: socket.socket) -> None:
        self.owner = owner
        owner.setblocking(False)
        self.names = Names()
        self._known: dict[tuple[str, int | None, bytes], bytes] = {}
        self.served: dict[str, Served] = {}
        self._told = b""
        self._sockets: deque[socket.socket] = deque()
        self._readers: dict[int, Callable[[], None]] = {}
        self._poll = select.epoll()
        self._poll.register(owner, select.EPOLLIN)

    def read(self, sock: socket.socket, reader: Callable[[], None]) -> None:
        """Call `reader` whenever there is something to read on `sock`."""
        self._readers[sock.fileno()] = reader
        self._poll.register(sock, select.EPOLLIN)

    def close(self, sock: socket.socket) -> None:
        """Close a socket that was read."""
        if self._readers.pop(sock.fileno(), None):
            self._poll.unregister(sock)
        sock.close()

    def answer(self, message: bytes, asker: str, most: int | None = None) -> bytes | None:
        """Return what `answer` returns; what was asked before is known, but for the order of several addresses."""
        question = (asker, most, message[2:])
        reply = self._known.get(question)
        if reply is not None:
            return message[:2] + reply
        new = answer(message, self.names, asker, most)
        if new is not None and int.from_bytes(new[6:8], "big") <= 1:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[question] = new[2:]
        return new

    def run(self) -> None:
        """Answer until the owner has gone."""
        looked = time.monotonic()
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll(_LOOK, len(self._readers) + 1)]
            if self.owner.fileno() in ready and not self._listen():
                break
            for descriptor in ready:  # one message each, so that the next change is heard in time
                with suppress(OSError):
                    self._readers.get(descriptor, lambda: None)()
            if time.monotonic() > looked + _LOOK:
                looked = time.monotonic()
                self._look(looked)
        for served in self.served.values():
            forget_resolv_conf(served.namespace)

    def _listen(self) -> bool:
        """Do all that the owner has said, a line for each change; return False when there is no owner."""
        with suppress(BlockingIOError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(self.owner, 65536, 64)
                if not data:
                    return False
                self._sockets.extend(socket.socket(fileno=descriptor) for descriptor in descriptors)
                *lines, self._told = (self._told + data).split(b"\n")
                for line in lines:
                    self._do(**json.loads(line))
        return True

    def _do(self, verb: str, **what: Any) -> None:
        if verb == "update":
            self.names = Names(
                Endpoint(network, container, address, tuple(aliases))
                for network, container, address, aliases in what["endpoints"]
            )
            self._known.clear()
        elif verb == "serve":
            self._stop(what["container"])
            udp, tcp = self._sockets.popleft(), self._sockets.popleft()
            self.served[what["container"]] = Served(self, **what, udp=udp, tcp=tcp)
        elif verb == "stop":
            self._stop(what["container"])
            with suppress(OSError):  # the owner has gone meanwhile
                self.owner.send(b".")

    def _stop(self, container: str) -> None:
        served = self.served.pop(container, None)
        if served is not None:
            served.close()

    def _look(self, now: float) -> None:
        """A socket keeps its namespace alive: give up those whose namespace was deleted, and silent connections."""
        for container, served in list(self.served.items()):
            if served.gone():
                self._stop(container)
                forget_resolv_conf(served.namespace)
            for talk in list(served.talks.values()):
                if now > talk.heard + _PATIENCE:
                    talk.close()


def main() -> None:
    """Be the process. Its standard input is the socket of its owner."""
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(NAME)
    Server(socket.socket(fileno=sys.stdin.fileno())).run()


if __name__ == "__main__":
    main()
