"""Firewall rules: which are there, in the words of the tool that speaks of them?

Three tools may have filled a namespace's hooks: nft, iptables (which on today's systems writes into nftables), and
iptables-legacy (tables of its own). Rules are told as their tool writes them.
Source: nft(8), iptables(8), iptables-nft(8).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine
from labkit.net.iptables import legacy_tables_here

__all__ = ["Chain", "Rule", "Ruleset", "legacy_tables_here", "read_here", "rules", "ruleset"]

Key = tuple[str, str, str, int]  # family, table, chain, handle; for iptables-legacy the rule's number in its chain
_LEGACY = {"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}
_COMPATIBLE = {"ip": "iptables-nft", "ip6": "ip6tables-nft"}
_IPTABLES_TABLES = ("filter", "nat", "mangle", "raw", "security")
_HOOK = re.compile(r"type (\w+) hook (\w+)(?: device\S* .*?)? priority ([^;]+);(?: policy (\w+);)?")
_HANDLE = re.compile(r"\s*# handle (\d+)$")
_SEARCH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: `hook` and `priority` are "" for one that is only jumped to."""

    family: str
    table: str
    name: str
    hook: str = ""
    priority: str = ""
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as its tool writes it, and the command that lists it."""

    text: str
    command: str


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All rules of a namespace. `text`: as the tools list them; "" when there are none."""

    text: str = ""
    rules: Mapping[Key, Rule] = field(default_factory=dict)
    chains: Mapping[tuple[str, str, str], Chain] = field(default_factory=dict)


def ruleset(namespace: str = "host") -> str:
    """Return the rules of a namespace as text, without counters; "" when there are none.

    Same as: ip netns exec NAMESPACE nft -s list ruleset; and iptables-legacy-save, where its tables are in use.
    Raises NotFound, NamespaceGone."""
    return rules(namespace).text


def rules(namespace: str = "host") -> Ruleset:
    """Return the rules of a namespace. Raises NotFound, NamespaceGone."""
    ensure_lab_machine(f"list the rules of namespace '{namespace}'")
    return namespaces.inside(namespace, lambda: read_here(namespace))


def read_here(namespace: str = "host") -> Ruleset:
    """Return the rules of the calling thread's namespace, which commands shall call `namespace`."""
    prefix = "" if namespace == "host" else f"ip netns exec {namespace} "
    found: dict[Key, Rule] = {}
    chains: dict[tuple[str, str, str], Chain] = {}
    listing = _output("nft", "-s", "-a", "list", "ruleset")
    _read_nft(listing, prefix, found, chains)
    _name_as_iptables(prefix, found, chains)
    legacy = [_read_legacy(family, prefix, found, chains) for family in _LEGACY if legacy_tables_here(family)]
    plain = "\n".join(_HANDLE.sub("", line) for line in listing.splitlines())
    return Ruleset("\n".join(filter(None, [plain, *legacy])), found, chains)


def _output(program: str, *words: str) -> str:
    """Return what a program prints; "" where it is not installed, or refuses (a table that it cannot read)."""
    path = shutil.which(program, path=_SEARCH)
    if path is None:
        return ""
    done = subprocess.run([path, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.stdout if done.returncode == 0 else ""


def _read_nft(listing: str, prefix: str, found: dict[Key, Rule], chains: dict[tuple[str, str, str], Chain]) -> None:
    """Take `nft -a list ruleset` apart: tables, chains in them, rules by handle."""
    family = table = chain = ""
    depth = 0
    for line in listing.splitlines():
        handle = _HANDLE.search(line)
        text = _HANDLE.sub("", line).strip()
        words = text.split()
        if depth == 0 and words[:1] == ["table"]:
            family, table = words[1], words[2]
        elif depth == 1 and words[:1] == ["chain"]:
            chain = words[1]
            chains[family, table, chain] = Chain(family, table, chain)
        elif depth == 2 and chain and (hook := _HOOK.match(text)):
            _, where, priority, policy = hook.groups()
            chains[family, table, chain] = Chain(family, table, chain, where, priority, policy or "accept")
        elif depth == 2 and chain and handle:
            command = f"{prefix}nft list chain {family} {table} {chain}"
            found[family, table, chain, int(handle[1])] = Rule(text, command)
        depth += text.count("{") - text.count("}")
        chain = chain if depth >= 2 else ""


def _name_as_iptables(prefix: str, found: dict[Key, Rule], chains: dict[tuple[str, str, str], Chain]) -> None:
    """Rules that iptables wrote are told as iptables writes them: the same ones in the same order."""
    for family, program in _COMPATIBLE.items():
        if not any(one == family and table in _IPTABLES_TABLES and name.isupper() for one, table, name in chains):
            continue
        saved = _saved(_output(f"{program}-save"))
        ours: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
        for key in found:
            if key[0] == family:
                ours[key[1], key[2]].append(key)
        tool = program.removesuffix("-nft")
        for (table, chain), keys in ours.items():
            lines = saved.get((table, chain), [])
            if len(lines) == len(keys):
                for key, line in zip(keys, lines, strict=True):
                    found[key] = Rule(f"{tool} -t {table} {line}", f"{prefix}{tool} -t {table} -S {chain}")


def _is_the_same(one: str, other: str) -> bool:
    """Return whether two names stand for the same program, as `iptables` may be iptables-legacy."""
    paths = [shutil.which(name, path=_SEARCH) for name in (one, other)]
    return all(paths) and os.path.samefile(*filter(None, paths))


def _saved(text: str) -> dict[tuple[str, str], list[str]]:
    """Return the rules of iptables-save by table and chain."""
    table, saved = "", defaultdict[tuple[str, str], list[str]](list)
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A "):
            saved[table, line.split()[1]].append(line)
    return saved


def _read_legacy(family: str, prefix: str, found: dict[Key, Rule], chains: dict[tuple[str, str, str], Chain]) -> str:
    """Note the rules of iptables-legacy by number, in a family of their own: "legacy ip"."""
    tool = _LEGACY[family]
    text = _output(f"{tool}-save")
    if _is_the_same(tool, short := tool.removesuffix("-legacy")):
        tool = short
    table, numbers = "", Counter[tuple[str, str]]()
    for line in text.splitlines():
        words = line.split()
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            name, policy = words[0][1:], words[1]
            built_in = policy != "-"
            chains[f"legacy {family}", table, name] = Chain(
                f"legacy {family}",
                table,
                name,
                name.lower() if built_in else "",
                "",
                policy.lower() if built_in else "",
            )
        elif line.startswith("-A "):
            numbers[table, words[1]] += 1
            key = f"legacy {family}", table, words[1], numbers[table, words[1]]
            found[key] = Rule(f"{tool} -t {table} {line}", f"{prefix}{tool} -t {table} -S {words[1]}")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))
