"""Fill a link: send frames as fast as the kernel takes them, or at a rate. python benchmarks/blast.py NAMESPACE LINK
FRAMES BYTES RATE (frames a second, 0: as fast as can be). Prints frames sent and seconds.

Each frame is a UDP datagram, and at a RATE its payload begins with its number. sendmmsg(2) by ctypes, 64 frames a call.
"""

import ctypes
import socket
import struct
import sys
import time

from labkit.packets.inside import inside

BATCH = 64
NUMBER = 42  # where the payload begins: 14 Ethernet + 20 IPv4 + 8 UDP


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):  # struct msghdr
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("parts", ctypes.POINTER(_Part)),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = (("header", _Header), ("sent", ctypes.c_uint))


def datagram(size: int) -> bytes:
    """Return the headers of a UDP datagram in a frame of `size` bytes, to a MAC that nobody has."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size - 14, 1, 0, 64, 17, 0, bytes((10, 0, 0, 2)), bytes((10, 0, 0, 3)))
    return b"\x06" * 6 + b"\x02" * 6 + b"\x08\x00" + ip + struct.pack("!HHHH", 4000, 4001, size - 34, 0)


def blast(namespace: str, link: str, frames: int, size: int, rate: int) -> tuple[int, float]:
    """Send; return how many frames and in how many seconds."""
    libc = ctypes.CDLL(None, use_errno=True)

    def opened() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind((link, 0))
        return sock

    sock = inside(namespace, opened)
    rooms = [ctypes.create_string_buffer(datagram(size), size) for _ in range(BATCH)]
    parts = [_Part(ctypes.addressof(room), size) for room in rooms]
    messages = (_Message * BATCH)(
        *[_Message(_Header(None, 0, ctypes.pointer(part), 1, None, 0, 0), 0) for part in parts]
    )
    sent, begin = 0, time.perf_counter()
    while sent < frames:
        wanted = min(BATCH, frames - sent)
        for number in range(wanted if rate else 0):
            ctypes.memmove(ctypes.addressof(rooms[number]) + NUMBER, (sent + number).to_bytes(4, "big"), 4)
        done = libc.sendmmsg(sock.fileno(), messages, wanted, 0)
        sent += max(done, 0)
        if rate and (ahead := sent / rate - (time.perf_counter() - begin)) > 0:
            time.sleep(ahead)
    took = time.perf_counter() - begin
    sock.close()
    return sent, took


if __name__ == "__main__":
    space, device, *numbers = sys.argv[1:]
    count, seconds = blast(space, device, *[int(number) for number in numbers])
    print(count, f"{seconds:.6f}", flush=True)
