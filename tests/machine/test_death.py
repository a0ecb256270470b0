"""Whatever dies, at any moment, nothing is left one second later: no process, namespace, mount or temporary file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from machine.conftest import LABKIT, Watch, wait_until

BUILD = """
setsid sleep 1000 & setsid sh -c 'while :; do sleep 0.05; done' &
n=0; while :; do n=$((n+1)); ip netns add n$n; ip link add v$n type veth peer name eth0 netns n$n; done
"""
SERVER = """
import os, sys, time
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name="labkit", connection_file=os.environ["CONNECTION"]); manager.start_kernel()
client = manager.client(); client.start_channels(); client.wait_for_ready(timeout=60)
client.execute("import subprocess; subprocess.Popen(['setsid', 'sleep', '1000'])\\n"
               "for n in range(100): subprocess.run(['ip', 'netns', 'add', str(n)])")
time.sleep(1000)
"""


def mounted() -> list[str]:
    """Return the computer's mounts that a lab machine could have left: on /run, of namespaces, over programs."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return [line for line in mounts if line.split()[4].startswith(("/run", "/usr", "/sys", "/proc", "/dev"))]


def victim(watch: Watch, name: str, first: int) -> int | None:
    """Return the PID of the process called `name` in words, when it is there already."""
    inits = watch.named("labkit-init")
    if name == "first":  # labkit run, or the server
        return first
    if name == "init":
        return inits[0] if inits else None
    for init in inits:
        with suppress(OSError):
            if name == "launcher":
                with open(f"/proc/{init}/stat", encoding="ascii") as stat:
                    return int(stat.read().rpartition(")")[2].split()[1])
            with open(f"/proc/{init}/task/{init}/children", encoding="ascii") as children:
                return int((children.read().split() or [first])[0])
    return None


def kill_at_random(watch: Watch, process: subprocess.Popen[bytes], name: str, delay: float) -> None:
    time.sleep(delay)
    pid = victim(watch, name, process.pid)
    watch.remember()
    if pid is None:  # the machine has not come so far: what starts it dies
        pid = process.pid
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["first", "init", "child"])
def test_nothing_is_left_of_a_command(watch: Watch, tmp_path, name):
    mounts = mounted()
    for _ in range(12):
        process = subprocess.Popen(
            [*LABKIT, "run", "sh", "-c", BUILD],
            env={**watch.environment, "TMPDIR": str(tmp_path)}, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        kill_at_random(watch, process, name, random.uniform(0, 0.6))
        assert wait_until(lambda: not watch.left(), 1), watch.left()
        process.wait(5)
    assert mounted() == mounts
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["first", "launcher", "init", "child"])
def test_nothing_is_left_of_a_kernel(kernels, watch: Watch, tmp_path, name):
    mounts = mounted()
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env={**watch.environment, "TMPDIR": str(tmp_path), "CONNECTION": f"{kernels}/death.json"},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        kill_at_random(watch, process, name, random.uniform(0.2, 3))

        server = f"process {process.pid} "
        gone = lambda: all(line.startswith(server) for line in watch.left())  # noqa: B023, E731 - called right here
        assert wait_until(gone, 1), watch.left()
        process.kill()
        process.wait(5)
    assert mounted() == mounts
    assert os.listdir(tmp_path) == []


def test_nothing_is_left_when_the_whole_group_is_killed(watch: Watch):
    for _ in range(6):
        process = subprocess.Popen(
            [*LABKIT, "run", "sh", "-c", BUILD],
            env=watch.environment, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(random.uniform(0, 0.5))
        watch.remember()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
        assert wait_until(lambda: not watch.left(), 1), watch.left()


def test_a_joined_shell_dies_with_the_machine(watch: Watch):
    machine = subprocess.Popen([*LABKIT, "run", "sleep", "1000"], env=watch.environment)
    assert wait_until(lambda: len(watch.named("sleep")) == 1)
    init = watch.named("labkit-init")[0]
    shell = subprocess.Popen([*LABKIT, "shell", "--notebook", str(init), "--", "sleep", "1000"], env=watch.environment)
    assert wait_until(lambda: len(watch.named("sleep")) == 2)
    watch.remember()
    machine.kill()
    assert shell.wait(1) == 128 + signal.SIGKILL
    machine.wait(1)
    assert wait_until(lambda: not watch.left(), 1), watch.left()


def test_a_joined_command_dies_with_labkit_shell(watch: Watch):
    machine = subprocess.Popen([*LABKIT, "run", "sleep", "1000"], env=watch.environment)
    assert wait_until(lambda: len(watch.named("sleep")) == 1)
    init = watch.named("labkit-init")[0]
    shell = subprocess.Popen([*LABKIT, "shell", "--notebook", str(init), "--", "sleep", "1000"], env=watch.environment)
    assert wait_until(lambda: len(watch.named("sleep")) == 2)
    shell.kill()
    assert wait_until(lambda: len(watch.named("sleep")) == 1, 1)
    shell.wait(1)
    machine.kill()
    machine.wait(1)
