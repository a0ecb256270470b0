"""The common checks, one function each. All take the options of Check: points, within, after, control, hints, name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from labkit.check.form import Check
from labkit.check.look import ip_command

if TYPE_CHECKING:
    from labkit.check.look import Look

__all__ = [
    "answered",
    "connects",
    "does_not_connect",
    "does_not_reach",
    "has_address",
    "has_link",
    "has_no_link",
    "has_route",
    "has_sysctl",
    "namespace_exists",
    "reaches",
]

PATIENCE = 1.0  # seconds that something which should work is given to start working


class Options(TypedDict, total=False):
    """What every builder takes. `name` is derived from the arguments unless given."""

    name: str
    points: int
    within: float
    after: Sequence[str]
    control: Check
    hints: Sequence[str]
    look_at: str


def _check(name: str, given: Options, **fields: Any) -> Check:
    return Check(**{"name": name.lower(), **fields, **given})


# ---- behaviour


def reaches(source: str, to: str, *, ping: dict[str, Any] | None = None, **options: Unpack[Options]) -> Check:
    """A ping from namespace `source` to `to` (an address, or a namespace) is answered. ping: options of labkit.ping."""
    return _check(
        f"{source}-reaches-{to}",
        options,
        evidence=lambda look: {"ping": look.ping(source, to, **(ping or {}))},
        verdict=lambda ping: ping.answered,
        passed=f"{source} reaches {to}",
        failed=f"{source} does not reach {to}: {{ping}}",
        look_at=f"{ip_command(source, 'address')}; {ip_command(source, 'route')}; a capture on the way",
        within=PATIENCE,
    )


def does_not_reach(source: str, to: str, *, ping: dict[str, Any] | None = None, **options: Unpack[Options]) -> Check:
    """A ping from `source` to `to` is NOT answered; needs control=reaches(...) or after=[...]."""
    return _check(
        f"{source}-does-not-reach-{to}",
        options,
        evidence=lambda look: {"ping": look.ping(source, to, **(ping or {}))},
        verdict=lambda ping: not ping.answered,
        passed=f"{source} does not reach {to}, as it should be",
        failed=f"{source} reaches {to}, and it should not: {{ping}}",
        look_at=f"{ip_command(source, 'route')}; a capture on the way",
        must_not=True,
    )


def connects(source: str, to: str, port: int, *, serve: bool = False, **options: Unpack[Options]) -> Check:
    """A TCP connection from `source` to `to` is accepted; with serve=True by a server that the judge starts there."""
    return _check(
        f"{source}-connects-to-{to}:{port}",
        options,
        evidence=lambda look: {"connection": look.connect(source, to, port, serve=serve)},
        verdict=lambda connection: connection.ok,
        passed=f"{source} connects to {to}, port {port}",
        failed=f"{source} does not connect to {to}, port {port}: {{connection}}",
        look_at=f"{ip_command(source, 'route')}; ss -ltn where the server should be",
        within=PATIENCE,
    )


def does_not_connect(source: str, to: str, port: int, *, serve: bool = False, **options: Unpack[Options]) -> Check:
    """A TCP connection from `source` to `to` is NOT accepted; needs control=connects(...) or after=[...]."""
    return _check(
        f"{source}-does-not-connect-to-{to}:{port}",
        options,
        evidence=lambda look: {"connection": look.connect(source, to, port, serve=serve)},
        verdict=lambda connection: not connection.ok,
        passed=f"{source} does not connect to {to}, port {port}, as it should be",
        failed=f"{source} connects to {to}, port {port}, and it should not: {{connection}}",
        look_at="ss -ltn in every namespace",
        must_not=True,
    )


# ---- state


def namespace_exists(namespace: str, **options: Unpack[Options]) -> Check:
    """There is a namespace with this name."""
    return _check(
        f"namespace-{namespace}",
        options,
        evidence=lambda look: {"names": _listed(look.namespaces())},
        verdict=lambda names: namespace in names.split(", "),
        passed=f"there is a namespace called {namespace}",
        failed=f"there is no namespace called {namespace}; there are: {{names}}",
        look_at="ip netns list",
    )


def has_link(namespace: str, ifname: str, **expected: Any) -> Check:
    """The link is there, and the facts given hold: is_up=True, has_carrier=True, mtu=1400, kind="veth", master="br0",
    address="02:..." (its MAC), peer=("host", "vethred"). All else are options."""
    facts = {key: expected.pop(key) for key in list(expected) if key not in Options.__annotations__}

    def evidence(look: Look) -> dict[str, Any]:
        link = look.link(namespace, ifname)
        wrong = [_fact(key, getattr(link, key)) for key, value in facts.items() if getattr(link, key) != value]
        return {"wrong": "; ".join(wrong)}

    return _check(
        f"{namespace}-{ifname}",
        Options(**expected),  # type: ignore[typeddict-item]  # Check refuses what it does not know
        evidence=evidence,
        verdict=lambda wrong: not wrong,
        passed=f"{ifname} in {namespace} is as it should be",
        failed=f"{ifname} in {namespace}: {{wrong}}",
        look_at=ip_command(namespace, f"link show {ifname}"),
    )


def has_no_link(namespace: str, ifname: str, **options: Unpack[Options]) -> Check:
    """The namespace is there and has no such link; needs control=has_link(...) or after=[...]."""
    return _check(
        f"{namespace}-has-no-{ifname}",
        options,
        evidence=lambda look: {"links": _listed(look.links(namespace))},
        verdict=lambda links: ifname not in links.split(", "),
        passed=f"there is no {ifname} in {namespace}, as it should be",
        failed=f"{ifname} is in {namespace}, and it should not be; links there: {{links}}",
        look_at=ip_command(namespace, "link"),
        must_not=True,
    )


def has_address(namespace: str, ifname: str, address: str, **options: Unpack[Options]) -> Check:
    """The link has this address, as in "10.0.0.2/24"."""
    return _check(
        f"{namespace}-{ifname}-address",
        options,
        evidence=lambda look: {"addresses": _listed(look.addresses(namespace, ifname))},
        verdict=lambda addresses: address in addresses.split(", "),
        passed=f"{ifname} in {namespace} has the address {address}",
        failed=f"the addresses of {ifname} in {namespace} are: {{addresses}}",
        look_at=ip_command(namespace, f"address show {ifname}"),
    )


def has_route(
    namespace: str, dst: str, *, via: str | None = None, dev: str | None = None, **options: Unpack[Options]
) -> Check:
    """The main table has a route to `dst` ("default", "10.0.1.0/24"), by `via` and `dev` where they are given."""

    def evidence(look: Look) -> dict[str, Any]:
        routes = look.routes(namespace)
        there = any(route.dst == dst and via in (None, route.gateway) and dev in (None, route.dev) for route in routes)
        return {"there": there, "routes": _listed(route.text for route in routes)}

    return _check(
        f"{namespace}-route-{dst}",
        options,
        evidence=evidence,
        verdict=lambda there, routes: there,  # noqa: ARG005  the sentence wants it
        passed=f"{namespace} has the route to {dst}",
        failed=f"the route to {dst} that is asked for is not among {namespace}'s routes: {{routes}}",
        look_at=ip_command(namespace, "route"),
    )


def has_sysctl(namespace: str, key: str, value: str, **options: Unpack[Options]) -> Check:
    """The sysctl has this value in this namespace."""
    return _check(
        f"{namespace}-{key.replace('_', '-')}",
        options,
        evidence=lambda look: {"now": look.sysctl(namespace, key)},
        verdict=lambda now: now == value,
        passed=f"{key} in {namespace} is as it should be",
        failed=f"{key} in {namespace} is {{now}}",
        look_at=f"sysctl {key}" if namespace == "host" else f"ip netns exec {namespace} sysctl {key}",
    )


# ---- answers


def answered(answer: str, truth: Any | Callable[[Look], Any], **options: Unpack[Options]) -> Check:
    """The learner's labkit.answer(answer, ...) is right: equal to `truth`, a value, or what truth(look) finds in the
    kernel now. Lists are compared without order, texts, in lists too, without case and outer blanks. No message holds
    `truth`; give look_at=, the command or view that shows it."""

    def evidence(look: Look) -> dict[str, Any]:
        given = look.answer(answer)
        return {"given": _shown(given), "right": _same(given, truth(look) if callable(truth) else truth)}

    return _check(
        answer.replace("_", "-"),
        options,
        evidence=evidence,
        verdict=lambda given, right: right,  # noqa: ARG005  the sentence wants it
        passed=f"your answer to '{answer}' agrees with the kernel: {{given}}",
        failed=f"your answer to '{answer}' is {{given}}, and the kernel says otherwise",
    )


def _same(given: Any, truth: Any) -> bool:
    if isinstance(truth, bool) or isinstance(given, bool):
        return given is truth
    if isinstance(truth, str) and isinstance(given, str):
        return given.strip().lower() == truth.strip().lower()
    if isinstance(truth, (int, float)) and isinstance(given, str):
        return given.strip() == str(truth)
    if isinstance(truth, (list, tuple, set, frozenset)) and isinstance(given, list):
        return sorted(map(_compared, given)) == sorted(map(_compared, truth))
    return bool(given == truth)


def _compared(value: Any) -> str:
    return _shown(value.strip().lower() if isinstance(value, str) else value)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)  # True, as it was written
    return text if len(text) <= 200 else text[:199] + "…"


def _listed(things: Any) -> str:
    return ", ".join(things) or "none"


def _fact(key: str, value: Any) -> str:
    words = {"is_up": ("it is down", "it is up"), "has_carrier": ("it has no carrier", "it has carrier")}
    if key in words and isinstance(value, bool):
        return words[key][value]
    return f"its {key} is {'none' if value is None else value if not isinstance(value, tuple) else ' / '.join(value)}"
