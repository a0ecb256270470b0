"""labkit run --machine uml: a guest for a command, and what the command sees."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import termios
import time

import pexpect
import pytest

from machine.conftest import LABKIT, Guests, wait_until, with_uml

pytestmark = with_uml
MEGABYTES = 10 << 20


def until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def test_status_and_streams_are_the_commands_own(guests: Guests):
    done = guests.run("tr a-z A-Z; echo oops >&2; exit 7", input="hello\n")
    assert (done.stdout, done.stderr, done.returncode) == ("HELLO\n", "oops\n", 7)


def test_status_of_a_killed_command_is_128_and_the_signal(guests: Guests):
    assert guests.run("kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist_is_one_sentence_and_127(guests: Guests):
    done = guests.run("no-such-command", "x")
    assert (done.returncode, done.stderr) == (127, "labkit: command 'no-such-command' not found; is it installed?\n")


def test_it_is_a_lab_machine_with_the_computers_files(guests: Guests):
    kind = "python -c 'from labkit.net import here; print(here.kind())'"
    script = f"id -u; hostname; pwd; echo $COLOUR; ls -d /usr/bin/env; {kind}"
    path = f"{os.path.dirname(sys.executable)}:/usr/bin:/bin"
    done = guests.run(script, env={**guests.environment, "COLOUR": "red", "PATH": path})
    name = socket.gethostname()[:60]
    assert done.stdout.split() == ["0", name, str(guests.course), "red", "/usr/bin/env", "uml"], done.stderr


def test_the_administrators_folders_are_on_path(guests: Guests):
    done = guests.run("echo $PATH", env={**guests.environment, "PATH": "/bin"})
    assert {"/usr/sbin", "/sbin"} <= set(done.stdout.strip().split(":"))


def test_the_folder_is_the_computers_and_all_else_is_read_only(guests: Guests):
    script = "echo ready; read line; cat shown; echo made > here; touch /usr/x /etc/x; echo two; read line"
    pipe = subprocess.PIPE
    process = guests.start("sh", "-c", script, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    until_ready(process)
    (guests.course / "shown").write_text("made outside\n")
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    assert [process.stdout.readline() for _ in range(2)] == ["made outside\n", "two\n"]
    assert (guests.course / "here").read_text() == "made\n"
    _, said = process.communicate("end\n", timeout=20)
    assert said.count("Read-only file system") == 2, said


def test_ten_megabytes_go_both_ways_unchanged(guests: Guests):
    data = random.Random(1).randbytes(MEGABYTES)
    done = guests.run("tee /dev/fd/2", input=data, text=False)
    assert [hashlib.sha256(came).digest() for came in (done.stdout, done.stderr)] == [hashlib.sha256(data).digest()] * 2
    assert done.returncode == 0


def test_a_flood_to_a_launcher_that_pauses_arrives_whole(guests: Guests):
    program = (
        "import os, random; os.write(1, b'ready\\n'); out = random.Random(2)\n"
        "for _ in range(320): os.write(1, out.randbytes(32768))"
    )
    process = guests.start(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert process.stdout is not None
    came = process.stdout.read(100_000)
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        came += process.stdout.read(100_000)
    came += process.stdout.read()
    out = random.Random(2)
    assert came == b"ready\n" + b"".join(out.randbytes(32768) for _ in range(320))
    assert process.wait(20) == 0


def test_a_writer_whose_reader_goes_away_ends(guests: Guests):
    process = guests.start("yes", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(10) == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("number", "send"),  # to the one process, or to the whole group, as a shell or Jupyter does
    [(signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg), (signal.SIGHUP, os.kill), (signal.SIGUSR1, os.killpg)],
)
def test_a_signal_to_labkit_run_reaches_the_command_once(guests: Guests, number: signal.Signals, send):
    program = (
        "import signal, time, sys; n = []\n"
        f"signal.signal({int(number)}, lambda *_: n.append(1)); print('ready', flush=True)\n"
        "while not n: time.sleep(0.01)\n"
        "time.sleep(0.3); print(len(n)); sys.exit(9)"
    )
    process = guests.start(sys.executable, "-c", program, stdout=subprocess.PIPE, text=True, start_new_session=True)
    until_ready(process)
    send(process.pid, number)
    assert process.communicate(timeout=10)[0] == "1\n"
    assert process.returncode == 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_that_does_not_care_and_the_guest(guests: Guests, number: signal.Signals):
    process = guests.start("sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE, text=True)
    until_ready(process)
    process.send_signal(number)
    assert process.wait(5) == 128 + number


def test_a_signal_during_the_boot_ends_it(guests: Guests):
    process = guests.start("true")
    assert wait_until(guests.processes)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 128 + signal.SIGTERM


def test_a_terminal_has_its_size_and_ctrl_c_and_is_restored(guests: Guests):
    script = "stty size; trap 'stty size; exit 5' INT; echo rea''dy; while :; do sleep 0.1; done"
    words = [*LABKIT[1:], "run", "--machine", "uml", "--", "sh", "-c", script]
    child = pexpect.spawn(
        LABKIT[0], words, dimensions=(33, 99), env=guests.environment, cwd=str(guests.course), timeout=20
    )
    before = termios.tcgetattr(child.child_fd)
    child.expect("33 99\r\n")
    child.expect("ready")
    assert termios.tcgetattr(child.child_fd)[3] & termios.ICANON == 0
    child.setwinsize(44, 111)
    child.send("\x03")
    child.expect("44 111")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 5
    assert termios.tcgetattr(child.child_fd) == before
    child.close()


def test_an_idle_guest_costs_next_to_nothing(guests: Guests):
    process = guests.start("sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE, text=True)
    until_ready(process)
    time.sleep(1)  # what the boot left to do
    pids = guests.watch.processes()
    assert {"labkit-uml", "labkit-guard", "linux.uml"} <= set(pids.values())
    before = sum(map(used, pids))
    time.sleep(3)
    assert sum(map(used, pids)) - before < 0.15
    process.terminate()
    process.wait(5)


def used(pid: int) -> float:
    """Return the CPU time of a process, in seconds (proc(5), stat, fields 14 and 15)."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_process_that_takes_all_memory_is_named(guests: Guests):
    program = "x = []\nwhile True: x.append(b'x' * 1_000_000)"
    done = guests.run(sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == (128 + signal.SIGKILL, "")
    name = os.path.basename(sys.executable)[:15]
    assert done.stderr == (
        f"labkit: the lab machine's memory, 256 MB, was used up, and its kernel ended the process '{name}'; "
        "more memory: LABKIT_MEMORY=512\n"
    )
