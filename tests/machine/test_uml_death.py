"""Whatever of a guest dies, at any moment, nothing is left one second later: no process, file, or socket."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from machine.conftest import Guests, wait_until, with_uml
from machine.test_death import SERVER
from machine.test_uml_walls import WITHOUT_WALLS

pytestmark = with_uml
BUSY = "setsid sleep 1000 & echo ready; ip netns add red; while :; do ip netns exec red true; done"
VICTIMS = ("launcher", "guard", "kernel", "helper", "group")


def victim(guests: Guests, name: str, first: int) -> int:
    """Return the PID of the process called `name` in words; `first`, the launcher, while that is not there yet."""
    found = {
        "guard": guests.watch.named("labkit-guard"),
        "kernel": guests.processes()[:1],
        "helper": guests.processes()[1:],
    }.get(name)
    return random.choice(found) if found else first


def kill(guests: Guests, process: subprocess.Popen[str], name: str) -> None:
    """Kill it; a victim that is gone meanwhile was one of the guest's processes, and leaves nothing to kill."""
    with suppress(ProcessLookupError):
        if name == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(victim(guests, name, process.pid), signal.SIGKILL)


def end_of(guests: Guests, process: subprocess.Popen[str], name: str) -> None:
    """Nothing is left. Of a guest one of whose processes was killed, the others live on, as on any computer."""
    if name == "helper" and not wait_until(lambda: process.poll() is not None, 0.5):
        process.kill()
    process.wait(5)
    assert wait_until(lambda: not guests.left(), 5), guests.left()


@pytest.mark.parametrize("name", VICTIMS)
def test_nothing_is_left_of_a_guest_that_runs(guests: Guests, name: str):
    process = guests.start(
        "sh", "-c", BUSY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert len(guests.processes()) > 2
    kill(guests, process, name)
    end_of(guests, process, name)


@pytest.mark.parametrize("name", VICTIMS)
def test_nothing_is_left_of_a_guest_that_boots(guests: Guests, name: str):
    for number in range(3):
        process = guests.start("sh", "-c", BUSY, stdout=-3, stderr=-3, text=True, start_new_session=True)
        time.sleep(random.uniform(0.4 * number, 0.4 * number + 0.4))
        kill(guests, process, name)
        end_of(guests, process, name)


@pytest.mark.parametrize("name", ["server", "launcher", "guard", "kernel"])
def test_nothing_is_left_of_a_notebooks_kernel(guests: Guests, kernels: str, name: str):
    for delay in (random.uniform(0.5, 2), 5) if name == "server" else (random.uniform(1, 5),):
        program = SERVER.replace('"labkit"', '"labkit-uml"')
        environment = {**guests.environment, "CONNECTION": f"{kernels}/death.json"}
        server = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=guests.course, stderr=-3)
        guests.started.append(server)
        time.sleep(delay)
        launchers = guests.launchers or [server.pid]
        kill_one = {"server": server.pid, "launcher": launchers[0]}.get(name) or victim(guests, name, launchers[0])
        os.kill(kill_one, signal.SIGKILL)
        # Where the guest was what died, the launcher lives on, and a child of its says so in every cell; or it ends.
        kept = (f"process {server.pid} python", "labkit-uml" if name in ("guard", "kernel") else "nothing more")
        assert wait_until(lambda: all(kept[0] in line or line.endswith(kept[1]) for line in guests.left()), 5), (  # noqa: B023
            guests.left()
        )
        server.kill()
        assert wait_until(lambda: set(guests.watch.processes()) <= {server.pid}, 5), guests.left()  # noqa: B023
        server.wait(5)


def test_a_launcher_whose_guest_is_killed_says_so(guests: Guests):
    process = guests.start("sh", "-c", BUSY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(guests.processes()[0], signal.SIGKILL)
    _, said = process.communicate(timeout=5)
    assert said == (
        "labkit: the lab machine ended by itself: it was killed, by somebody, or by a kernel whose memory was used up\n"
    )
    assert process.returncode == 128 + signal.SIGKILL


SENDS = """
import socket
print("ready", flush=True)
while True:
    try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {port}))
    except OSError: pass
"""


def came_from_processes_let_loose(guests: Guests, program: list[str], attempts: int) -> bool:
    """Return whether anything reached the computer from a guest whose kernel was killed, in some attempts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        sends = SENDS.format(port=server.getsockname()[1])
        command = [*program, "run", "--machine", "uml", "--", sys.executable, "-c", sends]
        for _ in range(attempts):
            process = subprocess.Popen(command, env=guests.environment, cwd=guests.course, stdout=-1, stderr=-3)
            guests.started.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.1)  # it sends
            os.kill(guests.processes()[0], signal.SIGKILL)
            process.wait(5)
            with suppress(BlockingIOError):
                return bool(server.recv(1))
        return False


def test_processes_of_a_guest_whose_kernel_is_killed_do_nothing_on_the_computer(guests: Guests):
    """They are traced, and go on by themselves, on the computer, when their tracer is killed: here they end."""
    assert came_from_processes_let_loose(guests, [sys.executable, "-c", WITHOUT_WALLS], 12)
    assert not came_from_processes_let_loose(guests, [sys.executable, "-m", "labkit.cli"], 3)


def test_a_guest_of_root_has_no_capability_but_those_over_files(guests: Guests):
    process = guests.start("sleep", "1000")
    assert wait_until(guests.processes)
    with open(f"/proc/{guests.processes()[0]}/status", encoding="ascii") as status:
        held = {line.split()[0]: int(line.split()[1], 16) for line in status if line.startswith("Cap")}
    assert held["CapEff:"] | held["CapPrm:"] | held["CapInh:"] | held["CapAmb:"] in (0, 0b11111)
    process.terminate()
    process.wait(5)


def test_a_shell_ends_with_the_guest_it_is_in(guests: Guests):
    process = guests.start("sleep", "1000")
    assert wait_until(lambda: any("@labkit-uml" in line for line in guests.left()))
    command = [sys.executable, "-m", "labkit.cli", "shell", "--notebook", str(process.pid), "--"]
    shell = subprocess.Popen(
        [*command, "sh", "-c", "echo ready; exec sleep 1000"],
        env=guests.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    guests.started.append(shell)
    assert shell.stdout is not None
    assert shell.stdout.readline() == "ready\n"
    process.kill()
    process.wait(5)
    _, said = shell.communicate(timeout=2)
    assert (shell.returncode, said.splitlines()[0].split("' has")[1]) == (2, " ended"), said


@pytest.mark.parametrize("attempt", range(2))  # what ends first, the command or its output, is chance
def test_a_command_in_a_guest_ends_with_its_shell_and_the_guest_lives_on(guests: Guests, attempt: int):
    process = guests.start(
        "sh", "-c", "while [ ! -e stop ]; do sleep 0.1; done; pgrep -x cat | wc -l", stdout=-1, text=True
    )
    assert wait_until(lambda: any("@labkit-uml" in line for line in guests.left()))
    command = [sys.executable, "-m", "labkit.cli", "shell", "--notebook", str(process.pid), "--"]
    shell = subprocess.Popen(
        [*command, "sh", "-c", "echo ready; exec cat"],
        env=guests.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    guests.started.append(shell)
    assert shell.stdout is not None
    assert shell.stdout.readline() == "ready\n"
    shell.kill()
    time.sleep(0.3)
    (guests.course / "stop").touch()
    assert process.communicate(timeout=10)[0] == "0\n"
