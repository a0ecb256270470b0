"""What a live view costs while nothing changes, and how soon it shows what did: 40 namespaces on a bridge.

    labkit run .venv/bin/python benchmarks/live.py

Wanted: below 2 % of one core while nothing changes; from `ip link set ... down` to the new picture below 200 ms.
The first is the processor time of this process, over 10 seconds, with the view shown. The second is from the start of
the `ip` command until the view's new state is there for the page, 40 times, and with 400 namespaces 10 times.
"""

from __future__ import annotations

import statistics
import subprocess
import threading
import time

from labkit import Bridge, Container, Topology, build, view
from labkit.live import View

IDLE = 10.0  # seconds


def containers(number: int) -> Topology:
    names = [Container(f"c{i}", f"10.0.{i // 250}.{i % 250 + 2}/16", "br0") for i in range(number)]
    return Topology(Bridge("br0", "10.0.0.1/16"), *names)


def shown() -> View:
    """Return the view of everything, as if a page showed it."""
    live = view()
    live._handle_custom_msg({"ask": "shown", "id": "benchmark"}, [])
    return live


def idle_share() -> float:
    """Return the share of one core that this process takes while nothing changes."""
    processor, clock = time.process_time(), time.monotonic()
    time.sleep(IDLE)
    return (time.process_time() - processor) / (time.monotonic() - clock)


def milliseconds_until_seen(live: View, name: str, state: str) -> float:
    """Return the time from `ip link set` to the state in which the view says so."""
    seen = threading.Event()
    words = {"down": "went down", "up": "came up"}[state]

    def look(change: dict[str, dict[str, str]]) -> None:
        if f"{name}: eth0 {words}" in change["new"]["said"]:
            seen.set()

    live.observe(look, "state")
    start = time.perf_counter()
    subprocess.run(["ip", "-n", name, "link", "set", "eth0", state], check=True)
    assert seen.wait(10), f"{name} {state} was not seen"
    took = (time.perf_counter() - start) * 1000
    live.unobserve(look, "state")
    return took


def quiet(live: View) -> None:
    """Wait until the view has had nothing to draw for a second."""
    while True:
        before = live.state
        time.sleep(1.0)
        if live.state is before:
            return


def times(live: View, number: int, rounds: int) -> list[float]:
    found = []
    for round_ in range(rounds):
        name = f"c{round_ % number}"
        found.append(milliseconds_until_seen(live, name, "down"))
        quiet_for = time.monotonic() + 0.3  # so that each is the first change after some rest
        subprocess.run(["ip", "-n", name, "link", "set", "eth0", "up"], check=True)
        time.sleep(max(0.0, quiet_for - time.monotonic()))
    return found


def main() -> None:
    for number, rounds in ((40, 40), (400, 10)):
        with build(containers(number)):
            live = shown()
            quiet(live)
            print(f"{number} namespaces, nothing changes: {idle_share() * 100:.2f} % of one core")
            took = times(live, number, rounds)
            print(f"{number} namespaces, ip link set down seen: median {statistics.median(took):.0f} ms, "
                  f"slowest {max(took):.0f} ms of {rounds}")  # fmt: skip
            live._handle_custom_msg({"ask": "hidden", "id": "benchmark"}, [])


if __name__ == "__main__":
    main()
