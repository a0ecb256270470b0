"""pytest: a fresh network for a test, and a fresh lab machine where the machine itself is tested.

Tests of networks run inside one lab machine, in which pytest itself is started:  labkit run pytest tests/live
The plugin is there in every pytest once labkit is installed; unless a test asks for a fixture it does nothing, but for
notebooks under nbval: cells that need what the kernel lacks are skipped, by the words labkit.needs(...) of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pytest

__all__ = ["RunsInLabMachine", "clear", "lab_machine", "network", "pytest_collection_modifyitems"]


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """nbval: skip the cells, or whole notebooks, that need what the kernel they run on lacks; the skip says what."""
    kernel = getattr(config.option, "nbval_kernel_name", None)
    if kernel not in ("labkit", "labkit-uml"):
        return
    from labkit.machine import suits

    for item in items:
        cell, notebook = getattr(item, "cell", None), getattr(item.parent, "nb", None)
        if cell is None or notebook is None:
            continue
        needs = (*suits.needs_of(notebook), *suits.needs_of_cell(cell.source))
        if needs and (lacking := suits.lacking_on(kernel, needs)):
            item.add_marker(pytest.mark.skip(reason=f"needs: {', '.join(lacking)}, which the kernel {kernel} lacks"))


def clear() -> None:
    """Take away every namespace's name, every link but lo, and all that the kernel did not make of the lab machine's
    host: routes, routing rules, rules of nftables and iptables.

    What the kernel keeps by itself (tunl0, sit0) stays. Same as: ip netns delete, ip link delete, ip rule delete,
    ip route delete, ip address delete, nft flush ruleset, iptables-legacy -F"""
    from labkit.net import namespace, sysctl
    from labkit.net.here import ensure_lab_machine

    ensure_lab_machine("give a test a fresh network")
    for name in namespace.names():
        namespace.delete(name)
    with namespace.enter("host"):
        for link in _links():
            subprocess.run(["ip", "link", "delete", link], stderr=subprocess.DEVNULL, check=False)
        _clear_routing()
        if shutil.which("nft"):
            subprocess.run(["nft", "flush", "ruleset"], stderr=subprocess.DEVNULL, check=False)
        _clear_legacy_iptables()
        sysctl.state_here()


def _clear_legacy_iptables() -> None:
    """Rules, chains and policies of iptables-legacy, where its tables are in use."""
    from labkit.state.firewall import legacy_tables_here

    for family, tool in (("ip", "iptables-legacy"), ("ip6", "ip6tables-legacy")):
        for table in legacy_tables_here(family):
            plain = [tool, "-w", "-t", table]
            listed = subprocess.run([*plain, "-S"], capture_output=True, text=True, check=False).stdout
            policies = [line.split()[:2] for line in listed.splitlines() if line.startswith("-P ")]
            for words in (["-F"], ["-X"], *([*policy, "ACCEPT"] for policy in policies)):
                subprocess.run([*plain, *words], stderr=subprocess.DEVNULL, check=False)


def _clear_routing() -> None:
    """Routes that need no link (blackhole, unreachable, prohibit, throw), routing rules, and addresses of lo."""
    commands = []
    for family in ("-4", "-6"):
        made = [rule["priority"] for rule in _ip(family, "rule") if rule["priority"] not in (0, 32766, 32767)]
        commands += [["ip", family, "rule", "delete", "priority", str(priority)] for priority in made]
        for route in _ip(family, "route", "show", "table", "all"):
            if route.get("type") in ("blackhole", "unreachable", "prohibit", "throw"):
                place = [route["dst"], "table", str(route.get("table", "main"))]
                commands.append(["ip", family, "route", "delete", route["type"], *place])
    for address in _ip("address", "show", "dev", "lo")[0].get("addr_info", []):
        if address["local"] not in ("127.0.0.1", "::1"):
            text = f"{address['local']}/{address['prefixlen']}"
            commands.append(["ip", "address", "delete", text, "dev", "lo"])
    for command in commands:
        subprocess.run(command, stderr=subprocess.DEVNULL, check=False)


def _ip(*words: str) -> list[dict[str, Any]]:
    shown = subprocess.run(["ip", "-j", *words], capture_output=True, text=True, check=False).stdout
    return [record for record in json.loads(shown or "[]") if record]


def _links() -> list[str]:
    """Return the links of this namespace but lo. /proc/thread-self, since another thread may be elsewhere."""
    with open("/proc/thread-self/net/dev", encoding="ascii") as file:
        names = [line.split(":")[0].strip() for line in file.readlines()[2:]]
    return [name for name in names if name != "lo" and os.path.basename(name) == name]
