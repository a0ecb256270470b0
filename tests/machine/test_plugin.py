"""The pytest plugin: each test finds an empty network, and outside of a lab machine it is refused."""

from __future__ import annotations

import subprocess
import sys

TESTS = """
import os, subprocess
import pytest

def sh(command):
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout

@pytest.mark.parametrize("turn", [1, 2])
def test_the_network_is_fresh(network, turn):
    assert sh("ip netns; nft list ruleset; cat /proc/sys/net/ipv4/ip_forward; ls /sys/class/net").split() == ["0", "lo"]
    sh("ip netns add red; ip link add br0 type bridge; ip link add v0 type veth peer name eth0 netns red")
    sh("sysctl -w net.ipv4.ip_forward=1; nft add table ip t")
"""


def write(folder) -> list[str]:
    path = folder / "test_it.py"
    path.write_text(TESTS)
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(path)]


def test_each_test_finds_an_empty_network(lab_machine, tmp_path):
    result = lab_machine(write(tmp_path), timeout=60)
    assert "2 passed" in result.stdout, result.stdout


def test_on_the_computer_itself_it_is_refused(tmp_path):
    result = subprocess.run(write(tmp_path), capture_output=True, text=True, timeout=60)
    assert "2 errors" in result.stdout
    assert "failed to give a test a fresh network: this is not a lab machine" in result.stdout


def test_clear_takes_away_what_hangs_on_no_link(lab_machine):
    made = (
        "ip rule add pref 7 table 7 && ip route add blackhole 10.8.0.0/16 && "
        "ip route add unreachable 10.9.0.0/16 table 7 && ip address add 10.7.7.7/32 dev lo"
    )
    show = "ip rule; ip -br address; ip route show table all"
    clear = f"{sys.executable} -c 'from labkit.pytest_plugin import clear; clear()'"
    result = lab_machine(f"{made} && {clear} && {show}")
    empty = lab_machine(show)
    assert (result.stdout, result.stderr) == (empty.stdout, "")
