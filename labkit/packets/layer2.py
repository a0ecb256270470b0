"""How does one put a frame on a link, byte for byte, and how does one ask who has an address?

Frames go out as they are: every address written out, nothing filled in from a routing table.
Source: packet(7), RFC 826, RFC 5227.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterable
from functools import partial
from typing import SupportsBytes

from labkit.errors import Refused, WrongUse, cause
from labkit.net.here import ensure_lab_machine
from labkit.packets import links
from labkit.packets.closing import close_elsewhere
from labkit.packets.inside import inside

__all__ = ["arp_request", "send"]

ETH_P_ARP = 0x0806
BROADCAST = b"\xff" * 6
TOGETHER = 0.05  # seconds after the first answer in which a second owner of the address is heard too

Sendable = bytes | SupportsBytes


def send(frames: Sendable | Iterable[Sendable], namespace: str, interface: str) -> int:
    """Put one frame or several on link `interface`, as they are; return how many.

    frames: bytes from the Ethernet header on, or scapy packets with every address written out, as in
    Ether(src=..., dst=...) / IP(src=..., dst=...) / ICMP(); scapy's own routing table knows nothing of namespaces.
    Raises NotFound (no such link), Refused (the link is down, the frame is longer than its MTU and header), WrongUse.
    Equivalent command: none in iproute2; scapy's sendp(frame, iface=interface) inside the namespace.
    Source: packet(7)."""
    ensure_lab_machine(f"send on '{interface}' in namespace '{namespace}'")
    encoded = [_encode(frame) for frame in ([frames] if isinstance(frames, SupportsBytes) else frames)]
    sock = inside(namespace, partial(_open, namespace, interface, 0))
    try:
        for data in encoded:
            try:
                sock.send(data)
            except OSError as error:
                raise _refusal(error, data, namespace, interface) from error
    finally:
        close_elsewhere(sock)
    return len(encoded)


def arp_request(
    namespace: str, interface: str, ip: str, *, source: str | None = None, timeout: float = 1.0
) -> list[tuple[str, str]]:
    """Ask "who has `ip`?" on link `interface` and return every answer as (ip, mac): two answers, two owners.

    source: the address that asks; by default the link's own, or 0.0.0.0 (a probe, RFC 5227) if it has none.
    timeout: seconds to wait for the first answer; others are heard for 0.05 s more. The kernel's own neighbour table
    is not used. Raises NotFound, Refused, WrongUse. Same as: ip netns exec NAMESPACE arping -c 1 -I INTERFACE IP"""
    ensure_lab_machine(f"ask for {ip} on '{interface}' in namespace '{namespace}'")
    wanted = _ipv4(ip)
    sock = inside(namespace, partial(_open, namespace, interface, ETH_P_ARP))
    try:
        own = links.lladdr(sock, interface)
        asking = _ipv4(source or links.ipv4_address(sock, interface) or "0.0.0.0")  # noqa: S104 - the probe's sender
        request = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + own + asking + bytes(6) + wanted
        frame = BROADCAST + own + struct.pack(">H", ETH_P_ARP) + request
        try:
            sock.send(frame.ljust(60, b"\0"))
        except OSError as error:
            raise _refusal(error, frame, namespace, interface) from error
        return _answers(sock, wanted, timeout)
    finally:
        close_elsewhere(sock)


def _answers(sock: socket.socket, wanted: bytes, timeout: float) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    end = time.monotonic() + timeout
    while (rest := end - time.monotonic()) > 0:
        if not poll.poll(max(1, rest * 1000)):
            break
        data, (_, _, kind, *_) = sock.recvfrom(2048)
        if kind == socket.PACKET_OUTGOING or data[20:22] != b"\0\2" or data[28:32] != wanted:
            continue
        answer = (socket.inet_ntoa(wanted), data[22:28].hex(":"))
        if answer not in found:
            found.append(answer)
        end = min(end, time.monotonic() + TOGETHER)
    return found


def _open(namespace: str, interface: str, protocol: int) -> socket.socket:
    links.index_of(interface, namespace, "send on")
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.bind((interface, protocol))
    except BaseException:
        sock.close()
        raise
    return sock


def _encode(frame: Sendable) -> bytes:
    data = bytes(frame)
    if len(data) < 14:
        raise WrongUse(
            f"failed to send a frame of {len(data)} bytes: an Ethernet header alone has 14",
            "a frame begins with destination MAC, source MAC and ethertype: Ether(...) / ...",
        )
    return data


def _ipv4(text: str) -> bytes:
    try:
        return ipaddress.IPv4Address(text).packed
    except ValueError as error:
        raise WrongUse(
            f"failed to ask for '{text}': not an IPv4 address", "ARP asks for IPv4; IPv6 asks by neighbour solicitation"
        ) from error


def _refusal(error: OSError, data: bytes, namespace: str, interface: str) -> Refused:
    number = error.errno or 0
    words = {
        errno.ENETDOWN: ("the link is down", f"set it up: ip -n {namespace} link set {interface} up"),
        errno.EMSGSIZE: (f"{len(data)} bytes are more than its MTU and header", "ip link shows the MTU"),
        errno.ENXIO: ("the link is gone", ""),
        errno.ENODEV: ("the link is gone", ""),
        errno.ENOBUFS: ("the link's queue is full", "send more slowly"),
    }
    told, hint = words.get(number, (cause(number) or os.strerror(number), ""))
    if namespace == "host":
        hint = hint.replace("ip -n host ", "ip ")
    return Refused(f"failed to send on '{interface}' in namespace '{namespace}': {told}", hint, errno=number)
