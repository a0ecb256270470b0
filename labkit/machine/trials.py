"""Trials of doctor that need more than a shell: loading an eBPF program, capturing a packet."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys

from labkit.net.here import ensure_lab_machine

__all__ = ["capture", "ebpf"]

_BPF_PROG_LOAD, _SCHED_CLS = 5, 3
_RETURN_0 = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)  # r0 = 0; exit
_ETH_P_ALL = 3


def ebpf() -> None:
    """Load the smallest eBPF program for tc, and let it go again (bpf(2)). Raises OSError."""
    number = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351}[platform.machine()]
    code, licence = ctypes.create_string_buffer(_RETURN_0), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack("=IIQQ", _SCHED_CLS, 2, ctypes.addressof(code), ctypes.addressof(licence)).ljust(
        120, b"\0"
    )
    c = ctypes.CDLL(None, use_errno=True)
    answer = c.syscall(ctypes.c_long(number), ctypes.c_int(_BPF_PROG_LOAD), attributes, ctypes.c_uint(len(attributes)))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.close(answer)


def capture() -> None:
    """See one's own datagram on lo with a packet socket (packet(7)). Raises OSError, TimeoutError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind(("lo", _ETH_P_ALL))
        wire.settimeout(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"labkit", ("127.0.0.1", 9))
        while b"labkit" not in wire.recv(2048):
            pass


if __name__ == "__main__":
    ensure_lab_machine("try what the kernel can do")
    {"ebpf": ebpf, "capture": capture}[sys.argv[1]]()
