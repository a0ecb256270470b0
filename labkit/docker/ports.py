"""Ports: what does `-p 8080:80` ask for, and which port of the host is it then?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from labkit.docker.ipam import address_of
from labkit.docker.rules import ANY
from labkit.errors import Duplicate, Unavailable, WrongUse

__all__ = ["Allocator", "Published", "parse"]

FIRST, LAST = 32768, 60999  # of the ports that Docker chooses by itself: the kernel's ip_local_port_range
_FORM = re.compile(r"(?:(?:(?P<ip>[^:]+):)?(?P<host>\d*):)?(?P<port>\d+)(?:/(?P<protocol>\w+))?")
_AS_IN = "as in '80', '8080:80', '127.0.0.1:8080:80' or '53:53/udp'"


@dataclass(frozen=True)
class Published:
    """A port of a container, and the host's address and port that lead to it. `host_port` 0: Docker chooses one."""

    port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int = 0

    def __str__(self) -> str:
        return f"{self.host_ip or ANY}:{self.host_port}->{self.port}/{self.protocol}"


def parse(what: str, publish: str | Iterable[str]) -> tuple[Published, ...]:
    """Return what is asked for by "8080:80", "127.0.0.1:8080:80", "80" or "53:53/udp", in the order that Docker takes:
    the highest host port first, then the highest port of the container. Raises WrongUse.

    Source: go-connections, nat/sort.go."""
    words = [publish] if isinstance(publish, str) else list(publish)
    found = [_one(what, str(word)) for word in words]
    return tuple(sorted(found, key=lambda one: (-one.host_port, -one.port, one.protocol != "tcp")))


def _one(what: str, word: str) -> Published:
    form = _FORM.fullmatch(word)
    if form is None:
        more = "publish each port of a range by itself" if "-" in word else _AS_IN
        raise WrongUse(f"{what}: '{word}' is not a port to publish", more)
    protocol = (form["protocol"] or "tcp").lower()
    if protocol not in ("tcp", "udp"):
        raise WrongUse(f"{what}: '{word}': no protocol '{protocol}'", "tcp or udp")
    host_ip = str(address_of(f"{what}: '{word}'", form["ip"])) if form["ip"] else ""
    one = Published(int(form["port"]), protocol, host_ip, int(form["host"] or 0))
    if not 1 <= one.port <= 65535 or one.host_port > 65535:
        raise WrongUse(f"{what}: '{word}': a port is 1 to 65535", _AS_IN)
    return one


@dataclass
class Allocator:
    """Which ports of the host are taken, and by which container."""

    taken: dict[Published, str] = field(default_factory=dict)
    _last: dict[tuple[str, str], int] = field(default_factory=dict)

    def take(self, what: str, wanted: Published, container: str, binding: str = ANY) -> Published:
        """Take the port, on the address `binding` where none is stated. Raises Duplicate, Unavailable."""
        wanted = replace(wanted, host_ip=wanted.host_ip or binding)
        if wanted.host_port == 0:
            wanted = self._next(what, wanted)
        elif holder := self._holder(wanted):
            there = ", ".join(f"{port} of '{name}'" for port, name in self.taken.items()) or "none"
            raise Duplicate(
                f"{what}: port {wanted.host_port}/{wanted.protocol} of {wanted.host_ip} is published by '{holder}'",
                f"published there: {there}",
            )
        self.taken[wanted] = container
        return wanted

    def release(self, port: Published) -> None:
        """The port is free."""
        self.taken.pop(port, None)

    def _holder(self, wanted: Published) -> str | None:
        for port, name in self.taken.items():
            same = port.protocol == wanted.protocol and port.host_port == wanted.host_port
            if same and (port.host_ip == wanted.host_ip or ANY in (port.host_ip, wanted.host_ip)):
                return name
        return None

    def _next(self, what: str, wanted: Published) -> Published:
        """Return it with the port after the last that was chosen; a port given back is not chosen again at once."""
        kind = wanted.host_ip, wanted.protocol
        start = self._last.get(kind, LAST) - FIRST + 1
        for step in range(LAST - FIRST + 1):
            candidate = replace(wanted, host_port=FIRST + (start + step) % (LAST - FIRST + 1))
            if self._holder(candidate) is None:
                self._last[kind] = candidate.host_port
                return candidate
        raise Unavailable(f"{what}: all ports of {wanted.host_ip} are taken", f"{FIRST} to {LAST}; state another")
