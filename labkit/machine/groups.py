"""Programs that give up root at their start, such as tcpdump, in a user namespace where there is only root.

Such a program calls setgroups(2), setgid(2) and setuid(2). An ordinary user's lab machine holds a single user and may
not set groups at all, so the first call fails, and the program ends: "Couldn't change to 'tcpdump'". Here setgroups
says that it worked, and nothing happens: there is nobody else whom the process could be.
"""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress

from labkit.net import libc

__all__ = ["forgive_setgroups"]

# machine: (AUDIT_ARCH_... of linux/audit.h, the number of setgroups)
_NUMBERS = {
    "x86_64": (0xC000003E, 116),
    "aarch64": (0xC00000B7, 159),
    "riscv64": (0xC00000F3, 159),
    "ppc64le": (0xC0000015, 81),
    "s390x": (0x80000016, 206),
}
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of classic BPF: words of the system call's number and architecture
_ALLOW, _ERRNO_0 = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with errno 0, which is success


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def forgive_setgroups() -> None:
    """Where setgroups is denied, it succeeds and does nothing, for this process and all that it starts (seccomp(2))."""
    known = _NUMBERS.get(os.uname().machine)
    if known is None or not _denied():
        return
    architecture, setgroups = known
    steps = [
        (_LOAD, 0, 0, 4),  # struct seccomp_data: the architecture
        (_JUMP_IF_EQUAL, 0, 3, architecture),
        (_LOAD, 0, 0, 0),  # the number
        (_JUMP_IF_EQUAL, 0, 1, setgroups),
        (_RETURN, 0, 0, _ERRNO_0),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = _Program(len(steps), ctypes.addressof(code))
    with suppress(OSError):  # a kernel without seccomp: then tcpdump fails there as it would without this
        libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(program))


def _denied() -> bool:
    try:
        with open("/proc/self/setgroups", encoding="ascii") as setting:
            return setting.read().strip() == "deny"
    except OSError:
        return False
