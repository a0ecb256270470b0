"""Is it a Kubernetes network? The three requirements of the model, as properties that every pair of pods must have.

1. Every pod has an address of its own.
2. Pods reach all other pods without NAT: the address that the called pod sees is the caller's own.
3. The agents of a node reach the pods of that node.

Each is tested with packets, between any namespaces: a cluster, or what was built by hand. What fails is followed by a
trace, which says why.
Source: Kubernetes documentation, "Cluster Networking" and "The Kubernetes network model".
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from labkit.errors import LabkitError, WrongUse
from labkit.kube.pairs import PORT, Answer, Pair, Pairs
from labkit.state.read import snapshot
from labkit.tracing.follow import trace
from labkit.tracing.records import Cause, Trace

__all__ = ["Endpoint", "Failure", "Requirement", "Verdict", "requirements"]

TRACES = 3  # counterexamples of a requirement that are followed
_WHAT = {
    1: ("every pod has an address of its own", "pod"),
    2: ("pod to pod without NAT", "pair"),
    3: ("a node's agents reach its pods", "pod"),
}
_TRANSLATES = re.compile(r"masquerade|\b[sd]nat\b|redirect|netmap", re.IGNORECASE)

Kind = Literal["address", "lost", "rewritten"]


@dataclass(frozen=True)
class Endpoint:
    """A pod or a node: `name` is its namespace. `node`: the namespace of the pod's node. `cidr`: a node's pod CIDR."""

    name: str
    address: str
    node: str = ""
    cidr: str = ""


@dataclass(frozen=True)
class Failure:
    """A counterexample. `observed`: what was seen; `reason`: which route or rule did it, where it was followed.

    `kind`: "address" (it has none of its own), "lost" (no answer), "rewritten" (another address was seen); `by`: "TCP"
    or "ping", the call that showed it first."""

    kind: Kind
    caller: str
    callee: str
    observed: str
    reason: str = ""
    by: str = ""
    trace: Trace | None = field(default=None, compare=False, repr=False)

    @property
    def what(self) -> str:
        """As "web → db", or "web"."""
        return f"{self.caller} → {self.callee}" if self.callee else self.caller


@dataclass(frozen=True)
class Requirement:
    """One of the three. `tested`: how many pods or pairs were; `untested`: those that had no address to test with."""

    number: int
    text: str
    unit: str
    tested: int
    untested: int = 0
    failures: tuple[Failure, ...] = ()

    @property
    def held(self) -> bool:
        """Whether something was tested, and nothing of it failed."""
        return self.tested > 0 and not self.failures

    def __bool__(self) -> bool:
        return self.held

    def __repr__(self) -> str:
        from labkit.see.requirements import text_of_requirement

        return text_of_requirement(self)


@dataclass(frozen=True, repr=False)
class Verdict:
    """What was found of all three. `marks`: for (caller, callee) "ok", "lost", "rewritten" or "untested"."""

    pods: tuple[Endpoint, ...]
    nodes: tuple[Endpoint, ...]
    requirements: tuple[Requirement, ...]
    marks: dict[tuple[str, str], str]

    @property
    def ok(self) -> bool:
        """Whether all three hold."""
        return all(self.requirements)

    def requirement(self, number: int) -> Requirement:
        """Return requirement 1, 2 or 3. Raises WrongUse."""
        if number not in (1, 2, 3):
            raise WrongUse(f"failed to find requirement {number}: there are three", "1, 2 and 3")
        return self.requirements[number - 1]

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        from labkit.see.requirements import text_of_verdict

        return text_of_verdict(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from labkit.see.requirements import svg_of_verdict, text_of_verdict

        return {"text/plain": text_of_verdict(self), "image/svg+xml": svg_of_verdict(self)}


def requirements(pods: Sequence[Endpoint], nodes: Sequence[Endpoint] = (), *, timeout: float = 1.0) -> Verdict:
    """Test the three requirements between all pods, with packets, and return the Verdict.

    Every ordered pair of pods has a TCP connection and a ping of its own, and so has each node with each pod on it;
    the called side writes down whom it saw. Leave out pods with hostNetwork: they have no network of their own.
    timeout: seconds that one call may take; calls run side by side. A pod without an address of its own is tested no
    further. At most three counterexamples of a requirement are traced for the reason.
    Raises NotFound, NamespaceGone, WrongUse (a name given twice), Refused (TCP port 7007 of a pod is taken)."""
    _check([*pods, *nodes])
    homeless = tuple(_homeless(pods, nodes))
    between = [_pair(one, other) for one in pods for other in pods if one is not other]
    within = [_pair(node, pod) for node in nodes for pod in pods if pod.node == node.name]
    without = {failure.caller for failure in homeless}
    fair = [pair for pair in (*between, *within) if not without & {pair.caller, pair.callee}]
    own = {pod.name: pod.address for pod in pods}  # a node may call from any of its addresses
    with Pairs([end.name for end in (*pods, *nodes)]) as standing:
        answers = standing.ask(fair, timeout)
        found = {pair: _judged(pair, own.get(pair.caller, ""), *both) for pair, both in zip(fair, answers, strict=True)}
        of = {end.name: end.node or end.name for end in (*pods, *nodes)}
        second, third = (_requirement(number, pairs, found, of) for number, pairs in ((2, between), (3, within)))
    marks = {(pair.caller, pair.callee): _mark(pair, found) for pair in (*between, *within)}
    return Verdict(
        tuple(pods), tuple(nodes), (Requirement(1, *_WHAT[1], len(pods), failures=homeless), second, third), marks
    )


def _pair(caller: Endpoint, callee: Endpoint) -> Pair:
    return Pair(caller.name, callee.name, callee.address)


def _check(ends: Sequence[Endpoint]) -> None:
    what = "failed to test the requirements"
    for name, times in Counter(end.name for end in ends).items():
        if times > 1:
            raise WrongUse(f"{what}: '{name}' is given {times} times", "each pod and node is a namespace of its own")
    for end in ends:
        if ":" in end.address:
            raise WrongUse(f"{what}: '{end.name}' has {end.address}, which is IPv6", "they are tested with IPv4")


# requirement 1


def _homeless(pods: Sequence[Endpoint], nodes: Sequence[Endpoint]) -> Iterator[Failure]:
    """Yield a Failure for every pod that has no address of its own."""
    state = snapshot(*(pod.name for pod in pods)) if pods else {}
    cidrs = {node.name: node.cidr for node in nodes}
    for pod in pods:
        there = [(address.local, address.ifname) for address in state[pod.name].addresses if address.ifname != "lo"]
        others = [end.name for end in (*pods, *nodes) if end.address == pod.address and end.name != pod.name]
        told = _unfit(pod, cidrs.get(pod.node, ""), there, others)
        if told:
            yield Failure("address", pod.name, "", told)


def _unfit(pod: Endpoint, cidr: str, there: list[tuple[str, str]], others: list[str]) -> str:
    """Return why this pod's address is not one of its own, or ""."""
    if not pod.address:
        return "it has no address"
    if others:
        return f"{pod.address} is {' and '.join(others)}'s as well"
    if pod.address not in [address for address, _ in there]:
        seen = ", ".join(f"{address} on {ifname}" for address, ifname in there) or "none"
        return f"{pod.address} is on no interface of it; addresses there: {seen}"
    if cidr and ipaddress.ip_address(pod.address) not in ipaddress.ip_network(cidr):
        return f"{pod.address} is not of {cidr}, the pod CIDR of {pod.node}"
    return ""


