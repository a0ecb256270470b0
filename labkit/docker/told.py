"""Told: how does Docker list its containers and networks, and what does `docker inspect` say?"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from labkit.docker.containers import Container
from labkit.docker.networks import Network

__all__ = ["Commands", "Table", "inspected", "inspected_network", "listed", "listed_networks"]


class Commands(list[str]):
    """Shell commands, which show themselves one a line."""

    def __repr__(self) -> str:
        return "\n".join(self)


class Table(list[dict[str, str]]):
    """Rows by column, which show themselves as a table."""

    columns: tuple[str, ...] = ()

    def __repr__(self) -> str:
        rows = [self.columns, *(tuple(row.values()) for row in self)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(self.columns))]
        return "\n".join(
            "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(dict(zip(columns, row, strict=True)) for row in rows)
    table.columns = columns
    return table


def listed(containers: Iterable[Container]) -> Table:
    """Return the containers as `docker ps` lists them, the newest first."""
    rows = [
        (one.id, one.told, _status(one), ", ".join(str(port) for port in one.ports), one.name) for one in containers
    ]
    return _table(("CONTAINER ID", "COMMAND", "STATUS", "PORTS", "NAMES"), reversed(rows))


def listed_networks(networks: Iterable[Network]) -> Table:
    """Return the networks as `docker network ls` lists them, by name."""
    rows = [(one.id, one.name, one.driver, "local") for one in sorted(networks, key=lambda one: one.name)]
    return _table(("NETWORK ID", "NAME", "DRIVER", "SCOPE"), rows)


def _status(one: Container) -> str:
    return "Up" if one.running else "Created" if one.status is None else f"Exited ({one.status})"


def inspected(one: Container) -> dict[str, Any]:
    """Return a container as `docker inspect` tells it, as far as the model knows it."""
    ports: dict[str, Any] = {f"{port.port}/{port.protocol}": [] for port in one.ports}
    for port in one.ports:
        ports[f"{port.port}/{port.protocol}"].append({"HostIp": port.host_ip, "HostPort": str(port.host_port)})
    return {
        "Id": one.id,
        "Name": f"/{one.name}",
        "State": {"Running": one.running, "Pid": one.process.pid if one.process else 0},
        "Config": {"Cmd": shlex.split(one.command) if isinstance(one.command, str) else one.command},
        "HostConfig": {"NetworkMode": "default" if one.mode == "bridge" else one.mode},
        "NetworkSettings": {
            "Ports": ports,
            "Networks": {
                name: {
                    "Aliases": list(endpoint.aliases) if endpoint.network.has_names else None,
                    "Gateway": str(endpoint.network.addresses.gateway),
                    "IPAddress": str(endpoint.address),
                    "IPPrefixLen": endpoint.network.subnet.prefixlen,
                    "MacAddress": endpoint.mac,
                    "NetworkID": endpoint.network.id,
                }
                for name, endpoint in one.endpoints.items()
            },
        },
    }


def inspected_network(network: Network, containers: Mapping[str, Container]) -> dict[str, Any]:
    """Return a network as `docker network inspect` tells it, as far as the model knows it."""
    config = []
    if network.pool:
        config = [{"Subnet": str(network.subnet), "Gateway": str(network.pool.gateway)}]
    return {
        "Name": network.name,
        "Id": network.id,
        "Driver": network.driver,
        "IPAM": {"Config": config},
        "Internal": network.options.internal,
        "Containers": {
            containers[name].id: {
                "Name": name,
                "MacAddress": containers[name].endpoints[network.name].mac,
                "IPv4Address": f"{address}/{network.subnet.prefixlen}",
            }
            for name, address in network.members.items()
        },
    }
