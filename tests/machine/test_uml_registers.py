"""The registers of a guest's processes, on every processor: threads keep theirs, of whatever width they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.machine.uml import registers
from machine.conftest import Guests, no_uml, with_uml

on_x86_64 = pytest.mark.skipif("x86-64" in no_uml(), reason=no_uml() or "Linux on x86-64")

# A child stops; its parent uses the ptrace() of the shared object as C does, and says what came of it.
TRACES = """
import ctypes, errno, os, signal, struct, sys
library, c = ctypes.CDLL(sys.argv[1], use_errno=True), ctypes.CDLL(None, use_errno=True)
trace = library.ptrace
trace.restype, trace.argtypes = ctypes.c_long, [ctypes.c_long] * 4
child = os.fork()
if child == 0:
    assert c.ptrace(0, 0, 0, 0) == 0
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(7)
os.waitpid(child, 0)
area, pointers = ctypes.create_string_buffer(65536), ctypes.create_string_buffer(16)
def ask(call, request, size):
    pointers.raw = struct.pack("=QQ", ctypes.addressof(area), size)
    return call(request, child, 0x202, ctypes.addressof(pointers)), ctypes.get_errno()
assert ask(trace, 0x4204, 65536)[0] == 0
whole = struct.unpack("=QQ", pointers.raw)[1]  # how long this computer's registers are
area.raw = bytes(65536)
assert ask(trace, 0x4204, min(whole, 2696))[0] == 0
mark = bytes(range(100, 116))
area[160 + 16 * 9 : 160 + 16 * 10] = mark  # xmm9
area[512] = bytes([area[512][0] | 2])  # of what follows, this is set: SSE
done = ask(trace, 0x4205, min(whole, 2696))
area.raw = bytes(65536)
ask(trace, 0x4204, min(whole, 2696))
print(done[0], area[160 + 16 * 9 : 160 + 16 * 10] == mark)
def errs(*arguments):
    return trace(*arguments), errno.errorcode[ctypes.get_errno()]
print(*errs(16, os.getpid(), 0, 0), *errs(0x4205, child, 0x999, ctypes.addressof(pointers)))
user = ctypes.create_string_buffer(27 * 8)
assert trace(12, child, 0, ctypes.addressof(user)) == 0  # PTRACE_GETREGS
print(trace(3, child, 16 * 8, 0) == struct.unpack("=27Q", user)[16])  # PTRACE_PEEKUSER: the program counter
assert trace(7, child, 0, 0) == 0  # PTRACE_CONT
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

# Threads that fill vector registers, each with bytes of its own, give way to one another, and look at what is in them.
KEEPS = """
import ctypes, json, mmap, os, struct, sys, threading
wide = "avx512f" in open("/proc/self/cmdline").read()
size, count = (64, 32) if wide else (32, 16)
def move(number, store):
    base = 0x80 | (6 if store else 7) | (number & 7) << 3  # [rsi+N] or [rdi+N]
    code = 0x7F if store else 0x6F
    if wide:  # vmovdqu64 zmm
        bits = 0xF1 & ~(0x80 if number & 8 else 0) & ~(0x10 if number & 16 else 0)
        return bytes([0x62, bits, 0xFE, 0x48, code, base]) + struct.pack("=i", number * size)
    return bytes([0xC5, 0x7E if number & 8 else 0xFE, code, base]) + struct.pack("=i", number * size)  # vmovdqu ymm
loads, stores = (b"".join(move(number, store) for number in range(count)) for store in (False, True))
again = bytes.fromhex("b8180000000f05ffca75f5")  # again: mov eax, 24 (sched_yield); syscall; dec edx; jnz again
code = loads + again + stores + bytes.fromhex("c5f877c3")  # vzeroupper; ret
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
place = ctypes.addressof(ctypes.c_char.from_buffer(page))
run = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)(place)
lost, turns = [], []
def thread():
    for _ in range(20):
        given, kept = os.urandom(size * count), ctypes.create_string_buffer(size * count)
        run(given, kept, 100)
        turns.append(1)
        lost.extend(at // size for at in range(0, size * count, size) if kept.raw[at:at + size] != given[at:at + size])
threads = [threading.Thread(target=thread) for _ in range(4)]
[each.start() for each in threads]
[each.join() for each in threads]
print(json.dumps([len(turns), lost]))
"""


def features() -> set[str]:
    """Return what this computer's processor has."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


@on_x86_64
def test_a_part_of_the_registers_can_be_set_and_every_other_request_goes_on_as_it_came(tmp_path: Path) -> None:
    registers.write(str(tmp_path))
    words = [sys.executable, "-c", TRACES, str(tmp_path / registers.NAME)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines() == ["0 True", "-1 EPERM -1 EINVAL", "True", "7"], done.stderr


@with_uml
@pytest.mark.parametrize("width", ["avx", "avx512f"])
def test_threads_of_a_guest_keep_their_vector_registers(guests: Guests, width: str) -> None:
    if width not in features():
        pytest.skip(f"needs: a processor with {width}")
    done = guests.run(sys.executable, "-c", KEEPS, width)
    assert json.loads(done.stdout) == [80, []], done.stderr
