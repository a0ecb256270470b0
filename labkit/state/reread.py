"""Read again only what changed: the namespaces that a Watcher told of, beside the rest of an older snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from labkit.errors import NamespaceGone, NotFound
from labkit.state.read import snapshot
from labkit.state.snapshot import NamespaceState, Snapshot

__all__ = ["refreshed"]


def refreshed(before: Snapshot, changed: Iterable[str]) -> Snapshot | None:
    """Return `before` with the namespaces `changed` as they are now; None where that is not enough: a namespace came,
    went or is another one, or a veth did, so that its other end is to be looked for. Then read everything."""
    names = sorted(changed)
    if any(name not in before or before[name].also for name in names):
        return None
    try:
        read = snapshot(*names) if names else Snapshot()
    except (NotFound, NamespaceGone):
        return None
    now = {name: _with_known_peers(before[name], read[name]) for name in read}
    states = tuple(now.get(state.name, state) for state in before.namespaces)
    return Snapshot(tuple(state for state in states if state)) if all(states) else None


def _with_known_peers(was: NamespaceState, now: NamespaceState) -> NamespaceState | None:
    if was.inode != now.inode or _ends(was) != _ends(now):
        return None
    peers = {link.ifindex: link.peer for link in was.links}
    links = tuple(replace(link, peer=peers.get(link.ifindex)) for link in now.links)
    return replace(now, links=links, nsids=was.nsids)


def _ends(state: NamespaceState) -> set[tuple[object, ...]]:
    return {(link.ifindex, link.ifname, link.link_index, link.link_netnsid) for link in state.links if link.link_index}
