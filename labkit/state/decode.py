"""From the kernel's bytes to records: what does each attribute mean?

Attribute numbers and names: include/uapi/linux/if_link.h, rtnetlink.h, neighbour.h, fib_rules.h; words: iproute2.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping

from labkit.net.netlink import Record, attributes
from labkit.state.records import Address, Details, FdbEntry, Link, Neighbour, Route, Rule, Value

__all__ = ["address", "fdb_entry", "link", "names_by_index", "neighbour", "route", "rule"]

_FAMILIES = {socket.AF_INET: "inet", socket.AF_INET6: "inet6"}
_LINK_FLAGS = {
    1 << 1: "BROADCAST",
    1 << 3: "LOOPBACK",
    1 << 4: "POINTOPOINT",
    1 << 12: "MULTICAST",
    1 << 7: "NOARP",
    1 << 9: "ALLMULTI",
    1 << 8: "PROMISC",
    1 << 10: "MASTER",
    1 << 11: "SLAVE",
    1 << 0: "UP",
    1 << 16: "LOWER_UP",
    1 << 17: "DORMANT",
}
_OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")
_LINK_TYPES = {1: "ether", 512: "ppp", 768: "ipip", 769: "tunnel6", 772: "loopback", 776: "sit", 778: "gre",
               823: "gre6", 65534: "none"}  # fmt: skip
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
_ROUTE_TYPES = ("unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable",
                "prohibit", "throw", "nat", "xresolve")  # fmt: skip
_PROTOCOLS = {0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt",
              11: "zebra", 12: "bird", 13: "dnrouted", 14: "xorp", 15: "ntk", 16: "dhcp", 18: "keepalived",
              42: "babel", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp"}  # fmt: skip
_TABLES = {0: "unspec", 253: "default", 254: "main", 255: "local"}
_ROUTE_FLAGS = {1: "dead", 2: "pervasive", 4: "onlink", 16: "linkdown", 32: "unresolved"}
_ADDRESS_FLAGS = {1: "secondary", 8: "dadfailed", 0x40: "tentative", 0x200: "noprefixroute"}
_NEIGHBOUR_STATES = {1: "INCOMPLETE", 2: "REACHABLE", 4: "STALE", 8: "DELAY", 16: "PROBE", 32: "FAILED", 64: "NOARP",
                     128: "PERMANENT"}  # fmt: skip
_NEIGHBOUR_FLAGS = {2: "self", 4: "master", 8: "proxy", 16: "extern_learn", 32: "offload", 64: "sticky", 128: "router"}
IP_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp"}
_RULE_ACTIONS = {1: "lookup", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}

_PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
_PORT = {2: "priority", 3: "cost", 4: "hairpin", 5: "guard", 6: "root_block", 7: "fastleave", 8: "learning",
         9: "flood", 10: "proxy_arp", 11: "proxy_arp_wifi", 27: "mcast_flood", 30: "bcast_flood",
         32: "neigh_suppress", 33: "isolated", 40: "locked"}  # fmt: skip
_BRIDGE = {1: "forward_delay", 2: "hello_time", 3: "max_age", 4: "ageing_time", 5: "stp_state", 6: "priority",
           7: "vlan_filtering", 23: "mcast_snooping"}  # fmt: skip
_VXLAN = {1: "id", 5: "ttl", 7: "learning", 8: "ageing", 15: "port", 12: "proxy", 20: "collect_metadata"}
_MACVLAN_MODES = {1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}
_IPVLAN_MODES = ("l2", "l3", "l3s")
_UNSPECIFIED = (socket.inet_ntoa(bytes(4)), "::")
_DISABLE_IPV6 = 26
_DEVCONF = {1: "forwarding", 3: "proxy_arp", 8: "rp_filter", 18: "arp_announce", 19: "arp_ignore", 22: "arp_accept"}


def link(record: Record, names: Mapping[int, str]) -> Link:
    """Return the link that an RTM_NEWLINK message tells of; `names` are the namespace's links by index."""
    header, tells = record.header, record.attributes
    info = attributes(tells.get(18, b""))  # IFLA_LINKINFO
    kind = _text(info.get(1))
    below = _number(tells.get(5))  # IFLA_LINK
    netnsid = _number(tells.get(37), signed=True)
    lower = names.get(below) if below and netnsid is None else None
    return Link(
        ifindex=header.ifindex,
        ifname=names[header.ifindex],
        flags=_words(header.flags, _LINK_FLAGS),
        mtu=_number(tells.get(4)) or 0,
        operstate=_OPERSTATES[_number(tells.get(16)) or 0],
        link_type=_LINK_TYPES.get(header.type, str(header.type)),
        address=_lladdr(tells.get(1), header.type),
        kind=kind,
        master=names.get(_number(tells.get(10)) or 0),
        link=lower if kind != "veth" else None,
        link_index=below or None,
        link_netnsid=netnsid if netnsid is not None and netnsid >= 0 else None,
        group=_number(tells.get(27)) or 0,
        details=_details(kind, attributes(info.get(2, b"")), names),
        port=_port(attributes(info.get(5, b""))) if _text(info.get(4)) == "bridge" else Details(),
        sysctls=_link_sysctls(tells.get(26, b"")),
    )


