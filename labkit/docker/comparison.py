"""Is what stands here what Docker builds? Its tables beside the kernel's here, line by line.

Docker's tables are a recording from the repository, so that any machine can compare, or come from a real daemon at
once. What stands here was made by the model (labkit.docker) or by hand: the kernel does not know, and is what is asked.
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import SequenceMatcher

from labkit.docker import daemon as daemons
from labkit.docker.reading import KINDS, Tables, read
from labkit.docker.scenarios import SCENARIOS, Scenario
from labkit.errors import NotFound
from labkit.lab.run import run
from labkit.net import namespace as namespaces
from labkit.state.read import snapshot

__all__ = [
    "EXPLAINED",
    "Comparison",
    "Line",
    "Recording",
    "compare",
    "differences",
    "live",
    "recorded",
    "scenario",
    "write",
]

RECORDED = os.path.join(os.path.dirname(__file__), "recorded")
_HOST = "docker.host"


@dataclass(frozen=True)
class Explained:
    """Lines that may differ, and why: those of a kind that match `pattern`. `lacking`: only where one side has no such
    setting at all, not where it has another value."""

    kind: str
    pattern: str
    reason: str
    lacking: bool = False


EXPLAINED = (
    Explained(
        "sysctl",
        r"net\.ipv4\.ping_group_range = ",
        "Docker lets every group ping without a raw socket; an ordinary user's lab machine has only root's group",
    ),
    Explained("sysctl", r"net\.ipv6\.", "there only where the kernel has IPv6", lacking=True),
    Explained("sysctl", r"net\.bridge\.", "there only where the kernel has br_netfilter", lacking=True),
)


@dataclass(frozen=True)
class Recording:
    """What a real Docker made of a scenario, and which version of it. `kept`: in the repository, not made just now."""

    docker: str
    tables: Tables
    kept: bool = False


@dataclass(frozen=True)
class Line:
    """A line that only Docker has ("-") or that is only here ("+"). `reason`: "" where nothing explains it."""

    sign: str
    place: str
    kind: str
    text: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.sign} {self.place} {self.kind}: {self.text}"


@dataclass(frozen=True, repr=False)
class Comparison:
    """What is equal and what differs: truthy when every line is equal or explained. It shows itself."""

    scenario: str
    docker: str
    kept: bool
    equal: Counter[str]
    lines: tuple[Line, ...]

    @property
    def unexplained(self) -> tuple[Line, ...]:
        """The lines that differ and should not."""
        return tuple(line for line in self.lines if not line.reason)

    def __bool__(self) -> bool:
        return not self.unexplained and sum(self.equal.values()) > 0

    def __repr__(self) -> str:
        return "\n".join(text for text, _ in self._told())

    def _repr_html_(self) -> str:
        red = '<span style="color: #c00">{}</span>'
        return "<pre>" + "\n".join((red if bad else "{}").format(html.escape(t)) for t, bad in self._told()) + "</pre>"

    def _told(self) -> Iterator[tuple[str, bool]]:
        """Yield the lines to show, and whether each is a difference that nothing explains."""
        verdict = "equal or explained" if self else f"{len(self.unexplained)} lines differ"
        yield (
            f"{self.scenario}, beside Docker {self.docker} ({'recorded' if self.kept else 'running here'}): {verdict}",
            False,
        )
        kinds = ", ".join(f"{kind} {self.equal[kind]}" for kind in KINDS if self.equal[kind])
        yield f"{sum(self.equal.values())} lines equal: {kinds}", False
        for line in self.unexplained:
            yield str(line), True
        for reason in dict.fromkeys(line.reason for line in self.lines if line.reason):
            yield f"explained: {reason}", False
            yield from ((f"  {line}", False) for line in self.lines if line.reason == reason)


def scenario(name: str) -> Scenario:
    """Return the scenario called `name`. Raises NotFound, naming all."""
    if name not in SCENARIOS:
        raise NotFound(f"failed to find scenario '{name}'", f"scenarios: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def compare(
    name: str, docker: Recording | None = None, *, host: str = "host", besides: Iterable[str] = ()
) -> Comparison:
    """Return how what stands in this lab machine differs from what Docker makes of a scenario.

    `host`: the namespace that plays the host; containers are namespaces with the scenario's names, and a bridge is its
    network's by its address. `docker`: what Docker made (see live), by default the recording. `besides`: links of the
    host that are none of Docker's business. Raises NotFound."""
    docker = docker or recorded(name)
    there = namespaces.names()
    containers = {container: container for container in scenario(name).containers if container in there}
    here = read(host, containers, _bridges_here(host, docker.tables), besides)
    equal, lines = differences(docker.tables, here)
    return Comparison(name, docker.docker, docker.kept, equal, lines)


