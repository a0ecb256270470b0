"""A check of some columns of a learner's table: what it says of each mistake, and never what is right."""

from __future__ import annotations

from typing import Any

import pytest
from pure.traces import TRACES

from labkit import check as checks
from labkit.check import Exercise, Look, table
from labkit.errors import NotFound
from labkit.tracing import Trace

NATTED = TRACES["natted"]()
WAY = ["red/eth0", "router/eth0", "router/eth1", "web/eth0"]
TTLS = [64, 64, 63, 63]


def rows(places: list[str], ttls: list[Any] = TTLS) -> list[dict[str, Any]]:
    return [{"where": place, "ttl": ttl} for place, ttl in zip(places, ttls, strict=False)]


def asked(given: Any, *columns: str, trace: Any = lambda _: NATTED, **options: Any) -> checks.Result:
    one = table("my_way", trace, columns or ("where",), what="all is", **options)
    (result,) = checks.run(Exercise("90-x/y", "title", [one]), Look(lambda: {"my_way": given}), pause=lambda _: None)
    return result


def test_a_right_table_passes() -> None:
    result = asked(rows(WAY), "where", "ttl", called="ping a")
    assert (result.name, result.status, result.message) == ("my-way-ttl", "passed", "ping a: all is right in every row")


def test_columns_that_are_not_asked_for_do_not_count() -> None:
    assert asked(rows(WAY, [1, 2, 3, 4])).status == "passed"


@pytest.mark.parametrize(
    ("given", "columns", "sentence"),
    [
        ([], (), "an interface that sees it is missing, or not at its place"),
        (rows(WAY[:2]), (), "an interface that sees it is missing, or not at its place"),
        (rows(["", *WAY[1:]]), (), "not every row says where it is"),
        (rows([*WAY, "moon/eth0"], [*TTLS, 1]), (), "does not see it, or not at that place of its way: moon/eth0"),
        (rows(WAY, [64, 63, 63, ""]), ("where", "ttl"), "in row 2, ttl is not right; in row 4, ttl is not filled in"),
    ],
)
def test_a_wrong_table_is_told_what_is_wrong(given: Any, columns: tuple[str, ...], sentence: str) -> None:
    result = asked(given, *columns)
    assert (result.status, result.message) == ("failed", f"my_way: {sentence}")


def test_what_is_no_table_is_a_sentence() -> None:
    assert asked("left").message.startswith("failed to mark: a prediction is a list of rows, not a str")
    assert asked([{"where": "left"}]).message.startswith("failed to mark hop 1, where: 'left' is no interface")
    assert asked(None).message.startswith("there is no answer called 'my_way' yet")


def test_a_trace_that_cannot_be_had_and_more_that_is_wrong_are_told() -> None:
    def changed(_: Look) -> Trace:
        raise NotFound("something is not as the exercise began")

    assert asked(rows(WAY), trace=changed).message == "something is not as the exercise began"
    assert asked(rows(WAY), also=lambda marked: [f"{marked.total} are too many"]).message == "my_way: 4 are too many"