def address(record: Record, names: Mapping[int, str]) -> Address:
    """Return the address that an RTM_NEWADDR message tells of."""
    header, tells = record.header, record.attributes
    family = _FAMILIES[header.family]
    local, peer = tells.get(2), tells.get(1)  # IFA_LOCAL, IFA_ADDRESS: equal but on point-to-point links
    flags = _words(_number(tells.get(8)) or header.flags, _ADDRESS_FLAGS)
    return Address(
        ifname=names.get(header.ifindex, f"if{header.ifindex}"),
        family=family,
        local=_ip(local or peer) or "",
        prefixlen=header.prefixlen,
        scope=_SCOPES.get(header.scope, str(header.scope)),
        peer=_ip(peer) if local and peer != local else None,
        broadcast=_ip(tells.get(4)),
        flags=tuple("temporary" if flag == "secondary" and family == "inet6" else flag for flag in flags),
    )


def route(record: Record, names: Mapping[int, str]) -> Route:
    """Return the route that an RTM_NEWROUTE message tells of."""
    header, tells = record.header, record.attributes
    table = _number(tells.get(15)) or header.table
    metrics = attributes(tells.get(8, b""))
    return Route(
        dst=_prefix(tells.get(1), header.dst_len, header.family, "default"),
        family=_FAMILIES.get(header.family, str(header.family)),
        type=_ROUTE_TYPES[header.type] if header.type < len(_ROUTE_TYPES) else str(header.type),
        gateway=_gateway(tells),
        dev=_device(tells.get(4), names),
        table=_TABLES.get(table, str(table)),
        protocol=_PROTOCOLS.get(header.protocol, str(header.protocol)),
        scope=_SCOPES.get(header.scope, str(header.scope)),
        prefsrc=_ip(tells.get(7)),
        src=_prefix(tells[2], header.src_len, header.family, "") if 2 in tells else None,
        metric=_number(tells.get(6)),
        mtu=_number(metrics.get(2)),
        flags=_words(header.flags, _ROUTE_FLAGS),
        nexthops=tuple(_nexthops(tells.get(9, b""), names)),
    )


def neighbour(record: Record, names: Mapping[int, str]) -> Neighbour:
    """Return the neighbour entry that an RTM_NEWNEIGH message of IPv4 or IPv6 tells of."""
    header, tells = record.header, record.attributes
    return Neighbour(
        dst=_ip(tells.get(1)) or "",
        dev=names.get(header.ifindex, "*"),
        lladdr=_lladdr(tells.get(2), 1) or None,
        state=" ".join(_words(header.state, _NEIGHBOUR_STATES)) or "NONE",
        flags=_words(header.flags, _NEIGHBOUR_FLAGS),
        family=_FAMILIES[header.family],
    )


