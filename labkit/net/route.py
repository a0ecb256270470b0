"""Routes: where does a packet to this destination go next?"""

from __future__ import annotations

import errno
import ipaddress
from functools import lru_cache
from socket import AF_INET, AF_INET6

from labkit.errors import WrongUse
from labkit.net.address import pack_ip
from labkit.net.netlink import CREATE, DELROUTE, EXCL, NEWROUTE, REPLACE, RouteHeader
from labkit.net.operation import Attributes, Link, Message, Operation, verb

__all__ = ["add", "delete", "replace"]

_DST, _OIF, _GATEWAY, _PRIORITY, _TABLE = 1, 4, 5, 6, 15
_MAIN, _BOOT = 254, 3  # RT_TABLE_MAIN, RTPROT_BOOT: what `ip route add` writes
_UNIVERSE, _LINK_SCOPE, _NOWHERE = 0, 253, 255
KINDS = {"unicast": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_ONLINK = 4


@lru_cache(maxsize=4096)
def _network(what: str, text: str) -> tuple[int, int, bytes]:
    """Return the family, prefix length and bytes of a destination."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise WrongUse(f"{what}: {error}", "write the destination as 10.1.0.0/24 or default") from error
    return (AF_INET if network.version == 4 else AF_INET6), network.prefixlen, network.network_address.packed


def _ends(what: str, destination: str, via: str | None) -> tuple[int, int, Attributes]:
    """Return the family, the destination's prefix length, and the attributes of destination and gateway."""
    family, length, packed = (0, 0, b"") if destination == "default" else _network(what, destination)
    attributes: Attributes = ((_DST, packed),) if packed else ()
    if via is None:
        return family or AF_INET, length, attributes
    try:
        gateway_family, gateway = pack_ip(via)
    except OSError as error:
        raise WrongUse(f"{what}: '{via}' is not an IP address", "a gateway has no prefix length") from error
    if family not in (0, gateway_family):
        one, other = ("IPv4", "IPv6") if family == AF_INET else ("IPv6", "IPv4")
        raise WrongUse(
            f"{what}: an {one} route cannot go via '{via}', an {other} address",
            "destination and gateway are of one family",
        )
    return gateway_family, length, (*attributes, (_GATEWAY, gateway))


def _rest(what: str, dev: str | None, table: int | None, metric: int | None) -> tuple[Attributes, str]:
    for name, number in (("metric", metric), ("table", table)):
        if number is not None and not 0 <= number < 1 << 32:
            raise WrongUse(f"{what}: {name} {number} is out of range", f"a {name} is 0 to 4294967295")
    attributes: Attributes = ()
    words = ""
    if dev is not None:
        attributes += ((_OIF, Link(dev)),)
        words += f" dev {dev}"
    if metric is not None:
        attributes += ((_PRIORITY, metric.to_bytes(4, "little")),)
        words += f" metric {metric}"
    if table is not None:
        attributes += ((_TABLE, table.to_bytes(4, "little")),)
        words += f" table {table}"
    return attributes, words


def _operation(
    verb: str,
    flags: int,
    destination: str,
    namespace: str,
    via: str | None,
    dev: str | None,
    onlink: bool,
    table: int | None,
    metric: int | None,
    kind: str,
) -> Operation:
    what = f"failed to {verb} '{destination}' in namespace '{namespace}'"
    _check_kind(what, kind, via or dev)
    family, length, attributes = _ends(what, destination, via)
    rest, words = _rest(what, dev, table, metric)
    nowhere = kind != "unicast"
    header = RouteHeader(
        family=family,
        dst_len=length,
        table=_MAIN if table is None or table > 255 else table,
        protocol=_BOOT,
        scope=_UNIVERSE if via or nowhere or family == AF_INET6 else _LINK_SCOPE,
        type=KINDS[kind],
        flags=_ONLINK if onlink else 0,
    )
    return Operation(
        verb,
        destination,
        namespace,
        f"route {verb} {f'{kind} ' if nowhere else ''}{destination}{f' via {via}' if via else ''}{words}"
        f"{' onlink' if onlink else ''}",
        Message(NEWROUTE, flags, header, (*attributes, *rest)),
        undone_by=lambda: delete.plan(destination, namespace=namespace, via=via, dev=dev, table=table, metric=metric),
    )


def _check_kind(what: str, kind: str, way: str | None) -> None:
    if kind not in KINDS:
        raise WrongUse(f"{what}: no route is of type '{kind}'", f"types: {', '.join(KINDS)}")
    if kind != "unicast" and way is not None:
        raise WrongUse(f"{what}: a route of type {kind} leads nowhere", "leave via and dev out")


@verb
def add(
    destination: str,
    *,
    namespace: str = "host",
    via: str | None = None,
    dev: str | None = None,
    onlink: bool = False,
    table: int | None = None,
    metric: int | None = None,
    kind: str = "unicast",
) -> Operation:
    """Packets to `destination` ("10.1.0.0/24", "default") go to the neighbour `via`, out of the link `dev`.

    `onlink`: take `via` for a neighbour on `dev` although no subnet says so. `table`: 1..2^32-1, else main (254).
    `metric`: the lower one wins. `kind`: "unicast", or what becomes of such packets instead: "blackhole" (dropped),
    "unreachable" or "prohibit" (dropped, and the sender is told so). Raises WrongUse, NotFound (link), Duplicate,
    Refused (unreachable gateway). Same as: ip route add DESTINATION via VIA dev DEV"""
    return _operation("add", CREATE | EXCL, destination, namespace, via, dev, onlink, table, metric, kind)


@verb
def replace(
    destination: str,
    *,
    namespace: str = "host",
    via: str | None = None,
    dev: str | None = None,
    onlink: bool = False,
    table: int | None = None,
    metric: int | None = None,
    kind: str = "unicast",
) -> Operation:
    """As `add`; a route to the same destination, of the same table and metric, is gone at the same moment.

    What was there before does not come back by `undo`. Same as: ip route replace DESTINATION via VIA dev DEV"""
    return _operation("replace", CREATE | REPLACE, destination, namespace, via, dev, onlink, table, metric, kind)


@verb
def delete(
    destination: str,
    *,
    namespace: str = "host",
    via: str | None = None,
    dev: str | None = None,
    table: int | None = None,
    metric: int | None = None,
) -> Operation:
    """The route is gone. Deleting what is gone is success. Same as: ip route delete DESTINATION ..."""
    what = f"failed to delete '{destination}' in namespace '{namespace}'"
    family, length, attributes = _ends(what, destination, via)
    rest, words = _rest(what, dev, table, metric)
    header = RouteHeader(
        family=family, dst_len=length, table=_MAIN if table is None or table > 255 else table, scope=_NOWHERE
    )
    message = Message(DELROUTE, 0, header, (*attributes, *rest))
    words = f"route delete {destination}{f' via {via}' if via else ''}{words}"
    return Operation("delete", destination, namespace, words, message, success=(errno.ESRCH, errno.ENODEV))
