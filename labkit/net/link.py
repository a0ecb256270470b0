"""Links: which interfaces does a namespace have, and what are they plugged into?"""

from __future__ import annotations

import errno
from dataclasses import replace

from labkit.net.names import check_link, check_mac, check_mtu, pack_mac
from labkit.net.netlink import CREATE, DELLINK, EXCL, GETLINK, NEWLINK, SETLINK, LinkHeader, pack
from labkit.net.operation import RAW, Attributes, Descriptor, Link, Message, Operation, verb

__all__ = [
    "add_bridge",
    "add_veth",
    "delete",
    "delete_group",
    "move",
    "rename",
    "set_down",
    "set_group",
    "set_mac",
    "set_master",
    "set_mtu",
    "set_port",
    "set_up",
    "show",
]

_UP = 1  # IFF_UP
_ADDRESS, _NAME, _MTU, _MASTER, _LINKINFO, _PROTINFO = 1, 3, 4, 10, 18, 12
_GROUP, _NETNS, _TX_QUEUES, _RX_QUEUES = 27, 28, 31, 32
_KIND, _DATA, _PEER = 1, 2, 1  # inside IFLA_LINKINFO
_PORT_FLAGS = {"hairpin": 4, "learning": 8, "flood": 9, "isolated": 33}  # IFLA_BRPORT_*
_AF_BRIDGE = 7
_NESTED = 0x8000
_NOTHING = LinkHeader()
_UP_HEADER = LinkHeader(flags=_UP, change=_UP)
_DOWN_HEADER = LinkHeader(change=_UP)
_EXTENT, _NO_STATISTICS = 29, (8).to_bytes(4, "little")  # IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS
_ONE = (1).to_bytes(4, "little")


_KEYWORDS = (  # of `ip link`, which takes any beginning of one for the whole
    " up down name dev index link type txqueuelen qlen txqlen mtu address broadcast brd xdp netns multicast"
    " allmulticast promisc trailers arp carrier dynamic vf master nomaster vrf mode alias group numtxqueues"
    " numrxqueues parentdev protodown addrgenmode gso_max_size gro_max_size help "
)


def _called(name: str, keyword: str = "dev") -> str:
    """Return `name` as `ip link` understands it: "b" alone it would take for "broadcast"."""
    return f"{keyword} {name}" if f" {name}" in _KEYWORDS else name


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _properties(what: str, mac: str | None, mtu: int | None) -> tuple[Attributes, str]:
    attributes: Attributes = ()
    words = ""
    if mac is not None:
        attributes += ((_ADDRESS, pack_mac(check_mac(what, mac))),)
        words += f" address {mac}"
    if mtu is not None:
        attributes += ((_MTU, _number(check_mtu(what, mtu))),)
        words += f" mtu {mtu}"
    return attributes, words


def _netns(name: str) -> str:
    return "1" if name == "host" else name  # PID 1 is the lab machine's init, which lives on the host


