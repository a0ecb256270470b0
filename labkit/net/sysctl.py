"""Sysctls of the network: what is this namespace's kernel told to do?

A new namespace copies its IPv4 settings from the computer's first one, whatever those are. labkit states them
instead, so that a lesson reads the same on a laptop, on a Docker host and in CI.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

__all__ = ["STATED", "read", "state_here", "write"]

STATED = {
    "net.ipv4.conf.all.forwarding": "0",  # the same switch as net.ipv4.ip_forward
    "net.ipv4.conf.default.forwarding": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv4.conf.lo.rp_filter": "0",
    "net.ipv4.igmp_link_local_mcast_reports": "0",  # else a bridge with an address joins 224.0.0.106, and says so
    "net.ipv6.conf.all.disable_ipv6": "1",  # also switches off every link that exists
    "net.ipv6.conf.default.disable_ipv6": "1",
    "net.bridge.bridge-nf-call-iptables": "0",
    "net.bridge.bridge-nf-call-ip6tables": "0",
    "net.bridge.bridge-nf-call-arptables": "0",
}


def state_here() -> dict[str, str]:
    """Give the calling thread's network namespace the stated sysctls, and return those that had to be written.

    What the kernel has not (no IPv6, no br_netfilter) is left out; any other refusal is an OSError. Another namespace
    that is as new as this one needs the same writes. Same as: sysctl -w KEY=VALUE ..."""
    written = {}
    for key, value in STATED.items():
        with suppress(FileNotFoundError):
            if read(key) != value:
                write({key: value})
                written[key] = value
    return written


def read(key: str) -> str:
    """Return a sysctl of the calling thread's namespace. Raises OSError. Same as: sysctl -n KEY"""
    descriptor = os.open(_path(key), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096).decode().strip()
    finally:
        os.close(descriptor)


def write(settings: Mapping[str, object]) -> None:
    """Set sysctls of the calling thread's namespace. Raises OSError. Same as: sysctl -w KEY=VALUE ..."""
    for key, value in settings.items():
        descriptor = os.open(_path(key), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, str(value).encode())
        finally:
            os.close(descriptor)


def _path(key: str) -> str:
    return "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))
