"""Which way did it go? From frames seen at once everywhere to one way, and copies that a bridge flooded.

A frame that came out of one end of a veth went into the other; inside a namespace the next frame follows from the one
before. What leads to the goal is the way; all else are copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from labkit.packets.decode import EPHEMERAL
from labkit.packets.frames import Frame
from labkit.tracing.evidence import Seen
from labkit.tracing.headers import Packet, packets_in
from labkit.tracing.network import TUNNELS, Network
from labkit.tracing.records import Change, Decision, Headers

__all__ = ["Step", "changes", "steps_of", "way_to"]


@dataclass(eq=False)
class Step:
    """The packet at one interface, and the step that it follows from. `way`: on the way, not a flooded copy."""

    frame: Frame
    packet: Packet
    before: Step | None = None
    way: bool = False
    changed: tuple[Change, ...] = ()
    decided: list[Decision] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """Where it was seen."""
        return self.frame.namespace

    @property
    def interface(self) -> str:
        """The link that saw it."""
        return self.frame.interface

    @property
    def comes_in(self) -> bool:
        """Whether the link took it in."""
        return self.frame.direction == "in"

    @cached_property
    def outside(self) -> Packet:
        """The packet as the namespace handles it: the tunnel's around the one that is followed, where there is one."""
        return next(iter(packets_in(self.frame.data, self.frame.linktype)), self.packet)

    @property
    def is_for_all(self) -> bool:
        """Whether its MAC is a group's, or there is none: whoever hears it may take it."""
        first = self.outside.dst_mac[:2]
        return not first or bool(int(first, 16) & 1)


def steps_of(seen: Sequence[Seen], network: Network) -> list[Step]:
    """Return the steps of one leg in the kernel's order, each with the one that it follows from.

    What is seen once more at a place, unchanged, is left out: it was sent again, or goes round in a loop of bridges."""
    steps: list[Step] = []
    known: set[tuple[object, ...]] = set()
    for one in seen:
        packet = one.packet
        key = one.frame.where, one.frame.direction, packet.ends, packet.ttl, packet.offset, packet.outer, packet.dst_mac
        if key in known:
            continue
        known.add(key)
        step = Step(one.frame, packet)
        step.before = _followed(step, steps, network)
        steps.append(step)
    return steps


def _followed(step: Step, steps: Sequence[Step], network: Network) -> Step | None:
    """Return the step that this one follows from: the last one that can be."""
    peer = network.peer(step.namespace, step.interface)
    if step.comes_in and peer:
        for one in reversed(steps):
            if (one.namespace, one.interface) == peer and not one.comes_in:
                return one
    for one in reversed(steps):
        if one.namespace == step.namespace and _leads_to(one, step, network):
            return one
    return next((one for one in reversed(steps) if step.comes_in and _out_of_sight(one, step, network)), None)


def _out_of_sight(one: Step, step: Step, network: Network) -> bool:
    """Whether the packet may have gone from one step to the other through a namespace that nobody can see into."""
    ends = [network.link(place.namespace, place.interface) for place in (one, step)]
    return not one.comes_in and all(link is not None and link.kind == "veth" and link.peer is None for link in ends)


def _leads_to(one: Step, step: Step, network: Network) -> bool:
    """Whether `step` can be the next one in the same namespace. What leaves by a bridge's port came in by another of
    its ports, or from the bridge itself; what leaves by any other link may have come in anywhere."""
    if one.comes_in and not step.comes_in:
        bridge = network.bridge_of(step.namespace, step.interface)
        return bridge is None or network.bridge_of(one.namespace, one.interface) == bridge
    if one.comes_in:
        return network.is_above(step.namespace, step.interface, one.interface)
    return not step.comes_in and network.is_above(step.namespace, one.interface, step.interface)


def way_to(goal: Step, steps: Sequence[Step]) -> list[Step]:
    """Mark the steps that lead to `goal`, further fragments on the same links included, and return those that lead."""
    way: list[Step] = []
    step: Step | None = goal
    while step is not None:
        way.insert(0, step)
        step = step.before
    places = {(one.frame.where, one.frame.direction) for one in way}
    for one in steps:
        piece = one.packet.offset > 0 or one.packet.more
        one.way = one in way or (piece and (one.frame.where, one.frame.direction) in places)
    return way


def changes(before: Step, after: Step) -> tuple[Change, ...]:
    """Return what is not the same at two steps that follow each other."""
    old, new = before.packet.headers, after.packet.headers
    found = [
        Change(word, was, now)
        for word, was, now in (
            ("src MAC", old.src_mac, new.src_mac),
            ("dst MAC", old.dst_mac, new.dst_mac),
            *_addresses(old, new),
            ("ttl", str(old.ttl or ""), str(new.ttl or "")),
            ("VLAN", str(before.packet.vlan or ""), str(after.packet.vlan or "")),
        )
        if was != now and (was or now) and not (word.endswith("MAC") and not (was and now))
    ]
    found += [Change("outer", text, "") for text in old.outer if text not in new.outer]
    found += [Change("outer", "", text) for text in new.outer if text not in old.outer]
    return (*found, *_fragments(before.packet, after.packet))


def _addresses(old: Headers, new: Headers) -> list[tuple[str, str, str]]:
    """Addresses, with their ports where those changed too. Of ephemeral ports only that they changed: their numbers
    are the kernel's to pick, and others in each run."""
    found = []
    for word, was, now, port, new_port in (
        ("src", old.src, new.src, old.sport, new.sport),
        ("dst", old.dst, new.dst, old.dport, new.dport),
    ):
        if port != new_port and port is not None and new_port is not None:
            found.append((word, _end(was, port), _end(now, new_port)))
            if port in EPHEMERAL and new_port in EPHEMERAL:
                found.append((f"{word} port", "one", "another"))
        else:
            found.append((word, was, now))
    return found


def _end(address: str, port: int) -> str:
    if port in EPHEMERAL:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _fragments(before: Packet, after: Packet) -> list[Change]:
    was = before.offset > 0 or before.more
    now = after.offset > 0 or after.more
    if was == now:
        return []
    whole = f"{(after if was else before).length} bytes"
    piece = f"fragment at {(before if was else after).offset}"
    return [Change("fragment", piece, whole) if was else Change("fragment", whole, piece)]


def is_tunnel(network: Network, namespace: str, name: str) -> bool:
    """Whether a link is a tunnel's."""
    link = network.link(namespace, name)
    return bool(link and link.kind in TUNNELS)
