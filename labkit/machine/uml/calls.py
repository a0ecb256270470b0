"""Which system calls may User-Mode Linux, and all that it starts, make on the computer? (seccomp(2))

- Modes, owners and times: of files in the folders that the guest may write. Landlock knows nothing of chmod(2),
  chown(2) and utimes(2), so the filter hands these calls to the guard, which makes them itself or refuses them
  (seccomp_unotify(2)): what it checks is what it changes, and nothing in the guest can come between.
- Sockets: Unix ones only. No mounts, no namespaces, no extended attributes: User-Mode Linux needs none of them.
- Those of the guest's own processes: none. The guest's kernel traces them, and makes their calls itself; but when it is
  killed they are let loose, and would run on as processes of the computer. In Debian's User-Mode Linux a process of the
  guest has 2^39 bytes of addresses, less a few; what has to make calls lies above: a call from below ends its process.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from labkit.net import libc

__all__ = ["allows", "answer", "install"]

_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER = 317, 1, 1 << 3  # x86-64
_PR_SET_NO_NEW_PRIVS = 38
_ALLOW, _NOTIFY, _ERRNO, _KILL = 0x7FFF0000, 0x7FC00000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF: ld abs, jeq, jge, ret
_X86_64, _X32 = 0xC000003E, 0x40000000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
_REQUEST, _REPLY = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_CHMOD, _FCHMOD, _CHOWN, _FCHOWN, _LCHOWN, _UTIMES = 90, 91, 92, 93, 94, 235
_FCHOWNAT, _FCHMODAT, _UTIMENSAT = 260, 268, 280
_ASKED = (_CHMOD, _FCHMOD, _CHOWN, _FCHOWN, _LCHOWN, _UTIMES, _FCHOWNAT, _FCHMODAT, _UTIMENSAT)
_REFUSED = (
    *(132, 261, 452, 469),  # utime, futimesat, fchmodat2, file_setattr: as those above, but nobody makes them
    *(188, 189, 190, 197, 198, 199, 463, 466),  # what changes extended attributes
    425,  # io_uring_setup: its calls pass no filter
    *(165, 166, 155, 428, 429, 430, 442, 272, 308),  # mounts in all ways, unshare, setns
    *(169, 170, 171, 164, 227, 175, 313, 176, 246, 320, 321, 298),  # reboot, names, clocks, modules, kexec, bpf, perf
)
_OFTEN = (101, 61, 14, 15)  # ptrace, wait4, rt_sigprocmask, rt_sigreturn: first, since each comparison costs
_SOCKET, _SOCKETPAIR, _GETPID = 41, 53, 39
_ABOVE = 0x7F, 0xC0000000  # the end of a guest's process, where the stub starts with which its kernel steers it
_NOFOLLOW, _HERE = 0x100, 0xFFFFFF9C  # AT_SYMLINK_NOFOLLOW, AT_FDCWD
_NOW, _OMIT = 0x3FFFFFFF, 0x3FFFFFFE


def install() -> int | None:
    """The calls of this process, and of all that it starts, are asked for from now on at the descriptor returned.

    None where the kernel has no such descriptor: then they are refused. Raises OSError."""
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    try:
        return _filter(_NOTIFY, _NEW_LISTENER)
    except OSError:
        _filter(_ERRNO | errno.EPERM, 0)
        return None


def answer(listener: int, writable: list[str]) -> bool:
    """Make or refuse the call that is asked for at `listener`, if any; return whether there can be more."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    events = dict(poll.poll(0)).get(listener, 0)
    if not events & select.POLLIN:
        return not events
    request = bytearray(_REQUEST.size)
    with suppress(FileNotFoundError):  # who asked is gone
        fcntl.ioctl(listener, _RECEIVE, request)
        number, pid, _, call, _, _, *arguments = _REQUEST.unpack(request)
        try:
            _do(pid, call, arguments, writable)
            failed = 0
        except OSError as error:
            failed = error.errno or errno.EPERM
        fcntl.ioctl(listener, _SEND, bytearray(_REPLY.pack(number, 0, -failed, 0)))
    return True


def allows(path: str, writable: list[str]) -> bool:
    """Return whether the file at the real `path` lies in, or is, one of the folders."""
    return any(f"{path}/".startswith(f"{folder}/") for folder in writable)


