"""From a plan to a picture of it, before anything exists."""

from __future__ import annotations

from labkit.lab.plan import bridge_mac, container_mac
from labkit.lab.topology import Bridge as PlannedBridge
from labkit.lab.topology import Cable as PlannedCable
from labkit.lab.topology import Container, Interface, Topology
from labkit.net import names
from labkit.see.nest import nested
from labkit.see.picture import Box, Bridge, Cable, End, Picture, Plug

__all__ = ["picture_of_topology"]


def picture_of_topology(topology: Topology) -> Picture:
    """Return the picture of what `build` would make: the very names, addresses and MACs."""
    cables = [
        Cable(((cable.namespace, cable.name), (cable.container.name, cable.interface.name)))
        for cable in topology.cables
    ]
    boxes = [_box(topology, name, container) for name, container in _namespaces(topology)]
    things = [_count(len(topology.bridges), "bridge"), _count(len(topology.containers), "container")]
    title = f"planned: {', '.join(things)}"
    return nested(Picture(tuple(boxes), tuple(cables), title=title, caption="planned, not built yet"))


def _namespaces(topology: Topology) -> list[tuple[str, Container | None]]:
    on_host = any(bridge.on == "host" for bridge in topology.bridges)
    on_host = on_host or any(cable.namespace == "host" for cable in topology.cables)
    containers: list[tuple[str, Container | None]] = [(container.name, container) for container in topology.containers]
    return [("host", None), *containers] if on_host else containers


def _box(topology: Topology, name: str, container: Container | None) -> Box:
    bridges = tuple(_bridge(topology, bridge) for bridge in topology.bridges if bridge.on == name)
    plugs = [_own(name, port) for port in container.interfaces if port.link] if container else []
    plugs += [
        _far_side(cable)
        for cable in topology.cables
        if cable.namespace == name and cable.bridge is None and cable.other is None
    ]
    return Box(name, tuple(plugs), bridges, _routes(topology, container), _facts(container))


def _bridge(topology: Topology, bridge: PlannedBridge) -> Bridge:
    plug = Plug(bridge.name, "bridge", _some(bridge.address), bridge_mac(bridge), bridge.mtu, "planned")
    return Bridge(plug, tuple(_far_side(cable) for cable in topology.cables if cable.bridge == bridge))


def _own(container: str, port: Interface) -> Plug:
    return Plug(port.name, "veth", _some(port.address), container_mac(container, port), port.mtu, "planned")


def _far_side(cable: PlannedCable) -> Plug:
    end: End = (cable.namespace, cable.name)
    mac = names.mac("/".join(end))
    return Plug(cable.name, "veth", _some(cable.interface.host_address), mac, cable.interface.mtu, "planned")


def _routes(topology: Topology, container: Container | None) -> tuple[str, ...]:
    if container is None:
        return ()
    gateway = topology.gateway(container)
    default = (f"default via {gateway[0]} dev {gateway[1].name}",) if gateway else ()
    return (*default, *container.routes)


def _facts(container: Container | None) -> tuple[str, ...]:
    sysctls = container.sysctls if container else {}
    settings = {
        "IPv4": ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding"),
        "IPv6": ("net.ipv6.conf.all.forwarding",),
    }
    on = [family for family, keys in settings.items() if any(str(sysctls.get(key, "0")) == "1" for key in keys)]
    return (f"forwards {' and '.join(on)}",) if on else ()


def _some(address: str | None) -> tuple[str, ...]:
    return (address,) if address else ()


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
