"""How long do the kernels `labkit` and `labkit-uml` take to their first reply, beside a plain ipykernel?

    .venv/bin/python benchmarks/kernel_start.py [ROUNDS]

All are started in turn, the first of each round changing, on the same Python. Printed: the medians and their ratios,
wanted to be at most 1.1 and 6; then what labkit run true takes, beside labkit --version.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from jupyter_client.manager import KernelManager

from labkit.machine import kernelspec


def first_reply(name: str) -> float:
    """Return the seconds from starting kernel `name` to its first reply to a cell."""
    started = time.perf_counter()
    manager = KernelManager(kernel_name=name)
    manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute("1", reply=True, timeout=60)
    seconds = time.perf_counter() - started
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return seconds


def command(*words: str) -> float:
    """Return the seconds that a labkit command takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "labkit.cli", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    seconds: dict[str, list[float]] = {"plain": [], "labkit": [], "labkit-uml": []}
    with tempfile.TemporaryDirectory() as prefix:
        folder = kernelspec.install(prefix)
        plain = os.path.join(folder, "plain")
        os.makedirs(plain)
        with open(os.path.join(plain, "kernel.json"), "w", encoding="utf-8") as file:
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            json.dump({"argv": argv, "display_name": "plain", "language": "python"}, file)
        os.environ["JUPYTER_PATH"] = os.path.join(prefix, "share", "jupyter")
        for number in range(rounds + 1):
            names = list(seconds)
            for name in [*names[number % 3 :], *names[: number % 3]]:
                value = first_reply(name)
                if number:  # the first round warms the file cache
                    seconds[name].append(value)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"kernel start to first reply, median of {rounds}: plain ipykernel {median['plain']:.3f} s")
    for name, wanted in (("labkit", 1.1), ("labkit-uml", 6)):
        print(f"{name} {median[name]:.3f} s: ratio {median[name] / median['plain']:.2f} (wanted: at most {wanted})")
    run = statistics.median(command("run", "true") for _ in range(rounds))
    version = statistics.median(command("--version") for _ in range(rounds))
    print(f"labkit run true {run * 1000:.0f} ms, labkit --version {version * 1000:.0f} ms")


if __name__ == "__main__":
    main()
