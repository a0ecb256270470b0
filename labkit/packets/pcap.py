"""How do frames leave for Wireshark, and come back?

Written as pcapng: of the file formats only that one keeps nanoseconds, the interface and the direction of each frame,
and links that begin with different headers. tcpdump, tshark and Wireshark read it, from a file or a pipe.
Read as pcapng or classic pcap. Source: draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO

from labkit.errors import NotFound, Refused, WrongUse, cause
from labkit.packets.frames import Frame, Frames

__all__ = ["Writer", "read", "write"]

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
BYTE_ORDER = 0x1A2B3C4D
IF_NAME, IF_TSRESOL, EPB_FLAGS = 2, 9, 2
NANOSECONDS = 9
INBOUND, OUTBOUND = 1, 2


class Writer:
    """Writes frames to an open binary file or pipe, one by one."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._interfaces: dict[tuple[str, int], int] = {}
        self._block(SECTION, struct.pack("=IHHq", BYTE_ORDER, 1, 0, -1))

    def add(self, frame: Frame) -> None:
        """Write one frame, before it a description of its interface if that is new."""
        place = (frame.where, frame.linktype)
        if place not in self._interfaces:
            self._interfaces[place] = len(self._interfaces)
            options = _option(IF_NAME, frame.where.encode()) + _option(IF_TSRESOL, bytes([NANOSECONDS])) + bytes(4)
            self._block(INTERFACE, struct.pack("=HHI", frame.linktype, 0, 0) + options)
        number = self._interfaces[place]
        high, low = divmod(frame.time_ns, 1 << 32)
        flags = _option(EPB_FLAGS, struct.pack("=I", INBOUND if frame.direction == "in" else OUTBOUND)) + bytes(4)
        head = struct.pack("=IIIII", number, high, low, len(frame.data), frame.length)
        self._block(PACKET, head + _padded(frame.data) + flags)

    def flush(self) -> None:
        """Hand what was written to the reader now."""
        self._file.flush()

    def _block(self, kind: int, body: bytes) -> None:
        size = len(body) + 12
        self._file.write(struct.pack("=II", kind, size) + body + struct.pack("=I", size))


def write(target: str | IO[bytes], frames: Iterable[Frame]) -> None:
    """Write frames to the file named `target` (all of it or nothing, also when the disk is full) or to an open one.
    A pipe, a device or a link of that name is written to and stays what it is: root could replace even /dev/null.

    Raises Refused, with the file that was there before left as it was."""
    if not isinstance(target, str | os.PathLike):
        _write(target, frames)
        return
    path = os.fspath(target)
    temporary = ""
    try:
        if os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path)):
            with open(path, "wb") as file:
                _write(file, frames)
            return
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".capture-")
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            _write(file, frames)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise Refused(
                f"failed to write the capture to '{path}': {cause(error.errno or 0)}", errno=error.errno or 0
            ) from error
        raise


def _write(file: IO[bytes], frames: Iterable[Frame]) -> None:
    writer = Writer(file)
    for frame in frames:
        writer.add(frame)
    writer.flush()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", kind, len(value)) + _padded(value)


def read(path: str) -> Frames:
    """Return the frames of a pcapng or pcap file. Interfaces that are not named there are called "file/0"...

    Raises NotFound (no such file), WrongUse (another format, or cut off)."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        raise NotFound(f"failed to read the capture '{path}': no such file") from error
    try:
        if data[:4] == b"\x0a\x0d\x0d\x0a":
            return Frames(list(_pcapng(data)))
        return Frames(list(_pcap(data)))
    except (struct.error, IndexError, ValueError) as error:
        raise WrongUse(
            f"failed to read the capture '{path}': it is no pcap or pcapng file, or it is cut off",
            "a capture is written by .to_pcap(FILE), by tcpdump -w FILE, or by Wireshark",
        ) from error


def _pcapng(data: bytes) -> Iterator[Frame]:
    interfaces: list[tuple[str, int, int]] = []  # name, linktype, ticks a second
    order, at = "<", 0
    while at < len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, size = struct.unpack_from(order + "II", data, at)
        if size < 12 or at + size > len(data):
            raise ValueError("cut off")
        body = data[at + 8 : at + size - 4]
        if kind == INTERFACE:
            options = _options(body[8:], order)
            resolution = options.get(IF_TSRESOL, b"\x06")[0]
            ticks = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
            name = options.get(IF_NAME, str(len(interfaces)).encode()).decode()
            interfaces.append((name, struct.unpack_from(order + "H", body)[0], ticks))
        elif kind == PACKET:
            number, high, low, kept, length = struct.unpack_from(order + "IIIII", body)
            name, linktype, ticks = interfaces[number]
            options = _options(body[20 + kept + -kept % 4 :], order)
            outbound = struct.unpack_from(order + "I", options.get(EPB_FLAGS, bytes(4)))[0] & 3 == OUTBOUND
            time_ns = ((high << 32) + low) * 1_000_000_000 // ticks
            yield _frame(time_ns, name, outbound, body[20 : 20 + kept], length, linktype)
        at += size


def _options(data: bytes, order: str) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(data):
        kind, size = struct.unpack_from(order + "HH", data, at)
        if kind == 0:
            break
        found[kind] = data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4
    return found


def _pcap(data: bytes) -> Iterator[Frame]:
    orders = {b"\xd4\xc3\xb2\xa1": ("<", 1000), b"\xa1\xb2\xc3\xd4": (">", 1000)}
    orders |= {b"\x4d\x3c\xb2\xa1": ("<", 1), b"\xa1\xb2\x3c\x4d": (">", 1)}
    if data[:4] not in orders:
        raise ValueError("another format")
    order, scale = orders[data[:4]]
    linktype = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    at = 24
    while at < len(data):
        seconds, fraction, kept, length = struct.unpack_from(order + "IIII", data, at)
        if at + 16 + kept > len(data):
            raise ValueError("cut off")
        time_ns = seconds * 1_000_000_000 + fraction * scale
        yield _frame(time_ns, "file/0", False, data[at + 16 : at + 16 + kept], length, linktype)
        at += 16 + kept


def _frame(time_ns: int, name: str, outbound: bool, data: bytes, length: int, linktype: int) -> Frame:
    namespace, _, interface = name.rpartition("/")
    return Frame(time_ns, namespace or "file", interface, "out" if outbound else "in", data, length, linktype)
