"""Where User-Mode Linux cannot run, or no longer: one sentence that says why, and a remedy."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.errors import CommandNotInstalled, LabkitError, Unavailable, WrongUse
from labkit.machine.uml import needs
from machine.conftest import LABKIT, Guests, with_uml

PROJECT = Path(__file__).parent.parent.parent

IN_MOUNTS = ["unshare", "-Urm", "--propagation", "private"]
# what a container without the capability SYS_PTRACE had before Linux 4.8: a filter that refuses ptrace(2) (101)
FORBIDS_PTRACE = """
import ctypes, errno, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 101), (6, 0, 0, 0x50000 | errno.EPERM), (6, 0, 0, 0x7fff0000)]
text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)), 16)
c = ctypes.CDLL(None)
assert c.prctl(38, 1, 0, 0, 0) == 0 and c.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def refusal(patch: pytest.MonkeyPatch, **environment: str) -> LabkitError:
    for name, value in environment.items():
        patch.setenv(name, value)
    try:
        needs.program()
        needs.memory_folder(needs.memory())
    except LabkitError as error:
        return error
    pytest.fail("it was not refused")


@pytest.mark.parametrize("text", ["banana", "", "127", "1.5", "-512", "65537"])
def test_an_amount_of_memory_that_is_none(monkeypatch, text):
    monkeypatch.setattr(needs, "program", str)
    error = refusal(monkeypatch, LABKIT_MEMORY=text)
    assert isinstance(error, WrongUse)
    assert (error.message, error.hint) == (
        f"failed to start User-Mode Linux: LABKIT_MEMORY is '{text}'",
        "a number of MB, from 128 to 65536",
    )


@pytest.mark.parametrize(("system", "machine"), [("Linux", "aarch64"), ("Darwin", "arm64"), ("Darwin", "x86_64")])
def test_another_processor_or_system(monkeypatch, system, machine):
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    error = refusal(monkeypatch)
    assert isinstance(error, Unavailable)
    assert error.message.endswith(f"it exists for Linux on x86-64 only, and this is {system} on {machine}")


def test_no_package(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    error = refusal(monkeypatch)
    assert isinstance(error, CommandNotInstalled)
    assert error.message == "failed to start User-Mode Linux: the program 'linux.uml' is not installed"
    assert error.hint.startswith("sudo apt install user-mode-linux")


CHECKED = (  # of a start that goes well
    "Checking that ptrace can change system call numbers...OK\nChecking syscall emulation patch for ptrace...OK\n"
    "Checking advanced syscall emulation patch for ptrace...OK\n"
)
PANIC = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n"


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("ptrace: Operation not permitted\ncheck_ptrace : expected SIGSTOP, got status = 9", "this computer forbids p"),
        (CHECKED.replace("OK", "check_ptrace: PTRACE_OLDSETOPTIONS failed: errno = 1", 1), "this computer forbids p"),
        (f"{CHECKED}userspace - ptrace set fp regs failed, errno = 14\n{PANIC}", "this processor has registers (AMX"),
        (f"{CHECKED}mmap: Cannot allocate memory\n", "this computer has no memory left"),
        (f"{CHECKED}{PANIC}", "it ended, saying: "),
        (CHECKED, "it ended, saying: "),
        ("", "it ended, saying: nothing"),
    ],
)
def test_the_last_words_mean_what_they_say(said, meaning):
    assert needs.explain(said)[0].startswith(f"failed to start User-Mode Linux: {meaning}")


