"""A Snapshot: everything that the kernel says about some namespaces at one moment, as data.

Pure data: it can be kept, compared (`difference`), drawn (`labkit.see`), judged (`labkit.check`), and written as
JSON and read again. Nothing here asks the kernel; `read.snapshot` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from labkit.errors import NotFound
from labkit.state.records import NO_DETAILS, Address, Details, FdbEntry, Link, Neighbour, Record, Route, Rule

__all__ = ["NamespaceState", "Snapshot"]

_KINDS: dict[str, type[Any]] = {
    "links": Link,
    "addresses": Address,
    "routes": Route,
    "neighbours": Neighbour,
    "fdb": FdbEntry,
    "rules": Rule,
}


@dataclass(frozen=True, slots=True, repr=False)
class NamespaceState:
    """One network namespace. `also` holds its other names; `nsids` tells which namespaces its numbers stand for."""

    name: str
    inode: int = 0
    also: tuple[str, ...] = ()
    nsids: tuple[tuple[int, str], ...] = ()
    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    fdb: tuple[FdbEntry, ...] = ()
    rules: tuple[Rule, ...] = ()
    sysctls: Details = NO_DETAILS

    def link(self, ifname: str) -> Link:
        """Return the link called `ifname`. Raises NotFound, naming those that exist."""
        for link in self.links:
            if link.ifname == ifname:
                return link
        there = ", ".join(link.ifname for link in self.links)
        raise NotFound(f"failed to find link '{ifname}' in namespace '{self.name}'", f"links there: {there}")

    def addresses_of(self, ifname: str) -> tuple[Address, ...]:
        """Return the addresses on link `ifname`."""
        return tuple(address for address in self.addresses if address.ifname == ifname)

    def ports_of(self, bridge: str) -> tuple[Link, ...]:
        """Return the ports of a bridge: the links whose master it is."""
        return tuple(link for link in self.links if link.master == bridge)

    @property
    def told_fdb(self) -> tuple[FdbEntry, ...]:
        """The FDB without multicast, and without what says the same again: a bridge that could filter VLANs holds the
        entries of its own ports twice, once for VLAN 1."""
        plain = {(entry.mac, entry.ifname, entry.flags) for entry in self.fdb if not entry.vlan}
        return tuple(
            entry
            for entry in self.fdb
            if not entry.is_multicast and not (entry.vlan == 1 and (entry.mac, entry.ifname, entry.flags) in plain)
        )

    @property
    def forwards(self) -> bool:
        """Whether it passes IPv4 packets on, as a router does."""
        return self.sysctls.get("net.ipv4.ip_forward") == "1"

    def __repr__(self) -> str:
        from labkit.state.tables import namespace_table

        return namespace_table(self)


@dataclass(frozen=True, slots=True, repr=False)
class Snapshot(Mapping[str, NamespaceState]):
    """Some namespaces at one moment: a mapping by name, "host" first, then in the order of names."""

    namespaces: tuple[NamespaceState, ...] = ()
    _by_name: dict[str, NamespaceState] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {name: state for state in self.namespaces for name in (state.name, *state.also)}
        object.__setattr__(self, "_by_name", by_name)

    def __getitem__(self, name: str) -> NamespaceState:
        if name in self._by_name:
            return self._by_name[name]
        there = ", ".join(state.name for state in self.namespaces)
        raise NotFoundKey(f"failed to find namespace '{name}' in the snapshot", f"namespaces there: {there}")

    def __iter__(self) -> Iterator[str]:
        return (state.name for state in self.namespaces)

    def __len__(self) -> int:
        return len(self.namespaces)

    def __hash__(self) -> int:
        return hash(self.namespaces)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self.namespaces == other.namespaces

    def only(self, *names: str) -> Snapshot:
        """Return the snapshot of these namespaces alone."""
        return Snapshot(tuple(self[name] for name in names))

    def json(self) -> str:
        """Return it as JSON; `from_json` reads it again."""
        return json.dumps([_plain(state) for state in self.namespaces], indent=1, default=dict)

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """Return the snapshot that `json` wrote."""
        return cls(tuple(_namespace(data) for data in json.loads(text)))

    def __repr__(self) -> str:
        from labkit.state.tables import snapshot_table

        return snapshot_table(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from labkit import see

        return see.mimebundle(self)


class NotFoundKey(NotFound, KeyError):
    """NotFound, where Python expects a KeyError, so that `name in snapshot` and `snapshot.get` work."""

    __str__ = Exception.__str__


def _plain(state: NamespaceState) -> dict[str, Any]:
    plain = {field.name: getattr(state, field.name) for field in fields(state)}
    plain.update({kind: [_short(record) for record in plain[kind]] for kind in _KINDS})
    return plain


def _short(record: Record) -> dict[str, Any]:
    """Return the record's fields that are not at their default, which is how JSON stays short."""
    return {
        field.name: getattr(record, field.name)
        for field in fields(record)
        if getattr(record, field.name) != field.default
    }


def _namespace(data: dict[str, Any]) -> NamespaceState:
    known = dict(data)
    for kind, record in _KINDS.items():
        known[kind] = tuple(record(**_frozen(entry)) for entry in data.get(kind, ()))
    return NamespaceState(**_frozen(known))


def _frozen(data: dict[str, Any]) -> dict[str, Any]:
    return {key: _tuples(Details(value) if isinstance(value, dict) else value) for key, value in data.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
