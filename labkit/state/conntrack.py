"""Connections that a namespace remembers: who opened them, and what an answer will look like?

Connection tracking is off in a namespace until a rule needs it (NAT, `ct state`), and then there is nothing to list.
Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h; nf_conntrack-sysctl in the kernel's documentation.
"""

from __future__ import annotations

import errno

from labkit.errors import Refused, cause
from labkit.net import namespace as namespaces
from labkit.net.connection import ConntrackEntry, Tuple, entry_of
from labkit.net.conntrack import entries
from labkit.net.here import ensure_lab_machine
from labkit.net.netlink import attributes
from labkit.net.nfnetlink import Socket

__all__ = ["ConntrackEntry", "Tuple", "conntrack", "read_here"]


def conntrack(namespace: str = "host") -> tuple[ConntrackEntry, ...]:
    """Return the connections that a namespace tracks, IPv4 and IPv6. Same as: ip netns exec NAMESPACE conntrack -L

    Raises NotFound, NamespaceGone, Refused."""
    ensure_lab_machine(f"list the connections of namespace '{namespace}'")
    try:
        return namespaces.inside(namespace, read_here)
    except OSError as error:
        raise Refused(
            f"failed to list connections in namespace '{namespace}': {cause(error.errno or 0)}", errno=error.errno or 0
        ) from error


def read_here() -> tuple[ConntrackEntry, ...]:
    """Return the connections of the calling thread's namespace; none where the kernel tracks none. Raises OSError."""
    opened = Socket()
    try:
        return tuple(entry_of(attributes(body)) for body in entries(opened))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):  # a kernel without connection tracking
            return ()
        raise
    finally:
        opened.close()
