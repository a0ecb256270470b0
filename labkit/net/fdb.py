"""The forwarding database (FDB): behind which port of a bridge is this MAC?"""

from __future__ import annotations

import errno
from dataclasses import replace

from labkit.errors import WrongUse
from labkit.net.address import pack_ip
from labkit.net.names import check_mac, pack_mac
from labkit.net.netlink import CREATE, DELNEIGH, EXCL, NEWNEIGH, NeighbourHeader
from labkit.net.operation import Attributes, Message, Operation, verb

__all__ = ["add", "delete"]

_DST, _LLADDR = 1, 2
_AF_BRIDGE = 7
_NO_ARP, _PERMANENT = 0x40, 0x80  # a static entry, and one that is the bridge's own
_SELF, _MASTER = 0x02, 0x04


def _operation(verb: str, mac: str, port: str, namespace: str, local: bool, dst: str | None, itself: bool) -> Operation:
    what = f"failed to {verb} '{mac}' in namespace '{namespace}'"
    packed = bytes.fromhex("00" * 6) if mac == "00:00:00:00:00:00" else pack_mac(check_mac(what, mac))
    attributes: Attributes = ((_LLADDR, packed),)
    words = f"fdb {verb} {mac} dev {port}"
    if dst is not None:
        try:
            attributes += ((_DST, pack_ip(dst)[1]),)
        except OSError as error:
            raise WrongUse(f"{what}: '{dst}' is not an IP address", "a VTEP has no prefix length") from error
        words += f" dst {dst}"
    words += f" {'self' if itself else 'master'} {'permanent' if local else 'static'}"
    header = NeighbourHeader(_AF_BRIDGE, 0, _PERMANENT if local else _NO_ARP, _SELF if itself else _MASTER)
    kind, flags = (NEWNEIGH, CREATE | EXCL) if verb == "add" else (DELNEIGH, 0)
    return Operation(verb, mac, namespace, words, Message(kind, flags, header, attributes, dev=port), program="bridge")


@verb
def add(
    mac: str, port: str, *, namespace: str = "host", local: bool = False, dst: str | None = None, itself: bool = False
) -> Operation:
    """Frames to `mac` leave by `port`, a port of a bridge, for good (a static entry does not age).

    `local`: frames to `mac` are for this host. `itself` and `dst`: the entry belongs to the link's own table, as a
    VXLAN's does, and points to the VTEP `dst`. Raises WrongUse, NotFound (port), Duplicate, Refused (no port).
    Same as: bridge fdb add MAC dev PORT master static"""
    operation = _operation("add", mac, port, namespace, local, dst, itself)
    return replace(
        operation,
        undone_by=lambda: delete.plan(mac, port, namespace=namespace, local=local, dst=dst, itself=itself),
    )


@verb
def delete(
    mac: str, port: str, *, namespace: str = "host", local: bool = False, dst: str | None = None, itself: bool = False
) -> Operation:
    """The entry is gone. Deleting what is gone is success. Same as: bridge fdb delete MAC dev PORT master"""
    return replace(_operation("delete", mac, port, namespace, local, dst, itself), success=(errno.ENOENT, errno.ENODEV))
