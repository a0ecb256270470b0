"""`labkit see`, `capture` and `trace` from a shell, on networks that plain commands built."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from labkit import cli
from labkit.completion import words
from labkit.packets import read, serve
from labkit.state import Snapshot, snapshot
from labkit.tracing import CAUSES

LABKIT = [sys.executable, "-m", "labkit.cli"]
PLAIN = """
ip link add br0 type bridge; ip link set br0 up; ip address add 10.0.0.1/24 dev br0
for n in red:2 blue:3; do
    name=${n%:*}
    ip netns add $name
    ip link add v-$name type veth peer name eth0 netns $name; ip link set v-$name master br0 up
    ip -n $name address add 10.0.0.${n#*:}/24 dev eth0; ip -n $name link set eth0 up; ip -n $name link set lo up
done
"""
PING = "ip netns exec red ping -n -c 1 -W 2 10.0.0.3"


def sh(script: str) -> str:
    return subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def plain(network: None) -> None:
    """red (10.0.0.2) and blue (10.0.0.3) on a bridge of the host (10.0.0.1), built with `ip` alone."""
    sh(PLAIN)
    sh(PING)


def labkit(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LABKIT, *words], capture_output=True, text=True, timeout=30, check=False, **options)


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Running:
    """A `labkit capture` that has begun. Its standard error is read up to the line that says so."""

    def __init__(self, *words: str, stdout: int = subprocess.PIPE) -> None:
        command = [*LABKIT, "capture", *words]
        self.process = subprocess.Popen(
            command, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True, bufsize=0
        )
        assert self.process.stderr is not None
        self.began = self.process.stderr.readline().decode()

    def line(self) -> str:
        """Return the next line on stdout, which must come while the capture runs."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 10)
        assert ready, "no line came"
        return self.process.stdout.readline().decode()

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Send a signal; return the status and what was on stdout and stderr after what was read."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str, str]:
        out, error = self.process.communicate(timeout=20)
        return self.process.returncode, (out or b"").decode(errors="replace"), error.decode()


@pytest.fixture
def running(plain: None) -> Iterator[Callable[..., Running]]:
    """Begins captures, and ends those that a failed test leaves."""
    begun: list[Running] = []

    def begin(*words: str, **options: Any) -> Running:
        begun.append(Running(*words, **options))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


# labkit see


def test_see_tells_what_plain_commands_built(plain: None) -> None:
    shown = labkit("see")
    assert (shown.returncode, shown.stderr) == (0, "")
    told = shown.stdout.splitlines()
    assert [line for line in told if not line.startswith(" ")] == ["host", "blue", "red"]
    assert any("br0 10.0.0.1/24" in line for line in told)
    assert any("eth0 10.0.0.2/24" in line and "cable to host/v-red" in line for line in told)


def test_see_shows_only_the_namespaces_that_are_named_and_each_once(plain: None) -> None:
    shown = labkit("see", "red", "red", "blue").stdout.splitlines()
    assert [line for line in shown if not line.startswith(" ")] == ["red", "blue"]


def test_see_as_json_is_the_snapshot(plain: None) -> None:
    assert Snapshot.from_json(labkit("see", "--json").stdout) == snapshot()
    assert [state["name"] for state in json.loads(labkit("see", "--json", "blue").stdout)] == ["blue"]


def test_see_draws_into_a_file_or_to_standard_output(plain: None, tmp_path: Path) -> None:
    path = tmp_path / "net.svg"
    path.write_text("old")
    drawn = labkit("see", "--svg", str(path))
    assert (drawn.returncode, drawn.stdout, drawn.stderr) == (0, "", "")
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert labkit("see", "--svg", "-").stdout == path.read_text()
    assert os.listdir(tmp_path) == ["net.svg"]


def test_see_writes_a_picture_and_json_at_once(plain: None, tmp_path: Path) -> None:
    both = labkit("see", "--svg", str(tmp_path / "net.svg"), "--json")
    assert len(json.loads(both.stdout)) == 3
    assert (tmp_path / "net.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["green"], "failed to show namespace 'green': no such namespace\nnamespaces there: host, blue, red"),
        (["--svg", "-", "--json"], "failed to write JSON and SVG to one standard output\ngive --svg a file's name"),
        (["--svg", "/nowhere/x.svg"], "failed to write '/nowhere/x.svg': no such file or directory"),
    ],
)
def test_see_says_in_a_sentence_what_it_cannot_show(plain: None, arguments: list[str], sentence: str) -> None:
    shown = labkit("see", *arguments)
    assert (shown.returncode, shown.stdout, shown.stderr) == (2, "", f"labkit: {sentence}\n")


