"""`ip` behaves as the real one, and its namespaces have stated sysctls; `sudo` is harmless; `tcpdump` works."""

from __future__ import annotations

import pytest

from labkit.net.sysctl import STATED

SETTINGS = " ".join(f"/proc/sys/{key.replace('.', '/')}" for key in STATED)


@pytest.mark.parametrize(
    "make",
    [
        "ip netns add red",
        "/sbin/ip netns add red",
        "$(which ip) net a red",
        "ip -c=never netns add red",
        "printf 'netns add red\\nlink add name t0 netns red type bridge\\n' | ip -batch -",
        "printf 'netns add red\\n' > $d/batch; ip -b $d/batch",
        "sudo ip netns add red",
    ],
)
def test_a_namespace_made_by_hand_has_stated_sysctls(lab_machine, tmp_path, make):
    # Forwarding on in the machine's host, so that whatever the kernel copies differs from what is stated.
    result = lab_machine(
        f"d={tmp_path}; sysctl -qw net.ipv4.ip_forward=1; {make}; ip netns exec red grep -H . {SETTINGS} 2>/dev/null"
    )
    found = dict(line.split(":", 1) for line in result.stdout.splitlines())
    assert found
    for path, value in found.items():
        assert value == STATED[path.removeprefix("/proc/sys/").replace("/", ".")], path


@pytest.mark.parametrize(
    "arguments",
    [
        "link show lo",
        "-br addr",
        "netns add red",
        "netns add red; {ip} netns add red",
        "netns add a/b",
        "netns",
        "netns exec none true",
        "link add",
        "-n none link",
        "nonsense",
        "-V",
        "-j addr show dev lo",
        "link add 'a b' type bridge",
        "-force -batch /nonexistent",
    ],
)
def test_ip_answers_as_the_real_one(lab_machine, arguments):
    """Status, output and errors are the same."""
    script = "{ip} " + arguments
    ours = lab_machine(script.replace("{ip}", "ip"))
    real = lab_machine(script.replace("{ip}", "/run/labkit/real/ip"))
    assert (ours.returncode, ours.stdout, ours.stderr) == (real.returncode, real.stdout, real.stderr)


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("sudo id -u", "0\n"),
        ("sudo -n -E -- id -u", "0\n"),
        ("sudo -u nobody -g nogroup echo hi", "hi\n"),
        ("sudo COLOUR=red sh -c 'echo $COLOUR'", "red\n"),
        ("sudo -s echo hi", "hi\n"),
        ("sudo --user=root echo hi", "hi\n"),
        ("sudo -nu root id -u", "0\n"),
        ("sudo -iu root echo hi", "hi\n"),
        ("sudo -unobody echo hi", "hi\n"),
        ("sudo -v; echo $?", "0\n"),
        ("sudo sh -c 'exit 5'; echo $?", "5\n"),
        ("sudo echo 'a  b'", "a  b\n"),
    ],
)
def test_sudo_just_starts_the_command(lab_machine, command, printed):
    result = lab_machine(command)
    assert (result.stdout, result.stderr) == (printed, "")


def test_tcpdump_hears_a_ping_whoever_started_the_machine(lab_machine):
    """It gives up root when it starts, which the only user of a user namespace cannot."""
    listen = "timeout 10 tcpdump -lntc 1 -i lo icmp 2>$d/said & until grep -q listening $d/said; do sleep 0.01; done"
    result = lab_machine(f"d=$(mktemp -d); {listen}; ping -qc 1 127.0.0.1 >/dev/null; wait; cat $d/said >&2")
    assert "127.0.0.1 > 127.0.0.1: ICMP echo request" in result.stdout, result.stderr


def test_tcpdump_writes_where_its_user_may(lab_machine, tmp_path):
    tmp_path.chmod(0o700)
    script = f"timeout 10 tcpdump -U -w {tmp_path}/pings -c 1 -i lo icmp & sleep 0.3; ping -qc 1 127.0.0.1; wait"
    lab_machine(script)
    assert (tmp_path / "pings").stat().st_size > 24


@pytest.mark.parametrize(
    "enter", ["ip netns exec red", "ip net e red", "sudo ip netns exec red", "ip -4 netns exec red"]
)
def test_a_namespace_may_have_an_etc_of_its_own(lab_machine, enter):
    """As /etc/netns/NAME, in which only the computer's root can write; nobody else sees it."""
    etc = "/run/labkit/etc/red"
    result = lab_machine(
        f"ip netns add red; mkdir -p {etc}; echo nameserver 127.0.0.11 >{etc}/resolv.conf; cp /etc/resolv.conf /run/r;"
        f"{enter} cat /etc/resolv.conf; {enter} sh -c 'exit 7'; echo $?; cmp /etc/resolv.conf /run/r && echo same"
    )
    assert (result.stdout, result.stderr) == ("nameserver 127.0.0.11\n7\nsame\n", "")
