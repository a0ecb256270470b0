"""What does User-Mode Linux need of a computer? The first thing that is missing, in one sentence with a remedy."""

from __future__ import annotations

import errno
import mmap
import os
import platform
import re
import shutil
import signal
import tempfile
from contextlib import suppress

from labkit.errors import CommandNotInstalled, Unavailable, WrongUse

__all__ = ["MEMORY", "explain", "explain_end", "memory", "memory_folder", "program", "writable"]

MEMORY = 512  # MB
_MODULES = "/usr/lib/uml/modules"
_SYMPTOMS = (  # what the guest's kernel says, what it means, what to do
    (
        r"set fp regs failed",
        "this processor has registers (AMX, say) that this User-Mode Linux cannot set for its processes",
        "Debian's can, as labkit starts it: sudo apt install user-mode-linux, and let PATH find that one first",
    ),
    (
        # not what it says of each start that goes well: "Checking that ptrace can change system call numbers...OK"
        r"ptrace: |check_(ptrace|sysemu) ?:|_ptraced_child :|PTRACE_\w+ failed",
        "this computer forbids ptrace, with which User-Mode Linux runs its processes",
        "on a computer: sudo sysctl kernel.yama.ptrace_scope=1; in a container: add the capability SYS_PTRACE",
    ),
    (
        r"PROT_EXEC|noexec",
        "the folder for the guest's memory may not execute programs",
        "name another one: TMPDIR=FOLDER",
    ),
    (
        r"No space left|SIGBUS|Bus error",
        "there is no space left for the guest's memory",
        "free some, or name another folder: TMPDIR=FOLDER",
    ),
    (
        r"Cannot allocate memory|ENOMEM",
        "this computer has no memory left for the guest",
        "ask for less: LABKIT_MEMORY=256",
    ),
)


def program() -> str:
    """Return the path of User-Mode Linux. Raises Unavailable: not x86-64, not Linux; CommandNotInstalled."""
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "amd64"):
        raise Unavailable(
            "failed to start User-Mode Linux: it exists for Linux on x86-64 only, and this is "
            f"{platform.system()} on {platform.machine()}",
            "a computer, a container or a virtual machine with Linux on x86-64 runs it",
        )
    path = shutil.which("linux.uml", path=f"{os.environ.get('PATH', os.defpath)}:/usr/bin")
    if path is None:
        raise CommandNotInstalled(
            "failed to start User-Mode Linux: the program 'linux.uml' is not installed",
            "sudo apt install user-mode-linux (Debian has it; Ubuntu and Fedora do not)",
        )
    return path


def memory() -> int:
    """Return how much memory a guest gets, in MB: LABKIT_MEMORY, or 512. Raises WrongUse."""
    text = os.environ.get("LABKIT_MEMORY", str(MEMORY))
    if not text.isdigit() or not 128 <= int(text) <= 65_536:
        raise WrongUse(
            f"failed to start User-Mode Linux: LABKIT_MEMORY is '{text}'", "a number of MB, from 128 to 65536"
        )
    return int(text)


def memory_folder(size: int) -> str:
    """Return a folder for a file of `size` MB that is the guest's memory: it can be written, has room, may execute.

    TMPDIR if that is set and does, then those in memory, then on disk. Raises Unavailable, saying of each why not."""
    refusals = []
    for folder in _candidates():
        reason = _unfit(folder, size)
        if not reason:
            return folder
        refusals.append(f"{folder}: {reason}")
    raise Unavailable(
        f"failed to start User-Mode Linux: no folder for its memory, {size} MB",
        f"{'; '.join(refusals)}. Name another: TMPDIR=FOLDER, or ask for less: LABKIT_MEMORY=256",
    )


def writable(folder: str, course: str | None) -> list[str]:
    """Return the folders that a guest started in `folder` may write: the course if that is in it, else `folder` itself.

    A folder that holds all of the user's files is none: neither / nor the home folder, nor one above it."""
    folder, home = os.path.realpath(folder), os.path.realpath(os.path.expanduser("~"))
    if course and f"{folder}/".startswith(f"{os.path.realpath(course)}/"):
        return [os.path.realpath(course)]
    if f"{home}/".startswith(f"{folder.rstrip('/')}/") or not os.access(folder, os.W_OK):
        return []
    return [folder]


def explain(console: str) -> tuple[str, str]:
    """Return what the last words of a guest mean: a sentence and a remedy."""
    for pattern, sentence, remedy in _SYMPTOMS:
        if re.search(pattern, console):
            return f"failed to start User-Mode Linux: {sentence}", remedy
    last = [line for line in console.strip().splitlines() if line.strip()][-3:]
    return f"failed to start User-Mode Linux: it ended, saying: {' / '.join(last) or 'nothing'}", "see: labkit doctor"


def explain_end(console: str, code: int) -> str:
    """Return why a guest that ran ended, from its last words and its exit status (128 + N for signal N)."""
    if re.search(r"Out of memory and no killable|System is deadlocked on memory", console):
        return f"its memory was used up, {memory()} MB; more: LABKIT_MEMORY={memory() * 2}"
    if re.search(r"No space left|SIGBUS|Bus error|signal 7", console):
        return "no space is left where its memory lies"
    if code == 128 + signal.SIGKILL:
        return "it was killed, by somebody, or by a kernel whose memory was used up"
    last = [line for line in console.strip().splitlines() if line.strip()][-1:]
    return "".join(last) or f"its kernel ended with status {code}"


def _candidates() -> list[str]:
    named = os.environ.get("TMPDIR")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places = [named, "/dev/shm", os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/var/tmp", cache, os.path.expanduser("~")]  # noqa: S108
    return list(dict.fromkeys(os.path.abspath(place) for place in places if place))


def _unfit(folder: str, size: int) -> str:
    """Return why `folder` cannot hold the guest's memory, or ""."""
    if not os.path.isdir(folder):
        return "no such folder"
    if re.search(r"[\s\"',:]", folder):
        return "a space, quote, comma or colon in its name"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(mmap.PAGESIZE)
            with mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC):
                pass
    except OSError as error:
        return "may not execute programs (noexec)" if error.errno == errno.EPERM else (error.strerror or "unusable")
    with suppress(OSError):
        space = os.statvfs(folder)
        free = space.f_bavail * space.f_frsize >> 20
        if free < size:
            return f"{free} MB free"
    return ""
