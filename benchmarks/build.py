"""How fast is a lab built and taken down, beside a C program that does the same?

    labkit run -- python benchmarks/build.py [--sizes 10,100,1000] [--rounds 7] [--beside mininet,ip,shell]

In turns, in one lab machine: the C program of build.c, labkit, and whoever else is asked for. Printed are medians and
their ratios to C. Each begins when the kernel has released what the one before built. Needs gcc.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from labkit import Bridge, Container, Lab, Topology, build
from labkit.net import libc

HERE = os.path.dirname(os.path.abspath(__file__))
Seconds = tuple[float, float]  # to build, to take down


def topology(number: int) -> Topology:
    """N containers on one bridge, each with eth0, an address and a default route."""
    addresses = (f"10.0.{1 + place // 250}.{1 + place % 250}/16" for place in range(number))
    containers = (Container(f"c{place}", address, "br0") for place, address in enumerate(addresses))
    return Topology(Bridge("br0", "10.0.0.1/16"), *containers)


def by_labkit(number: int) -> Seconds:
    what = topology(number)
    start = time.perf_counter()
    lab = build(what)
    built = time.perf_counter()
    lab.down()
    return built - start, time.perf_counter() - built


def by_c(number: int) -> Seconds:
    printed = subprocess.run([PROGRAM, str(number)], capture_output=True, text=True, check=True).stdout
    built, down = map(float, printed.split())
    return built, down


def by_ip(number: int) -> Seconds:
    """`ip -batch`: one process for the host, and one for each namespace."""
    what = topology(number)
    host = [line.removeprefix("ip ") for line in what.commands() if not line.startswith("ip -n ")]
    inside: dict[str, list[str]] = {name: [] for name in what.namespaces}
    for line in what.commands():
        if line.startswith("ip -n "):
            _, _, name, rest = line.split(" ", 3)
            inside[name].append(rest)
    start = time.perf_counter()
    batch([], host)
    for name, lines in inside.items():
        batch(["-n", name], lines)
    built = time.perf_counter()
    batch([], [*(f"netns delete {name}" for name in inside), "link delete br0"])
    return built - start, time.perf_counter() - built


def batch(options: list[str], lines: list[str]) -> None:
    subprocess.run(["ip", *options, "-batch", "-"], input="\n".join(lines), text=True, check=True)


def by_shell(number: int) -> Seconds:
    """The commands that a Topology shows, one process each."""
    what = topology(number)
    start = time.perf_counter()
    for line in what.commands():
        subprocess.run(line.split(), check=True)
    built = time.perf_counter()
    for name in what.namespaces:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    subprocess.run(["ip", "link", "delete", "br0"], check=True)
    return built - start, time.perf_counter() - built


class Limit:
    """How many namespaces may exist: a limit that shows when the kernel has released what was taken down.

    It is set to what there is at the start and one more: a new one is refused as long as a dying one counts. Only in a
    user namespace of our own; where the limit is the computer's, it is left alone and waits are guesses."""

    PATH = "/proc/sys/user/max_net_namespaces"

    def __init__(self) -> None:
        with open("/proc/self/uid_map", encoding="ascii") as uids:
            self.ours = uids.read().split() != ["0", "0", "4294967295"]
        self.lowest = 1
        if self.ours:
            with open(self.PATH, encoding="ascii") as file:
                self.usual = file.read()
            while not self._allows(self.lowest) and self.lowest < 100:
                self.lowest += 1

    def released(self, number: int) -> None:
        """Wait until the kernel has released N namespaces."""
        if not self.ours:
            time.sleep(0.2 + 0.003 * number)
            return
        end = time.monotonic() + 60
        while not self._allows(self.lowest):
            time.sleep(0.002)
            if time.monotonic() > end:
                sys.exit("the kernel has not released its namespaces in a minute")

    def _allows(self, limit: int) -> bool:
        self._set(str(limit))
        child = os.fork()
        if child == 0:
            with contextlib.suppress(OSError):
                libc.unshare(libc.CLONE_NEWNET)
                os._exit(0)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        self._set(self.usual)
        return status == 0

    def _set(self, value: str) -> None:
        with open(self.PATH, "w", encoding="ascii") as file:
            file.write(value)


def first_pings(lab: Lab) -> list[float]:
    """Return, for each container, the milliseconds that its first echo request to the gateway took."""
    from labkit.packets import ping

    gateway = lab.ip("br0")
    took = []
    for name in lab.namespaces:
        start = time.perf_counter()
        answer = ping(name, gateway, timeout=2)
        took.append((time.perf_counter() - start) * 1000 if answer.answered else float("inf"))
    return took