@verb
def add_veth(
    name: str,
    peer: str,
    *,
    namespace: str = "host",
    peer_namespace: str | None = None,
    mac: str | None = None,
    peer_mac: str | None = None,
    mtu: int | None = None,
    master: str | None = None,
    group: int = 0,
    up: bool = False,
    peer_ifindex: int = 0,
) -> Operation:
    """A veth pair exists: `name` here, `peer` here or directly in `peer_namespace`; what enters one leaves the other.

    `mtu`: bytes, 68 to 65535, for both sides. `master`: a bridge here that `name` becomes a port of. `up` brings this
    side up (a peer cannot be created up). `peer_ifindex` states the index that the peer gets. One queue each.
    Raises Duplicate, NotFound (namespace, master), WrongUse (names, MAC, MTU).
    Same as: ip link add NAME type veth peer name PEER netns PEER_NAMESPACE. Source: veth(4)."""
    what = f"failed to add '{name}' in namespace '{namespace}'"
    check_link(what, name)
    check_link(what, peer)
    near, words = _properties(what, mac, mtu)
    far, far_words = _properties(what, peer_mac, mtu)
    near += ((_NAME, _text(name)), (_TX_QUEUES, _ONE), (_RX_QUEUES, _ONE))
    far += ((_NAME, _text(peer)), (_TX_QUEUES, _ONE), (_RX_QUEUES, _ONE))
    if peer_namespace is not None and peer_namespace != namespace:
        far += ((_NETNS, Descriptor(peer_namespace)),)
        far_words += f" netns {_netns(peer_namespace)}"
    if master is not None:
        near += ((_MASTER, Link(master)),)
        words += f" master {master}"
    if group:
        near += ((_GROUP, _number(group)),)
        words += f" group {group}"
    header = pack(LinkHeader(ifindex=peer_ifindex))
    return Operation(
        "add",
        name,
        namespace,
        f"link add {_called(name, 'name')}{words}{' up' if up else ''} numtxqueues 1 numrxqueues 1 type veth "
        f"peer name {peer}{far_words} numtxqueues 1 numrxqueues 1",
        Message(
            NEWLINK,
            CREATE | EXCL,
            _UP_HEADER if up else LinkHeader(),
            (*near, (_LINKINFO, ((_KIND, b"veth"), (_DATA, ((_PEER, ((RAW, header), *far)),))))),
        ),
        undone_by=lambda: delete.plan(name, namespace=namespace),
    )


@verb
def add_bridge(
    name: str, *, namespace: str = "host", mac: str | None = None, mtu: int | None = None, group: int = 0
) -> Operation:
    """A bridge exists, down and without ports. Without `mac` its MAC is the lowest of its ports'; `mtu`: bytes.

    Raises Duplicate, WrongUse (name, MAC, MTU). Same as: ip link add NAME type bridge. Source: kernel
    documentation, networking/bridge."""
    what = f"failed to add '{name}' in namespace '{namespace}'"
    attributes, words = _properties(what, mac, mtu)
    if group:
        attributes += ((_GROUP, _number(group)),)
        words += f" group {group}"
    attributes += ((_NAME, _text(check_link(what, name))), (_LINKINFO, ((_KIND, b"bridge"),)))
    return Operation(
        "add",
        name,
        namespace,
        f"link add {_called(name, 'name')}{words} type bridge",
        Message(NEWLINK, CREATE | EXCL, LinkHeader(), attributes),
        undone_by=lambda: delete.plan(name, namespace=namespace),
    )


@verb
def delete(name: str, *, namespace: str = "host") -> Operation:
    """The link is gone; a veth takes its peer with it. Deleting what is gone is success.

    Same as: ip link delete NAME"""
    message = Message(DELLINK, 0, LinkHeader(), ((_NAME, _text(name)),))
    return Operation("delete", name, namespace, f"link delete {_called(name)}", message, success=(errno.ENODEV,))


@verb
def delete_group(group: int, *, namespace: str = "host") -> Operation:
    """Every link of a group is gone, at the price of one. Same as: ip link delete group GROUP"""
    message = Message(DELLINK, 0, LinkHeader(), ((_GROUP, _number(group)),))
    return Operation(
        "delete", f"group {group}", namespace, f"link delete group {group}", message, success=(errno.ENODEV,)
    )


def _set(
    name: str,
    namespace: str,
    words: str,
    attributes: Attributes = (),
    header: LinkHeader = _NOTHING,
) -> Operation:
    message = Message(NEWLINK, 0, header, ((_NAME, _text(name)), *attributes))
    return Operation("set", name, namespace, f"link set {_called(name)} {words}", message)


@verb
def set_up(name: str, *, namespace: str = "host") -> Operation:
    """The link is up: it sends and receives as soon as it has carrier. Same as: ip link set NAME up"""
    return _set(name, namespace, "up", header=_UP_HEADER)


@verb
def set_down(name: str, *, namespace: str = "host") -> Operation:
    """The link is down, and the routes through it are gone. Same as: ip link set NAME down"""
    return _set(name, namespace, "down", header=_DOWN_HEADER)


@verb
def set_mtu(name: str, mtu: int, *, namespace: str = "host") -> Operation:
    """The link carries packets of up to `mtu` bytes (its own Ethernet header not counted). Raises WrongUse, NotFound.

    Same as: ip link set NAME mtu MTU"""
    check_mtu(f"failed to set '{name}' in namespace '{namespace}'", mtu)
    return _set(name, namespace, f"mtu {mtu}", ((_MTU, _number(mtu)),))


