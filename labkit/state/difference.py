"""What came, what went, what changed, between two snapshots?

What moves by itself is not compared: indexes, counters, the age of neighbour entries, and the table `local`, which
follows the addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from labkit.state.records import Link
from labkit.state.snapshot import NamespaceState, Snapshot

__all__ = ["Change", "Difference", "difference"]

Sign = Literal["+", "-", "~"]
_WORDS = {"+": "added", "-": "removed", "~": "changed"}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that came ("+"), went ("-") or changed ("~") in a namespace.

    `what` is "namespace", "link", "address", "route", "neighbour", "fdb", "rule" or "sysctl"; `key` names the thing
    (a link's name; for an address, neighbour or FDB entry its link)."""

    sign: Sign
    namespace: str
    what: str
    text: str
    key: str = ""

    @property
    def word(self) -> str:
        """ "added", "removed" or "changed"."""
        return _WORDS[self.sign]

    def __str__(self) -> str:
        return f"{self.sign} {self.namespace}: {self.what} {self.text}".rstrip()


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """What is different between two snapshots: falsy when nothing is."""

    before: Snapshot
    after: Snapshot
    changes: tuple[Change, ...]

    @property
    def added(self) -> tuple[Change, ...]:
        """What came."""
        return tuple(change for change in self.changes if change.sign == "+")

    @property
    def removed(self) -> tuple[Change, ...]:
        """What went."""
        return tuple(change for change in self.changes if change.sign == "-")

    @property
    def changed(self) -> tuple[Change, ...]:
        """What is there in both, but not the same."""
        return tuple(change for change in self.changes if change.sign == "~")

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __repr__(self) -> str:
        return "\n".join(map(str, self.changes)) or "no difference"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from labkit import see

        return see.mimebundle(self)


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """Return what is different in `after`. Of a namespace that came, what every new one has is not told."""
    changes: list[Change] = []
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            changes.append(Change("-", name, "namespace", ""))
        elif name not in before:
            changes.append(Change("+", name, "namespace", ""))
            changes += _compared(_new(after[name]), after[name])
        else:
            was, now = before[name], after[name]
            if was.inode != now.inode and was.inode and now.inode:
                changes.append(Change("~", name, "namespace", "is another one of that name now"))
            changes += _compared(was, now)
    return Difference(before, after, tuple(changes))


def _new(state: NamespaceState) -> NamespaceState:
    """Return what a new namespace looks like, going by one that has grown since: lo, down, and nothing else."""
    lo = tuple(
        Link(link.ifindex, "lo", ("LOOPBACK",), link.mtu, "DOWN", link.link_type, link.address, sysctls=link.sysctls)
        for link in state.links
        if link.ifname == "lo"
    )
    rules = tuple(rule for rule in state.rules if rule.priority in (0, 32766, 32767))
    return NamespaceState(state.name, state.inode, links=lo, rules=rules, sysctls=state.sysctls)


def _compared(was: NamespaceState, now: NamespaceState) -> Iterator[Change]:
    yield from _links(was, now)
    for what, table in _TABLES.items():
        old, new = dict(table(was)), dict(table(now))
        for key, (text, _, device) in old.items():
            if key not in new:
                yield Change("-", was.name, what, text, device)
        for key, (text, state, device) in new.items():
            if key not in old:
                yield Change("+", was.name, what, text, device)
            elif old[key][1] != state:
                yield Change("~", was.name, what, f"{text} {old[key][1]} → {state}", device)
    yield from _sysctls(was, now)


_FOLLOW_THE_LINK = ("dead", "linkdown")

Row = tuple[object, tuple[str, str, str]]  # what makes it the same thing; its text, its changing part, its link


def _addresses(state: NamespaceState) -> Iterator[Row]:
    for entry in state.addresses:
        yield (entry.ifname, entry.text), (f"{entry.text} dev {entry.ifname}", "", entry.ifname)


def _routes(state: NamespaceState) -> Iterator[Row]:
    for entry in state.routes:
        if entry.table != "local":
            text = replace(entry, flags=tuple(flag for flag in entry.flags if flag not in _FOLLOW_THE_LINK)).text
            standing = " ".join(flag for flag in entry.flags if flag in _FOLLOW_THE_LINK) or "usable"
            yield (entry.family, text), (text, standing, entry.dev or "")


