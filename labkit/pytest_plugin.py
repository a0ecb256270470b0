"""pytest: a fresh network for a test, and a fresh lab machine where the machine itself is tested.

Tests of networks run inside one lab machine, in which pytest itself is started:  labkit run pytest tests/live
The plugin is there in every pytest once labkit is installed; unless a test asks for a fixture it does nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pytest

__all__ = ["RunsInLabMachine", "clear", "lab_machine", "network"]


class RunsInLabMachine(Protocol):
    """What the fixture `lab_machine` is."""

    def __call__(
        self, command: Sequence[str] | str, *, timeout: float = 30, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command (a text: by sh) in a fresh lab machine; stdout, stderr and status are in the result."""


@pytest.fixture
def network() -> Iterator[None]:
    """An empty network, before the test and after it: no namespaces, no links but lo, no rules, stated sysctls.

    Raises NotInLabMachine on the computer itself."""
    clear()
    yield
    clear()


@pytest.fixture
def lab_machine() -> RunsInLabMachine:
    """A function that runs a command in a fresh lab machine of its own, by `labkit run`."""

    def run(command: Sequence[str] | str, *, timeout: float = 30, **options: Any) -> subprocess.CompletedProcess[str]:
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        program = [sys.executable, "-m", "labkit.cli", "run", "--", *words]
        options = {"stdin": subprocess.DEVNULL} | options if "input" not in options else options
        return subprocess.run(program, capture_output=True, text=True, timeout=timeout, check=False, **options)

    return run


def clear() -> None:
    """Take away every namespace's name, every link but lo, and all nftables rules of the lab machine's host.

    What the kernel keeps by itself (tunl0, sit0) stays. Same as: ip netns delete, ip link delete, nft flush ruleset"""
    from labkit.net import namespace, sysctl
    from labkit.net.here import ensure_lab_machine

    ensure_lab_machine("give a test a fresh network")
    for name in namespace.names():
        namespace.delete(name)
    with namespace.enter("host"):
        for link in _links():
            subprocess.run(["ip", "link", "delete", link], stderr=subprocess.DEVNULL, check=False)
        if shutil.which("nft"):
            subprocess.run(["nft", "flush", "ruleset"], stderr=subprocess.DEVNULL, check=False)
        sysctl.state_here()


def _links() -> list[str]:
    """Return the links of this namespace but lo. /proc/thread-self, since another thread may be elsewhere."""
    with open("/proc/thread-self/net/dev", encoding="ascii") as file:
        names = [line.split(":")[0].strip() for line in file.readlines()[2:]]
    return [name for name in names if name != "lo" and os.path.basename(name) == name]
