"""labkit doctor tells what works; labkit prove tells whether the computer's network stayed as it was."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from labkit.errors import CommandNotInstalled
from labkit.machine import forbidden, outside, probe
from labkit.machine.features import FEATURES
from machine.conftest import LABKIT

OUTER = ["unshare", "--net", "--mount", "--map-root-user"]  # a computer of the test's own, to change deliberately
if os.geteuid() == 0:
    OUTER = OUTER[:3]


def labkit(*words: str, before: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, *LABKIT, *words], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def test_doctor_answers_every_feature_with_a_sentence_and_a_remedy():
    report = json.loads(labkit("doctor", "--json").stdout)
    assert report["kinds"][0]["name"] == "namespaces"
    assert report["kinds"][0]["works"] is True
    features = {feature["name"]: feature for feature in report["features"]["namespaces"]}
    assert list(features) == [feature.name for feature in FEATURES]
    for name in ("veth", "bridge", "capture"):
        assert features[name]["works"], features[name]
    for feature in features.values():
        assert feature["sentence"]
        assert feature["works"] or feature["remedy"]


def test_doctor_without_json_is_for_people():
    result = labkit("doctor")
    assert result.returncode == 0
    assert re.search(r"^  yes +(yes +)?veth +a cable between two namespaces$", result.stdout, re.MULTILINE)
    assert "a notebook gets kind namespaces: the kernel gives this user namespaces" in result.stdout


def test_doctor_loads_no_module():
    def modules() -> list[str]:
        if not os.path.exists("/proc/modules"):
            return []
        with open("/proc/modules", encoding="ascii") as file:
            return sorted(line.split()[0] for line in file)

    before = modules()
    labkit("doctor", "--json")
    assert modules() == before


def test_doctor_says_what_to_do_where_namespaces_are_forbidden(tmp_path):
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"'
    result = labkit("doctor", before=("unshare", "-Ur", "sh", "-c", forbid, "sh"))
    assert result.returncode == (0 if shutil.which("linux.uml") else 1)
    assert (
        "  no   namespaces       failed to start a lab machine: the kernel gives this user no namespaces"
        in result.stdout
    )
    assert (
        "remedy: a setting forbids it: sysctl user.max_user_namespaces=10000 user.max_net_namespaces=10000"
        in result.stdout
    )


def test_labkit_run_says_what_to_do_where_namespaces_are_forbidden():
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_net_namespaces; exec "$@"'
    before = ("unshare", "-Ur", "sh", "-c", forbid, "sh")
    result = labkit("run", "--machine", "namespaces", "true", before=before)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "labkit: failed to start a lab machine: the kernel gives this user no namespaces (no space left on device)",
        "a setting forbids it: sysctl user.max_user_namespaces=10000 user.max_net_namespaces=10000",
    ]


def test_prove_shows_that_nothing_changed():
    result = labkit("prove", "--idle", "0.3", "--", "ip", "link", "add", "br0", "type", "bridge", before=tuple(OUTER))
    assert result.returncode == 0, result.stdout
    assert "the computer's network is as it was (1 link, " in result.stdout


def test_prove_keeps_the_status_of_the_command():
    result = labkit("prove", "--idle", "0.1", "sh", "-c", "exit 5", before=tuple(OUTER))
    assert result.returncode == 5


def while_it_runs(change: str, tmp_path, idle: str = "") -> subprocess.CompletedProcess[str]:
    """Prove a command that asks the outside, through a named pipe, for `change`, and waits until it is done."""
    os.mkfifo(tmp_path / "ask")
    os.mkfifo(tmp_path / "done")
    helper = f'ip link set lo up; {idle} {{ cat {tmp_path}/ask; {change}; echo > {tmp_path}/done; }} & exec "$@"'
    command = f"echo > {tmp_path}/ask; cat {tmp_path}/done"
    return labkit("prove", "--idle", "1", "sh", "-c", command, before=(*OUTER, "sh", "-c", helper, "sh"))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("ip link add evil type bridge", "  + link evil bridge "),
        ("ip addr add 10.9.9.9/32 dev lo", "  + address 10.9.9.9/32 dev lo\n"),
        ("ip route add 10.9.9.0/24 dev lo", "  + route 10.9.9.0/24 dev lo"),
        ("ip rule add pref 77 table 7", "  + rule -4 "),
        ("echo 1 > /proc/sys/net/ipv4/ip_forward", "  ~ sysctl net.ipv4.ip_forward: 0 -> 1\n"),
        ("ip link set lo mtu 1400", "  ~ link lo: mtu 65536 -> 1400\n"),
    ],
)
def test_prove_finds_a_change(tmp_path, change, line):
    result = while_it_runs(change, tmp_path)
    assert result.returncode == 3, result.stdout + result.stderr
    assert line in result.stdout


def test_prove_tells_the_computers_own_changes_apart(tmp_path):
    churn = "n=$((n+1)); ip link add vetha$n type veth peer name vethb$n; sleep 0.1; ip link del vetha$n"
    busy = f"(n=0; while [ $n -lt 60 ]; do {churn}; done) >/dev/null 2>&1 &"
    result = while_it_runs("ip link add vethc0ffee type veth peer name vethd0ffee", tmp_path, idle=busy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the computer's own doing, also while nothing ran: + link vethc0ffee veth" in result.stdout


@pytest.mark.parametrize(("cell", "status"), [("!ip link add br0 type bridge", 0), ("1 / 0", 1)])
def test_prove_runs_a_notebook(kernels, tmp_path, cell, status):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)]), path)
    before = path.read_bytes()
    result = labkit("prove", "--idle", "0.1", "--", str(path))
    assert f"the command ended with status {status}" in result.stdout, result.stdout + result.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "status", "printed"),
    [
        (["--version"], 0, "labkit 0."),
        (["--help"], 0, "Nothing here changes your computer's own network"),
        (["run", "--help"], 0, "nothing of that reaches your computer's network"),
        (["shell", "--help"], 0, "labkit shell red --notebook 03 -- tcpdump -ni eth0"),
        (["doctor", "--help"], 0, "no kernel module is loaded"),
        (["prove", "--help"], 0, "links, addresses, routes, rules"),
        (["completion", "--help"], 0, "source <(labkit completion bash)"),
        (["run"], 2, "labkit run: which command? For example: labkit run ip link"),
        (["prove"], 2, "labkit prove: which command?"),
        (["nonsense"], 2, "invalid choice: 'nonsense'"),
        ([], 2, "the following arguments are required: COMMAND"),
    ],
)
def test_help_and_wrong_use(words, status, printed):
    result = labkit(*words)
    text = " ".join((result.stdout + result.stderr).split())
    assert (result.returncode, printed in text) == (status, True), text


def test_every_verb_refuses_on_the_computer_itself():
    program = """
