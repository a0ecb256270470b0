"""Netlink: how does a program talk to the kernel about its network?

A request is one message (kind, flags, body) on a socket that belongs to a namespace. Several messages travel in one
send, with one acknowledgement, asked for on the last; the kernel answers on its own account for any that fails.

    struct nlmsghdr   u32 length, u16 kind, u16 flags, u32 sequence, u32 port
    body              a fixed header of the kind (LinkHeader, RouteHeader ...), then attributes
    attribute         u16 length, u16 type, value, padded to 4 bytes; a value may hold attributes itself

Source: RFC 3549; include/uapi/linux/netlink.h and rtnetlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine

__all__ = [
    "ACK",
    "BATCH",
    "CREATE",
    "DUMP",
    "EXCL",
    "REPLACE",
    "REQUEST",
    "AddressHeader",
    "LinkHeader",
    "NeighbourHeader",
    "Record",
    "Refusal",
    "Request",
    "RouteHeader",
    "Socket",
    "attribute",
    "attributes",
    "dump",
    "keep",
    "release",
    "request",
    "socket_in",
]

REQUEST, ACK, EXCL, CREATE, REPLACE, DUMP = 0x1, 0x4, 0x200, 0x400, 0x100, 0x300
NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWRULE, DELRULE, GETRULE = 32, 33, 34
NEWNSID, DELNSID, GETNSID = 88, 89, 90

_ERROR, _DONE = 2, 3
_DUMP_INTERRUPTED, _ACK_HAS_ATTRIBUTES = 0x10, 0x200
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SIOCGSKNS = 0x894C
BATCH = 64  # messages a send
_BUFFER = 1 << 16

_header = struct.Struct("=IHHII")
_attribute = struct.Struct("=HH")
_pack_attribute = _attribute.pack
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by the length's last two bits


class LinkHeader(NamedTuple):
    """struct ifinfomsg: `type` is the hardware's (1 is Ethernet), `change` a mask of the flags to change."""

    family: int = 0
    type: int = 0
    ifindex: int = 0
    flags: int = 0
    change: int = 0


class AddressHeader(NamedTuple):
    """struct ifaddrmsg."""

    family: int = 0
    prefixlen: int = 0
    flags: int = 0
    scope: int = 0
    ifindex: int = 0


class RouteHeader(NamedTuple):
    """struct rtmsg, and struct fib_rule_hdr, whose `type` is the rule's action."""

    family: int = 0
    dst_len: int = 0
    src_len: int = 0
    tos: int = 0
    table: int = 0
    protocol: int = 0
    scope: int = 0
    type: int = 0
    flags: int = 0


class NeighbourHeader(NamedTuple):
    """struct ndmsg, for neighbours and for FDB entries (family 7, AF_BRIDGE)."""

    family: int = 0
    ifindex: int = 0
    state: int = 0
    flags: int = 0
    type: int = 0


class FamilyHeader(NamedTuple):
    """struct rtgenmsg."""

    family: int = 0


Header = LinkHeader | AddressHeader | RouteHeader | NeighbourHeader | FamilyHeader

_LAYOUTS: dict[type[Any], struct.Struct] = {
    LinkHeader: struct.Struct("=BxHiII"),
    AddressHeader: struct.Struct("=BBBBI"),
    RouteHeader: struct.Struct("=BBBBBBBBI"),
    NeighbourHeader: struct.Struct("=BxxxiHBB"),
    FamilyHeader: struct.Struct("=Bxxx"),
}
_HEADERS: dict[int, type[Any]] = {
    NEWLINK: LinkHeader,
    NEWADDR: AddressHeader,
    NEWROUTE: RouteHeader,
    NEWNEIGH: NeighbourHeader,
    NEWRULE: RouteHeader,
    NEWNSID: FamilyHeader,
}


