"""labkit prove: does the computer's network stay as it was?

How changes are told apart on a busy computer. The network is read again and again in two idle periods, one before the
command and one after it; what changes there, the computer changes by itself. A link that comes or goes in an idle
period stands for its family (veth12ab for veth*), with its addresses, routes and settings: a Docker host makes new ones
all day. What differs between the reading just before the command and the one just after it, and is of no such
kind, is reported as a difference. Namespaces of processes are attributed instead: the command and all it starts carry a
token in their environment, and a namespace counts only when a process with that token still lives in it.
Firewall rules are not read: reading them can make the kernel load nf_tables.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from labkit.machine import outside

__all__ = ["Idle", "add_arguments", "differences", "main"]

_CHANGED = 3  # the exit status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `labkit prove` understands."""
    parser.description = (
        "Run a command, or a notebook, in a fresh lab machine, and show that your computer's own network is the same "
        "before and after: links, addresses, routes, rules, namespaces, sysctls, and loaded modules. If it is not, the "
        f"difference is printed and the exit status is {_CHANGED}; otherwise it is the command's own."
    )
    parser.epilog = (
        "examples: `labkit prove -- ip link add br0 type bridge`, `labkit prove -- notebooks/03-bridges.ipynb`"
    )
    parser.add_argument("--idle", type=float, default=1.0, metavar="SECONDS", help="how long to watch before and after")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="[--] COMMAND...", help="a command, or one .ipynb file"
    )


def main(arguments: argparse.Namespace) -> int:
    """Prove it; return the exit status."""
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        print("labkit prove: which command? For example: labkit prove -- ip link add br0 type bridge", file=sys.stderr)
        return 2
    token = f"LABKIT_PROVE={secrets.token_hex(8)}"
    idle = Idle()
    before = idle.watch(token, arguments.idle)
    status = _run(command, token)
    after = outside.read(token)
    idle.watch(token, arguments.idle, after)
    lines, own = differences(before, after, idle)
    for line in own:
        print(f"labkit prove: the computer's own doing, also while nothing ran: {line}")
    print(f"labkit prove: the command ended with status {status}")
    if lines:
        print("labkit prove: the computer's network is NOT as it was:")
        print("\n".join(f"  {line}" for line in lines))
        return _CHANGED
    print(f"labkit prove: the computer's network is as it was ({_counted(after)})")
    return status


def _counted(reading: outside.Reading) -> str:
    """Return what was compared: "4 links, 5 addresses, 14 routes..."."""
    counts = Counter(kind for kind, _ in reading)
    names = {"address": "addresses"}
    kinds = ("link", "address", "route", "rule", "namespace", "sysctl", "module")
    return ", ".join(f"{counts[kind]} {kind if counts[kind] == 1 else names.get(kind, kind + 's')}" for kind in kinds)


@dataclass
class Idle:
    """What changed while nothing ran."""

    keys: set[tuple[str, str]] = field(default_factory=set)
    families: set[str] = field(default_factory=set)

    def watch(self, token: str, seconds: float, last: outside.Reading | None = None) -> outside.Reading:
        """Read the network for `seconds`, remember what changes, and return the last reading."""
        last = outside.read(token) if last is None else last
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.05)
            now = outside.read(token)
            for key in last.keys() ^ now.keys():
                link = outside.link_of(key)
                if link and ("link", link) in last.keys() ^ now.keys():
                    self.families.add(_family(link))
            self.keys |= {key for key in last.keys() | now.keys() if last.get(key) != now.get(key)}
            last = now
        return last

    def explains(self, key: tuple[str, str]) -> bool:
        """Return whether a change of this line is of a kind that the computer makes by itself."""
        link = outside.link_of(key)
        return key in self.keys or (link is not None and _family(link) in self.families)


def _family(link: str) -> str:
    """Return what links made by one hand share: "veth" for vethc0ffee1, "br-" for br-1b2c3d4e5f60, "eth" for eth7."""
    short = re.match(r"[a-z]{2,}-|veth|[a-z]+?(?=[0-9])", link)
    return short[0] if short else link


def differences(before: outside.Reading, after: outside.Reading, idle: Idle) -> tuple[list[str], list[str]]:
    """Return the differences, one line each: those that nothing explains, and those of the computer's own kind."""
    lines: list[str] = []
    own: list[str] = []
    come_and_gone = {name for kind, name in before.keys() ^ after.keys() if kind == "link"}
    for key in sorted(before.keys() | after.keys()):
        kind, name = key
        if before.get(key) == after.get(key) or (kind == "sysctl" and outside.link_of(key) in come_and_gone):
            continue  # the settings of a link come and go with it
        if key not in before:
            line = f"+ {kind} {name}{_details(after[key])}"
        elif key not in after:
            line = f"- {kind} {name}{_details(before[key])}"
        else:
            line = f"~ {kind} {name}: {_changes(before[key], after[key])}"
        (own if idle.explains(key) else lines).append(line)
    return lines, own


def _details(text: str) -> str:
    record = _record(text)
    if record is None:
        return f" {text}" if text else ""
    kind = record.get("linkinfo", {}).get("info_kind", "")
    shown = [kind, record.get("address", ""), f"mtu {record['mtu']}" if "mtu" in record else ""]
    return "".join(f" {word}" for word in shown if word)


def _changes(before: str, after: str) -> str:
    old, new = _record(before), _record(after)
    if old is None or new is None:
        return f"{before} -> {after}"
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return ", ".join(f"{key} {old.get(key)} -> {new.get(key)}" for key in keys)


def _record(text: str) -> dict[str, Any] | None:
    with suppress(ValueError):
        value = json.loads(text)
        return value if isinstance(value, dict) else None
    return None


def _run(command: list[str], token: str) -> int:
    name, value = token.split("=")
    environment = os.environ | {name: value}
    if len(command) == 1 and command[0].endswith(".ipynb"):
        with tempfile.TemporaryDirectory() as prefix:
            from labkit.machine import kernelspec

            kernelspec.install(prefix)
            environment["JUPYTER_PATH"] = os.path.join(prefix, "share", "jupyter")
            program = [sys.executable, "-P", "-m", "labkit.machine.notebook", command[0]]
            return _status(subprocess.run(program, env=environment, check=False).returncode)
    program = [sys.executable, "-P", "-m", "labkit.cli", "run", "--", *command]
    return _status(subprocess.run(program, env=environment, check=False).returncode)


def _status(code: int) -> int:
    return code if code >= 0 else 128 - code
