"""Draws the README's pictures from a real lab: `make pictures`, or `labkit run python docs/pictures.py [FOLDER]`."""

from __future__ import annotations

import os
import sys

from labkit import Bridge, Container, Topology, build, see

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "img")


def draw() -> dict[str, str]:
    """Return file name → SVG: two containers on a bridge, and what passes when one first pings the other."""
    red = Container("red", "10.0.0.2/24", link="br0")
    blue = Container("blue", "10.0.0.3/24", link="br0")
    with build(Topology(Bridge("br0", "10.0.0.1/24"), red, blue)) as lab:
        lab.run("red", "ip neighbour flush all")
        lab.run("blue", "ip neighbour flush all")
        with lab.capture("red/eth0", "blue/eth0") as capture:
            lab.ping("red", "blue")
        return {
            "topology.svg": see.topology_svg(lab.snapshot()),
            "ping.svg": see.capture_svg(capture),
        }


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else FOLDER
    os.makedirs(folder, exist_ok=True)
    for name, svg in draw().items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(svg)
