"""Conformance: does a plugin keep to the specification?

A case is a function that asks one thing: its first line says what must be so, `section` where the specification says
it, `since` the version that brought it. What a plugin does not claim by VERSION is not asked of it.
Source: CNI specification 1.1.0.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from typing import Any

from labkit.errors import LabkitError
from labkit.kube.cni.bench import Bench, Subject, network_for
from labkit.kube.cni.call import Call, result_of
from labkit.kube.cni.runtime import Attachment
from labkit.kube.cni.versions import SUPPORTED, at_least
from labkit.net import address, link, route
from labkit.net import namespace as namespaces

__all__ = ["CASES", "DEVIATION", "Case", "Outcome", "counted", "run", "table", "told"]

PASSED, DEVIATION, NOT_CLAIMED, NOT_MEANT = "passed", "deviation", "not claimed", "not meant"
_TOGETHER = 6  # ADDs at once


class _Deviates(Exception):
    """The plugin does not do what the case asks."""


class _NotMeant(Exception):
    """The case is not about a plugin of this sort."""


@dataclass(frozen=True)
class Case:
    """One thing that the specification asks of a plugin."""

    body: Callable[[Bench], None]
    section: str
    since: str

    @property
    def name(self) -> str:
        """What must be so."""
        return (self.body.__doc__ or "").splitlines()[0].rstrip(".")


@dataclass(frozen=True)
class Outcome:
    """What became of one case; `said` is what was observed, or why it was not asked."""

    case: Case
    verdict: str
    said: str = ""


CASES: list[Case] = []


def _case(section: str, since: str = "0.3.0") -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    def known(body: Callable[[Bench], None]) -> Callable[[Bench], None]:
        CASES.append(Case(body, section, since))
        return body

    return known


# --- what the cases say in one word


def _must(holds: object, said: str) -> None:
    if not holds:
        raise _Deviates(said)


def _succeeds(call: Call) -> Any:
    try:
        return result_of(call)
    except LabkitError as error:
        raise _Deviates(str(error).replace("\n", "; ")) from error


def _fails(call: Call, *codes: int) -> None:
    """It failed, and said so by an error result (of one of `codes`, where the specification has one)."""
    _must(call.status is not None and call.status >= 0, "it hung or crashed")
    _must(call.status != 0, f"{call.operation} succeeded")
    answer = call.answer
    _must(isinstance(answer, dict) and isinstance(answer.get("code"), int) and answer.get("msg"),
          f"exit status {call.status}, but no error result: it printed {call.stdout.strip()[:80]!r}")  # fmt: skip
    if codes:
        _must(answer["code"] in codes, f"code {answer['code']}, not {' or '.join(map(str, codes))}: {answer['msg']}")


def _same(before: list[str], after: list[str]) -> None:
    left = [line for line in after if line not in before]
    gone = [line for line in before if line not in after]
    _must(not left, f"left behind: {'; '.join(left)}")
    _must(not gone, f"gone, and not its own: {'; '.join(gone)}")


def _makes_interface(bench: Bench) -> None:
    if bench.subject.chained or bench.subject.only_ipam or bench.subject.kind == "loopback":
        raise _NotMeant("it makes no interface")


def _gives_addresses(bench: Bench) -> None:
    if bench.subject.chained or "subnet" not in bench.subject.plugin.get("ipam", {}):
        raise _NotMeant("it gives no addresses of a subnet")


def _addresses(result: Any) -> list[str]:
    return [one["address"] for one in result.get("ips", [])]


# --- the cases


@_case("2, VERSION")
def _version_lists(bench: Bench) -> None:
    """VERSION says which versions it speaks."""
    call = bench.runtime.call(bench.subject.kind, {"CNI_COMMAND": "VERSION"}, '{"cniVersion": "1.0.0"}')
    answer = _succeeds(call) or {}
    _must(isinstance(answer.get("cniVersion"), str), "no cniVersion")
    _must(answer.get("supportedVersions"), "no supportedVersions")


@_case("5, Success")
def _result_has_its_form(bench: Bench) -> None:
    """ADD prints a result of the form that the version gives it."""
    one = bench.container("web")
    result = _succeeds(bench.call("ADD", one, bench.before(one)))
    _must(isinstance(result, dict), "it printed nothing")
    _must(result.get("cniVersion") == bench.network.version, f"cniVersion is {result.get('cniVersion')!r}")
    interfaces = result.get("interfaces", [])
    for ip in result.get("ips", []):
        ip_interface(ip["address"])
        _must("/" in ip["address"], f"address {ip['address']} has no prefix length")
        _must(("version" in ip) != at_least(bench.network.version, "1.0.0"), "an address and its version")
        _must("interface" not in ip or 0 <= ip["interface"] < len(interfaces), "ips speaks of no interface of the list")
    if bench.subject.only_ipam:
        _must(not interfaces, "an IPAM plugin's result has interfaces")
    else:
        ours = [each for each in interfaces if each["name"] == one.ifname]
        _must(ours and ours[0].get("sandbox") == one.netns, f"{one.ifname} with sandbox {one.netns} is not in the list")


@_case("5, Success")
def _speaks_every_version(bench: Bench) -> None:
    """ADD answers in the version that it is asked in, for each that it claims."""
    for version in SUPPORTED:
        if version in bench.subject.versions and not at_least(version, f"{bench.network.version}.1"):
            bench.network = network_for(bench.subject.kind, version, list(bench.network.plugins))
            one = bench.container(f"v{version}")
            result = _succeeds(bench.call("ADD", one, bench.before(one)))
            _must(result.get("cniVersion") == version, f"asked in {version}, it answers {result.get('cniVersion')!r}")


@_case("5, Success")
def _result_is_true(bench: Bench) -> None:
    """What the result says is so: the interface, its MAC, its addresses."""
    _makes_interface(bench)
    one = bench.container("web")
    result = _succeeds(bench.call("ADD", one))
    seen = _interface(one)
    _must(seen, f"there is no {one.ifname} in the container")
    for each in result.get("interfaces", []):
        if each.get("sandbox") and each.get("mac"):
            _must(seen["address"] == each["mac"], f"its MAC is {seen['address']}, not {each['mac']}")
    has = [f"{each['local']}/{each['prefixlen']}" for each in seen["addr_info"]]
    for stated in _addresses(result):
        _must(stated in has, f"it does not have {stated}, but {', '.join(has) or 'none'}")


@_case("2, ADD")
def _passes_the_result_on(bench: Bench) -> None:
    """ADD passes on what the plugins before it reported."""
    if not bench.subject.chained:
        raise _NotMeant("it comes first")
    one = bench.container("web")
    prev = bench.before(one)
    result = _succeeds(bench.call("ADD", one, prev))
    names = [each["name"] for each in result.get("interfaces", [])]
    _must(all(each["name"] in names for each in prev["interfaces"]), f"of the interfaces there are left {names}")
    _must(_addresses(result) == _addresses(prev), f"of the addresses there are left {_addresses(result)}")


@_case("2, ADD")
def _add_twice(bench: Bench) -> None:
    """A second ADD for an interface that exists is an error, and does the first no harm."""
    _makes_interface(bench)
    one = bench.container("web")
    _succeeds(bench.call("ADD", one))
    before = bench.state("web")
    _fails(bench.call("ADD", one))
    _must(_interface(one), "the first interface is gone")
    gone = [line for line in before if line not in bench.state("web")]
    _must(not gone, f"gone with it: {'; '.join(gone)}")


@_case("2, ADD")
def _add_of_another(bench: Bench) -> None:
    """An ADD by another container for an interface that exists is an error, and leaves everything as it was."""
    _makes_interface(bench)
    one = bench.container("web")
    _succeeds(bench.call("ADD", one))
    before = bench.state("web")
    _fails(bench.call("ADD", replace(one, container="other")))
    _same(before, bench.state("web"))


@_case("2, ADD")
def _two_interfaces(bench: Bench) -> None:
    """Of two interfaces of a container the second comes and goes, and the first stays as it was."""
    _makes_interface(bench)
    one = bench.container("web")
    second = replace(one, ifname="net1")
    _succeeds(bench.call("ADD", one))
    if "ipam" in bench.subject.plugin:
        bench.reconfigure(routes=[{"dst": "198.51.100.0/24"}])  # one route by both would be another question
    before = bench.state("web")
    result = _succeeds(bench.call("ADD", second))
    _must(_interface(second), "there is no net1 in the container")
    gone = [line for line in before if line not in bench.state("web")]
    _must(not gone, f"gone with the second ADD: {'; '.join(gone)}")
    _succeeds(bench.call("DEL", second, result))
    _same(before, bench.state("web"))


@_case("2, ADD")
def _add_without_namespace(bench: Bench) -> None:
    """ADD for a namespace that does not exist is an error."""
    _makes_interface(bench)
    one = bench.container("web")
    _fails(bench.call("ADD", one, environment={"CNI_NETNS": "/run/netns/no-such-namespace"}))


@_case("3, Lifecycle")
def _failed_add_then_del(bench: Bench) -> None:
    """Of an ADD that failed half-way DEL leaves nothing."""
    one, before = _half_way(bench)
    _succeeds(bench.call("DEL", one))
    _same(before, bench.state("web"))


@_case("4, Execution")
def _failed_add(bench: Bench) -> None:
    """An ADD that failed half-way has given its address back before it ends."""
    _, before = _half_way(bench)
    held = [f"reserved: {each}" for each in bench.reserved()]
    _same([line for line in before if line.startswith("reserved")], held)


def _half_way(bench: Bench) -> tuple[Attachment, list[str]]:
    """Return a container whose ADD failed at its last step, a route to a gateway that nobody reaches, and the state
    before."""
    _makes_interface(bench)
    _gives_addresses(bench)
    bench.used()
    one = bench.container("web")
    before = bench.state("web")
    bench.reconfigure(routes=[{"dst": "203.0.113.0/24", "gw": "192.0.2.99"}])
    _fails(bench.call("ADD", one))
    return one, before


@_case("2, DEL")
def _del_undoes(bench: Bench) -> None:
    """DEL takes back what ADD did."""
    bench.used()
    one = bench.container("web")
    before = bench.state("web")
    result = bench.add(one)
    _must(bench.state("web") != before or bench.subject.kind == "loopback", "ADD did nothing")
    _succeeds(bench.call("DEL", one, result))
    bench.after(one)
    _same(before, bench.state("web"))


@_case("2, DEL")
def _del_twice(bench: Bench) -> None:
    """DEL may come twice."""
    one = bench.container("web")
    result = bench.add(one)
    _succeeds(bench.call("DEL", one, result))
    _succeeds(bench.call("DEL", one, result))


@_case("2, DEL")
def _del_never_added(bench: Bench) -> None:
    """DEL of a container that never came succeeds."""
    _succeeds(bench.call("DEL", bench.container("web")))


@_case("2, DEL")
def _del_without_netns(bench: Bench) -> None:
    """DEL without CNI_NETNS succeeds, and frees the address."""
    bench.used()
    one = bench.container("web")
    before = bench.reserved()
    result = bench.add(one)
    _succeeds(bench.call("DEL", one, result, without=("CNI_NETNS",)))
    bench.after(one)
    _same(before, bench.reserved())


@_case("2, DEL")
def _del_namespace_gone(bench: Bench) -> None:
    """DEL after the namespace is gone succeeds, and leaves nothing on the node."""
    bench.used()
    before = bench.state()
    one = bench.container("web")
    result = bench.add(one)
    bench.destroy("web")
    _succeeds(bench.call("DEL", one, result))
    bench.after(one)
    _same(before, bench.state())


@_case("DEL, in 0.4.0")
def _del_without_result(bench: Bench) -> None:
    """DEL without prevResult succeeds, and leaves nothing on the node."""
    if bench.subject.chained:
        raise _NotMeant("it knows the interface from prevResult alone")
    bench.used()
    before = bench.state()
    one = bench.container("web")
    bench.add(one)
    _succeeds(bench.call("DEL", one))
    bench.after(one)
    _same(before, bench.state())


@_case("2, CHECK", "0.4.0")
def _check_is_content(bench: Bench) -> None:
    """CHECK right after ADD succeeds and prints nothing."""
    one = bench.container("web")
    call = bench.call("CHECK", one, bench.add(one))
    _succeeds(call)
    _must(not call.stdout.strip(), f"it printed {call.stdout.strip()[:80]!r}")


def _tampered(bench: Bench, tamper: Callable[[Attachment, Any], object]) -> None:
    _makes_interface(bench)
    one = bench.container("web")
    result = bench.add(one)
    _succeeds(bench.call("CHECK", one, result))  # the positive control
    tamper(one, result)
    _fails(bench.call("CHECK", one, result))


@_case("2, CHECK", "0.4.0")
def _check_sees_no_interface(bench: Bench) -> None:
    """CHECK fails when the interface is gone."""
    _tampered(bench, lambda one, _: link.delete(one.ifname, namespace=one.namespace or ""))


@_case("2, CHECK", "0.4.0")
def _check_sees_no_address(bench: Bench) -> None:
    """CHECK fails when the address is gone."""
    _tampered(
        bench, lambda one, result: address.delete(_addresses(result)[0], one.ifname, namespace=one.namespace or "")
    )


@_case("2, CHECK", "0.4.0")
def _check_sees_no_route(bench: Bench) -> None:
    """CHECK fails when a route is gone."""

    def remove(one: Attachment, result: Any) -> None:
        if not result.get("routes"):
            raise _NotMeant("its result has no routes")
        route.delete(result["routes"][0]["dst"].replace("0.0.0.0/0", "default"), namespace=one.namespace or "")

    _tampered(bench, remove)


@_case("2, CHECK", "0.4.0")
def _check_sees_link_down(bench: Bench) -> None:
    """CHECK fails when the interface is down, and the container unreachable."""
    _tampered(bench, lambda one, _: link.set_down(one.ifname, namespace=one.namespace or ""))


@_case("3, Lifecycle")
def _concurrent(bench: Bench) -> None:
    """ADDs for several containers at once succeed, with different addresses."""
    if bench.subject.chained:
        bench.used()  # of a node's first ADDs at once, one may lose a race for a chain: docs/cni-conformance.md
    ones = [bench.container(f"c{number}") for number in range(_TOGETHER)]
    prevs = [bench.before(one) for one in ones]
    with ThreadPoolExecutor(_TOGETHER) as pool:
        results = list(pool.map(lambda pair: _succeeds(bench.call("ADD", *pair)), zip(ones, prevs, strict=True)))
    given = [one for result in results for one in _addresses(result) if bench.subject.kind != "loopback"]
    _must(len(given) == len(set(given)), f"given twice: {sorted(one for one in given if given.count(one) > 1)}")


@_case("4, IPAM")
def _exhausted(bench: Bench) -> None:
    """When the range is exhausted ADD is an error, and works again after a DEL."""
    _gives_addresses(bench)
    bench.reconfigure(subnet="10.89.0.0/30")  # the gateway's address, and one more
    first, second = bench.container("first"), bench.container("second")
    _succeeds(bench.call("ADD", first))
    before = bench.state("second")
    _fails(bench.call("ADD", second))
    _succeeds(bench.call("DEL", second))
    _same(before, bench.state("second"))
    _succeeds(bench.call("DEL", first))
    _succeeds(bench.call("ADD", second))


@_case("2, GC", "1.1.0")
def _gc(bench: Bench) -> None:
    """GC frees what is no valid attachment's, and nothing else."""
    stays, leaked = bench.container("stays"), bench.container("leaked")
    bench.add(stays)
    before = bench.state("stays")
    bench.add(leaked)
    bench.destroy("leaked")
    valid = [{"containerID": stays.container, "ifname": stays.ifname}]
    call = bench.call("GC", keys={"cni.dev/valid-attachments": valid})
    _succeeds(call)
    _must(not call.stdout.strip(), f"it printed {call.stdout.strip()[:80]!r}")
    _same(before, bench.state("stays"))


