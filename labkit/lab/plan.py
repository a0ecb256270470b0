"""The plan: which operations make a Topology real?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from labkit.lab.topology import Bridge, Cable, Container, Interface, Topology
from labkit.net import address, link, names, neighbour, route
from labkit.net.operation import Operation

__all__ = ["commands", "operations"]

_IPV6_ON = {"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.default.disable_ipv6": "0"}
MANY = 400  # from here on neighbours are stated: the kernel keeps 1,024 (gc_thresh3) for all namespaces together


def commands(topology: Topology) -> list[str]:
    """Return the shell commands that build the same as the operations do, namespaces and sysctls included."""
    lines = [f"ip netns add {name}" for name in topology.namespaces]
    for namespace, settings in ipv6(topology).items():
        within = "" if namespace == "host" else f"ip netns exec {namespace} "
        lines.append(f"{within}sysctl -qw {_settings(settings)}")
    lines += [operation.command for operation in operations(topology) if operation.verb != "show"]
    for container in topology.containers:
        if container.sysctls:
            lines.append(f"ip netns exec {container.name} sysctl -qw {_settings(container.sysctls)}")
    return lines


def _settings(settings: Mapping[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.items())


def operations(topology: Topology, *, group: int = 0, peer_ifindex: int = 0) -> Iterator[Operation]:
    """Yield what is to be done in namespaces that exist, in order, neighbours in the same namespace together.

    `group`: of all links on the host. `peer_ifindex`: of the first interface in a new namespace, where known."""
    for bridge in topology.bridges:
        yield from _bridge(bridge, group)
    single = alone(topology)
    for cable in topology.cables:
        yield _veth(cable, group, peer_ifindex if cable.container.name in single else 0)
    for container in topology.containers:
        yield from _container(topology, container)
    yield from _far_sides(topology)


def alone(topology: Topology) -> frozenset[str]:
    """Return the containers that get one link and no other, so that its index is known in advance."""
    single = {cable.container.name for cable in topology.cables if len(cable.container.interfaces) == 1}
    return frozenset(
        single - {cable.namespace for cable in topology.cables} - {bridge.on for bridge in topology.bridges}
    )


def ipv6(topology: Topology) -> dict[str, dict[str, str]]:
    """Return the sysctls that switch IPv6 on, for each namespace that has an IPv6 address: it is off elsewhere."""
    addressed = [(bridge.on, bridge.address) for bridge in topology.bridges]
    addressed += [(cable.namespace, cable.interface.host_address) for cable in topology.cables]
    for container in topology.containers:
        addressed += [(container.name, port.address) for port in container.interfaces]
    return {namespace: dict(_IPV6_ON) for namespace, text in addressed if text is not None and ":" in text}


def container_mac(container: str, interface: Interface) -> str:
    """Return the MAC of a container's interface: the stated one, or the one that follows from the names."""
    return interface.mac or names.mac(f"{container}/{interface.name}")


def bridge_mac(bridge: Bridge) -> str:
    """Return the MAC of a bridge: the stated one, or the one that follows from the names."""
    return bridge.mac or names.mac(f"{bridge.on}/{bridge.name}")


def _bridge(bridge: Bridge, group: int) -> Iterator[Operation]:
    ours = group if bridge.on == "host" else 0
    yield link.add_bridge.plan(bridge.name, namespace=bridge.on, mac=bridge_mac(bridge), mtu=bridge.mtu, group=ours)
    if bridge.address is not None:
        yield address.add.plan(bridge.address, bridge.name, namespace=bridge.on)
    yield link.set_up.plan(bridge.name, namespace=bridge.on)


def _veth(cable: Cable, group: int, peer_ifindex: int) -> Operation:
    other_mac = container_mac(cable.namespace, cable.other) if cable.other else None
    return link.add_veth.plan(
        cable.name,
        cable.interface.name,
        namespace=cable.namespace,
        peer_namespace=cable.container.name,
        mac=other_mac or names.mac(f"{cable.namespace}/{cable.name}"),
        peer_mac=container_mac(cable.container.name, cable.interface),
        mtu=cable.interface.mtu,
        master=cable.bridge.name if cable.bridge else None,
        group=group if cable.namespace == "host" else 0,
        up=cable.other is None,
        peer_ifindex=peer_ifindex,
    )


def _container(topology: Topology, container: Container) -> Iterator[Operation]:
    here = container.name
    yield link.set_up.plan("lo", namespace=here)
    for port in container.interfaces:
        if port.link is not None:
            yield link.set_up.plan(port.name, namespace=here)
            if port.address is not None:
                yield address.add.plan(port.address, port.name, namespace=here)
    gateway = topology.gateway(container)
    if gateway is not None:
        via, port = gateway
        onlink = port.address is not None and port.address.endswith(("/32", "/128"))
        yield route.add.plan("default", via=via, dev=port.name, onlink=onlink, namespace=here)
    yield from topology.routes(container)
    if gateway is not None and len(topology.containers) > MANY:
        yield from _gateway_neighbour(topology, container, *gateway)
    for port in container.interfaces:
        if port.link is not None:
            yield link.show.plan(port.name, namespace=here)


def _gateway_neighbour(topology: Topology, container: Container, via: str, port: Interface) -> Iterator[Operation]:
    for cable in topology.cables_of(container):
        if cable.interface is port and cable.bridge is not None:
            yield neighbour.add.plan(via, bridge_mac(cable.bridge), port.name, namespace=container.name)


def _far_sides(topology: Topology) -> Iterator[Operation]:
    many = len(topology.containers) > MANY
    for cable in topology.cables:
        if cable.interface.host_address is not None and cable.other is None and cable.bridge is None:
            yield address.add.plan(cable.interface.host_address, cable.name, namespace=cable.namespace)
        if many and cable.bridge is not None and cable.bridge.address and cable.interface.address:
            ip = cable.interface.address.partition("/")[0]
            mac = container_mac(cable.container.name, cable.interface)
            yield neighbour.add.plan(ip, mac, cable.bridge.name, namespace=cable.namespace)
    for cable in topology.cables:
        if cable.other is not None:  # it was down when its other end was asked for
            yield link.show.plan(cable.interface.name, namespace=cable.container.name)
        yield link.show.plan(cable.name, namespace=cable.namespace)
