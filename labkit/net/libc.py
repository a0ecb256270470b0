"""The four system calls that Python 3.11 does not have: unshare, setns, mount, umount2."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MNT_DETACH",
    "MS_BIND",
    "MS_MOVE",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "is_namespace",
    "mount",
    "prctl",
    "setns",
    "umount2",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, subject: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject)
    return result


def _call(name: str) -> Any:
    """Return the C library's function `name`. Raises OSError where it has none: elsewhere than on Linux."""
    try:
        return getattr(_libc, name)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name) from None


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces (unshare(2)). Raises OSError."""
    _checked(_call("unshare")(ctypes.c_int(flags)))


def setns(descriptor: int, flags: int = 0) -> None:
    """Move the calling thread into the namespace behind `descriptor` (setns(2)). Raises OSError."""
    _checked(_call("setns")(ctypes.c_int(descriptor), ctypes.c_int(flags)))


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """Mount `source` on `target` (mount(2)). Raises OSError naming the target."""
    encoded = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _checked(_libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), target)


def umount2(target: str, flags: int = 0) -> None:
    """Unmount `target` (umount2(2)). Raises OSError naming the target."""
    _checked(_libc.umount2(target.encode(), ctypes.c_int(flags)), target)


def prctl(option: int, *values: int) -> int:
    """Change the calling process (prctl(2)). Raises OSError."""
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return _checked(_call("prctl")(ctypes.c_int(option), *padded))


def is_namespace(descriptor: int) -> bool:
    """Return whether `descriptor` (O_PATH will do) is a namespace: a file on the kernel's own nsfs (statfs(2)).

    The name in /proc/self/fd does not tell: a bind-mounted namespace shows the name it is mounted on."""
    answer = (ctypes.c_long * 32)()  # struct statfs starts with f_type, a long
    _checked(_libc.fstatfs(ctypes.c_int(descriptor), answer))
    return bool(answer[0] == 0x6E736673)
