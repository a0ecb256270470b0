"""What iptables reads, and what it complains of: can this text be rules, and what was wrong with a rule?

iptables-nft and iptables-legacy say the same thing in different words; here it is one sentence.
Source: iptables-restore(8); what version 1.8.9 of both says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labkit.errors import Duplicate, LabkitError, NotFound, Refused, Unavailable, WrongUse

__all__ = ["TABLES", "TOOLS", "complaint", "parse"]

TABLES = ("filter", "nat", "mangle", "raw", "security")
TOOLS = {"ip": "iptables", "ip6": "ip6tables"}
_WORDS = "iptables' words: man iptables, man iptables-extensions"
_CHAINS = "labkit.net.iptables.save() shows what is there; a chain of one's own is added first"
_PLACE = "some targets and matches are for certain tables and chains: man iptables-extensions"
_DOCTOR = "labkit doctor says what this kernel lacks"
_NO_CHAIN = (r"No chain/target/match by that name", NotFound, "no such chain, target or match", _CHAINS)
_PATTERNS: tuple[tuple[str, type[LabkitError], str, str], ...] = (
    (r"unknown option \"([^\"]*)\"", WrongUse, "'{}' is not an option here", "an option stands after its -m, -p or -j"),
    (r"unknown protocol \"([^\"]*)\"", WrongUse, "'{}' is not a protocol", "tcp, udp, icmp, or a number"),
    (r"host/network `([^']*)' not found", WrongUse, "'{}' is not an address", "an address is 10.0.0.2, or 10.0.0.0/24"),
    (r"Bad argument `([^']*)'", WrongUse, "'{}' is not understood here", _WORDS),
    (r"Couldn't load match `([^']*)'", NotFound, "no match '{}'", _WORDS),
    (r"Couldn't load target `([^']*)'|Chain '([^']*)' does not exist", NotFound, "no target or chain '{}'", _CHAINS),
    _NO_CHAIN,
    (r"Chain already exists", Duplicate, "it exists already", "flush it to empty it"),
    (r"CHAIN_DEL failed \(Device or|Too many links", Refused, "rules jump to it", "delete those first"),
    (r"CHAIN_DEL failed \(Directory|Directory not empty", Refused, "it has rules", "flush it first"),
    (r"Bad built-in chain name", WrongUse, "it is not a built-in chain", "only built-in chains have a policy"),
    (r"Index of \w+ too big", WrongUse, "it has fewer rules than that", "rules are counted from 1"),
    (r"RULE_\w+ failed \(([^)]*)\)|iptables: (Invalid argument)", Refused, "the kernel says: {}", _PLACE),
    (r"(?:can't|unable to) initialize .*table", Unavailable, "this kernel has no such table", _DOCTOR),
    (
        r"generation id|No valid subcommand given",
        Unavailable,
        "this kernel has no nftables for it",
        "try backend='legacy'; " + _DOCTOR,
    ),
)


def parse(text: str, namespace: str = "host") -> dict[str, list[str]]:
    """Return the lines of each table of a text in the form of iptables-save. Raises WrongUse."""
    tables: dict[str, list[str]] = {}
    table = ""
    for place, line in enumerate((line.strip() for line in text.splitlines()), start=1):
        if not line or line.startswith("#"):
            continue
        wrong = _wrong(line, table, tables)
        if wrong:
            raise WrongUse(
                f"failed to apply rules in namespace '{namespace}': line {place}, '{line}': {wrong[0]}", wrong[1]
            )
        if line.startswith("*"):
            table = line[1:]
            tables[table] = []
        elif line == "COMMIT":
            table = ""
        else:
            tables[table].append(line)
    if table or not tables:
        raise WrongUse(
            f"failed to apply rules in namespace '{namespace}': "
            + (f"table '{table}' does not end" if table else "there are no rules in the text"),
            "a table is '*nat', then lines like '-A POSTROUTING -j MASQUERADE', then 'COMMIT'",
        )
    return tables


def _wrong(line: str, table: str, tables: dict[str, list[str]]) -> tuple[str, str] | None:
    """Return what is wrong with a line, and what to do; `table` is the one that it stands in."""
    if line.startswith("*"):
        name = line[1:]
        if table:
            return f"table '{table}' does not end before it", "a table ends with 'COMMIT'"
        if name not in TABLES:
            return f"no table '{name}'", f"tables: {', '.join(TABLES)}"
        return ("the table is there twice", "write all rules of a table in one place") if name in tables else None
    if not table:
        return "no table has begun", "a table is '*nat', then lines like '-A POSTROUTING -j MASQUERADE', then 'COMMIT'"
    if line.startswith((":", "-", "[")) or line == "COMMIT":
        return None
    word = line.split()[0]
    if word in TOOLS.values():
        return "a line has no command's name", "write the words that follow it: -A CHAIN ..."
    return "neither a rule nor a chain", "a rule is '-A CHAIN ...', a chain of one's own ':CHAIN - [0:0]'"


def complaint(stderr: str, lines: Sequence[str] = ()) -> tuple[type[LabkitError], str, str]:
    """Return what iptables' complaint comes to: the kind of error, one cause, and where to look.

    `lines`: those of the text that iptables-restore read, whose complaint names one by its number."""
    where = re.search(r"line:? (\d+)", stderr)
    place = int(where[1]) if where and int(where[1]) <= len(lines) else 0
    kind, cause, hint, word = _known(stderr) or _from_line(lines[place - 1] if place else "", stderr)
    if place and lines[place - 1] == "COMMIT" and word:  # iptables-nft looks for targets at the end
        place = next((at for at, line in enumerate(lines, start=1) if word in line.split()), place)
    return kind, (f"line {place}, '{lines[place - 1]}': " if place else "") + cause, hint


def _known(stderr: str) -> tuple[type[LabkitError], str, str, str] | None:
    for pattern, kind, cause, hint in _PATTERNS:
        if found := re.search(pattern, stderr):
            word = next(filter(None, found.groups()), "")
            return kind, cause.format(word.lower() if kind is Refused else word), hint, word
    return None


def _from_line(line: str, stderr: str) -> tuple[type[LabkitError], str, str, str]:
    """Return what the line that was refused says by itself: iptables-legacy often says no more than its number."""
    if line.startswith("-"):
        return *_NO_CHAIN[1:], ""
    if line == "COMMIT":
        return Refused, "the kernel takes not all of this table's rules", f"append them one by one; {_PLACE}", ""
    return Refused, " ".join(stderr.split()) or "iptables did not say why", _WORDS, ""
