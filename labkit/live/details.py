"""What is in a namespace? Its tables, each with the command that shows the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.errors import LabkitError
from labkit.state.conntrack import conntrack
from labkit.state.firewall import ruleset
from labkit.state.records import Route
from labkit.state.snapshot import NamespaceState
from labkit.state.tables import link_facts

__all__ = ["tabs", "tabs_now"]

Tab = dict[str, str]


def tabs_now(state: NamespaceState) -> list[Tab]:
    """Return every tab of a namespace: what `state` tells, and its firewall rules and connections at this moment."""
    name = state.name
    *told, sysctls = tabs(state)
    rules = _asked(lambda: ruleset(name))
    listings = ["nft list ruleset"]
    if any(line.startswith("*") for line in rules.splitlines()):  # a table of iptables-legacy, which nft does not list
        listings += ["iptables-legacy-save", "ip6tables-legacy-save"]
    firewall = _tab("firewall", "; ".join(_run(name, listing) for listing in listings), rules)
    connections = _tab("conntrack", _run(name, "conntrack -L"), _asked(lambda: _lines(conntrack(name))))
    return [*told, firewall, connections, sysctls]


def tabs(state: NamespaceState) -> list[Tab]:
    """Return the tabs that a snapshot of a namespace can fill: all but firewall rules and connections."""
    name = state.name
    of = "" if name == "host" else f" -n {name}"
    return [
        _tab("links", f"ip{of} address", "\n".join(_links(state))),
        _tab("routes", "; ".join(_route_commands(state, of)), _lines(_routes(state))),
        _tab("neighbours", f"ip{of} neighbour", _lines(entry for entry in state.neighbours if entry.state != "NOARP")),
        _tab("FDB", f"bridge{of} fdb", _lines(state.told_fdb)),
        _tab("rules", f"ip{of} rule", _lines(rule for rule in state.rules if rule.family == "inet")),
        _tab("sysctls", _run(name, f"sysctl {' '.join(_sysctls(state))}"), _settings(state)),
    ]


def _tab(name: str, command: str, text: str) -> Tab:
    return {"name": name, "command": command, "text": text}


def _asked(question: Callable[[], str]) -> str:
    """Return the answer, or why there is none."""
    try:
        return question()
    except LabkitError as error:
        return str(error)


def _run(namespace: str, command: str) -> str:
    return command if namespace == "host" else f"ip netns exec {namespace} {command}"


def _lines(entries: Any) -> str:
    return "\n".join(entry.text for entry in entries)


def _links(state: NamespaceState) -> list[str]:
    lines = []
    for link in state.links:
        if link.is_fallback:
            continue
        kind = link.kind or link.link_type
        mac = f" {link.address}" if link.link_type != "loopback" else ""
        facts = "".join(f", {fact}" for fact in link_facts(link))
        lines.append(f"{link.ifname}: {kind}, {link.state}, mtu {link.mtu}{mac}{facts}")
        lines += [f"    {address.text}" for address in state.addresses_of(link.ifname)]
    return lines


def _routes(state: NamespaceState) -> list[Route]:
    return [route for route in state.routes if route.table != "local"]


def _route_commands(state: NamespaceState, of: str) -> list[str]:
    routes = _routes(state)
    commands = [f"ip{of} route"]
    if any(route.family == "inet6" for route in routes):
        commands.append(f"ip{of} -6 route")
    others = dict.fromkeys(route.table for route in routes if route.table != "main")
    return commands + [f"ip{of} route show table {table}" for table in others]


def _sysctls(state: NamespaceState) -> list[str]:
    return list(state.sysctls)


def _settings(state: NamespaceState) -> str:
    return "\n".join(f"{key} = {value}" for key, value in state.sysctls.items())
