"""Docker's command line, for the model: `docker network create red` is `docker.network_create("red")`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from labkit.docker.engine import Docker
from labkit.docker.scenarios import Scenario
from labkit.errors import WrongUse

__all__ = ["build", "do"]

_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {  # of docker network create: --opt NAME=VALUE
    "com.docker.network.bridge.enable_icc": ("icc", lambda value: value == "true"),
    "com.docker.network.bridge.enable_ip_masquerade": ("masquerade", lambda value: value == "true"),
    "com.docker.network.bridge.name": ("bridge", str),
    "com.docker.network.bridge.host_binding_ipv4": ("host_binding", str),
    "com.docker.network.driver.mtu": ("mtu", int),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise WrongUse(f"failed to read '{self.prog}': {message}")


def build(scenario: Scenario, host: str = "host") -> Docker:
    """The model has made the scenario in a fresh Docker, which is returned. Raises what its verbs raise."""
    docker = Docker(
        host,
        userland_proxy="--userland-proxy=false" not in scenario.options,
        icc="--icc=false" not in scenario.options,
    )
    for words in scenario.words:
        do(docker, words)
    return docker


def do(docker: Docker, words: Sequence[str]) -> None:
    """The model has done `docker WORDS`. Raises WrongUse for what it does not know, and what its verbs raise."""
    verb, rest = (" ".join(words[:2]), words[2:]) if words[:1] == ("network",) else (words[0], words[1:])
    if verb not in _VERBS:
        raise WrongUse(f"failed to run 'docker {' '.join(words)}': the model does not know it")
    _VERBS[verb](docker, list(rest))


def _run(docker: Docker, words: list[str]) -> None:
    parser = _Parser("docker run", add_help=False)
    parser.add_argument("-d", "--detach", action="store_true")
    parser.add_argument("--name", required=True)
    parser.add_argument("-p", "--publish", action="append", default=[])
    parser.add_argument("--network", default="bridge")
    parser.add_argument("--network-alias", action="append", default=[], dest="aliases")
    parser.add_argument("--ip")
    parser.add_argument("image")
    found = vars(parser.parse_args(words))
    for ignored in ("detach", "image"):
        del found[ignored]
    docker.run(found.pop("name"), **found)


def _network_create(docker: Docker, words: list[str]) -> None:
    parser = _Parser("docker network create", add_help=False)
    parser.add_argument("--subnet")
    parser.add_argument("--gateway")
    parser.add_argument("--ip-range")
    parser.add_argument("--internal", action="store_true")
    parser.add_argument("-o", "--opt", action="append", default=[])
    parser.add_argument("name")
    found: dict[str, Any] = {key: value for key, value in vars(parser.parse_args(words)).items() if value}
    for option in found.pop("opt", []):
        key, _, value = option.partition("=")
        if key not in _OPTIONS:
            raise WrongUse(
                f"failed to read 'docker network create': no option '{key}'", f"options: {', '.join(_OPTIONS)}"
            )
        name, convert = _OPTIONS[key]
        found[name] = convert(value)
    docker.network_create(found.pop("name"), **found)


def _stop(docker: Docker, words: list[str]) -> None:
    parser = _Parser("docker stop", add_help=False)
    parser.add_argument("-t", "--time")
    parser.add_argument("names", nargs="+")
    for name in parser.parse_args(words).names:
        docker.stop(name)


def _rm(docker: Docker, words: list[str]) -> None:
    parser = _Parser("docker rm", add_help=False)
    parser.add_argument("-f", "--force", action="store_true")
    parser.add_argument("names", nargs="+")
    found = parser.parse_args(words)
    for name in found.names:
        docker.rm(name, force=found.force)


_VERBS: dict[str, Callable[[Docker, list[str]], object]] = {
    "run": _run,
    "stop": _stop,
    "rm": _rm,
    "network create": _network_create,
    "network rm": lambda docker, words: [docker.network_rm(name) for name in words],
    "network connect": lambda docker, words: docker.network_connect(*words),
    "network disconnect": lambda docker, words: docker.network_disconnect(*words),
}
