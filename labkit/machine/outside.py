"""What is the computer's own network like, now? Read only, in ip's words, and the kernel is made to load nothing.

A reading is a flat table: ("route", "default via 10.0.0.1 dev eth0 table main") -> details. Flat, so that two readings
are compared line by line, and so that a line can be told to belong to a link.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from contextlib import suppress
from typing import Any

from labkit.errors import CommandNotInstalled

__all__ = ["Reading", "link_of", "read"]

Reading = dict[tuple[str, str], str]

# they count or age by themselves
_TICKING = re.compile(r"valid_life_time|preferred_life_time|expires|age|used|cache|error|stats.*|.*_xstats|.*_timer")
_TICKING_SYSCTLS = re.compile(r"net/(netfilter/nf_conntrack_count|ipv4/tcp_fastopen_key|.*/(flush|stable_secret))$")


def read(token: str) -> Reading:
    """Return the computer's links, addresses, routes, rules, namespaces, sysctls of the network, and kernel modules.

    `token`: namespaces of processes are listed where a process carries it in its environment (see prove)."""
    reading: Reading = {}
    for link in _ip("-d", "link"):
        reading["link", link["ifname"]] = _text({key: value for key, value in link.items() if key != "ifindex"})
    for link in _ip("addr"):
        for address in link.get("addr_info", []):
            reading["address", f"{address.get('local')}/{address.get('prefixlen')} dev {link['ifname']}"] = _text(
                address
            )
    for family in ("-4", "-6"):
        for route in _ip(family, "route", "show", "table", "all"):
            reading["route", _route(route)] = _text(route)
        for rule in _ip(family, "rule"):
            reading["rule", f"{family} {_text(rule)}"] = ""
    with suppress(OSError):
        for name in os.listdir("/run/netns"):
            with suppress(OSError):
                reading["namespace", name] = f"net:[{os.stat(f'/run/netns/{name}').st_ino}]"
    for namespace in _namespaces_of(token):
        reading["namespace", namespace] = "held by a process that the command left behind"
    for path, value in _sysctls():
        reading["sysctl", path.removeprefix("/proc/sys/").replace("/", ".")] = value
    with suppress(OSError), open("/proc/modules", encoding="ascii") as modules:
        for line in modules:
            reading["module", line.split()[0]] = "loaded"
    return reading


def link_of(key: tuple[str, str]) -> str | None:
    """Return the link that a line of a reading belongs to, if it belongs to one."""
    kind, text = key
    if kind == "link":
        return text
    if kind in ("address", "route"):
        found = re.search(r" dev (\S+)", text)
        return found[1] if found else None
    found = re.match(r"net\.ipv[46]\.(?:conf|neigh)\.(.+)\.[^.]+$", text)
    return found[1] if kind == "sysctl" and found else None


def _route(route: dict[str, Any]) -> str:
    words = [str(route.get("type", "")), str(route.get("dst", "?"))]
    for key, word in (("gateway", "via"), ("dev", "dev"), ("table", "table"), ("metric", "metric")):
        if key in route:
            words += [word, str(route[key])]
    return " ".join(word for word in words if word)


def _ip(*words: str) -> list[dict[str, Any]]:
    try:
        result = subprocess.run(["ip", "-j", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CommandNotInstalled(
            "failed to read the computer's network: the command 'ip' is not installed", "sudo apt install iproute2"
        ) from error
    with suppress(ValueError):
        return [record for record in json.loads(result.stdout or "[]") if record]
    return []


def _text(record: dict[str, Any]) -> str:
    return json.dumps(_steady(record), sort_keys=True)


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(inner) for key, inner in value.items() if not _TICKING.fullmatch(key)}
    return value


def _sysctls() -> list[tuple[str, str]]:
    values = []
    for folder, _, names in os.walk("/proc/sys/net"):
        for name in names:
            path = f"{folder}/{name}"
            if not _TICKING_SYSCTLS.search(path):
                with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
                    values.append((path, file.read().strip()))
    return values


def _namespaces_of(token: str) -> set[str]:
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                with open(f"/proc/{entry}/environ", "rb") as environment:
                    if token.encode() in environment.read():
                        found.add(os.readlink(f"/proc/{entry}/ns/net"))
    return found
