"""Mininet builds N hosts on one Linux bridge, one pings another, and all is taken down; prints the seconds it took.

    python3 benchmarks/with_mininet.py N

Needs mininet, bridge-utils and net-tools. Started by benchmarks/build.py --beside mininet, in a lab machine."""

import sys
import time

from mininet.net import Mininet  # type: ignore[import-not-found]
from mininet.nodelib import LinuxBridge  # type: ignore[import-not-found]
from mininet.topo import SingleSwitchTopo  # type: ignore[import-not-found]

start = time.perf_counter()
net = Mininet(topo=SingleSwitchTopo(k=int(sys.argv[1])), switch=LinuxBridge, controller=None, ipBase="10.0.0.0/16")
net.start()
pinged = net["h1"].cmd("ping -c 1 -W 5 10.0.0.2")
net.stop()
print(time.perf_counter() - start)
sys.exit(0 if "1 received" in pinged else "h1 does not reach h2: " + pinged)