@pytest.mark.parametrize("arguments", [["see"], ["trace", "red", "blue"]])
def test_a_full_disk_is_one_sentence(plain: None, arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*LABKIT, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = "labkit: failed to write to standard output: no space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_reader_that_leaves_early_hears_no_complaint(plain: None) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as nobody:
        for arguments in (["see"], ["trace", "red", "blue"]):
            process = subprocess.run([*LABKIT, *arguments], stdout=nobody, stderr=subprocess.PIPE, check=False)
            assert (process.returncode, process.stderr) == (141, b"")


# labkit trace

SCHEMA = {
    "type": "object",
    "required": ["delivered", "answered", "hops", "cause"],
    "properties": {
        "delivered": {"type": "boolean"},
        "answered": {"type": ["boolean", "null"]},
        "hops": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["leg", "namespace", "interface", "direction", "summary", "changed", "decided_by"],
                "properties": {
                    "leg": {"enum": ["request", "answer"]},
                    "namespace": {"type": "string", "minLength": 1},
                    "interface": {"type": "string", "minLength": 1},
                    "direction": {"enum": ["in", "out"]},
                    "summary": {"type": "string", "minLength": 1},
                    "changed": {"type": "array", "items": {"required": ["field", "before", "after"]}},
                    "decided_by": {"type": "array", "items": {"required": ["kind", "text", "command"]}},
                },
            },
        },
        "cause": {
            "anyOf": [
                {"type": "null"},
                {
                    "type": "object",
                    "required": ["kind", "namespace", "interface", "sentence"],
                    "properties": {
                        "kind": {"enum": list(CAUSES)},
                        "namespace": {"type": "string", "minLength": 1},
                        "interface": {"type": ["string", "null"]},
                        "sentence": {"type": "string", "minLength": 1},
                    },
                },
            ]
        },
    },
}


