"""Routes: where does a packet to this destination go next?"""

from __future__ import annotations

import errno
import ipaddress
from dataclasses import replace
from socket import AF_INET, AF_INET6

from labkit.errors import WrongUse
from labkit.net.netlink import CREATE, DELROUTE, EXCL, NEWROUTE, RouteHeader
from labkit.net.operation import Attributes, Link, Message, Operation, verb

__all__ = ["add", "delete"]

_DST, _OIF, _GATEWAY, _PRIORITY, _TABLE = 1, 4, 5, 6, 15
_MAIN, _BOOT = 254, 3  # RT_TABLE_MAIN, RTPROT_BOOT: what `ip route add` writes
_UNIVERSE, _LINK_SCOPE, _NOWHERE = 0, 253, 255
_UNICAST, _BLACKHOLE = 1, 6
_ONLINK = 4


def _destination(what: str, text: str, via: str | None) -> tuple[int, int, bytes]:
    try:
        gateway = None if via is None else ipaddress.ip_address(via)
        if text == "default":
            version = 4 if gateway is None else gateway.version
            return version, 0, b""
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise WrongUse(f"{what}: {error}", "write the destination as 10.1.0.0/24 or default") from error
    if gateway is not None and gateway.version != network.version:
        raise WrongUse(
            f"{what}: an IPv{network.version} route cannot go via '{via}', an IPv{gateway.version} address",
            "destination and gateway are of one family",
        )
    return network.version, network.prefixlen, network.network_address.packed


def _operation(
    verb: str,
    destination: str,
    namespace: str,
    *,
    via: str | None,
    dev: str | None,
    onlink: bool = False,
    table: int | None = None,
    metric: int | None = None,
    blackhole: bool = False,
) -> Operation:
    version, length, packed = _destination(
        f"failed to {verb} '{destination}' in namespace '{namespace}'", destination, via
    )
    words = f"route {verb} {'blackhole ' if blackhole else ''}{destination}"
    attributes: Attributes = ((_DST, packed),) if packed else ()
    if via is not None:
        attributes += ((_GATEWAY, ipaddress.ip_address(via).packed),)
        words += f" via {via}"
    if dev is not None:
        attributes += ((_OIF, Link(dev)),)
        words += f" dev {dev}"
    if metric is not None:
        attributes += ((_PRIORITY, metric.to_bytes(4, "little")),)
        words += f" metric {metric}"
    if table is not None:
        attributes += ((_TABLE, table.to_bytes(4, "little")),)
        words += f" table {table}"
    adding = verb == "add"
    scope = (_UNIVERSE if via or blackhole or version == 6 else _LINK_SCOPE) if adding else _NOWHERE
    header = RouteHeader(
        family=AF_INET if version == 4 else AF_INET6,
        dst_len=length,
        table=_MAIN if table is None or table > 255 else table,
        protocol=_BOOT if adding else 0,
        scope=scope,
        type=_BLACKHOLE if blackhole else _UNICAST if adding else 0,
        flags=_ONLINK if onlink else 0,
    )
    message = Message(NEWROUTE if adding else DELROUTE, CREATE | EXCL if adding else 0, header, attributes)
    return Operation(verb, destination, namespace, words + (" onlink" if onlink else ""), message)


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
    blackhole: bool = False,
) -> Operation:
    """Packets to `destination` ("10.1.0.0/24", "default") go to the neighbour `via`, out of the link `dev`.

    `onlink`: take `via` for a neighbour on `dev` although no subnet says so. `table`: 1..2^32-1, else main (254).
    `metric`: the lower one wins. `blackhole`: such packets are dropped. Raises WrongUse, NotFound (link), Duplicate,
    Refused (unreachable gateway). Same as: ip route add DESTINATION via VIA dev DEV"""
    operation = _operation(
        "add",
        destination,
        namespace,
        via=via,
        dev=dev,
        onlink=onlink,
        table=table,
        metric=metric,
        blackhole=blackhole,
    )
    return replace(
        operation,
        undone_by=lambda: delete.plan(destination, namespace=namespace, via=via, dev=dev, table=table, metric=metric),
    )


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
    operation = _operation("delete", destination, namespace, via=via, dev=dev, table=table, metric=metric)
    return replace(operation, success=(errno.ESRCH,))
