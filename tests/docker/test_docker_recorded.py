"""The model makes what a real Docker made, rule for rule, or a difference has a reason. Docker's part is recorded."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from labkit.docker import engine
from labkit.docker.command_line import build, do
from labkit.docker.comparison import EXPLAINED, compare, differences, recorded, scenario
from labkit.docker.reading import KINDS
from labkit.docker.scenarios import SCENARIOS
from labkit.errors import NotFound, WrongUse

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    engine.clear()
    subprocess.run("iptables -F FORWARD; iptables -t nat -F POSTROUTING", shell=True, check=True)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_model_makes_what_docker_made(name: str) -> None:
    build(scenario(name))
    comparison = compare(name)
    assert comparison, comparison
    assert comparison.kept
    assert {"namespace", "link", "address", "route", "sysctl", "filter", "nat"} <= set(comparison.equal)


@pytest.mark.parametrize(
    ("change", "kind", "line"),
    [
        (
            "iptables -D FORWARD -i docker0 -o docker0 -j ACCEPT",
            "filter",
            "- host filter: -A FORWARD -i docker0 -o docker0 -j ACCEPT",
        ),
        ("iptables -t nat -A POSTROUTING -j MASQUERADE", "nat", "+ host nat: -A POSTROUTING -j MASQUERADE"),
        ("ip -n web route del default", "route", "- web route: default via 172.17.0.1 dev eth0"),
        (
            "ip address add 10.1.1.1/24 dev docker0",
            "address",
            "+ host address: 10.1.1.1/24 brd none scope global dev docker0",
        ),
        ("ip link set docker0 mtu 1400", "link", "+ host link: docker0 up bridge mtu 1400"),
        ("sysctl -qw net.ipv4.ip_forward=0", "sysctl", "+ host sysctl: net.ipv4.ip_forward = 0"),
    ],
)
def test_a_change_by_hand_is_seen(change: str, kind: str, line: str) -> None:
    build(scenario("publish"))
    subprocess.run(change.split(), check=True)
    comparison = compare("publish")
    assert not comparison
    assert line in [str(found) for found in comparison.unexplained]
    assert {found.kind for found in comparison.unexplained} <= {kind, "route"}  # an address brings its route
    assert f'<span style="color: #c00">{line}' in comparison._repr_html_()


def test_another_order_of_rules_is_a_difference() -> None:
    build(scenario("publish"))
    subprocess.run("iptables -D FORWARD -j DOCKER-USER; iptables -A FORWARD -j DOCKER-USER", shell=True, check=True)
    texts = [str(line) for line in compare("publish").unexplained]
    assert texts == ["- host filter: -A FORWARD -j DOCKER-USER", "+ host filter: -A FORWARD -j DOCKER-USER"]


def test_a_container_that_is_missing_is_a_difference() -> None:
    docker = build(scenario("default-bridge"))
    docker.rm("client", force=True)
    assert "- client namespace: its own" in [str(line) for line in compare("default-bridge").unexplained]


def test_every_recording_says_which_docker_made_it_and_reads_all_kinds() -> None:
    seen = set()
    for name in SCENARIOS:
        recording = recorded(name)
        assert recording.docker.startswith("20.10."), name
        seen |= {kind for kinds in recording.tables.values() for kind, lines in kinds.items() if lines}
    assert seen == set(KINDS)


def test_reasons_are_few_and_explain_no_rule_of_iptables() -> None:
    assert len(EXPLAINED) <= 5
    assert {known.kind for known in EXPLAINED} <= {"sysctl"}


def test_a_setting_that_a_kernel_lacks_is_explained_and_another_value_is_not() -> None:
    tables = recorded("publish").tables
    docker = tables["host"]["sysctl"]
    key = "net.bridge.bridge-nf-call-iptables"
    lacking = {**tables, "host": {**tables["host"], "sysctl": [line for line in docker if not line.startswith(key)]}}
    other = {
        **tables,
        "host": {**tables["host"], "sysctl": [line.replace(f"{key} = 0", f"{key} = 1") for line in docker]},
    }
    assert [line.reason for line in differences(tables, lacking)[1]] == ["there only where the kernel has br_netfilter"]
    assert [line.reason for line in differences(tables, other)[1]] == ["", ""]


def test_equal_tables_do_not_differ() -> None:
    tables = recorded("isolation").tables
    equal, lines = differences(tables, tables)
    assert lines == ()
    assert sum(equal.values()) == sum(len(found) for kinds in tables.values() for found in kinds.values())


def test_bad_requests() -> None:
    with pytest.raises(NotFound, match="failed to find scenario 'nope'\nscenarios: nothing, default-bridge"):
        compare("nope")
    with pytest.raises(WrongUse, match="failed to run 'docker swarm init': the model does not know it"):
        do(build(scenario("nothing")), ("swarm", "init"))
