"""`labkit see`, `capture` and `trace` on the computer itself, in a fresh lab machine, and beside a running one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from labkit.completion import words
from labkit.net import here
from machine.conftest import LABKIT, wait_until

PAIR = (
    "ip netns add red; ip netns add blue; ip link add eth0 netns red type veth peer name eth0 netns blue; "
    "ip -n red address add 10.0.0.2/24 dev eth0; ip -n blue address add 10.0.0.3/24 dev eth0; "
    "ip -n red link set eth0 up; ip -n blue link set eth0 up; "
)


@pytest.mark.parametrize(
    ("command", "typed"),
    [
        (["see"], "labkit see"),
        (["see", "--json", "red"], "labkit see"),
        (["capture", "red", "-w", "/nowhere/f"], "labkit capture red"),
        (["trace", "red", "10.0.0.3", "--json"], "labkit trace red 10.0.0.3"),
    ],
)
def test_on_the_computer_itself_they_say_one_sentence_and_2(command, typed):
    done = subprocess.run([*LABKIT, *command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"labkit: failed to run 'labkit {command[0]}': this is not a lab machine, and labkit never touches the "
        f"computer's own network\nrun it with: labkit run sh -c 'COMMANDS; {typed}', or beside a notebook: "
        f"labkit shell -- {typed}\n"
    )


def test_in_a_fresh_lab_machine_labkit_is_on_the_path(lab_machine):
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    done = lab_machine(PAIR + "labkit see red blue && labkit trace red 10.0.0.3 --json", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    seen, _, told = done.stdout.partition("{\n")
    assert "eth0 10.0.0.2/24" in seen
    assert json.loads("{" + told)["answered"] is True


def test_the_status_of_a_trace_is_the_status_of_the_machine(lab_machine):
    assert lab_machine(PAIR + "labkit trace red 10.0.0.9").returncode == 1
    assert lab_machine(PAIR + "labkit trace green 10.0.0.9").returncode == 2


def test_inside_a_namespace_they_see_all_of_them(lab_machine):
    # an empty host is left out of the picture
    done = lab_machine(PAIR + "ip netns exec red labkit see | grep -v '^ '; ip netns exec blue labkit trace red blue")
    assert done.stdout.startswith("blue\nred\nping 10.0.0.3 from red: delivered and answered\n"), done.stderr


def test_beside_a_running_machine_frames_are_piped_out_of_it():
    """As `labkit shell -- labkit capture red -w - | wireshark -k -i -` does."""
    script = PAIR + "echo ready; while sleep 0.1; do ip netns exec red ping -c 1 10.0.0.3 >/dev/null; done"
    pings = subprocess.Popen([*LABKIT, "run", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert pings.stdout is not None
        assert pings.stdout.readline() == "ready\n"
        shell = [*LABKIT, "shell", "--notebook", str(machine_of(pings.pid)), "--"]
        with subprocess.Popen(
            [*shell, "labkit", "capture", "red", "-w", "-", "--filter", "icmp"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as capture:
            told = subprocess.run(
                ["tcpdump", "-n", "-c", "2", "-r", "-"],
                stdin=capture.stdout,
                capture_output=True,
                text=True,
                timeout=20,
            )
            assert capture.stdout is not None
            capture.stdout.close()
            assert capture.wait(20) == 0
        assert told.stdout.count("ICMP echo") == 2, told.stderr
    finally:
        pings.send_signal(signal.SIGTERM)
        pings.communicate(timeout=20)


def machine_of(launcher):
    """Return the PID by which `labkit shell --notebook` knows the machine that this `labkit run` started."""
    from labkit.machine import find

    def mine():
        return [machine.pid for machine in find.running() if parent(machine.pid) == launcher]

    assert wait_until(mine)
    return mine()[0]


def parent(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def test_ctrl_c_in_a_terminal_ends_a_capture_in_order():
    """The terminal sends it to labkit run, to the shell's job and to the capture alike."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(sys.executable, [*LABKIT, "run", "sh", "-c", "ip netns add red; exec labkit capture red"])
    said = b""
    while b"Ctrl-C ends it" not in said:
        said += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    try:
        while data := os.read(terminal, 4096):
            said += data
    except OSError:  # the terminal's other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    assert b"labkit: 0 frames, 0 dropped" in said
    os.close(terminal)


def test_on_the_computer_itself_tab_offers_options_and_no_namespace():
    assert not here.in_lab_machine()
    assert words(["trace", ""])[0].startswith("-")
    assert "--json" in words(["trace", ""])