# requirements 2 and 3


def _judged(pair: Pair, source: str, tcp: Answer, ping: Answer) -> Failure | None:
    """Return the failure of this pair, or None. `source`: whom the called side should see, "" for anybody."""
    said = {"TCP": _wrong(pair, source, tcp), "ping": _wrong(pair, source, ping)}
    failed = {name: told for name, told in said.items() if told is not None}
    if not failed:
        return None
    by_sentence: dict[str, list[str]] = {}
    for name, (_, sentence) in failed.items():
        by_sentence.setdefault(sentence, []).append(name)
    observed = "; ".join(f"{sentence} ({' and '.join(names)})" for sentence, names in by_sentence.items())
    kind, _ = next(iter(failed.values()))
    return Failure(kind, pair.caller, pair.callee, observed, by=next(iter(failed)))


def _wrong(pair: Pair, source: str, answer: Answer) -> tuple[Kind, str] | None:
    if answer.by and answer.by != pair.callee:
        return "rewritten", f"{answer.by} was reached, not {pair.callee}"
    if source and answer.seen not in ("", source):
        return "rewritten", f"{pair.callee} saw {answer.seen}, not {source}"
    if answer.called not in ("", pair.address):
        return "rewritten", f"{pair.callee} was called at {answer.called}, not at {pair.address}"
    if answer.ok:
        return None
    # Whether an ICMP error comes back is chance, since the kernel limits their rate: what it says is left to a trace.
    return "lost", "no answer" if answer.sent else f"not sent, {answer.error}"


