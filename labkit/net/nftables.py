"""nftables: which packets pass, and which are rewritten, in nft's words?

A ruleset is one transaction: the kernel takes all of it or none. Source: nft(8), libnftables-json(5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from labkit.errors import Duplicate, LabkitError, NotFound, Refused, Unavailable, WrongUse
from labkit.net.command import Command, run
from labkit.net.here import choose, on_user_mode_linux

__all__ = ["FAMILIES", "apply", "complaint", "delete_table", "flush"]

Ruleset = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]
_COMPLAINT = re.compile(r"^\S*?(\d+):(\d+)-(\d+): Error: (.*)$", re.MULTILINE)
_INDEX = re.compile(r"Parsing command array at index (\d+)")
FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
_KERNEL = "Could not process rule: "
_CAUSES: dict[str, tuple[type[LabkitError], str]] = {
    "No such file or directory": (NotFound, "no such table, chain or set"),
    "File exists": (Duplicate, "it exists already"),
    "Operation not supported": (Refused, "the kernel does not do that in such a chain or table"),
    "Device or resource busy": (Refused, "it is in use"),
}


def apply(ruleset: Ruleset, *, namespace: str = "host") -> Command:
    """What the ruleset says is there, all of it at once; after a refusal, nothing of it.

    A text is as nft reads it, `table ip t { ... }` or lines of commands. A list is of JSON commands,
    [{"add": {"table": {"family": "ip", "name": "t"}}}, ...], as libnftables-json(5) describes them.
    Raises WrongUse (what does not parse), NotFound, Duplicate, Refused (by the kernel), Unavailable, and
    CommandNotInstalled. Same as: nft -f -, or nft -j -f -"""
    text, words = (
        (ruleset, ("nft", "-f", "-")) if isinstance(ruleset, str) else (_json(ruleset), ("nft", "-j", "-f", "-"))
    )
    command = Command("apply", "rules", namespace, words, text)
    if not text.strip() or text == _json([]):
        raise WrongUse(f"{command.failed}: there are no rules in it", "a ruleset: table ip t { chain c { accept; } }")
    done = run(command)
    if done.returncode:
        _refuse(command, done.stderr)
    return command


def delete_table(table: str, *, family: str = "ip", namespace: str = "host") -> Command:
    """A table is gone, with its chains, sets and rules. Deleting what is gone is success.

    Raises WrongUse, Refused (its owner is another), Unavailable. Same as: nft delete table FAMILY TABLE"""
    command = Command("delete", f"table '{table}'", namespace, ("nft", "delete", "table", family, table))
    if family not in FAMILIES:
        raise WrongUse(f"{command.failed}: no family '{family}'", f"families: {', '.join(FAMILIES)}")
    done = run(command)
    if done.returncode and "No such file" not in done.stderr:
        _refuse(command, done.stderr)
    return command


def flush(*, namespace: str = "host") -> Command:
    """No table is left, those of iptables included where it writes into nftables.

    Raises Refused, Unavailable. Same as: nft flush ruleset"""
    command = Command("flush", "rules", namespace, ("nft", "flush", "ruleset"))
    done = run(command)
    if done.returncode:
        _refuse(command, done.stderr)
    return command


def _json(ruleset: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> str:
    whole = ruleset if isinstance(ruleset, Mapping) else {"nftables": list(ruleset)}
    try:
        return json.dumps(whole)
    except TypeError as error:
        raise WrongUse(f"failed to apply rules: {error}", "JSON has texts, numbers, lists and dicts") from error


def _refuse(command: Command, stderr: str) -> NoReturn:
    kind, cause, hint = complaint(stderr, command.text)
    if "Operation not supported" in stderr and on_user_mode_linux():
        raise Unavailable(
            f"{command.failed}: this kernel has no nftables for IPv4",
            f"iptables works here (labkit.net.iptables); for nft, {choose('labkit', 'namespaces')}",
        )
    raise kind(f"{command.failed}: {cause}", hint)


def complaint(stderr: str, text: str = "") -> tuple[type[LabkitError], str, str]:
    """Return what nft's complaint comes to: the kind of error, one cause with its line, and where to look.

    `text`: what nft read."""
    found = _COMPLAINT.search(stderr)
    said = (found[4] if found else stderr.partition("Error: ")[2].partition("\n")[0] or stderr).strip().rstrip(".")
    kind, cause = _kind(said)
    hint = "nft's words: man nft"
    if found is None:
        return kind, cause, hint
    if index := _INDEX.search(stderr):
        command = json.loads(text)["nftables"][int(index[1])]
        return kind, f"command {index[1]}: {cause}", f"command {index[1]}: {json.dumps(command)}"
    lines, place = text.splitlines(), int(found[1])
    if place == 0:
        return kind, cause, hint
    line = lines[place - 1] if place <= len(lines) else ""
    at = _at(line, int(found[2]), int(found[3]))
    return kind, f"line {place}, {at}: {cause}", f"line {place}: {line.strip()}"


def _kind(said: str) -> tuple[type[LabkitError], str]:
    if said.startswith(_KERNEL):
        answer = said.removeprefix(_KERNEL)
        return _CAUSES.get(answer, (Refused, f"the kernel says: {answer[:1].lower()}{answer[1:]}"))
    return WrongUse, said[:1].lower() + said[1:]


def _at(line: str, first: int, last: int) -> str:
    """Return the words in a line to which the complaint points: "at 'inputt'", or "after 'bogus'" at a line's end."""
    while first > 1 and _within(line[first - 2 : first]):
        first -= 1
    while last < len(line) and _within(line[last - 1 : last + 1]):
        last += 1
    words = line[first - 1 : last].strip()
    if words:
        return f"at '{words}'"
    before = line[: first - 1].split() or line.split()
    return f"after '{before[-1]}'" if before else "at its end"


def _within(two: str) -> bool:
    """Return whether two neighbouring characters belong to one word."""
    return all(letter.isalnum() or letter in "_-./" for letter in two)
