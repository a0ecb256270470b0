"""What does a trace cost beside the ping that it follows?

    labkit run .venv/bin/python benchmarks/trace.py [--rounds 21]

A pod on each of two nodes, the nodes on the host's bridge, VXLAN between them: the ping crosses three machines.
Prints the median of the ping, of labkit.trace of the same ping, and the bound: 10 times the ping plus 150 ms.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from collections.abc import Callable

from labkit.packets import ping
from labkit.tracing import trace

NETWORK = """
ip link add br0 type bridge; ip link set br0 up
for i in 1 2; do
  ip netns add node$i; ip netns add pod$i; ip -n node$i link set lo up; ip -n pod$i link set lo up
  ip link add v-node$i type veth peer name eth0 netns node$i; ip link set v-node$i master br0 up
  ip -n node$i link set eth0 up; ip -n node$i address add 192.168.0.1$i/24 dev eth0
  ip link add v-pod netns node$i type veth peer name eth0 netns pod$i
  ip -n node$i link set v-pod up; ip -n pod$i link set eth0 up
  ip -n pod$i address add 10.244.$i.2/24 dev eth0; ip -n node$i address add 10.244.$i.1/24 dev v-pod
  ip -n pod$i route add default via 10.244.$i.1; ip netns exec node$i sysctl -qw net.ipv4.ip_forward=1
  ip -n node$i link add flannel.1 address 02:00:00:00:0f:0$i type vxlan id 1 dev eth0 local 192.168.0.1$i dstport 8472
  ip -n node$i address add 10.244.$i.0/32 dev flannel.1; ip -n node$i link set flannel.1 up
  ip netns exec node$i iptables -A FORWARD -s 10.244.0.0/16 -j ACCEPT
done
for i in 1 2; do
  j=$((3-i))
  ip -n node$i neighbour add 10.244.$j.0 lladdr 02:00:00:00:0f:0$j dev flannel.1 nud permanent
  bridge -n node$i fdb add 02:00:00:00:0f:0$j dev flannel.1 dst 192.168.0.1$j self permanent
  ip -n node$i route add 10.244.$j.0/24 via 10.244.$j.0 dev flannel.1 onlink
done
"""


def timed(action: Callable[[], object]) -> float:
    """Return how many milliseconds `action` takes."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    """Build, measure both in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    subprocess.run(["sh", "-ec", NETWORK], check=True)
    one = trace("10.244.2.2", "pod1")
    assert one.answered, one
    pings, traces = [], []
    for _ in range(rounds):
        pings.append(timed(lambda: ping("pod1", "10.244.2.2")))
        traces.append(timed(lambda: trace("10.244.2.2", "pod1")))
    followed, cost = statistics.median(pings), statistics.median(traces)
    print(f"ping {followed:.2f} ms; trace {cost:.1f} ms, {len(one)} hops, slowest {max(traces):.1f} ms")
    print(f"bound {10 * followed + 150:.1f} ms: {cost / (10 * followed + 150):.2f} of it")


main()
