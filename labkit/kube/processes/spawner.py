"""The spawner: how does a controller get the processes of its pods?

A new Python costs 50 ms, a fork of a large one 2 ms, and each of a hundred pods wants two processes. So one small
process (`spawned`) makes them all: it forks for a container, and clones for a pause. This is the controller's side.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple, Self

from labkit.errors import Duplicate, LabkitError, Refused, Unavailable, cause
from labkit.kube.processes import log
from labkit.kube.processes.images import image as find_image
from labkit.kube.processes.messages import pair, receive
from labkit.net import namespace as namespaces
from labkit.net import netlink, sysctl
from labkit.net.here import RUN, ensure_lab_machine

__all__ = ["Exit", "Spawner", "Wanted"]

SYSCTLS = {**sysctl.STATED, "net.ipv4.ip_unprivileged_port_start": "0"}
SAID = f"{RUN}/kube/spawner.log"  # its last words
PATIENCE = 10.0  # seconds for it to do what it is asked
_GROUP = 64  # sandboxes or containers at a time: others get their turn between two


class Exit(NamedTuple):
    """A process has ended by itself: its exit status, or the number of the signal that ended it, negative."""

    pid: int
    status: int


class Wanted(NamedTuple):
    """A container that is to run: what `Spawner.start` says of it."""

    pod: str
    container: str
    image: str
    command: list[str]
    args: list[str]
    env: dict[str, str]
    sandbox: int

    @property
    def failed(self) -> str:
        """How an error begins."""
        return f"failed to start container '{self.container}' in namespace '{self.pod}'"


class Spawner:
    """The process, and all that it has started; they end with `close()`, and with this process.

    PIDs are those of the lab machine. `exits` gets an Exit for every process that ended by itself (which can be before
    the call that started it has returned), and one of SIGKILL for each if the spawner itself was killed. Any thread may
    call. Raises Unavailable where it does not start."""

    def __init__(self) -> None:
        ensure_lab_machine("start the spawner")
        self.exits: queue.SimpleQueue[Exit] = queue.SimpleQueue()
        self.pid = 0
        self._names: dict[int, str] = {}  # of the network namespace, by the PID of the pause
        self._inner: dict[int, int] = {}  # PIDs as the spawner knows them, of those that run
        self._early: dict[int, int] = {}  # who ended before their call knew them
        self._ending: set[int] = set()
        self._changed = threading.Condition()
        self._ended = False
        self._own_proc = os.readlink("/proc/self") == str(os.getpid())
        self._start()

    def sandboxes(
        self, wanted: Sequence[tuple[str, str]], sockets: dict[str, netlink.Socket] | None = None
    ) -> list[int]:
        """For each (namespace name, hostname) there is a pause in a new network and UTS namespace with stated sysctls
        and lo up, and /run/netns/NAME; return their PIDs.

        `sockets` gets a netlink socket of each by its name; the caller closes them, since a socket keeps its namespace
        alive. (The spawner opens one anyhow, to set lo up; to open one by setns instead costs 0.014 ms.)
        A name whose namespace has died is free. Raises Duplicate, WrongUse, Refused; nothing is left then.
        Same as: ip netns add NAME, with a process inside"""
        names = [name for name, _ in wanted]
        _check(names)
        made: list[int] = []
        opened: dict[str, netlink.Socket] = {}
        try:
            for start in range(0, len(wanted), _GROUP):
                group = wanted[start : start + _GROUP]
                for (name, _), (pid, socket_there) in zip(group, self._pauses(group), strict=True):
                    opened[name] = socket_there
                    made.append(pid)
                    self._name(name, pid)
        except BaseException:
            _close(opened)
            self.end_all(made)
            raise
        if sockets is None:
            _close(opened)
        else:
            sockets.update(opened)
        return made

    def start(
        self,
        pod: str,
        container: str,
        image: str,
        command: list[str],
        args: list[str],
        env: dict[str, str],
        *,
        sandbox: int,
    ) -> int:
        """The container runs in the network and UTS namespaces of process `sandbox`; return its PID.

        `pod`: the name of the pod's network namespace. With a `command` that runs; else what the image stands for, and
        then it listens already, or has failed to and ended with status 1. What it prints is in `log.path(pod,
        container)`. Raises NotFound (image), Refused (no such process, command not found)."""
        begun = self.start_all([Wanted(pod, container, image, command, args, env, sandbox)])[0]
        if isinstance(begun, LabkitError):
            raise begun
        return begun

    def start_all(self, wanted: Sequence[Wanted]) -> list[int | LabkitError]:
        """All these containers run, begun together, which is quicker; return for each its PID, or why it does not."""
        begun: list[int | LabkitError] = []
        for start in range(0, len(wanted), _GROUP):
            with ExitStack() as stack:
                asked: list[socket.socket | LabkitError] = []
                group = wanted[start : start + _GROUP]
                for one in group:
                    try:
                        asked.append(stack.enter_context(self._ask(one.failed, self._request(one))))
                    except LabkitError as error:
                        asked.append(error)
                for one, answers in zip(group, asked, strict=True):
                    begun.append(answers if isinstance(answers, LabkitError) else self._begun(one.failed, answers))
        return begun

    def end(self, pid: int, patience: float = 2.0) -> None:
        """The process has ended: asked to (SIGTERM), and after `patience` seconds made to (SIGKILL)."""
        self.end_all([pid], patience)

    def end_all(self, pids: Iterable[int], patience: float = 2.0) -> None:
        """All these have ended, and the namespaces of pauses among them have lost their names. Gone is success."""
        with self._changed:
            pids = [pid for pid in pids if pid in self._inner]
            self._ending.update(pids)
        deadline = time.monotonic() + patience
        for number, until in ((signal.SIGTERM, deadline), (signal.SIGKILL, deadline + PATIENCE)):
            if self._wait(pids, 0):
                break
            self._signal(pids, number)
            if self._wait(pids, until - time.monotonic()):
                break

    def close(self) -> None:
        """The spawner has ended, and all that it started. Closing again changes nothing."""
        with self._changed:
            self._ending.update(self._inner)
        if self._control.fileno() < 0:
            return
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        if not select.select([self._alive], [], [], PATIENCE)[0]:
            signal.pidfd_send_signal(self._alive, signal.SIGKILL)
        self._reader.join(PATIENCE)
        self._control.close()
        os.close(self._alive)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "ended" if self._ended else f"process {self.pid}, {len(self._names)} sandboxes"
        return f"spawner: {state}"

    # Starting, and what comes by itself

    def _start(self) -> None:
        self._control, theirs = pair()
        os.makedirs(os.path.dirname(SAID), exist_ok=True)
        with theirs, open(SAID, "wb") as said:
            self._control.send(json.dumps(SYSCTLS).encode())
            subprocess.run(  # it ends when the spawner, its child, is there
                [sys.executable, "-P", "-m", "labkit.kube.processes.spawned"],
                stdin=theirs.fileno(),
                stdout=said,
                stderr=said,
                start_new_session=True,  # Ctrl-C is for the owner
                check=False,
            )
        first, self.pid, _ = receive(self._control)
        if not first:
            self._control.close()
            raise Unavailable("failed to start the spawner: it ended at once", f"its last words: cat {SAID}")
        self._pid_namespace = first["pid_namespace"]
        self._alive = os.pidfd_open(self.pid)  # readable when it has ended, after all in its PID namespace
        self._reader = threading.Thread(target=self._read, name="spawner", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Hear who has ended, until the spawner has."""
        while True:
            message, pid, _ = receive(self._control)
            with self._changed:
                if message:
                    self._gone(pid, message["status"])
                else:
                    self._ended = True
                    for pid in list(self._inner):
                        self._gone(pid, -signal.SIGKILL)
                self._changed.notify_all()
            if not message:
                return

    def _gone(self, pid: int, status: int) -> None:
        if self._inner.pop(pid, None) is None:
            self._early[pid] = status
        name = self._names.pop(pid, None)
        if pid not in self._ending:
            self.exits.put(Exit(pid, status))  # the name stays: it says that the process has ended
        elif name is not None:
            self._unlink(name, pid)
        self._ending.discard(pid)

    # Asking

    @contextmanager
    def _ask(self, failed: str, what: dict[str, Any]) -> Iterator[socket.socket]:
        """Lend the socket that the answers to a request come on."""
        answers, theirs = pair()
        with answers:
            with theirs:
                try:
                    socket.send_fds(self._control, [json.dumps(what).encode()], [theirs.fileno()])
                except OSError as error:
                    raise self._refused(failed, error.errno or 0) from error
            yield answers

    def _made(self, failed: str, answers: socket.socket) -> tuple[int, list[int]]:
        """Return the PID of a process that was made, and the descriptors that came with it."""
        message, pid, descriptors = receive(answers)
        if "pid" not in message:
            raise self._refused(failed, message.get("errno", 0), message.get("failed", ""))
        self._register(pid, message["pid"])
        return pid, descriptors

    def _register(self, pid: int, inner: int) -> None:
        with self._changed:
            if self._early.pop(pid, None) is None:
                self._inner[pid] = inner

    def _request(self, wanted: Wanted) -> dict[str, Any]:
        image = find_image(wanted.image)
        command, args = wanted.command, wanted.args
        if image.runs_arguments and not command:
            command, args = args, []
        return {
            "verb": "start",
            "log": log.path(wanted.pod, wanted.container),
            "sandbox": self._in_proc(wanted.sandbox),
            "pod": wanted.pod,
            "container": wanted.container,
            "image": image.name,
            "command": command,
            "arguments": args,
            "environment": wanted.env,
        }

    def _begun(self, failed: str, answers: socket.socket) -> int | LabkitError:
        """Return the PID of a container when it has begun, which is when nobody has the answers' other end any more."""
        started = 0
        refused: Refused | None = None
        while True:
            message, pid, _ = receive(answers)
            if not message:
                break
            if "pid" in message:
                started = pid
                self._register(pid, message["pid"])
            else:
                refused = self._refused(failed, message["errno"], message["failed"])
        if started and not refused:
            return started
        self.end_all([started], patience=0.0)
        return refused or self._refused(failed, 0)

    def _pauses(self, group: Sequence[tuple[str, str]]) -> Iterator[tuple[int, netlink.Socket]]:
        """Yield the PID and a socket of each, as they are made."""
        hostnames = [hostname[:63] for _, hostname in group]  # as a kubelet does; the kernel takes 64 bytes
        with self._ask("failed to add sandboxes", {"verb": "sandboxes", "hostnames": hostnames}) as answers:
            for name, _ in group:
                pid, descriptors = self._made(f"failed to add namespace '{name}'", answers)
                yield pid, netlink.Socket(descriptors[0])

    def _name(self, name: str, pid: int) -> None:
        """/run/netns/NAME stands for the pause's namespace."""
        path = namespaces.path(name)
        for last in (False, True):
            try:
                os.symlink(self._namespace(pid), path)
                break
            except FileExistsError as error:
                if last or os.path.exists(path):
                    raise _duplicate(name) from error
                os.unlink(path)  # its process has ended
        with self._changed:
            if pid in self._inner:
                self._names[pid] = name

    def _unlink(self, name: str, pid: int) -> None:
        """Take the name away, if it is still the one that we gave."""
        path = namespaces.path(name)
        with suppress(OSError):
            if not os.path.exists(path) or os.readlink(path) == f"/proc/{pid}/ns/net":
                os.unlink(path)

    def _namespace(self, pid: int) -> str:
        return f"/proc/{self._in_proc(pid)}/ns/net"

    def _in_proc(self, pid: int) -> int:
        """Return the PID of a process of ours as /proc tells it: another where /proc is the computer's, since a
        lab machine may not be allowed to mount its own (pid_namespaces(7))."""
        if self._own_proc or pid not in self._inner:
            return pid
        for entry in filter(str.isdecimal, os.listdir("/proc")):
            with suppress(OSError):
                if os.stat(f"/proc/{entry}/ns/pid").st_ino == self._pid_namespace:
                    with open(f"/proc/{entry}/status", encoding="utf-8", errors="replace") as status:
                        ids = next(line.split() for line in status if line.startswith("NSpid:"))
                    if int(ids[-1]) == self._inner[pid]:
                        return int(entry)
        return pid

    def _signal(self, pids: Iterable[int], number: int) -> None:
        with suppress(OSError):  # who ended is as good as signalled
            with self._changed:
                known = [self._inner[pid] for pid in pids if pid in self._inner]
            self._control.send(json.dumps({"pids": known, "number": number}).encode())

    def _wait(self, pids: Iterable[int], seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._inner.keys().isdisjoint(pids), max(0.0, seconds))

    def _refused(self, failed: str, number: int, what: str = "") -> Refused:
        if self._ended or number == errno.EPIPE or not (number or what):
            return Refused(f"{failed}: the spawner, process {self.pid}, has ended", f"its last words: cat {SAID}")
        why = ": ".join(part for part in (what, cause(number) if number else "") if part)
        return Refused(f"{failed}: {why}", f"what the spawner says: cat {SAID}", errno=number)


def _check(names: Sequence[str]) -> None:
    ensure_lab_machine("add sandboxes")
    os.makedirs(namespaces.NETNS, exist_ok=True)
    seen: set[str] = set()
    for name in names:
        if name in seen or os.path.exists(namespaces.path(namespaces.check_name(name))):
            raise _duplicate(name)
        seen.add(name)


def _duplicate(name: str) -> Duplicate:
    return Duplicate(f"failed to add namespace '{name}': it exists already", f"delete it first: ip netns delete {name}")


def _close(opened: dict[str, netlink.Socket]) -> None:
    for there in opened.values():
        there.close()
