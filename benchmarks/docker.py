"""How fast does the model build what a real Docker builds? 50 containers with published ports, on 5 networks.

    sudo .venv/bin/labkit run -- .venv/bin/python benchmarks/docker.py [--containers 50] [--rounds 3]

Wanted: at most 1/20 of the real daemon's time for the same networks and containers, the commands of both given one
after the other, side by side in one lab machine. Where no daemon can run (no docker.io, not root) only the model is
measured, and a sentence says so.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from labkit.docker import Docker, daemon
from labkit.lab import Container, Topology, build

NETWORKS = 5
Step = Callable[[], object]


def model(number: int) -> float:
    """Return the seconds that the model takes."""
    with Docker() as docker:
        start = time.perf_counter()
        for place in range(NETWORKS):
            docker.network_create(f"net{place}")
        for place in range(number):
            docker.run(f"box{place}", network=f"net{place % NETWORKS}", publish=f"{10000 + place}:80")
        return time.perf_counter() - start


def real(number: int) -> float:
    """Return the seconds that a real daemon takes."""
    with build(Topology(Container("computer")), "real"):
        there = daemon.start("computer")
        try:
            start = time.perf_counter()
            for place in range(NETWORKS):
                there.docker("network", "create", f"net{place}")
            for place in range(number):
                words = ["--name", f"box{place}", "--network", f"net{place % NETWORKS}", "-p", f"{10000 + place}:80"]
                there.docker("run", "--detach", *words, daemon.IMAGE)
            return time.perf_counter() - start
        finally:
            there.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    number = options.containers
    why = daemon.missing()
    models, reals = [], []
    for _ in range(options.rounds):
        models.append(model(number))
        if not why:
            reals.append(real(number))
    ours = statistics.median(models)
    print(f"{number} containers on {NETWORKS} networks: the model {ours:.2f} s ({1000 * ours / number:.1f} ms each)")
    if why:
        print(f"beside nobody: {why}")
        return
    theirs = statistics.median(reals)
    print(f"a real Docker {theirs:.2f} s ({1000 * theirs / number:.0f} ms each): the model takes 1/{theirs / ours:.0f}")


if __name__ == "__main__":
    main()