@_case("2, GC", "1.1.0")
def _gc_of_nothing(bench: Bench) -> None:
    """GC before any ADD succeeds."""
    _succeeds(bench.call("GC", keys={"cni.dev/valid-attachments": []}))


@_case("2, STATUS", "1.1.0")
def _status(bench: Bench) -> None:
    """STATUS succeeds and prints nothing where an ADD would succeed."""
    call = bench.call("STATUS")
    _succeeds(call)
    _must(not call.stdout.strip(), f"it printed {call.stdout.strip()[:80]!r}")


@_case("5, Error")
def _unknown_version(bench: Bench) -> None:
    """A version that does not exist is error 1."""
    _fails(bench.call("ADD", bench.container("web"), keys={"cniVersion": "99.0.0"}), 1)


@_case("5, Error")
def _broken_json(bench: Bench) -> None:
    """A configuration that is not JSON is error 6."""
    _fails(bench.call("ADD", bench.container("web"), stdin='{"cniVersion": '), 6)


@_case("5, Error")
def _missing_variables(bench: Bench) -> None:
    """A missing CNI_CONTAINERID, CNI_NETNS or CNI_IFNAME is error 4, which names it."""
    one = bench.container("web")
    for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"):
        call = bench.call("ADD", one, without=(name,))
        _fails(call, 4)
        _must(name in json.dumps(call.answer), f"the error does not name {name}: {call.answer['msg']}")


