"""Which frames are wanted? A tcpdump expression, compiled by tcpdump itself into classic BPF.

The kernel runs the program on each frame before it is copied (Capture), or `matches` runs it here (Frames.where).
Source: bpf(4), the kernel's Documentation/networking/filter.rst.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from labkit.errors import CommandNotInstalled, WrongUse
from labkit.packets.inside import inside
from labkit.packets.links import ETHERNET, RAW

if TYPE_CHECKING:
    from labkit.packets.frames import Frame

__all__ = ["SNAP", "Instruction", "assemble", "compile_expression", "for_kernel", "matches", "run"]

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k
SNAP = 262144  # bytes kept of a frame unless told otherwise: all of it
IFINDEX = 0xFFFFF008  # SKF_AD_OFF + SKF_AD_IFINDEX
HATYPE = 0xFFFFF01C  # SKF_AD_OFF + SKF_AD_HATYPE
_NAMES = {ETHERNET: "EN10MB", RAW: "RAW"}


@lru_cache(maxsize=256)
def compile_expression(
    expression: str, linktype: int = ETHERNET, snap: int = SNAP, live: bool = False
) -> tuple[Instruction, ...]:
    """Return the program for `expression`, as `tcpdump -ddd` makes it. `live`: VLAN tags are looked for where the
    kernel keeps them, beside the frame. Raises WrongUse, CommandNotInstalled."""
    beside = live and re.search(r"\bvlan\b", expression)
    command = [
        "tcpdump",
        *(["-i", "lo"] if beside else []),
        "-y",
        _NAMES[linktype],
        "-s",
        str(snap),
        "-ddd",
        "--",
        expression,
    ]
    try:
        run_it = partial(subprocess.run, command, capture_output=True, text=True, check=False)
        done = inside("host", run_it) if beside else run_it()  # the host's lo is always up
    except FileNotFoundError as error:
        raise CommandNotInstalled(
            f"failed to compile filter '{expression}': tcpdump is not installed", "install it with: apt install tcpdump"
        ) from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["tcpdump refused it"]
        raise WrongUse(
            f"failed to compile filter '{expression}': {said[-1].removeprefix('tcpdump: ')}",
            "filters are tcpdump's, such as 'icmp', 'arp or port 53', 'host 10.0.0.2 and tcp': man pcap-filter",
        )
    rows = [tuple(int(number) for number in line.split()) for line in done.stdout.splitlines()[1:]]
    return tuple((code, true, false, k) for code, true, false, k in rows)


def assemble(program: Iterable[Instruction]) -> bytes:
    """Return the program as the kernel wants it: struct sock_filter, 8 bytes each."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def for_kernel(
    expression: str, *, indexes: Iterable[int] = (), linktype: int | None = ETHERNET, snap: int = SNAP
) -> bytes:
    """Return the filter of one packet socket.

    indexes: only these links, of all that the socket hears. linktype: of the frames; None when the socket hears
    links of several kinds: then an expression lets only Ethernet frames pass, since it counts from their header."""
    program: list[Instruction] = []
    wanted = sorted(indexes)
    if wanted:
        program.append((0x20, 0, 0, IFINDEX))  # ld ifindex
        for number, index in enumerate(wanted):  # jeq index, then leave past the final ret
            program += [(0x15, 0, 1, index), (0x05, 0, 0, 2 * (len(wanted) - number) - 1)]
        program.append((0x06, 0, 0, 0))  # ret 0: another link
    if expression:
        if linktype is None:
            program += [(0x20, 0, 0, HATYPE), (0x15, 2, 0, 1), (0x15, 1, 0, 772), (0x06, 0, 0, 0)]
        program += compile_expression(expression, linktype or ETHERNET, snap, live=True)
    elif wanted or snap < SNAP:
        program.append((0x06, 0, 0, snap))
    return assemble(program)


def matches(expression: str, frame: Frame) -> bool:
    """Return whether a captured frame matches the expression."""
    if frame.linktype not in _NAMES:
        return False
    return bool(run(compile_expression(expression, frame.linktype), frame.data, frame.length))


def run(program: tuple[Instruction, ...], data: bytes, length: int) -> int:
    """Run classic BPF over `data` and return its verdict: 0, or the number of bytes to keep."""
    accumulator = index = at = 0
    memory = [0] * 16
    size = {0x00: 4, 0x08: 2, 0x10: 1}
    while True:
        code, true, false, k = program[at]
        at += 1
        kind, mode = code & 0x07, code & 0xE0
        if kind in (0x00, 0x01):  # ld, ldx
            if mode in (0x20, 0x40):  # absolute, indirect
                start, width = k + (index if mode == 0x40 else 0), size[code & 0x18]
                if start + width > len(data):
                    return 0
                value = int.from_bytes(data[start : start + width], "big")
            elif mode == 0xA0:  # 4 * (byte & 0xf): the length of an IPv4 header
                if k >= len(data):
                    return 0
                value = 4 * (data[k] & 0x0F)
            else:
                value = {0x00: k, 0x60: memory[k & 15], 0x80: length}[mode]
            accumulator, index = (value, index) if kind == 0 else (accumulator, value)
        elif kind == 0x02:
            memory[k] = accumulator
        elif kind == 0x03:
            memory[k] = index
        elif kind == 0x04:
            operand = index if code & 0x08 else k
            if not operand and code & 0xF0 in (0x30, 0x90):
                return 0
            accumulator = _arithmetic(code & 0xF0, accumulator, operand)
        elif kind == 0x05:
            operand = index if code & 0x08 else k
            test = code & 0xF0
            if test == 0x00:
                at += k
            else:
                holds = {
                    0x10: accumulator == operand,
                    0x20: accumulator > operand,
                    0x30: accumulator >= operand,
                    0x40: bool(accumulator & operand),
                }[test]
                at += true if holds else false
        elif kind == 0x06:
            return accumulator if code & 0x18 == 0x10 else k
        elif code & 0x80:
            accumulator = index
        else:
            index = accumulator


def _arithmetic(operation: int, one: int, other: int) -> int:
    results = {
        0x00: lambda: one + other,
        0x10: lambda: one - other,
        0x20: lambda: one * other,
        0x30: lambda: one // other,
        0x40: lambda: one | other,
        0x50: lambda: one & other,
        0x60: lambda: one << other,
        0x70: lambda: one >> other,
        0x80: lambda: -one,
        0x90: lambda: one % other,
        0xA0: lambda: one ^ other,
    }
    return results[operation]() & 0xFFFFFFFF
