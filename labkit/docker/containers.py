"""Containers: what is a container to Docker's networking? A namespace, the process that lives in it, and its endpoints.

There are no images here: the process sees the files of the lab machine, but for /etc/hosts and /etc/resolv.conf.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import IO

from labkit import lab as labs
from labkit.docker.networks import Network, identity
from labkit.docker.ports import Published
from labkit.errors import CommandNotInstalled
from labkit.net import namespace as namespaces

__all__ = ["SLEEP", "Container", "Endpoint", "Wanted", "host_side", "new"]

_LOOPBACK = """\
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
ff00::0	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
"""
SLEEP = "sleep infinity"  # what a container does that is told nothing
_PATIENCE = 2.0  # seconds that a process may take to end by itself; Docker waits ten


@dataclass(frozen=True)
class Wanted:
    """How a container wants to be on a network: with this address, and also known by these names there."""

    ip: IPv4Address | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """A running container's place on a network: an interface in the container, and its other side on the bridge."""

    network: Network
    address: IPv4Address
    mac: str
    interface: str
    host_side: str
    aliases: tuple[str, ...] = ()


@dataclass(eq=False, repr=False)
class Container:
    """A container. `networks`: those it is on whenever it runs; `endpoints`: its places there while it does.

    `mode`: the network that it was made with: "bridge", a network's name, "host", "none" or "container:NAME".
    `ports`: what is published now. `commands`: what made its network, as shell commands."""

    name: str
    id: str
    command: str | list[str]
    mode: str
    publish: tuple[Published, ...] = ()
    networks: dict[str, Wanted] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    gateway: Endpoint | None = None
    ports: tuple[Published, ...] = ()
    commands: tuple[str, ...] = ()
    interfaces: int = 0  # how many it has had: the next is eth followed by this number
    lab: labs.Lab | None = None  # its namespace
    borrowed: int = -1  # a descriptor of the namespace that it shares
    served: bool = False  # 127.0.0.11 answers
    process: subprocess.Popen[bytes] | None = None
    output: IO[bytes] | None = None
    status: int | None = None  # exit status of its process, once it has ended

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.process is not None

    @property
    def shares(self) -> bool:
        """Whether its namespace is that of the host or of another container."""
        return self.mode == "host" or self.mode.startswith("container:")

    @property
    def ip(self) -> str:
        """The address of its first endpoint, "" where it has none."""
        return next((str(endpoint.address) for endpoint in self.endpoints.values()), "")

    @property
    def told(self) -> str:
        """The command in one line."""
        return self.command if isinstance(self.command, str) else shlex.join(self.command)

    def make(self) -> None:
        """The container has a namespace of its own, with `lo` up and no other link. Raises Duplicate.

        As in Docker, its programs may use the ports below 1024 whoever they are. Same as: ip netns add NAME"""
        settings = {"net.ipv4.ip_unprivileged_port_start": 0}
        self.lab = labs.build(labs.Topology(labs.Container(self.name, sysctls=settings)), name=f"docker {self.name}")

    def share(self, target: str) -> None:
        """The container's name stands for the namespace `target`, and its programs see that one's files."""
        self.borrowed = namespaces.open_namespace(target)
        os.symlink(f"/proc/{os.readlink('/proc/self')}/fd/{self.borrowed}", namespaces.path(self.name))
        if os.path.isdir(os.path.join(namespaces.ETC, target)):
            os.symlink(target, os.path.join(namespaces.ETC, self.name))

    def begin(self) -> None:
        """The container's process runs in its namespace. What it prints goes to `output`."""
        words = ["sh", "-c", self.command] if isinstance(self.command, str) else self.command
        words = SLEEP.split() if self.command == SLEEP else ["ip", "netns", "exec", self.name, *words]
        self.close()
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the container
        self.process = namespaces.inside(
            self.name,
            lambda: subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the notebook
            ),
        )
        self.status = None

    def end(self) -> None:
        """The process has ended, and the namespace has lost its name; it goes with its last user."""
        self._end_process()
        self._forget_hosts()
        if self.lab is not None:
            self.lab.down()
        if self.borrowed >= 0:
            os.close(self.borrowed)
            with suppress(OSError):
                os.unlink(namespaces.path(self.name))
        self.lab, self.borrowed, self.interfaces, self.served, self.gateway = None, -1, 0, False, None

    def close(self) -> None:
        """What the process printed is gone too."""
        if self.output is not None:
            self.output.close()
            self.output = None

    def printed(self) -> str:
        """Return what the process has printed."""
        if self.output is None:
            return ""
        return os.pread(self.output.fileno(), os.fstat(self.output.fileno()).st_size, 0).decode(errors="replace")

    def write_hosts(self) -> None:
        """Programs that enter the namespace find the container's addresses in /etc/hosts, as Docker writes it."""
        folder = os.path.join(namespaces.ETC, self.name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "hosts"), "w", encoding="ascii") as file:
            file.write(_LOOPBACK + "".join(f"{place.address}\t{self.id}\n" for place in self.endpoints.values()))

    def _forget_hosts(self) -> None:
        folder = os.path.join(namespaces.ETC, self.name)
        with suppress(OSError):
            if os.path.islink(folder):  # those of the container whose namespace it shares
                os.unlink(folder)
            else:
                os.unlink(os.path.join(folder, "hosts"))
                os.rmdir(folder)

    def _end_process(self) -> None:
        """Ask it to end (SIGTERM), and then make it (SIGKILL)."""
        if self.process is None:
            return
        for number, patience in ((signal.SIGTERM, _PATIENCE), (signal.SIGKILL, None)):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
                break
        self.status, self.process = self.process.returncode, None

    def __repr__(self) -> str:
        state = "up" if self.running else "created" if self.status is None else f"exited ({self.status})"
        places = [f"{name} {endpoint.address}" for name, endpoint in self.endpoints.items()] or [self.mode]
        return f"container '{self.name}': {', '.join([state, *places, *map(str, self.ports)])}"


def host_side(container: str, network: str) -> str:
    """Return the name of a veth's side on the host: "veth" and seven hexadecimal digits, which are random in Docker and
    follow from the names here."""
    return "veth" + hashlib.blake2b(f"{container} {network}".encode(), digest_size=4).hexdigest()[:7]


def _check_command(what: str, command: str | list[str]) -> None:
    """Raises CommandNotInstalled where the program is missing."""
    words = shlex.split(command) if isinstance(command, str) else command
    if words and words[0].replace("-", "").isalnum() and shutil.which(words[0]) is None:
        raise CommandNotInstalled(
            f"{what}: the command '{words[0]}' is not installed",
            f"look for its package with: apt-cache search {words[0]}",
        )


def new(what: str, name: str, command: str | list[str], mode: str, publish: tuple[Published, ...]) -> Container:
    """Return a container that does not run yet. Raises CommandNotInstalled."""
    _check_command(what, command)
    return Container(name, identity("container", name), command, mode, publish)
