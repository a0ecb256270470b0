"""What is a trace? Hops in the kernel's order, what changed at each, what decided it, and why it ended if it did.

Pure data: it can be kept, drawn (`labkit.see`), marked and judged (`labkit.check`), and written as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from labkit.packets.frames import Frame
from labkit.state.snapshot import Snapshot

__all__ = ["CAUSES", "Cause", "Change", "Decision", "Headers", "Hop", "Leg", "Trace"]

Leg = Literal["request", "answer"]
CAUSES = (
    "no_route", "forwarding_off", "rp_filter", "neighbour", "fdb", "firewall", "mtu", "ttl", "link_down",
    "no_listener", "policy", "conntrack", "unknown",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Headers:
    """The addresses of the packet that is followed, as they are at one hop: inside any encapsulation.

    `outer` tells of each encapsulation around it, outermost first: "VXLAN vni 42, 10.0.1.1 > 10.0.1.2:8472"."""

    src_mac: str = ""
    dst_mac: str = ""
    src: str = ""
    dst: str = ""
    sport: int | None = None
    dport: int | None = None
    ttl: int | None = None
    outer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was one hop before: `field` in words, "" where there was or is nothing."""

    field: str
    before: str
    after: str

    @property
    def text(self) -> str:
        """In words: "ttl 64 → 63", "+ VXLAN vni 42, ..." for what was added, "- ..." for what was taken off."""
        if not self.before:
            return f"+ {self.field} {self.after}".replace("+ outer ", "+ ")
        if not self.after:
            return f"- {self.field} {self.before}".replace("- outer ", "- ")
        return f"{self.field} {self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What made the kernel act as it did at a hop.

    `kind`: "route", "rule", "neighbour", "fdb", "firewall", "conntrack", "local" (the namespace's own address),
    "socket", "cable" (the other end of a veth), "tunnel", "sysctl". `text`: the entry, in its tool's words.
    `command`: where to look at it."""

    kind: str
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """The packet at one interface. `copy`: a flooded copy, not on the way to the destination.

    `frame`: what was captured, with the kernel's time. `headers`: of the packet followed, inside any encapsulation.
    `changed`: since the hop before. `decided_by`: what brought it here (an "out" hop: what sent it out; the last hop:
    what took it in)."""

    leg: Leg
    frame: Frame
    headers: Headers = field(default_factory=Headers)
    changed: tuple[Change, ...] = ()
    decided_by: tuple[Decision, ...] = ()
    copy: bool = False

    @property
    def namespace(self) -> str:
        """Where: "host" for the first namespace."""
        return self.frame.namespace

    @property
    def interface(self) -> str:
        """The interface that saw it."""
        return self.frame.interface

    @property
    def direction(self) -> str:
        """ "in" or "out"."""
        return self.frame.direction

    @property
    def where(self) -> str:
        """As "red/eth0"."""
        return self.frame.where

    @property
    def summary(self) -> str:
        """The frame in one line, the same in every run."""
        return self.frame.summary()

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        told: dict[str, Any] = {
            "leg": self.leg,
            "namespace": self.namespace,
            "interface": self.interface,
            "direction": self.direction,
            "summary": self.summary,
            "changed": [
                {"field": change.field, "before": change.before, "after": change.after} for change in self.changed
            ],
            "decided_by": [
                {"kind": decision.kind, "text": decision.text, "command": decision.command}
                for decision in self.decided_by
            ],
        }
        return told | ({"copy": True} if self.copy else {})


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the packet, or its answer, got no further.

    `kind`: one of CAUSES. `sentence`: where, and by which rule, table or missing entry. `leg`: which of the two was
    lost. `known_by`: what shows it: a counter that moved, a rule's verdict, a lookup, an error that came back."""

    kind: str
    namespace: str
    interface: str | None
    sentence: str
    leg: Leg = "request"
    known_by: str = ""

    @property
    def heading(self) -> str:
        """What became of the packet, in words: "refused", "lost on the way there", "the answer was lost"."""
        if self.kind == "no_listener":
            return "refused"
        return "lost on the way there" if self.leg == "request" else "the answer was lost"

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "kind": self.kind,
            "namespace": self.namespace,
            "interface": self.interface,
            "sentence": self.sentence,
            "leg": self.leg,
            "known_by": self.known_by,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Trace:
    """One packet and its answer, through every interface that saw them.

    `what`: what was sent, in words: "ping 10.0.0.3". `source`: the namespace that it set off from. `delivered`: whether
    the destination took it. `answered`: whether the answer came back; None where none is due. `cause`: why not, else
    None. `notes`: what else is worth a sentence. `snapshot`: the network at the time, to draw it on."""

    what: str
    source: str
    hops: tuple[Hop, ...] = ()
    delivered: bool = False
    answered: bool | None = None
    cause: Cause | None = None
    notes: tuple[str, ...] = ()
    snapshot: Snapshot = field(default_factory=Snapshot)

    @property
    def request(self) -> tuple[Hop, ...]:
        """The hops of the packet itself, without flooded copies."""
        return tuple(hop for hop in self.hops if hop.leg == "request" and not hop.copy)

    @property
    def answer(self) -> tuple[Hop, ...]:
        """The hops of its answer, without flooded copies: a reply, or an ICMP error about it."""
        return tuple(hop for hop in self.hops if hop.leg == "answer" and not hop.copy)

    @property
    def verdict(self) -> str:
        """In one line: "delivered and answered", "delivered, but no answer came back", "refused", "lost"."""
        if not self.delivered:
            return "refused" if self.cause and self.cause.kind == "no_listener" else "lost"
        return {True: "delivered and answered", False: "delivered, but no answer came back", None: "delivered"}[
            self.answered
        ]

    def __len__(self) -> int:
        return len(self.hops)

    def __iter__(self) -> Iterator[Hop]:
        return iter(self.hops)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "what": self.what,
            "from": self.source,
            "delivered": self.delivered,
            "answered": self.answered,
            "hops": [hop.plain() for hop in self.hops],
            "cause": self.cause.plain() if self.cause else None,
            "notes": list(self.notes),
        }

    def json(self) -> str:
        """Return it as JSON: delivered, answered, hops, cause, notes."""
        return json.dumps(self.plain(), indent=1)

    def __repr__(self) -> str:
        from labkit.see import trace_text

        return trace_text(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from labkit.see import mimebundle

        return mimebundle(self)