class Record(NamedTuple):
    """One object as the kernel tells it: its fixed header, and its attributes by type (see `attributes`)."""

    kind: int
    header: Any
    attributes: dict[int, bytes]


class Request(NamedTuple):
    """One message to the kernel, without its sequence number. `success` names refusals that are as good as a yes."""

    kind: int
    flags: int
    body: bytes
    success: tuple[int, ...] = ()


class Refusal(Exception):
    """The kernel refused the message number `index` of those sent; `text` is its own explanation, if it gave one."""

    def __init__(self, index: int, errno: int, text: str) -> None:
        super().__init__(index, errno, text)
        self.index = index
        self.errno = errno
        self.text = text


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute as it travels: length, type, value, padding to 4 bytes."""
    length = 4 + len(value)
    return _pack_attribute(length, kind) + value + _PADDING[length & 3]


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes in `data` by type; nested ones are taken apart by calling this on their value.

    Where a type comes more than once, the last one stays: use `every_attribute` for lists."""
    return dict(every_attribute(data))


def every_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of each attribute in `data`, in order."""
    offset, end = 0, len(data)
    while offset + 4 <= end:
        length, kind = _attribute.unpack_from(data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]  # the two top bits: nested, network byte order
        offset += length + 3 & ~3


def pack(header: Header) -> bytes:
    """Return the bytes of a fixed header."""
    return _LAYOUTS[type(header)].pack(*header)


class Socket:
    """A netlink socket in the namespace of the thread that makes it, or one that another process has opened and handed
    over. Any thread may use it; one at a time does."""

    def __init__(self, descriptor: int | None = None) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE, descriptor)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._sequence = 0
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def namespace(self) -> int:
        """Return a new descriptor of the socket's network namespace; the caller closes it."""
        import fcntl

        return fcntl.ioctl(self._socket.fileno(), _SIOCGSKNS)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Have the kernel carry out `requests` in order, 64 a send.

        Raises Refusal for the first that the kernel refused; those after it in the same send were still tried."""
        with self._lock:
            for start in range(0, len(requests), BATCH):
                self._exchange(start, requests[start : start + BATCH], None)

    def ask(self, request: Request) -> list[Record]:
        """Return what the kernel answers to one request. Raises Refusal."""
        with self._lock:
            answers: list[Record] = []
            self._exchange(0, [request], answers)
            return answers

    def dump(self, kind: int, body: bytes) -> list[Record]:
        """Return every object of a kind, asking again when the table changed while it was read."""
        with self._lock:
            for _ in range(10):
                answers: list[Record] = []
                try:
                    if self._exchange(0, [Request(kind, REQUEST | DUMP, body)], answers, acknowledged=False):
                        break
                except Refusal as refusal:
                    if refusal.errno != errno.EBUSY:
                        raise
                    self._empty()  # a dump that Ctrl-C interrupted still runs
            return answers

    def _empty(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(_BUFFER, socket.MSG_DONTWAIT)

    def _exchange(
        self, start: int, batch: Sequence[Request], answers: list[Record] | None, *, acknowledged: bool = True
    ) -> bool:
        first, last = self._sequence + 1, self._sequence + len(batch)
        self._sequence = last & 0x7FFFFFFF
        parts: list[bytes] = []
        for number, (kind, flags, body, _) in enumerate(batch, first):
            if number == last and acknowledged:
                flags |= ACK
            parts += (_header.pack(16 + len(body), kind, flags, number, 0), body)
        self._socket.send(b"".join(parts))
        refusal: Refusal | None = None
        while True:
            data = self._socket.recv(_BUFFER)
            offset = 0
            while offset < len(data):
                length, kind, flags, number, _ = _header.unpack_from(data, offset)
                body = data[offset + 16 : offset + length]
                offset += length + 3 & ~3
                if not first <= number <= last:  # the rest of an exchange that was interrupted
                    continue
                if kind == _ERROR:
                    code = -int.from_bytes(body[:4], "little", signed=True)
                    if code and refusal is None and code not in batch[number - first].success:
                        refusal = Refusal(start + number - first, code, _explanation(body, flags))
                elif kind != _DONE:
                    if answers is not None:
                        answers.append(_record(kind, body))
                    continue
                if number == last:
                    if refusal:
                        raise refusal
                    return not flags & _DUMP_INTERRUPTED


def _explanation(body: bytes, flags: int) -> str:
    if not flags & _ACK_HAS_ATTRIBUTES:
        return ""
    return attributes(body[20:]).get(1, b"").rstrip(b"\0").decode(errors="replace")  # NLMSGERR_ATTR_MSG


def _record(kind: int, body: bytes) -> Record:
    header = _HEADERS.get(kind, FamilyHeader)
    layout = _LAYOUTS[header]
    return Record(kind, header(*layout.unpack_from(body)), attributes(body[layout.size + 3 & ~3 :]))


# Which sockets are open. A socket keeps its namespace alive, so that only those are kept whose namespaces somebody
# keeps anyhow: the host's, and a Lab's as long as the Lab is up. All others are opened for one use.
_kept: dict[tuple[int, str], tuple[int, Socket]] = {}
_keeping = threading.Lock()


def keep(name: str, inode: int, opened: Socket) -> None:
    """Use `opened` for namespace `name` from now on, as long as the name stands for the namespace `inode`."""
    _kept[os.getpid(), name] = inode, opened


def release(name: str) -> Socket | None:
    """Forget the socket kept for namespace `name` and return it; the caller closes it."""
    return _kept.pop((os.getpid(), name), (0, None))[1]


@contextmanager
def socket_in(name: str) -> Iterator[Socket]:
    """Lend a socket in namespace `name`. Raises NotFound, NamespaceGone, NotInLabMachine."""
    ensure_lab_machine(f"enter namespace '{name}'")
    if name == "host":
        yield _host()
        return
    inode, opened = _kept.get((os.getpid(), name), (0, None))
    if opened is not None and namespaces.inode(name) == inode:
        yield opened
        return
    with _opened(name) as passing:
        yield passing


@contextmanager
def _opened(name: str) -> Iterator[Socket]:
    opened = namespaces.inside(name, Socket)
    try:
        yield opened
    finally:
        opened.close()


def _host() -> Socket:
    with _keeping:
        if (os.getpid(), "host") not in _kept:
            keep("host", 0, namespaces.inside("host", Socket))
        return _kept[os.getpid(), "host"][1]


def dump(kind: int, *, namespace: str = "host", family: int = 0, body: bytes | None = None) -> list[Record]:
    """Return every object of `kind` (GETLINK, GETADDR, GETROUTE, GETNEIGH, GETRULE, GETNSID) in a namespace.

    Each is a Record: `header` a named tuple of the kind, `attributes` a dictionary of bytes by attribute type.
    `family`: 2 IPv4, 10 IPv6, 7 the bridge's (GETNEIGH: FDB entries; GETLINK: ports); `body` replaces the whole
    request. Raises NotFound, NamespaceGone. Same as: ip -n NAMESPACE link|address|route|neighbour|rule show"""
    if body is None:
        header: Header = _HEADERS[kind & ~3](family=family)
        body = pack(header)
    with socket_in(namespace) as opened:
        return opened.dump(kind, body)


def request(kind: int, body: bytes, *, namespace: str = "host") -> Record | None:
    """Return the one object that the kernel answers to a question such as GETLINK by index, GETROUTE by destination
    or GETNSID by descriptor; None where it has no such object. Raises NotFound, NamespaceGone, Refusal."""
    with socket_in(namespace) as opened:
        try:
            answers = opened.ask(Request(kind, REQUEST, body))
        except Refusal as refusal:
            if refusal.errno in (errno.ENODEV, errno.ENOENT, errno.ESRCH):
                return None
            raise
    return answers[0] if answers else None
