"""Topology: what is to be built, as data that can be drawn, printed and checked before anything exists."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from labkit.errors import Duplicate, NotFound, WrongUse
from labkit.net import names, route
from labkit.net.address import IPInterface, interface
from labkit.net.operation import Operation

__all__ = ["Bridge", "Cable", "Container", "Interface", "Topology"]

PORTS = 1023  # BR_MAX_PORTS is 1,024, and a bridge numbers its ports from 1


@dataclass(frozen=True)
class Bridge:
    """A bridge on the host, or inside the container `on`. `address` "10.0.0.1/24" is its own; `mtu` in bytes."""

    name: str
    address: str | None = None
    mtu: int = 1500
    mac: str | None = None
    on: str = "host"


@dataclass(frozen=True)
class Interface:
    """One interface of a container: the container side of a veth, plugged into `link`.

    `link`: a bridge ("br0", or "node1:br0" inside a container), "host" (then `host_address` is for the other side),
    or another container ("blue", "blue:eth1"), which must link back."""

    name: str = "eth0"
    address: str | None = None
    link: str | None = None
    mac: str | None = None
    mtu: int = 1500
    host_address: str | None = None


@dataclass(frozen=True)
class Container:
    """A container: a namespace with interfaces. `address` and `link` are short for one Interface called `interface`.

    `gateway`: "auto" is the address at the other end of the first interface that has one (the bridge's, the host's);
    an address states it; None leaves the default route out. `routes`: "10.1.0.0/24 via 10.0.0.9", as `ip route add`
    takes them. `sysctls`: {"net.ipv4.ip_forward": 1}."""

    name: str
    address: str | None = None
    link: str | None = None
    interface: str = field(default="eth0", kw_only=True)
    mac: str | None = field(default=None, kw_only=True)
    mtu: int = field(default=1500, kw_only=True)
    gateway: str | None = field(default="auto", kw_only=True)
    interfaces: tuple[Interface, ...] = field(default=(), kw_only=True)
    sysctls: Mapping[str, object] = field(default_factory=dict, kw_only=True)
    routes: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        first: tuple[Interface, ...] = ()
        if self.address is not None or self.link is not None:
            first = (Interface(self.interface, self.address, self.link, self.mac, self.mtu),)
        object.__setattr__(self, "interfaces", (*first, *self.interfaces))


@dataclass(frozen=True)
class Cable:
    """One veth of a topology: the container side, and where its other side is.

    `namespace` and `name` are the other side's; `bridge` is what it is a port of, or None."""

    container: Container
    interface: Interface
    namespace: str
    name: str
    bridge: Bridge | None = None
    other: Interface | None = None  # the other container's, where there is one


