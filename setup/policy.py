"""How does a package get installed without starting its service?

Debian asks /usr/sbin/policy-rc.d before it starts a service; exit status 101 means no. The file that set-up puts there
says no only while somebody holds a lock on that very file. The lock belongs to set-up and to the apt that it started,
and the kernel drops it when they die, however they die: what a `kill -9` leaves behind allows everything, and the next
set-up removes it. A policy that is already there is never overwritten: it is asked, and if it would allow the
start, ours lies over it in a private mount namespace, which only apt sees.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator

from . import SetupError

POLICY = "/usr/sbin/policy-rc.d"
TEXT = """#!/bin/sh
# Put here by labkit's set-up: no service starts while it installs packages and holds a lock on this file.
# With no set-up running, this file allows everything and can be deleted.
exec 9<"$0"
flock -n 9 && exit 0
exit 101
"""
BIND = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


@contextlib.contextmanager
def services_denied(path: str = POLICY) -> Iterator[tuple[list[str], list[int]]]:
    """No service starts inside the block.

    Yields what to put before apt's command, and the file descriptors that apt has to inherit. Raises SetupError when a
    policy of somebody else's allows starts and cannot be covered.
    """
    if _is_foreign(path):
        with contextlib.ExitStack() as stack:
            prefix, descriptors = [], []
            if not _denies(path):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="labkit-"))
                cover = os.path.join(folder, "policy-rc.d")
                _write(cover)
                descriptors = [stack.enter_context(_locked(cover))]
                prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", BIND, "sh", cover, path]
                if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
                    raise SetupError(f"{path} is not ours and lets services start, so no package was installed.")
            yield prefix, descriptors
        return
    with _locked(path) as descriptor:
        try:
            yield [], [descriptor]
        finally:
            os.unlink(path)


def _is_foreign(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read() != TEXT
    except FileNotFoundError:
        return os.path.islink(path)


def _denies(path: str) -> bool:
    """Ask a policy as Debian would; a file that cannot be executed is not asked, and allows."""
    if not os.access(path, os.X_OK):
        return False
    return subprocess.run([path, "labkit-asks", "start"], capture_output=True, timeout=60).returncode == 101


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """The policy lies at `path` and is locked; another set-up's is waited for."""
    while True:
        if not os.path.exists(path):
            _write(path)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                break
        except FileNotFoundError:
            pass
        os.close(descriptor)  # the set-up that we waited for has removed it
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(path: str) -> None:
    """Create the policy whole or not at all, and never over something that is there."""
    descriptor, draft = tempfile.mkstemp(prefix=".labkit-policy-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(TEXT)
        os.chmod(draft, 0o755)  # noqa: S103  every user may execute it, as Debian expects
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
