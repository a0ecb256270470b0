"""One kernel object, one frozen record, in the words of `ip -json` and `bridge -json`.

Counters and timers are left out, so that what did not change compares equal. Addresses are text as `ip` prints them,
devices are names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["Address", "Details", "Entry", "FdbEntry", "Link", "Neighbour", "Record", "Route", "Rule", "Value"]

Value = str | int | bool

# Appear by themselves in every new namespace once their module is loaded.
FALLBACK_DEVICES = frozenset(
    (
        "tunl0",
        "sit0",
        "gre0",
        "gretap0",
        "erspan0",
        "ip_vti0",
        "ip6_vti0",
        "ip6tnl0",
        "ip6gre0",
        "teql0",
        "ifb0",
        "ifb1",
        "dummy0",
        "bond0",
    )
)


class Details(Mapping[str, Value]):
    """Facts that only some kinds of links have: an immutable dict, in the names of `ip -d -json`."""

    __slots__ = ("_facts",)

    def __init__(self, facts: Mapping[str, Value] | None = None) -> None:
        self._facts: dict[str, Value] = dict(facts or {})

    def __getitem__(self, key: str) -> Value:
        return self._facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __hash__(self) -> int:
        return hash(frozenset(self._facts.items()))

    def __repr__(self) -> str:
        return repr(self._facts)


NO_DETAILS = Details()


@dataclass(frozen=True, slots=True)
class Link:
    """A link (interface, device). Same as a line of: ip -details link show

    `kind` is "veth", "bridge", "vxlan"...; "" for a loopback or a real card. `peer` is a veth's other end as
    (namespace, name), or None where no visible namespace holds it. `link` is the device below, where there is one.
    `details` holds what this kind alone has, `port` what a bridge knows of its port."""

    ifindex: int
    ifname: str
    flags: tuple[str, ...] = ()
    mtu: int = 1500
    operstate: str = "UNKNOWN"
    link_type: str = "ether"
    address: str = ""
    kind: str = ""
    master: str | None = None
    link: str | None = None
    link_index: int | None = None
    link_netnsid: int | None = None
    peer: tuple[str, str] | None = None
    group: int = 0
    details: Details = NO_DETAILS
    port: Details = NO_DETAILS
    sysctls: Details = NO_DETAILS

    @property
    def is_up(self) -> bool:
        """Whether it was set up. Whether frames pass is `has_carrier`."""
        return "UP" in self.flags

    @property
    def has_carrier(self) -> bool:
        """Whether it is up and its other end is up too."""
        return "LOWER_UP" in self.flags and self.is_up

    @property
    def state(self) -> str:
        """ "up", "down", or "no carrier": set up, but the other end is not."""
        return "down" if not self.is_up else "up" if self.has_carrier else "no carrier"

    @property
    def is_fallback(self) -> bool:
        """Whether it came by itself (tunl0, sit0...) and nobody set it up: pictures leave it out."""
        return self.ifname in FALLBACK_DEVICES and not self.is_up

    @property
    def text(self) -> str:
        """One line: name, state, kind, address."""
        words = [self.ifname, self.state.upper().replace(" ", "-"), self.kind or self.link_type, self.address]
        words.append(f"mtu {self.mtu}")
        if self.master:
            words.append(f"master {self.master}")
        if self.peer:
            words.append(f"peer {self.peer[1]} in {self.peer[0]}")
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Address:
    """An address on a link. Same as an `inet` line of: ip address show"""

    ifname: str
    family: str
    local: str
    prefixlen: int
    scope: str = "global"
    peer: str | None = None
    broadcast: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As `ip -brief address` writes it: 10.0.0.2/24"""
        return f"{self.local} peer {self.peer}/{self.prefixlen}" if self.peer else f"{self.local}/{self.prefixlen}"


