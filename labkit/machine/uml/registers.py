"""How does User-Mode Linux 6.1 keep the registers of its processes on a processor that has more than it knows?

It reads and sets them by ptrace(2), in a buffer of 2696 bytes: up to AVX-512 that is all of them. With AMX they are
11008 bytes, and Linux sets all or none (EFAULT), so the guest's first process would not start: "ptrace set fp regs
failed, errno = 14". Linux 6.13 asks how many there are ("um: switch to regset API and depend on XSTATE").

So a shared object is put before the C library (LD_PRELOAD, ld.so(8)): its ptrace() hands over the same bytes, followed
by zeros. What lies there is AMX alone, which a guest's process cannot have: Linux gives it to those that ask for it
(arch_prctl(2), ARCH_REQ_XCOMP_PERM), and the guest's kernel knows no such request. Everything else goes on as it came.

The object is written here, byte for byte: no compiler is needed, and what it does is to be read below."""

from __future__ import annotations

import os
import struct

__all__ = ["NAME", "shared_object", "write"]

NAME = "registers.so"
_DATA = 0x1000  # the second page: what the dynamic linker writes, then the buffer
_SLOT, _DYNAMIC, _BUFFER = _DATA, _DATA + 0x40, _DATA + 0x1000
_SIZE = 0x10000  # of the buffer: Linux takes of it what the processor has
_NAMES = b"\0ptrace\0syscall\0"

# long ptrace(request edi, pid rsi, addr rdx, data rcx), by syscall(3), which sets errno. {NAME}: its distance from here
_CODE = """
81 ff 05 42 00 00           cmp   edi, 0x4205             PTRACE_SETREGSET
75 4d                       jne   other
81 fa 02 02 00 00           cmp   edx, 0x202              NT_X86_XSTATE
75 45                       jne   other
56                          push  rsi
48 8b 31                    mov   rsi, [rcx]              data: struct iovec {base, length}
48 8b 49 08                 mov   rcx, [rcx+8]
48 8d 3d {BUFFER}           lea   rdi, [rip+buffer]
49 89 f8                    mov   r8, rdi
f3 a4                       rep   movsb                   buffer = what is to be set, and zeros
5a                          pop   rdx
48 83 ec 18                 sub   rsp, 24
4c 89 04 24                 mov   [rsp], r8
48 c7 44 24 08 00 00 01 00  mov   qword [rsp+8], 0x10000
49 89 e0                    mov   r8, rsp
b9 02 02 00 00              mov   ecx, 0x202
be 05 42 00 00              mov   esi, 0x4205
bf 65 00 00 00              mov   edi, 101                SYS_ptrace
31 c0                       xor   eax, eax
ff 15 {SLOT}                call  [rip+slot]              syscall(101, request, pid, addr, {buffer, 0x10000})
48 83 c4 18                 add   rsp, 24
c3                          ret
48 83 ec 18          other: sub   rsp, 24
48 89 7c 24 08              mov   [rsp+8], rdi
49 89 c8                    mov   r8, rcx
48 89 d1                    mov   rcx, rdx
48 89 f2                    mov   rdx, rsi
48 89 fe                    mov   rsi, rdi
ff cf                       dec   edi
83 ff 03                    cmp   edi, 3
73 03                       jae   ask
49 89 e0                    mov   r8, rsp                 PTRACE_PEEK*, 1 to 3: Linux writes the word to [data]
bf 65 00 00 00         ask: mov   edi, 101
31 c0                       xor   eax, eax
ff 15 {SLOT}                call  [rip+slot]              syscall(101, request, pid, addr, data)
48 85 c0                    test  rax, rax
78 0f                       js    end
8b 4c 24 08                 mov   ecx, [rsp+8]
ff c9                       dec   ecx
83 f9 03                    cmp   ecx, 3
73 04                       jae   end
48 8b 04 24                 mov   rax, [rsp]              PTRACE_PEEK*: the word is the answer
48 83 c4 18            end: add   rsp, 24
c3                          ret
"""


def write(folder: str) -> None:
    """The shared object lies in `folder`, as NAME. Raises OSError."""
    with open(os.path.join(folder, NAME), "xb") as file:
        file.write(shared_object())


def shared_object() -> bytes:
    """Return an ELF file for x86-64 that defines ptrace(2) (elf(5)): no sections, as the dynamic linker needs none."""
    hashes = struct.pack("=6I", 1, 3, 1, 0, 2, 0)  # one bucket: symbol 1, then 2
    at = 64 + 4 * 56
    symbols = at + len(hashes)
    names = symbols + 3 * 24
    relocations = names + len(_NAMES)
    code = relocations + 24
    text = _assemble(code)
    head = b"".join((
        _header(),
        _segment(1, 5, 0, code + len(text), code + len(text), 0x1000),  # PT_LOAD, readable and executable
        _segment(1, 6, _DATA, 0x200, _BUFFER - _DATA + _SIZE, 0x1000),  # PT_LOAD, readable and writable
        _segment(2, 6, _DYNAMIC, 0xA0, 0xA0, 8),  # PT_DYNAMIC
        _segment(0x6474E551, 6, 0, 0, 0, 16),  # PT_GNU_STACK: one that is not executable will do
        hashes,
        bytes(24),
        struct.pack("=IBBHQQ", _NAMES.index(b"ptrace"), 0x12, 0, 1, code, len(text)),  # a global function
        struct.pack("=IBBHQQ", _NAMES.index(b"syscall"), 0x12, 0, 0, 0, 0),  # from elsewhere
        _NAMES,
        struct.pack("=QQq", _SLOT, 2 << 32 | 6, 0),  # R_X86_64_GLOB_DAT of symbol 2
        text,
    ))  # fmt: skip
    tags = {4: at, 5: names, 6: symbols, 7: relocations, 8: 24, 9: 24, 10: len(_NAMES), 11: 24, 24: 0, 0: 0}
    dynamic = b"".join(struct.pack("=qQ", *tag) for tag in tags.items())
    return (head.ljust(_DYNAMIC, b"\0") + dynamic).ljust(_DATA + 0x200, b"\0")


def _assemble(start: int) -> bytes:
    """Return the machine code, to lie at `start`."""
    code = b""
    for line in _CODE.strip().splitlines():
        written, _, place = line.partition("  ")[0].partition("{")
        code += bytes.fromhex(written)
        if place:
            target = _BUFFER if place == "BUFFER}" else _SLOT
            code += struct.pack("=i", target - (start + len(code) + 4))
    return code


def _header() -> bytes:
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little endian
    return identity + struct.pack("=HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)  # ET_DYN, EM_X86_64


def _segment(kind: int, flags: int, offset: int, in_file: int, in_memory: int, align: int) -> bytes:
    return struct.pack("=IIQQQQQQ", kind, flags, offset, offset, offset, in_file, in_memory, align)
