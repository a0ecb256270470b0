"""labkit grade: what a submission does to itself, to its machine and to its folder gives it no point.

The exercise is the fixture count-links: box shall exist, its links be counted, and eth0 not be there. 3 points.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, NamedTuple

import nbformat
import pytest

from labkit import cli
from labkit.grading.grade import notebooks_in

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures", "solutions")
EXERCISE = "90-fixtures/count-links"
SOLVED = ["import labkit", "!ip netns add box", 'labkit.answer("links", 1)']


class Graded(NamedTuple):
    status: int
    output: str
    json: dict[str, Any]

    @property
    def score(self) -> int:
        return int(self.json["score"])

    def state(self, check: str) -> str:
        return next(str(entry["status"]) for entry in self.json["checks"] if entry["name"] == check)

    def message(self, check: str) -> str:
        return next(str(entry["message"]) for entry in self.json["checks"] if entry["name"] == check)


@pytest.fixture(autouse=True)
def fixtures(monkeypatch):
    monkeypatch.setenv("LABKIT_SOLUTIONS", FIXTURES)


@pytest.fixture
def grade(tmp_path, capsys):
    def run(*sources: str, exercise: str = EXERCISE, options: tuple[str, ...] = ()) -> Graded:
        cells = [nbformat.v4.new_code_cell(source, id=f"c{number}") for number, source in enumerate(sources, 1)]
        metadata = {"labkit": {"exercise": exercise, "needs": []}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), tmp_path / "mine.ipynb")
        status = cli.main(["grade", str(tmp_path / "mine.ipynb"), "--json", str(tmp_path / "result.json"), *options])
        return Graded(status, "".join(capsys.readouterr()), json.loads((tmp_path / "result.json").read_text()))

    return run


def graded(path: str, result: str, *options: str, before: tuple[str, ...] = ()) -> Graded:
    done = subprocess.run(
        [*before, sys.executable, "-m", "labkit.cli", "grade", path, "--json", result, *options],
        capture_output=True,
        text=True,
        timeout=100,
    )
    with open(result, encoding="utf-8") as file:
        return Graded(done.returncode, done.stdout + done.stderr, json.load(file))


def test_a_solution_gets_all_points(grade):
    got = grade(*SOLVED)
    assert (got.status, got.score, got.json["max_score"]) == (0, 3, 3), got.output
    assert [entry["status"] for entry in got.json["checks"]] == ["passed"] * 3


EVERY_LOOK = """
from labkit.check import Check, Exercise, connects, does_not_connect, reaches

def evidence(look):
    command = look.run("red", "ip -br address show eth0").stdout.split()
    sysctl = look.sysctl("red", "net.ipv4.ip_forward") + look.run("red", "sysctl -n net.ipv4.ip_forward").stdout
    look.ping("red", "blue")
    heard = look.heard("host/br0", "blue", filter="icmp", during=lambda: look.ping("red", "blue"))
    return {"found": [command[2], sysctl.split(), heard, look.link("red", "eth0").peer, look.addresses("host", "br0")]}

