"""What does it look like? Topologies, snapshots, captures and differences as text and SVG: pure functions of data."""

from labkit.see.show import (
    Shown,
    capture,
    capture_svg,
    capture_text,
    difference,
    mimebundle,
    topology,
    topology_svg,
    topology_text,
)

__all__ = [
    "Shown",
    "capture",
    "capture_svg",
    "capture_text",
    "difference",
    "mimebundle",
    "topology",
    "topology_svg",
    "topology_text",
]