@_case("5, Error")
def _unknown_operation(bench: Bench) -> None:
    """An operation that does not exist is error 4."""
    _fails(bench.call("FETCH", bench.container("web")), 4)


@_case("5, Error")
def _no_name(bench: Bench) -> None:
    """A configuration without a network's name is error 7."""
    one = bench.container("web")
    given = bench.runtime.configuration(bench.network, bench.subject.plugin, one)
    _fails(bench.call("ADD", one, stdin=json.dumps({key: given[key] for key in given if key != "name"})), 7)


def _interface(one: Attachment) -> Any:
    """What `ip` says of the container's interface, or None."""
    command = ["ip", "-json", "address", "show", "dev", one.ifname]
    done = namespaces.inside(
        one.namespace or "", lambda: subprocess.run(command, capture_output=True, text=True, check=False)
    )
    return next((each for each in json.loads(done.stdout or "[]") if each), None)


# --- the run


def run(subject: Subject, cases: Iterable[Case] | None = None) -> list[Outcome]:
    """Return what became of each case."""
    return [_outcome(subject, case) for case in (CASES if cases is None else cases)]


def _outcome(subject: Subject, case: Case) -> Outcome:
    if not at_least(subject.network.version, case.since):
        return Outcome(case, NOT_CLAIMED, f"it speaks up to {subject.network.version}; this came with {case.since}")
    with Bench(subject, subject.network) as bench:
        try:
            case.body(bench)
        except _NotMeant as why:
            return Outcome(case, NOT_MEANT, str(why))
        except _Deviates as why:
            return Outcome(case, DEVIATION, str(why))
        except LabkitError as error:  # the way to the case did not go
            return Outcome(case, DEVIATION, str(error).replace("\n", "; "))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            return Outcome(case, DEVIATION, f"its result cannot be read: {type(error).__name__} {error}")
    return Outcome(case, PASSED)


