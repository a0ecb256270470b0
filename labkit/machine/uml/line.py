"""The one connection between the computer and a guest: frames, and the streams in them.

The computer's side of the guest's network card `vec0` is no network but a socket pair (the vector driver's transport
`fd`), and labkit's launcher holds it. A frame is an Ethernet frame with a number of its own kind, so the guest has no
address, no route, and nobody to talk to but the launcher. A frame:

    sequence number (32 bits) | session (32 bits) | channel (8 bits) | kind (8 bits) | body

A session is one connection to one of the kernel's ports, or one command; the computer opens it. Its channels are
streams of bytes: 0 to the guest, 1 and 2 back (a command's stdin, stdout and stderr). Each stream has a window, as
in SSH (RFC 4254, section 5.2), so nobody has to buffer more than WINDOW bytes of it, and the card never loses a frame.
"""

from __future__ import annotations

import json
import socket
import struct
from enum import IntEnum
from typing import Any, NamedTuple

__all__ = ["BODY", "MTU", "WINDOW", "Frame", "Kind", "LineBroken", "Numbering", "open_card", "pack", "tell", "unpack"]

ETHERTYPE = 0x88B5  # for experiments (IEEE 802)
ADDRESSES = b"\xff" * 6 + b"\x02labki"
MTU = 9000
BODY = 8192  # bytes of a stream in one frame
WINDOW = 64 * 1024
_ETHERNET = ADDRESSES + struct.pack("!H", ETHERTYPE)
_HEADER = struct.Struct("!IIBB")


class Kind(IntEnum):
    """What a frame is."""

    TELL = 0  # JSON, about the session
    DATA = 1  # bytes of a stream
    END = 2  # the stream's end
    CREDIT = 3  # the reader took so many bytes
    BREAK = 4  # the reader went away


class LineBroken(Exception):
    """A frame is missing or makes no sense: nothing after it can be trusted."""


class Frame(NamedTuple):
    """One frame."""

    session: int
    channel: int
    kind: Kind
    body: bytes = b""

    def told(self) -> dict[str, Any]:
        """Return the JSON of a TELL. Raises LineBroken."""
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise LineBroken(f"not JSON: {self.body[:80]!r}") from error
        if not isinstance(value, dict):
            raise LineBroken(f"not an object: {self.body[:80]!r}")
        return value

    def number(self) -> int:
        """Return the number of a CREDIT. Raises LineBroken."""
        if len(self.body) != 4:
            raise LineBroken(f"a credit of {len(self.body)} bytes")
        return int.from_bytes(self.body, "big")


class Numbering:
    """Numbers the frames of one direction at its sender, and misses none at its receiver."""

    def __init__(self) -> None:
        self.next = 0

    def pack(self, frame: Frame) -> bytes:
        """Return the Ethernet frame that carries `frame`."""
        number, self.next = self.next, (self.next + 1) & 0xFFFFFFFF
        return _ETHERNET + pack(frame, number)

    def unpack(self, ethernet: bytes) -> Frame | None:
        """Return the frame in an Ethernet frame; None where it holds none. Raises LineBroken."""
        if ethernet[12:14] != _ETHERNET[12:14]:
            return None  # the guest's own, as an ARP request
        number, frame = unpack(ethernet[14:])
        if number != self.next:
            raise LineBroken(f"frame {number} came where {self.next} was due")
        self.next = (self.next + 1) & 0xFFFFFFFF
        return frame


def pack(frame: Frame, number: int = 0) -> bytes:
    """Return the bytes of `frame`."""
    return _HEADER.pack(number, frame.session, frame.channel, frame.kind) + frame.body


def unpack(data: bytes) -> tuple[int, Frame]:
    """Return a frame's sequence number and the frame. Raises LineBroken."""
    try:
        number, session, channel, kind = _HEADER.unpack_from(data)
        return number, Frame(session, channel, Kind(kind), data[_HEADER.size :])
    except (struct.error, ValueError) as error:
        raise LineBroken(str(error)) from error


def tell(session: int, **what: Any) -> Frame:
    """Return a TELL."""
    return Frame(session, 0, Kind.TELL, json.dumps(what).encode())


def open_card(name: str = "vec0") -> socket.socket:
    """In the guest: return the packet socket of the line, with the card up (packet(7)). Raises OSError."""
    import fcntl

    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    line.bind((name, ETHERTYPE))  # before it is up, so that no frame comes too early
    line.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE: all windows of many sessions
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh22x", name.encode(), 0x1))  # SIOCSIFFLAGS, IFF_UP
    line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # "network is down", from before
    return line
