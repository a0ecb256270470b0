"""Checks: pure verdicts, and who waits for whom. No kernel here: `look` is whatever the test says."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace

import pytest

from labkit import check as checks
from labkit.check import Check, Exercise, Fault, Look
from labkit.errors import CommandNotInstalled, NotFound, WrongUse

NOTHING = Look(dict)


def value(name: str = "one", right: object = True, **options) -> Check:
    return Check(
        name,
        evidence=lambda look: {"found": right() if callable(right) else right},
        verdict=lambda found: found,
        passed="it is {found}",
        failed="it is {found}",
        **options,
    )


def results(*asked: Check) -> list[checks.Result]:
    return list(checks.run(Exercise("90-x/y", "title", asked), NOTHING, pause=lambda _: None))


def statuses(*asked: Check) -> list[str]:
    return [result.status for result in results(*asked)]


def test_a_verdict_is_a_function_of_the_evidence_and_its_sentence_holds_it():
    result = value(points=3).judge({"found": True})
    assert (result.status, result.points, result.message) == ("passed", 3, "it is True")
    result = value(points=3, look_at="ip link", hints=["a", "b"]).judge({"found": 0})
    assert (result.status, result.points, result.max_points) == ("failed", 0, 3)
    assert result.message == "it is 0\nLook at: ip link"
    assert result.hints == ("a", "b")


def test_evidence_with_braces_is_not_a_template():
    result = value().judge({"found": "{found.__class__}{0}"})
    assert result.message == "it is {found.__class__}{0}"


def test_a_message_is_bounded():
    assert len(value(right="x" * 10**6).judge({"found": "x" * 10**6}).message) == 1000


def test_a_check_is_blocked_until_what_it_comes_after_has_passed():
    assert statuses(value("one", False), value("two", True, after=["one"])) == ["failed", "blocked"]
    assert statuses(value("one"), value("two", after=["one"])) == ["passed", "passed"]
    blocked = results(value("one", False), value("two", after=["one"]), value("three", after=["two"]))
    assert [result.message for result in blocked[1:]] == ["waits for: one", "waits for: two"]


def test_what_must_not_work_counts_only_after_its_control():
    def must_not(control: bool, check: bool) -> Check:
        return value("not", check, must_not=True, control=value("control", control))

    assert statuses(must_not(control=False, check=True)) == ["blocked"]
    assert statuses(must_not(control=True, check=True)) == ["passed"]
    assert statuses(must_not(control=True, check=False)) == ["failed"]


def test_what_is_not_there_fails_and_what_cannot_be_asked_here_is_not_run():
    def raising(error: Exception):
        def evidence(look):
            raise error

        return Check("one", evidence, verdict=bool, passed="", failed="", hints=["h"])

    (result,) = results(raising(NotFound("there is no link 'eth0'", "links there: lo")))
    assert (result.status, result.message) == ("failed", "there is no link 'eth0'\nlinks there: lo")
    assert result.hints == ("h",)
    (result,) = results(raising(CommandNotInstalled("there is no ipvsadm")))
    assert (result.status, result.points, result.crashed) == ("not_run", 0, False)
    (result,) = results(raising(KeyError("x")))
    assert (result.status, result.points, result.crashed) == ("not_run", 0, True)


def test_a_control_that_cannot_be_asked_does_not_let_its_check_pass():
    def evidence(look):
        raise CommandNotInstalled("there is no ping")

    control = Check("control", evidence, verdict=bool, passed="", failed="")
    assert statuses(value("not", must_not=True, control=control)) == ["not_run"]


class Time:
    """A clock that pauses move; `tries` holds when each check was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tries: dict[str, list[float]] = {}

    def check(self, name: str, true_at: float, within: float, **options) -> Check:
        def right() -> bool:
            self.tries.setdefault(name, []).append(round(self.now, 2))
            return self.now >= true_at

        return value(name, right, within=within, **options)

    def run(self, *asked: Check) -> list[str]:
        def pause(_: float) -> None:
            self.now += 0.4

        exercise = Exercise("90-x/y", "title", asked)
        return [result.status for result in checks.run(exercise, NOTHING, clock=lambda: self.now, pause=pause)]


def test_a_check_is_asked_again_until_its_time_is_over():
    time = Time()
    assert time.run(time.check("one", true_at=0.8, within=1.0)) == ["passed"]
    assert time.tries == {"one": [0, 0.4, 0.8]}
    time = Time()
    assert time.run(time.check("one", true_at=9, within=1.0)) == ["failed"]
    assert time.tries == {"one": [0, 0.4, 0.8, 1.2]}
    time = Time()
    assert time.run(time.check("one", true_at=9, within=0)) == ["failed"]
    assert time.tries == {"one": [0]}


def test_where_nothing_works_checks_do_not_wait_one_after_the_other():
    time = Time()
    assert time.run(time.check("one", 9, within=1.0), time.check("two", 9, within=1.0)) == ["failed", "failed"]
    assert time.tries["two"] == [1.2, 1.6]


