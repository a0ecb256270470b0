"""Does a verdict on the three requirements read as it should? Pure data: no kernel is asked."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from labkit.kube.requirements import Endpoint, Failure, Requirement, Verdict
from labkit.see.requirements import svg_of_verdict, text_of_requirement, text_of_verdict

PODS = (
    Endpoint("ant", "10.244.1.2", "node-1"),
    Endpoint("bee", "10.244.1.13", "node-1"),
    Endpoint("cat", "10.244.2.2", "node-2"),
)
NODES = (Endpoint("node-1", "192.168.50.11"), Endpoint("node-2", "192.168.50.12"))
REASON = "node-1 rewrote it: iptables -t nat -A POSTROUTING -j MASQUERADE"
SEEN = Failure("rewritten", "ant", "cat", "cat saw 192.168.50.11, not 10.244.1.2 (TCP and ping)", REASON, "TCP")
SAME = Failure("rewritten", "bee", "cat", "cat saw 192.168.50.11, not 10.244.1.13 (TCP and ping)", by="TCP")
FIRST = Requirement(1, "every pod has an address of its own", "pod", 3)
SECOND = Requirement(2, "pod to pod without NAT", "pair", 6, failures=(SEEN, SAME))
THIRD = Requirement(3, "a node's agents reach its pods", "pod", 3)
MARKS = {
    ("ant", "bee"): "ok", ("ant", "cat"): "rewritten", ("bee", "ant"): "ok", ("bee", "cat"): "rewritten",
    ("cat", "ant"): "lost", ("cat", "bee"): "untested", ("node-1", "ant"): "ok", ("node-1", "bee"): "ok",
    ("node-2", "cat"): "ok",
}  # fmt: skip
VERDICT = Verdict(PODS, NODES, (FIRST, SECOND, THIRD), MARKS)

TEXT = """\
2 of 3 requirements hold: 3 pods on 2 nodes
1  every pod has an address of its own: holds, 3 pods
2  pod to pod without NAT: broken, 2 of 6 pairs
   ant → cat: cat saw 192.168.50.11, not 10.244.1.2 (TCP and ping)
     why: node-1 rewrote it: iptables -t nat -A POSTROUTING -j MASQUERADE
   and 1 more pair
3  a node's agents reach its pods: holds, 3 pods

from \\ to                 ant  bee  cat  its node
ant  10.244.1.2   node-1   –    ✓    N      ✓
bee  10.244.1.13  node-1   ✓    –    N      ✓
cat  10.244.2.2   node-2   ✗    ?    –      ✓
✓ reached, by the caller's own address; ✗ not reached; N reached, but another address was seen; ? not tested; \
its node: the pod called by its node"""


def test_a_verdict_in_words() -> None:
    assert text_of_verdict(VERDICT) == TEXT == repr(VERDICT)


def test_a_requirement_in_words_is_its_part_of_the_verdict() -> None:
    assert text_of_requirement(SECOND) == "\n".join(TEXT.splitlines()[2:6]) == repr(SECOND)


def test_nothing_tested_is_not_held() -> None:
    none = Requirement(2, "pod to pod without NAT", "pair", 0)
    assert not none
    assert repr(none) == "2  pod to pod without NAT: not tested"
    assert not Verdict(PODS[:1], NODES, (FIRST, none, THIRD), {}).ok


def test_the_picture_says_what_the_words_say() -> None:
    svg = svg_of_verdict(VERDICT)
    drawn = [node.text or "" for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    lines = {line.replace("\u00a0", " ") for line in drawn}
    for line in [*TEXT.splitlines()[:7], *TEXT.splitlines()[-1:]]:
        assert line in lines
    assert drawn.count("✓") == 5
    assert drawn.count("N") == 2
    assert drawn.count("✗") == 1
    assert svg == svg_of_verdict(VERDICT)


def test_many_pods_are_numbered_and_too_many_have_no_table() -> None:
    def some(number: int) -> str:
        pods = tuple(Endpoint(f"shop-5d8f7c9b64-{n:05}", f"10.244.0.{n}") for n in range(2, 2 + number))
        marks = {(one.name, other.name): "ok" for one in pods for other in pods if one is not other}
        pairs = Requirement(2, "pod to pod without NAT", "pair", len(marks))
        return text_of_verdict(Verdict(pods, (), (FIRST, pairs, THIRD), marks))

    assert " 2 shop-5d8f7c9b64-00003  10.244.0.3   ✓" in some(12)
    assert "12 shop-5d8f7c9b64-00013  10.244.0.13  ✓" in some(12)
    assert some(12).splitlines()[5].endswith("   1  2  3  4  5  6  7  8  9  10 11 12")
    assert some(12).splitlines()[-1] == "✓ reached, by the caller's own address"
    assert len(some(41).splitlines()) == 4
