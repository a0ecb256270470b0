"""From where does the judge look?

From inside the machine's user and network namespaces, and nothing else of it: the programs, the Python, the folders
and the process numbers are the computer's. So that labkit and `ip netns` find the machine's namespaces under their
names, the judge takes mounts of its own and puts an empty /run there, with a link for each name. The mark of a lab
machine goes on it too, which holds: this process's network is a lab machine's, and the /run that says so is its own.
"""

from __future__ import annotations

import os
from contextlib import suppress

from labkit.errors import LabkitError
from labkit.grading import inside
from labkit.machine import find
from labkit.machine import join as joining
from labkit.net import here, libc, namespace

__all__ = ["Place", "join", "stay"]


class Place:
    """The machine as the judge sees it. `root` is a descriptor of its root folder.

    `machine` is None for a judge that runs in the machine itself, where the names are there already."""

    def __init__(self, root: int, machine: find.Machine | None = None, computer: os.stat_result | None = None) -> None:
        self.root = root
        self.machine = machine
        self._computer = computer  # the computer's own network: no name may stand for it
        self._held: dict[str, int] = {}

    def answers(self) -> dict[str, object]:
        """Return what the learner recorded by labkit.answer, as plain data."""
        return inside.answers(self.root)

    def refresh(self) -> None:
        """Make /run/netns here say what it says in the machine now; names that stand for nothing are left out."""
        if self.machine is None:
            return
        names = joining.namespaces(self.machine)
        for name in set(self._held) - set(names):
            self._forget(name)
        for name in names:
            with suppress(LabkitError):
                self._link(name, joining.open_namespace(self.machine, name))
                continue
            self._forget(name)

    def _link(self, name: str, descriptor: int) -> None:
        if name in self._held and os.path.sameopenfile(self._held[name], descriptor):
            os.close(descriptor)
            return
        self._forget(name)
        if self._computer is not None and os.path.samestat(self._computer, os.fstat(descriptor)):
            os.close(descriptor)
            return
        os.symlink(f"/proc/{os.getpid()}/fd/{descriptor}", namespace.path(name))
        self._held[name] = descriptor

    def _forget(self, name: str) -> None:
        if name in self._held:
            os.unlink(namespace.path(name))
            os.close(self._held.pop(name))


def stay() -> Place:
    """Judge the machine that this process runs in: a learner's check, not an examination. Raises NotInLabMachine."""
    here.ensure_lab_machine("check an exercise")
    return Place(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))


def join(init: int) -> Place:
    """Enter the user and network namespaces of the machine whose process 1 is `init`. Needs a process of one thread.

    Raises OSError, NamespaceGone, Refused. Same as: nsenter --user --net --target INIT unshare --mount"""
    machine = find.Machine(init, "namespaces", None, os.getuid(), "a submission", find.started(init))
    root = os.open(f"/proc/{init}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    computer = os.stat("/proc/self/ns/net")
    joining.enter(machine, user_net_only=True)
    if os.path.samestat(computer, os.stat("/proc/self/ns/net")):
        raise OSError("the machine's network is the computer's own")
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE)
    libc.mount("tmpfs", "/run", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755")
    with suppress(OSError):  # /sys/class/net shows the network of whoever mounted /sys
        libc.mount("sysfs", "/sys", "sysfs", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    os.makedirs(namespace.NETNS)
    os.makedirs(here.RUN)
    net = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    os.symlink(f"/proc/{os.getpid()}/fd/{net}", here.HOST)
    here.write_mark()
    place = Place(root, machine, computer)
    place.refresh()
    return place
