"""Do the three requirements hold, and is each seen to be broken, with the reason? Nodes and pods built by hand."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

import pytest

from labkit.errors import NotFound, Refused, WrongUse
from labkit.kube.pairs import PORT, Pair, Pairs
from labkit.kube.requirements import Endpoint, Verdict, requirements
from labkit.lab import Bridge, Container, Topology, build
from labkit.packets import serve
from labkit.tracing import Trace


def topology(nodes: int, pods: int) -> Topology:
    """Nodes on one wire, each with a bridge for its pods and a route to each other node's, as kindnet has them."""
    things: list[Bridge | Container] = [Bridge("underlay", "192.168.50.1/24")]
    for n in range(1, nodes + 1):
        routes = tuple(f"10.244.{m}.0/24 via 192.168.50.{10 + m}" for m in range(1, nodes + 1) if m != n)
        forwards = {"net.ipv4.ip_forward": 1}
        things += [
            Container(f"node-{n}", f"192.168.50.{10 + n}/24", link="underlay", routes=routes, sysctls=forwards),
            Bridge("cni0", f"10.244.{n}.1/24", on=f"node-{n}"),
            *(Container(f"pod-{n}{x}", f"10.244.{n}.{x + 2}/24", link=f"node-{n}:cni0") for x in range(pods)),
        ]
    return Topology(*things)


def nodes_of(number: int = 3) -> list[Endpoint]:
    return [Endpoint(f"node-{n}", f"192.168.50.{10 + n}", cidr=f"10.244.{n}.0/24") for n in range(1, number + 1)]


def pods_of(nodes: int = 3, pods: int = 2) -> list[Endpoint]:
    return [
        Endpoint(f"pod-{n}{x}", f"10.244.{n}.{x + 2}", f"node-{n}") for n in range(1, nodes + 1) for x in range(pods)
    ]


def verdict_after(*commands: str, pods: Sequence[Endpoint] | None = None) -> Verdict:
    with build(topology(3, 2)):
        for command in commands:
            subprocess.run(command, shell=True, check=True)
        return requirements(pods or pods_of(), nodes_of())


def broken(verdict: Verdict) -> list[int]:
    return [one.number for one in verdict.requirements if not one.held]


def test_all_three_hold_between_six_pods_on_three_nodes() -> None:
    verdict = verdict_after()
    assert verdict.ok, verdict
    assert [one.tested for one in verdict.requirements] == [6, 30, 6]
    assert set(verdict.marks.values()) == {"ok"}
    assert repr(verdict).splitlines()[0] == "3 of 3 requirements hold: 6 pods on 3 nodes"


def test_blanket_masquerade_on_one_node_breaks_the_second_alone() -> None:
    verdict = verdict_after(
        "ip netns exec node-1 iptables -t nat -A POSTROUTING -s 10.244.0.0/16 -o eth0 -j MASQUERADE"
    )
    assert broken(verdict) == [2]
    second = verdict.requirement(2)
    assert {(one.caller[:5], one.kind) for one in second.failures} == {("pod-1", "rewritten")}
    assert len(second.failures) == 8
    first = second.failures[0]
    assert first.observed == "pod-20 saw 192.168.50.11, not 10.244.1.2 (TCP and ping)"
    assert first.reason.startswith("node-1 rewrote it: ")
    assert "MASQUERADE" in first.reason
    assert isinstance(first.trace, Trace)
    assert verdict.marks["pod-10", "pod-20"] == "rewritten"
    assert verdict.marks["pod-20", "pod-10"] == verdict.marks["pod-10", "pod-11"] == "ok"


def test_masquerade_that_spares_the_cluster_breaks_nothing() -> None:
    chain = "ip netns exec node-1 iptables -t nat"
    verdict = verdict_after(
        f"{chain} -N KIND-MASQ-AGENT",
        f"{chain} -A POSTROUTING -m addrtype ! --dst-type LOCAL -j KIND-MASQ-AGENT",
        f"{chain} -A KIND-MASQ-AGENT -d 10.244.0.0/16 -j RETURN",
        f"{chain} -A KIND-MASQ-AGENT -j MASQUERADE",
    )
    assert verdict.ok, verdict


