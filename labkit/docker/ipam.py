"""IPAM: which subnet does a network get, and which address a container?

Docker goes round its pools: it takes the next one, after the last that it took, that nothing on the host uses. In it,
it takes the lowest address that is free.
Source: libnetwork, ipam/allocator.go and ipamutils/utils.go, as in Docker 20.10; tried with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from labkit.errors import Duplicate, Unavailable, WrongUse

__all__ = ["POOLS", "Pool", "address_of", "check_overlap", "free_subnet", "mac_of", "network_of", "pool"]

POOLS = (  # 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 to 192.168.240.0/20
    *(IPv4Network(f"172.{second}.0.0/16") for second in range(17, 32)),
    *IPv4Network("192.168.0.0/16").subnets(new_prefix=20),
)


def mac_of(address: IPv4Address) -> str:
    """Return the MAC of a container's interface: 02:42, then the four bytes of its address.

    So a container that gets an address again has the MAC that its neighbours remember.
    Source: libnetwork, netutils/utils.go, GenerateMACFromIP."""
    return "02:42:" + address.packed.hex(":")


def free_subnet(what: str, used: Iterable[IPv4Network], after: IPv4Network | None = None) -> IPv4Network:
    """Return the first of Docker's pools that overlaps none of `used`, going round from the one that comes `after`.

    Raises Unavailable."""
    taken = list(used)
    start = POOLS.index(after) + 1 if after else 0
    for candidate in (*POOLS[start:], *POOLS[:start]):
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise Unavailable(f"{what}: all {len(POOLS)} address pools are in use", "state one: subnet='10.1.0.0/24'")


def network_of(what: str, text: str) -> IPv4Network:
    """Return the IPv4 subnet in `text`, host bits left out. `what` opens the sentence of the WrongUse raised."""
    try:
        return IPv4Network(text, strict=False)
    except ValueError as error:
        raise WrongUse(f"{what}: '{text}' is not an IPv4 subnet", "write it as 10.1.0.0/24") from error


def address_of(what: str, text: str) -> IPv4Address:
    """Return the IPv4 address in `text`. Raises WrongUse."""
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise WrongUse(f"{what}: '{text}' is not an IPv4 address", "write it as 10.1.0.2") from error


@dataclass
class Pool:
    """The addresses of one network. New ones come from `within`, which is the subnet or a part of it."""

    subnet: IPv4Network
    within: IPv4Network
    gateway: IPv4Address
    taken: set[IPv4Address] = field(default_factory=set)

    def take(self, what: str, wanted: IPv4Address | None = None) -> IPv4Address:
        """Take the lowest address that is free, or `wanted`. Raises Unavailable, Duplicate, WrongUse."""
        if wanted is None:
            wanted = self._lowest(what)
        elif wanted not in self.subnet:
            raise WrongUse(f"{what}: address {wanted} is not in the network's subnet", f"its subnet: {self.subnet}")
        elif wanted in self.taken:
            raise Duplicate(f"{what}: address {wanted} is in use", f"in use: {self.told()}")
        self.taken.add(wanted)
        return wanted

    def _lowest(self, what: str) -> IPv4Address:
        for number in range(int(self.within[0]), int(self.within[-1]) + 1):
            if IPv4Address(number) not in self.taken:
                return IPv4Address(number)
        raise Unavailable(f"{what}: no address is free in {self.within}", f"in use: {self.told()}")

    def told(self) -> str:
        """Return the addresses in use, as a hint shows them: the subnet's first and last are never given away."""
        used = [str(address) for address in sorted(self.taken)]
        return ", ".join(used if len(used) <= 6 else [*used[:5], f"and {len(used) - 5} more"])


def pool(what: str, subnet: IPv4Network, ip_range: str | None = None, gateway: str | None = None) -> Pool:
    """Return the pool of a new network, its gateway's address taken: the lowest free one, unless it is stated.

    `ip_range`: the part of the subnet that addresses come from; its first and last may then be given away too.
    Raises WrongUse, Unavailable."""
    within = subnet if ip_range is None else network_of(what, ip_range)
    if not within.subnet_of(subnet):
        raise WrongUse(f"{what}: the range {within} is not in the subnet {subnet}", "a range is a part of the subnet")
    made = Pool(subnet, within, subnet[0], {subnet[0], subnet[-1]})
    wanted = None if gateway is None else address_of(what, gateway)
    made.gateway = made.take(f"{what}: no gateway", wanted)
    return made


def check_overlap(what: str, subnet: IPv4Network, networks: Iterable[tuple[str, IPv4Network]]) -> None:
    """Raises Duplicate where `subnet` overlaps that of another network."""
    for name, other in networks:
        if subnet.overlaps(other):
            raise Duplicate(f"{what}: subnet {subnet} overlaps {other} of network '{name}'", "choose another subnet")
