"""The embedded DNS of Docker: how does a container find another by its name?

In the namespace of every container on a user-defined network somebody answers at 127.0.0.11. The sockets are on ports
that nobody knows in advance; rules of nat lead there what is sent to port 53. Who may ask for what: `dns_server`.
Source: libnetwork, resolver.go, resolver_unix.go and sandbox_dns_unix.go, as in Docker 20.10.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from json import dumps
from typing import IO, Any

from dnslib import RCODE, DNSError, DNSRecord

from labkit.docker.dns_server import ADDRESS, NAME, Endpoint, forget_resolv_conf, resolv_conf
from labkit.errors import Refused, WrongUse, cause
from labkit.net import iptables
from labkit.net import namespace as namespaces
from labkit.net.command import Command
from labkit.net.here import ensure_lab_machine

__all__ = ["ADDRESS", "Endpoint", "Reply", "Resolver", "lookup"]

PATIENCE = 10.0  # seconds for the process to take what it is told
RESOLV_CONF = f"nameserver {ADDRESS}\noptions ndots:0\n"
_JUMPS = f"""\
-I OUTPUT -d {ADDRESS} -j DOCKER_OUTPUT
-I POSTROUTING -d {ADDRESS} -j DOCKER_POSTROUTING
"""
_RULES = f"""\
*nat
:DOCKER_OUTPUT - [0:0]
:DOCKER_POSTROUTING - [0:0]
{{jumps}}\
-A DOCKER_OUTPUT -d {ADDRESS} -p tcp -m tcp --dport 53 -j DNAT --to-destination {ADDRESS}:{{tcp}}
-A DOCKER_OUTPUT -d {ADDRESS} -p udp -m udp --dport 53 -j DNAT --to-destination {ADDRESS}:{{udp}}
-A DOCKER_POSTROUTING -s {ADDRESS} -p tcp -m tcp --sport {{tcp}} -j SNAT --to-source :53
-A DOCKER_POSTROUTING -s {ADDRESS} -p udp -m udp --sport {{udp}} -j SNAT --to-source :53
COMMIT
"""


class Resolver:
    """The embedded DNS of one Docker: a process, labkit-dns, that ends with whoever made it.

    A container is answered once it is served, and knows what the last update said."""

    def __init__(self) -> None:
        ensure_lab_machine("start the embedded DNS")
        self._served: dict[str, str] = {}  # container -> its namespace
        self._ruled: set[int] = (
            set()
        )  # inodes of namespaces that got the jumps to our chains; the kernel uses them again
        self._endpoints: list[Endpoint] = []
        self._start()

    @property
    def pid(self) -> int:
        """The process. Same as: pgrep labkit-dns"""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def serve(self, container: str, namespace: str | None = None) -> Command:
        """In the container's namespace (its name, unless given), 127.0.0.11 answers, and /etc/resolv.conf says so.

        Return what put the rules there. Raises NotFound, Refused, Unavailable.
        Same as: what `docker run --network NET` does in a container of NET"""
        namespace = namespace or container
        failed = f"failed to serve names in namespace '{namespace}'"
        self._ensure_running(failed)
        with ExitStack() as sockets, ExitStack() as undo:
            opened = namespaces.inside(namespace, lambda: _open(failed, namespace))
            udp, tcp = (sockets.enter_context(sock) for sock in opened)
            inode = namespaces.inode(namespace)
            command = self._lead_to(udp, tcp, namespace, inode)
            undo.callback(forget_resolv_conf, namespace)
            _write_resolv_conf(namespace)
            what = {"container": container, "namespace": namespace, "inode": inode}
            self._tell(failed, [udp.fileno(), tcp.fileno()], verb="serve", **what)
            undo.pop_all()
        self._served[container] = namespace
        return command

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """The containers know these names and no others. Raises Refused where the process has ended."""
        self._endpoints = list(endpoints)
        self._tell("failed to update the names", verb="update", endpoints=self._endpoints)

    def stop(self, container: str) -> None:
        """A container is answered no more, and no socket is left there that would keep its namespace alive.

        Its rules stay, as Docker's do, until the namespace goes."""
        namespace = self._served.pop(container, None)
        if namespace is not None:
            forget_resolv_conf(namespace)
            if not self.ended:
                self._tell(f"failed to stop serving '{container}'", verb="stop", container=container)
                with suppress(OSError):  # where the process ends meanwhile, nobody is answered either
                    self._control.recv(1)

    def restart(self) -> None:
        """A new process answers, with the names of the last update, whom the old one answered, where they still are."""
        self._end()
        self._start()
        self.update(self._endpoints)
        there = namespaces.names()
        self._served = {container: name for container, name in self._served.items() if name in there}
        for container, name in list(self._served.items()):
            self.serve(container, name)

    def close(self) -> None:
        """The process has ended, and nobody is answered. Closing again changes nothing."""
        self._end()
        for namespace in self._served.values():
            forget_resolv_conf(namespace)
        self._served.clear()

    def __repr__(self) -> str:
        there = ", ".join(sorted(self._served)) or "nobody"
        does = "has ended; it answered" if self.ended else "answers"
        return f"{NAME}, process {self.pid}, {does} {there}"

    def _lead_to(self, udp: socket.socket, tcp: socket.socket, namespace: str, inode: int) -> Command:
        """What is sent to port 53 of 127.0.0.11 in the namespace comes to these sockets."""
        jumps = "" if inode in self._ruled and _jumps_there(namespace) else _JUMPS
        rules = _RULES.format(jumps=jumps, udp=udp.getsockname()[1], tcp=tcp.getsockname()[1])
        command = iptables.apply(rules, namespace=namespace)
        self._ruled.add(inode)
        return command

    def _start(self) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by _end
        self._control, theirs = socket.socketpair()
        self._control.settimeout(PATIENCE)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "labkit.docker.dns_server"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C is for the owner
            )
        self._end = weakref.finalize(self, _end, self._control, self._process, self._said)

    def _tell(self, failed: str, descriptors: Iterable[int] = (), **what: Any) -> None:
        self._ensure_running(failed)
        line = dumps(what).encode() + b"\n"
        try:
            sent = socket.send_fds(self._control, [line], list(descriptors)) if descriptors else 0
            self._control.sendall(line[sent:])
        except OSError as error:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self._ensure_running(failed)
            raise Refused(f"{failed}: the embedded DNS does not listen", f"look at it: ps {self.pid}") from error

    def _ensure_running(self, failed: str) -> None:
        """Raises Refused where the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise Refused(f"{failed}: the embedded DNS, process {self.pid}, {_how(status, self._said)}", _RESTART)


_RESTART = "another starts with the Resolver's restart(), or with a new Docker()"


def _how(status: int, said: IO[str]) -> str:
    """-9 → "was killed by SIGKILL"; 1 → "ended by itself: " and its last words."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    with suppress(ValueError, IndexError):
        said.seek(0)
        return f"ended by itself: {said.read().strip().splitlines()[-1]}"
    return "was ended"


