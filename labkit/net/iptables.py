"""iptables: which packets pass, and which are rewritten, in iptables' words?

`iptables` is one of two programs. One writes into the kernel's nftables ("nft"), the other into tables of their own
("legacy"); the kernel applies both. Rules go into a table as a whole: a text of iptables-save's form takes effect table
by table, each at once or not at all.
Source: iptables(8), iptables-restore(8), iptables-nft(8).
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Literal, NoReturn

from labkit.errors import NotFound, Refused, WrongUse
from labkit.net import namespace as namespaces
from labkit.net.command import Command, run, which
from labkit.net.here import ensure_lab_machine
from labkit.net.iptables_text import TABLES, TOOLS, complaint, parse
from labkit.net.nfnetlink import NFTABLES, Message, Socket

__all__ = [
    "TABLES",
    "Backend",
    "Family",
    "add_chain",
    "append",
    "apply",
    "backend",
    "delete",
    "delete_chain",
    "flush",
    "insert",
    "legacy_tables_here",
    "save",
    "set_policy",
]

Backend = Literal["nft", "legacy"]
Family = Literal["ip", "ip6"]
_POLICIES = ("ACCEPT", "DROP")
_FAMILIES = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}
_GET_TABLE = 1  # NFT_MSG_GETTABLE
_OTHER: dict[Backend, Backend] = {"nft": "legacy", "legacy": "nft"}


def backend(namespace: str = "host") -> Backend:
    """Return which of the two the command `iptables` is in a namespace: "nft" or "legacy".

    Raises CommandNotInstalled, NotFound. Same as: iptables --version"""
    command = Command("ask", "iptables for its version", namespace, ("iptables", "--version"))
    ensure_lab_machine(f"{command.verb} {command.name}")
    namespaces.inode(namespace)
    path = which("iptables")
    if path is None:
        run(command)  # says what to install
        return "legacy"
    there = os.stat(path)
    return _backend_of(path, there.st_dev, there.st_ino)


@lru_cache
def _backend_of(path: str, _device: int, _inode: int) -> Backend:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return "nft" if "nf_tables" in said else "legacy"


def apply(
    text: str,
    *,
    namespace: str = "host",
    backend: Backend | None = None,
    family: Family = "ip",
    put_back: bool = True,
) -> Command:
    """The rules of `text` (in the form of iptables-save) are in their tables; rules that were there stay.

    Each table takes effect at once or not at all; when one is refused, the tables before it are as they were, unless
    `put_back` is False: then they are not looked at before, and the caller takes back what is there by itself.
    A line ":CHAIN - [0:0]" makes the chain, or empties it. `backend`: "nft" or "legacy", None for what `iptables` is.
    Raises WrongUse (what does not parse), NotFound (a chain), Refused (rules of the other back end, too; by the
    kernel). Same as: iptables-restore -w --noflush"""
    tables = parse(text, namespace)
    tool = _tool(namespace, backend, family)
    lines = [line.strip() for line in text.splitlines()]
    command = Command(
        "apply rules of", _and(list(tables)), namespace, (f"{tool}-restore", "-w", "--noflush"), "\n".join(lines) + "\n"
    )
    _refuse_both(command, backend, family)
    before = [
        save(table, namespace=namespace, backend=backend, family=family) or f"*{table}\nCOMMIT\n"
        for table in (list(tables)[:-1] if put_back else ())  # the last one is refused as a whole, if at all
    ]
    done = run(command)
    if done.returncode:
        for table in before:
            run(Command("put back", "rules", namespace, (f"{tool}-restore", "-w", "-c"), table))
        _refuse(command, done.stderr, lines)
    return command


def append(
    table: str,
    chain: str,
    rule: str | Sequence[str],
    *,
    namespace: str = "host",
    backend: Backend | None = None,
    family: Family = "ip",
) -> Command:
    """`rule` ("-p tcp --dport 80 -j ACCEPT") is the last of its chain.

    Raises WrongUse, NotFound, Refused, Unavailable. Same as: iptables -t TABLE -A CHAIN RULE"""
    words = _words(rule, f"append a rule to chain '{chain}' of table '{table}'", namespace)
    return _change("append a rule to", table, chain, ["-A", chain, *words], namespace, backend, family)


def insert(
    table: str,
    chain: str,
    rule: str | Sequence[str],
    position: int = 1,
    *,
    namespace: str = "host",
    backend: Backend | None = None,
    family: Family = "ip",
) -> Command:
    """`rule` is at `position` in its chain, 1 for the first; later ones move on.

    Raises WrongUse, NotFound, Refused, Unavailable. Same as: iptables -t TABLE -I CHAIN POSITION RULE"""
    words = _words(rule, f"insert a rule into chain '{chain}' of table '{table}'", namespace)
    at = ["-I", chain] if position == 1 else ["-I", chain, str(position)]
    return _change("insert a rule into", table, chain, [*at, *words], namespace, backend, family)


def delete(
    table: str,
    chain: str,
    rule: str | Sequence[str] | int,
    *,
    namespace: str = "host",
    backend: Backend | None = None,
    family: Family = "ip",
) -> Command:
    """The first rule of its chain that is `rule`, or stands at that number, is gone. Deleting what is gone is success.

    Raises WrongUse, NotFound. Same as: iptables -t TABLE -D CHAIN RULE"""
    what = f"delete a rule of chain '{chain}' of table '{table}'"
    words = [str(rule)] if isinstance(rule, int) else _words(rule, what, namespace)
    gone = ("Bad rule", "No chain/target/match", "does not exist", "Couldn't load target")
    return _change("delete a rule of", table, chain, ["-D", chain, *words], namespace, backend, family, gone)


def add_chain(
    table: str, chain: str, *, namespace: str = "host", backend: Backend | None = None, family: Family = "ip"
) -> Command:
    """A chain that rules can jump to is there, empty.

    Raises Duplicate, NotFound. Same as: iptables -t TABLE -N CHAIN"""
    return _change("add", table, chain, ["-N", chain], namespace, backend, family)


def delete_chain(
    table: str, chain: str, *, namespace: str = "host", backend: Backend | None = None, family: Family = "ip"
) -> Command:
    """A chain of one's own is gone, if it was empty and no rule jumps to it. Deleting what is gone is success.

    Raises Refused, WrongUse. Same as: iptables -t TABLE -X CHAIN"""
    gone = ("No chain/target/match",)
    return _change("delete", table, chain, ["-X", chain], namespace, backend, family, gone)


def flush(
    table: str,
    chain: str | None = None,
    *,
    namespace: str = "host",
    backend: Backend | None = None,
    family: Family = "ip",
) -> Command:
    """A chain, or every chain of the table, has no rule; chains and policies stay.

    Raises WrongUse, NotFound. Same as: iptables -t TABLE -F [CHAIN]"""
    return _change("flush", table, chain, ["-F", *([chain] if chain else [])], namespace, backend, family)


def set_policy(
    table: str,
    chain: str,
    policy: str,
    *,
    namespace: str = "host",
    backend: Backend | None = None,
    family: Family = "ip",
) -> Command:
    """What no rule of a built-in chain decides on is accepted or dropped: `policy` is "ACCEPT" or "DROP".

    Raises WrongUse, NotFound. Same as: iptables -t TABLE -P CHAIN POLICY"""
    if policy not in _POLICIES:
        raise WrongUse(
            f"failed to set policy of chain '{chain}' of table '{table}' in namespace '{namespace}': "
            f"'{policy}' is not a policy",
            "policies: ACCEPT, DROP",
        )
    return _change("set policy of", table, chain, ["-P", chain, policy], namespace, backend, family)


def save(
    table: str | None = None, *, namespace: str = "host", backend: Backend | None = None, family: Family = "ip"
) -> str:
    """Return the rules of a table, or of all that are in use, with counters, in the form that `apply` takes.

    Raises NotFound (a table), Unavailable. Same as: iptables-save -c [-t TABLE]"""
    tool = _tool(namespace, backend, family)
    words = (f"{tool}-save", "-c", *(["-t", table] if table else []))
    command = Command("save", f"table '{table}'" if table else "all tables", namespace, words)
    if table is not None:
        _check_table(command, table)
    done = run(command)
    if done.returncode:
        _refuse(command, done.stderr)
    return done.stdout


def _check_table(command: Command, table: str) -> None:
    if table not in TABLES:
        raise NotFound(f"{command.failed}: no table '{table}'", f"tables: {', '.join(TABLES)}")


# How a change is carried out


def _tool(namespace: str, back: Backend | None, family: Family) -> str:
    """Return the program's name: "iptables", or where a back end is asked for, "iptables-legacy"."""
    if family not in TOOLS:
        raise WrongUse(f"failed to choose iptables in namespace '{namespace}': no family '{family}'", "ip, or ip6")
    if back is None:
        return TOOLS[family]
    if back not in _OTHER:
        raise WrongUse(f"failed to choose iptables in namespace '{namespace}': no back end '{back}'", "nft, or legacy")
    return f"{TOOLS[family]}-{back}"


