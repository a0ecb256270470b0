"""How long do sandboxes and containers take, next to the namespaces of a plain build?

labkit run python benchmarks/spawn.py [NUMBER] [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from labkit import lab
from labkit.kube.processes.spawner import Spawner, Wanted
from labkit.net import netlink

SETTLING = 0.1, 0.001  # seconds, and seconds a namespace: the kernel goes on releasing them


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    into.append(time.perf_counter() - start)


def rounds(spawner: Spawner, number: int, times: int) -> dict[str, list[float]]:
    """Each thing once a round, in turn, so that all see the same computer."""
    spent: dict[str, list[float]] = {
        what: [] for what in ("build", "sandboxes", "and sockets", "end", "start", "end containers")
    }
    names = [(f"pod-{index}", f"pod-{index}") for index in range(number)]
    topology = lab.Topology(*(lab.Container(name) for name, _ in names))

    def settle() -> None:
        time.sleep(SETTLING[0] + SETTLING[1] * number)

    for _ in range(times):
        with timed(spent["build"]):
            built = lab.build(topology)
        built.down()
        settle()
        with timed(spent["sandboxes"]):
            pauses = spawner.sandboxes(names)
        with timed(spent["start"]):
            wanted = [
                Wanted(name, "echo", "echo", [], [], {}, pause) for (name, _), pause in zip(names, pauses, strict=True)
            ]
            containers = [pid for pid in spawner.start_all(wanted) if isinstance(pid, int)]
        with timed(spent["end containers"]):
            spawner.end_all(containers)
        with timed(spent["end"]):
            spawner.end_all(pauses)
        settle()
        sockets: dict[str, netlink.Socket] = {}
        with timed(spent["and sockets"]):
            pauses = spawner.sandboxes(names, sockets)
        for opened in sockets.values():
            opened.close()
        spawner.end_all(pauses)
        settle()
    return spent


def main() -> None:
    number, times = (int(word) for word in (sys.argv[1:] + ["100", "5"][len(sys.argv) - 1 :]))
    start = time.perf_counter()
    with Spawner() as spawner:
        print(f"spawner started: {1000 * (time.perf_counter() - start):.0f} ms")
        for what, spent in rounds(spawner, number, times).items():
            print(
                f"{what:>15} {number}: best {1000 * min(spent):.0f} ms, median {1000 * statistics.median(spent):.0f} ms"
            )


if __name__ == "__main__":
    main()
