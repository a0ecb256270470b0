"""Rules: which routing table is asked, for which packets?

Rules are tried in the order of their priority. The first that selects the packet and whose table has a route for it
decides. Every namespace has three: 0 (table local), 32766 (main), 32767 (default).
Source: ip-rule(8), include/uapi/linux/fib_rules.h.
"""

from __future__ import annotations

import errno
import ipaddress
from socket import AF_INET, AF_INET6

from labkit.errors import WrongUse
from labkit.net.names import check_link
from labkit.net.netlink import CREATE, DELRULE, EXCL, NEWRULE, RouteHeader
from labkit.net.operation import Attributes, Message, Operation, verb

__all__ = ["add", "delete"]

_DST, _SRC, _IIF, _PRIORITY, _FWMARK, _TABLE, _FWMASK = 1, 2, 3, 6, 10, 15, 16
_TO_TABLE = 1  # FR_ACT_TO_TBL
_ACTIONS = {"blackhole": 6, "unreachable": 7, "prohibit": 8}
_NAMED = {"local": 255, "main": 254, "default": 253}
_WHOLE = 0xFFFFFFFF


def _network(what: str, word: str, text: str) -> tuple[int, int, bytes]:
    """Return the family, prefix length and bytes of a selector."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise WrongUse(f"{what}: {word} {error}", "write it as 10.1.0.0/24, or as one address") from error
    return (AF_INET if network.version == 4 else AF_INET6), network.prefixlen, network.network_address.packed


def _number(what: str, name: str, value: object, least: int = 0) -> bytes:
    if not isinstance(value, int) or not least <= value <= _WHOLE:
        raise WrongUse(f"{what}: {name} {value!r} is out of range", f"a {name} is {least} to {_WHOLE}")
    return value.to_bytes(4, "little")


def _selectors(what: str, from_: str | None, to: str | None, iif: str | None) -> tuple[RouteHeader, Attributes, str]:
    """Return the header (family and prefix lengths), the attributes and the words of what selects by addresses."""
    lengths = {"from": 0, "to": 0}
    families: dict[str, int] = {}
    attributes: Attributes = ()
    words = ""
    for word, text, kind in (("from", from_, _SRC), ("to", to, _DST)):
        if text is not None:
            families[text], lengths[word], packed = _network(what, word, text)
            attributes += ((kind, packed),) if lengths[word] else ()
            words += f" {word} {text}"
    if len({*families.values()}) > 1:
        raise WrongUse(f"{what}: {from_} and {to} are of two families", "a rule is for IPv4 or for IPv6")
    if iif is not None:
        attributes += ((_IIF, check_link(what, iif).encode() + b"\0"),)
        words += f" iif {iif}"
    family = next(iter(families.values()), AF_INET)
    return RouteHeader(family=family, dst_len=lengths["to"], src_len=lengths["from"]), attributes, words


def _mark(what: str, fwmark: int | None, fwmask: int | None) -> tuple[Attributes, str]:
    if fwmark is None:
        return (), ""
    attributes: Attributes = ((_FWMARK, _number(what, "fwmark", fwmark)),)
    if fwmask is None:
        return attributes, f" fwmark {fwmark:#x}"
    return (*attributes, (_FWMASK, _number(what, "fwmask", fwmask))), f" fwmark {fwmark:#x}/{fwmask:#x}"


def _plan(
    verb: str,
    priority: int,
    namespace: str,
    from_: str | None,
    to: str | None,
    iif: str | None,
    fwmark: int | None,
    fwmask: int | None,
    table: int | str | None,
    action: str,
) -> tuple[RouteHeader, Attributes, str]:
    """Return what both verbs say of a rule: header, attributes and words."""
    what = f"failed to {verb} 'rule {priority}' in namespace '{namespace}'"
    header, attributes, words = _selectors(what, from_, to, iif)
    marked, its_words = _mark(what, fwmark, fwmask)
    attributes += (*marked, (_PRIORITY, _number(what, "priority", priority)))
    six = "-6 " if header.family == AF_INET6 else ""
    words = f"{six}rule {verb} priority {priority}{words}{its_words}"
    if action != "lookup":
        if action not in _ACTIONS or table is not None:
            raise WrongUse(f"{what}: its action is '{action}'", f"a table to look up, or: {', '.join(_ACTIONS)}")
        return header._replace(type=_ACTIONS[action]), attributes, f"{words} {action}"
    if table is None:
        return header, attributes, words
    number = _NAMED.get(table, table) if isinstance(table, str) else table
    attributes += ((_TABLE, _number(what, "table", number, least=1)),)
    header = header._replace(type=_TO_TABLE, table=int(number) if int(number) < 256 else 0)
    return header, attributes, f"{words} lookup {table}"


@verb
def add(
    priority: int,
    *,
    namespace: str = "host",
    from_: str | None = None,
    to: str | None = None,
    iif: str | None = None,
    fwmark: int | None = None,
    fwmask: int | None = None,
    table: int | str | None = None,
    action: str = "lookup",
) -> Operation:
    """Packets that the rule selects are looked up in `table`; if that has no route for them, the next rule is tried.

    `priority`: 0..2^32-1, lower is earlier. `from_`, `to`: a prefix or one address. `iif`: the link by which the packet
    came in; "lo" for those made here. `fwmark`: the packet's mark, as far as `fwmask` has ones. `table`: 1..2^32-1, or
    "local", "main", "default". `action` in place of a table: "blackhole", "unreachable", "prohibit".
    A rule without addresses is for IPv4. Raises WrongUse, Duplicate, Refused.
    Same as: ip rule add priority PRIORITY from FROM to TO iif IIF fwmark FWMARK lookup TABLE"""
    if table is None and action == "lookup":
        raise WrongUse(
            f"failed to add 'rule {priority}' in namespace '{namespace}': it says neither a table nor an action",
            "as in table=100, or action='prohibit'",
        )
    header, attributes, words = _plan("add", priority, namespace, from_, to, iif, fwmark, fwmask, table, action)
    return Operation(
        "add",
        f"rule {priority}",
        namespace,
        words,
        Message(NEWRULE, CREATE | EXCL, header, attributes),
        undone_by=lambda: delete.plan(
            priority, namespace=namespace, from_=from_, to=to, iif=iif, fwmark=fwmark, fwmask=fwmask, table=table,
            action=action,
        ),
    )  # fmt: skip


@verb
def delete(
    priority: int,
    *,
    namespace: str = "host",
    from_: str | None = None,
    to: str | None = None,
    iif: str | None = None,
    fwmark: int | None = None,
    fwmask: int | None = None,
    table: int | str | None = None,
    action: str = "lookup",
) -> Operation:
    """The first rule that is as described is gone; the priority alone is enough. Deleting what is gone is success.

    Same as: ip rule delete priority PRIORITY ..."""
    header, attributes, words = _plan("delete", priority, namespace, from_, to, iif, fwmark, fwmask, table, action)
    message = Message(DELRULE, 0, header, attributes)
    return Operation("delete", f"rule {priority}", namespace, words, message, success=(errno.ENOENT,))
