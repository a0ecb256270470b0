"""How are frames taken from a busy link without losing any?

A ring (TPACKET_V3) is memory shared with the kernel: it fills blocks while nobody looks, and a reader copies whole
blocks and parses them later. Making one takes the kernel about 8 ms, so a capture begins on a plain packet socket,
which is ready in 0.1 ms, and moves to the ring when that is there (recorder.py).
Source: packet(7), kernel documentation networking/packet_mmap.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = [
    "ARPHRD_LOOPBACK",
    "BLOCK",
    "Record",
    "Ring",
    "attach_filter",
    "bind",
    "drops",
    "open_plain",
    "read_plain",
    "records",
]

SOL_PACKET = 263
PACKET_RX_RING = 5
PACKET_STATISTICS = 6
PACKET_AUXDATA = 8
PACKET_VERSION = 10
TPACKET_V3 = 2
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
ETH_P_ALL = 3
PACKET_OUTGOING = 4
ARPHRD_LOOPBACK = 772
VLAN_VALID = 0x10
VLAN_TPID_VALID = 0x40

BLOCK = 131072  # bytes: one frame of 64 KiB (segmentation offload) and its header fit
RETIRE_MS = 8  # a block with frames in it is handed over after this long, full or not: 64 blocks outlast 0.5 s unread
PLAIN_BYTES = 8 << 20  # asked for; an ordinary user gets net.core.rmem_max

_BLOCK_HEADER = struct.Struct("=8xIIIIQIIII")  # status, frames, first, length, number, first time, last time
_FRAME_HEADER = struct.Struct("=IIIIIIHHIIHH8xHHiHBB")
_AUXDATA = struct.Struct("=IIIHHHH")
_TIME = struct.Struct("qq")
_libc = ctypes.CDLL(None, use_errno=True)


class Record(NamedTuple):
    """One frame as the kernel hands it over."""

    time_ns: int
    link: str | int  # its name, or its ifindex
    hardware: int  # ARPHRD_*
    outgoing: bool
    data: bytes
    length: int


def bind(sock: socket.socket, index: int) -> None:
    """Let frames of link `index` (0: every link, also later ones) arrive. Python's own bind() cannot say 0."""
    address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(ETH_P_ALL), index, 0, 0, 0, b"")
    if _libc.bind(sock.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def attach_filter(sock: socket.socket, program: bytes) -> None:
    """Give the socket a filter of classic BPF instructions, 8 bytes each."""
    if program:
        memory = ctypes.create_string_buffer(program)
        sock.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(memory))
        )


def drops(sock: socket.socket) -> int:
    """Return how many frames the kernel dropped on this socket since the last question, for want of memory."""
    return int(struct.unpack_from("=II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))[1])


def open_plain(program: bytes) -> socket.socket:
    """Return a packet socket in this thread's namespace, not bound yet."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, PLAIN_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PLAIN_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    attach_filter(sock, program)
    return sock


def read_plain(sock: socket.socket, room: bytearray) -> Record | None:
    """Return the next frame of a plain socket, or None if there is none now. `room` is used over and over."""
    try:
        size, messages, _, (link, _, kind, hardware, _) = sock.recvmsg_into([room], 256)
    except BlockingIOError:
        return None
    time_ns, data, length = 0, bytes(memoryview(room)[:size]), size
    for level, what, value in messages:
        if level == socket.SOL_SOCKET and what == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIME.unpack(value)
            time_ns = seconds * 1_000_000_000 + nanoseconds
        elif level == SOL_PACKET and what == PACKET_AUXDATA:
            status, length, _, _, _, tci, tpid = _AUXDATA.unpack(value)
            if status & VLAN_VALID:
                data, length = _with_tag(data, status, tci, tpid), length + 4
    return Record(time_ns, link, hardware, kind == PACKET_OUTGOING, data, length)


def _with_tag(data: bytes, status: int, tci: int, tpid: int) -> bytes:
    """Put the VLAN tag back, which the kernel keeps beside the frame."""
    return data[:12] + struct.pack(">HH", tpid if status & VLAN_TPID_VALID else 0x8100, tci) + data[12:]


class Ring:
    """A packet socket with a ring of `blocks` blocks, in this thread's namespace, not bound yet."""

    def __init__(self, program: bytes, blocks: int) -> None:
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self._blocks = blocks
        self._next = 0
        try:
            self.sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
            attach_filter(self.sock, program)
        except BaseException:
            self.sock.close()
            raise

    def map(self) -> None:
        """Make the ring itself: 8 ms in the kernel. The namespace of the thread does not matter here."""
        request = struct.pack("7I", BLOCK, self._blocks, 2048, self._blocks * (BLOCK // 2048), RETIRE_MS, 0, 0)
        self.sock.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        self._memory = mmap.mmap(self.sock.fileno(), self._blocks * BLOCK)

    def take(self) -> Iterator[tuple[int, int, memoryview]]:
        """Yield each block that is ready: its number of frames, the time of its last, its bytes; then hand it back."""
        while True:
            base = self._next * BLOCK
            status, count, _, length, _, _, _, seconds, nanoseconds = _BLOCK_HEADER.unpack_from(self._memory, base)
            if not status & 1:
                return
            with memoryview(self._memory) as view, view[base : base + length] as block:
                yield count, seconds * 1_000_000_000 + nanoseconds, block
            struct.pack_into("=I", self._memory, base + 8, 0)
            self._next = (self._next + 1) % self._blocks

    def waiting(self) -> bool:
        """Return whether the open block holds frames already."""
        return bool(_BLOCK_HEADER.unpack_from(self._memory, self._next * BLOCK)[1])

    def close(self) -> None:
        """Give socket and memory back: 16 ms (closing.py)."""
        if hasattr(self, "_memory"):
            self._memory.close()
        self.sock.close()


def records(block: bytes) -> Iterator[Record]:
    """Yield the frames of a copied block."""
    _, count, offset, *_ = _BLOCK_HEADER.unpack_from(block)
    unpack = _FRAME_HEADER.unpack_from
    for _ in range(count):
        header = unpack(block, offset)
        following, seconds, nanoseconds, kept, length, status, mac, _, _, tci, tpid, *_ = header
        index, hardware, kind = header[14:17]
        start = offset + mac
        data = block[start : start + kept]
        if status & VLAN_VALID:
            data, length = _with_tag(data, status, tci, tpid), length + 4
        yield Record(seconds * 1_000_000_000 + nanoseconds, index, hardware, kind == PACKET_OUTGOING, data, length)
        offset += following
