"""Does it answer? ping, from any namespace, at the speed of ping.

A raw ICMP socket, opened inside the namespace; ICMP errors come back on its error queue, as they do for ping itself.
Source: RFC 792, RFC 4443, icmp(7), ip(7) on IP_RECVERR.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Self

from labkit.errors import NamespaceGone, NotFound, WrongUse, cause
from labkit.net.here import ensure_lab_machine
from labkit.packets import icmp_errors, neighbours
from labkit.packets.inside import inside
from labkit.packets.ring import attach_filter

__all__ = ["Ping", "Probe", "checksum", "hear_only", "ping"]

IP_TTL, IP_RECVERR, IP_MTU_DISCOVER, IP_MTU, IP_RECVTTL = 2, 11, 10, 14, 12
PMTU_DONT, PMTU_DO = 0, 2
IPV6_UNICAST_HOPS, IPV6_RECVERR, IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 16, 25, 23, 24, 51, 52
SOL_RAW, ICMP_FILTER, ICMP6_FILTER = 255, 1, 1
SO_RCVTIMEO_TIMEVAL = struct.Struct("ll")
LOCAL, ICMP4, ICMP6 = 1, 2, 3  # SO_EE_ORIGIN_*
_EXTENDED_ERROR = struct.Struct("=IBBBBII")


@dataclass(frozen=True, repr=False)
class Ping:
    """What a ping found out. Its text has no times in it; `rtts` has them."""

    namespace: str
    destination: str
    sent: int
    rtts: tuple[float, ...]  # round trips in seconds, of the answered probes
    ttls: tuple[int, ...]  # TTL (IPv6: hop limit) left in each answer
    errors: tuple[str, ...]  # one for each probe without an answer
    command: str = field(compare=False)

    @property
    def received(self) -> int:
        """How many probes were answered."""
        return len(self.rtts)

    @property
    def answered(self) -> bool:
        """Whether every probe was answered."""
        return self.received == self.sent

    @property
    def error(self) -> str | None:
        """Why the last unanswered probe was not answered, or None if all were."""
        return self.errors[-1] if self.errors else None

    def __bool__(self) -> bool:
        return self.answered

    def __repr__(self) -> str:
        told = f"{self.namespace} → {self.destination}: {self.received} of {self.sent} answered"
        if self.ttls:
            told += f" (TTL {', '.join(str(ttl) for ttl in sorted(set(self.ttls)))})"
        return f"{told}: {self.error}" if self.error else told

    @property
    def times(self) -> str:
        """The round trips, in milliseconds: "0.041, 0.032 ms"."""
        return ", ".join(f"{rtt * 1000:.3f}" for rtt in self.rtts) + " ms"


def ping(
    namespace: str,
    destination: str,
    *,
    count: int = 1,
    timeout: float = 1.0,
    size: int = 56,
    ttl: int = 64,
    df: bool = False,
    source: str | None = None,
    interval: float = 0.0,
) -> Ping:
    """Send `count` echo requests from `namespace` to the address `destination`, one after the other; return a Ping.

    timeout: seconds to wait for each answer. size: bytes of payload, 0 to 65507; on the wire 28 more (8 ICMP + 20 IPv4)
    or 48 more (8 ICMPv6 + 40 IPv6). ttl: 1 to 255 (IPv6: hop limit). df: set "don't fragment"; a packet beyond the
    path's MTU is then refused. source: address to send from. interval: seconds between probes.

    Whatever keeps an answer from coming is in the Ping's `error`, in words, not an exception.
    Raises WrongUse for what is no IP address or out of range, NotFound for a namespace that is not there.
    Same as: ip netns exec NAMESPACE ping -n -c COUNT -W TIMEOUT -s SIZE -t TTL [-M do] [-I SOURCE] DESTINATION"""
    ensure_lab_machine(f"ping {destination}")
    address = _address(destination)
    if not 0 <= size <= 65507 or not 1 <= ttl <= 255 or count < 1 or timeout <= 0:
        raise WrongUse(
            f"failed to ping {destination}: size is 0 to 65507, ttl 1 to 255, count at least 1, timeout above 0",
            f"asked for: size {size}, ttl {ttl}, count {count}, timeout {timeout}",
        )
    command = _command(namespace, destination, count, timeout, size, ttl, df, source)
    try:
        probe = inside(namespace, lambda: Probe(address, ttl=ttl, df=df, source=source))
    except OSError as error:
        told = _local(error.errno or 0, namespace, address, source)
        return Ping(namespace, destination, count, (), (), (told,) * count, command)
    rtts: list[float] = []
    ttls: list[int] = []
    errors: list[str] = []
    with probe:
        payload = bytes(index & 0xFF for index in range(size))
        for sequence in range(1, count + 1):
            if interval and sequence > 1:
                time.sleep(interval)
            try:
                rtt, left = probe.ask(sequence, payload, timeout)
                rtts.append(rtt)
                ttls.append(left)
            except TimeoutError:
                errors.append(_silence(namespace, address, timeout))
            except NoAnswer as answer:
                errors.append(_spoken(answer, namespace, address))
            except OSError as error:
                errors.append(_local(error.errno or 0, namespace, address, source, probe.mtu()))
    return Ping(namespace, destination, count, tuple(rtts), tuple(ttls), tuple(errors), command)


class NoAnswer(Exception):
    """An ICMP error came instead of the answer."""

    def __init__(self, family: int, kind: int, code: int, info: int, sender: str) -> None:
        super().__init__(family, kind, code, info, sender)
        self.family, self.kind, self.code, self.info, self.sender = family, kind, code, info, sender


class Probe:
    """An ICMP socket made for one destination, in the calling thread's namespace."""

    def __init__(
        self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, *, ttl: int, df: bool, source: str | None
    ) -> None:
        self.six = address.version == 6
        self.identifier = int.from_bytes(os.urandom(2), "big")
        host, _, scope = str(address).partition("%")
        self.host = socket.inet_pton(socket.AF_INET6 if self.six else socket.AF_INET, host)
        if self.six:
            self.sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        else:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        try:
            self.where = (host, 0, 0, socket.if_nametoindex(scope) if scope else 0) if self.six else (host, 0)
            self._prepare(ttl, df, source)
        except BaseException:
            self.sock.close()
            raise
        self._answer = b"\x81\x00" if self.six else b"\x00\x00"
        self._timeout = 0.0

    def _prepare(self, ttl: int, df: bool, source: str | None) -> None:
        option = self.sock.setsockopt
        if self.six:
            mask = bytearray(b"\xff" * 32)  # a set bit blocks: let echo replies (129) through
            mask[129 // 32 * 4 + 129 % 32 // 8] &= ~(1 << 129 % 8) & 0xFF
            option(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(mask))
            option(socket.IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl)
            option(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            option(socket.IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
            option(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTU_DO if df else PMTU_DONT)
        else:
            option(SOL_RAW, ICMP_FILTER, struct.pack("I", ~1 & 0xFFFFFFFF))  # let echo replies (0) through
            option(socket.IPPROTO_IP, IP_TTL, ttl)
            option(socket.IPPROTO_IP, IP_RECVERR, 1)
            option(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTU_DO if df else PMTU_DONT)
            option(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        hear_only(self.sock, self.identifier, six=self.six)
        if source:
            self.sock.bind((source, 0))

    def ask(self, sequence: int, payload: bytes, timeout: float) -> tuple[float, int]:
        """Send one echo request and wait for its answer: (seconds, TTL left).

        Raises TimeoutError, NoAnswer, OSError from the sending itself."""
        sequence &= 0xFFFF
        mark = struct.pack(">HH", self.identifier, sequence)
        if self.six:
            request = b"\x80\0\0\0" + mark + payload  # the kernel fills in the checksum
        else:
            body = b"\x08\0\0\0" + mark + payload
            request = b"\x08\0" + checksum(body) + mark + payload
        wait = self._wait
        wait(timeout)
        receive = self._receive6 if self.six else self._receive4
        room = len(payload) + 200
        start = time.perf_counter()
        try:
            self.sock.sendto(request, self.where)
        except OSError:
            self._raise_told(mark)  # the kernel's own ICMP error says more
            raise
        while True:
            try:
                found, left = receive(room)
            except BlockingIOError as nothing:
                raise TimeoutError from nothing
            except OSError:
                self._raise_told(mark)
                found, left = b"", 0
            now = time.perf_counter()
            if found[:2] == self._answer and found[4:8] == mark:
                return now - start, left
            rest = timeout - (now - start)
            if rest <= 0:
                raise TimeoutError
            wait(rest)

    def _wait(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._timeout = seconds
            micro = max(1, int(seconds * 1_000_000))
            option = SO_RCVTIMEO_TIMEVAL.pack(micro // 1_000_000, micro % 1_000_000)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, option)

    def _receive4(self, room: int) -> tuple[bytes, int]:
        data = self.sock.recv(room)
        return data[(data[0] & 15) * 4 :], data[8]

    def _receive6(self, room: int) -> tuple[bytes, int]:
        data, messages, _, _ = self.sock.recvmsg(room, 64)
        left = [struct.unpack("i", value)[0] for _, kind, value in messages if kind == IPV6_HOPLIMIT]
        return data, left[0] if left else 0

    def _raise_told(self, mark: bytes) -> None:
        """Raise NoAnswer if the error queue holds an ICMP error about our request, or the local error itself."""
        while True:
            try:
                data, messages, _, _ = self.sock.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                return
            for _, kind, value in messages:
                if kind not in (IP_RECVERR, IPV6_RECVERR) or len(value) < 16:
                    continue
                number, origin, what, code, _, info, _ = _EXTENDED_ERROR.unpack_from(value)
                if origin == LOCAL:
                    raise OSError(number, os.strerror(number))
                if data[4:8] == mark:
                    raise NoAnswer(4 if origin == ICMP4 else 6, what, code, info, _sender(value[16:]))

    def mtu(self) -> int:
        """Return the MTU that the kernel knows for the way there, or 0."""
        try:
            self.sock.connect(self.where)
            if self.six:
                return self.sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
            return self.sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
        except OSError:
            return 0

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hear_only(sock: socket.socket, identifier: int, *, six: bool) -> None:
    """The raw ICMP socket hears messages with this identifier and no others from now on.

    Without that it hears everybody's answers, and those of many pings at once fill it; some may have done so already.
    A filter of classic BPF; the data begin with the IPv4 header, or with ICMPv6's. Source: raw(7), bpf(4)."""
    load = [(0x28, 0, 0, 4)] if six else [(0xB1, 0, 0, 0), (0x48, 0, 0, 4)]  # ldh [4]; ldxb 4*([0]&0xf), ldh [x+4]
    whole = [*load, (0x15, 0, 1, identifier), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]  # jeq, ret all, ret 0
    attach_filter(sock, b"".join(struct.pack("HBBI", *instruction) for instruction in whole))
    while True:
        try:
            sock.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:  # an error that came to somebody else's packet
            continue


def checksum(data: bytes) -> bytes:
    """Return the Internet checksum of `data`, two bytes: the complement of the ones' complement sum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big") % 0xFFFF
    return (0xFFFF - total).to_bytes(2, "big")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise WrongUse(
            f"failed to ping '{text}': not an IP address", "write it without a prefix: 10.0.0.2, not 10.0.0.2/24"
        ) from error


def _sender(raw: bytes) -> str:
    if len(raw) < 8:
        return "?"
    family = struct.unpack_from("=H", raw)[0]
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, raw[4:8])
    return socket.inet_ntop(socket.AF_INET6, raw[8:24]) if family == socket.AF_INET6 else "?"


def _silence(namespace: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, timeout: float) -> str:
    try:
        unanswered = neighbours.unanswered(namespace, address)
    except (OSError, NotFound, NamespaceGone):
        unanswered = None
    return f"no answer to {unanswered}" if unanswered else f"no answer within {timeout:g} s"


def _spoken(answer: NoAnswer, namespace: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if (answer.family, answer.kind, answer.code) in ((4, 3, 1), (6, 1, 3)):
        unanswered = neighbours.unanswered(namespace, address, own=answer.sender)
        if unanswered:
            return f"no answer to {unanswered}"
    return f"{icmp_errors.words(answer.family, answer.kind, answer.code, answer.info)}, from {answer.sender}"


def _local(
    number: int,
    namespace: str,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    source: str | None,
    mtu: int = 0,
) -> str:
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"network is unreachable: no route to {address} in namespace '{namespace}'"
    if number == errno.EPERM:
        return f"not sent: a filter in namespace '{namespace}' dropped it"
    if number == errno.EMSGSIZE:
        return "message too long" + (f", MTU {mtu}" if mtu else "")
    if number == errno.EADDRNOTAVAIL and source:
        return f"source address {source} is on no link of namespace '{namespace}'"
    return cause(number)


def _command(
    namespace: str, destination: str, count: int, timeout: float, size: int, ttl: int, df: bool, source: str | None
) -> str:
    words = ["ping", "-n", "-c", str(count)] + (["-W", f"{timeout:g}"] if timeout != 1.0 else [])
    words += ["-s", str(size)] if size != 56 else []
    words += ["-t", str(ttl)] if ttl != 64 else []
    words += ["-M", "do"] if df else []
    words += ["-I", source] if source else []
    prefix = [] if namespace == "host" else ["ip", "netns", "exec", namespace]
    return " ".join([*prefix, *words, destination])
