"""Which networks and containers are made by both, Docker and the model? Docker's own commands, as data."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SCENARIOS", "Scenario"]

IMAGE = "labkit/busybox"


@dataclass(frozen=True)
class Scenario:
    """Commands for a Docker that has nothing yet. `options` are its daemon's, `containers` those that are left.

    `{run}` stands for `run --detach --name`."""

    name: str
    commands: tuple[str, ...]
    containers: tuple[str, ...] = ("web",)
    options: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """The commands as Docker's command line takes them, without the word docker."""
        return tuple(tuple(command.split()) for command in self.commands)


def _run(name: str, options: str = "") -> str:
    return f"run --detach --name {name} {options} {IMAGE}".replace("  ", " ")


_ONE, _TWO = ("web",), ("web", "client")

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("nothing", (), ()),
        Scenario("default-bridge", (_run("web"), _run("client")), _TWO),
        Scenario("publish", (_run("web", "--publish 8080:80"),)),
        Scenario("publish-on-an-address", (_run("web", "--publish 127.0.0.1:8081:80"),)),
        Scenario("publish-udp", (_run("web", "--publish 5353:53/udp"),)),
        Scenario(
            "publish-two", (_run("web", "--publish 8080:80 --publish 8443:443"), _run("client", "-p 81:80")), _TWO
        ),
        Scenario(
            "user-network",
            ("network create red", _run("web", "--network red --network-alias db"), _run("client", "--network red")),
            _TWO,
        ),
        Scenario(
            "subnet",
            (
                "network create --subnet 10.7.0.0/24 --ip-range 10.7.0.128/25 --gateway 10.7.0.1 red",
                _run("web", "--network red --ip 10.7.0.9"),
                _run("client", "--network red"),
            ),
            _TWO,
        ),
        Scenario(
            "isolation",
            (
                "network create red",
                "network create blue",
                _run("web", "--network red --publish 8080:80"),
                _run("client", "--network blue"),
            ),
            _TWO,
        ),
        Scenario("no-icc", (_run("web", "--publish 8080:80"), _run("client")), _TWO, ("--icc=false",)),
        Scenario(
            "no-icc-network",
            (
                "network create --opt com.docker.network.bridge.enable_icc=false red",
                _run("web", "--network red --publish 8080:80"),
            ),
        ),
        Scenario("internal", ("network create --internal red", _run("web", "--network red")), _ONE),
        Scenario("host", (_run("web", "--network host"),)),
        Scenario("none", (_run("web", "--network none"),)),
        Scenario("container", (_run("web", "--publish 8080:80"), _run("client", "--network container:web")), _TWO),
        Scenario("hairpin", (_run("web", "--publish 8080:80"),), _ONE, ("--userland-proxy=false",)),
        Scenario(
            "two-networks",
            (
                "network create red",
                "network create blue",
                _run("web", "--network red --publish 8080:80"),
                "network connect blue web",
            ),
        ),
        Scenario(
            "stopped",
            ("network create red", _run("web", "--network red --publish 8080:80"), "stop --time 0 web"),
            (),
        ),
        Scenario(
            "removed",
            (
                "network create red",
                _run("web", "--network red --publish 8080:80"),
                _run("client", "--publish 8081:80"),
                "rm --force web client",
                "network rm red",
            ),
            (),
        ),
        Scenario(
            "again",
            (
                "network create red",
                "network rm red",
                "network create blue",
                _run("client", "--network blue"),
                "rm --force client",
                _run("web", "--network blue"),
            ),
        ),
    )
}
