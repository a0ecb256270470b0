"""Follow the kernel: in which namespaces did something change, just now?

The kernel tells of every change of links, addresses, routes, rules, neighbours and FDB entries on netlink sockets that
joined those groups, one socket a namespace; inotify and the table of mounts tell of namespaces' names that come and go.
One thread sleeps on all of them together. It says where something changed, not what: a new snapshot does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import MethodType
from typing import Self

from labkit.errors import LabkitError, NotFound
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine

__all__ = ["Watcher", "watch"]

DELAY = 0.025  # seconds: what belongs together, as `ip link set red master br0` does, is told together
_SHARE = 2  # times as long as the last call took, nothing is called: a storm leaves the processor to others

# linux/rtnetlink.h: LINK, NEIGH (FDB entries too), IPV4 and IPV6 IFADDR, ROUTE, RULE and NETCONF (forwarding)
_GROUPS = sum(1 << (group - 1) for group in (1, 3, 5, 7, 8, 9, 11, 19, 24, 25))
_IN_MOVED, _IN_CREATE, _IN_DELETE, _IN_NONBLOCK, _IN_CLOEXEC = 0xC0, 0x100, 0x200, 0o4000, 0o2000000
_inotify_event = struct.Struct("=iIII")

Call = Callable[[frozenset[str]], object]


def watch(*names: str, call: Call | None = None, delay: float = DELAY) -> Watcher:
    """Return a Watcher of namespaces: those named, or the host and all that have a name, now or later.

    call: called in the watcher's thread with the names of the namespaces in which something changed; a bound method is
    held weakly. delay: seconds between the first change and the call, in which further ones are collected.
    Same as: ip -n NAMESPACE monitor, bridge -n NAMESPACE monitor fdb, for each at once.
    Raises NotFound, NamespaceGone, Unavailable, NotInLabMachine."""
    ensure_lab_machine("watch the network")
    return Watcher(_Ears(names, call, delay))


class Watcher:
    """Hears what changes until `close()`, the end of a `with` block, or its last reference goes."""

    def __init__(self, ears: _Ears) -> None:
        self._ears = ears
        self._end = weakref.finalize(self, ears.stop)
        ears.start()

    def wait(self, timeout: float | None = None) -> frozenset[str]:
        """Return the namespaces in which something changed since the last `wait`, as soon as there are any.

        Empty after `timeout` seconds, and when closed. Not for a Watcher that has a `call`."""
        return self._ears.take(timeout)

    def __iter__(self) -> Iterator[frozenset[str]]:
        while changed := self.wait():
            yield changed

    @property
    def closed(self) -> bool:
        """Whether it hears nothing any more."""
        return not (self._end.alive and self._ears.is_listening)

    def close(self) -> None:
        """End its thread and close its sockets. Once more is as good as once."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Ears:
    """The thread's own: knows no Watcher, so that a Watcher nobody holds can go."""

    def __init__(self, names: tuple[str, ...], call: Call | None, delay: float) -> None:
        self.names = names
        self.delay = delay
        self._call = _weak(call)
        self._process = os.getpid()
        self._epoll = select.epoll()
        self._sockets: dict[str, tuple[int, socket.socket]] = {}  # by namespace, with its inode
        self._heard: dict[int, str] = {}  # by descriptor
        self._unsure: set[str] = (
            set()
        )  # names with no namespace behind them yet: `ip netns add` mounts it a moment later
        self._changed: set[str] = set()
        self._ready = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._names = self._mounts = -1
        try:
            self._open()
        except BaseException:
            self._close()
            raise

    def _open(self) -> None:
        self._epoll.register(self._wake_read, select.EPOLLIN)
        os.makedirs(namespaces.NETNS, exist_ok=True)
        self._names = _inotify(namespaces.NETNS)
        self._epoll.register(self._names, select.EPOLLIN)
        self._mounts = os.open("/proc/self/mounts", os.O_RDONLY | os.O_CLOEXEC)
        self._epoll.register(self._mounts, select.EPOLLERR | select.EPOLLPRI)  # proc(5): the table changed
        namespaces.inside("host", self._open_all)

    def _open_all(self) -> None:
        for name in self.names or ("host", *namespaces.names()):
            try:
                self._hear(name)
            except LabkitError:
                if self.names:
                    raise
                self._unsure.add(name)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="labkit-watch", daemon=True)
        self._thread.start()

    @property
    def is_listening(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        if os.getpid() != self._process:  # a forked child, where there is no thread: the descriptors are shared
            return
        self._stopping = True
        with self._ready:
            self._ready.notify_all()
        with suppress(OSError):
            os.write(self._wake, b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def take(self, timeout: float | None) -> frozenset[str]:
        with self._ready:
            self._ready.wait_for(lambda: self._changed or self._stopping, timeout)
            changed = frozenset(self._changed)
            self._changed.clear()
        return frozenset() if self._stopping else changed

    def _run(self) -> None:
        try:
            self._listen()
        finally:
            self._close()

    def _listen(self) -> None:
        waiting: set[str] = set()
        due = free = 0.0
        while True:
            timeout = max(0.0, due - time.monotonic()) if waiting else None
            heard = self._what_changed(self._epoll.poll(timeout))
            if self._stopping:
                return
            if heard and not waiting:
                due = max(time.monotonic() + self.delay, free)
            waiting |= heard
            if waiting and time.monotonic() >= due:
                begun = time.monotonic()
                self._tell(frozenset(waiting))
                waiting.clear()
                ended = time.monotonic()
                free = ended + _SHARE * (ended - begun)

    def _tell(self, changed: frozenset[str]) -> None:
        if self._call is not None:
            call = self._call()
            if call is not None:
                call(changed)
            return
        with self._ready:
            self._changed |= changed
            self._ready.notify_all()

    def _what_changed(self, events: list[tuple[int, int]]) -> set[str]:
        changed = set()
        for descriptor, _ in events:
            if descriptor in self._heard:
                changed.add(self._heard[descriptor])
                self._empty(self._sockets[self._heard[descriptor]][1])
            elif descriptor == self._names:
                changed |= self._look_again(_names_in(self._names))
            elif descriptor == self._mounts:
                changed |= self._look_again(self._unsure | (self._sockets.keys() - {"host"}))
        return changed

    @staticmethod
    def _empty(heard: socket.socket) -> None:
        """Take every message; that some were lost (ENOBUFS) is a change like any other."""
        while True:
            try:
                heard.recv(1, socket.MSG_DONTWAIT | socket.MSG_TRUNC)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def _look_again(self, names: set[str]) -> set[str]:
        """Hear the namespaces behind these names, and no longer those that went; return the names that changed."""
        changed = set()
        for name in names:
            if self.names and name not in self.names:
                continue
            self._unsure.add(name)
            inode = _inode(name)
            if name in self._sockets and self._sockets[name][0] != inode:
                self._forget(name)
                changed.add(name)
            if name not in self._sockets and inode:
                with suppress(LabkitError):  # not mounted yet: the next mount will have us look again
                    self._hear(name)
                    changed.add(name)
            if name in self._sockets or not os.path.lexists(namespaces.path(name)):
                self._unsure.discard(name)
        return changed

    def _hear(self, name: str) -> None:
        inode = namespaces.inode(name)
        with namespaces.enter(name):
            heard = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            heard.bind((0, _GROUPS))
        self._sockets[name] = inode, heard
        self._heard[heard.fileno()] = name
        self._epoll.register(heard.fileno(), select.EPOLLIN)

    def _forget(self, name: str) -> None:
        heard = self._sockets.pop(name)[1]
        del self._heard[heard.fileno()]
        heard.close()  # which also takes it from the epoll

    def _close(self) -> None:
        for name in list(self._sockets):
            self._forget(name)
        for descriptor in (self._names, self._mounts, self._wake_read, self._wake):
            if descriptor >= 0:
                os.close(descriptor)
        self._epoll.close()


def _weak(call: Call | None) -> Callable[[], Call | None] | None:
    if call is None:
        return None
    return weakref.WeakMethod(call) if isinstance(call, MethodType) else lambda: call


def _inode(name: str) -> int:
    """Return the inode behind a name, 0 where there is nothing."""
    try:
        return namespaces.inode(name)
    except NotFound:
        return 0


_libc = ctypes.CDLL(None, use_errno=True)


def _inotify(folder: str) -> int:
    """Return a descriptor that tells which names come to `folder` and go (inotify(7)). Raises OSError."""
    descriptor: int = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    mask = _IN_CREATE | _IN_DELETE | _IN_MOVED
    if descriptor < 0 or _libc.inotify_add_watch(descriptor, folder.encode(), ctypes.c_uint32(mask)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), folder)
    return descriptor


def _names_in(inotify: int) -> set[str]:
    """Return the names that an inotify descriptor tells of; all there are, when it lost some."""
    names: set[str] = set()
    with suppress(BlockingIOError):
        while data := os.read(inotify, 1 << 16):
            offset = 0
            while offset < len(data):
                _, mask, _, length = _inotify_event.unpack_from(data, offset)
                offset += _inotify_event.size + length
                names.add(os.fsdecode(data[offset - length : offset].rstrip(b"\0")))
                if mask & 0x4000:  # IN_Q_OVERFLOW
                    names |= set(namespaces.names())
    return names - {""}