def test_two_nodes_that_masquerade_are_both_named() -> None:
    rule = "iptables -t nat -A POSTROUTING -j MASQUERADE"
    verdict = verdict_after(f"ip netns exec node-1 {rule}; ip netns exec node-2 {rule}")
    reason = next(one.reason for one in verdict.requirement(2).failures if one.callee.startswith("pod-2"))
    assert "node-1 rewrote it" in reason
    assert "then node-2 rewrote it" in reason


def test_a_missing_route_breaks_the_second_alone_and_both_ways() -> None:
    verdict = verdict_after("ip -n node-2 route delete 10.244.1.0/24")
    assert broken(verdict) == [2]
    second = verdict.requirement(2)
    assert {one.kind for one in second.failures} == {"lost"}
    assert {frozenset((one.caller[:5], one.callee[:5])) for one in second.failures} == {frozenset(("pod-1", "pod-2"))}
    there, back = second.failures[:2]
    assert there.what == "pod-10 → pod-20"
    assert there.reason.startswith("its answer was lost: ")
    for one in (there, back):
        assert "node-2 had sent it there, by its route default via 192.168.50.1 dev eth0" in one.reason


def test_a_node_that_forwards_nothing_breaks_the_second_alone() -> None:
    verdict = verdict_after("ip netns exec node-3 iptables -P FORWARD DROP")
    assert broken(verdict) == [2]
    assert len(verdict.requirement(2).failures) == 16
    assert all("FORWARD" in one.reason and "node-3" in one.reason for one in verdict.requirement(2).failures[:3])
    assert verdict.marks["pod-30", "pod-31"] == "ok"  # over the bridge, which is no forwarding


def test_a_node_that_takes_nothing_in_breaks_the_third_alone() -> None:
    verdict = verdict_after("ip netns exec node-2 iptables -A INPUT -i cni0 -j DROP")
    assert broken(verdict) == [3]
    failed = verdict.requirement(3).failures
    assert [one.what for one in failed] == ["node-2 → pod-20", "node-2 → pod-21"]
    assert "INPUT" in failed[0].reason


def test_a_filter_against_ping_alone_is_seen() -> None:
    verdict = verdict_after("ip netns exec pod-30 iptables -A INPUT -p icmp -j DROP")
    assert broken(verdict) == [2, 3]
    assert {one.callee for one in verdict.requirement(2).failures if one.by == "ping"} >= {"pod-30"}
    assert verdict.requirement(3).failures[0].observed == "no answer (ping)"


def test_what_the_caller_itself_refuses_is_told() -> None:
    verdict = verdict_after("ip netns exec pod-30 iptables -A OUTPUT -d 10.244.1.2 -p icmp -j DROP")
    one = next(one for one in verdict.requirement(2).failures if (one.caller, one.callee) == ("pod-30", "pod-10"))
    assert one.observed == "not sent, a filter of its own namespace dropped it (ping)"


