"""What is sent to be followed? A ping, the first packet of a connection, a request of HTTP or DNS, any scapy packet.

Each is sent by a real socket in the namespace that it sets off from, so that the kernel decides as it does for any
program; a frame with its Ethernet header goes onto the link as it is. Each carries something that no other packet has.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import select
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from labkit.errors import LabkitError, WrongUse
from labkit.packets.icmp import checksum, hear_only
from labkit.packets.inside import inside
from labkit.packets.layer2 import send
from labkit.tracing.following import ENOUGH, Following, signature
from labkit.tracing.headers import ECHO_REPLY, ECHO_REQUEST, TCP, UDP, Packet, packets_in
from labkit.tracing.lookups import link_mac, route

__all__ = ["Dns", "Http", "Ping", "Probe", "Raw", "Tcp", "Udp"]

_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _DONT, _DO = 10, 23, 0, 2
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_SYN, _ACK, _RST, _FIN = 2, 16, 4, 1


class Probe(Protocol):
    """Something to send. `what`: in words. `due`: whether an answer is. `destination`: the IP address, or ""."""

    what: str
    source: str
    destination: str
    due: bool
    patient: bool  # a program is to answer: it may take its time
    handmade: bool  # a frame with MACs that no table gave
    error: OSError | None  # what the kernel said to the sender, at once or by an ICMP error or a RST that came back
    answered: bool  # the sender has its answer

    def send(self) -> None:
        """Send it; what the kernel answers at once is in `error`."""

    def done(self, seconds: float) -> bool:
        """Return whether the sender has its answer or an error, waiting for it for up to `seconds`."""

    def following(self) -> Following:
        """Return what recognises it."""

    def imagined(self) -> Packet:
        """Return it as it would have been, where no frame of it was seen."""

    def close(self) -> None:
        """Give its socket back."""


def family_of(address: str) -> socket.AddressFamily:
    """Return AF_INET or AF_INET6. Raises WrongUse for what is no IP address."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as error:
        raise WrongUse(
            f"failed to trace a packet to '{address}': it is neither an IP address nor a namespace with one",
            "as in 10.0.0.3, or the name of a namespace",
        ) from error
    return socket.AF_INET6 if version == 6 else socket.AF_INET


