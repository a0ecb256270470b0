"""What happens when a submission is run? Every cell, in a lab machine of its own, bounded in time and output.

What the notebook prints and says of itself is not looked at: the judge looks at the machine.
"""

from __future__ import annotations

import os
import queue
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

from labkit.errors import Unavailable
from labkit.machine import init
from labkit.machine.kernel import CHANNELS

__all__ = ["Cell", "Kernel", "Run", "Specs", "code_cells", "keep_ports", "start"]

CELL_TIMEOUT = 60.0  # seconds
GRACE = 3.0  # seconds between an interrupt and giving up
GRACE_LOUD = 30.0  # the same while ipykernel still passes on what was printed: it waits 10 s for that
MOST_OUTPUT = 10_000_000  # bytes of one cell
STARTUP = 60.0  # seconds


@dataclass(frozen=True)
class Cell:
    """One code cell. `number` counts code cells from 1, as a reader does."""

    number: int
    id: str
    source: str


@dataclass
class Run:
    """What running some cells was like. `problems` are sentences; `alive` is whether the machine is there to judge."""

    problems: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # the same for cells that raised, as "NameError: ..."
    alive: bool = True


class Specs(KernelSpecManager):
    """The kernel labkit of this very installation, whatever kernelspecs lie around.

    -P: a `labkit` folder beside the notebook is the submission's, and the launcher must not be taken from it."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-P", "-m", "labkit.machine.kernel", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name=kernel_name, language="python", interrupt_mode="signal")


class Kernel:
    """A running kernel `labkit`. `init` is the PID of its machine's process 1, seen from here."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager, self.client = manager, client
        self.init = _init_below(getattr(manager.provisioner, "pid", None))

    def run(self, cells: list[Cell], timeout: float = CELL_TIMEOUT) -> Run:
        """Run the cells one after the other, whatever each does; stop only where nothing can go on."""
        run = Run()
        for cell in cells:
            where = f"cell {cell.number} ({cell.id})"
            outcome = self._execute(cell.source, timeout)
            if outcome.startswith("error "):
                run.errors.append(outcome.removeprefix("error "))
                run.problems.append(f"{where} raised {outcome.removeprefix('error ')}")
            elif outcome == "long":
                run.problems.append(f"{where} took longer than {timeout:g} s and was interrupted")
            elif outcome == "loud":
                run.problems.append(f"{where} printed more than {MOST_OUTPUT // 1_000_000} MB and was interrupted")
            elif outcome == "stuck":
                run.problems.append(f"{where} was interrupted and went on; no cell after it was run")
                break
            elif outcome == "dead":
                run.alive = False
                run.problems.append(f"{where} ended the kernel, and with it the lab machine; nothing is left to judge")
                break
        return run

    def _execute(self, source: str, timeout: float) -> str:
        """Run one cell; return "ok", "error NAME: VALUE", "long", "loud", "stuck" or "dead"."""
        message_id = self.client.execute(source, store_history=True, allow_stdin=False, stop_on_error=False)
        end = time.monotonic() + timeout
        received, outcome, interrupted = 0, "ok", ""
        while True:
            message = self._received("iopub", min(0.2, max(0.01, end - time.monotonic())))
            if not message and not self.manager.is_alive():
                return "dead"
            if message.get("parent_header", {}).get("msg_id") == message_id:
                kind, content = message["msg_type"], message["content"]
                received += _size(content)
                if kind == "error":
                    outcome = f"error {content.get('ename')}: {_first_line(content.get('evalue'))}"
                if kind == "status" and content.get("execution_state") == "idle":
                    self._drain()
                    return interrupted or outcome
            if interrupted and self._received("shell", 0).get("parent_header", {}).get("msg_id") == message_id:
                return interrupted  # it has stopped; what it printed may still be on its way
            late, loud = time.monotonic() > end, received > MOST_OUTPUT
            if late and interrupted:
                return "stuck"
            if (late or loud) and not interrupted:
                interrupted = "loud" if loud else "long"
                end = time.monotonic() + (GRACE_LOUD if loud else GRACE)
                with suppress(OSError, RuntimeError):
                    self.manager.interrupt_kernel()

    def _received(self, channel: str, timeout: float) -> dict[str, Any]:
        """Return the next message, or {} where there is none or it is no message: the submission may send anything."""
        get = self.client.get_iopub_msg if channel == "iopub" else self.client.get_shell_msg
        try:
            message = get(timeout=timeout)
        except queue.Empty:
            return {}
        except Exception:  # noqa: BLE001
            return {}
        return message if isinstance(message, dict) else {}

    def _drain(self) -> None:
        while self._received("shell", 0):
            pass


@contextmanager
def start(folder: str) -> Iterator[Kernel]:
    """Start a kernel `labkit` with `folder` as its working folder; it and its machine end with the block.

    Raises Unavailable where this computer gives no lab machine."""
    manager = KernelManager(kernel_name="labkit", kernel_spec_manager=Specs())
    client = None
    try:
        with ExitStack() as until_ready:
            keep_ports(manager, until_ready)
            nowhere = until_ready.enter_context(open(os.devnull, "wb"))
            environment = {**os.environ, "LABKIT_GRADING": "1", "LABKIT_MACHINE": "namespaces"}
            manager.start_kernel(cwd=folder, env=environment, stdout=nowhere, stderr=nowhere)
            client = manager.client()
            client.start_channels()
            try:
                client.wait_for_ready(timeout=STARTUP)
            except RuntimeError as error:
                raise Unavailable(f"failed to start the kernel 'labkit': {error}", "ask: labkit doctor") from error
        kernel = Kernel(manager, client)
        if not kernel.init:
            raise Unavailable("failed to start a lab machine: this computer gives none here", "ask: labkit doctor")
        yield kernel
    finally:
        if client is not None:
            client.stop_channels()
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        manager.context.destroy(linger=0)


def keep_ports(manager: KernelManager, while_open: ExitStack) -> None:
    """The kernel's ports are nobody else's until it listens on them.

    jupyter_client looks for free ones and lets them go; where several kernels start at once another may have one first,
    and the kernel ends. A port that is bound, with SO_REUSEADDR and without listen(), is given to nobody who asks for
    any, and to the kernel, which asks for it by number with SO_REUSEADDR too. Source: socket(7), ip(7)."""
    manager.cache_ports = False
    for channel in CHANNELS:
        kept = while_open.enter_context(socket.socket())
        kept.bind((manager.ip, 0))
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        setattr(manager, f"{channel}_port", kept.getsockname()[1])


def code_cells(notebook: Any) -> list[Cell]:
    """Return a notebook's code cells, in order."""
    sources = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [Cell(number, cell.get("id", ""), cell.source) for number, cell in enumerate(sources, 1)]


def _init_below(launcher: int | None) -> int:
    """Return the PID of the machine's process 1, the launcher's child; 0 where there is none."""
    with suppress(OSError), open(f"/proc/{launcher}/task/{launcher}/children", encoding="ascii") as children:
        for pid in children.read().split():
            with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:
                if name.read().strip() == init.NAME:
                    return int(pid)
    return 0


def _size(content: dict[str, Any]) -> int:
    text = content.get("text")
    return len(text) if isinstance(text, str) else len(repr(content.get("data", "")))


def _first_line(value: object) -> str:
    return (str(value).splitlines() or [""])[0][:200]