@verb
def set_mac(name: str, mac: str, *, namespace: str = "host") -> Operation:
    """The link's MAC is `mac`. Raises WrongUse, NotFound. Same as: ip link set NAME address MAC"""
    check_mac(f"failed to set '{name}' in namespace '{namespace}'", mac)
    return _set(name, namespace, f"address {mac}", ((_ADDRESS, pack_mac(mac)),))


@verb
def set_group(name: str, group: int, *, namespace: str = "host") -> Operation:
    """The link is of a group, which `delete_group` deletes as a whole. Raises NotFound.

    Same as: ip link set NAME group GROUP"""
    return _set(name, namespace, f"group {group}", ((_GROUP, _number(group)),))


@verb
def set_master(name: str, bridge: str | None, *, namespace: str = "host") -> Operation:
    """The link is a port of `bridge`, or of none. Raises NotFound. Same as: ip link set NAME master BRIDGE"""
    if bridge is None:
        return _set(name, namespace, "nomaster", ((_MASTER, _number(0)),))
    return _set(name, namespace, f"master {bridge}", ((_MASTER, Link(bridge)),))


@verb
def move(name: str, to: str, *, namespace: str = "host") -> Operation:
    """The link is in namespace `to`: down there, and without the addresses it had. Raises NotFound, Duplicate.

    Same as: ip link set NAME netns TO"""
    operation = _set(name, namespace, f"netns {_netns(to)}", ((_NETNS, Descriptor(to)),))
    return replace(operation, verb="move", undone_by=lambda: move.plan(name, namespace, namespace=to))


@verb
def rename(name: str, to: str, *, namespace: str = "host") -> Operation:
    """The link is called `to`. Raises WrongUse, NotFound, Duplicate. Same as: ip link set NAME name TO"""
    check_link(f"failed to rename '{name}' in namespace '{namespace}'", to)
    message = Message(NEWLINK, 0, LinkHeader(), ((_NAME, _text(to)),), dev=name)
    return Operation(
        "rename",
        name,
        namespace,
        f"link set {_called(name)} name {to}",
        message,
        undone_by=lambda: rename.plan(to, name, namespace=namespace),
    )


@verb
def set_port(
    name: str,
    *,
    namespace: str = "host",
    isolated: bool | None = None,
    hairpin: bool | None = None,
    learning: bool | None = None,
    flood: bool | None = None,
) -> Operation:
    """The bridge port's flags are as stated; those not named stay as they are.

    `isolated`: isolated ports do not hear each other. `hairpin`: a frame may leave where it came in. `learning`: source
    MACs go into the FDB. `flood`: frames to unknown MACs are sent out here too. Raises NotFound, Refused (no port).
    Same as: bridge link set dev NAME isolated on. Source: bridge(8)."""
    flags = {"isolated": isolated, "hairpin": hairpin, "learning": learning, "flood": flood}
    stated = {flag: value for flag, value in flags.items() if value is not None}
    attributes = tuple((_PORT_FLAGS[flag], bytes([value])) for flag, value in stated.items())
    words = " ".join(f"{flag} {'on' if value else 'off'}" for flag, value in stated.items())
    message = Message(SETLINK, 0, LinkHeader(_AF_BRIDGE), ((_PROTINFO | _NESTED, attributes),), dev=name)
    return Operation("set", name, namespace, f"link set dev {name} {words}", message, program="bridge")


@verb
def show(name: str, *, namespace: str = "host") -> Operation:
    """The kernel has told what it knows of the link, and nothing about it is pending any more.

    A carrier that came up is acted upon (packets flow, a bridge forwards) up to a second later, unless somebody asks.
    Raises NotFound. Same as: ip link show NAME"""
    message = Message(GETLINK, 0, LinkHeader(), ((_NAME, _text(name)), (_EXTENT, _NO_STATISTICS)))
    return Operation("show", name, namespace, f"link show {_called(name)}", message)