class _Socket(ABC):
    """A probe with a socket of its own."""

    due = True
    patient = handmade = False

    def __init__(self, what: str, source: str, destination: str) -> None:
        self.what, self.source, self.destination = what, source, destination
        self.family = family_of(destination)
        self.token = secrets.token_hex(ENOUGH // 2).encode()
        self.error: OSError | None = None
        self.answered = False
        self.sock: socket.socket | None = None

    def send(self) -> None:
        self.sock = inside(self.source, self._open)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            self._say(self.sock)
        except OSError as error:
            self.error = error

    @abstractmethod
    def _open(self) -> socket.socket:
        """Return a socket, made in the namespace that it sends from."""

    @abstractmethod
    def _say(self, sock: socket.socket) -> None:
        """Send it. Raises OSError."""

    def done(self, seconds: float) -> bool:
        if self.sock is None or self.error is not None or self.answered:
            return True
        if self._ready(self._event(), seconds):
            try:
                self.answered = self._hear(self.sock)
            except BlockingIOError:
                return False
            except OSError as error:
                self.error = error
        return self.answered or self.error is not None

    def _event(self) -> int:
        return select.POLLIN

    def _hear(self, sock: socket.socket) -> bool:
        """Read what came, and return whether it is the answer. Raises OSError for an error that came back."""
        return bool(sock.recv(65536, socket.MSG_DONTWAIT))

    def _ready(self, event: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self.sock or 0, event)
        return bool(poll.poll(seconds * 1000))

    def _packet(self, protocol: int, body: bytes, df: bool = True) -> Packet:
        found = route(self.source, self.destination)
        header = 40 if self.family == socket.AF_INET6 else 20
        return Packet(
            src=(found.prefsrc if found else None) or "",
            dst=self.destination,
            ttl=64,
            protocol=protocol,
            df=df,
            length=header + len(body),
            body=body,
        )

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()


class Ping(_Socket):
    """An ICMP echo request. `size`: bytes of payload; `df`: whether routers may not fragment it; `ttl`: 1 to 255."""

    def __init__(self, source: str, destination: str, size: int = 56, df: bool = False, ttl: int | None = None) -> None:
        super().__init__(f"ping {destination}", source, destination)
        self.protocol = 58 if self.family == socket.AF_INET6 else 1
        self.payload = (self.token + bytes(range(256)) * (size // 256 + 1))[: max(size, ENOUGH)]
        self.df, self.ttl = df, ttl
        self.identifier = secrets.randbelow(0xFFFF)

    def _open(self) -> socket.socket:
        sock = socket.socket(self.family, socket.SOCK_RAW, self.protocol)
        level = socket.IPPROTO_IPV6 if self.protocol == 58 else socket.IPPROTO_IP
        sock.setsockopt(
            level, _IPV6_MTU_DISCOVER if self.protocol == 58 else _IP_MTU_DISCOVER, _DO if self.df else _DONT
        )
        sock.setsockopt(level, _IPV6_RECVERR if self.protocol == 58 else _IP_RECVERR, 1)
        if self.ttl is not None:
            sock.setsockopt(level, socket.IPV6_UNICAST_HOPS if self.protocol == 58 else socket.IP_TTL, self.ttl)
        hear_only(sock, self.identifier, six=self.protocol == 58)
        return sock

    def _say(self, sock: socket.socket) -> None:
        kind = ECHO_REQUEST[self.protocol]
        message = struct.pack(">BBHHH", kind, 0, 0, self.identifier, 1) + self.payload
        if self.protocol == 1:  # the kernel computes ICMPv6's
            message = message[:2] + checksum(message) + message[4:]
        sock.sendto(message, (self.destination, 0))

    def _hear(self, sock: socket.socket) -> bool:
        while True:  # other messages than ours arrive here too, and errors that quote ours
            data = sock.recv(65536, socket.MSG_DONTWAIT)
            message = data[(data[0] & 15) * 4 :] if self.protocol == 1 else data
            if message[:1] == bytes([ECHO_REPLY[self.protocol]]) and self.token in message:
                return True

    def following(self) -> Following:
        return Following(lambda packet: packet.kind == ECHO_REQUEST[self.protocol] and self._carries(packet))

    def imagined(self) -> Packet:
        head = struct.pack(">BBHHH", ECHO_REQUEST[self.protocol], 0, 0, self.identifier, 1)
        return self._packet(self.protocol, head + self.payload, self.df)

    def _carries(self, packet: Packet) -> bool:
        return packet.protocol == self.protocol and packet.payload[:ENOUGH] == self.token


class Tcp(_Socket):
    """The first packet of a connection, as connect(2) sends it."""

    def __init__(self, source: str, destination: str, port: int) -> None:
        super().__init__(f"connection to {_end(destination, port)}", source, destination)
        self.port = port
        self.local = 0

    def _open(self) -> socket.socket:
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        return sock

    def _say(self, sock: socket.socket) -> None:
        number = sock.connect_ex((self.destination, self.port))
        self.local = sock.getsockname()[1]
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, os.strerror(number))

    def _event(self) -> int:
        return select.POLLOUT

    def _hear(self, sock: socket.socket) -> bool:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        return True

    def following(self) -> Following:
        def first(packet: Packet) -> bool:
            return _leaves_by(packet, TCP, self.local) and packet.flags & 18 == _SYN  # its end may be another by DNAT

        return Following(first, lambda packet: bool(packet.flags & (_SYN | _RST)))

    def imagined(self) -> Packet:
        return self._packet(TCP, struct.pack(">HHIIBBHHH", self.local, self.port, 0, 0, 0x50, _SYN, 0, 0, 0))


class Http(Tcp):
    """The request of an HTTP client, once its connection stands; where none comes to stand, the connection's first
    packet."""

    def __init__(self, source: str, destination: str, port: int = 80, path: str = "/", timeout: float = 1.0) -> None:
        super().__init__(source, destination, port)
        self.what = f"GET http://{_end(destination, port)}{path}"
        self.timeout = timeout
        mark = self.token.decode()
        self.request = f"GET {path}?{mark} HTTP/1.1\r\nHost: {destination}\r\nConnection: close\r\n\r\n".encode()
        self.asked = False

    def _say(self, sock: socket.socket) -> None:
        super()._say(sock)
        if self._ready(select.POLLOUT, self.timeout) and super()._hear(sock):
            sock.send(self.request)
            self.asked = self.patient = True

    def _event(self) -> int:
        return select.POLLIN if self.asked else select.POLLOUT

    def _hear(self, sock: socket.socket) -> bool:
        return bool(sock.recv(65536, socket.MSG_DONTWAIT)) if self.asked else super()._hear(sock)

    def following(self) -> Following:
        if not self.asked:
            return super().following()

        def is_answer(packet: Packet) -> bool:
            return bool(packet.payload or packet.flags & (_RST | _FIN))

        return Following(lambda packet: packet.payload == self.request, is_answer)


class Udp(_Socket):
    """A datagram. An answer is not due, and is followed when one comes."""

    due = False

    def __init__(self, source: str, destination: str, port: int, data: bytes = b"") -> None:
        super().__init__(f"datagram to {_end(destination, port)}", source, destination)
        self.port = port
        self.data = data or self.token + b" from labkit"

    def _open(self) -> socket.socket:
        return socket.socket(self.family, socket.SOCK_DGRAM)

    def _say(self, sock: socket.socket) -> None:
        sock.connect((self.destination, self.port))
        sock.send(self.data)

    def _hear(self, sock: socket.socket) -> bool:
        sock.recv(65536, socket.MSG_DONTWAIT)
        return True

    def following(self) -> Following:
        assert self.sock is not None
        local = self.sock.getsockname()[1]

        def first(packet: Packet) -> bool:
            return _leaves_by(packet, UDP, local) and packet.payload[:ENOUGH] == self.data[:ENOUGH]

        return Following(first)

    def imagined(self) -> Packet:
        return self._packet(UDP, struct.pack(">HHHH", 0, self.port, 8 + len(self.data), 0) + self.data)


class Dns(Udp):
    """A query for the addresses (type A) of a name."""

    due = patient = True

    def __init__(self, source: str, server: str, name: str, port: int = 53) -> None:
        labels = b"".join(bytes([len(label)]) + label.encode("idna") for label in name.strip(".").split(".") if label)
        head = struct.pack(">HHHHHH", secrets.randbelow(0xFFFF), 0x0100, 1, 0, 0, 0)
        super().__init__(source, server, port, head + labels + struct.pack(">BHH", 0, 1, 1))
        self.what = f"DNS query for {name} to {_end(server, port)}"


class Raw:
    """A packet of the caller's own: bytes or scapy's, from the Ethernet header on (onto `interface`, as it is) or from
    the IP header on (routed by the kernel, which fills in a source address of 0.0.0.0 and an identification of 0)."""

    def __init__(self, source: str, packet: Any, interface: str) -> None:
        self.source, self.interface = source, interface
        if not isinstance(packet, bytes) and not hasattr(packet, "fields"):
            raise WrongUse(
                f"failed to trace a {type(packet).__name__}: it is no packet",
                "an IP address, the name of a namespace, bytes, or a packet of scapy's",
            )
        self.patient = False
        self.layer3 = _is_ip(packet)
        self.handmade = not self.layer3
        if self.handmade and not interface:
            raise WrongUse(
                f"failed to trace a frame from namespace '{source}': it has more than one link, or none",
                f"name the link, as in from_='{source}/eth0'",
            )
        self.data = bytes(packet if isinstance(packet, bytes) else _written_out(packet, source, interface))
        found = packets_in(self.data if not self.layer3 else bytes(12) + _ethertype(self.data) + self.data)
        if not found:
            raise WrongUse(
                f"failed to trace a packet of {len(self.data)} bytes: it is neither an Ethernet frame nor an IP packet",
                "as in IP(dst='10.0.0.3') / ICMP(), or Ether(...) / ARP(...)",
            )
        self.packet = found[0]
        self.destination = self.packet.dst
        echo = self.packet.kind in ECHO_REQUEST.values()
        self.due = echo or bool(self.packet.flags & 18 == _SYN) or _asks(self.packet)
        self.what = "packet " + _words(self.packet)
        self.error: OSError | None = None
        self.answered = False  # nobody listens for it: its frames tell

    def send(self) -> None:
        try:
            inside(self.source, self._routed) if self.layer3 else send(self.data, self.source, self.interface)
        except LabkitError:
            raise
        except OSError as error:
            self.error = error

    def _routed(self) -> None:
        family = socket.AF_INET if self.data[0] >> 4 == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL
            sock.sendto(self.data, (self.destination, 0))

    def done(self, seconds: float) -> bool:
        select.select([], [], [], seconds)
        return self.error is not None

    def following(self) -> Following:
        wanted, ident = signature(self.packet), self.packet.ident

        def first(packet: Packet) -> bool:
            return signature(packet) == wanted and (not ident or packet.ident == ident)

        return Following(first, _answers_first(self.packet))

    def imagined(self) -> Packet:
        return self.packet

    def close(self) -> None:
        """Nothing is open."""


def _asks(packet: Packet) -> bool:
    """Whether it is an ARP request that wants an answer; one for the sender's own address only tells."""
    return packet.arp is not None and packet.arp[0] == 1 and packet.arp[2] != packet.arp[4]


def _leaves_by(packet: Packet, protocol: int, port: int) -> bool:
    return packet.protocol == protocol and packet.ports is not None and packet.ports[0] == port


def _written_out(packet: Any, source: str, interface: str) -> Any:
    """Return a scapy packet with the addresses that scapy would look up where it knows nothing: in its own tables."""
    packet = packet.copy()
    layer = packet
    while layer is not None and type(layer).__name__ != "NoPayload":
        name, fields = type(layer).__name__, layer.fields
        if name == "Ether" and "src" not in fields:
            layer.src = link_mac(source, interface)
        if name == "Ether" and "dst" not in fields:
            raise WrongUse(
                "failed to trace a frame: its destination MAC is not written out", "as in Ether(dst='02:...') / ..."
            )
        if name in ("IP", "IPv6") and "src" not in fields:
            found = route(source, str(layer.dst))
            layer.src = found.prefsrc if found and found.prefsrc else "0.0.0.0" if name == "IP" else "::"  # noqa: S104
        if name == "IP" and "id" not in fields:
            layer.id = secrets.randbelow(0xFFFE) + 1
        layer = layer.payload
    return packet


def _answers_first(request: Packet) -> Callable[[Packet], bool]:
    if request.protocol == TCP:
        return lambda packet: bool(packet.flags & _RST) or packet.acknowledged > request.sequence
    return lambda _: True


def _is_ip(packet: Any) -> bool:
    name = type(packet).__name__
    if name in ("IP", "IPv6"):
        return True
    data = bytes(packet)
    plausible = data[:1] and data[0] >> 4 == 4 and int.from_bytes(data[2:4], "big") == len(data)
    return isinstance(packet, bytes) and bool(plausible)


def _ethertype(data: bytes) -> bytes:
    return b"\x08\x00" if data[0] >> 4 == 4 else b"\x86\xdd"


def _words(packet: Packet) -> str:
    if packet.arp:
        return f"ARP for {packet.arp[4]}"
    return f"to {_end(packet.dst, packet.ports[1])}" if packet.ports else f"to {packet.dst or packet.dst_mac}"


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