@pytest.mark.parametrize(
    ("command", "pod", "told"),
    [
        (
            "ip -n pod-21 address flush dev eth0; ip -n pod-21 address add 10.244.2.2/24 dev eth0",
            Endpoint("pod-21", "10.244.2.2", "node-2"),
            ["10.244.2.2 is pod-21's as well", "10.244.2.2 is pod-20's as well"],
        ),
        (
            "ip -n pod-21 address flush dev eth0; ip -n pod-21 address add 10.244.2.9/24 dev eth0",
            Endpoint("pod-21", "10.244.2.3", "node-2"),
            ["10.244.2.3 is on no interface of it; addresses there: 10.244.2.9 on eth0"],
        ),
        (
            "ip -n pod-21 address flush dev eth0; ip -n pod-21 address add 10.244.7.7/16 dev eth0",
            Endpoint("pod-21", "10.244.7.7", "node-2"),
            ["10.244.7.7 is not of 10.244.2.0/24, the pod CIDR of node-2"],
        ),
        ("ip -n pod-21 address flush dev eth0", Endpoint("pod-21", "", "node-2"), ["it has no address"]),
        ("true", Endpoint("pod-21", "192.168.50.12", "node-2"), ["192.168.50.12 is node-2's as well"]),
    ],
)
def test_an_address_that_is_not_its_own_breaks_the_first_alone(command: str, pod: Endpoint, told: list[str]) -> None:
    pods = [pod if one.name == pod.name else one for one in pods_of()]
    verdict = verdict_after(command, pods=pods)
    assert broken(verdict) == [1], verdict
    assert [one.observed for one in verdict.requirement(1).failures] == told
    assert verdict.requirement(2).untested
    assert verdict.marks["pod-10", "pod-21"] == "untested"
    assert not verdict.ok


def test_all_pairs_of_thirty_pods_take_a_few_seconds_at_most() -> None:
    with build(topology(3, 10)):
        begin = time.monotonic()
        verdict = requirements(pods_of(3, 10), nodes_of())
        took = time.monotonic() - begin
    assert verdict.ok
    assert verdict.requirement(2).tested == 870
    assert took < 3, f"{took:.2f} s"


def test_nothing_is_left_behind() -> None:
    with build(topology(2, 1)) as lab:
        before = lab.run("pod-10", "ss -Hlnt").stdout
        requirements(pods_of(2, 1), nodes_of(2))
        assert lab.run("pod-10", "ss -Hlnt").stdout == before == ""


def test_without_pods_or_pairs_nothing_holds() -> None:
    with build(topology(1, 1)):
        assert not requirements([])
        alone = requirements(pods_of(1, 1), nodes_of(1))
    assert [one.held for one in alone.requirements] == [True, False, True]
    assert "2  pod to pod without NAT: not tested" in repr(alone)


def test_what_cannot_be_tested_is_told() -> None:
    with build(topology(1, 2)):
        one, other = pods_of(1, 2)
        with pytest.raises(WrongUse, match="'pod-10' is given 2 times"):
            requirements([one, one])
        with pytest.raises(WrongUse, match="which is IPv6"):
            requirements([Endpoint("pod-10", "fd00::2")])
        with pytest.raises(NotFound):
            requirements([Endpoint("nobody", "10.244.1.9")])
        with serve("pod-11", PORT), pytest.raises(Refused, match=f"TCP port {PORT} in namespace 'pod-11'"):
            requirements([one, other])


def test_who_is_reached_instead_is_noticed() -> None:
    rule = "iptables -t nat -A PREROUTING -d 10.244.2.2 -j DNAT --to-destination 10.244.2.3"
    verdict = verdict_after(f"ip netns exec node-2 {rule}")
    failed = [one for one in verdict.requirement(2).failures if one.callee == "pod-20"]
    assert failed[0].kind == "rewritten"
    assert "pod-21 was reached, not pod-20" in failed[0].observed
    assert "DNAT" in failed[0].reason


def test_a_thousand_calls_that_nobody_answers_end_in_time() -> None:
    with build(topology(2, 1)), Pairs(["pod-10"]) as pairs:
        begin = time.monotonic()
        answers = pairs.ask([Pair("pod-10", "nobody", "10.244.2.9")] * 1000, timeout=0.3)
    assert not any(tcp.ok or ping.ok for tcp, ping in answers)
    assert {tcp.error for tcp, _ in answers} <= {"no answer within 0.3 s", "host unreachable"}
    assert time.monotonic() - begin < 3


def test_a_verdict_shows_itself_the_same_each_time() -> None:
    with build(topology(3, 2)) as lab:
        lab.run("node-1", "iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE")
        one, other = (requirements(pods_of(), nodes_of())._repr_mimebundle_() for _ in range(2))
    assert one == other
    assert "N" in one["text/plain"]
    assert "<svg" in one["image/svg+xml"]
