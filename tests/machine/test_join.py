"""Running lab machines are found, joined by a shell, and entered by the judge; names are not trusted."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from labkit.completion import words
from labkit.errors import LabkitError, NamespaceGone, NotFound, Refused, WrongUse
from labkit.machine import find, join, shell
from machine.conftest import LABKIT, Watch, wait_until

HOLD = """
import os, sys, time
held = os.open("/run/netns/red", os.O_RDONLY)
os.symlink(f"/proc/{os.getpid()}/fd/{held}", "/run/netns/blue")
print("ready", flush=True)
time.sleep(1000)
"""
NAMES = f"""
ip netns add red; touch /run/netns/plain; ln -s /etc/passwd /run/netns/file; ln -s red /run/netns/alias
ln -s /proc/1/ns/mnt /run/netns/mounts; ln -s /proc/1/ns/net /run/netns/first
ln -s /proc/1/fd/0 /run/netns/input; ln -s /proc/999999/fd/3 /run/netns/gone
mkfifo /run/netns/pipe; exec {sys.executable} -c '{HOLD}'
"""


@contextmanager
def machine(watch: Watch, command: str, **environment: str) -> Iterator[find.Machine]:
    process = subprocess.Popen(
        [*LABKIT, "run", "sh", "-c", command],
        stdout=subprocess.PIPE,
        text=True,
        env={**watch.environment, **environment},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        [init] = [pid for pid in watch.named("labkit-init") if parent(pid) == process.pid]
        yield next(found for found in find.running() if found.pid == init)
    finally:
        process.kill()
        process.communicate()


def parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def labkit(*words: str, watch: Watch) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LABKIT, *words], capture_output=True, text=True, timeout=30, env=watch.environment, stdin=subprocess.DEVNULL
    )


def test_a_running_machine_is_found(watch):
    with machine(watch, "echo ready; sleep 1000") as found:
        assert (found.kind, found.notebook, found.user) == ("namespaces", None, os.getuid())
        assert found.command.endswith("run sh -c echo ready; sleep 1000")
    assert wait_until(lambda: found not in find.running(), 1)


def test_names_that_lead_to_namespaces_are_opened(watch):
    with machine(watch, NAMES) as found:
        descriptors = [join.open_namespace(found, name) for name in ("host", "red", "blue", "first")]
        host, red, blue, first = (os.fstat(descriptor).st_ino for descriptor in descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        assert red == blue != host == first
        assert host == os.stat(f"/proc/{found.pid}/ns/net").st_ino
        assert set(join.namespaces(found)) == {
            "red",
            "blue",
            "plain",
            "file",
            "alias",
            "mounts",
            "first",
            "input",
            "gone",
            "pipe",
        }


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("none", NotFound, "failed to enter namespace 'none': no such namespace"),
        ("file", Refused, "failed to enter namespace 'file': its name is a link to '/etc/passwd', not to a namespace"),
        ("alias", Refused, "failed to enter namespace 'alias': its name is a link to 'red', not to a namespace"),
        (
            "mounts",
            Refused,
            "failed to enter namespace 'mounts': its name is a link to '/proc/1/ns/mnt', not to a namespace",
        ),
        ("input", Refused, "failed to enter namespace 'input': its name stands for something else"),
        ("plain", Refused, "failed to enter namespace 'plain': its name stands for something else"),
        ("pipe", Refused, "failed to enter namespace 'pipe': its name stands for something else"),
        ("gone", NamespaceGone, "failed to enter namespace 'gone': the process that kept it alive has ended"),
        ("../../etc", WrongUse, "failed to name namespace '../../etc': not a usable name"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(watch, name, kind, message):
    with machine(watch, NAMES) as found:
        with pytest.raises(LabkitError) as caught:
            join.open_namespace(found, name)
    assert (type(caught.value), caught.value.message) == (kind, message)


def test_names_are_looked_up_in_the_machine_even_when_its_folder_is_a_link(watch):
    with machine(
        watch, "umount -l /run/netns 2>/dev/null; mv /run/netns /run/old; ln -s /etc /run/netns; echo ready; sleep 9"
    ) as found:
        assert join.namespaces(found) == []
        with pytest.raises(LabkitError):
            join.open_namespace(found, "passwd")


def test_the_judge_enters_user_and_network_only(watch):
    script = """