def _end(control: socket.socket, process: subprocess.Popen[bytes], said: IO[str]) -> None:
    control.close()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    said.close()


def _open(failed: str, namespace: str) -> tuple[socket.socket, socket.socket]:
    """Return sockets for UDP and TCP on ports that the kernel chooses."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        udp.bind((ADDRESS, 0))
        tcp.bind((ADDRESS, 0))
        tcp.listen()
    except OSError as error:
        udp.close()
        tcp.close()
        number = error.errno or 0
        hint = f"sockets there: ip netns exec {namespace} ss -lnut"
        raise Refused(f"{failed}: {ADDRESS}: {cause(number)}", hint, errno=number) from error
    return udp, tcp


def _jumps_there(namespace: str) -> bool:
    return f"-A OUTPUT -d {ADDRESS}/32 -j DOCKER_OUTPUT" in iptables.save("nat", namespace=namespace)


def _write_resolv_conf(namespace: str) -> None:
    os.makedirs(os.path.dirname(resolv_conf(namespace)), exist_ok=True)
    with open(resolv_conf(namespace), "w", encoding="ascii") as file:
        file.write(RESOLV_CONF)


@dataclass(frozen=True, repr=False)
class Reply:
    """What a name server answered. `status`: "NOERROR", "REFUSED"...; `answers`: addresses or names, in their order;
    `ttl`: seconds. Its repr is a sentence."""

    name: str
    type: str
    status: str
    answers: tuple[str, ...]
    ttl: int = 0

    def __bool__(self) -> bool:
        return bool(self.answers)

    def __repr__(self) -> str:
        if self.answers:
            return f"{self.name} {self.type}: {', '.join(self.answers)} (TTL {self.ttl} s)"
        if self.status == "NOERROR":
            return f"{self.name} {self.type}: the name exists, and has no such record"
        if self.status == "REFUSED":
            return f"{self.name} {self.type}: REFUSED, {ADDRESS} does not know it and has nobody to ask"
        return f"{self.name} {self.type}: {self.status}"


def lookup(namespace: str, name: str, type: str = "A", *, timeout: float = 2.0) -> Reply:  # noqa: A002
    """Ask the name server of a container for `name`; what is too long for UDP is asked again over TCP.

    `type`: "A", "AAAA", "PTR" (with an address for a name)...; `timeout`: seconds.
    Raises WrongUse, NotFound, Refused. Same as: ip netns exec NAMESPACE dig @127.0.0.11 NAME TYPE"""
    failed = f"failed to look up '{name}' in namespace '{namespace}'"
    try:
        message = DNSRecord.question(_reverse(name) if type == "PTR" else name, type).pack()
    except (DNSError, ValueError) as error:
        raise WrongUse(f"{failed}: no query for such a name or type", _QUERIES) from error
    try:
        reply = _ask(namespace, message, socket.SOCK_DGRAM, timeout)
        if reply.header.tc:
            reply = _ask(namespace, message, socket.SOCK_STREAM, timeout)
    except (OSError, DNSError) as error:
        number = getattr(error, "errno", None) or 0
        why = cause(number) if number else "no answer" if isinstance(error, TimeoutError) else str(error)
        raise Refused(f"{failed}: {ADDRESS}: {why}", _NOBODY, errno=number) from error
    answers = tuple(str(record.rdata).rstrip(".") for record in reply.rr)
    status = RCODE.forward.get(reply.header.rcode, str(reply.header.rcode))
    return Reply(name, type, status, answers, reply.rr[0].ttl if reply.rr else 0)


_QUERIES = "between two dots of a name stand at most 63 characters; types: A, AAAA, PTR, MX..."
_NOBODY = f"{ADDRESS} answers in containers on a user-defined network, while {NAME} runs: ps -C {NAME}"


def _reverse(address: str) -> str:
    """172.18.0.2 → 2.0.18.172.in-addr.arpa; other names stay"""
    with suppress(ValueError):
        return IPv4Address(address).reverse_pointer
    return address


def _ask(namespace: str, message: bytes, kind: socket.SocketKind, timeout: float) -> DNSRecord:
    """Return the answer that belongs to `message`. Raises OSError, DNSError."""
    with namespaces.inside(namespace, lambda: socket.socket(socket.AF_INET, kind)) as sock:
        sock.settimeout(timeout)
        sock.connect((ADDRESS, 53))
        if kind == socket.SOCK_DGRAM:
            sock.send(message)
            return DNSRecord.parse(sock.recv(65535))
        sock.sendall(len(message).to_bytes(2, "big") + message)
        with sock.makefile("rb") as stream:
            return DNSRecord.parse(stream.read(int.from_bytes(stream.read(2), "big")))
