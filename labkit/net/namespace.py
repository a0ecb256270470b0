"""Network namespaces: who has a network of its own, and how does one get in?

A namespace has a name when /run/netns holds an entry for it: a bind mount, as `ip netns add` leaves it, or a symbolic
link to a descriptor, as a Lab leaves it; `ip netns` accepts both. The name "host" is the lab machine's
first namespace.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from labkit.errors import Duplicate, NamespaceGone, NotFound, Refused, Unavailable, WrongUse, cause
from labkit.net import libc
from labkit.net.here import HOST, RUN, ensure_lab_machine

__all__ = [
    "CLOSE_SOME",
    "ETC",
    "FULL",
    "NETNS",
    "add",
    "check_name",
    "delete",
    "enter",
    "inode",
    "inside",
    "names",
    "open_namespace",
    "path",
]

NETNS = "/run/netns"
ETC = f"{RUN}/etc"  # ETC/NAME/resolv.conf is /etc/resolv.conf to `ip netns exec NAME`: /etc/netns of an ordinary user
FULL = (errno.EMFILE, errno.ENFILE)  # no descriptors left: of this process, of the whole computer
CLOSE_SOME = "close files or labs that you opened, or restart the kernel"

Result = TypeVar("Result")


def check_name(name: str) -> str:
    """Return `name` if a namespace can have it: one path component, not "host". Raises WrongUse."""
    if name in ("", ".", "..", "host") or "/" in name or "\0" in name or len(name) > 255:
        raise WrongUse(
            f"failed to name namespace {name!r}: not a usable name",
            "a namespace's name is one file name in /run/netns; 'host' is the lab machine's first namespace",
        )
    return name


def names() -> list[str]:
    """Return the names of all namespaces but the first, sorted. Same as: ip netns list"""
    ensure_lab_machine("list namespaces")
    with suppress(FileNotFoundError):
        return sorted(os.listdir(NETNS))
    return []


def path(name: str) -> str:
    """Return the path that stands for namespace `name`: /run/netns/NAME, or for "host" the first one's."""
    return HOST if name == "host" else f"{NETNS}/{name}"


def open_namespace(name: str) -> int:
    """Return a descriptor of namespace `name`; the caller closes it. It keeps the namespace alive.

    Raises NotFound (with the names that exist) where there is none, NamespaceGone where the name outlived it,
    Unavailable where this process may open no more files."""
    ensure_lab_machine(f"open namespace '{name}'")
    with _told_by_name(name):
        return os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)


def inode(name: str) -> int:
    """Return the inode number of namespace `name`: two names with one number are one namespace. Same as: lsns -t net

    Raises as open_namespace does. It opens nothing: an interrupt could come before the descriptor has an owner."""
    ensure_lab_machine(f"look at namespace '{name}'")
    with _told_by_name(name):
        return os.stat(path(name)).st_ino


@contextmanager
def _told_by_name(name: str) -> Iterator[None]:
    """What the kernel refuses inside the block is told of namespace `name`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise Unavailable(
                f"failed to enter namespace '{name}': {cause(error.errno)}", CLOSE_SOME, errno=error.errno
            ) from error
        there = ", ".join(["host", *names()])
        if name != "host" and os.path.islink(path(name)):
            raise NamespaceGone(
                f"failed to enter namespace '{name}': the process that kept it alive has ended",
                f"namespaces there: {there}",
                errno=error.errno or 0,
            ) from error
        raise NotFound(
            f"failed to enter namespace '{name}': no such namespace", f"namespaces there: {there}"
        ) from error


@contextmanager
def enter(name: str) -> Iterator[None]:
    """Run the block inside network namespace `name`, in this thread only, and come back whatever happens.

    Sockets stay in the namespace where they were made, also after the block. A process started inside stays inside.
    Same as: ip netns exec NAME, for Python. Raises NotFound, NamespaceGone, Refused.
    Source: setns(2)."""
    target = open_namespace(name)
    try:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                _move_to(target, name)
                yield
            finally:
                _come_home(home)
        finally:
            os.close(home)
    finally:
        os.close(target)


def _move_to(target: int, name: str) -> None:
    try:
        libc.setns(target, libc.CLONE_NEWNET)
    except OSError as error:
        kind = Refused if libc.is_namespace(target) else NamespaceGone
        raise kind(
            f"failed to enter namespace '{name}': {cause(error.errno or 0)}",
            f"namespaces there: {', '.join(['host', *names()])}",
            errno=error.errno or 0,
        ) from error


def _come_home(home: int) -> None:
    try:
        libc.setns(home, libc.CLONE_NEWNET)
    except KeyboardInterrupt:  # Ctrl-C must not leave the main thread elsewhere
        libc.setns(home, libc.CLONE_NEWNET)
        raise


def inside(name: str, work: Callable[[], Result]) -> Result:
    """Return what `work()` returns in namespace `name`, in a thread of its own: Ctrl-C cannot leave the caller there.

    Raises what `work` raises, NotFound, NamespaceGone."""
    target = open_namespace(name)
    done: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            _move_to(target, name)
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(error)

    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        os.close(target)
    if failed:
        raise failed[0]
    return done[0]


def add(name: str) -> None:
    """Make a namespace called `name`, with stated sysctls. Same as: ip netns add NAME. Raises Duplicate, Refused."""
    from labkit.net import sysctl

    ensure_lab_machine(f"add namespace '{name}'")
    check_name(name)
    os.makedirs(NETNS, exist_ok=True)
    try:
        os.close(os.open(path(name), os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    except FileExistsError as error:
        raise Duplicate(
            f"failed to add namespace '{name}': it exists already",
            f"delete it first: ip netns delete {name}",
            errno=error.errno or 0,
        ) from error
    except OSError as error:
        raise Refused(
            f"failed to add namespace '{name}': {cause(error.errno or 0)}",
            f"its name is a file in {NETNS}",
            errno=error.errno or 0,
        ) from error

    failure: list[OSError] = []

    def make() -> None:  # in a thread of its own, which ends inside the new namespace
        try:
            libc.unshare(libc.CLONE_NEWNET)
            sysctl.state_here()
            libc.mount("/proc/thread-self/ns/net", path(name), flags=libc.MS_BIND)
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failure:
        os.unlink(path(name))
        raise Refused(
            f"failed to add namespace '{name}': {cause(failure[0].errno or 0)}", errno=failure[0].errno or 0
        ) from failure[0]


def delete(name: str) -> None:
    """Take the name `name` away; the namespace dies with its last user. Deleting what is gone is success.

    Same as: ip netns delete NAME"""
    ensure_lab_machine(f"delete namespace '{name}'")
    check_name(name)
    with suppress(OSError):  # a symbolic link, or a name whose mount is gone already, has nothing to unmount
        if not os.path.islink(path(name)):
            libc.umount2(path(name), libc.MNT_DETACH)
    with suppress(FileNotFoundError):
        os.unlink(path(name))
