"""Errors say what failed, where, why, and where to look."""

from __future__ import annotations

import errno

import pytest

from labkit import errors
from labkit.errors import LabkitError, NotInLabMachine, Refused, Unavailable, WrongUse, cause
from labkit.lab import Container, Topology, build
from labkit.net import link, namespace


def test_there_are_three_families() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert kind is LabkitError or sum(issubclass(kind, family) for family in (WrongUse, Unavailable, Refused)) == 1


def test_wrong_use_is_a_value_error() -> None:
    assert issubclass(WrongUse, ValueError)


def test_the_docstring_shows_the_whole_tree() -> None:
    for name in errors.__all__:
        assert name in (errors.__doc__ or "")


def test_a_hint_is_the_second_line() -> None:
    assert str(Refused("it failed", "look there", errno.EPERM)) == "it failed\nlook there"


def test_a_cause_is_in_the_kernels_words() -> None:
    assert cause(errno.ENODEV) == "no such device"


@pytest.mark.parametrize(
    "verb",
    [
        lambda: link.add_bridge("br0"),
        lambda: link.delete("eth0"),
        lambda: namespace.add("red"),
        lambda: namespace.delete("red"),
        lambda: namespace.names(),
        lambda: build(Topology(Container("red"))),
    ],
)
def test_on_the_computer_itself_every_verb_refuses(verb: object) -> None:
    with pytest.raises(NotInLabMachine, match="never touches the computer's own network\nrun it with: labkit run"):
        verb()  # type: ignore[operator]