def fdb_entry(record: Record, names: Mapping[int, str]) -> FdbEntry:
    """Return the FDB entry that an RTM_NEWNEIGH message of family AF_BRIDGE tells of."""
    header, tells = record.header, record.attributes
    state = "permanent" if header.state & 128 else "static" if header.state & 64 else ""
    return FdbEntry(
        mac=_lladdr(tells.get(2), 1) or "00:00:00:00:00:00",
        ifname=names.get(header.ifindex, f"if{header.ifindex}"),
        state=state,
        flags=_words(header.flags & ~4, _NEIGHBOUR_FLAGS),
        master=names.get(_number(tells.get(9)) or 0),
        dst=_ip(tells.get(1)),
        vlan=_number(tells.get(5)),
        port=_number(tells.get(6), big=True),
        vni=_number(tells.get(7)),
    )


def rule(record: Record, names: Mapping[int, str]) -> Rule:  # noqa: ARG001
    """Return the rule that an RTM_NEWRULE message tells of."""
    header, tells = record.header, record.attributes
    table = _number(tells.get(15)) or header.table
    return Rule(
        priority=_number(tells.get(6)) or 0,
        src=_prefix(tells.get(2), header.src_len, header.family, "all"),
        dst=_prefix(tells[1], header.dst_len, header.family, "all") if 1 in tells else None,
        table=_TABLES.get(table, str(table)) if header.type == 1 else None,
        action=_RULE_ACTIONS.get(header.type, str(header.type)),
        family=_FAMILIES.get(header.family, str(header.family)),
        iif=_text(tells.get(3)) or None,
        oif=_text(tells.get(17)) or None,
        fwmark=_number(tells.get(10)),
        fwmask=_number(tells.get(16)) if 10 in tells else None,
        inverted=bool(header.flags & 2),
        ipproto=IP_PROTOCOLS.get(number, str(number)) if (number := _number(tells.get(22))) else None,
        sport=_ports(tells.get(23)),
        dport=_ports(tells.get(24)),
    )


def _ports(data: bytes | None) -> tuple[int, int] | None:
    """struct fib_rule_port_range: the first and the last, u16 each."""
    return (_at16(data, 0), _at16(data, 2)) if data else None


def _at16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], sys.byteorder)


def _details(kind: str, data: dict[int, bytes], names: Mapping[int, str]) -> Details:
    facts: dict[str, Value] = {}
    if kind == "bridge":
        facts = {name: _number(data[number]) or 0 for number, name in _BRIDGE.items() if number in data}
    elif kind == "vxlan":
        for number, name in _VXLAN.items():
            if number in data:
                facts[name] = _number(data[number], big=name == "port") or 0
        facts.update({name: bool(facts[name]) for name in ("learning", "proxy") if name in facts})
        for name, numbers in {"group": (2, 16), "local": (4, 17)}.items():
            for number in numbers:
                if ip := _ip(data.get(number)):
                    facts[name if name == "local" or _is_group(ip) else "remote"] = ip
        if below := _device(data.get(3), names):
            facts["link"] = below
    elif kind in ("macvlan", "macvtap") and 1 in data:
        facts = {"mode": _MACVLAN_MODES.get(_number(data[1]) or 0, "?")}
    elif kind == "ipvlan" and 1 in data:
        facts = {"mode": _IPVLAN_MODES[_number(data[1]) or 0]}
    elif kind == "vlan" and 1 in data:
        facts = {"id": _number(data[1]) or 0}
    elif kind == "vrf" and 1 in data:
        facts = {"table": _number(data[1]) or 0}
    elif kind in ("ipip", "sit", "ip6tnl"):
        facts = _stated({"local": _ip(data.get(2)), "remote": _ip(data.get(3))})
    elif kind in ("gre", "gretap", "ip6gre", "ip6gretap"):
        facts = _stated({"local": _ip(data.get(6)), "remote": _ip(data.get(7))})
        if key := _number(data.get(5), big=True):  # IFLA_GRE_OKEY
            facts["key"] = key
    elif kind == "geneve":
        facts = {"id": _number(data.get(1)) or 0, **_stated({"remote": _ip(data.get(2)) or _ip(data.get(7))})}
        facts["port"] = _number(data.get(5), big=True) or 0
    return Details(facts)