@dataclass(frozen=True, slots=True)
class Route:
    """A route. Same as a line of: ip -details route show table all

    `nexthops` holds (gateway, dev, weight) of a route with several next hops, which then has no `gateway` and `dev`."""

    dst: str
    family: str = "inet"
    type: str = "unicast"
    gateway: str | None = None
    dev: str | None = None
    table: str = "main"
    protocol: str = "boot"
    scope: str = "global"
    prefsrc: str | None = None
    src: str | None = None
    metric: int | None = None
    mtu: int | None = None
    flags: tuple[str, ...] = ()
    nexthops: tuple[tuple[str | None, str | None, int], ...] = ()

    @property
    def text(self) -> str:
        """As `ip route` writes it: default via 10.0.0.1 dev eth0"""
        words = [] if self.type == "unicast" else [self.type]
        words.append(self.dst)
        if self.src:
            words.append(f"from {self.src}")
        if self.gateway:
            words.append(f"via {self.gateway}" if self.gateway_is_own_family else f"via inet6 {self.gateway}")
        if self.dev:
            words.append(f"dev {self.dev}")
        if self.table != "main":
            words.append(f"table {self.table}")
        if self.protocol not in ("boot", "unspec"):
            words.append(f"proto {self.protocol}")
        if self.family == "inet" and self.scope != "global":
            words.append(f"scope {self.scope}")
        if self.prefsrc:
            words.append(f"src {self.prefsrc}")
        if self.metric:
            words.append(f"metric {self.metric}")
        if self.mtu:
            words.append(f"mtu {self.mtu}")
        words += [
            " ".join(
                ["nexthop", *([f"via {via}"] if via else []), *([f"dev {dev}"] if dev else []), f"weight {weight}"]
            )
            for via, dev, weight in self.nexthops
        ]
        return " ".join([*words, *self.flags])

    @property
    def gateway_is_own_family(self) -> bool:
        """False for an IPv4 route by an IPv6 next hop."""
        return self.gateway is None or (":" in self.gateway) == (self.family == "inet6")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Who has this IP address on this link. Same as a line of: ip neighbour show"""

    dst: str
    dev: str
    lladdr: str | None = None
    state: str = "NONE"
    flags: tuple[str, ...] = ()
    family: str = "inet"

    @property
    def standing(self) -> str:
        """`state` without its ageing: "permanent", "noarp", "learned" (REACHABLE, STALE, DELAY, PROBE) or
        "unanswered" (INCOMPLETE, FAILED)."""
        standing = {"PERMANENT": "permanent", "NOARP": "noarp", "INCOMPLETE": "unanswered", "FAILED": "unanswered"}
        return "proxy" if "proxy" in self.flags else standing.get(self.state, "learned")

    @property
    def text(self) -> str:
        """As `ip neighbour` writes it, with its standing in place of its age."""
        lladdr = f" lladdr {self.lladdr}" if self.lladdr else ""
        return f"{self.dst} dev {self.dev}{lladdr} {self.standing}"


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """Where frames for this MAC go. Same as a line of: bridge fdb show

    `state` is "permanent" (the port's own, or added by hand), "static" (added by hand) or "" (learned)."""

    mac: str
    ifname: str
    state: str = ""
    flags: tuple[str, ...] = ()
    master: str | None = None
    dst: str | None = None
    vlan: int | None = None
    port: int | None = None
    vni: int | None = None

    @property
    def is_multicast(self) -> bool:
        """Whether the MAC is a group's: the kernel's own subscriptions, which tables leave out."""
        return bool(int(self.mac[:2], 16) & 1)

    @property
    def text(self) -> str:
        """As `bridge fdb` writes it; a learned entry, which there has no word, says so."""
        words = [self.mac, f"dev {self.ifname}"]
        words += [f"dst {self.dst}"] if self.dst else []
        words += [f"port {self.port}"] if self.port else []
        words += [f"vni {self.vni}"] if self.vni else []
        words += [f"vlan {self.vlan}"] if self.vlan else []
        words += [f"master {self.master}"] if self.master else []
        words += list(self.flags)
        return " ".join([*words, self.state or "learned"])


@dataclass(frozen=True, slots=True)
class Rule:
    """Which routing table is asked, in order of `priority`. Same as a line of: ip rule show

    `sport`, `dport`: the first and the last port of a range."""

    priority: int
    src: str = "all"
    dst: str | None = None
    table: str | None = "main"
    action: str = "lookup"
    family: str = "inet"
    iif: str | None = None
    oif: str | None = None
    fwmark: int | None = None
    fwmask: int | None = None
    inverted: bool = False
    ipproto: str | None = None
    sport: tuple[int, int] | None = None
    dport: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        """As `ip rule` writes it: 32766: from all lookup main"""
        words = ["not"] if self.inverted else []
        words.append(f"from {self.src}")
        words += [f"to {self.dst}"] if self.dst else []
        if self.fwmark is not None:
            mask = "" if self.fwmask in (None, 0xFFFFFFFF) else f"/{self.fwmask:#x}"
            words.append(f"fwmark {self.fwmark:#x}{mask}")
        words += [f"iif {self.iif}"] if self.iif else []
        words += [f"oif {self.oif}"] if self.oif else []
        words += [f"ipproto {self.ipproto}"] if self.ipproto else []
        for name, ports in (("sport", self.sport), ("dport", self.dport)):
            words += (
                [f"{name} {ports[0]}" if ports[0] == ports[1] else f"{name} {ports[0]}-{ports[1]}"] if ports else []
            )
        words.append(f"lookup {self.table}" if self.action == "lookup" else self.action)
        return f"{self.priority}: {' '.join(words)}"


Entry = Address | Route | Neighbour | FdbEntry | Rule
Record = Link | Entry