import os, sys
from labkit.machine import find, join
machine = next(found for found in find.running() if found.pid == int(sys.argv[1]))
join.enter(machine, user_net_only=True)
print(os.path.exists("/run/labkit/host"), open("/proc/thread-self/net/dev").read().count(":"))
"""
    with machine(watch, "ip link add br0 type bridge; echo ready; sleep 1000") as found:
        result = subprocess.run([sys.executable, "-c", script, str(found.pid)], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("False 2\n", "")


def test_a_dead_machine_is_gone(watch):
    with machine(watch, "echo ready; sleep 1000") as found:
        pass
    assert wait_until(lambda: not os.path.exists(f"/proc/{found.pid}/ns/net"), 1)
    with pytest.raises(NamespaceGone, match="it has ended"):
        join.open_namespace(found, "host")


def test_labkit_shell_runs_a_command_in_a_namespace(watch, tmp_path):
    with machine(watch, "ip netns add red; ip -n red link add br0 type bridge; echo ready; sleep 1000") as found:
        pid = str(found.pid)
        result = labkit(
            "shell", "red", "--notebook", pid, "--", "sh", "-c", "ls /sys/class/net; id -u; pwd; exit 4", watch=watch
        )
        assert (result.returncode, result.stdout.split()) == (4, ["br0", "lo", "0", os.getcwd()])
        assert labkit("shell", "--notebook", pid, "--", "ip", "netns", watch=watch).stdout == "red\n"
        result = labkit("shell", "rde", "--notebook", pid, "--", "true", watch=watch)
        assert (result.returncode, result.stderr) == (
            2,
            "labkit: failed to enter namespace 'rde': no such namespace\nnamespaces there: host, red\n",
        )


def test_labkit_shell_shows_where_one_is(watch):
    with machine(watch, "ip netns add red; echo ready; sleep 1000") as found:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(LABKIT[0], [*LABKIT, "shell", "red", "--notebook", str(found.pid)])
        shown = b""
        while b"red" not in shown.split(b"leave with exit")[-1] or b"@run:" not in shown:
            shown += os.read(terminal, 1000)
        os.write(terminal, b"exit 6\n")
        status = os.waitpid(pid, 0)[1]
        os.close(terminal)
    assert b"namespaces: host, red; leave with exit" in shown
    assert os.waitstatus_to_exitcode(status) == 6


def a_machine(pid: int, notebook: str | None, command: str = "labkit run bash") -> find.Machine:
    return find.Machine(pid, "namespaces", notebook, 1000, command, pid)


ONE, TWO = a_machine(7, "/home/ada/01-namespaces.ipynb"), a_machine(8, "/home/ada/02-veth.ipynb")


@pytest.mark.parametrize(
    "wanted", ["01-namespaces", "01-namespaces.ipynb", "/home/ada/01-namespaces.ipynb", "7", "01", "spaces"]
)
def test_a_notebook_is_named_by_what_one_remembers(wanted):
    assert shell.choose([ONE, TWO], wanted) is ONE


def test_one_running_machine_needs_no_name():
    assert shell.choose([ONE]) is ONE


NONE = """failed to find a lab machine: none of yours is running
open a notebook with the kernel 'labkit', or start one: labkit run bash"""
SEVERAL = """failed to choose a lab machine: 2 are running; say which with --notebook NAME (or its PID)
running:
        7  /home/ada/01-namespaces.ipynb
        8  /home/ada/02-veth.ipynb"""
UNKNOWN = """failed to find the lab machine of '09': no such notebook runs
running:
        7  /home/ada/01-namespaces.ipynb"""


@pytest.mark.parametrize(
    ("machines", "wanted", "message"),
    [([], None, NONE), ([ONE, TWO], None, SEVERAL), ([ONE], "09", UNKNOWN)],
)
def test_a_machine_that_cannot_be_chosen_is_a_sentence(machines, wanted, message):
    with pytest.raises(LabkitError) as caught:
        shell.choose(machines, wanted)
    assert str(caught.value) == message


def test_tab_completes_commands_and_namespaces(watch):
    assert {"run", "shell", "doctor", "prove"} <= set(words(["s"]))
    with machine(watch, "ip netns add red; ip netns add blue; echo ready; sleep 1000") as found:
        assert words(["shell", "--notebook", str(found.pid), "r"]) == ["host", "blue", "red", "--notebook"]


def test_the_completion_script_works_in_bash(watch):
    script = (
        'source <("$@" completion bash); labkit() { "$PY" -m labkit.cli "$@"; }; '
        "COMP_WORDS=(labkit doct); COMP_CWORD=1; _labkit; echo ${COMPREPLY[@]}"
    )
    result = subprocess.run(
        ["bash", "-c", script, "bash", *LABKIT],
        capture_output=True,
        text=True,
        env={**watch.environment, "PY": sys.executable},
    )
    assert (result.stdout, result.stderr) == ("doctor\n", "")


CLUSTER = f"{sys.executable} -m labkit.cli cluster up --nodes 2 >/dev/null; echo ready; exec sleep 1000"


def test_a_shell_sees_the_cluster_of_its_lab_machine(watch: Watch) -> None:
    with machine(watch, CLUSTER) as running:
        there = ["shell", "--notebook", str(running.pid)]
        seen = labkit(*there, "--", *LABKIT, "kubectl", "get", "nodes", "-o", "name", watch=watch)
        assert (seen.returncode, seen.stdout) == (0, "node/node-1\nnode/node-2\n"), seen.stderr
        inside = labkit("shell", "node-2", *there[1:], "--", "ip", "-o", "-4", "address", "show", "eth0", watch=watch)
        assert "192.168.50.12/24" in inside.stdout, inside.stderr