def _do(pid: int, call: int, arguments: list[int], writable: list[str]) -> None:
    """Make the call for `pid`, on the very file that was checked. Raises OSError."""
    file = _file(pid, call, arguments)
    try:
        path = f"/proc/self/fd/{file}"
        if not allows(os.readlink(path), writable):
            raise PermissionError(errno.EPERM, "not beneath what the guest may write")
        values = arguments[2:] if call in (_FCHOWNAT, _FCHMODAT, _UTIMENSAT) else arguments[1:]
        if call in (_CHMOD, _FCHMOD, _FCHMODAT):
            os.chmod(path, values[0] & 0o7777)
        elif call in (_UTIMES, _UTIMENSAT):
            os.utime(path, ns=_times(pid, values[0], os.stat(path), 1 if call == _UTIMENSAT else 1000))
        else:
            os.chown(path, _id(values[0]), _id(values[1]))
    finally:
        os.close(file)


def _file(pid: int, call: int, arguments: list[int]) -> int:
    """Return a descriptor (O_PATH) of the file that a call means. Raises OSError."""
    first = arguments[0] & 0xFFFFFFFF
    if call in (_FCHMOD, _FCHOWN) or (call == _UTIMENSAT and arguments[1] == 0):
        return os.open(f"/proc/{pid}/fd/{first}", os.O_PATH | os.O_CLOEXEC)
    at = call in (_FCHOWNAT, _FCHMODAT, _UTIMENSAT)
    flags = arguments[{_FCHOWNAT: 4, _UTIMENSAT: 3}[call]] if call in (_FCHOWNAT, _UTIMENSAT) else 0
    path = _memory(pid, arguments[1 if at else 0], 4096).split(b"\0")[0]
    if not path.startswith(b"/") or flags & ~_NOFOLLOW:
        raise PermissionError(errno.EPERM, "hostfs names files by whole paths")
    nofollow = os.O_NOFOLLOW if call == _LCHOWN or flags & _NOFOLLOW else 0
    return os.open(path, os.O_PATH | os.O_CLOEXEC | nofollow)


def _times(pid: int, address: int, now: os.stat_result, unit: int) -> tuple[int, int]:
    """Return access and modification time in ns, read at `address`, whose fractions count `unit` ns."""
    if address == 0:
        return time.time_ns(), time.time_ns()
    values = struct.unpack("=4q", _memory(pid, address, 32))
    times = []
    for seconds, part, before in zip(values[::2], values[1::2], (now.st_atime_ns, now.st_mtime_ns), strict=True):
        special: dict[int, Callable[[], int]] = {_NOW: time.time_ns, _OMIT: lambda before=before: before}  # type: ignore[misc]
        made = special.get(part) if unit == 1 else None
        times.append(made() if made else seconds * 1_000_000_000 + part * unit)
    return times[0], times[1]


def _id(value: int) -> int:
    """Return a uid or gid; -1: it stays."""
    return -1 if value & 0xFFFFFFFF == 0xFFFFFFFF else value & 0xFFFFFFFF


def _memory(pid: int, address: int, size: int) -> bytes:
    """Return at most `size` bytes of a process's memory. Raises OSError."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        page = 4096 - address % 4096  # the next page may not be there
        data = os.pread(memory.fileno(), min(size, page), address)
        if len(data) == page < size:
            with suppress(OSError):
                data += os.pread(memory.fileno(), size - page, address + page)
        return data


def _filter(asked: int, flags: int) -> int:
    """Install the filter, with the action `asked` for what has to be asked for; return the listener, or 0."""
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _X86_64), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    code += [(_LOAD, 0, 0, 0), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    code += [(_EQUAL, 0, 1, _GETPID), (_RETURN, 0, 0, _ALLOW)]  # what a guest's call is changed to on old computers
    code += [(_LOAD, 0, 0, 12), (_AT_LEAST, 4, 0, _ABOVE[0] + 1), (_EQUAL, 0, 2, _ABOVE[0])]
    code += [(_LOAD, 0, 0, 8), (_AT_LEAST, 1, 0, _ABOVE[1]), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    for calls, action in ((_OFTEN, _ALLOW), (_ASKED, asked), (_REFUSED, _ERRNO | errno.EPERM)):
        for call in calls:
            code += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, action)]
    code += [(_EQUAL, 2, 0, _SOCKET), (_EQUAL, 1, 0, _SOCKETPAIR), (_RETURN, 0, 0, _ALLOW)]
    code += [(_LOAD, 0, 0, 16), (_EQUAL, 1, 0, socket.AF_UNIX), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    code.append((_RETURN, 0, 0, _ALLOW))
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer)), 16)
    c = ctypes.CDLL(None, use_errno=True)
    listener = int(c.syscall(ctypes.c_long(_SECCOMP), _SET_MODE_FILTER, flags, header))
    if listener < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return listener
