"""The witness sees a change, and sees none where there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from setup import witness

CHANGE = """
import subprocess
from setup import witness
before = witness.look()
subprocess.run({command!r}, shell=True, check=True)
print(*witness.changes(before, witness.look()), sep=" ; ")
"""
APART = ["unshare", "--net", "--mount", "sh", "-ec", 'mount -t sysfs sysfs /sys; exec "$@"', "sh"]


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        ("ip link add red type veth peer name blue", "link red"),
        ("ip link set lo up", "link lo"),
        ("ip link set lo up; ip address add 10.9.9.1/24 dev lo", "address 10.9.9.1/32"),
        ("ip link set lo up; ip address add fd00::1/64 dev lo", "address fd000000000000000000000000000001/64"),
        ("ip link set lo up; ip route add 10.9.9.0/24 dev lo", "route 0009090A"),
        ("ip rule add pref 99 blackhole", "rule "),
        ("sysctl -qw net.ipv4.ip_forward=1", "sysctl net.ipv4.ip_forward: 0 → 1"),
    ],
)
@pytest.mark.as_root
def test_a_change_is_seen(command: str, seen: str) -> None:
    script = CHANGE.format(command=command)
    result = subprocess.run([*APART, sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert seen in result.stdout


def test_nothing_changes_by_looking() -> None:
    assert witness.settled_changes(witness.look()) == []


def seen(*programs: witness.Program) -> witness.Look:
    return witness.Look(1000.0, {}, frozenset(programs))


OLD = witness.Program(7, "9", "sshd -D", 1.0)
RESTARTED = witness.Program(99, "5000", "sshd -D", 1.0)
INSTALLED = witness.Program(98, "5000", "bird -R", 2000.0)
SHELL = witness.Program(97, "5000", "bash", 1.0)


def test_a_service_that_came_with_a_package_is_seen() -> None:
    assert witness.changes(seen(OLD), seen(OLD, INSTALLED, SHELL)) == ["+ service bird -R (process 98)"]


def test_a_service_that_was_restarted_is_seen() -> None:
    assert witness.changes(seen(OLD), seen(RESTARTED)) == ["+ service sshd -D (process 99)"]


def test_a_program_that_ended_is_no_change() -> None:
    assert witness.changes(seen(OLD, SHELL), seen(OLD)) == []


def test_what_settles_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [seen(INSTALLED), seen()]
    monkeypatch.setattr(witness, "look", lambda: looks.pop(0) if len(looks) > 1 else looks[0])
    assert witness.settled_changes(seen()) == []