def memory() -> int:
    """Return this process's resident memory in kB."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


def compare(number: int, rounds: int, others: dict[str, Callable[[int], Seconds]]) -> dict[str, Seconds]:
    """Build and take down in turns; print and return the medians."""
    results: dict[str, list[Seconds]] = {name: [] for name in others}
    for _ in range(rounds):
        for name, contender in others.items():
            gc.collect()
            results[name].append(contender(number))
            LIMIT.released(number)
    medians = {
        name: (statistics.median(r[0] for r in result), statistics.median(r[1] for r in result))
        for name, result in results.items()
    }
    for name, (built, down) in medians.items():
        ratios = f"build {built / medians['C'][0]:6.2f} x C, down {down / medians['C'][1]:6.2f} x C"
        print(f"N = {number:<5} {name:<8} build {built:8.4f} s, down {down:8.4f} s   {ratios}", flush=True)
    return medians


def pings(builds: int, number: int) -> None:
    """Print how long first pings take after each of many builds."""
    slowest = []
    for _ in range(builds):
        with build(topology(number)) as lab:
            slowest.append(max(first_pings(lab)))
        LIMIT.released(number)
    late = sum(ms > 10 for ms in slowest)
    print(f"first pings, {builds} builds of {number}: slowest {max(slowest):.1f} ms; {late} builds with one over 10 ms")


def everybody(number: int) -> None:
    """Print how many of very many containers reach the gateway."""
    with build(topology(number)) as lab:
        answered = sum(ms < float("inf") for ms in first_pings(lab))
    LIMIT.released(number)
    print(f"N = {number}: {answered} reach the gateway")


def flat(rounds: int, number: int) -> None:
    """Print what many builds leave behind in this process."""
    kilobytes = []
    for _ in range(rounds):
        build(topology(number)).down()
        LIMIT.released(number)
        gc.collect()
        kilobytes.append(memory())
    open_files = len(os.listdir("/proc/self/fd"))
    print(
        f"memory after builds of {number}: " + ", ".join(f"{kb}" for kb in kilobytes) + f" kB; {open_files} descriptors"
    )


def beside_mininet(number: int, rounds: int) -> None:
    """Print build, first ping and the kernel's release together, beside Mininet's with its Linux bridge."""
    ours, theirs = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        with build(topology(number)) as lab:
            if not lab.ping("c0", "c1").answered:
                sys.exit("c0 does not reach c1")
        LIMIT.released(number)
        ours.append(time.perf_counter() - start)
        command = ["/usr/bin/python3", os.path.join(HERE, "with_mininet.py"), str(number)]
        took = float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        start = time.perf_counter()
        LIMIT.released(number)
        theirs.append(took + time.perf_counter() - start)
    one, other = statistics.median(ours), statistics.median(theirs)
    print(
        f"N = {number}: build, first ping, release: labkit {one:.2f} s, Mininet {other:.2f} s, {one / other:.3f} of it"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10,100,1000", help="how many containers")
    parser.add_argument("--rounds", type=int, default=7, help="turns for each at 1,000 containers; more at fewer")
    parser.add_argument("--beside", default="", help="who else: ip, shell, mininet")
    parser.add_argument("--only", default="", help="compare, pings, everybody, memory")
    arguments = parser.parse_args()
    contenders = {"C": by_c, "labkit": by_labkit, "ip": by_ip, "shell": by_shell}
    names = ["C", "labkit", *(name for name in arguments.beside.split(",") if name in contenders)]
    wanted = arguments.only.split(",") if arguments.only else ["compare", "pings", "everybody", "memory"]
    if not LIMIT.ours:
        print("as root: waits for the kernel are guesses; as an ordinary user they are exact")
    if "compare" in wanted:
        medians = {}
        for number in map(int, arguments.sizes.split(",")):
            rounds = arguments.rounds * max(1, min(5, 1000 // number))
            medians[number] = compare(number, rounds, {name: contenders[name] for name in names})
        if {100, 1000} <= medians.keys():
            ours, theirs = (medians[1000][name][0] / medians[100][name][0] / 10 for name in ("labkit", "C"))
            print(f"growth per container from 100 to 1000: labkit {ours:.2f}, C {theirs:.2f}, {ours / theirs:.2f} x C")
    if "pings" in wanted:
        pings(100, 100)
    if "everybody" in wanted:
        everybody(1000)
    if "memory" in wanted:
        flat(8, 100)
    if "mininet" in arguments.beside:
        for number in (100, 500):
            beside_mininet(number, 3)


if __name__ == "__main__":
    if shutil.which("gcc") is None:
        sys.exit("this benchmark compiles build.c: it needs gcc")
    LIMIT = Limit()
    with tempfile.TemporaryDirectory() as folder:
        PROGRAM = os.path.join(folder, "build")
        subprocess.run(["gcc", "-O2", "-o", PROGRAM, os.path.join(HERE, "build.c")], check=True)
        main()
