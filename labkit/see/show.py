"""What a notebook shows: text and SVG of whatever it is given."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from labkit.lab.topology import Topology
from labkit.see import frames
from labkit.see.compare import compared
from labkit.see.fold import folded
from labkit.see.from_snapshot import picture_of_snapshot
from labkit.see.from_topology import picture_of_topology
from labkit.see.hooks import svg_of_hooks, text_of_hooks
from labkit.see.layers import packet_svg, packet_text
from labkit.see.layout import layout_of
from labkit.see.picture import Note, Picture
from labkit.see.svg import svg_of
from labkit.see.text import text_of
from labkit.see.trace import svg_of_trace, text_of_trace
from labkit.state.difference import Difference
from labkit.state.firewall import Ruleset
from labkit.state.snapshot import Snapshot
from labkit.tracing.records import Trace

__all__ = [
    "Shown",
    "capture",
    "capture_svg",
    "capture_text",
    "difference",
    "hooks",
    "hooks_svg",
    "hooks_text",
    "mimebundle",
    "packet",
    "picture_of",
    "topology",
    "topology_svg",
    "topology_text",
    "trace",
    "trace_svg",
    "trace_text",
]

Drawable = Topology | Snapshot | Difference | Picture
_IN_THE_PICTURE = ("namespace", "link", "address")


class Shown:
    """Something to look at: a notebook draws it, a terminal prints it. `.text` and `.svg` are what they show."""

    def __init__(self, text: str, svg: str) -> None:
        self.text = text
        self.svg = svg

    def __repr__(self) -> str:
        return self.text

    def save(self, path: str) -> None:
        """Write the SVG to a file."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.svg)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": self.text, "image/svg+xml": self.svg}


def picture_of(x: Drawable) -> Picture:
    """Return the picture of a Topology (as it would be), a Snapshot (as it was) or a Difference (marked)."""
    if isinstance(x, Picture):
        return x
    if isinstance(x, Topology):
        return picture_of_topology(x)
    if isinstance(x, Difference):
        notes: defaultdict[str, list[Note]] = defaultdict(list)
        for change in x:
            if change.what not in _IN_THE_PICTURE and "proto kernel" not in change.text:
                notes[change.namespace].append((change.sign, f"{change.what} {change.text}"))
        return compared(picture_of_snapshot(x.before), picture_of_snapshot(x.after), notes)
    return picture_of_snapshot(x)


def topology_text(x: Drawable) -> str:
    """Return what is there in nested plain text: namespaces, their interfaces, bridges with ports, cables, routes."""
    return text_of(folded(picture_of(x)))


def topology_svg(x: Drawable) -> str:
    """Return the picture as one SVG, the same for the same data."""
    picture = folded(picture_of(x))
    return svg_of(layout_of(picture), text_of(picture))


def topology(x: Drawable) -> Shown:
    """Show a Topology or a Snapshot as a picture."""
    return Shown(topology_text(x), topology_svg(x))


def difference(before: Difference | Topology | Snapshot, after: Topology | Snapshot | None = None) -> Shown:
    """Show a Difference, or two things compared (a Topology, and the Snapshot of what became of it), as one picture."""
    if after is not None:
        return topology(compared(picture_of(before), picture_of(after)))
    if isinstance(before, Difference):
        return Shown(repr(before), topology_svg(before))
    raise TypeError("give a Difference, or two things to compare")


def capture_text(c: Any) -> str:
    """Return a capture as a table: number, where, direction, what."""
    return frames.text_table(c)


def capture_svg(c: Any) -> str:
    """Return a capture as a picture: each packet on its way from place to place; with one place, the table."""
    return frames.svg_of_capture(c)


def capture(c: Any) -> Shown:
    """Show a capture: its frames as a table in text, its packets on their way as a picture."""
    return Shown(capture_text(c), capture_svg(c))


def packet(frame: Any) -> Shown:
    """Show one frame, layer by layer, beside its bytes."""
    return Shown(packet_text(frame), packet_svg(frame))


def trace_text(t: Trace) -> str:
    """Return a trace in words: the verdict, each hop with what changed and what decided it, and why it ended."""
    return text_of_trace(t)


def trace_svg(t: Trace) -> str:
    """Return a trace as a picture: the way of the packet on the network, and its hops below."""
    return svg_of_trace(t)


def trace(t: Trace) -> Shown:
    """Show a trace."""
    return Shown(trace_text(t), trace_svg(t))


def hooks_text(ruleset: Ruleset, namespace: str = "host", family: str = "ip") -> str:
    """Return the hooks of a namespace in words: in a packet's order, with the chains at each."""
    return text_of_hooks(ruleset, namespace, family)


def hooks_svg(ruleset: Ruleset, namespace: str = "host", family: str = "ip") -> str:
    """Return the hooks of a namespace as a picture."""
    return svg_of_hooks(ruleset, namespace, family)


def hooks(ruleset: Ruleset, namespace: str = "host", family: str = "ip") -> Shown:
    """Show the hooks of a namespace, and the chains at each. `family`: "ip" or "ip6"."""
    return Shown(text_of_hooks(ruleset, namespace, family), svg_of_hooks(ruleset, namespace, family))


def mimebundle(x: Any) -> dict[str, str]:
    """Return what `_repr_mimebundle_` of a Snapshot, Difference, Topology, Trace or Capture returns."""
    if isinstance(x, Topology | Picture):
        text, svg = topology_text(x), topology_svg(x)
    elif isinstance(x, Snapshot | Difference):
        text, svg = repr(x), topology_svg(x)
    elif isinstance(x, Trace):
        text, svg = trace_text(x), trace_svg(x)
    else:
        text, svg = capture_text(x), capture_svg(x)
    return {"text/plain": text, "image/svg+xml": svg}
