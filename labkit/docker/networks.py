"""Networks: what is a Docker network, and what may be asked of a new one?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from labkit.docker import ipam
from labkit.docker.rules import ANY
from labkit.errors import Duplicate, WrongUse
from labkit.net import names

__all__ = ["DEFAULT", "Network", "Options", "check_name", "identity", "new", "plain"]

DEFAULT = "bridge"  # the network of a container that names none
PREDEFINED = (DEFAULT, "host", "none")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


def identity(kind: str, name: str) -> str:
    """Return twelve hexadecimal digits for a network or a container: Docker's are random, these follow from the name,
    so that two runs look the same."""
    return hashlib.blake2b(f"docker {kind} {name}".encode(), digest_size=6).hexdigest()


def check_name(what: str, name: str, least: int = 1) -> None:
    """Raises WrongUse where Docker would not take the name."""
    if not _NAME.fullmatch(name) or len(name) < least:
        raise WrongUse(
            f"{what}: not a usable name",
            "Docker's names begin with a letter or a digit; then letters, digits, '_', '.' and '-'"
            + (", at least one" if least > 1 else ""),
        )


@dataclass(frozen=True)
class Options:
    """What `docker network create` can be asked for. Those without a flag of their own are Docker's
    `-o com.docker.network.bridge.NAME`: icc (enable_icc), masquerade (enable_ip_masquerade), bridge (name),
    host_binding (host_binding_ipv4), and mtu (com.docker.network.driver.mtu)."""

    subnet: str | None = None
    gateway: str | None = None
    ip_range: str | None = None
    internal: bool = False
    icc: bool = True
    masquerade: bool = True
    bridge: str | None = None
    host_binding: str = ANY
    mtu: int = 1500


@dataclass(eq=False, repr=False)
class Network:
    """A network. `bridge` is its link on the host; the networks `host` and `none` have neither bridge nor addresses.

    `commands`: what made it, as shell commands."""

    name: str
    id: str
    driver: str = "bridge"
    bridge: str = ""
    pool: ipam.Pool | None = None
    options: Options = Options()
    commands: tuple[str, ...] = ()
    members: dict[str, str] = field(default_factory=dict)  # container -> its address, while it runs

    @property
    def addresses(self) -> ipam.Pool:
        """The addresses of a bridge network."""
        assert self.pool is not None
        return self.pool

    @property
    def subnet(self) -> IPv4Network:
        """The subnet of a bridge network."""
        return self.addresses.subnet

    @property
    def has_names(self) -> bool:
        """Whether containers on it find each other by name: on user-defined networks they do."""
        return self.driver == "bridge" and self.name != DEFAULT

    @property
    def bridge_mac(self) -> str:
        """The bridge's MAC: 02:42 and four bytes, which are random in Docker and follow from the name here."""
        return "02:42:" + ":".join(names.mac(f"docker {self.name}").split(":")[2:])

    def __repr__(self) -> str:
        if self.pool is None:
            return f"network '{self.name}'"
        more = [
            word for word, holds in (("internal", self.options.internal), ("icc off", not self.options.icc)) if holds
        ]
        told = f"network '{self.name}': {self.bridge}, {self.subnet}, gateway {self.pool.gateway}"
        return ", ".join([told, *more])


def plain() -> list[Network]:
    """Return the two networks that have no bridge."""
    return [Network(name, identity("network", name), driver) for name, driver in (("host", "host"), ("none", "null"))]


def new(
    what: str,
    name: str,
    options: Options,
    there: Iterable[Network],
    in_use: Iterable[IPv4Network] = (),
    after: IPv4Network | None = None,
) -> Network:
    """Return a new bridge network as data. `in_use`: the host's own subnets, which no pool of Docker's may overlap.
    `after`: the pool that Docker took last.

    Raises WrongUse, Duplicate, Unavailable."""
    others = list(there)
    check_name(what, name)
    if name in (network.name for network in others):
        raise Duplicate(f"{what}: the name is taken", f"networks there: {', '.join(other.name for other in others)}")
    subnets = [(other.name, other.subnet) for other in others if other.pool]
    if options.subnet is not None:
        subnet = ipam.network_of(what, options.subnet)
        ipam.check_overlap(what, subnet, subnets)
    elif options.gateway or options.ip_range:
        raise WrongUse(f"{what}: a gateway or a range without a subnet", "state the subnet too: subnet='10.1.0.0/24'")
    else:
        subnet = ipam.free_subnet(what, [*(used for _, used in subnets), *in_use], after)
    made = Network(name, identity("network", name), options=options)
    made.bridge = _bridge(what, made, others)
    names.check_mtu(what, options.mtu)
    ipam.address_of(what, options.host_binding)
    made.pool = ipam.pool(what, subnet, options.ip_range, options.gateway)
    return made


def _bridge(what: str, network: Network, others: Iterable[Network]) -> str:
    usual = "docker0" if network.name == DEFAULT else f"br-{network.id}"
    bridge = names.check_link(what, network.options.bridge or usual)
    for other in others:
        if bridge == other.bridge:
            raise Duplicate(f"{what}: bridge '{bridge}' is that of network '{other.name}'", "choose another bridge")
    return bridge
