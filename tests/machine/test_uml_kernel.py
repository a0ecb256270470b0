"""The kernel `labkit-uml`, in what differs from `labkit`; what is the same is in test_kernel.py, for both."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from labkit.machine import find
from machine.conftest import LABKIT, Guests, wait_until, with_uml
from machine.test_kernel import SECONDS, Kernel

pytestmark = with_uml
TWO = """
from labkit import Bridge, Container, Topology, build
lab = build(Topology(Bridge("br0", "10.0.0.1/24"), Container("red", "10.0.0.2/24", "br0"),
                     Container("blue", "10.0.0.3/24", "br0")))
"""


@pytest.fixture
def started(guests: Guests, kernels: str):
    """Kernels of the test's own, in its course; they are shut down, and then nothing is left of them."""
    made: list[Kernel] = []

    def start(**environment: str) -> Kernel:
        made.append(Kernel("labkit-uml", cwd=str(guests.course), env=guests.environment | environment))
        return made[-1]

    yield start
    for kernel in made:
        kernel.close()


def test_a_notebook_has_a_lab_machine_beside_which_a_shell_opens(started, guests: Guests):
    kernel = started(JPY_SESSION_NAME="/home/ada/lesson.ipynb")
    assert kernel.text("from labkit.net import here; print(here.kind())\n!ip -br link | cut -d' ' -f1").split() == [
        "uml",
        "lo",
    ]
    kernel.run(TWO)
    [machine] = [machine for machine in find.running() if machine.pid in guests.launchers]
    assert (machine.notebook, machine.kind) == ("/home/ada/lesson.ipynb", "uml")
    for words in ([], ["red"]):
        shell = [*LABKIT, "shell", *words, "--notebook", str(machine.pid), "--", "ip", "-br", "-4", "address"]
        seen = subprocess.run(shell, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
        assert ("10.0.0.2/24" if words else "10.0.0.1/24") in seen.stdout, seen.stderr
    assert str(guests.course) in kernel.text("!pwd; echo made > here")
    assert (guests.course / "here").read_text() == "made\n"


def test_captures_and_traces_work(started):
    kernel = started()
    kernel.run(TWO)
    pings = "with lab.capture('red/eth0') as frames:\n    lab.ping('red', 'blue')\nprint(frames)\n"
    sent = kernel.run(f"{pings}print(lab.trace('blue', from_='red'))")
    shown = "".join(message.get("text", "") for message in sent)
    assert "ICMP echo" in shown, sent
    assert "delivered and answered" in shown, sent


def test_a_restart_gives_a_fresh_machine(started, guests: Guests):
    kernel = started()
    kernel.run("!ip netns add red; ip link add br0 type bridge; touch /tmp/left")
    first = guests.launchers
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=SECONDS)
    assert kernel.text("!ip netns; ls /sys/class/net").split() == ["lo"]
    assert not set(first) & set(guests.launchers)


def test_five_megabytes_of_output_arrive_whole(started):
    kernel = started()
    text = kernel.text("for n in range(640):\n    print(f'{n:08}' * 1024)")
    assert text == "".join(f"{n:08}" * 1024 + "\n" for n in range(640))


def test_a_kernel_whose_memory_is_used_up_says_so_in_its_log_and_in_the_first_cell_of_the_next(
    started, guests: Guests, tmp_path: Path
):
    kernel = started(XDG_STATE_HOME=str(tmp_path / "state"))
    kernel.client.execute("x = []\nwhile True: x.append(b'x' * 1_000_000)")
    assert wait_until(lambda: not guests.processes(), 30)
    log = tmp_path / "state" / "labkit" / "kernel.log"
    assert wait_until(log.exists, 2)
    used_up = r"the lab machine's memory, 256 MB, was used up, .* '\S+'; more .*LABKIT_MEMORY=512"
    assert re.search(used_up, log.read_text())
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=SECONDS)
    first, second = kernel.run("1"), kernel.run("2")
    said = "".join(message.get("text", "") for message in first)
    assert re.fullmatch(f"labkit: the kernel before this one ended: {used_up}\n", said), first
    assert [message["data"]["text/plain"] for message in second if "data" in message] == ["2"]
    assert not any(message.get("name") == "stderr" for message in second)
