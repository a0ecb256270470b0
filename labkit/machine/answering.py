"""ipykernel on sockets that were made elsewhere, and a kernel that only says why there is no lab machine.

Imported inside the lab machine (or where there can be none), never before: ZMQ starts threads."""

# mypy: allow-untyped-calls
from __future__ import annotations

import json
import logging
import os
import select
import socket
import sys
from contextlib import suppress
from typing import Any

import pexpect
import zmq
from ipykernel.heartbeat import Heartbeat
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from labkit import recording
from labkit.machine import kinds
from labkit.machine.kernel import BEFORE
from labkit.net import here

__all__ = ["answer", "refuse"]


class InheritedHeartbeat(Heartbeat):
    """ipykernel's heartbeat, on a socket that listens already."""

    inherited: socket.socket

    def _try_bind_socket(self) -> None:
        self.socket.setsockopt(zmq.USE_FD, self.inherited.fileno())
        super()._try_bind_socket()


class LabKernelApp(IPKernelApp):
    """ipykernel's application, on sockets that listen already."""

    inherited: dict[str, socket.socket]

    def init_poller(self) -> None:
        """The launcher watches the server's life; in a PID namespace of its own the kernel could not.

        Elsewhere than on Linux the kernel watches its launcher, which nothing else would."""
        if sys.platform != "linux":
            super().init_poller()

    def init_path(self) -> None:
        """The notebook's folder can be imported from, after the standard library: IPython would leave it out, since
        the launcher was started with PYTHONSAFEPATH."""
        names = ("site-packages", "dist-packages")
        place = next((index for index, path in enumerate(sys.path) if path.endswith(names)), len(sys.path))
        if "" not in sys.path:
            sys.path.insert(place, "")

    def init_sockets(self) -> None:
        """Take the ports of the inherited sockets, and leave out a warning about what cannot be changed here."""
        for channel, sock in self.inherited.items():
            setattr(self, f"{channel}_port", sock.getsockname()[1])
        self.log.addFilter(_without_encryption_warning)
        super().init_sockets()
        self.log.removeFilter(_without_encryption_warning)

    def _try_bind_socket(self, sock: Any, port: int) -> int:
        channel = next((name for name, held in self.inherited.items() if held.getsockname()[1] == port), None)
        if channel is None:
            return int(super()._try_bind_socket(sock, port))
        sock.setsockopt(zmq.USE_FD, self.inherited[channel].fileno())
        super()._try_bind_socket(sock, port)
        if channel == "shell":  # the debugger's own way to the shell, which connects to the last endpoint
            sock.bind("inproc://labkit-shell")
        return port

    def init_heartbeat(self) -> None:
        """As ipykernel's, with the inherited socket."""
        if "hb" not in self.inherited:
            super().init_heartbeat()
            return
        keys = {"curve_publickey": self.curve_publickey, "curve_secretkey": self.curve_secretkey}
        self.heartbeat = InheritedHeartbeat(zmq.Context(), (self.transport, self.ip, self.hb_port), **keys)
        self.heartbeat.inherited = self.inherited["hb"]
        self.heartbeat.start()


class RefusingKernel(IPythonKernel):
    """Runs nothing, and answers every cell with the reason."""

    reason = ""

    async def do_execute(self, code: str, silent: bool, *_rest: Any, **_options: Any) -> dict[str, Any]:  # noqa: ARG002
        """Answer a cell."""
        content = {"ename": "NamespacesForbidden", "evalue": self.reason, "traceback": [self.reason]}
        if not silent:
            self.send_response(self.iopub_socket, "error", content)
        return {"status": "error", "execution_count": self.execution_count, **content}


def answer(argv: list[str], sockets: dict[str, socket.socket]) -> int:
    """Be ipykernel on `sockets` until it is told to stop."""
    return _run(argv, sockets)


def refuse(argv: list[str], sockets: dict[str, socket.socket], reason: str) -> int:
    """Be a kernel that answers every cell with `reason`, until it is told to stop."""
    RefusingKernel.reason = reason + _how_to_get_the_recording_back()
    return _run(argv, sockets, kernel_class=RefusingKernel)


def _read_to_the_end() -> None:
    """`!command` shows all that it printed. pexpect gives up on a terminal whose command has ended, if there is nothing
    to read at once; on a slow kernel the last of it may still be on its way there."""
    plain = pexpect.spawn.read_nonblocking

    def read(self: Any, size: int = 1, timeout: Any = -1) -> Any:
        try:
            return plain(self, size, timeout)
        except pexpect.EOF as end:
            if "slow" not in str(end) or not select.select([self.child_fd], [], [], 0.1)[0]:
                raise
            return super(pexpect.spawn, self).read_nonblocking(size, 0)

    pexpect.spawn.read_nonblocking = read  # type: ignore[method-assign]


def _run(argv: list[str], sockets: dict[str, socket.socket], **traits: Any) -> int:
    # parent_handle=1: nobody to poll, and no advice for who starts a kernel by hand
    LabKernelApp.inherited = sockets
    _read_to_the_end()
    handle = 1 if sys.platform == "linux" else os.getppid()
    app = LabKernelApp.instance(parent_handle=handle, **traits)
    app.initialize(argv)
    if app.shell is not None and (kind := here.kind()):
        app.shell.banner2 = f"{kinds.sentence(kind)}\n"  # in JupyterLab: Help, About
        _tell_of_the_kernel_before(app.shell)
    app.start()
    return 0


def _tell_of_the_kernel_before(shell: Any) -> None:
    """The first cell says what befell the kernel before this one, whose variables and network are gone."""
    sentence = os.environ.pop(BEFORE, "")
    if sentence:

        def tell(_info: object) -> None:
            print(f"labkit: the kernel before this one ended: {sentence}", file=sys.stderr)
            shell.events.unregister("pre_run_cell", tell)

        shell.events.register("pre_run_cell", tell)


def _how_to_get_the_recording_back() -> str:
    """Return a line for a notebook that holds a recording: its outputs go when its cells are run."""
    path = os.environ.get("JPY_SESSION_NAME", "")
    for place in (path, os.path.basename(path)):  # Jupyter says it from its own folder, and starts us in the notebook's
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError), open(place, encoding="utf-8") as file:
            if recording.is_recording(json.load(file)):
                name = recording.name_of(path)
                return f"\nThe recorded output comes back with: labkit course reset {name} (then reload the notebook)"
    return ""


def _without_encryption_warning(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Kernel is running over TCP without encryption")