def _neighbours(state: NamespaceState) -> Iterator[Row]:
    for entry in state.neighbours:
        if entry.state != "NOARP":
            told = " ".join(filter(None, [entry.lladdr, entry.standing]))
            yield (entry.dst, entry.dev), (f"{entry.dst} dev {entry.dev} {told}", told, entry.dev)


def _fdb(state: NamespaceState) -> Iterator[Row]:
    for entry in state.told_fdb:
        yield (entry.text,), (entry.text, "", entry.ifname)


def _rules(state: NamespaceState) -> Iterator[Row]:
    for entry in state.rules:
        yield (entry.family, entry.text), (entry.text, "", "")


_TABLES: dict[str, Callable[[NamespaceState], Iterator[Row]]] = {
    "address": _addresses,
    "route": _routes,
    "neighbour": _neighbours,
    "fdb": _fdb,
    "rule": _rules,
}


def _links(was: NamespaceState, now: NamespaceState) -> Iterator[Change]:
    old = {link.ifname: link for link in was.links if not link.is_fallback}
    new = {link.ifname: link for link in now.links if not link.is_fallback}
    same_namespace = was.inode == now.inode
    renamed = {}
    for link in new.values():
        if link.ifname not in old and same_namespace:
            for other in old.values():
                if other.ifindex == link.ifindex and other.ifname not in new and other.kind == link.kind:
                    renamed[other.ifname] = link.ifname
    for name, link in old.items():
        if name not in new and name not in renamed:
            yield Change("-", was.name, "link", link.text, name)
    for name, new_name in renamed.items():
        yield Change("~", was.name, "link", f"{name} renamed {new_name}", new_name)
    origin = {new_name: old_name for old_name, new_name in renamed.items()}
    for name, link in new.items():
        before = old.get(origin.get(name, name))
        if before is None:
            yield Change("+", was.name, "link", link.text, name)
        elif facts := _link_changes(before, link):
            yield Change("~", was.name, "link", f"{name} {', '.join(facts)}", name)


def _link_changes(was: Link, now: Link) -> list[str]:
    facts = []
    for word, old, new in (
        ("", was.state, now.state),
        ("kind", was.kind, now.kind),
        ("address", was.address, now.address),
        ("mtu", was.mtu, now.mtu),
        ("master", was.master, now.master),
        ("peer", _end(was), _end(now)),
        ("promiscuous", "PROMISC" in was.flags, "PROMISC" in now.flags),
        *((key, was.details.get(key), now.details.get(key)) for key in {**was.details, **now.details}),
        *((key, was.port.get(key), now.port.get(key)) for key in _PORT if key in was.port and key in now.port),
        *_port_state(was, now),
    ):
        if old != new:
            facts.append(f"{word} {_word(old)} → {_word(new)}".strip())
    return facts


_PORT = ("hairpin", "isolated", "learning", "flood", "mcast_flood", "bcast_flood", "neigh_suppress", "guard")


def _port_state(was: Link, now: Link) -> list[tuple[str, object, object]]:
    """Forwarding, blocking...: told only where the link itself stayed as it was, since it follows the link."""
    if not was.port or not now.port or was.state != now.state:
        return []
    return [("port", was.port.get("state"), now.port.get("state"))]


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if value not in (None, "") else "none"


def _end(link: Link) -> str | None:
    return f"{link.peer[1]} in {link.peer[0]}" if link.peer else None


def _sysctls(was: NamespaceState, now: NamespaceState) -> Iterator[Change]:
    for key, value in now.sysctls.items():
        if was.sysctls.get(key) not in (None, value):
            yield Change("~", was.name, "sysctl", f"{key} {was.sysctls[key]} → {value}", key)
    old = {link.ifname: link for link in was.links}
    for link in now.links:
        before = old.get(link.ifname, link)
        for key in ("proxy_arp", "rp_filter"):
            if before.sysctls.get(key) != link.sysctls.get(key):
                values = f"{before.sysctls.get(key, 0)} → {link.sysctls.get(key, 0)}"
                yield Change("~", was.name, "sysctl", f"net.ipv4.conf.{link.ifname}.{key} {values}", link.ifname)