def traced(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON, which keeps to the schema."""
    done = labkit("trace", *arguments, "--json")
    told = json.loads(done.stdout)
    jsonschema.validate(told, SCHEMA)
    assert done.stderr == ""
    return done.returncode, told


def test_a_ping_that_is_answered_is_status_0(plain: None) -> None:
    status, told = traced("red", "10.0.0.3")
    assert (status, told["delivered"], told["answered"], told["cause"]) == (0, True, True, None)
    way = [(hop["leg"], hop["namespace"], hop["interface"], hop["direction"]) for hop in told["hops"]]
    assert way == [
        ("request", "red", "eth0", "out"),
        ("request", "host", "v-red", "in"),
        ("request", "host", "v-blue", "out"),
        ("request", "blue", "eth0", "in"),
        ("answer", "blue", "eth0", "out"),
        ("answer", "host", "v-blue", "in"),
        ("answer", "host", "v-red", "out"),
        ("answer", "red", "eth0", "in"),
    ]
    assert {"route", "neighbour"} <= {decision["kind"] for decision in told["hops"][0]["decided_by"]}


def test_the_destination_may_be_a_namespace(plain: None) -> None:
    assert traced("red", "blue")[1]["what"] == "ping 10.0.0.3"
    assert traced("host", "blue")[1]["hops"][0]["namespace"] == "host"


DROPS = "ip netns exec blue nft 'table ip f { chain i { type filter hook input priority 0; icmp type 8 drop; }; }'"
LOST = [
    ("ip -n red route flush table main", ["blue"], "no_route", "red"),
    ("true", ["10.0.0.9"], "neighbour", "red"),
    (DROPS, ["blue"], "firewall", "blue"),
    ("ip netns exec blue iptables -P INPUT DROP", ["blue"], "policy", "blue"),
    ("ip link set v-blue down", ["blue"], None, None),
    ("true", ["blue", "--tcp", "81"], "no_listener", "blue"),
    ("ip -n red link set eth0 mtu 1000", ["blue", "--size", "1200", "--df"], "mtu", "red"),
]  # fmt: skip


@pytest.mark.parametrize(("breaks", "arguments", "kind", "where"), LOST)
def test_a_packet_lost_on_the_way_there_is_status_1_with_its_cause(
    plain: None, breaks: str, arguments: list[str], kind: str | None, where: str | None
) -> None:
    sh(breaks)
    status, told = traced("red", *arguments)
    assert (status, told["delivered"]) == (1, False)
    if kind is not None:
        assert (told["cause"]["kind"], told["cause"]["namespace"]) == (kind, where), told["cause"]


def test_a_lost_answer_is_status_1(plain: None) -> None:
    sh("ip netns exec blue iptables -A OUTPUT -p icmp -j DROP")
    status, told = traced("red", "blue")
    assert (status, told["delivered"], told["answered"]) == (1, True, False)
    assert (told["cause"]["kind"], told["cause"]["leg"]) == ("firewall", "answer")


def test_a_datagram_that_is_due_no_answer_is_status_0(plain: None) -> None:
    with serve("blue", 5353, udp=True):
        status, told = traced("red", "blue", "--udp", "5353")
    assert (status, told["delivered"]) == (0, True)


def test_connections_and_requests_are_followed(plain: None) -> None:
    with serve("blue", 80):
        for kind in ("--tcp", "--http"):
            assert traced("red", "blue", kind, "80")[0] == 0
    assert traced("red", "blue", "--dns", "example.test")[1]["what"].startswith("DNS query for example.test")


def test_ttl_and_timeout_are_passed_on(plain: None) -> None:
    began = time.monotonic()
    sh("ip netns exec blue iptables -A INPUT -p icmp -m ttl --ttl-eq 7 -j DROP")
    assert traced("red", "10.0.0.3")[0] == 0
    status, told = traced("red", "10.0.0.3", "--ttl", "7", "--timeout", "0.5")
    assert (status, told["cause"]["kind"]) == (1, "firewall")
    assert time.monotonic() - began < 10


def test_the_words_of_a_trace_begin_with_its_verdict(plain: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trace", "red", "blue"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "ping 10.0.0.3 from red: delivered and answered"
    assert cli.main(["trace", "red", "blue", "--tcp", "81"]) == 1
    assert "refused: it reached blue" in capsys.readouterr().out


def test_a_trace_is_drawn_into_a_file(plain: None, tmp_path: Path) -> None:
    assert labkit("trace", "red", "blue", "--svg", str(tmp_path / "way.svg")).returncode == 0
    assert ElementTree.parse(tmp_path / "way.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["green", "blue"], "failed to enter namespace 'green': no such namespace\nnamespaces there: host, blue, red"),
        (
            ["red", "10.0.0.300"],
            (
                "failed to trace to '10.0.0.300': it is neither an IP address nor a namespace\n"
                "namespaces there: host, blue, red"
            ),
        ),
        (
            ["red/eth0", "blue"],
            (
                "failed to trace from 'red/eth0': a packet sets off from a namespace, and its routes choose the "
                "interface\nwrite the namespace alone: red"
            ),
        ),
        (["red", "blue", "--tcp", "70000"], "failed to trace: 70000 is no port\nports are 1 to 65535"),
        (["red", "blue", "--size", "-1"], "failed to trace: a ping of -1 bytes is out of range\n0 to 65507 bytes"),
        (["red", "blue", "--ttl", "0"], "failed to trace: a TTL of 0 is out of range\na TTL is 1 to 255"),
        (
            ["red", "blue", "--tcp", "80", "--size", "9"],
            "failed to trace: --size is a ping's, and --tcp was asked for\nleave one of them out",
        ),
    ],
)
def test_what_cannot_be_traced_is_status_2_and_a_sentence(plain: None, arguments: list[str], sentence: str) -> None:
    done = labkit("trace", *arguments, "--json")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"labkit: {sentence}\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["red", "blue", "--tcp", "http"], "argument --tcp: invalid int value: 'http'"),
        (["red", "blue", "--tcp", "80", "--udp", "80"], "argument --udp: not allowed with argument --tcp"),
        (["red", "blue", "--timeout", "nan"], "argument --timeout: 'nan' is not a number of seconds above 0"),
        (["red"], "the following arguments are required: DESTINATION"),
    ],
)
def test_wrong_options_of_a_trace_are_status_2(plain: None, arguments: list[str], sentence: str) -> None:
    done = labkit("trace", *arguments)
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1]) == (2, "", f"labkit trace: error: {sentence}")


def test_a_fault_of_labkit_is_not_told_as_a_lost_packet(
    plain: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a fault")

    monkeypatch.setattr("labkit.commands.trace.trace", refuse)
    assert cli.main(["trace", "red", "blue"]) == 2
    assert capsys.readouterr().err == (
        "labkit: failed to trace a packet from 'red' to 'blue': operation not permitted\n"
    )
    monkeypatch.setattr("labkit.commands.trace.trace", fail)
    assert cli.main(["trace", "red", "blue"]) == 2
    assert "AssertionError: a fault" in capsys.readouterr().err


def test_a_trace_that_is_ended_leaves_no_rule_behind(plain: None) -> None:
    """SIGTERM comes while it waits for an answer."""
    rules = "nft list ruleset; ip netns exec red nft list ruleset; ip netns exec blue nft list ruleset"
    sh("ip netns exec blue iptables-nft -A INPUT -p icmp -j DROP")
    before = sh(rules)
    process = subprocess.Popen([*LABKIT, "trace", "red", "blue", "--timeout", "20"], stdout=subprocess.DEVNULL)
    wait_until(lambda: sh(rules) != before)
    process.terminate()
    assert process.wait(10) == 128 + signal.SIGTERM
    wait_until(lambda: sh(rules).split("counter")[0] == before.split("counter")[0])


# labkit capture


def test_lines_come_as_the_frames_do(running: Callable[..., Running]) -> None:
    capture = running("red/eth0", "blue", "--filter", "icmp")
    assert capture.began == "labkit: capturing on red/eth0, blue; Ctrl-C ends it\n"
    sh(PING)
    lines = [capture.line() for _ in range(4)]
    assert capture.process.poll() is None
    told = [line.split(maxsplit=3)[1:] for line in lines]
    request, reply = "10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1\n", "10.0.0.3 > 10.0.0.2 ICMP echo-reply seq=1\n"
    assert told == [
        ["red/eth0", "out", request],
        ["blue/eth0", "in", request],
        ["blue/eth0", "out", reply],
        ["red/eth0", "in", reply],
    ]
    times = [float(line.split()[0]) for line in lines]
    assert times[0] == 0
    assert times == sorted(times)
    assert len({line.index("10.0.0") for line in lines}) == 1, "the columns are aligned"
    assert capture.end() == (0, "", "labkit: 4 frames, 0 dropped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(running: Callable[..., Running], number: int) -> None:
    capture = running("red")
    assert capture.end(number) == (0, "", "labkit: 0 frames, 0 dropped\n")


def test_what_came_before_ctrl_c_is_shown(running: Callable[..., Running]) -> None:
    capture = running("red", "--filter", "icmp")
    sh(PING)
    status, out, error = capture.end()
    assert (status, len(out.splitlines()), error) == (0, 2, "labkit: 2 frames, 0 dropped\n")


def test_it_ends_after_so_many_frames(running: Callable[..., Running]) -> None:
    capture = running("red", "--filter", "icmp", "-c", "1")
    sh(PING)
    status, out, error = capture.ended()
    assert (status, len(out.splitlines()), error) == (0, 1, "labkit: 1 frame, 0 dropped\n")


def test_it_ends_after_so_many_seconds(plain: None) -> None:
    began = time.monotonic()
    done = labkit("capture", "red/lo", "--seconds", "0.3")
    assert (done.returncode, done.stdout) == (0, "")
    assert time.monotonic() - began >= 0.3
    assert done.stderr.endswith("labkit: 0 frames, 0 dropped\n")


def test_full_shows_the_ports_that_the_kernel_picked(running: Callable[..., Running]) -> None:
    plain_, full = running("red/eth0", "--filter", "tcp"), running("red/eth0", "--filter", "tcp", "--full")
    sh("ip netns exec red python3 -c 'import socket; s = socket.socket(); s.connect_ex((\"10.0.0.3\", 81))'")
    assert plain_.line().split(maxsplit=3)[3].startswith("10.0.0.2 > 10.0.0.3:81 TCP SYN")
    assert full.line().split(maxsplit=3)[3].startswith("10.0.0.2:")


def test_a_file_grows_while_it_is_written(running: Callable[..., Running], tmp_path: Path) -> None:
    path = tmp_path / "red.pcapng"
    path.write_bytes(b"old")
    capture = running("red", "--filter", "icmp", "-w", str(path))
    sh(PING)
    wait_until(lambda: len(read(str(path))) == 2)
    assert capture.end() == (0, "", "labkit: 2 frames, 0 dropped\n")
    assert [frame.where for frame in read(str(path))] == ["red/eth0", "red/eth0"]
    assert [frame.direction for frame in read(str(path))] == ["out", "in"]


def test_a_capture_that_cannot_begin_leaves_the_file_as_it_was(plain: None, tmp_path: Path) -> None:
    path = tmp_path / "kept.pcapng"
    path.write_bytes(b"old")
    assert labkit("capture", "green", "-w", str(path)).returncode == 2
    assert labkit("capture", "red", "--filter", "nonsense", "-w", str(path)).returncode == 2
    assert path.read_bytes() == b"old"


def test_tcpdump_reads_what_is_piped_to_it(plain: None) -> None:
    told = _piped([*LABKIT, "capture", "red", "blue", "-w", "-", "--filter", "icmp", "-c", "4"])
    assert told.count("ICMP echo request") == told.count("ICMP echo reply") == 2


def _piped(command: list[str]) -> str:
    """Return what tcpdump prints of a ping that `command` sees."""
    one = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    other = subprocess.Popen(
        ["tcpdump", "-n", "-r", "-"], stdin=one.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert one.stdout is not None
    assert one.stderr is not None
    one.stdout.close()
    one.stderr.readline()  # it has begun
    sh(PING)
    out, _ = other.communicate(timeout=20)
    assert one.wait(20) == 0
    one.stderr.close()
    return out


@pytest.mark.parametrize("options", [[], ["-w", "-"]])
def test_a_reader_that_leaves_ends_it_quietly_also_when_no_frame_comes(
    running: Callable[..., Running], options: list[str]
) -> None:
    reading, writing = os.pipe()
    capture = running("red/lo", *options, stdout=writing)
    os.close(writing)
    os.close(reading)
    assert capture.ended() == (0, "", "")


def test_pcapng_is_not_written_to_a_terminal(plain: None) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*LABKIT, "capture", "red", "-w", "-"], stdout=theirs, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "labkit: failed to write the capture: standard output is a terminal, and pcapng is not text\n"
    )


def test_on_a_full_disk_the_frames_before_stay_in_the_file_whole(
    running: Callable[..., Running], tmp_path: Path
) -> None:
    sh(f"mount -t tmpfs -o size=64k labkit-test {tmp_path}")
    try:
        capture = running("red", "-w", str(tmp_path / "f"), "--filter", "icmp")
        sh("ip netns exec red ping -n -q -c 80 -i 0.002 -s 1400 10.0.0.3")
        status, out, error = capture.ended()
        kept = len(read(str(tmp_path / "f")))
        assert (status, out) == (2, "")
        assert kept > 10
        assert error == (
            f"labkit: failed to write the capture to '{tmp_path}/f': no space left on device\n"
            f"written before that: {kept} frames\n"
        )
    finally:
        sh(f"umount {tmp_path}")


@pytest.mark.parametrize("file", ["/dev/full", "-"])
def test_a_disk_that_is_full_at_once_is_one_sentence(plain: None, file: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*LABKIT, "capture", "red", "-w", file], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    name = "standard output" if file == "-" else "'/dev/full'"
    assert (done.returncode, done.stderr) == (
        2,
        f"labkit: failed to write the capture to {name}: no space left on device\nwritten before that: 0 frames\n",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["green"], "failed to enter namespace 'green': no such namespace\nnamespaces there: host, blue, red"),
        (["red/eth7"], "failed to capture on 'eth7' in namespace 'red': no such link\nlinks there: lo, eth0"),
        (
            ["/eth0"],
            (
                "failed to capture on '/eth0': it names no namespace\nwrite 'red' (all links of namespace red), "
                "'red/eth0', or 'host/br0'"
            ),
        ),
        (["red", "-w", "/nowhere/f"], "failed to write the capture to '/nowhere/f': no such file or directory"),
        (["red", "-w", "/tmp"], "failed to write the capture to '/tmp': is a directory"),
    ],
)
def test_capture_says_in_a_sentence_what_it_cannot_do(plain: None, arguments: list[str], sentence: str) -> None:
    done = labkit("capture", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"labkit: {sentence}\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["red", "-c", "0"], "argument -c: '0' is not a whole number from 1 on"),
        (["red", "--seconds", "soon"], "argument --seconds: 'soon' is not a number of seconds above 0"),
        ([], "the following arguments are required: NAMESPACE[/INTERFACE]"),
    ],
)
def test_wrong_options_of_a_capture_are_status_2(plain: None, arguments: list[str], sentence: str) -> None:
    done = labkit("capture", *arguments)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"labkit capture: error: {sentence}")


def test_a_namespace_that_goes_meanwhile_is_noted(running: Callable[..., Running]) -> None:
    capture = running("red")
    sh("ip netns delete red")
    assert capture.end() == (
        0,
        "",
        "labkit: 0 frames, 0 dropped\nlabkit: note: namespace 'red' was deleted meanwhile\n",
    )


# Tab


def test_tab_completes_namespaces_interfaces_and_options(plain: None) -> None:
    names = ["host", "blue", "red"]
    assert words(["see", ""])[:3] == words(["capture", "red", ""])[:3] == names
    assert {"--svg", "--json"} <= set(words(["see", "-"]))
    assert {"-w", "--filter", "-c", "--seconds"} <= set(words(["capture", "red", "-"]))
    assert words(["capture", "red/"])[:2] == ["red/lo", "red/eth0"]
    assert words(["trace", ""])[:3] == words(["trace", "red", ""])[:3] == names
    assert words(["trace", "--ttl", "5", "red", ""])[:3] == names
    assert "red" not in words(["trace", "red", "blue", ""])
    assert "--tcp" in words(["trace", "red", "blue", ""])
    assert words(["trace", "red", "blue", "--tcp", ""]) == words(["capture", "red", "-w", ""]) == []
    assert not [word for word in words(["capture", "green/"]) if "/" in word]