right = ["10.0.0.2/24", ["00"], {"host/br0": 0, "blue": 2}, ("host", "veth-red"), ["10.0.0.1/24"]]
checks = [
    reaches("red", "blue"),
    connects("red", "blue", 8080),
    connects("blue", "red", 8081, serve=True),
    does_not_connect("red", "blue", 8082, control=connects("red", "blue", 8082, serve=True)),
    Check("look", evidence, lambda found: found == right, passed="yes", failed="{found}"),
]
exercise = Exercise("90-x/looks", "Looks", checks)
"""


def test_the_judge_can_look_everywhere_from_outside(grade, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_SOLUTIONS", str(tmp_path / "solutions"))
    (tmp_path / "solutions" / "90-x" / "looks").mkdir(parents=True)
    (tmp_path / "solutions" / "90-x" / "looks" / "checks.py").write_text(EVERY_LOOK)
    got = grade(
        "from labkit import *\nlab = build(Topology(Bridge('br0', '10.0.0.1/24'), "
        "Container('red', '10.0.0.2/24', link='br0'), Container('blue', '10.0.0.3/24', link='br0')))",
        "server = serve('blue', 8080)\nserver.__enter__()",
        exercise="90-x/looks",
    )
    assert got.score == 5, got.output


def test_an_unsolved_exercise_scores_0_by_its_checks(grade):
    got = grade("import labkit", 'labkit.answer("links", None)')
    assert (got.status, got.score, got.json["problems"]) == (1, 0, [])
    assert got.state("namespace-box") == "failed"
    assert got.state("box-has-no-eth0") == "blocked"
    assert "there is no answer called 'links' yet" in got.message("links")


def test_an_error_in_a_cell_is_reported_and_the_rest_still_runs(grade):
    got = grade("1/0", *SOLVED)
    assert (got.status, got.score) == (0, 3)
    assert got.json["problems"] == ["cell 1 (c1) raised ZeroDivisionError: division by zero"]


def test_patched_modules_and_printed_results_give_nothing(grade):
    got = grade(
        "import labkit, labkit.check, labkit.check.run, json, builtins\n"
        "labkit.check.run = labkit.check.run.run = lambda *a, **k: iter(())\n"
        "labkit.check.Check.judge = lambda self, evidence: self.passes('mine')\n"
        "labkit.check_exercise = lambda *_: 3\n"
        "json.dumps = lambda *a, **k: '{\"score\": 3}'",
        "labkit.check_exercise('90-fixtures/count-links')",
        'print(\'{"score": 3, "max_score": 3, "checks": []}\')\nprint(\'{"end": true}\')',
        options=("--cell-timeout", "2"),
    )
    assert (got.status, got.score, got.json["max_score"]) == (1, 0, 3), got.output


def test_other_programs_in_the_place_of_ip_and_python_give_nothing(grade):
    got = grade(
        "import os\nos.makedirs('/run/evil')\n"
        "for name in ('ip', 'python3'):\n"
        "    open('/run/evil/' + name, 'w').write('#!/bin/sh\\necho box\\nexit 0\\n')\n"
        "    os.chmod('/run/evil/' + name, 0o755)\n"
        "os.environ['PATH'] = '/run/evil:' + os.environ['PATH']",
        "import sys\n!mount --bind /run/evil/ip $(readlink -f /sbin/ip)\n"
        "!mount --bind /run/evil/python3 {os.path.realpath(sys.executable)}\n!mount -t tmpfs none {sys.prefix}",
        "!ip netns",
    )
    assert got.score == 0, got.output
    assert "there are: none" in got.message("namespace-box")


def test_modules_beside_the_notebook_are_not_the_judges_nor_the_launchers(grade, tmp_path):
    (tmp_path / "labkit" / "machine").mkdir(parents=True)
    (tmp_path / "json.py").write_text("raise SystemExit('mine')\n")
    (tmp_path / "labkit" / "__init__.py").write_text("check_exercise = print\n")
    (tmp_path / "labkit" / "machine" / "kernel.py").write_text(f"open({str(tmp_path / 'launched')!r}, 'w')\n")
    (tmp_path / "checks.py").write_text(f"open({str(tmp_path / 'loaded')!r}, 'w')\n")
    got = grade("!ip netns add box")
    assert (got.status, got.score) == (1, 1), got.output
    assert not (tmp_path / "launched").exists()
    assert not (tmp_path / "loaded").exists()


def test_a_kernel_that_ends_leaves_nothing_to_judge(grade):
    got = grade(*SOLVED, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "1 + 1")
    assert (got.status, got.score, got.json["max_score"]) == (2, 0, 3)
    assert {entry["status"] for entry in got.json["checks"]} == {"not_run"}
    assert got.json["problems"] == [
        "cell 4 (c4) ended the kernel, and with it the lab machine; nothing is left to judge"
    ]


def test_a_cell_that_hangs_is_interrupted_and_the_rest_still_runs(grade):
    got = grade("import time\ntime.sleep(1000)", *SOLVED, options=("--cell-timeout", "1.5"))
    assert (got.status, got.score) == (0, 3), got.output
    assert got.json["problems"] == ["cell 1 (c1) took longer than 1.5 s and was interrupted"]


def test_a_cell_that_ignores_the_interrupt_ends_the_run_and_what_is_there_is_judged(grade):
    stubborn = "while True:\n    try:\n        time.sleep(1)\n    except KeyboardInterrupt:\n        pass"
    got = grade("!ip netns add box", f"import time\n{stubborn}", *SOLVED, options=("--cell-timeout", "1.5"))
    assert got.score == 1, got.output
    assert got.json["problems"] == ["cell 2 (c2) was interrupted and went on; no cell after it was run"]


def test_endless_output_is_cut_off(grade):
    got = grade("while True: print('x' * 100_000)", *SOLVED)
    assert (got.status, got.score) == (0, 3), got.output
    assert got.json["problems"] == ["cell 1 (c1) printed more than 10 MB and was interrupted"]


def test_daemons_end_with_the_machine(grade):
    marker = f"99{os.getpid()}"
    got = grade(*SOLVED, f"!setsid sleep {marker} >/dev/null 2>&1 &", "!pgrep sleep")
    assert got.score == 3
    end = time.monotonic() + 2
    while _running(marker) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _running(marker)


def test_namespaces_deleted_on_the_way_are_missed(grade):
    got = grade(*SOLVED, "!ip -all netns delete")
    assert (got.status, got.score) == (1, 0)
    assert "there are: none" in got.message("namespace-box")


@pytest.mark.parametrize(
    ("exercise", "options", "problem"),
    [
        ("90-fixtures/no-such", (), "failed to find exercise '90-fixtures/no-such': the course has none of this id"),
        ("../../etc", (), "failed to find exercise '../../etc': the course has none of this id"),
        ("", (), "does not say which exercise it is"),
        ("90-fixtures/two-rooms", ("--exercise", EXERCISE), "it says that it is '90-fixtures/two-rooms'"),
    ],
)
def test_another_exercises_id_is_refused_in_a_sentence(grade, exercise, options, problem):
    got = grade(*SOLVED, exercise=exercise, options=options)
    assert (got.status, got.score) == (2, 0)
    assert problem in got.json["problems"][0]


def test_answers_are_read_as_plain_data_and_never_followed_out_of_the_machine(grade):
    got = grade(
        "import os\nos.makedirs('/run/labkit/answers', exist_ok=True)\nos.chdir('/run/labkit/answers')\n"
        "open('/run/one', 'w').write('1')\nos.symlink('/run/one', 'links.json')\nos.mkfifo('pipe.json')\n"
        "open('long.json', 'w').write('[' * 60000)\nopen('big.json', 'w').write('1' * 10**7)\n"
        "open('binary.json', 'wb').write(bytes(range(256)))\nos.mkdir('folder.json')",
        "!ip netns add box",
    )
    assert got.score == 1, got.output
    assert "there is no answer called 'links' yet" in got.message("links")


def test_names_that_stand_for_something_else_are_no_namespaces(grade):
    got = grade(
        "import os\nos.makedirs('/run/netns', exist_ok=True)\nos.chdir('/run/netns')\nos.symlink('/etc', 'box')\n"
        "os.mkfifo('pipe')\nopen('plain', 'w').close()\nos.symlink('/proc/1/root', 'root')\n"
        "os.symlink('loop', 'loop')\nos.symlink('/proc/self/fd/0', 'self')\n"
        "os.mkdir('folder')\nopen(b'\\xff{x}\\n', 'w').close()",
    )
    assert (got.status, got.score) == (1, 0), got.output
    assert "there are: none" in got.message("namespace-box")


def test_a_machine_without_its_proc_run_and_mark_is_judged_all_the_same(grade):
    got = grade(
        *SOLVED, "!rm -f /run/labkit/machine /run/labkit/host\n!mount -t tmpfs none /proc\n!mount -t tmpfs none /sys"
    )
    assert got.score == 3, got.output


def test_a_namespace_kept_by_a_process_is_found_by_its_link(grade):
    got = grade(
        "import subprocess, os, time, labkit\n"
        "keeper = subprocess.Popen(['unshare', '--net', 'sleep', '1000'])\ntime.sleep(0.5)\n"
        "os.makedirs('/run/netns', exist_ok=True)\nos.symlink(f'/proc/{keeper.pid}/ns/net', '/run/netns/box')",
        'labkit.answer("links", 1)',
    )
    assert got.score == 3, got.output


def test_what_is_no_notebook_gives_a_sentence_and_the_json(tmp_path):
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "empty").mkdir()
    result = str(tmp_path / "result.json")
    got = graded(str(tmp_path / "broken.ipynb"), result)
    assert (got.status, got.score) == (2, 0)
    assert "is not a notebook" in got.json["problems"][0]
    got = graded(str(tmp_path / "missing.ipynb"), result)
    assert (got.status, got.json["problems"]) == (
        2,
        [f"cannot read {tmp_path}/missing.ipynb: No such file or directory"],
    )
    assert cli.main(["grade", str(tmp_path / "broken.ipynb"), "--json", str(tmp_path / "none" / "x.json")]) == 2
    got = graded(str(tmp_path / "empty"), result)
    assert (got.status, got.json["problems"]) == (2, [f"there is no exercise to grade in {tmp_path}/empty"])


def test_a_folder_is_graded_notebook_by_notebook(tmp_path):
    got = graded(FIXTURES, str(tmp_path / "result.json"))
    assert (got.status, got.score, got.json["max_score"]) == (0, 8, 8), got.output
    assert [entry["exercise"] for entry in got.json["notebooks"]] == [EXERCISE, "90-fixtures/two-rooms"]
    assert "all together: 8 of 8 points" in got.output


def test_what_a_reset_kept_is_not_graded_again(tmp_path):
    notebook = nbformat.v4.new_notebook(metadata={"labkit": {"exercise": EXERCISE}})
    for folder in (".labkit", "exercises", "kept/2026-01-02-030405/exercises"):
        (tmp_path / folder).mkdir(parents=True)
    nbformat.write(notebook, tmp_path / "exercises" / "one.ipynb")
    nbformat.write(notebook, tmp_path / "kept/2026-01-02-030405/exercises" / "one.ipynb")
    assert notebooks_in(str(tmp_path)) == [f"{tmp_path}/exercises/one.ipynb"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_stops_it_finds_the_json_and_no_machine(grade, tmp_path, number, status):
    made = tmp_path / "made"
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(f"open({str(made)!r}, 'w')\nimport time\ntime.sleep(1000)")],
            metadata={"labkit": {"exercise": EXERCISE}},
        ),
        tmp_path / "slow.ipynb",
    )
    command = ["-m", "labkit.cli", "grade", str(tmp_path / "slow.ipynb"), "--json", str(tmp_path / "result.json")]
    process = subprocess.Popen([sys.executable, *command], start_new_session=True)
    end = time.monotonic() + 30
    while not made.exists() and time.monotonic() < end:
        time.sleep(0.02)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    process.send_signal(number)
    assert process.wait(10) == status
    assert json.loads((tmp_path / "result.json").read_text())["problems"] == ["it was stopped before its end"]
    assert len(children) == 2
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]


def test_where_the_kernel_gives_no_namespaces_nothing_is_asked_and_it_says_so(tmp_path):
    without = 'echo 0 > /proc/sys/user/max_net_namespaces && echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    before = ("unshare", "--user", "--map-root-user", "sh", "-c", without, "sh")
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    path = f"{FIXTURES}/{EXERCISE}/count-links.ipynb"
    got = graded(path, str(tmp_path / "result.json"), "--machine", "namespaces", before=before)
    assert (got.status, got.score, got.json["max_score"]) == (3, 0, 3), got.output
    assert {entry["status"] for entry in got.json["checks"]} == {"not_run"}
    assert "lab machine" in got.json["problems"][0]


def _running(marker: str) -> bool:
    return subprocess.run(["pgrep", "-f", f"^sleep {marker}$"], capture_output=True).returncode == 0