def _requirement(
    number: int, pairs: Sequence[Pair], found: Mapping[Pair, Failure | None], of: Mapping[str, str]
) -> Requirement:
    """Return what was found of these pairs, the counterexamples that were followed first. `of`: everybody's node."""
    tested = [pair for pair in pairs if pair in found]
    failed = [pair for pair in tested if found[pair] is not None]
    chosen = _different(failed, found, of)
    order = [*chosen, *(pair for pair in failed if pair not in chosen)]
    failures = tuple(
        _followed(pair, failure) if pair in chosen else failure for pair in order if (failure := found[pair])
    )
    return Requirement(number, *_WHAT[number], len(tested), len(pairs) - len(tested), failures)


def _different(failed: Sequence[Pair], found: Mapping[Pair, Failure | None], of: Mapping[str, str]) -> list[Pair]:
    """Return at most TRACES of the pairs: between different nodes, as far as there are such."""
    first: dict[tuple[object, ...], Pair] = {}
    for pair in failed:
        failure = found[pair]
        first.setdefault((failure and failure.kind, of[pair.caller], of[pair.callee]), pair)
    return list(first.values())[:TRACES]


def _followed(pair: Pair, failure: Failure) -> Failure:
    try:
        seen = trace(pair.address, pair.caller, tcp=PORT if failure.by == "TCP" else None)
    except LabkitError as error:
        return replace(failure, reason=f"not followed: {error.message}")
    return replace(failure, reason=_reason(seen, failure.kind), trace=seen)


def _reason(seen: Trace, kind: Kind) -> str:
    if kind == "lost" and seen.cause is not None:
        return _lost(seen, seen.cause)
    rules = [
        f"{hop.namespace} rewrote it: {one.text}"
        for hop in seen.request
        for one in hop.decided_by
        if one.kind == "firewall" and _TRANSLATES.search(one.text)
    ]
    if rules:
        return "; then ".join(rules)
    for hop in seen.request:
        changes = [change.text for change in hop.changed if change.field in ("src", "dst")]
        if changes:
            return f"rewritten between {hop.namespace} and the hop before: {changes[0]}"
    return "a packet sent later, to follow it, arrived as it should"


def _lost(seen: Trace, cause: Cause) -> str:
    """Return why it was lost; where it had gone astray, also which route led it there."""
    lost = cause.sentence if cause.leg == "request" else f"its answer was lost: {cause.sentence}"
    if cause.kind not in ("no_route", "forwarding_off", "unknown"):
        return lost
    way = [hop for hop in (seen.request if cause.leg == "request" else seen.answer) if hop.namespace != cause.namespace]
    routes = [(hop.namespace, one.text) for hop in way for one in hop.decided_by if one.kind == "route"]
    return f"{lost}; {routes[-1][0]} had sent it there, by its route {routes[-1][1]}" if len(routes) > 1 else lost


def _mark(pair: Pair, found: Mapping[Pair, Failure | None]) -> str:
    if pair not in found:
        return "untested"
    failure = found[pair]
    return failure.kind if failure else "ok"
