"""Connection tracking: how is a connection forgotten, and how does one hear of each that comes and goes?

NAT is decided for a connection's first packet and kept in its entry: after the rules change, what the entry says still
holds, until it is gone. Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h; conntrack(8).
"""

from __future__ import annotations

import errno
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal, Self, TypeVar

from labkit.errors import LabkitError, Refused, Unavailable, WrongUse, cause
from labkit.net import namespace as namespaces
from labkit.net import sysctl
from labkit.net.connection import PROTOCOLS, ConntrackEntry, entry_of
from labkit.net.here import ensure_lab_machine
from labkit.net.netlink import attribute, attributes
from labkit.net.nfnetlink import CONNTRACK, Message, Socket, number

__all__ = ["Event", "Events", "Room", "Watcher", "delete", "entries", "flush", "room", "watch"]

_GET, _DELETE, _GET_STATISTICS = 1, 2, 5
_TUPLE_ORIGINAL, _ID, _ZONE = 1, 12, 18
_NEW_GROUPS = (1, 2, 3)  # NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY
_CREATE = 0x400
_NO_CONNTRACK = (errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP)
What = Literal["new", "update", "destroy"]
Result = TypeVar("Result")


def delete(
    protocol: str | None = None,
    *,
    src: str | None = None,
    dst: str | None = None,
    sport: int | None = None,
    dport: int | None = None,
    reply_src: str | None = None,
    reply_dst: str | None = None,
    reply_sport: int | None = None,
    reply_dport: int | None = None,
    namespace: str = "host",
) -> int:
    """Connections that are as described are forgotten; returns how many. Their next packet makes a new entry.

    `protocol`: "tcp", "udp", "icmp"...; `src`, `dst` (an address or a prefix), `sport`, `dport`: as the connection's
    first packet was; those that begin with `reply`: as an answer is expected.
    Raises WrongUse, NotFound, NamespaceGone, Refused. Same as: conntrack -D -p PROTOCOL -s SRC -d DST --dport DPORT
    (and for the reply: -r SRC -q DST)"""
    what = f"failed to delete connections in namespace '{namespace}'"
    ports = {"original.sport": sport, "original.dport": dport, "reply.sport": reply_sport, "reply.dport": reply_dport}
    places = {"original.src": src, "original.dst": dst, "reply.src": reply_src, "reply.dst": reply_dst}
    wanted = _Wanted(what, protocol, places, ports)
    return _inside(namespace, what, lambda: _delete_here(wanted))


def flush(*, namespace: str = "host") -> int:
    """No connection is remembered; returns how many were. Raises NotFound, NamespaceGone, Refused.

    Same as: conntrack -F"""
    what = f"failed to flush connections in namespace '{namespace}'"
    return _inside(namespace, what, _flush_here)


def entries(opened: Socket) -> list[bytes]:
    """Return each connection's attributes, in the namespace of the socket. Raises OSError."""
    if not _count(opened):  # a dump walks the table of all namespaces together
        return []
    return [body for _, body in opened.dump(Message(CONNTRACK, _GET, socket.AF_UNSPEC))]


class _Wanted:
    """Which connections are meant. Raises WrongUse where none can be."""

    def __init__(
        self, what: str, protocol: str | None, places: dict[str, str | None], ports: dict[str, int | None]
    ) -> None:
        self.protocol = protocol
        self.networks = {name: _network(what, text) for name, text in places.items() if text is not None}
        self.ports = {name: port for name, port in ports.items() if port is not None}
        if protocol is None and not self.networks and not self.ports:
            raise WrongUse(f"{what}: it is not said which", "flush forgets all of them")
        if protocol is not None and protocol not in PROTOCOLS.values() and not protocol.isdigit():
            raise WrongUse(f"{what}: '{protocol}' is not a protocol", f"protocols: {', '.join(PROTOCOLS.values())}")
        for name, port in self.ports.items():
            if not 0 <= port < 1 << 16:
                raise WrongUse(f"{what}: {port} is not a port ({name.replace('.', ' ')})", "ports are 0 to 65535")

    def matches(self, entry: ConntrackEntry) -> bool:
        if self.protocol is not None and self.protocol != entry.protocol:
            return False
        if any(port != _part(entry, name) for name, port in self.ports.items()):
            return False
        return all(ip_address(str(_part(entry, name))) in network for name, network in self.networks.items())


