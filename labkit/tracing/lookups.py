"""What would the kernel do? Its own answers, asked in the namespace that decided.

Source: rtnetlink(7), include/uapi/linux/rtnetlink.h (RTM_GETROUTE, RTM_F_FIB_MATCH); proc(5) on /proc/net.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

from labkit.net import namespace as namespaces
from labkit.net import netlink
from labkit.net.netlink import attribute
from labkit.packets import links
from labkit.packets.inside import inside
from labkit.state import decode
from labkit.state.records import Route

__all__ = ["Answer", "counters_here", "link_mac", "listens", "look_up", "route"]

_LOOKUP_TABLE, _FIB_MATCH = 0x1000, 0x2000
_LISTENING = {"tcp": "0A", "udp": "07"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route lookup said. `resolved`: where to; `entry`: the table's entry that matched; `errno`: its refusal."""

    resolved: Route | None = None
    entry: Route | None = None
    errno: int = 0
    command: str = ""

    @property
    def words(self) -> str:
        """The entry as `ip route` writes it, or the kernel's refusal."""
        if self.entry is None:
            return os.strerror(self.errno).lower() if self.errno else "no answer"
        return self.entry.text + (" table local" if self.entry.table == "local" else "")


def look_up(
    namespace: str,
    dst: str,
    *,
    src: str = "",
    iif: str = "",
    mark: int = 0,
    protocol: int = 0,
    ports: tuple[int, int] | None = None,
    names: dict[int, str] | None = None,
) -> Answer:
    """Ask which route a packet takes. iif: the interface that it came in by; "" for one made here.

    Same as: ip -n NAMESPACE route get DST [from SRC iif IIF] [mark MARK]"""
    with netlink.socket_in(namespace) as opened:
        if names is None:
            names = decode.names_by_index(opened.dump(netlink.GETLINK, netlink.pack(netlink.LinkHeader())))
        indexes = {name: index for index, name in names.items()}
        asked = _question(dst, src, indexes.get(iif, 0), mark, protocol, ports)
        command = _command(namespace, dst, src, iif, mark)
        found: list[Route] = []
        for flags in (_LOOKUP_TABLE, _LOOKUP_TABLE | _FIB_MATCH):
            header = netlink.RouteHeader(family=_family(dst), dst_len=_bits(dst), src_len=_bits(src), flags=flags)
            body = netlink.pack(header) + asked
            try:
                (record,) = opened.ask(netlink.Request(netlink.GETROUTE, netlink.REQUEST, body))
            except netlink.Refusal as refusal:
                return Answer(found[0] if found else None, None, refusal.errno, command)
            found.append(decode.route(record, names))
    return Answer(found[0], found[1], 0, command)


def route(namespace: str, dst: str) -> Route | None:
    """Return the route of a packet made in `namespace`, or None."""
    return look_up(namespace, dst).resolved


def _question(dst: str, src: str, iif: int, mark: int, protocol: int, ports: tuple[int, int] | None) -> bytes:
    parts = [attribute(1, ipaddress.ip_address(dst).packed)]
    parts += [attribute(2, ipaddress.ip_address(src).packed)] if src else []
    parts += [attribute(3, struct.pack("=I", iif))] if iif else []
    parts += [attribute(16, struct.pack("=I", mark))] if mark else []
    if protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMP):
        parts.append(attribute(27, bytes([protocol])))
        if ports and protocol != socket.IPPROTO_ICMP:
            parts += [attribute(28, struct.pack(">H", ports[0])), attribute(29, struct.pack(">H", ports[1]))]
    return b"".join(parts)


def _command(namespace: str, dst: str, src: str, iif: str, mark: int) -> str:
    words = ["ip", *([] if namespace == "host" else ["-n", namespace]), "route", "get", dst]
    words += ["from", src] if src and iif else []
    words += ["iif", iif] if iif else []
    words += ["mark", f"{mark:#x}"] if mark else []
    return " ".join(words)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _bits(address: str) -> int:
    return 0 if not address else 128 if ":" in address else 32


def link_mac(namespace: str, interface: str) -> str:
    """Return the MAC of a link. Raises NotFound."""

    def ask() -> str:
        links.index_of(interface, namespace, "send on")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
            return links.lladdr(question, interface).hex(":")

    return inside(namespace, ask)


def counters_here() -> dict[str, int]:
    """Return the counters of the calling thread's namespace, as "Ip.InNoRoutes" or "TcpExt.IPReversePathFilter".

    Same as: nstat -asz, conntrack -S. Source: proc(5) on /proc/net/snmp and netstat; kernel documentation
    networking/snmp_counter."""
    found: dict[str, int] = {}
    for name in ("snmp", "netstat"):
        with open(f"/proc/thread-self/net/{name}", encoding="ascii") as file:
            lines = file.read().splitlines()
        for titles, values in zip(lines[::2], lines[1::2], strict=True):
            group, *words = titles.split()
            found.update(
                {group[:-1] + "." + word: int(value) for word, value in zip(words, values.split()[1:], strict=True)}
            )
    with suppress(OSError), open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
        found.update({"Ip6." + name: int(value) for name, value in map(str.split, file.read().splitlines())})
    return found | _conntrack_counters()


def _conntrack_counters() -> dict[str, int]:
    """Return "conntrack.drop" (no room for a new connection) and others: hexadecimal, a line for each processor."""
    with suppress(OSError), open("/proc/thread-self/net/stat/nf_conntrack", encoding="ascii") as table:
        titles, *lines = (line.split() for line in table.read().splitlines())
        columns = zip(titles, zip(*lines, strict=True), strict=True)
        return {f"conntrack.{title}": sum(int(one, 16) for one in values) for title, values in columns}
    return {}


def listens(namespace: str, protocol: str, address: str, port: int) -> bool:
    """Return whether a socket of `namespace` takes what comes to this address and port. protocol: "tcp" or "udp".

    Same as: ip netns exec NAMESPACE ss -lnt (or -lnu)"""
    return namespaces.inside(namespace, lambda: _listens_here(protocol, address, port))


def _listens_here(protocol: str, address: str, port: int) -> bool:
    wanted = ipaddress.ip_address(address)
    for suffix in ("", "6"):
        with suppress(OSError), open(f"/proc/thread-self/net/{protocol}{suffix}", encoding="ascii") as table:
            for line in table.read().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                where, _, its_port = local.partition(":")
                if int(its_port, 16) == port and state == _LISTENING[protocol]:
                    bound = _from_hex(where)
                    if bound.is_unspecified or bound == wanted or getattr(bound, "ipv4_mapped", None) == wanted:
                        return True
    return False


def _from_hex(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    return ipaddress.ip_address(b"".join(words))
