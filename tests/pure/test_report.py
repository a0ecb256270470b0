"""The sum at the end of `make test` tells the truth."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner.report import Report
from runner.worlds import closed_ancestor, unused_uid

XML = """<testsuites><testsuite name="pytest"><testcase classname="a" name="one"/>
<testcase classname="a" name="two"><failure message="no"/></testcase>
<testcase classname="a" name="three"><error message="no"/></testcase>
<testcase classname="a" name="four"><skipped message="needs wings"/></testcase></testsuite></testsuites>"""


def test_every_outcome_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.xml"
    path.write_text(XML)
    report = Report()
    report.pytest("live as user", 1, str(path))
    assert report.close(forbid_skips=False) == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "skipped 1: live as user: needs wings",
        "FAILED live as user: a::two",
        "FAILED live as user: a::three",
        "1 passed, 2 failed, 1 skipped",
    ]


@pytest.mark.parametrize("status", [0, 5, 137])
def test_no_test_at_all_is_a_failure(tmp_path: Path, status: int) -> None:
    report = Report()
    report.pytest("live as user", status, str(tmp_path / "nothing.xml"))
    assert report.failed == [f"live as user: no test ran (exit status {status})"]


def test_pytest_that_dies_after_its_tests_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "results.xml"
    path.write_text('<testsuite><testcase classname="a" name="one"/></testsuite>')
    report = Report()
    report.pytest("pure as user", 139, str(path))
    assert report.failed == ["pure as user: pytest ended with status 139"]


def test_skips_can_be_forbidden() -> None:
    report = Report()
    report.command("lint", 0)
    report.skip("browser as user", "no Chromium")
    assert report.close(forbid_skips=False) == 0
    assert report.close(forbid_skips=True) == 1


def test_a_run_with_nothing_passed_has_failed() -> None:
    assert Report().close(forbid_skips=False) == 1


def test_the_uid_is_nobodys() -> None:
    assert 20_000 <= unused_uid() < 60_000


def test_a_closed_folder_above_is_found(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "inner" / "project").mkdir(parents=True)
    closed.chmod(0o755)
    above = closed_ancestor(str(closed))
    closed.chmod(0o700)
    assert closed_ancestor(str(closed / "inner" / "project")) == (above or str(closed))