def _network(what: str, text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise WrongUse(f"{what}: '{text}' is neither an address nor a prefix", "10.0.0.2, or 10.0.0.0/24") from error


def _part(entry: ConntrackEntry, name: str) -> object:
    direction, part = name.split(".")
    return getattr(getattr(entry, direction), part)


def _inside(namespace: str, what: str, work: Callable[[], Result]) -> Result:
    ensure_lab_machine(what.removeprefix("failed to "))
    try:
        return namespaces.inside(namespace, work)
    except OSError as error:
        kind: type[LabkitError] = Unavailable if error.errno in _NO_CONNTRACK else Refused
        hint = "this kernel may track no connections: labkit doctor"
        raise kind(f"{what}: {cause(error.errno or 0)}", hint, errno=error.errno or 0) from error


def _delete_here(wanted: _Wanted) -> int:
    opened, deleted = Socket(), 0
    try:
        for body in entries(opened):
            tells = attributes(body)
            if wanted.matches(entry_of(tells)):
                same = [attribute(kind, tells[kind]) for kind in (_TUPLE_ORIGINAL, _ID, _ZONE) if kind in tells]
                deleted += _forget(opened, b"".join(same))
    finally:
        opened.close()
    return deleted


def _forget(opened: Socket, body: bytes) -> bool:
    """Return whether it was there to be forgotten: it may have ended by itself."""
    family = socket.AF_INET if len(attributes(attributes(body)[1])[1]) < 24 else socket.AF_INET6
    try:
        opened.ask(Message(CONNTRACK, _DELETE, family, body))
    except FileNotFoundError:
        return False
    return True


def _flush_here() -> int:
    opened = Socket()
    try:
        before = _count(opened)
        opened.ask(Message(CONNTRACK, _DELETE, socket.AF_UNSPEC))
    finally:
        opened.close()
    return before


def _count(opened: Socket) -> int:
    (answer,) = opened.ask(Message(CONNTRACK, _GET_STATISTICS, socket.AF_UNSPEC))
    return number(attributes(answer).get(1)) or 0


# How much room there is


@dataclass(frozen=True, slots=True, repr=False)
class Room:
    """How many connections a namespace has, and how many one namespace may have. `settable`: whether it can be changed
    from there. The limit is one number for all namespaces, each of which is counted by itself."""

    used: int
    limit: int
    settable: bool

    def __repr__(self) -> str:
        changed = "" if self.settable else ", a limit that only the kernel's first namespace can change"
        return f"{self.used} of {self.limit} connections{changed}"


def room(namespace: str = "host") -> Room:
    """Return how full a namespace's table of connections is. Raises NotFound, NamespaceGone, Unavailable.

    Same as: sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"""
    return _inside(namespace, f"failed to measure the table of connections in namespace '{namespace}'", _room_here)


def _room_here() -> Room:
    name = "net.netfilter.nf_conntrack_max"
    return Room(
        int(sysctl.read("net.netfilter.nf_conntrack_count")),
        int(sysctl.read(name)),
        _is_settable(name.replace(".", "/")),
    )


def _is_settable(path: str) -> bool:
    """Return whether the file of a sysctl lets itself be opened to write; nothing is written."""
    try:
        with open(f"/proc/sys/{path}", "r+b", buffering=0):
            return True
    except OSError:
        return False


# What comes and goes


@dataclass(frozen=True, slots=True)
class Event:
    """A connection is "new", has an "update" (an answer came, its TCP state changed), or it is gone: "destroy"."""

    what: What
    entry: ConntrackEntry

    @property
    def text(self) -> str:
        """As `conntrack -E` orders it, without times, ephemeral ports and identifiers."""
        return f"{self.what:<7} {self.entry.text}"


class Events(tuple[Event, ...]):
    """Events in the order in which they came; its repr is their text, a line each."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(event.text for event in self) or "no connection came or went"


class Watcher:
    """Hears what becomes of the connections of a namespace, until `close()` or the end of a `with` block."""

    def __init__(self, opened: Socket, namespace: str) -> None:
        self.namespace = namespace
        self._socket = opened
        self._events: list[Event] = []
        self._closed = False
        self._lock = threading.Lock()

    @property
    def events(self) -> Events:
        """What came until now."""
        with self._lock:
            self._take()
            return Events(self._events)

    @property
    def lost(self) -> bool:
        """Whether some came faster than they were taken: the kernel keeps a few hundred."""
        return self._socket.lost

    def wait(self, what: What, *, count: int = 1, timeout: float = 5.0) -> Events:
        """Return the events until now, as soon as `count` of them are `what`. `timeout`: seconds. Raises Refused."""
        deadline = time.monotonic() + timeout
        while sum(event.what == what for event in self.events) < count:
            left = deadline - time.monotonic()
            if left <= 0 or self._closed:
                heard = ", ".join(event.what for event in self.events) or "nothing"
                raise Refused(
                    f"failed to wait for {count} '{what}' in namespace '{self.namespace}': after {timeout:g} seconds "
                    "there were fewer",
                    f"heard: {heard}; entries made before the watch began tell nothing",
                )
            select.select([self._socket.sock], [], [], left)
        return self.events

    def close(self) -> None:
        """Hear no more; what came stays. Once more is as good as once."""
        with self._lock:
            if not self._closed:
                self._take()
                self._closed = True
                self._socket.close()

    def _take(self) -> None:
        if not self._closed:
            self._events += [event for message in self._socket.told() if (event := _event(*message))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __repr__(self) -> str:
        return repr(self.events) + ("\nand others, which came faster than they were taken" if self.lost else "")


def watch(namespace: str = "host") -> Watcher:
    """Return a Watcher of a namespace's connections: `with watch("router") as seen: ...`, then `seen.events`.

    A connection that was there before tells of no change and no end, where the kernel's nf_conntrack_events is 2.
    Raises NotFound, NamespaceGone, Unavailable. Same as: conntrack -E"""
    what = f"failed to watch connections in namespace '{namespace}'"
    return Watcher(_inside(namespace, what, lambda: Socket(*_NEW_GROUPS)), namespace)


def _event(kind: int, flags: int, _family: int, body: bytes) -> Event | None:
    if kind >> 8 != CONNTRACK:
        return None
    changed: What = "new" if flags & _CREATE else "update"
    return Event("destroy" if kind & 0xFF == _DELETE else changed, entry_of(attributes(body)))
