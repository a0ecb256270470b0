"""Pauses: what holds a pod's network while its containers come and go?

A process that does nothing. It is born inside a new network and UTS namespace and stays there; the namespaces are gone
when it is. Kubernetes' own is a program of 30 lines of C that calls pause(2).

Here it shares the memory and the descriptors of the process that makes it, as a thread does, and is a process in all
else: it has its PID, its namespaces and its signals. It enters pause(2) at once and never comes back from there, so
that it runs no Python. It costs a page of memory and what the kernel keeps for a process; `ps` counts the shared memory
again for each. Milliseconds each, without the namespaces: such a process 0.02, a fork of a small Python 0.2, a fork of
one with labkit and scapy loaded 2, a new Python 50. Source: clone(2), pause(2), namespaces(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from labkit.net import libc

__all__ = ["Pauses", "rename"]

_CLONE_VM, _CLONE_FILES = 0x100, 0x400
_PR_SET_NAME = 15
_SIOCSIFFLAGS, _LO_UP = 0x8914, struct.pack("16sh22x", b"lo", 1)
_PAGE = mmap.PAGESIZE
_STACKS = 64  # a memory mapping

_libc = ctypes.CDLL(None, use_errno=True)
_libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
_pause = ctypes.cast(_libc.pause, ctypes.c_void_p)


class Pauses:
    """Makes them, from the process that is their parent, which ps calls `name`. `sysctls` are those that a new network
    namespace gets."""

    def __init__(self, sysctls: Mapping[str, str], name: str) -> None:
        self._sysctls = sysctls
        self._name = name
        self._settings: dict[str, str] | None = None  # those that a new namespace has otherwise
        self._home = [(os.open(f"/proc/self/ns/{name}", os.O_RDONLY), kind) for name, kind in _KINDS]
        self._maps: list[mmap.mmap] = []
        self._free: list[int] = []  # tops of stacks that nobody uses
        self._stacks: dict[int, int] = {}  # by PID

    def make(self, hostnames: Sequence[str]) -> Iterator[tuple[int, socket.socket]]:
        """For each hostname there is a pause in new namespaces, with sysctls stated and lo up: its PID, and a netlink
        socket of its network namespace, which keeps that alive until closed. Raises OSError."""
        with self._away():
            for hostname in hostnames:
                libc.unshare(libc.CLONE_NEWNET | libc.CLONE_NEWUTS)
                socket.sethostname(hostname)
                self._state()
                with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as opened:
                    fcntl.ioctl(opened, _SIOCSIFFLAGS, _LO_UP)
                    yield self._clone(), opened

    def join(self, sandbox: int) -> int:
        """There is a pause in the namespaces of process `sandbox`; return its PID. Raises OSError."""
        with self._away():
            for name, kind in _KINDS:
                descriptor = os.open(f"/proc/{sandbox}/ns/{name}", os.O_RDONLY)
                try:
                    libc.setns(descriptor, kind)
                finally:
                    os.close(descriptor)
            return self._clone()

    def forget(self, pid: int) -> bool:
        """A pause has ended: its stack is free. Return whether it was one."""
        stack = self._stacks.pop(pid, None)
        if stack is None:
            return False
        self._free.append(stack)
        return True

    @contextmanager
    def _away(self) -> Iterator[None]:
        """Come home after the block. A handler of ours must not run in a pause: it is born with SIGCHLD blocked."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        rename("pause")
        try:
            yield
        finally:
            rename(self._name)
            for descriptor, kind in self._home:
                libc.setns(descriptor, kind)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _clone(self) -> int:
        if not self._free:
            pages = mmap.mmap(-1, _PAGE * _STACKS)
            self._maps.append(pages)
            start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
            self._free.extend(range(start + _PAGE, start + _PAGE * (_STACKS + 1), _PAGE))
        stack = self._free.pop()
        pid: int = _libc.clone(_pause, stack, _CLONE_VM | _CLONE_FILES | signal.SIGCHLD, None)
        if pid < 0:
            self._free.append(stack)
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "clone")
        self._stacks[pid] = stack
        return pid

    def _state(self) -> None:
        """State the sysctls. All new namespaces start alike, so that only the first is looked at."""
        if self._settings is None:
            self._settings = {
                path: value for path, value in map(_setting, self._sysctls.items()) if _differs(path, value)
            }
        for path, value in self._settings.items():
            _write(path, value)


_KINDS = (("net", libc.CLONE_NEWNET), ("uts", libc.CLONE_NEWUTS))


def _setting(item: tuple[str, str]) -> tuple[str, str]:
    key, value = item
    return "/proc/sys/" + key.replace(".", "/"), value


def _differs(path: str, value: str) -> bool:
    """Return whether the kernel has this setting, and another value for it."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.read(descriptor, 4096).decode().strip() != value
        finally:
            os.close(descriptor)
    return False


def _write(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def rename(name: str) -> None:
    """The calling process, and whom it makes from now on, is called `name` in ps (prctl(2), PR_SET_NAME)."""
    text = ctypes.create_string_buffer(name.encode())
    libc.prctl(_PR_SET_NAME, ctypes.addressof(text))
