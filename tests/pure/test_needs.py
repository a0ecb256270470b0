"""What a notebook needs, and the kernel that suits it: from its metadata and from what this computer can do."""

from __future__ import annotations

from typing import Any

import pytest

from labkit.author.form import needs_disagree
from labkit.errors import CommandNotInstalled
from labkit.machine import suits
from labkit.machine.features import FEATURES


def notebook(needs: object, *sources: str) -> dict[str, Any]:
    cells = [{"cell_type": "markdown", "source": "# A title that needs('veth')"}]
    cells += [{"cell_type": "code", "source": source} for source in sources]
    return {"metadata": {"labkit": {"needs": needs}} if needs is not None else {}, "cells": cells}


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (notebook(["ip_vs", "netem"]), ("ip_vs", "netem")),
        (notebook(None), ()),
        (notebook("ip_vs"), ()),
        (notebook([7, "ip_vs"]), ("ip_vs",)),
        ({"metadata": {"labkit": []}}, ()),
        ({}, ()),
    ],
)
def test_needs_are_read_from_the_metadata(read: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert suits.needs_of(read) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('labkit.needs("nftables")\n!nft list ruleset', ("nftables",)),
        ('labkit.needs("iptables-nft", "iptables-legacy")', ("iptables-nft", "iptables-legacy")),
        ('!ip link\nlabkit.needs("nftables")', ()),
        ('labkit.needs("nftables"); 1', ()),
        ("", ()),
    ],
)
def test_what_a_cell_alone_needs_is_its_first_line(source: str, expected: tuple[str, ...]) -> None:
    assert suits.needs_of_cell(source) == expected


def test_what_user_mode_linux_lacks_is_known_without_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suits, "_tried", lambda features: {"lacking": [f for f in features if f == "vrf"]})
    assert suits.lacking_on("labkit-uml", ["vrf", "nftables"]) == ("nftables",)
    assert suits.lacking_on("labkit", ["vrf", "nftables"]) == ("vrf",)


@pytest.mark.parametrize(
    ("needs", "lacking", "uml", "kernel"),
    [
        ([], [], True, "labkit"),
        (["veth"], [], True, "labkit"),
        (["ip_vs"], ["ip_vs"], True, "labkit-uml"),
        (["ip_vs"], ["ip_vs"], False, "labkit"),
        (["ip_vs", "nftables"], ["ip_vs"], True, "labkit"),
        (["veth", "ebpf"], ["ebpf"], True, "labkit-uml"),
        (["teleport"], ["teleport"], True, "labkit"),
    ],
)
def test_the_kernel_is_uml_only_where_it_alone_helps(
    monkeypatch: pytest.MonkeyPatch, needs: list[str], lacking: list[str], uml: bool, kernel: str
) -> None:
    missing = None if uml else CommandNotInstalled("no 'linux.uml'", "sudo apt install user-mode-linux")
    monkeypatch.setattr(suits, "lacking_here", lambda _needs: tuple(lacking))
    monkeypatch.setattr(suits, "uml_missing", lambda: missing)
    assert suits.kernel_for(needs) == kernel


def test_a_notebook_without_needs_costs_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suits, "_tried", lambda _features: pytest.fail("it asked the kernel"))
    assert suits.kernel_for([]) == "labkit"
    assert suits.kernel_for(["nftables"]) == "labkit"  # only the computer's own kernel can have it


def test_where_no_lab_machine_starts_everything_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suits, "_tried", lambda _features: {"error": "no namespaces", "hint": "be root"})
    monkeypatch.setattr(suits, "uml_missing", lambda: CommandNotInstalled("no 'linux.uml'", "install it"))
    assert suits.lacking_here(["veth"]) == ("veth",)
    assert str(suits.nothing_runs()) == "no namespaces\nbe root. User-Mode Linux would do instead: install it"


def test_either_kind_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suits, "_tried", lambda _features: {"error": "no namespaces", "hint": "be root"})
    monkeypatch.setattr(suits, "uml_missing", lambda: None)
    assert suits.nothing_runs() is None


def test_what_uml_lacks_are_features() -> None:
    assert {feature.name for feature in FEATURES} >= suits.UML_LACKS


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (notebook(["ip_vs"], 'import labkit\nlabkit.needs("ip_vs")\n!ip link'), None),
        (notebook(["ip_vs", "netem"], 'labkit.needs("netem", "ip_vs")', "!ping -c 1 needs"), None),
        (notebook([], "import labkit"), None),
        (notebook(None, "lab.needs(3)"), None),
        (
            notebook(["ip_vs"], "import labkit"),
            "the first code cell needs nothing, and metadata.labkit.needs says ip_vs",
        ),
        (notebook([], 'needs("ip_vs")'), "the first code cell needs ip_vs, and metadata.labkit.needs says nothing"),
        (
            notebook(["ip_vs"], 'needs("netem")'),
            "the first code cell needs netem, and metadata.labkit.needs says ip_vs",
        ),
        (notebook(["x"], 'needs("x")'), "metadata.labkit.needs names 'x': no such feature"),
        (notebook("ip_vs"), 'metadata.labkit.needs must be a list of features, such as ["ip_vs"]'),
        (notebook([], "1", 'labkit.needs("vrf", "veth")\n!ip link'), None),
        (notebook([], "1", 'labkit.needs("x")'), "a cell needs 'x': no such feature"),
        (
            notebook([], "1", '!ip link\nlabkit.needs("vrf")'),
            'what a later cell alone needs is its whole first line: labkit.needs("nftables")',
        ),
        (
            notebook(["vrf"], "labkit.needs(*mine)"),
            'the first code cell must name what it needs as plain strings: labkit.needs("ip_vs")',
        ),
    ],
)
def test_metadata_and_first_cell_agree(wrong: dict[str, Any], sentence: str | None) -> None:
    disagreements = needs_disagree(wrong)
    assert sentence in disagreements if sentence else disagreements == []