def in_mounts(script: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a labkit command with mounts of its own, made by `script`."""
    words = [*IN_MOUNTS, "sh", "-ec", f'{script}; exec "$@"', "sh", *command]
    return subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)


def mounts() -> str:
    """Return why there are no private mounts; "" where there are."""
    return "" if subprocess.run([*IN_MOUNTS, "true"], capture_output=True).returncode == 0 else "no private mounts here"


with_mounts = pytest.mark.skipif(mounts() != "", reason=mounts() or "mounts")
RUN = [*LABKIT, "run", "--machine", "uml", "--", "true"]


@with_uml
@with_mounts
def test_a_folder_that_may_not_execute_is_passed_over(tmp_path: Path):
    script = f"mount -t tmpfs -o noexec none {tmp_path}"
    program = (
        "from labkit.machine.uml import needs\n"
        "print(needs._unfit(needs._candidates()[0], 1)); print(needs.memory_folder(256))"
    )
    done = in_mounts(script, sys.executable, "-c", program, TMPDIR=str(tmp_path))
    first, _, folder = done.stdout.partition("\n")
    assert first == "may not execute programs (noexec)", done.stderr
    assert folder.strip() not in ("", str(tmp_path))


@with_uml
@with_mounts
@pytest.mark.parametrize(
    ("options", "reason"), [("noexec", "may not execute programs (noexec)"), ("size=20m", "20 MB free")]
)
def test_every_folder_is_named_with_its_reason(tmp_path: Path, options: str, reason: str):
    places = {name: str(tmp_path / name) for name in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "HOME")}
    for place in places.values():
        os.mkdir(place)
    folders = ["/dev/shm", "/var/tmp", *places.values(), "/tmp"]
    script = "; ".join(f"[ ! -d {folder} ] || mount -t tmpfs -o {options} none {folder}" for folder in folders)
    back = f"mkdir -p {PROJECT}; mount --rbind /mnt {PROJECT}"  # it may lie below /tmp itself
    done = in_mounts(f"cd /; mount --rbind {PROJECT} /mnt; {script}; {back}", *RUN, **places, TMPDIR="/tmp")
    assert done.returncode == 2, done
    first, second = done.stderr.splitlines()
    assert first == "labkit: failed to start User-Mode Linux: no folder for its memory, 512 MB"
    assert f"/tmp: {reason}; " in second
    assert f"/dev/shm: {reason}; " in second
    assert second.endswith("Name another: TMPDIR=FOLDER, or ask for less: LABKIT_MEMORY=256")


@with_uml
@with_mounts
def test_a_memory_folder_that_fills_up_ends_the_guest_in_one_sentence(tmp_path: Path):
    fills = "import os; os.write(1, b'ready\\n'); input(); x = []\nwhile True: x.append(os.urandom(1_000_000))"
    script = f"mount -t tmpfs -o size=300m none {tmp_path}; cd /"
    program = f"""
import subprocess, sys
run = {LABKIT!r} + ["run", "--machine", "uml", "--", sys.executable, "-c", {fills!r}]
process = subprocess.Popen(run, stdin=-1, stdout=-1, stderr=-1, text=True)
assert process.stdout.readline() == "ready\\n"
with open({str(tmp_path / "other")!r}, "wb") as other:
    try:
        while True: other.write(bytes(1 << 20)); other.flush()
    except OSError: pass
print(process.communicate("go\\n", timeout=40), process.returncode)
"""
    done = in_mounts(script, sys.executable, "-c", program, TMPDIR=str(tmp_path), LABKIT_MEMORY="256")
    assert done.stdout == (
        "('', 'labkit: the lab machine ended by itself: no space is left where its memory lies\\n') 134\n"
    ), done


@with_uml
def test_ptrace_that_is_forbidden(guests: Guests):
    done = guests.start("true", before=[sys.executable, "-c", FORBIDS_PTRACE], stderr=subprocess.PIPE, text=True)
    _, said = done.communicate(timeout=30)
    assert said == (
        "labkit: failed to start User-Mode Linux: this computer forbids ptrace, with which User-Mode Linux runs its "
        "processes\n"
        "on a computer: sudo sysctl kernel.yama.ptrace_scope=1; in a container: add the capability SYS_PTRACE\n"
    )
    assert done.returncode == 2


def test_the_filter_is_one(tmp_path: Path):
    program = (
        "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); print(c.ptrace(0, 0, 0, 0), ctypes.get_errno())"
    )
    words = [sys.executable, "-c", FORBIDS_PTRACE, sys.executable, "-c", program]
    assert subprocess.run(words, capture_output=True, text=True).stdout.split() == ["-1", "1"]
    assert struct.calcsize("=HBBI") == 8
