"""One probe's round trip: ping, raw Python, labkit and scapy's sr1, side by side on one veth.

Run it in a lab machine: labkit run python benchmarks/probe.py [ROUNDS]. Each round measures all four in turn; medians
and ratios to ping are printed, and as JSON on the last line. Wanted: labkit at most 3 times ping.
"""

from __future__ import annotations

import json
import re
import socket
import statistics
import struct
import subprocess
import sys
import time

from labkit.net import namespace
from labkit.packets import ping
from labkit.packets.icmp import checksum
from labkit.packets.inside import inside

PROBES = 20  # of each kind, each round


def by_ping() -> list[float]:
    command = ["ip", "netns", "exec", "red", "ping", "-n", "-c", str(PROBES), "-i", "0.002", "10.0.0.3"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(number) for number in re.findall(r"time=([\d.]+) ms", printed)]


def by_raw_python() -> list[float]:
    sock = inside("red", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    times = []
    with sock:
        for sequence in range(1, PROBES + 1):
            time.sleep(0.002)
            body = b"\x08\0\0\0" + struct.pack(">HH", 99, sequence) + bytes(56)
            request = body[:2] + checksum(body) + body[4:]
            begin = time.perf_counter()
            sock.sendto(request, ("10.0.0.3", 0))
            while sock.recv(200)[20:22] != b"\0\0":
                pass
            times.append((time.perf_counter() - begin) * 1000)
    return times


def by_labkit() -> list[float]:
    return [rtt * 1000 for rtt in ping("red", "10.0.0.3", count=PROBES, interval=0.002).rtts]


def by_whole_labkit_call() -> list[float]:
    times = []
    for _ in range(PROBES):
        begin = time.perf_counter()
        assert ping("red", "10.0.0.3")
        times.append((time.perf_counter() - begin) * 1000)
    return times


def by_scapy() -> list[float]:
    from scapy.config import conf
    from scapy.layers.inet import ICMP, IP
    from scapy.layers.l2 import Ether
    from scapy.sendrecv import srp1

    conf.verb = 0
    packet = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") / IP(src="10.0.0.2", dst="10.0.0.3") / ICMP()

    def probes() -> list[float]:
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            assert srp1(packet, iface="eth0", timeout=2) is not None
            times.append((time.perf_counter() - begin) * 1000)
        return times

    return inside("red", probes)


WAYS = {
    "ping": by_ping,
    "raw Python": by_raw_python,
    "labkit": by_labkit,
    "labkit, whole call": by_whole_labkit_call,
    "scapy srp1": by_scapy,
}


def main(rounds: int) -> None:
    for name in ("red", "blue"):
        namespace.add(name)
    script = """
    ip link add eth0 netns red address 02:00:00:00:00:0a type veth peer name eth0 netns blue address 02:00:00:00:00:0b
    ip -n red address add 10.0.0.2/24 dev eth0; ip -n blue address add 10.0.0.3/24 dev eth0
    ip -n red link set eth0 up; ip -n blue link set eth0 up; ip -n red link; ip -n blue link
    """
    subprocess.run(["sh", "-ec", script], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, measure in WAYS.items():
            found[way] += measure()
    medians = {way: statistics.median(times) for way, times in found.items()}
    for way, median in medians.items():
        print(f"{way:20} {median:8.3f} ms   {median / medians['ping']:6.2f} times ping")
    print(json.dumps({"medians_ms": medians, "labkit_to_ping": medians["labkit"] / medians["ping"]}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
