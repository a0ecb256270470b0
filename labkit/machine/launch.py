"""The launcher: takes new namespaces from the kernel, starts init in them, waits, and passes signals on."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from labkit.errors import NamespacesForbidden, Unavailable, cause
from labkit.machine import init
from labkit.machine.forbidden import remedy
from labkit.machine.signals import FORWARDED, Waiter
from labkit.net import libc

__all__ = ["forbidden", "start", "watch"]

_ALL = libc.CLONE_NEWNS | libc.CLONE_NEWPID | libc.CLONE_NEWNET | libc.CLONE_NEWUTS | libc.CLONE_NEWIPC


def start(body: Callable[[], int], *, server: int | None = None, ready: Callable[[], None] | None = None) -> int:
    """Run `body` in a fresh lab machine and return its exit status (128 + N when signal N ended it).

    `body` runs in the machine's second process, and its result ends that process (SystemExit).
    `server`: a PID whose death ends the machine. `ready` is called when the machine is prepared. The calling process
    must have one thread; it stays in the new namespaces, and can start neither a thread nor, in the end, a process.
    Raises NamespacesForbidden where the kernel gives none, Unavailable where the machine cannot be prepared."""
    watched = watch(server)
    root = os.geteuid() == 0  # in the new user namespace everybody is root, or nobody
    control_read, control_write = os.pipe()
    report_read, report_write = os.pipe()
    waiter = Waiter()
    try:
        _take_namespaces()
    except OSError as error:
        raise _forbidden(error.errno or 0, root) from error
    pid = os.fork()
    if pid == 0:
        os.close(control_write)
        os.close(report_read)
        init.main(control_read, report_write)
        raise SystemExit(body())
    os.close(control_read)
    os.close(report_write)
    waiter.watch(report_read)
    if watched is not None:
        waiter.watch(watched)
    report = b""
    while True:
        telling = waiter.wait()
        if watched is not None and watched in telling:
            os.kill(pid, signal.SIGKILL)
            waiter.forget(watched)
            watched = None
        if report_read in telling:
            text = os.read(report_read, 65_536)
            report += text
            if not text:
                waiter.forget(report_read)
                if ready is not None and not report:
                    ready()
        came = waiter.signals()
        asked = bytes(number for number in FORWARDED if number in came)
        if asked:
            with suppress(BrokenPipeError):
                os.write(control_write, asked)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
    if report:
        message, _, details = report.decode(errors="replace").partition("\0")
        raise _cannot(message, details, root)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def forbidden() -> NamespacesForbidden | None:
    """Return why this user can have no lab machine of kind `namespaces` here; None when they can.

    Found by trying it, in a child."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        number = 0
        try:
            _take_namespaces()
            libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE)
            libc.mount("tmpfs", "/run", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755")
        except OSError as error:
            number = error.errno or errno.EPERM
        finally:
            os.write(write, number.to_bytes(4, "big"))
            os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        number = int.from_bytes(answer.read(4), "big")
    os.waitpid(pid, 0)
    return _forbidden(number, os.geteuid() == 0) if number else None


def _take_namespaces() -> None:
    """Leave the computer's namespaces: mount, PID, network, UTS, IPC, and user where that is the only way.

    Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            libc.unshare(_ALL)
            return
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
    libc.unshare(_ALL | libc.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _forbidden(number: int, root: bool) -> NamespacesForbidden:
    return NamespacesForbidden(
        f"failed to start a lab machine: the kernel gives this user no namespaces ({cause(number)})",
        remedy(number, root=root),
    )


def _cannot(message: str, details: str, root: bool) -> Unavailable:
    number, _, text = message.partition(" ")
    if number.isdigit() and int(number) in (errno.EPERM, errno.EACCES):
        error: Unavailable = _forbidden(int(number), root)
    else:
        error = Unavailable(f"failed to start a lab machine: {text or 'init ended'}", "see the log: labkit doctor")
    error.__notes__ = [details]
    return error


def watch(pid: int | None) -> int | None:
    """Return a descriptor that becomes readable when `pid` ends; None where the kernel has no such thing."""
    if pid is None:
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise SystemExit(1) from None
    except (AttributeError, OSError):  # the first on a system that is not Linux
        return None
