"""How does one get into a lab machine that runs already?

`run_inside` starts a process that is in the machine altogether and dies with it. The judge of exercises wants less:
`enter` with `user_net_only` takes the user and the network namespace and nothing else, so that the machine's files
and programs, which a learner may have changed, mean nothing to it; `open_namespace` finds the others by name.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress

from labkit.errors import NamespaceGone, NotFound, Refused, cause
from labkit.machine import capabilities, find, groups, init, programs
from labkit.machine.find import Machine
from labkit.machine.signals import FORWARDED, Waiter, original_dispositions
from labkit.net import libc, namespace

__all__ = ["enter", "namespaces", "open_inside", "open_namespace", "run_inside"]

_NAMESPACES = {  # in this order: the user namespace gives the right to enter the others
    "user": libc.CLONE_NEWUSER,
    "net": libc.CLONE_NEWNET,
    "uts": libc.CLONE_NEWUTS,
    "ipc": libc.CLONE_NEWIPC,
    "pid": libc.CLONE_NEWPID,
    "mnt": libc.CLONE_NEWNS,
}
_NS_GET_NSTYPE = 0xB703  # ioctl_ns(2)
_OPENAT2 = 437  # the same number on every architecture
_NO_SYMLINKS, _IN_ROOT = 0x04, 0x10
_LINK = re.compile(r"/proc/([0-9]{1,9})/(fd|ns)/([0-9]{1,9}|net)")


def enter(machine: Machine, *, user_net_only: bool = False) -> None:
    """Move this process into `machine`: all its namespaces, or only user and network. There is no way back.

    The calling process must have one thread. The PID namespace takes effect for its children.
    Same as: nsenter -t PID -U -n [-u -i -p -m]. Raises NamespaceGone when the machine has ended, Refused."""
    wanted = ["user", "net"] if user_net_only else list(_NAMESPACES)
    descriptors: list[tuple[str, int]] = []
    try:
        for name in wanted:
            descriptor = os.open(f"/proc/{machine.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            descriptors.append((name, descriptor))
        _same(machine)
        for name, descriptor in descriptors:
            if name == "user" and os.fstat(descriptor).st_ino == os.stat("/proc/self/ns/user").st_ino:
                continue
            libc.setns(descriptor, _NAMESPACES[name])
    except FileNotFoundError as error:
        raise _gone(machine) from error
    except OSError as error:
        raise Refused(
            f"failed to enter the lab machine of '{machine.name}': {cause(error.errno or 0)}", errno=error.errno or 0
        ) from error
    finally:
        for _, descriptor in descriptors:
            os.close(descriptor)


def namespaces(machine: Machine) -> list[str]:
    """Return the names of the namespaces in `machine`, sorted; "host" is not among them. Same as: ip netns list"""
    root = _root(machine)
    try:
        folder = open_inside(root, namespace.NETNS[1:], os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    finally:
        os.close(root)
    try:
        return sorted(os.listdir(folder))
    finally:
        os.close(folder)


def open_namespace(machine: Machine, name: str) -> int:
    """Return a descriptor of namespace `name` ("host": the first) of `machine`, from outside of it.

    A name is a bind mount, or a symbolic link of the exact form /proc/PID/fd/N or /proc/PID/ns/net, which is looked up
    in the machine's own /proc. Any other symbolic link, and whatever is no network namespace, is refused: the names are
    the learner's to write, and the caller may be a judge. Raises NotFound, NamespaceGone, Refused."""
    if name == "host":
        try:
            descriptor = os.open(f"/proc/{machine.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _gone(machine) from error
        _same(machine)
        return descriptor
    namespace.check_name(name)
    root = _root(machine)
    try:
        folder = open_inside(root, namespace.NETNS[1:], os.O_PATH | os.O_DIRECTORY)
        try:
            try:
                target = os.readlink(name, dir_fd=folder)
            except OSError:  # not a link
                place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                return _as_network_namespace(place, name)
        finally:
            os.close(folder)
        form = _LINK.fullmatch(target)
        if not form:
            raise Refused(f"failed to enter namespace '{name}': its name is a link to '{target}', not to a namespace")
        try:
            descriptors = open_inside(root, f"proc/{form[1]}/{form[2]}", os.O_PATH | os.O_DIRECTORY)
            try:
                return _as_network_namespace(os.open(form[3], os.O_PATH | os.O_CLOEXEC, dir_fd=descriptors), name)
            finally:
                os.close(descriptors)
        except FileNotFoundError as error:
            raise NamespaceGone(
                f"failed to enter namespace '{name}': the process that kept it alive has ended", errno=error.errno or 0
            ) from error
    except FileNotFoundError as error:
        there = ", ".join(["host", *namespaces(machine)])
        raise NotFound(
            f"failed to enter namespace '{name}': no such namespace", f"namespaces there: {there}"
        ) from error
    except OSError as error:
        number = error.errno or 0
        raise Refused(f"failed to enter namespace '{name}': {cause(number)}", errno=number) from error
    finally:
        os.close(root)


def run_inside(machine: Machine, body: Callable[[], int]) -> int:
    """Run `body` in a process inside `machine`, wait for it, and return its exit status (128 + N for signal N).

    The process is killed when the machine ends, and when the calling process ends. `body` ends it (SystemExit)."""
    folder = ""  # where the caller is, unless that was deleted
    with suppress(FileNotFoundError):
        folder = os.getcwd()
    waiter = Waiter()
    enter(machine)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        init.die_with_parent(read)
        original_dispositions(waiter)
        groups.forgive_setgroups()
        capabilities.drop()
        for place in (folder, os.path.expanduser("~"), "/"):
            with suppress(OSError):
                os.chdir(place)
                break
        programs.complete_path()
        raise SystemExit(body())
    os.close(read)
    while True:
        waiter.wait()
        for number in waiter.signals() & set(FORWARDED):
            if number != signal.SIGINT:  # Ctrl-C reached the child too: it is in the same process group
                with suppress(ProcessLookupError):
                    os.kill(child, number)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def open_inside(root: int, path: str, flags: int) -> int:
    """Open `path` below the folder `root` without following any symbolic link. Raises OSError. Source: openat2(2)"""
    how = _How(flags | os.O_CLOEXEC, 0, _NO_SYMLINKS | _IN_ROOT)
    c = ctypes.CDLL(None, use_errno=True)
    descriptor = c.syscall(
        ctypes.c_long(_OPENAT2), ctypes.c_int(root), path.encode(), ctypes.byref(how), ctypes.c_size_t(24)
    )
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return int(descriptor)


def _root(machine: Machine) -> int:
    try:
        root = os.open(f"/proc/{machine.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _gone(machine) from error
    _same(machine)
    return root


def _as_network_namespace(place: int, name: str) -> int:
    """Turn an O_PATH descriptor into a real one if it is a network namespace; anything else is never opened."""
    try:
        if libc.is_namespace(place):
            descriptor = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
            if fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == libc.CLONE_NEWNET:
                return descriptor
            os.close(descriptor)
    finally:
        os.close(place)
    raise Refused(f"failed to enter namespace '{name}': its name stands for something else")


def _same(machine: Machine) -> None:
    """Make sure that the PID still means this machine: a PID can be used again."""
    with suppress(OSError, ValueError):
        if find.started(machine.pid) == machine.started:
            return
    raise _gone(machine)


def _gone(machine: Machine) -> NamespaceGone:
    return NamespaceGone(f"failed to enter the lab machine of '{machine.name}': it has ended", "see: labkit shell")
