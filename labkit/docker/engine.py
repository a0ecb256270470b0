"""The engine: what happens on a host when one says `docker run`?

A `Docker` is a model of the daemon's networking, as Docker 20.10 has it: bridge networks, veths, addresses, routes,
rules, published ports, names. Left out: images (a container is a namespace and a process that sees the lab machine's
files), IPv6, links, swarm, other drivers, ranges of ports. Names and MACs that are random in Docker follow from the
names here, so that two runs look the same.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from ipaddress import IPv4Network
from typing import Any, Self

from labkit import lab as labs
from labkit.docker import containers, dns, ipam, networks, ports, proxy, rules
from labkit.docker.containers import SLEEP, Container, Endpoint, Wanted
from labkit.docker.networks import DEFAULT, PREDEFINED, Network, Options
from labkit.docker.rules import Rule
from labkit.docker.told import Commands, Table, inspected, inspected_network, listed, listed_networks
from labkit.errors import Duplicate, LabkitError, NotFound, Unavailable, WrongUse
from labkit.lab.build import clears
from labkit.net import address, conntrack, iptables, link, names, netlink, route, sysctl
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine
from labkit.net.operation import Operation, perform

__all__ = ["Docker", "clear"]

_FORWARD = "net.ipv4.ip_forward"
_GROUP = 99  # of links about to be deleted
_BRIDGE_NF = "net.bridge.bridge-nf-call-iptables"
_dockers: dict[str, Docker] = {}


@clears
def clear() -> None:
    """No Docker of this process is left, on any host. So does `labkit.build(Topology())`, which clears the stage."""
    for docker in list(_dockers.values()):
        docker.down()


class Docker:
    """Docker's networking on one host: its verbs are Docker's, and `commands()` says the same in `ip` and `iptables`.

    `host`: the namespace that plays the host. `userland_proxy` and `icc` (of the default bridge) are dockerd's options.
    A new Docker replaces the one that was there. `with Docker() as docker:` takes it down at the end of the block; so
    does `docker.down()`. Raises Refused (rules of the other iptables are there), Duplicate (docker0 exists)."""

    def __init__(self, host: str = "host", *, userland_proxy: bool = True, icc: bool = True) -> None:
        ensure_lab_machine(f"start Docker in namespace '{host}'")
        namespaces.inode(host)
        if host in _dockers:
            _dockers[host].down()
        self.host = host
        self.userland_proxy = userland_proxy
        self._networks: dict[str, Network] = {network.name: network for network in networks.plain()}
        self._containers: dict[str, Container] = {}
        self._took: IPv4Network | None = None  # the last of the pools that was given to a network
        self._ports = ports.Allocator()
        self._proxy = proxy.Proxy(host, userland_proxy)
        self._resolver: dns.Resolver | None = None
        self._before: dict[str, str] = {}  # sysctls of the host as they were
        self._all: list[str] = []
        self._last: list[str] = []
        self._ours: list[Rule] = []  # rules of the daemon itself
        self._backend: iptables.Backend | None = None  # until the first rules are in, the other one's are refused
        _dockers[host] = self
        try:
            self._begin(Options(icc=icc))
        except BaseException:
            self.down()
            raise

    # Networks

    def network_create(self, name: str, subnet: str | None = None, **options: Any) -> Network:
        """A bridge network exists. `options`: gateway, ip_range, internal, icc, masquerade, bridge, host_binding, mtu.

        Without a subnet it is the next of Docker's pools that nothing on the host uses.
        Raises Duplicate (name, bridge, overlapping subnet), WrongUse, Unavailable (no pool is free; icc=False without
        br_netfilter). Same as: docker network create --subnet SUBNET NAME"""
        what = self._verb(f"create network '{name}'")
        unknown = sorted(set(options) - set(Options.__dataclass_fields__))
        if unknown:
            raise WrongUse(f"{what}: no option '{unknown[0]}'", f"options: {', '.join(Options.__dataclass_fields__)}")
        made = self._new_network(what, name, Options(subnet, **options))
        self._add_network(what, made)
        return made

    def network_rm(self, name: str) -> Commands:
        """The network is gone, its bridge and its rules with it. Raises NotFound, WrongUse (in use, predefined).

        Same as: docker network rm NAME"""
        what = self._verb(f"remove network '{name}'")
        network = self._network(what, name)
        if name in PREDEFINED:
            raise WrongUse(f"{what}: it is predefined", "only networks that you created can be removed")
        if network.members:
            raise WrongUse(
                f"{what}: it is in use", f"on it: {', '.join(network.members)}; stop or disconnect them first"
            )
        self._remove_network(network)
        return self.last

    def network_connect(
        self, network: str, container: str, *, ip: str | None = None, aliases: Iterable[str] = ()
    ) -> Commands:
        """The container is on one more network, by one more interface.

        Its default route, and with it its published ports, are those of the network whose name comes first in the
        alphabet, internal ones last. Raises NotFound, Duplicate, WrongUse, Unavailable (no address is free).
        Same as: docker network connect NETWORK CONTAINER"""
        what = self._verb(f"connect '{container}' to network '{network}'")
        one, to = self._container(what, container), self._network(what, network)
        if one.shares:
            raise WrongUse(f"{what}: its namespace is not its own", f"it runs with network '{one.mode}'")
        if to.pool is None or one.mode == "none":
            raise WrongUse(
                f"{what}: with network '{network if to.pool is None else one.mode}' there is no other",
                "run another container on a bridge network",
            )
        if network in one.networks:
            raise Duplicate(f"{what}: it is on it already", f"its networks: {', '.join(one.networks)}")
        one.networks[network] = self._wanted(what, to, ip, aliases)
        if one.running:
            try:
                self._join(what, one, to, one.networks[network])
                self._lead(what, one)
            except BaseException:
                self._quit(what, one, network)
                raise
            self._tell_names()
        return self.last

    def network_disconnect(self, network: str, container: str) -> Commands:
        """The container is no longer on the network. Raises NotFound. Same as: docker network disconnect NETWORK
        CONTAINER"""
        what = self._verb(f"disconnect '{container}' from network '{network}'")
        one, _ = self._container(what, container), self._network(what, network)
        if network not in one.networks:
            raise NotFound(f"{what}: it is not on it", f"its networks: {', '.join(one.networks) or 'none'}")
        self._quit(what, one, network)
        self._tell_names()
        return self.last

    def network_ls(self) -> Table:
        """Return the networks. Same as: docker network ls"""
        return listed_networks(self._networks.values())

    def network_inspect(self, name: str) -> dict[str, Any]:
        """Return what there is to know of a network, in Docker's form. Same as: docker network inspect NAME"""
        return inspected_network(self._network(self._verb(f"inspect network '{name}'"), name), self._containers)

    # Containers

    def run(
        self,
        name: str,
        command: str | list[str] = SLEEP,
        *,
        network: str = DEFAULT,
        publish: str | Iterable[str] = (),
        ip: str | None = None,
        aliases: Iterable[str] = (),
    ) -> Container:
        """A container runs: a namespace called `name`, and in it a process.

        `network`: a network's name, "host", "none" or "container:NAME". `publish`: as after -p, one or several; with
        "host" and "none" it is ignored, as by Docker. `ip`, `aliases`: on user-defined networks only. When the process
        ends, the container's network goes at the next verb.
        Raises Duplicate (name, port, address), NotFound (network), WrongUse, Unavailable (no address free), Refused
        (port in use), CommandNotInstalled. Same as: docker run -d --name NAME --network NETWORK -p 8080:80 IMAGE"""
        what = self._verb(f"run '{name}'")
        one = self._new(what, name, command, network, publish, ip, aliases)
        self._containers[name] = one
        try:
            self._start(what, one)
        except BaseException:
            self._stop(one)
            del self._containers[name]
            raise
        one.commands = tuple(self._last)
        return one

    def stop(self, name: str) -> Commands:
        """The container's process has ended and its network is gone; its address is free for others.

        Same as: docker stop NAME. Raises NotFound."""
        self._stop(self._container(self._verb(f"stop '{name}'"), name))
        return self.last

    def start(self, name: str) -> Container:
        """A stopped container runs again, perhaps with other addresses. Raises what `run` raises. Same as: docker
        start NAME"""
        what = self._verb(f"start '{name}'")
        one = self._container(what, name)
        if not one.running:
            try:
                self._start(what, one)
            except BaseException:
                self._stop(one)
                raise
            one.commands = tuple(self._last)
        return one

    def rm(self, name: str, *, force: bool = False) -> Commands:
        """The container is gone. Raises NotFound, WrongUse (it runs, unless `force`). Same as: docker rm [-f] NAME"""
        what = self._verb(f"remove '{name}'")
        one = self._container(what, name)
        if one.running and not force:
            raise WrongUse(f"{what}: it is running", f"stop it first: stop('{name}'), or rm('{name}', force=True)")
        self._stop(one)
        one.close()
        del self._containers[name]
        return self.last

    def exec(self, name: str, command: str | list[str], *, timeout: float = 30.0) -> labs.Ran:
        """Run a command in a container and return what it printed. Raises NotFound, WrongUse (it does not run),
        CommandNotInstalled. Same as: docker exec NAME COMMAND; and: ip netns exec NAME COMMAND"""
        self._running(self._verb(f"run '{command}' in '{name}'"), name)
        return labs.run(name, command, timeout=timeout)

    def logs(self, name: str) -> str:
        """Return what the container's process has printed. Same as: docker logs NAME"""
        return self._container(self._verb(f"show the output of '{name}'"), name).printed()

    def ps(self, *, all: bool = False) -> Table:  # noqa: A002
        """Return the containers that run, or all. Same as: docker ps [-a]"""
        self._verb("list containers")
        return listed(one for one in self._containers.values() if all or one.running)

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what there is to know of a container, in Docker's form. Same as: docker inspect NAME"""
        return inspected(self._container(self._verb(f"inspect '{name}'"), name))

    def container(self, name: str) -> Container:
        """Return a container. Raises NotFound."""
        return self._container(self._verb(f"find '{name}'"), name)

    def network(self, name: str) -> Network:
        """Return a network. Raises NotFound."""
        return self._network(self._verb(f"find network '{name}'"), name)

    # As a Lab

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names of the containers that run, which are those of their namespaces."""
        return tuple(name for name, one in self._containers.items() if one.running)

    @property
    def last(self) -> Commands:
        """The shell commands of the last verb that changed something."""
        return Commands(self._last)

    def commands(self) -> Commands:
        """Return the shell commands that do the same as all verbs so far."""
        return Commands(self._all)

    def ip(self, name: str) -> str:
        """Return the first address of a container, or of a network's bridge. Raises NotFound."""
        if name not in self._containers and name in self._networks and self._networks[name].pool:
            return str(self._networks[name].addresses.gateway)
        found = self._container(self._verb(f"find the address of '{name}'"), name).ip
        if not found:
            raise NotFound(f"failed to find the address of '{name}': it has no address of its own", "see: ps()")
        return found

    def ping(self, namespace: str, to: str, **options: Any) -> Any:
        """Send an ICMP echo request from a namespace to a container or an IP address, and return the Ping."""
        from labkit import packets

        return packets.ping(namespace, self._ip_of(to), **options)

    def trace(self, packet: Any, from_: str = "host", **options: Any) -> Any:
        """Follow one packet through every interface, and return its Trace, as Lab.trace does."""
        from labkit import tracing

        return tracing.trace(self._ip_of(packet) if isinstance(packet, str) else packet, from_, **options)

    def capture(self, *where: str, **options: Any) -> Any:
        """Capture on namespaces or interfaces, on the host and all containers when none is named."""
        from labkit import packets

        return packets.capture(*(where or (self.host, *self.namespaces)), **options)

    def snapshot(self) -> Any:
        """Return a Snapshot of the host and of the containers that run."""
        from labkit import state

        return state.snapshot(self.host, *self.namespaces)

    def down(self) -> None:
        """Nothing of this Docker is left. Once more is as good as once."""
        if _dockers.get(self.host) is self:
            del _dockers[self.host]
        with suppress(LabkitError):  # the host may be gone already
            self._withdraw(self._every_rule())
        self._delete_links()
        for one in reversed(self._containers.values()):
            one.ports, one.gateway = (), None
            one.endpoints.clear()
            self._stop(one)
            one.close()
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def __repr__(self) -> str:
        up = _dockers.get(self.host) is self
        running = f"{len(self.namespaces)} container{'' if len(self.namespaces) == 1 else 's'}"
        return f"Docker in namespace '{self.host}': {len(self._networks)} networks, {running}{'' if up else ', down'}"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        if _dockers.get(self.host) is not self:
            return {"text/plain": repr(self)}
        from labkit import see

        snapshot = self.snapshot()
        return {"text/plain": see.topology_text(snapshot), "image/svg+xml": see.topology_svg(snapshot)}

    # Below: how it is done. First, what may be asked for.

    def _verb(self, verb: str) -> str:
        """Begin a verb: containers whose process has ended lose their network. Returns how its refusal begins."""
        what = f"failed to {verb} in namespace '{self.host}'"
        if _dockers.get(self.host) is not self:
            raise WrongUse(f"{what}: this Docker is down", "start another: Docker()")
        self._last = []
        for one in self._containers.values():
            if one.process is not None and one.process.poll() is not None:
                self._stop(one)
        self._last = []
        return what

    def _container(self, what: str, name: str) -> Container:
        if name not in self._containers:
            raise NotFound(f"{what}: no container '{name}'", f"containers there: {_list(self._containers)}")
        return self._containers[name]

    def _running(self, what: str, name: str) -> Container:
        one = self._container(what, name)
        if not one.running:
            raise WrongUse(f"{what}: '{name}' does not run", f"start it: start('{name}')")
        return one

    def _network(self, what: str, name: str) -> Network:
        if name not in self._networks:
            raise NotFound(f"{what}: no network '{name}'", f"networks there: {_list(self._networks)}")
        return self._networks[name]

    def _new(
        self,
        what: str,
        name: str,
        command: str | list[str],
        mode: str,
        publish: str | Iterable[str],
        ip: str | None,
        aliases: Iterable[str],
    ) -> Container:
        networks.check_name(what, name, least=2)
        if name in self._containers:
            raise Duplicate(f"{what}: the name is taken", f"containers there: {_list(self._containers)}")
        namespaces.check_name(name)
        wanted = ports.parse(what, publish)
        names_, aliases = tuple(aliases), ()
        made = containers.new(what, name, command, mode, wanted)
        if mode.startswith("container:"):
            self._running(what, mode.partition(":")[2])
            if wanted:
                raise WrongUse(f"{what}: ports are published where the namespace is made", f"publish them with {mode}")
        else:
            network = self._network(what, mode)
            if network.pool:
                made.networks[mode] = self._wanted(what, network, ip, names_)
        return made

    def _wanted(self, what: str, network: Network, ip: str | None, aliases: Iterable[str]) -> Wanted:
        told = tuple(aliases)
        if told and not network.has_names:
            raise WrongUse(f"{what}: aliases are for user-defined networks", f"'{network.name}' has no names")
        if ip is None:
            return Wanted(aliases=told)
        if network.options.subnet is None:
            raise WrongUse(
                f"{what}: network '{network.name}' chose its subnet itself, and chooses the addresses too",
                "state the subnet when you create a network: network_create('own', '10.1.0.0/24')",
            )
        return Wanted(ipam.address_of(what, ip), told)

    def _used(self) -> list[IPv4Network]:
        """Return the subnets that the host has routes to."""
        found = netlink.dump(netlink.GETROUTE, namespace=self.host, family=2)
        return [
            IPv4Network((record.attributes[1], record.header.dst_len))
            for record in found
            if record.header.table == 254 and 1 in record.attributes
        ]

    # The daemon and its networks

    def _begin(self, options: Options) -> None:
        what = f"failed to start Docker in namespace '{self.host}'"
        self._ours = rules.daemon(self.userland_proxy)
        with namespaces.enter(self.host):
            forwards = sysctl.read(_FORWARD) == "1"
        first = [*rules.chains(), *self._ours]
        self._apply(first if forwards else [*first, rules.drop_forwarded()])
        self._backend = iptables.backend(self.host)
        self._set({_FORWARD: "1"})
        self._add_network(what, self._new_network(what, DEFAULT, options))

    def _new_network(self, what: str, name: str, options: Options) -> Network:
        made = networks.new(what, name, options, self._networks.values(), self._used(), self._took)
        if options.subnet is None:
            self._took = made.subnet
        return made

    def _delete_links(self) -> None:
        """Bridges and veths are gone, as one group: it costs no more than one of them."""
        links = [network.bridge for network in self._networks.values() if network.pool]
        links += [place.host_side for one in self._containers.values() for place in one.endpoints.values()]
        for name in links:
            with suppress(LabkitError):  # somebody has deleted it, or the whole host
                perform([link.set_group.plan(name, _GROUP, namespace=self.host)])
        with suppress(LabkitError):
            perform([link.delete_group.plan(_GROUP, namespace=self.host)])

    def _end(self) -> None:
        self._proxy.end()
        if self._resolver is not None:
            self._resolver.close()
        with suppress(LabkitError):
            if self._backend is not None:
                made = [rule for rule in rules.chains() if rule.verb == "-N"]
                gone = [Rule(rule.table, "-X", rule.words) for rule in made]
                accept = [Rule("filter", "-P", "FORWARD ACCEPT")] if self._before.get(_FORWARD) == "0" else []
                self._apply([*made, *gone, *accept])
        with suppress(LabkitError, OSError), namespaces.enter(self.host):
            sysctl.write(self._before)
        self._networks.clear()
        self._containers.clear()

    def _add_network(self, what: str, network: Network) -> None:
        bridge, options = network.bridge, network.options
        if not options.icc:
            self._filter_bridged(what)
        gateway = f"{network.addresses.gateway}/{network.subnet.prefixlen}"
        with ExitStack() as undo:
            self._perform(link.add_bridge.plan(bridge, namespace=self.host, mac=network.bridge_mac, mtu=options.mtu))
            undo.callback(self._remove_network, network)
            self._perform(
                address.add.plan(gateway, bridge, namespace=self.host), link.set_up.plan(bridge, namespace=self.host)
            )
            with suppress(FileNotFoundError):  # a kernel without IPv6
                self._set({f"net/ipv6/conf/{bridge}/accept_ra": "0"}, keep=False)
            if not self.userland_proxy:
                self._set({f"net/ipv4/conf/{bridge}/route_localnet": "1"}, keep=False)
            self._apply([*self._rules_of(network), *self._jumps_to_the_front()])
            undo.pop_all()
        self._networks[network.name] = network
        network.commands = tuple(self._last)

    def _remove_network(self, network: Network) -> None:
        self._withdraw(self._rules_of(network))
        self._perform(link.delete.plan(network.bridge, namespace=self.host))
        self._networks.pop(network.name, None)

    def _rules_of(self, network: Network) -> list[Rule]:
        options = network.options
        return rules.network(
            network.bridge,
            network.subnet,
            icc=options.icc,
            masquerade=options.masquerade,
            internal=options.internal,
            userland_proxy=self.userland_proxy,
        )

    def _filter_bridged(self, what: str) -> None:
        """What a bridge passes from port to port is shown to iptables, too: without that no rule keeps containers of
        one network apart."""
        try:
            self._set({_BRIDGE_NF: "1"})
        except FileNotFoundError as error:
            raise Unavailable(
                f"{what}: this kernel cannot show bridged packets to iptables, which icc=False needs",
                "the kernel module is br_netfilter: labkit doctor",
            ) from error

    # Containers come and go

    def _start(self, what: str, one: Container) -> None:
        if one.shares:
            target = self.host if one.mode == "host" else one.mode.partition(":")[2]
            if target != self.host:
                self._running(what, target)
            one.share(target)
        else:
            one.make()
            self._note(f"ip netns add {one.name}", f"ip -n {one.name} link set lo up")
            for name, wanted in one.networks.items():
                self._join(what, one, self._network(what, name), wanted)
            self._lead(what, one)
        one.begin()
        self._note(f"ip netns exec {one.name} {one.told} &")
        self._tell_names()

    def _stop(self, one: Container) -> None:
        self._unpublish(one)
        if one.served and self._resolver is not None:
            self._resolver.stop(one.name)
        for endpoint in list(one.endpoints.values()):
            self._leave(one, endpoint)
        if one.running and not one.shares:
            self._note(f"ip netns delete {one.name}")
        one.end()
        with suppress(LabkitError):
            self._tell_names()

    def _join(self, what: str, one: Container, network: Network, wanted: Wanted) -> None:
        """The container has an interface on the network's bridge, with an address and the MAC that follows from it."""
        ip = network.addresses.take(what, wanted.ip)
        here, side, mtu = one.name, containers.host_side(one.name, network.name), network.options.mtu
        endpoint = Endpoint(network, ip, ipam.mac_of(ip), f"eth{one.interfaces}", side, (*wanted.aliases, one.id))
        try:
            self._perform(
                link.add_veth.plan(
                    side,
                    endpoint.interface,
                    namespace=self.host,
                    peer_namespace=here,
                    mac=names.mac(f"docker {side}"),
                    peer_mac=endpoint.mac,
                    mtu=mtu,
                    master=network.bridge,
                    up=True,
                )
            )
        except BaseException:
            network.addresses.taken.discard(ip)
            raise
        one.endpoints[network.name], network.members[here] = endpoint, str(ip)
        one.interfaces += 1
        port = [] if self.userland_proxy else [link.set_port.plan(side, namespace=self.host, hairpin=True)]
        self._perform(
            *port,
            link.set_up.plan(endpoint.interface, namespace=here),
            address.add.plan(f"{ip}/{network.subnet.prefixlen}", endpoint.interface, namespace=here),
            link.show.plan(endpoint.interface, namespace=here),
            link.show.plan(side, namespace=self.host),
        )
        one.write_hosts()
        if network.has_names and not one.served:
            self._serve_names(one)

    def _leave(self, one: Container, endpoint: Endpoint) -> None:
        with suppress(LabkitError):
            self._perform(link.delete.plan(endpoint.host_side, namespace=self.host))
        endpoint.network.addresses.taken.discard(endpoint.address)
        endpoint.network.members.pop(one.name, None)
        del one.endpoints[endpoint.network.name]
        one.write_hosts()

    def _quit(self, what: str, one: Container, network: str) -> None:
        del one.networks[network]
        if network in one.endpoints:
            self._leave(one, one.endpoints[network])
            self._lead(what, one)

    def _lead(self, what: str, one: Container) -> None:
        """The container's default route, and its published ports, are on the network that Docker chooses for them."""
        chosen = min(
            one.endpoints.values(), key=lambda place: (place.network.options.internal, place.network.name), default=None
        )
        if chosen is one.gateway:
            return
        self._unpublish(one)
        if one.gateway is not None and one.gateway in one.endpoints.values():
            self._perform(route.delete.plan("default", dev=one.gateway.interface, namespace=one.name))
        one.gateway = chosen
        if chosen is not None:
            via = str(chosen.network.addresses.gateway)
            self._perform(route.add.plan("default", via=via, dev=chosen.interface, namespace=one.name))
            if not chosen.network.options.internal:
                self._publish(what, one, chosen)

    # Ports

    def _publish(self, what: str, one: Container, endpoint: Endpoint) -> None:
        for wanted in one.publish:
            port = self._ports.take(what, wanted, one.name, endpoint.network.options.host_binding)
            one.ports += (port,)
            self._proxy.listen(what, port, (str(endpoint.address), port.port))
            self._note(
                f"docker-proxy -proto {port.protocol} -host-ip {port.host_ip} -host-port {port.host_port} "
                f"-container-ip {endpoint.address} -container-port {port.port} &"
                if self.userland_proxy
                else ""
            )
        if one.ports:
            self._apply(self._rules_of_ports(one))

    def _unpublish(self, one: Container) -> None:
        if not one.ports:
            return
        self._withdraw(self._rules_of_ports(one))
        self._forget_connections(one)
        for port in one.ports:
            self._proxy.close(port)
            self._ports.release(port)
        one.ports = ()

    def _forget_connections(self, one: Container) -> None:
        """Flows that a rule has led to the container are led there no longer: a rule decides on a flow's first packet
        only, and one of UDP never ends."""
        if one.gateway is not None:
            with suppress(LabkitError):
                conntrack.delete(reply_src=str(one.gateway.address), namespace=self.host)
            self._note(f"conntrack -D -r {one.gateway.address}")

    def _rules_of_ports(self, one: Container) -> list[Rule]:
        if one.gateway is None:
            return []
        bridge, ip = one.gateway.network.bridge, one.gateway.address
        return [
            rule
            for port in one.ports
            for rule in rules.published(
                bridge,
                ip,
                port.port,
                port.protocol,
                port.host_ip,
                port.host_port,
                userland_proxy=self.userland_proxy,
            )
        ]

    # Names

    def _serve_names(self, one: Container) -> None:
        if self._resolver is None:
            self._resolver = dns.Resolver()
        self._resolver.serve(one.name)
        one.served = True

    def _tell_names(self) -> None:
        if self._resolver is not None:
            self._resolver.update(
                dns.Endpoint(name, one.name, str(endpoint.address), endpoint.aliases)
                for one in self._containers.values()
                for name, endpoint in one.endpoints.items()
                if endpoint.network.has_names
            )

    # What the kernel is told, and noted as commands

    def _note(self, *commands: str) -> None:
        for command in filter(None, commands):
            self._last.append(command)
            self._all.append(command)

    def _perform(self, *operations: Operation) -> None:
        perform(operations)
        self._note(*(operation.command for operation in operations if operation.verb != "show"))

    def _set(self, settings: dict[str, str], *, keep: bool = True) -> None:
        """Sysctls of the host are as stated; what they were comes back at the end if they are to be kept in mind."""
        within = "" if self.host == "host" else f"ip netns exec {self.host} "
        with namespaces.enter(self.host):
            for key, value in settings.items():
                before = sysctl.read(key)
                if before != value:
                    sysctl.write({key: value})
                    self._note(f"{within}sysctl -w {key}={value}")
                    if keep:
                        self._before.setdefault(key, before)

    def _apply(self, changes: list[Rule]) -> None:
        iptables.apply(rules.text(changes), namespace=self.host, backend=self._backend, put_back=False)
        within = "" if self.host == "host" else f"ip netns exec {self.host} "
        self._note(*(within + rule.command for rule in changes))

    def _withdraw(self, written: Iterable[Rule]) -> None:
        """The rules are gone; those that somebody has deleted already are none of our business."""
        there = self._there()
        gone = [rule for rule in rules.without(written) if (rule.table, rule.words) in there]
        if gone:
            self._apply(gone)

    def _jumps_to_the_front(self) -> list[Rule]:
        there = self._there()
        moved = [rule for rule in rules.JUMPS if (rule.table, rule.words) in there]
        return [*rules.without(moved), *rules.JUMPS]

    def _there(self) -> set[tuple[str, str]]:
        """Return the rules that are in the tables now: ("filter", "FORWARD -j DOCKER-USER")."""
        table, found = "", set()
        for line in iptables.save(namespace=self.host, backend=self._backend).splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif " -A " in line:
                found.add((table, line.partition(" -A ")[2]))
        return found

    def _every_rule(self) -> Iterator[Rule]:
        yield from self._ours
        for network in self._networks.values():
            if network.pool:
                yield from self._rules_of(network)
        for one in self._containers.values():
            yield from self._rules_of_ports(one)

    def _ip_of(self, to: str) -> str:
        return self.ip(to) if to in self._containers or to in self._networks else to


def _list(found: Iterable[str]) -> str:
    return ", ".join(found) or "none"


def _at_exit(process: int) -> None:
    if os.getpid() == process:
        clear()


atexit.register(_at_exit, os.getpid())