class Topology:
    """Bridges and containers, and who is plugged into what. It never changes.

    Raises WrongUse, Duplicate or NotFound, with a sentence, for what cannot be built."""

    bridges: tuple[Bridge, ...]
    containers: tuple[Container, ...]
    cables: tuple[Cable, ...]

    def __init__(self, *things: Bridge | Container) -> None:
        for thing in things:
            if not isinstance(thing, Bridge | Container):
                raise WrongUse(
                    f"failed to read topology: {thing!r} is neither a Bridge nor a Container",
                    "as in Topology(Bridge('br0'), Container('red', link='br0'))",
                )
        self.bridges = tuple(thing for thing in things if isinstance(thing, Bridge))
        self.containers = tuple(thing for thing in things if isinstance(thing, Container))
        self._check_names()
        self.cables = tuple(self._cables())
        self._check_cables()
        self._routes = {c.name: tuple(_route(text, c.name) for text in c.routes) for c in self.containers}

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names of its containers, in order."""
        return tuple(container.name for container in self.containers)

    def container(self, name: str) -> Container:
        """Return the container called `name`. Raises NotFound."""
        if name not in self._by_name:
            raise NotFound(f"failed to find container '{name}': no such container", self._containers_there())
        return self._by_name[name]

    def gateway(self, container: Container) -> tuple[str, Interface] | None:
        """Return the address of a container's default gateway and the interface that leads there, or None."""
        return self._gateways.get(container.name)

    def cables_of(self, container: Container) -> tuple[Cable, ...]:
        """Return the cables whose container side is in `container`."""
        return self._cables_by_container.get(container.name, ())

    def routes(self, container: Container) -> tuple[Operation, ...]:
        """Return the operations that add a container's own routes."""
        return self._routes[container.name]

    def commands(self) -> list[str]:
        """Return the shell commands that build the same."""
        from labkit.lab.plan import commands

        return commands(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Topology) and (self.bridges, self.containers) == (other.bridges, other.containers)

    def __hash__(self) -> int:
        return hash((self.bridges, self.namespaces))

    def __repr__(self) -> str:
        def some(number: int, thing: str) -> str:
            return f"{number} {thing}{'' if number == 1 else 's'}"

        return f"Topology: {some(len(self.bridges), 'bridge')}, {some(len(self.containers), 'container')}"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        from labkit import see

        return {"text/plain": see.topology_text(self), "image/svg+xml": see.topology_svg(self)}

    # Below: what can be built, and what cannot.

    @cached_property
    def _by_name(self) -> dict[str, Container]:
        return {container.name: container for container in self.containers}

    @cached_property
    def _cables_by_container(self) -> dict[str, tuple[Cable, ...]]:
        found: dict[str, tuple[Cable, ...]] = {}
        for cable in self.cables:
            found[cable.container.name] = (*found.get(cable.container.name, ()), cable)
        return found

    def _containers_there(self) -> str:
        return f"containers there: {_list(self.namespaces)}"

    def _check_names(self) -> None:
        seen: set[str] = set()
        for container in self.containers:
            what = f"failed to add container '{container.name}'"
            _check_container_name(what, container.name)
            if container.name in seen:
                raise Duplicate(f"{what}: the name is taken", self._containers_there())
            seen.add(container.name)
            taken = {"lo"}
            for port in container.interfaces:
                where = f"failed to add '{port.name}' in namespace '{container.name}'"
                names.check_link(where, port.name)
                names.check_mtu(where, port.mtu)
                if port.mac is not None:
                    names.check_mac(where, port.mac)
                if port.name in taken:
                    raise Duplicate(f"{where}: the name is taken", f"links there: {_list(sorted(taken))}")
                taken.add(port.name)
        bridges: set[tuple[str, str]] = set()
        for bridge in self.bridges:
            where = f"failed to add '{bridge.name}' in namespace '{bridge.on}'"
            names.check_link(where, bridge.name)
            names.check_mtu(where, bridge.mtu)
            if bridge.mac is not None:
                names.check_mac(where, bridge.mac)
            if (bridge.on, bridge.name) in bridges or bridge.name == "lo":
                raise Duplicate(f"{where}: the name is taken", f"links there: lo, {_list(n for _, n in bridges)}")
            if bridge.on != "host" and bridge.on not in seen:
                raise NotFound(f"{where}: no such container", self._containers_there())
            bridges.add((bridge.on, bridge.name))

    def _cables(self) -> list[Cable]:
        cables = []
        seen: set[tuple[str, str]] = set()
        for container in self.containers:
            for port in container.interfaces:
                if port.link is not None and (container.name, port.name) not in seen:
                    cable = self._cable(container, port)
                    cables.append(cable)
                    if cable.other is not None:
                        seen.add((cable.namespace, cable.name))
        return cables

    def _cable(self, container: Container, port: Interface) -> Cable:
        link = port.link or ""
        where = f"failed to link '{port.name}' of container '{container.name}' to '{link}'"
        on, _, name = link.rpartition(":")
        found = [bridge for bridge in self.bridges if bridge.name == name and on in ("", bridge.on)]
        if len(found) > 1:
            raise WrongUse(
                f"{where}: there is more than one bridge of that name",
                f"say which: {_list(f'{bridge.on}:{bridge.name}' for bridge in found)}",
            )
        if found:
            bridge = found[0]
            return Cable(container, port, bridge.on, names.host_side(container.name, port.name), bridge)
        if link == "host":
            return Cable(container, port, "host", names.host_side(container.name, port.name))
        other, _, its = link.partition(":")
        if other not in self._by_name:
            bridges = [bridge.name for bridge in self.bridges]
            raise NotFound(
                f"{where}: no such bridge or container",
                f"bridges there: {_list(bridges)}; containers there: {_list(self.namespaces)}; or 'host'",
            )
        mine = (container.name, f"{container.name}:{port.name}")
        back = [
            theirs
            for theirs in self._by_name[other].interfaces
            if theirs.link in mine and (not its or theirs.name == its) and theirs is not port
        ]
        if not back:
            raise WrongUse(
                f"{where}: '{other}' does not link back",
                f"both sides of a cable say so: Container('{other}', link='{container.name}')",
            )
        return Cable(container, port, other, back[0].name, other=back[0])

    def _check_cables(self) -> None:
        hosts: dict[tuple[str, str], str] = {(bridge.on, bridge.name): "" for bridge in self.bridges}
        ports: dict[Bridge, int] = {}
        taken: dict[tuple[object, object], str] = {}
        for bridge in self.bridges:
            if bridge.address is not None:
                where = f"failed to add '{bridge.address}' in namespace '{bridge.on}'"
                taken[bridge, _address(where, bridge.address).ip] = f"bridge '{bridge.name}'"
        for cable in self.cables:
            side = cable.namespace, cable.name
            if cable.other is None and hosts.setdefault(side, cable.container.name) != cable.container.name:
                raise Duplicate(
                    f"failed to add '{cable.name}' in namespace '{cable.namespace}': the name is taken",
                    f"it is the other side of '{cable.container.name}': choose another name",
                )
            if cable.bridge is not None:
                ports[cable.bridge] = ports.get(cable.bridge, 0) + 1
                if ports[cable.bridge] > PORTS:
                    what = f"failed to link container '{cable.container.name}' to '{cable.bridge.name}'"
                    raise WrongUse(
                        f"{what}: the bridge is full",
                        f"a bridge has at most {PORTS} ports",
                    )
            self._check_addresses(cable, taken)
        self._gateways = {}
        for container in self.containers:
            gateway = self._find_gateway(container)
            if gateway is not None:
                self._gateways[container.name] = gateway

    def _check_addresses(self, cable: Cable, taken: dict[tuple[object, object], str]) -> None:
        segment = cable.bridge or (cable.namespace, cable.name)
        sides = [(cable.container.name, cable.interface.address)]
        if cable.other is not None:
            sides.append((cable.namespace, cable.other.address))
        if cable.interface.host_address is not None:
            sides.insert(0, (cable.namespace, cable.interface.host_address))
        for namespace, text in sides:
            if text is None:
                continue
            where = f"failed to add '{text}' in namespace '{namespace}'"
            address = _address(where, text)
            if cable.bridge is not None and cable.bridge.address is not None:
                _check_subnet(where, address, cable.bridge)
            for _, other in sides:
                if other is not None and (":" in other) != (":" in text):
                    raise WrongUse(
                        f"{where}: it is IPv{address.version}, and the other end of the cable has {other}",
                        "the addresses of one cable are of one family",
                    )
            if (segment, address.ip) in taken:
                raise Duplicate(f"{where}: the address is taken", f"by {taken[segment, address.ip]}")
            taken[segment, address.ip] = f"container '{namespace}'" if namespace != "host" else "the host"

    def _find_gateway(self, container: Container) -> tuple[str, Interface] | None:
        if container.gateway is None:
            return None
        cables = [cable for cable in self.cables_of(container) if cable.interface.address]
        if container.gateway == "auto":
            for cable in cables:
                far = cable.bridge.address if cable.bridge else cable.interface.host_address
                if far is not None and cable.other is None:
                    return far.partition("/")[0], cable.interface
            return None
        return self._stated_gateway(container, container.gateway)

    def _stated_gateway(self, container: Container, gateway: str) -> tuple[str, Interface]:
        where = f"failed to add gateway '{gateway}' in namespace '{container.name}'"
        try:
            parsed = ipaddress.ip_address(gateway)
        except ValueError as error:
            raise WrongUse(f"{where}: '{gateway}' is not an IP address", "a gateway has no prefix length") from error
        addressed = [port for port in container.interfaces if port.address is not None]
        if not addressed:
            raise WrongUse(
                f"{where}: the container has no address", f"as in Container('{container.name}', '10.0.0.2/24')"
            )
        for port in addressed:
            if parsed in interface(where, port.address or "").network:
                return gateway, port
        first = interface(where, addressed[0].address or "")
        if first.version != parsed.version:
            raise WrongUse(
                f"{where}: it is an IPv{parsed.version} address, and '{first}' is IPv{first.version}",
                "address and gateway are of one family",
            )
        if first.network.prefixlen == first.max_prefixlen:
            return gateway, addressed[0]  # a /32 has no subnet: its gateway is on the link because we say so
        raise WrongUse(
            f"{where}: it is outside the subnet {first.network}", "a gateway is a neighbour of the container"
        )


