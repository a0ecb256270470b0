"""In which order did a packet meet the rules of iptables-legacy and those of nftables? Each tell of theirs apart.

Each of the two tell in the order of the packet's way. At one hook the chain of the lower priority came first.
Source: include/uapi/linux/netfilter_ipv4.h; nft(8) on hooks and priorities.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from labkit.state.firewall import Chain

if TYPE_CHECKING:
    from labkit.tracing.evidence import Met

__all__ = ["in_order"]

Chains = Mapping[tuple[str, str, str], Chain]
_PASSING = ("ingress", "prerouting", "input", "forward", "output", "postrouting", "egress")
_FROM_HERE = (
    "output",
    "postrouting",
    "egress",
    "ingress",
    "prerouting",
    "input",
    "forward",
)  # over lo it comes back in


def in_order(met: Sequence[Met], chains: Chains) -> list[Met]:
    """Return what a packet and its answer met in one namespace in the order in which each met it."""
    roles = list(dict.fromkeys(one.role for one in met))
    return [one for role in roles for one in _merged([one for one in met if one.role == role], chains)]


def _merged(met: list[Met], chains: Chains) -> list[Met]:
    legacy = [one for one in met if one.event.family.startswith("legacy")]
    others = [one for one in met if not one.event.family.startswith("legacy")]
    if not legacy or not others:
        return met
    here = any(_chain(one, chains).hook == "output" for one in met)
    hooks = _FROM_HERE if here else _PASSING
    placed = [_placed(some, chains, hooks) for some in (others, legacy)]
    return [one for _, one in heapq.merge(*placed, key=lambda pair: pair[0])]


def _chain(one: Met, chains: Chains) -> Chain:
    event = one.event
    return chains.get(place := (event.family, event.table, event.chain), Chain(*place))


def _placed(
    met: list[Met], chains: Chains, hooks: tuple[str, ...]
) -> Iterator[tuple[tuple[int, tuple[int, int]], Met]]:
    """Yield each with its place: the how manieth time that the packet comes by, its hook's rank, its priority. A chain
    that is jumped to has the place of the one that led there."""
    lap, place = 0, (-1, 0)
    for one in met:
        chain = _chain(one, chains)
        if chain.hook in hooks:
            now = hooks.index(chain.hook), chain.number
            lap, place = lap + (now < place), now
        yield (lap, place), one
