"""What may this process, and all that it starts, never write? Landlock asks nobody for privileges (landlock(7)).

A read-only root file system in the guest protects nothing: its root can mount the computer's files again, writable.
Here it is the computer's kernel that refuses, whatever happens in the guest."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress

from labkit.net import libc

__all__ = ["restrict", "version"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
_PATH_BENEATH, _VERSION_FLAG = 1, 1
_PR_SET_NO_NEW_PRIVS = 38
# LANDLOCK_ACCESS_FS_*: bits of what is handled, hence forbidden where no rule allows it
_WRITE_FILE, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3
_IN_FOLDERS = _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
_NET_TCP = 0b11  # bind and connect, since version 4
_SCOPES = 0b11  # abstract Unix sockets and signals of others, since version 6


def version() -> int:
    """Return the version of Landlock that this kernel has and allows; 0 for none."""
    with suppress(OSError):
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    return 0


def restrict(writable: Iterable[str]) -> bool:
    """This process writes only beneath `writable` (folders, or files) from now on, connects to and listens on no TCP
    port, and reaches no process or abstract socket outside; so does all it starts. Returns whether Landlock is there.

    What the version of the kernel's Landlock does not know stays allowed. Raises OSError."""
    known = version()
    if known == 0:
        return False
    files = _WRITE_FILE | (_TRUNCATE if known >= 3 else 0)
    folders = files | _IN_FOLDERS | (_REFER if known >= 2 else 0)
    attributes = struct.pack(
        "=QQQ", folders | _MAKE_CHAR | _MAKE_BLOCK, _NET_TCP if known >= 4 else 0, _SCOPES if known >= 6 else 0
    )
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    rules = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path in writable:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = folders if os.path.isdir(path) else files
            _call(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", allowed, descriptor), ctypes.c_uint32(0))
            os.close(descriptor)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _call(_RESTRICT_SELF, rules, ctypes.c_uint32(0))
    finally:
        os.close(rules)
    return True


def _call(number: int, *arguments: object) -> int:
    c = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    answer = int(c.syscall(ctypes.c_long(number), *given))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
