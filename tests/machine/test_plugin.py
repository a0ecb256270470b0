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
