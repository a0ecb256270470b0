"""Sysctls of the network: what is this namespace's kernel told to do?

A new namespace copies its IPv4 settings from the computer's first one, whatever those are. labkit states them
instead, so that a lesson reads the same on a laptop, on a Docker host and in CI.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from labkit.errors import NotFound, Refused, WrongUse, cause
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine

__all__ = ["STATED", "Setting", "get", "read", "set", "state_here", "write"]

Result = TypeVar("Result")

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


@dataclass(frozen=True, slots=True, repr=False)
class Setting:
    """One sysctl of one namespace, with the value that it was given. Its repr is the equivalent shell command."""

    key: str
    value: str
    namespace: str

    @property
    def command(self) -> str:
        """The equivalent shell command: "ip netns exec red sysctl -w net.ipv4.ip_forward=1"."""
        where = "" if self.namespace == "host" else f"ip netns exec {self.namespace} "
        return f"{where}sysctl -w {self.key}={self.value}"

    def __repr__(self) -> str:
        return self.command


def set(key: str, value: object, *, namespace: str = "host") -> Setting:  # noqa: A001 - sysctl.set, as in link.set_up
    """The sysctl `key`, "net.ipv4.ip_forward", is `value` in the namespace, and in no other.

    A link's name with a dot in it wants slashes: "net/ipv4/conf/eth0.5/forwarding". Raises WrongUse (a key outside net,
    which would be the whole computer's), NotFound (no such key), Refused (a value that the kernel does not take).
    Same as: sysctl -w KEY=VALUE. Source: sysctl(8), kernel documentation networking/ip-sysctl."""
    setting = Setting(key, str(value), namespace)
    _there(setting, "set", lambda: write({key: setting.value}))
    return setting


def get(key: str, *, namespace: str = "host") -> str:
    """Return the value of a sysctl of a namespace. Raises WrongUse, NotFound. Same as: sysctl -n KEY"""
    return _there(Setting(key, "", namespace), "read", lambda: read(key))


def _there(setting: Setting, verb: str, work: Callable[[], Result]) -> Result:
    what = f"failed to {verb} '{setting.key}' in namespace '{setting.namespace}'"
    ensure_lab_machine(f"{verb} '{setting.key}'")
    parts = _path(setting.key).removeprefix("/proc/sys/").split("/")
    if parts[0] != "net" or not {"", ".", ".."}.isdisjoint(parts):
        raise WrongUse(f"{what}: it is no setting of a network", "those are called net.ipv4.ip_forward and the like")
    try:
        return namespaces.inside(setting.namespace, work)
    except FileNotFoundError as error:
        listed = "sysctl -a" if setting.namespace == "host" else f"ip netns exec {setting.namespace} sysctl -a"
        raise NotFound(f"{what}: there is no such setting", f"see those there with: {listed} -r ^net") from error
    except OSError as error:
        told = f" (value '{setting.value}')" if verb == "set" else ""
        number = error.errno or 0
        raise Refused(f"{what}: {cause(number)}{told}", "kernel documentation: networking/ip-sysctl", number) from error


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
