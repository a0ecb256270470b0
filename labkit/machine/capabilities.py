"""What root gives up inside a lab machine: loading modules, rebooting, setting the clock, raw I/O.

In a user namespace these reach nothing anyway. As root they would reach the whole computer."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from labkit.net import libc

__all__ = ["DROPPED", "drop"]

DROPPED = {"sys_module": 16, "sys_rawio": 17, "sys_boot": 22, "sys_time": 25}
_PR_CAPBSET_DROP = 24
_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Set(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def drop() -> None:
    """Take the DROPPED capabilities from this process and all that it starts, for good (capabilities(7))."""
    for number in DROPPED.values():
        with suppress(PermissionError):  # no CAP_SETPCAP: then there is nothing to lose either
            libc.prctl(_PR_CAPBSET_DROP, number)
    header, sets = _Header(_VERSION_3, 0), (_Set * 2)()
    c = ctypes.CDLL(None, use_errno=True)
    if c.capget(ctypes.byref(header), sets) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    keep = ~sum(1 << number for number in DROPPED.values()) & 0xFFFFFFFF
    sets[0].effective &= keep
    sets[0].permitted &= keep
    sets[0].inheritable &= keep
    if c.capset(ctypes.byref(header), sets) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
