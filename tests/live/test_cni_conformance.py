"""The conformance suite finds what deviates, and the table in docs/cni-conformance.md is what it gives."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit import cli
from labkit.kube.cni import conformance
from labkit.kube.cni.bench import BIN, Subject
from labkit.kube.cni.call import PATH, find
from labkit.net import here, namespace

PROJECT = Path(__file__).parent.parent.parent
Told = Callable[..., tuple[int, str, str]]
RECORDED = PROJECT / "docs" / "cni-conformance.md"


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
    assert len(kinds) >= 9
    assert not [name for name in namespace.names() if name.startswith("cni-test")]


FAULTY = {  # a way to be wrong, put before the plugin's work, and the case that must find it
    'if [ "$CNI_COMMAND" = CHECK ]; then exit 0; fi': "CHECK fails when the address is gone",
    'if [ "$CNI_COMMAND" = GC ]; then exit 0; fi': "GC frees what is no valid attachment's, and nothing else",
    'if [ "$CNI_COMMAND" = DEL ]; then exit 0; fi': "DEL takes back what ADD did",
    'if [ "$CNI_COMMAND$CNI_CONTAINERID" = ADDother ]; then nsenter --net=$CNI_NETNS ip link delete eth0; fi': (
        "An ADD by another container for an interface that exists is an error, and leaves everything as it was"
    ),
    '[ "$CNI_COMMAND" = DEL ] && export CNI_IFNAME=eth0': (
        "Of two interfaces of a container the second comes and goes, and the first stays as it was"
    ),
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


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs `labkit cni test` and gives its exit status, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(["cni", "test", *words])
        return status, *capsys.readouterr()

    return run


def test_the_command_counts_in_its_last_line_and_exits_0_1_or_2(told: Told, tmp_path: Path) -> None:
    status, said, _ = told("loopback")
    assert status == 0, said
    assert said.splitlines()[-1].startswith(f"{len(conformance.CASES)} cases: ")
    assert "not claimed  STATUS" in said
    plugin = tmp_path / "hollow"
    plugin.write_text('#!/bin/sh\necho \'{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}\'\n')
    plugin.chmod(0o755)
    assert told(str(plugin))[0] == 1
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\n")
    mute.chmod(0o755)
    for wrong in ("no-such-plugin", str(mute), f"{tmp_path}/nothing"):
        status, said, complained = told(wrong)
        assert (status, said) == (2, "")
        assert complained.startswith("labkit: failed to ")


def test_a_configuration_of_ones_own_is_used(told: Told, tmp_path: Path) -> None:
    conf = tmp_path / "own.conflist"
    conf.write_text('{"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "ptp"}]}')
    status, _, complained = told("bridge", "--conf", str(conf))
    assert status == 2
    assert "failed to test plugin 'bridge': it is not in the configuration" in complained