from labkit.errors import NotInLabMachine
from labkit.net import namespace
from labkit import pytest_plugin
from labkit.machine import trials
import subprocess, sys
for verb in (lambda: namespace.add("x"), lambda: namespace.names(), lambda: namespace.delete("x"), pytest_plugin.clear):
    try:
        verb()
    except NotInLabMachine as error:
        assert error.hint.startswith("run it with: labkit run python FILE"), error.hint
    else:
        sys.exit("it did it")
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stderr == ""


def test_a_copied_mark_proves_nothing(tmp_path):
    """/run/labkit/machine of a lab machine, put into another PID namespace, is no lab machine."""
    script = (
        "mount -t tmpfs t /run && mkdir /run/labkit && echo '1234 namespaces' > /run/labkit/machine && "
        f"{sys.executable} -c 'from labkit.net import here; print(here.in_lab_machine())'"
    )
    assert subprocess.run([*OUTER, "sh", "-c", script], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("number", "root", "files", "expected"),
    [
        (1, False, {}, "start it with sudo, or ask who looks after this computer to allow user namespaces"),
        (1, True, {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, "root may not do it either, as in "),
        (1, False, {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"}, "AppArmor forbids it (Ubuntu si"),
        (1, False, {"/proc/self/status": "Name:\tx\nSeccomp:\t2"}, "a filter forbids it, as in a container with Dock"),
        (28, True, {"/proc/sys/user/max_net_namespaces": "0"}, "a setting forbids it: sysctl user.max_net_namespaces="),
    ],
)
def test_the_remedy_is_one_that_helps_who_asked(monkeypatch, number, root, files, expected):
    monkeypatch.setattr(forbidden, "_read", lambda path: files.get(path, ""))
    remedy = forbidden.remedy(number, root=root)
    assert remedy.startswith(expected)
    assert ("sudo" in remedy) == (not root and "filter" not in remedy)


def test_the_remedy_for_several_modules_loads_them_all(monkeypatch):
    monkeypatch.setattr(probe, "_module_exists", lambda _name: True)
    nftables = next(feature for feature in FEATURES if feature.name == "nftables")
    assert probe._missing(nftables).remedy == "sudo modprobe -a nft_chain_nat nft_masq"


def test_prove_without_ip_is_one_sentence(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandNotInstalled) as refused:
        outside.read("token")
    assert str(refused.value) == (
        "failed to read the computer's network: the command 'ip' is not installed\nsudo apt install iproute2"
    )
