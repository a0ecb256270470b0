"""How much can be captured: labkit, tcpdump and scapy's sniff, side by side on one veth, under the same flood.

Run it in a lab machine: labkit run python benchmarks/capture.py [ROUNDS]. Each round, in turn: a flood from
another process for about 2 seconds; what each handed over, for each second until the last frame was there. labkit
is counted twice: captured (all frames in memory, none dissected, as tcpdump -w does) and until each is a Frame.
Further: how soon a capture is ready; whether 50,000 frames a second pass without loss up to the bound, and what comes
beyond it is counted; how long the live view takes over 5,000 frames. Wanted: captured at least 40 times scapy; ready
within 1 ms; nothing lost or uncounted. Medians and ratios are printed, and as JSON on the last line.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

from labkit.net import namespace
from labkit.packets import capture
from labkit.packets.inside import inside

BLAST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "blast.py")
SIZE = 100


def flood(frames: int, rate: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, BLAST, "red", "eth0", str(frames), str(SIZE), str(rate)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def seconds_of(sender: subprocess.Popen[str]) -> float:
    printed, _ = sender.communicate()
    return float(printed.split()[1])


def by_labkit() -> dict[str, float]:
    seen = capture("blue/eth0", limit=1_000_000, bytes=1 << 30).start()
    time.sleep(0.05)
    took = seconds_of(flood(300_000))
    begin = time.perf_counter()
    recorder = seen._recorder
    assert recorder is not None
    recorder.settle()
    until_captured = time.perf_counter() - begin
    captured = sum(source.count for source in recorder.sources)
    count = len(seen)
    until_frames = time.perf_counter() - begin
    seen.stop()
    return {
        "labkit, captured": captured / (took + until_captured),
        "labkit, as Frames": count / (took + until_frames),
        "labkit, dropped": seen.dropped,
    }


def by_tcpdump() -> dict[str, float]:
    command = ["ip", "netns", "exec", "blue", "tcpdump", "-n", "-i", "eth0", "-w", "/dev/null"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump:
        assert tcpdump.stderr is not None
        while "listening" not in (line := tcpdump.stderr.readline()):
            if not line:
                return {}
        took = seconds_of(flood(300_000))
        tcpdump.terminate()
        captured = next(int(line.split()[0]) for line in tcpdump.stderr if "captured" in line)
    return {"tcpdump -w": captured / took}


def by_scapy() -> dict[str, float]:
    from scapy.sendrecv import AsyncSniffer

    def opened() -> AsyncSniffer:
        sniffer = AsyncSniffer(iface="eth0")
        sniffer.start()
        time.sleep(0.3)  # it is deaf at first
        return sniffer

    import scapy.layers.inet  # noqa: F401 - what scapy dissects with

    sniffer = inside("blue", opened)
    sender = flood(100_000, 50_000)
    seconds_of(sender)
    begin = time.perf_counter()
    results = sniffer.stop()
    return {"scapy sniff": len(results) / (2.0 + time.perf_counter() - begin)}


def ready() -> dict[str, float]:
    times = []
    for _ in range(50):
        seen = capture("blue/eth0")
        begin = time.perf_counter()
        seen.start()
        times.append((time.perf_counter() - begin) * 1000)
        seen.stop()
    return {"ready, ms": statistics.median(times)}


def at_50000() -> dict[str, float]:
    with capture("blue/eth0", limit=200_000) as seen:
        time.sleep(0.05)
        seconds_of(flood(100_000, 50_000))
    with capture("blue/eth0", limit=60_000) as bounded:
        time.sleep(0.05)
        seconds_of(flood(100_000, 50_000))
    return {
        "missing of 100,000 at 50,000 a second": max(0, 100_000 - len(seen)) + seen.dropped,
        "uncounted beyond a bound of 60,000": max(60_000 - len(bounded), abs(100_000 - len(bounded) - bounded.dropped)),
    }


def by_view() -> dict[str, float]:
    """What a learner waits for who types a filter over 5,000 frames, in the kernel."""
    from labkit.live.capture import capture_view

    with capture("blue/eth0") as seen:
        seconds_of(flood(5_000, 50_000))
    view = capture_view(seen)
    found = {}
    for what, words in (("words", "udp 10.0.0.3:4001"), ("a tcpdump filter", "udp port 4001")):
        begin = time.perf_counter()
        view._rows({"filter": words, "first": 0, "count": 80})
        found[f"view of 5,000 frames, {what}, ms"] = (time.perf_counter() - begin) * 1000
    return found


def main(rounds: int) -> None:
    for name in ("red", "blue"):
        namespace.add(name)
    script = """
    ip link add eth0 netns red type veth peer name eth0 netns blue
    ip -n red link set eth0 up; ip -n blue link set eth0 up; ip -n red link; ip -n blue link
    """
    subprocess.run(["sh", "-ec", script], check=True, stdout=subprocess.DEVNULL)
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for measure in (by_labkit, by_tcpdump, by_scapy, ready, at_50000, by_view):
            for what, number in measure().items():
                found.setdefault(what, []).append(number)
    medians = {what: statistics.median(numbers) for what, numbers in found.items()}
    scapy = medians["scapy sniff"]
    for what, median in medians.items():
        compared = f"{median / scapy:8.1f} times scapy" if "ready" not in what and median > 1000 else ""
        print(f"{what:40} {median:12,.2f} {compared}")
    print(json.dumps({"medians": medians, "captured_to_scapy": medians["labkit, captured"] / scapy}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
