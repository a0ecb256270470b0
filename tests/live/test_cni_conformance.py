"""The conformance suite finds what deviates, and the table in docs/cni-conformance.md is what it gives."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit.kube.cni import conformance
from labkit.kube.cni.bench import BIN, Subject
from labkit.kube.cni.call import PATH, find
from labkit.net import here, namespace

PROJECT = Path(__file__).parent.parent.parent
RECORDED = PROJECT / "docs" / "cni-conformance.md"
LABKIT = os.path.join(os.path.dirname(sys.executable), "labkit")


def test_the_recorded_table_is_what_the_suite_gives() -> None:
    if here.on_user_mode_linux():
        pytest.skip("needs: iptables with nftables, with which the table was recorded")
    text = RECORDED.read_text()
    recorded = text[text.index("| case |") :]
    names = recorded.splitlines()[0].split(" | ")[2:]
    kinds = [name.strip(" |") for name in names]
    subjects = [Subject.of(find(kind, (*PATH, BIN))) for kind in kinds]
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(conformance.run, subjects))
    assert conformance.table(dict(zip(kinds, outcomes, strict=True))) == recorded
    assert len(kinds) >= 10
    assert not [name for name in namespace.names() if name.startswith("cni-test")]


FAULTY = {  # a way to be wrong, put before the plugin's work, and the case that must find it
    'if [ "$CNI_COMMAND" = CHECK ]; then exit 0; fi': "CHECK fails when the address is gone",
    'if [ "$CNI_COMMAND" = GC ]; then exit 0; fi': "GC frees what is no valid attachment's, and nothing else",
    'if [ "$CNI_COMMAND" = DEL ]; then exit 0; fi': "DEL takes back what ADD did",
    'if [ "$CNI_COMMAND$CNI_NETNS" = DEL ]; then exit 1; fi': "DEL without CNI_NETNS succeeds, and frees the address",
    "[ -z $CNI_NETNS ] && [ $CNI_COMMAND = ADD ] && echo netns && exit 1": (
        "A missing CNI_CONTAINERID, CNI_NETNS or CNI_IFNAME is error 4, which names it"
    ),
    'if [ "$CNI_COMMAND" = ADD ]; then echo "{}"; exit 0; fi': (
        "ADD prints a result of the form that the version gives it"
    ),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_plugin_with_a_fault_deviates(tmp_path: Path, fault: str) -> None:
    plugin = tmp_path / "faulty"
    plugin.write_text(f"#!/bin/sh\n{fault}\nexec {BIN}/labkit-bridge\n")
    plugin.chmod(0o755)
    case = next(one for one in conformance.CASES if one.name == FAULTY[fault])
    [outcome] = conformance.run(Subject.of(str(plugin)), [case])
    assert outcome.verdict == "deviation"
    assert outcome.said


def told(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LABKIT, "cni", "test", *words], capture_output=True, text=True, check=False)


def test_the_command_counts_in_its_last_line_and_exits_0_1_or_2(tmp_path: Path) -> None:
    passed = told("loopback")
    assert passed.returncode == 0, passed.stdout
    assert passed.stdout.splitlines()[-1].startswith(f"{len(conformance.CASES)} cases: ")
    assert "not claimed  STATUS" in passed.stdout
    plugin = tmp_path / "hollow"
    plugin.write_text('#!/bin/sh\necho \'{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}\'\n')
    plugin.chmod(0o755)
    assert told(str(plugin)).returncode == 1
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\n")
    mute.chmod(0o755)
    for wrong in ("no-such-plugin", str(mute), f"{tmp_path}/nothing"):
        could_not = told(wrong)
        assert (could_not.returncode, could_not.stdout) == (2, "")
        assert could_not.stderr.startswith("labkit: failed to ")


def test_a_configuration_of_ones_own_is_used(tmp_path: Path) -> None:
    conf = tmp_path / "own.conflist"
    conf.write_text('{"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "ptp"}]}')
    could_not = told("bridge", "--conf", str(conf))
    assert could_not.returncode == 2
    assert "failed to test plugin 'bridge': it is not in the configuration" in could_not.stderr