def _words(rule: str | Sequence[str], what: str, namespace: str) -> list[str]:
    try:
        words = shlex.split(rule) if isinstance(rule, str) else list(rule)
    except ValueError as error:
        raise WrongUse(
            f"failed to {what} in namespace '{namespace}': {str(error).lower()}", f"the rule: {rule}"
        ) from error
    if not words:
        raise WrongUse(f"failed to {what} in namespace '{namespace}': the rule is empty", "a rule: -p tcp -j ACCEPT")
    return words


def _change(
    verb: str,
    table: str,
    chain: str | None,
    words: list[str],
    namespace: str,
    back: Backend | None,
    family: Family,
    success: tuple[str, ...] = (),
) -> Command:
    tool = _tool(namespace, back, family)
    name = f"chain '{chain}' of table '{table}'" if chain is not None else f"table '{table}'"
    command = Command(verb, name, namespace, (tool, "-w", "-t", table, *words))
    _check_table(command, table)
    _refuse_both(command, back, family)
    done = run(command)
    if done.returncode and not any(word in done.stderr for word in success):
        _refuse(command, done.stderr)
    return command


def _refuse(command: Command, stderr: str, lines: Sequence[str] = ()) -> NoReturn:
    kind, cause, hint = complaint(stderr, lines)
    raise kind(f"{command.failed}: {cause}", hint)


