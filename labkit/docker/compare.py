"""Is what the model builds what Docker builds? The same commands to both, and the kernel's tables side by side."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from labkit.docker import daemon as daemons
from labkit.docker.reading import Tables, read
from labkit.docker.scenarios import SCENARIOS, Scenario
from labkit.errors import NotFound
from labkit.lab.run import run
from labkit.net import namespace as namespaces

__all__ = ["Recording", "live", "recorded", "scenario", "write"]

RECORDED = os.path.join(os.path.dirname(__file__), "recorded")
_HOST = "docker.host"


@dataclass(frozen=True)
class Recording:
    """What a real Docker made of a scenario, and which version of it."""

    docker: str
    tables: Tables


def scenario(name: str) -> Scenario:
    """Return the scenario called `name`. Raises NotFound, naming all."""
    if name not in SCENARIOS:
        raise NotFound(f"failed to find scenario '{name}'", f"scenarios: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def recorded(name: str) -> Recording:
    """Return what Docker made of a scenario when it was recorded. Raises NotFound."""
    with open(os.path.join(RECORDED, f"{scenario(name).name}.json"), encoding="utf-8") as file:
        data = json.load(file)
    return Recording(data["docker"], data["tables"])


def live(name: str) -> Recording:
    """Return what a real Docker makes of a scenario now, in a namespace of its own that is gone afterwards.

    Raises NotFound, Unavailable, CommandNotInstalled, Refused."""
    wanted = scenario(name)
    with _real(wanted.options) as daemon:
        for words in wanted.words:
            daemon.docker(*words)
        with _named(daemon, wanted.containers) as containers:
            return Recording(daemon.version, read(daemon.namespace, containers, _bridges(daemon)))


def write(name: str, recording: Recording) -> None:
    """Keep a recording in the repository."""
    os.makedirs(RECORDED, exist_ok=True)
    data = {"docker": recording.docker, "commands": scenario(name).commands, "options": scenario(name).options}
    with open(os.path.join(RECORDED, f"{name}.json"), "w", encoding="utf-8") as file:
        json.dump({**data, "tables": recording.tables}, file, indent=1)
        file.write("\n")


@contextmanager
def _real(options: tuple[str, ...]) -> Iterator[daemons.Daemon]:
    namespaces.add(_HOST)
    run(_HOST, "ip link set lo up")
    try:
        daemon = daemons.start(_HOST, *options)
        try:
            yield daemon
        finally:
            daemon.stop()
    finally:
        namespaces.delete(_HOST)


@contextmanager
def _named(daemon: daemons.Daemon, containers: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Within the block the containers' namespaces have names: container -> name."""
    names = {container: f"docker.{container}" for container in containers}
    try:
        for container, name in names.items():
            os.symlink(f"/proc/{daemon.pid(container)}/ns/net", namespaces.path(name))
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
