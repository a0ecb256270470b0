"""What the words of a kubectl command line name."""

from __future__ import annotations

import argparse
import os

import pytest

from labkit.commands.kubectl_words import matches, named, seconds, texts
from labkit.errors import NotFound, WrongUse


def pairs(*words: str) -> list[tuple[str, str]]:
    return [(one.name, name) for one, name in named(list(words))]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["pods"], [("Pod", "")]),
        (["pod", "web", "db"], [("Pod", "web"), ("Pod", "db")]),
        (["pod/web", "deploy/db"], [("Pod", "web"), ("Deployment", "db")]),
        (["po,no"], [("Pod", ""), ("Node", "")]),
        (["all"], [("Deployment", ""), ("Pod", "")]),
    ],
)
def test_objects_are_named_in_two_ways(words: list[str], found: list[tuple[str, str]]) -> None:
    assert pairs(*words) == found


@pytest.mark.parametrize("words", [[], ["pod/web", "db"], ["pod/"], ["pods,nodes", "web"]])
def test_other_ways_are_refused(words: list[str]) -> None:
    with pytest.raises(WrongUse):
        named(words)


def test_a_kind_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(NotFound, match='the server doesn\'t have a resource type "podz"'):
        named(["podz/web"])


@pytest.mark.parametrize(
    ("selector", "labels", "fits"),
    [
        ("", {}, True),
        ("app=web", {"app": "web", "tier": "front"}, True),
        ("app==web", {"app": "db"}, False),
        ("app=web,tier=back", {"app": "web", "tier": "front"}, False),
        ("app!=web", {"app": "db"}, True),
        ("app!=web", {}, True),
        ("app", {"app": ""}, True),
        ("app", {}, False),
        ("!app", {}, True),
        (" app = web , !old ", {"app": "web"}, True),
        ("app=", {"app": ""}, True),
        ("app=", {}, False),
        ("k8s.io/app=web", {"k8s.io/app": "web"}, True),
    ],
)
def test_a_selector(selector: str, labels: dict[str, str], fits: bool) -> None:
    assert matches(selector)(labels) is fits


@pytest.mark.parametrize("selector", ["app in (web)", "!app=web", "=web", "app=a=b", "app web"])
def test_another_selector_is_refused(selector: str) -> None:
    with pytest.raises(WrongUse, match="unable to parse requirement"):
        matches(selector)


@pytest.mark.parametrize(
    ("text", "value"),
    [("30s", 30), ("1m30s", 90), ("2h", 7200), ("500ms", 0.5), ("1.5s", 1.5), ("0", 0), ("-1", 604800)],
)
def test_a_duration(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["30", "s", "1x", "1m x", "", "1..5s", "nan", "inf"])
def test_another_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a duration"):
        seconds(text)


def test_a_folder_is_its_manifests(tmp_path: object) -> None:

    for name in ("b.yaml", "a.json", "c.yml", "notes.txt"):
        with open(os.path.join(str(tmp_path), name), "w", encoding="utf-8") as file:
            file.write(name)
    assert [text for _, text in texts([str(tmp_path)])] == ["a.json", "b.yaml", "c.yml"]
