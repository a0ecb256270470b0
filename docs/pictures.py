"""Draws the README's pictures from a real lab: `make pictures`, or `labkit run python docs/pictures.py [FOLDER]`."""

from __future__ import annotations

import os
import sys

from labkit import Bridge, Container, Interface, Topology, build, see, serve
from labkit.tracing import Trace

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "img")


def draw() -> dict[str, str]:
    """Return file name → SVG: two containers on a bridge; what passes when one first pings the other; and the way of
    a connection's first packet through a router that turns its address."""
    red = Container("red", "10.0.0.2/24", link="br0")
    blue = Container("blue", "10.0.0.3/24", link="br0")
    with build(Topology(Bridge("br0", "10.0.0.1/24"), red, blue)) as lab:
        lab.run("red", "ip neighbour flush all")
        lab.run("blue", "ip neighbour flush all")
        with lab.capture("red/eth0", "blue/eth0") as capture:
            lab.ping("red", "blue")
        pictures = {"topology.svg": see.topology_svg(lab.snapshot()), "ping.svg": see.capture_svg(capture)}
    return pictures | {"trace.svg": see.trace_svg(through_a_router())}


def through_a_router() -> Trace:
    """Return the trace of a connection to a router's port 8080, which passes it on to a web server behind it."""
    inside = Interface("eth0", "10.1.0.1/24", link="red")
    outside = Interface("eth1", "10.2.0.1/24", link="web")
    red = Container("red", "10.1.0.2/24", link="router", gateway="10.1.0.1")
    web = Container("web", "10.2.0.2/24", link="router", gateway="10.2.0.1")
    router = Container("router", interfaces=(inside, outside), sysctls={"net.ipv4.ip_forward": 1})
    with build(Topology(red, router, web)) as lab, serve("web", 80):
        turn = "iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.2.0.2:80"
        lab.run("router", turn)
        return lab.trace("10.1.0.1", "red", tcp=8080)


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else FOLDER
    os.makedirs(folder, exist_ok=True)
    for name, svg in draw().items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(svg)