def test_a_check_that_passes_gives_the_next_its_time_anew():
    time = Time()
    assert time.run(time.check("one", 1.6, within=2.0), time.check("two", 2.8, within=1.5)) == ["passed", "passed"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: value("Two Words"), "failed to make check 'Two Words': a name is small letters, digits and . : / -"),
        (lambda: value(points=0), "failed to make check 'one': 0 points, and 1 is the least"),
        (
            lambda: value(must_not=True),
            "failed to make check 'one': it is of what must not work, and has no positive control",
        ),
        (
            lambda: checks.does_not_reach("red", "blue"),
            "failed to make check 'red-does-not-reach-blue': it is of what must not work, and has no positive control",
        ),
        (
            lambda: Exercise("two-names", "t", [value()]),
            "failed to make exercise 'two-names': an id is CHAPTER/NAME, as in 01-namespaces/two-names",
        ),
        (lambda: Exercise("90-x/y", "t", []), "failed to make exercise '90-x/y': it has no checks"),
        (
            lambda: Exercise("90-x/y", "t", [value(), value()]),
            "failed to make exercise '90-x/y': two checks are called 'one'",
        ),
        (
            lambda: Exercise("90-x/y", "t", [value("b", after=["a"]), value("a")]),
            "failed to make exercise '90-x/y': 'b' comes after 'a', which is not an earlier check",
        ),
        (
            lambda: Exercise("90-x/y", "t", [value()], [Fault("f", {}, ["two"])]),
            "failed to make exercise '90-x/y': fault 'f' turns red two",
        ),
        (
            lambda: Exercise("90-x/y", "t", [value()], [Fault("f", {}, [])]),
            "failed to make exercise '90-x/y': fault 'f' turns red nothing",
        ),
    ],
)
def test_a_form_that_cannot_hold_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(WrongUse) as caught:
        make()
    assert caught.value.message == sentence


class Told:
    """A look that says what it is told."""

    def __init__(self, **answers):
        self.__dict__.update({name: lambda *_, _answer=answer, **__: _answer for name, answer in answers.items()})


def ask(check: Check, **answers) -> checks.Result:
    return check.judge(check.evidence(Told(**answers)))


def test_reaching_is_an_answered_ping():
    ping = SimpleNamespace(answered=False)
    assert ask(checks.reaches("red", "blue"), ping=SimpleNamespace(answered=True)).status == "passed"
    result = ask(checks.reaches("red", "blue"), ping=ping)
    assert (result.name, result.status) == ("red-reaches-blue", "failed")
    assert result.message.startswith(f"red does not reach blue: {ping}\nLook at: ip -n red address; ip -n red route")
    assert ask(checks.does_not_reach("red", "blue", after=["x"]), ping=ping).status == "passed"


def test_a_link_is_described_by_what_is_wrong_with_it_never_by_what_is_asked():
    link = SimpleNamespace(is_up=False, mtu=1500, master=None, peer=("host", "veth1"), kind="veth")
    check = checks.has_link("red", "eth0", is_up=True, mtu=1400, master="br0", peer=("blue", "eth0"), points=2)
    result = ask(check, link=link)
    assert result.message == (
        "eth0 in red: it is down; its mtu is 1500; its master is none; its peer is host / veth1\n"
        "Look at: ip -n red link show eth0"
    )
    assert (result.name, result.max_points) == ("red-eth0", 2)
    assert ask(checks.has_link("red", "eth0", kind="veth"), link=link).status == "passed"


def test_addresses_routes_and_sysctls_are_shown_as_they_are():
    result = ask(checks.has_address("red", "eth0", "10.0.0.2/24"), addresses=["10.0.0.3/24"])
    assert result.message == ("the addresses of eth0 in red are: 10.0.0.3/24\nLook at: ip -n red address show eth0")
    assert ask(checks.has_address("host", "br0", "10.0.0.2/24"), addresses=["10.0.0.2/24"]).status == "passed"
    route = SimpleNamespace(dst="default", gateway="10.0.0.1", dev="eth0", text="default via 10.0.0.1 dev eth0")
    assert ask(checks.has_route("red", "default", via="10.0.0.1"), routes=[route]).status == "passed"
    result = ask(checks.has_route("red", "default", via="10.0.0.9"), routes=[route])
    assert "red's routes: default via 10.0.0.1 dev eth0" in result.message
    assert "10.0.0.9" not in result.message
    assert ask(checks.has_sysctl("red", "net.ipv4.ip_forward", "1"), sysctl="0").message.startswith(
        "net.ipv4.ip_forward in red is 0\nLook at: ip netns exec red sysctl"
    )


@pytest.mark.parametrize(
    ("given", "truth", "right"),
    [
        (2, 2, True),
        ("2", 2, True),
        (" Red ", "red", True),
        (["b", "a"], ("a", "b"), True),
        (["a"], {"a"}, True),
        (["a", "a"], ["a"], False),
        ([" Input", "FORWARD"], ["forward", "input"], True),
        (True, True, True),
        (1, True, False),
        (True, 1, False),
        ({"a": 1}, {"a": 1}, True),
        ("3", 2, False),
        (None, "red", False),
    ],
)
def test_an_answer_is_compared_as_a_person_would(given, truth, right):
    result = ask(checks.answered("who", truth, look_at="ip link"), answer=given)
    assert result.status == ("passed" if right else "failed")
    if not right:
        assert str(truth) not in result.message or str(truth) in str(given)


def test_the_example_in_the_docstring_is_an_exercise():
    assert checks.__doc__ is not None
    example = checks.__doc__.partition("defines `exercise`:")[2].partition("A check says")[0]
    namespace: dict[str, Exercise] = {}
    exec(textwrap.dedent(example), namespace)
    assert namespace["exercise"].max_score == 5


def test_every_exported_name_is_there():
    assert sorted(checks.__all__) == checks.__all__
    for name in checks.__all__:
        assert getattr(checks, name)
