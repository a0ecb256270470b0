"""What a notebook needs is said in one sentence, and a missing command too."""

from __future__ import annotations

import pytest

from labkit import needs, run
from labkit.errors import CommandNotInstalled, LabkitError, NotFound, Unavailable, WrongUse
from labkit.machine import features
from labkit.net import namespace

pytestmark = pytest.mark.usefixtures("network")


def test_what_the_machine_can_do_is_met_with_silence() -> None:
    assert needs("veth", "bridge") is None  # type: ignore[func-returns-value]


def test_an_unknown_feature_is_refused() -> None:
    with pytest.raises(WrongUse, match="failed to try feature 'teleport': no such feature\nfeatures there: veth, br"):
        needs("veth", "teleport")


def test_a_missing_feature_is_one_sentence_and_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = features.Feature("teleport", "going without a link", (), "ip link add t0 type teleport", "teleport")
    monkeypatch.setattr(features, "FEATURES", (lacking,))
    monkeypatch.setattr("labkit.machine.probe.FEATURES", (lacking,))
    with pytest.raises(Unavailable) as refused:
        needs("teleport")

    assert str(refused.value).startswith("this needs teleport, going without a link: the kernel refused it")
    assert len(str(refused.value).split("\n")) == 2


@pytest.mark.parametrize("command", ["frobnicate -v", ["frobnicate"], "true && frobnicate"])
def test_a_command_that_is_not_installed(command: str | list[str]) -> None:
    namespace.add("red")
    with pytest.raises(CommandNotInstalled) as refused:
        run("red", command)

    assert str(refused.value) == (
        "failed to run 'frobnicate' in namespace 'red': the command is not installed\n"
        "look for its package with: apt-cache search frobnicate"
    )


def test_a_command_in_a_namespace_that_is_gone() -> None:
    with pytest.raises(NotFound) as refused:
        run("red", "true")

    assert str(refused.value) == "failed to enter namespace 'red': no such namespace\nnamespaces there: host"


def test_what_ran_shows_what_it_printed() -> None:
    namespace.add("red")
    ran = run("red", "ip -br link | cut -c 1-2")

    assert (repr(ran), bool(ran), ran.status) == ("lo", True, 0)
    assert not run("red", "false")
    assert run("host", ["echo", "a b"]).stdout == "a b\n"


def test_a_notebook_shows_the_sentence_and_no_way_through_the_code() -> None:
    assert LabkitError("it failed", "look there")._render_traceback_() == ["LabkitError: it failed\nlook there"]
