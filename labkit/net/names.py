"""Names: what may a link be called, and which MAC follows from a name?"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from labkit.errors import WrongUse

__all__ = ["check_link", "check_mac", "check_mtu", "host_side", "mac", "pack_mac"]

_NOT_IN_NAMES = re.compile(r"[/:\s\0]")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


@lru_cache(maxsize=8192)
def mac(text: str) -> str:
    """Return the MAC that belongs to `text`, the same on every run: "02:" (locally administered, unicast) and five
    bytes of a hash, so that two names practically never share one."""
    return "02:" + hashlib.blake2b(text.encode(), digest_size=5).digest().hex(":")


def host_side(container: str, interface: str = "eth0") -> str:
    """Return the name of the host side of a container's veth: "veth-red", or "veth-red-eth1" for another interface.

    A link's name has at most 15 bytes: a longer one is cut and ends in four digits of its hash."""
    name = f"veth-{container}" if interface == "eth0" else f"veth-{container}-{interface}"
    if len(name.encode()) <= 15:
        return name
    digest = hashlib.blake2b(f"{container}/{interface}".encode(), digest_size=2).hexdigest()
    return name.encode()[:10].decode(errors="ignore") + "-" + digest


def check_link(what: str, name: str) -> str:
    """Return `name` if a link can have it. `what` opens the sentence: "failed to add 'x' in namespace 'y'".
    Raises WrongUse."""
    size = len(name.encode())
    if size > 15:
        raise WrongUse(f"{what}: a link's name has at most 15 characters", f"'{name}' has {size}")
    if name in ("", ".", ".."):
        raise WrongUse(f"{what}: not a usable name", "a link's name has 1 to 15 characters, as in eth0")
    bad = _NOT_IN_NAMES.search(name)
    if bad:
        raise WrongUse(f"{what}: a link's name cannot contain {bad[0]!r}", "use letters, digits, '-', '.' and '_'")
    return name


def check_mac(what: str, text: str) -> str:
    """Return `text` if it is the MAC of one station. Raises WrongUse."""
    if not _MAC.fullmatch(text):
        raise WrongUse(f"{what}: '{text}' is not a MAC address", "a MAC address is six bytes, as in 02:00:00:00:00:01")
    if int(text[:2], 16) & 1:
        raise WrongUse(
            f"{what}: '{text}' is a multicast address", "the lowest bit of a link's first byte is 0, as in 02:..."
        )
    return text.lower()


def check_mtu(what: str, mtu: int) -> int:
    """Return `mtu` if a veth or a bridge can have it: 68 (RFC 791: what every IPv4 link must carry) to 65535 bytes.
    Raises WrongUse."""
    if not isinstance(mtu, int) or not 68 <= mtu <= 65535:
        raise WrongUse(f"{what}: MTU {mtu!r} is out of range", "a veth or a bridge takes 68 to 65535 bytes")
    return mtu


def pack_mac(text: str) -> bytes:
    """Return the six bytes of a MAC address."""
    return bytes.fromhex(text.replace(":", ""))
