"""What does it look like? Topologies, snapshots, captures and differences as text and SVG: pure functions of data.

    topology, snapshot, difference  →  Picture (boxes, interfaces, bridges, cables)  →  folded  →  text
                                                                                             →  layout  →  SVG
    capture  →  packets, each the same bytes seen at several places  →  table, lanes
    rules  →  the hooks in a packet's order, the chains at each
    frame  →  layers, each field with its bytes  →  list beside a dump
    trace  →  the way of a packet on the picture of the network  →  beads and lanes, its hops below

Every SVG stands alone (no script, no font or file fetched, light and dark), carries its text twin as description,
and is the same, byte for byte, for the same data.
"""

from labkit.see.show import (
    Shown,
    capture,
    capture_svg,
    capture_text,
    difference,
    hooks,
    hooks_svg,
    hooks_text,
    mimebundle,
    packet,
    topology,
    topology_svg,
    topology_text,
    trace,
    trace_svg,
    trace_text,
)

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
    "topology",
    "topology_svg",
    "topology_text",
    "trace",
    "trace_svg",
    "trace_text",
]
