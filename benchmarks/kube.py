"""How long does a cluster take, beside what it cannot do without?

    labkit run -- python benchmarks/kube.py [--rounds 5] [--only native,serving,reference,growth]

In turns, in one lab machine; printed are medians and their ratios.
native: 100 pods on 3 nodes, each with one container that does nothing, from the manifest to the last pod that runs,
beside 100 containers of the plain build (benchmarks/build.py), which have no process. serving: the same with containers
that serve HTTP. reference: a cluster of 3 nodes and 30 pods wired by Debian's plugin bridge, from nothing to the last
pod that runs, beside 30 calls of that plugin alone. growth: what one pod costs, of 100 and of 1,000 on 10 nodes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from typing import Any

from build import Limit, by_labkit

from labkit import kube
from labkit.kube.cni import Runtime, parse
from labkit.net import namespace

BRIDGE = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}]},
        }
    ],
}


def pods(number: int, image: str) -> list[dict[str, Any]]:
    """N pods of one container."""
    spec = {"containers": [{"name": "c", "image": image}]}
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{n}"}, "spec": spec} for n in range(number)]


def apply(cluster: kube.Cluster, number: int, image: str = "pause") -> float:
    """Return the seconds from the manifest to the last pod that runs."""
    manifest = pods(number, image)
    start = time.perf_counter()
    cluster.apply(manifest)
    took = time.perf_counter() - start
    running = [one for one in cluster.get("pods") if one["status"]["phase"] == "Running"]
    assert len(running) == number, f"{number - len(running)} of {number} pods do not run"
    return took


def native(number: int, nodes: int, image: str = "pause") -> float:
    with kube.up(nodes=nodes) as cluster:
        return apply(cluster, number, image)


def reference(number: int) -> float:
    start = time.perf_counter()
    with kube.up(nodes=3, cni=BRIDGE) as cluster:
        apply(cluster, number)
        return time.perf_counter() - start


def calls(number: int) -> float:
    """Return the seconds that N calls of the plugin take, one after the other, on one node."""
    plugin = {**BRIDGE["plugins"][0]}  # type: ignore[dict-item]
    plugin["ipam"] = {**plugin["ipam"], "subnet": "10.244.1.0/24"}
    network = parse({**BRIDGE, "plugins": [plugin]})
    names = [f"c{place}" for place in range(number)]
    for name in ("node", *names):
        namespace.add(name)
    runtime = Runtime("node")
    start = time.perf_counter()
    for name in names:
        runtime.add(network, name, namespace=name)
    took = time.perf_counter() - start
    for name in ("node", *names):
        namespace.delete(name)
    subprocess.run(["rm", "-rf", "/run/labkit/cni"], check=True)
    return took


def beside(title: str, one: Any, other: Any, rounds: int, wanted: float | None, released: Any) -> None:
    """Print both medians and their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, took in zip((one, other), seconds, strict=True):
            took.append(work())
            released()
    ours, theirs = map(statistics.median, seconds)
    limit = f" (wanted: at most {wanted})" if wanted else ""
    print(f"{title}: {ours:.2f} s beside {theirs:.2f} s: {ours / theirs:.2f}{limit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="native,serving,reference,growth")
    options = parser.parse_args()
    limit = Limit()
    only = options.only.split(",")

    def released() -> None:
        limit.released(130)

    kube.up(nodes=1).down()  # the first of each program reads it from the disk
    by_labkit(1)
    if "native" in only:
        beside("native: 100 pods beside 100 containers", lambda: native(100, 3), lambda: by_labkit(100)[0],
               options.rounds, 2.0, released)  # fmt: skip
    if "serving" in only:
        beside("serving: 100 pods beside 100 containers", lambda: native(100, 3, "echo"), lambda: by_labkit(100)[0],
               options.rounds, None, released)  # fmt: skip
    if "reference" in only:
        beside("reference: cluster and 30 pods beside 30 calls", lambda: reference(30), lambda: calls(30),
               options.rounds, 1.5, released)  # fmt: skip
    if "growth" in only:
        beside("growth: 1,000 pods beside ten times 100, on 10 nodes", lambda: native(1000, 10),
               lambda: 10 * native(100, 10), (options.rounds + 1) // 2, 1.5, lambda: limit.released(1200))  # fmt: skip


if __name__ == "__main__":
    main()