def _stated(addresses: Mapping[str, str | None]) -> dict[str, Value]:
    """Those that are there: a tunnel without a remote has 0.0.0.0."""
    return {name: ip for name, ip in addresses.items() if ip and ip not in _UNSPECIFIED}


def _is_group(ip: str) -> bool:
    return ip.lower().startswith("ff") if ":" in ip else 224 <= int(ip.partition(".")[0]) <= 239


def _port(data: dict[int, bytes]) -> Details:
    facts: dict[str, Value] = {"state": _PORT_STATES[_number(data.get(1)) or 0]}
    for number, name in _PORT.items():
        if number in data:
            value = _number(data[number]) or 0
            facts[name] = value if name in ("priority", "cost") else bool(value)
    return Details(facts)


def _link_sysctls(spec: bytes) -> Details:
    """net.ipv4.conf.LINK.* that are not 0, and net.ipv6.conf.LINK.disable_ipv6: the kernel tells them with the link."""
    families = attributes(spec)  # IFLA_AF_SPEC
    data = attributes(families.get(socket.AF_INET, b"")).get(1, b"")  # IFLA_INET_CONF: an array from 1
    facts: dict[str, Value] = {
        name: _at(data, number - 1) for number, name in _DEVCONF.items() if _at(data, number - 1)
    }
    data = attributes(families.get(socket.AF_INET6, b"")).get(2, b"")  # IFLA_INET6_CONF: an array from 0
    if data:
        facts["disable_ipv6"] = _at(data, _DISABLE_IPV6)
    return Details(facts)


def _at(array: bytes, index: int) -> int:
    return int.from_bytes(array[4 * index : 4 * index + 4], sys.byteorder)


def _nexthops(data: bytes, names: Mapping[int, str]) -> list[tuple[str | None, str | None, int]]:
    hops: list[tuple[str | None, str | None, int]] = []
    while len(data) >= 8:  # struct rtnexthop: u16 length, u8 flags, u8 weight - 1, int ifindex
        length = int.from_bytes(data[:2], sys.byteorder)
        hops.append((_gateway(attributes(data[8:length])), _device(data[4:8], names), data[3] + 1))
        data = data[length + 3 & ~3 :]
    return hops


def _gateway(tells: Mapping[int, bytes]) -> str | None:
    other = tells.get(18)  # RTA_VIA: u16 family, then an address of that family
    return _ip(tells.get(5)) or (_ip(other[2:]) if other else None)


def _device(data: bytes | None, names: Mapping[int, str]) -> str | None:
    index = _number(data)
    return names.get(index, f"if{index}") if index else None


def _prefix(data: bytes | None, length: int, family: int, empty: str) -> str:
    if data is None or (length == 0 and empty == "all"):
        return empty
    if length == 0 and data.strip(b"\0") == b"":
        return "default"
    whole = 32 if family == socket.AF_INET else 128
    return _ip(data) or "" if length == whole else f"{_ip(data)}/{length}"


def _ip(data: bytes | None) -> str | None:
    if not data or len(data) not in (4, 16):
        return None
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def _lladdr(data: bytes | None, link_type: int) -> str:
    if not data:
        return ""
    if link_type in (768, 776, 778, 769, 823) and len(data) in (4, 16):  # tunnels: an IP address
        return _ip(data) or ""
    return data.hex(":")


def _number(data: bytes | None, *, signed: bool = False, big: bool = False) -> int | None:
    return None if data is None else int.from_bytes(data, "big" if big else sys.byteorder, signed=signed)


def _text(data: bytes | None) -> str:
    return (data or b"").split(b"\0")[0].decode(errors="replace")


def _words(bits: int, table: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(word for bit, word in table.items() if bits & bit)


def names_by_index(records: list[Record]) -> dict[int, str]:
    """Return each link's name by its index: what other tables mean by a number."""
    return {record.header.ifindex: _text(record.attributes.get(3)) for record in records}