def differences(real: Tables, here: Tables) -> tuple[Counter[str], tuple[Line, ...]]:
    """Return how many lines of each kind are equal, and the lines that are not, in the tables' order."""
    equal: Counter[str] = Counter()
    lines: list[Line] = []
    for place in [*real, *(place for place in here if place not in real)]:
        for kind in KINDS:
            old, new = real.get(place, {}).get(kind, []), here.get(place, {}).get(kind, [])
            for tag, first, last, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
                if tag == "equal":
                    equal[kind] += last - first
                    continue
                lines += [_explained("-", place, kind, text, new) for text in old[first:last]]
                lines += [_explained("+", place, kind, text, old) for text in new[start:end]]
    return equal, tuple(lines)


def _explained(sign: str, place: str, kind: str, text: str, other: list[str]) -> Line:
    """Return a line, and why it differs from the `other` side's."""
    setting = text.partition("= ")[0]
    lacking = not any(line.startswith(setting) for line in other)
    reasons = (
        known.reason
        for known in EXPLAINED
        if known.kind == kind and re.search(known.pattern, text) and (lacking or not known.lacking)
    )
    return Line(sign, place, kind, text, next(reasons, ""))


def recorded(name: str) -> Recording:
    """Return what Docker made of a scenario when it was recorded. Raises NotFound."""
    with open(os.path.join(RECORDED, f"{scenario(name).name}.json"), encoding="utf-8") as file:
        data = json.load(file)
    return Recording(data["docker"], data["tables"], kept=True)


def live(name: str) -> Recording:
    """Return what a real Docker makes of a scenario now, in a namespace of its own that is gone afterwards.

    Each time it is a fresh daemon: an old one remembers which subnets it gave away.
    Raises NotFound, Unavailable, CommandNotInstalled, Refused."""
    with _real(scenario(name).options) as daemon:
        for words in scenario(name).words:
            daemon.docker(*words)
        with _named(daemon, scenario(name).containers) as containers:
            return Recording(daemon.version, read(daemon.namespace, containers, _bridges(daemon)))


@contextmanager
def _real(options: tuple[str, ...]) -> Iterator[daemons.Daemon]:
    namespaces.add(_HOST)
    try:
        run(_HOST, "ip link set lo up")
        daemon = daemons.start(_HOST, *options)
        try:
            yield daemon
        finally:
            daemon.stop()
    finally:
        namespaces.delete(_HOST)


def write(name: str, recording: Recording) -> None:
    """Keep a recording in the repository."""
    os.makedirs(RECORDED, exist_ok=True)
    data = {"docker": recording.docker, "commands": scenario(name).commands, "options": scenario(name).options}
    with open(os.path.join(RECORDED, f"{name}.json"), "w", encoding="utf-8") as file:
        json.dump({**data, "tables": recording.tables}, file, indent=1)
        file.write("\n")


def _bridges_here(host: str, real: Tables) -> dict[str, str]:
    """Return network -> bridge, for bridges here that have the address of one of Docker's."""
    known = {line.split()[0]: line.split()[-1] for line in real["host"]["address"]}
    state = snapshot(host)[host]
    bridges = {link.ifname for link in state.links if link.kind == "bridge"}
    return {
        known[address.text].removeprefix("br-"): address.ifname
        for address in state.addresses
        if address.text in known and address.ifname in bridges
    }


@contextmanager
def _named(daemon: daemons.Daemon, containers: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Within the block the containers' namespaces have names: container -> name."""
    names = {container: f"docker.{container}" for container in containers}
    try:
        for container, name in names.items():
            daemon.attach(container, name)
        yield names
    finally:
        for name in names.values():
            with suppress(FileNotFoundError):
                os.unlink(namespaces.path(name))


def _bridges(daemon: daemons.Daemon) -> dict[str, str]:
    """Return network -> bridge. A network's bridge is called by the first twelve letters of the network's Id."""
    told = daemon.docker("network", "ls", "--no-trunc", "--filter", "driver=bridge", "--format", "{{.ID}} {{.Name}}")
    found = [line.split() for line in told.splitlines()]
    return {name: "docker0" if name == "bridge" else f"br-{number[:12]}" for number, name in found}


if __name__ == "__main__":  # labkit run python -m labkit.docker.comparison [SCENARIO...]: record them anew, as root
    for recorded_now in sys.argv[1:] or SCENARIOS:
        write(recorded_now, live(recorded_now))
