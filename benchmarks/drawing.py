"""What a picture costs: from a plan of nodes and pods to its SVG, folded as it is shown, and with every box drawn.

    .venv/bin/python benchmarks/drawing.py

Printed: medians of 21. Wanted: a picture of 100 pods in less than 100 ms.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

from labkit import Bridge, Container, Topology, see
from labkit.see.layout import layout_of
from labkit.see.picture import Picture, Plug, Tunnel
from labkit.see.show import picture_of
from labkit.see.svg import svg_of
from labkit.see.text import text_of

ROUNDS = 21


def cluster(nodes: int, pods: int) -> Topology:
    """Return nodes on the host's br0, and pods on each node's cni0."""
    things: list[Bridge | Container] = [Bridge("br0", "192.168.0.1/24")]
    for node in range(1, nodes + 1):
        name, subnet = f"node{node}", f"10.244.{node}"
        things += [Container(name, f"192.168.0.{node + 1}/24", "br0"), Bridge("cni0", f"{subnet}.1/24", on=name)]
        things += [
            Container(f"pod{node}-{pod}", f"{subnet}.{pod + 1}/24", f"{name}:cni0") for pod in range(1, pods + 1)
        ]
    return Topology(*things)


def with_tunnels(topology: Topology) -> Picture:
    """Return its picture with a VXLAN interface in each node and a tunnel from each to each."""
    picture = picture_of(topology)
    nodes = [box.name for box in picture.boxes if box.name.startswith("node")]
    flannel = Plug("flannel.1", "vxlan", mtu=1450, facts=("vni 1", "port 8472"))
    boxes = tuple(replace(box, plugs=(*box.plugs, flannel)) if box.name in nodes else box for box in picture.boxes)
    tunnels = (
        Tunnel(((one, "flannel.1"), (other, "flannel.1")), "VXLAN vni 1") for one, other in combinations(nodes, 2)
    )
    return Picture(boxes, picture.cables, picture.title, tunnels=tuple(tunnels))


def milliseconds(work: Callable[[], object]) -> float:
    """Return the median time of `work`."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def main() -> None:
    plan, whole = cluster(3, 34), with_tunnels(cluster(3, 34))
    print(f"102 pods on 3 nodes, a plan, folded      {milliseconds(lambda: see.topology_svg(plan)):5.1f} ms")
    print(f"102 pods on 3 nodes, tunnels, folded     {milliseconds(lambda: see.topology_svg(whole)):5.1f} ms")
    print(f"102 pods on 3 nodes, tunnels, all drawn  {milliseconds(lambda: unfolded(whole)):5.1f} ms")
    many = with_tunnels(cluster(100, 10))
    print(f"1,000 pods on 100 nodes, tunnels, folded {milliseconds(lambda: see.topology_svg(many)):5.1f} ms")


def unfolded(picture: Picture) -> str:
    return svg_of(layout_of(picture), text_of(picture))


if __name__ == "__main__":
    main()