def told(outcomes: list[Outcome]) -> str:
    """Return a line a case, and below it what was observed."""
    lines = []
    for one in outcomes:
        lines.append(f"{one.verdict:<12} {one.case.name} (section {one.case.section})")
        if one.said:
            lines.append(f"{'':<12} {one.said}")
    return "\n".join(lines)


def counted(outcomes: list[Outcome]) -> str:
    """Return the last line: "32 cases: 27 passed, 2 deviations, 3 not claimed, 0 not meant"."""
    of = {
        verdict: sum(one.verdict == verdict for one in outcomes)
        for verdict in (PASSED, DEVIATION, NOT_CLAIMED, NOT_MEANT)
    }
    deviations = f"{of[DEVIATION]} deviation{'' if of[DEVIATION] == 1 else 's'}"
    return (
        f"{len(outcomes)} cases: {of[PASSED]} passed, {deviations}, {of[NOT_CLAIMED]} not claimed, "
        f"{of[NOT_MEANT]} not meant for it"
    )


def table(columns: dict[str, list[Outcome]]) -> str:
    """Return a Markdown table, a row a case and a column a plugin; deviations are told below it."""
    short = {PASSED: "yes", DEVIATION: "**no**", NOT_CLAIMED: "not claimed", NOT_MEANT: ""}
    lines = [f"| case | section | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 2)}"]
    for row in zip(*columns.values(), strict=True):
        verdicts = " | ".join(short[one.verdict] for one in row)
        lines.append(f"| {row[0].case.name} | {row[0].case.section} | {verdicts} |")
    lines.append("")
    for kind, outcomes in columns.items():
        lines += [f"- {kind}: {one.case.name}: {one.said}" for one in outcomes if one.verdict == DEVIATION]
    return "\n".join(lines) + "\n"
