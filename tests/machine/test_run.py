"""labkit run: a fresh lab machine for a command, and what the command sees."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from machine.conftest import LABKIT, Watch, wait_until


def test_status_is_the_commands_own(lab_machine):
    assert lab_machine("exit 7").returncode == 7
    assert lab_machine("true").returncode == 0


def test_status_of_a_killed_command_is_128_and_the_signal(lab_machine):
    assert lab_machine("kill -TERM $$").returncode == 128 + signal.SIGTERM
    assert lab_machine("kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_a_command_that_does_not_exist_is_one_sentence_and_127(lab_machine):
    result = lab_machine(["no-such-command"])
    assert result.returncode == 127
    assert result.stderr == "labkit: command 'no-such-command' not found; is it installed?\n"


def test_a_command_that_cannot_start_is_one_sentence_and_126(lab_machine, tmp_path):
    (tmp_path / "text").write_text("no program")
    result = lab_machine([str(tmp_path / "text")])
    assert (result.returncode, result.stderr) == (
        126,
        f"labkit: cannot start '{tmp_path}/text': Permission denied\n",
    )


def test_folder_environment_and_files_are_kept(lab_machine, tmp_path):
    result = lab_machine(
        "pwd; echo $COLOUR; echo $HOME; echo made > here", cwd=tmp_path, env={**os.environ, "COLOUR": "red"}
    )
    assert result.stdout.split() == [str(tmp_path), "red", os.environ["HOME"]]
    assert (tmp_path / "here").read_text() == "made\n"


def test_the_administrators_folders_are_on_path(lab_machine):
    result = lab_machine(
        'for f in /usr/sbin /sbin; do case ":$PATH:" in *:$f:*) echo yes;; esac; done', env={"PATH": "/bin"}
    )
    assert result.stdout.split() == ["yes", "yes"]


def test_input_reaches_the_command(lab_machine):
    assert lab_machine("tr a-z A-Z", input="hello").stdout == "HELLO"


def test_the_network_is_private_and_lo_is_up(lab_machine):
    result = lab_machine("ls /sys/class/net; ip -br addr; ping -c1 -W1 127.0.0.1")
    assert result.stdout.splitlines()[:2] == ["lo", "lo               UNKNOWN        127.0.0.1/8 "]
    assert "1 received" in result.stdout


def test_names_made_inside_do_not_exist_outside(lab_machine, tmp_path):
    before = sorted(os.listdir("/run"))
    assert lab_machine("ip netns add red && ip link add br0 type bridge && touch /run/left").returncode == 0
    assert sorted(os.listdir("/run")) == before
    assert "br0" not in os.listdir("/sys/class/net")


def test_two_machines_with_the_same_names_never_meet(watch: Watch):
    script = "ip netns add red && ip link add br0 type bridge && ip addr add 10.0.0.1/24 dev br0 && sleep 1 && ip netns"
    two = [
        subprocess.Popen([*LABKIT, "run", "sh", "-c", script], stdout=subprocess.PIPE, text=True, env=watch.environment)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=20)[0] for process in two] == ["red\n", "red\n"]


def test_daemons_left_behind_are_ended(lab_machine, watch: Watch):
    result = lab_machine("setsid sleep 1000 >/dev/null 2>&1 & sleep 0.1", env=watch.environment)
    assert result.returncode == 0
    assert wait_until(lambda: not watch.left(), 1), watch.left()


def test_process_1_reaps_orphans(lab_machine):
    script = "sh -c 'sh -c \"sleep 0.1\" & exit' ; sleep 0.4; ps -eo stat | grep -c Z"
    assert lab_machine(script).stdout == "0\n"


def test_a_lab_machine_starts_in_a_lab_machine(lab_machine):
    script = f"ip netns add red; {sys.executable} -m labkit.cli run sh -c 'ip netns add blue; ip netns'; ip netns"
    result = lab_machine(script)
    assert (result.stdout, result.stderr) == ("blue\nred\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_labkit_run_reaches_the_command_once(watch: Watch, number: signal.Signals):
    program = (
        "import signal, time, sys; n = []\n"
        f"signal.signal({int(number)}, lambda *_: n.append(1)); print('ready', flush=True)\n"
        "while not n: time.sleep(0.01)\n"
        "time.sleep(0.3); print(len(n)); sys.exit(9)"
    )
    for send in (os.kill, os.killpg):  # to the one process, or to the whole group, as a shell or Jupyter does
        process = subprocess.Popen(
            [*LABKIT, "run", sys.executable, "-c", program],
            stdout=subprocess.PIPE, text=True, env=watch.environment, start_new_session=True,
        )  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        send(process.pid, number)
        assert process.communicate(timeout=10)[0] == "1\n"
        assert process.returncode == 9


def test_a_terminal_is_passed_through_and_ctrl_c_ends_the_command(watch: Watch):
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["LABKIT_TEST"] = watch.token
        os.execv(LABKIT[0], [*LABKIT, "run", "sh", "-c", "tty; echo ready; sleep 100"])
    shown = b""
    while b"ready" not in shown:
        shown += os.read(terminal, 1000)
    assert b"/dev/pts" in shown or b"/dev/tty" in shown
    time.sleep(0.1)
    os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGINT
    os.close(terminal)


def test_ctrl_z_stops_labkit_run_and_fg_continues_it(watch: Watch):
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"LABKIT_TEST": watch.token, "PS1": "$ "}
        os.execv("/bin/bash", ["bash", "--norc", "-i"])
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(terminal, 1000)
        shown = shown.split(text, 1)[1]

    os.write(terminal, " ".join(LABKIT).encode() + b" run sh -c 'echo rea''dy; cat'\n")

    def cat_is(state: str) -> bool:
        for pid in watch.named("cat"):
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                return stat.read().rpartition(")")[2].split()[0] == state
        return False

    until(b"ready")
    assert wait_until(lambda: cat_is("S"))
    os.write(terminal, b"\x1a")
    until(b"Stopped")
    assert wait_until(lambda: cat_is("T"))
    os.write(terminal, b"fg; echo status=$?\n")
    assert wait_until(lambda: cat_is("S"))
    os.write(terminal, b"hello\n")
    until(b"hello")  # the terminal's echo
    until(b"hello")
    os.write(terminal, b"\x04")
    until(b"status=0")
    os.write(terminal, b"exit\n")
    os.waitpid(pid, 0)
    os.close(terminal)


def test_descriptors_go_up_to_the_hard_limit(lab_machine):
    assert (
        lab_machine(["bash", "-c", "ulimit -Sn; ulimit -Hn"]).stdout.split()[0]
        == lab_machine(["bash", "-c", "ulimit -Hn"]).stdout.strip()
    )


def test_dangerous_capabilities_are_gone(lab_machine):
    result = lab_machine("grep -E 'CapBnd|CapEff|CapPrm' /proc/self/status")
    for line in result.stdout.splitlines():
        held = int(line.split()[1], 16)
        assert not any(held & 1 << number for number in (16, 17, 22, 25)), line


def test_a_named_resolver_stays_readable(lab_machine):
    assert lab_machine("cat /etc/resolv.conf").returncode == 0


def test_a_folder_that_was_deleted_under_us_is_no_obstacle(tmp_path):
    script = f'cd {tmp_path} && mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    result = subprocess.run(["sh", "-c", script, "sh", *LABKIT, "run", "echo", "runs"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "runs\n"), result.stderr
