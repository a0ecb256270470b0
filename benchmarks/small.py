"""What small things cost: importing labkit, and drawing a hundred containers.

    .venv/bin/python benchmarks/small.py

Printed: medians of 21. Wanted: import at most 250 ms (a bare Python beside it), drawing below 100 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from labkit import Bridge, Container, Topology, see

ROUNDS = 21
HUNDRED = Topology(
    Bridge("br0", "10.0.0.1/24"), *(Container(f"c{number}", f"10.0.0.{number + 2}/24", "br0") for number in range(100))
)


def milliseconds(work: Callable[[], object]) -> float:
    """Return the median time of `work`."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def main() -> None:
    bare = milliseconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True))
    importing = milliseconds(lambda: subprocess.run([sys.executable, "-c", "import labkit"], check=True))
    print(f"python -c 'import labkit' {importing:.0f} ms, bare python {bare:.0f} ms, ratio {importing / bare:.2f}")
    print(f"a picture of 100 containers {milliseconds(lambda: see.topology_svg(HUNDRED)):.1f} ms")


if __name__ == "__main__":
    main()
