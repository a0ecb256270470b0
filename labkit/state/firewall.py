"""Firewall rules: which are there, in the words of the tool that speaks of them?

Three tools may have filled a namespace's hooks: nft, iptables (which on today's systems writes into nftables), and
iptables-legacy (tables of its own). Rules are told as their tool writes them.
Source: nft(8), iptables(8), iptables-nft(8).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from labkit.net import namespace as namespaces
from labkit.net.command import which
from labkit.net.here import ensure_lab_machine
from labkit.net.iptables import legacy_tables_here

if TYPE_CHECKING:
    from labkit.see import Shown

__all__ = [
    "Chain",
    "Count",
    "Counts",
    "Rule",
    "Ruleset",
    "counts",
    "hooks",
    "legacy_tables_here",
    "read_here",
    "rules",
    "ruleset",
]

Key = tuple[str, str, str, int]  # family, table, chain, handle; for iptables-legacy the rule's number in its chain
_LEGACY = {"ip": "iptables-legacy", "ip6": "ip6tables-legacy"}
_COMPATIBLE = {"ip": "iptables-nft", "ip6": "ip6tables-nft"}
_IPTABLES_TABLES = ("filter", "nat", "mangle", "raw", "security")
_HOOK = re.compile(r"type (\w+) hook (\w+)(?: device\S* .*?)? priority ([^;]+);(?: policy (\w+);)?")
_HANDLE = re.compile(r"\s*# handle (\d+)$")
# linux/netfilter_ipv4.h and netfilter_bridge.h: nft's names for them
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_BRIDGE_PRIORITIES = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain: `hook` and `priority` are "" for one that is only jumped to. `tool`: whose it is, "nft", "iptables",
    "iptables-legacy" (where that is not what `iptables` is) and the same for ip6tables."""

    family: str
    table: str
    name: str
    hook: str = ""
    priority: str = ""
    policy: str = ""
    tool: str = "nft"

    @property
    def number(self) -> int:
        """Its priority as the kernel has it: of the chains at one hook, the lowest comes first."""
        base, *more = self.priority.split() or ["0"]
        names = _BRIDGE_PRIORITIES if self.family == "bridge" else _PRIORITIES
        return (names[base] if base in names else int(base)) + int("".join(more) or 0)


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


def hooks(namespace: str = "host", family: str = "ip") -> Shown:
    """Show where a packet meets rules in a namespace: the hooks in its order, and the chains at each.

    `family`: "ip" or "ip6". Raises NotFound, NamespaceGone."""
    from labkit.see import hooks as shown

    return shown(rules(namespace), namespace, family)


@dataclass(frozen=True, slots=True)
class Count:
    """How many packets met a rule, and their bytes from the IP header on."""

    key: Key
    rule: Rule
    packets: int
    bytes: int

    @property
    def text(self) -> str:
        """The packets, then the rule."""
        return f"{self.packets:>3} {'packet ' if self.packets == 1 else 'packets'}  {self.rule.text}"


class Counts(tuple[Count, ...]):
    """The counters of a namespace's rules, in the rules' order; its repr is a line for each."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(count.text for count in self) or "no rule counts"


def counts(namespace: str = "host") -> Counts:
    """Return how many packets met each rule that counts: every one of iptables, those of nft that say `counter`.

    Raises NotFound, NamespaceGone. Same as: nft list ruleset; iptables-save -c"""
    ensure_lab_machine(f"read the counters of namespace '{namespace}'")
    return namespaces.inside(namespace, lambda: _counts_here(namespace))


def _counts_here(namespace: str) -> Counts:
    found = read_here(namespace).rules
    counted = _nft_counts(_output("nft", "-j", "list", "ruleset"))
    for family, program in _LEGACY.items():
        if legacy_tables_here(family):
            counted |= _legacy_counts(family, _output(f"{program}-save", "-c"))
    return Counts(Count(key, found[key], *counted[key]) for key in found if key in counted)


def _nft_counts(listing: str) -> dict[Key, tuple[int, int]]:
    """Return (packets, bytes) by rule, of `nft -j list ruleset`."""
    rules = [record["rule"] for record in json.loads(listing or "{}").get("nftables", ()) if "rule" in record]
    counted = {}
    for rule in rules:
        for one in rule.get("expr", ()):
            if isinstance(one, dict) and isinstance(counter := one.get("counter"), dict):
                key = rule["family"], rule["table"], rule["chain"], rule["handle"]
                counted[key] = counter["packets"], counter["bytes"]
    return counted


def _legacy_counts(family: str, text: str) -> dict[Key, tuple[int, int]]:
    """Return (packets, bytes) by rule, of `iptables-legacy-save -c`."""
    counted: dict[Key, tuple[int, int]] = {}
    table, numbers = "", Counter[tuple[str, str]]()
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("["):
            values, _, chain = line.split()[:3]
            numbers[table, chain] += 1
            packets, size = values.strip("[]").split(":")
            counted[f"legacy {family}", table, chain, numbers[table, chain]] = int(packets), int(size)
    return counted


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
    path = which(program)
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
        text = _output(f"{program}-save")
        saved = _saved(text)
        ours: defaultdict[tuple[str, str], list[Key]] = defaultdict(list)
        for key in found:
            if key[0] == family:
                ours[key[1], key[2]].append(key)
        tool = _short(program)
        for place, chain in list(chains.items()):
            if chain.family == family and f"\n*{chain.table}\n" in text:
                chains[place] = replace(chain, tool=tool)
        for (table, name), keys in ours.items():
            lines = saved.get((table, name), [])
            if len(lines) == len(keys):
                for key, line in zip(keys, lines, strict=True):
                    found[key] = Rule(f"{tool} -t {table} {line}", f"{prefix}{tool} -t {table} -S {name}")


def _legacy_priority(table: str, chain: str) -> str:
    """Return where the kernel hooks in a chain of iptables-legacy (net/ipv4/netfilter/iptable_*.c)."""
    if table != "nat":
        return table
    return "dstnat" if chain in ("PREROUTING", "OUTPUT") else "srcnat"


def _short(tool: str) -> str:
    """Return "iptables" for the one of iptables-nft and iptables-legacy that it is, else the long name."""
    short = tool.partition("-")[0]
    paths = [path for name in (tool, short) if (path := which(name))]
    return short if len(paths) == 2 and os.path.samefile(*paths) else tool


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
    text = _output(f"{_LEGACY[family]}-save")
    tool = _short(_LEGACY[family])
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
                _legacy_priority(table, name) if built_in else "",
                policy.lower() if built_in else "",
                tool,
            )
        elif line.startswith("-A "):
            numbers[table, words[1]] += 1
            key = f"legacy {family}", table, words[1], numbers[table, words[1]]
            found[key] = Rule(f"{tool} -t {table} {line}", f"{prefix}{tool} -t {table} -S {words[1]}")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))