def _check_container_name(what: str, name: str) -> None:
    if name == "host":
        raise WrongUse(f"{what}: 'host' is the lab machine's first namespace", "choose another name")
    if not name or name in (".", "..") or len(name.encode()) > 255:
        raise WrongUse(f"{what}: not a usable name", "a container's name is one file name in /run/netns")
    for bad in name:
        if bad in "/:\0" or bad.isspace():
            raise WrongUse(f"{what}: a name cannot contain {bad!r}", "use letters, digits, '-', '.' and '_'")


def _address(where: str, text: str) -> IPInterface:
    address = interface(where, text)
    network = address.network
    if network.num_addresses > 2:
        if address.ip == network.network_address:
            raise WrongUse(f"{where}: it is the subnet itself", f"the first address of {network} is {network[1]}")
        if address.version == 4 and address.ip == network.broadcast_address:
            raise WrongUse(
                f"{where}: it is the subnet's broadcast address", f"the last address of {network} is {network[-2]}"
            )
    return address


def _check_subnet(where: str, address: IPInterface, bridge: Bridge) -> None:
    own = interface(where, bridge.address or "")
    if own.version != address.version:
        raise WrongUse(
            f"{where}: it is IPv{address.version}, and bridge '{bridge.name}' has the IPv{own.version} address {own}",
            "addresses on one bridge are of one family",
        )
    if address.ip not in own.network:
        raise WrongUse(
            f"{where}: it is outside the subnet {own.network} of bridge '{bridge.name}'",
            f"as in {_another(own)}" if own.network.num_addresses > 1 else "only the bridge itself is in it",
        )


def _another(own: IPInterface) -> str:
    """Return an address of the same subnet that is not `own`, with its prefix length."""
    hosts = (host for host in own.network.hosts() if host != own.ip)
    return f"{next(hosts)}/{own.network.prefixlen}"


def _list(things: Any) -> str:
    shown = [str(thing) for thing in things]
    return ", ".join(shown if len(shown) <= 10 else [*shown[:9], f"and {len(shown) - 9} more"]) or "none"


def _route(text: str, namespace: str) -> Operation:
    destination, *words = text.split() or [""]
    pairs = [word for word in words if word != "onlink"]
    options = dict(zip(pairs[::2], pairs[1::2], strict=False))
    if len(pairs) % 2 or options.keys() - {"via", "dev"}:
        raise WrongUse(
            f"failed to add route '{text}' in namespace '{namespace}': not understood",
            "write it as 10.1.0.0/24 via 10.0.0.9 [dev eth0] [onlink]",
        )
    return route.add.plan(
        destination, via=options.get("via"), dev=options.get("dev"), namespace=namespace, onlink="onlink" in words
    )