# The other back end


def legacy_tables_here(family: str = "ip") -> list[str]:
    """Return the tables of iptables-legacy that are in use in the calling thread's namespace."""
    with suppress(OSError), open(f"/proc/thread-self/net/{family}_tables_names", encoding="ascii") as names:
        return names.read().split()
    return []


def _refuse_both(command: Command, asked: Backend | None, family: Family) -> None:
    """Raises Refused where the other back end holds rules, and this one was not asked for by name."""
    if asked is not None:
        return
    other = _OTHER[backend(command.namespace)]
    held = namespaces.inside(command.namespace, lambda: _HELD[other](family))
    if held:
        tool = f"{TOOLS[family]}-{other}"
        raise Refused(
            f"{command.failed}: {tool} holds rules there ({held}), and the kernel would apply both",
            f"see them with {tool}-save; flush them, or say which you mean: backend='{_OTHER[other]}'",
        )


def _held_by_legacy(family: Family) -> str:
    tables = legacy_tables_here(family)
    return _held(f"{TOOLS[family]}-legacy-save") if tables else ""


def _held_by_nft(family: Family) -> str:
    opened = Socket()
    try:
        tables = opened.dump(Message(NFTABLES, _GET_TABLE, _FAMILIES[family]))
    except OSError:  # a kernel without nftables
        tables = []
    finally:
        opened.close()
    return _held(f"{TOOLS[family]}-nft-save") if tables else ""


_HELD: dict[Backend, Callable[[Family], str]] = {"legacy": _held_by_legacy, "nft": _held_by_nft}


def _held(program: str) -> str:
    """Return the rules and the policies that a tool holds in the calling thread's namespace, in short."""
    path = which(program)
    if path is None:
        return ""
    saved = subprocess.run([path], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout
    found: list[str] = []
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A "):
            found.append(f"-t {table} {line}")
        elif line.startswith(":") and line.split()[1] == "DROP":
            found.append(f"-t {table} -P {line[1:].split()[0]} DROP")
    more = f", and {len(found) - 2} more" if len(found) > 2 else ""
    return ", ".join(found[:2]) + more


def _and(names: list[str]) -> str:
    shown = [f"'{name}'" for name in names]
    return f"table {shown[0]}" if len(shown) == 1 else f"tables {', '.join(shown[:-1])} and {shown[-1]}"
