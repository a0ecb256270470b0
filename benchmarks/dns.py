"""The embedded DNS: queries a second that it answers to one container, and none lost.

    labkit run .venv/bin/python benchmarks/dns.py [SECONDS]

Fifty containers on five networks are known. A container asks at 127.0.0.11, through the rules of nat there: as fast as
answers come, with 32 queries on their way; then the same with a new socket for each query, as programs do; then 1,000
queries a second for a while. Every answer is compared. Wanted: 1,000 a second, none lost.
"""

from __future__ import annotations

import json
import select
import socket
import statistics
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dnslib import DNSRecord

from labkit.docker.dns import ADDRESS, Endpoint, Resolver
from labkit.net import link, namespace

NETWORKS, CONTAINERS = 5, 50
WINDOW = 32
ENDPOINTS = [
    Endpoint(f"net{n % NETWORKS}", f"c{n}", f"172.{18 + n % NETWORKS}.0.{n + 2}", ("all", f"{n:012x}"))
    for n in range(CONTAINERS)
]
SEEN = [endpoint for endpoint in ENDPOINTS if endpoint.network == "net0"]  # what c0 may ask for
QUERIES = [DNSRecord.question(endpoint.container).pack()[2:] for endpoint in SEEN]
ADDRESSES = [socket.inet_aton(endpoint.address) for endpoint in SEEN]


@contextmanager
def serving() -> Iterator[None]:
    namespace.add("c0")
    link.set_up("lo", namespace="c0")
    resolver = Resolver()
    try:
        resolver.serve("c0")
        resolver.update(ENDPOINTS)
        yield
    finally:
        resolver.close()
        namespace.delete("c0")


def new_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 2, 0))
    sock.connect((ADDRESS, 53))
    return sock


def ask(sock: socket.socket, number: int) -> None:
    sock.send((number & 0xFFFF).to_bytes(2, "big") + QUERIES[number % len(QUERIES)])


def check(message: bytes) -> int:
    """Return the number of the query that was answered; its last bytes are the address that was asked for."""
    number = int.from_bytes(message[:2], "big")
    assert ADDRESSES.count(message[-4:]) == 1
    return number


def at_most(seconds: float) -> dict[str, float]:
    """As fast as answers come, from one socket."""
    sent = answered = 0
    waiting: dict[int, bytes] = {}
    with new_socket() as sock:
        begin = time.perf_counter()
        while time.perf_counter() < begin + seconds or waiting:
            while len(waiting) < WINDOW and time.perf_counter() < begin + seconds:
                waiting[sent & 0xFFFF] = ADDRESSES[sent % len(QUERIES)]
                ask(sock, sent)
                sent += 1
            message = sock.recv(512)
            assert waiting.pop(check(message)) == message[-4:]
            answered += 1
        return {"sent": sent, "answered": answered, "a_second": answered / (time.perf_counter() - begin)}


def one_by_one(seconds: float) -> dict[str, float]:
    """A new socket for each query."""
    times = []
    begin = time.perf_counter()
    while time.perf_counter() < begin + seconds:
        start = time.perf_counter()
        with new_socket() as sock:
            ask(sock, len(times))
            assert sock.recv(512)[-4:] == ADDRESSES[len(times) % len(QUERIES)]
        times.append(time.perf_counter() - start)
    return {
        "sent": len(times),
        "answered": len(times),
        "a_second": len(times) / (time.perf_counter() - begin),
        "median_ms": statistics.median(times) * 1000,
    }


def paced(seconds: float, rate: int = 1000) -> dict[str, float]:
    """`rate` queries a second, whether answers come or not."""
    sent = 0
    asked: dict[int, float] = {}
    times = []
    with new_socket() as sock:
        begin = time.perf_counter()
        while asked or sent < seconds * rate:
            now = time.perf_counter()
            if now > begin + seconds + 2:  # what has not come by now is lost
                break
            while sent < seconds * rate and now >= begin + sent / rate:
                asked[sent & 0xFFFF] = time.perf_counter()
                ask(sock, sent)
                sent += 1
            if select.select([sock], [], [], max(0.0, begin + sent / rate - time.perf_counter()))[0]:
                times.append(time.perf_counter() - asked.pop(check(sock.recv(512))))
    return {
        "sent": sent,
        "answered": len(times),
        "a_second": len(times) / seconds,
        "median_ms": statistics.median(times) * 1000,
        "slowest_ms": max(times) * 1000,
    }


def main(seconds: float) -> None:
    with serving():
        namespace.inside("c0", lambda: at_most(0.2))  # the process has started
        ways = (("as fast as answers come", at_most), ("a new socket each", one_by_one), ("1,000 a second", paced))
        found = {name: namespace.inside("c0", lambda way=way: way(seconds)) for name, way in ways}  # type: ignore[misc]
    for name, numbers in found.items():
        lost = numbers["sent"] - numbers["answered"]
        rest = "".join(f", {key.replace('_', ' ')} {value:.2f}" for key, value in numbers.items() if "_ms" in key)
        print(f"{name:24} {numbers['a_second']:7.0f} answered a second of {numbers['sent']}, {lost} lost{rest}")
    print(json.dumps(found))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
