"""A Lab and its sockets in use: from threads, in numbers, and by the rest of labkit."""

from __future__ import annotations

import os
import threading

import pytest

from labkit.lab import Bridge, Container, Topology, build
from labkit.net import link, namespace, netlink

pytestmark = pytest.mark.usefixtures("network")

PAIR = Topology(
    Bridge("br0", "10.0.0.1/24"), Container("red", "10.0.0.2/24", "br0"), Container("blue", "10.0.0.3/24", "br0")
)


def names(where: str) -> list[str]:
    return [record.attributes[3].rstrip(b"\0").decode() for record in netlink.dump(netlink.GETLINK, namespace=where)]


def test_a_lab_pings_captures_and_tells_its_state() -> None:
    with build(PAIR) as lab:
        with lab.capture("red") as seen:
            assert lab.ping("red", "blue").answered
            assert lab.ping("red", "br0").answered
            assert lab.ping("red", "10.0.0.3").answered
        assert len(seen) >= 6
        assert lab.snapshot()["red"].name == "red"
        assert set(lab._repr_mimebundle_()) == {"text/plain", "image/svg+xml"}
    assert lab._repr_mimebundle_() == {"text/plain": "Lab 'lab': 2 containers, down"}


def test_many_threads_share_a_namespaces_socket() -> None:
    with build(PAIR):
        failed: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for place in range(5):
                    link.add_bridge(f"b{number}-{place}", namespace="red")
                    assert f"b{number}-{place}" in names("red")
            except BaseException as error:  # noqa: BLE001 - told below
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert len(names("red")) == 2 + 40


def test_verbs_leave_no_descriptors_and_no_namespace_alive() -> None:
    namespace.add("red")
    link.add_bridge("b", namespace="red")
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(50):
        link.set_up("b", namespace="red")
        with pytest.raises(Exception, match="no such link"):
            link.set_up("gone", namespace="red")
        with namespace.enter("red"):
            pass
    assert sorted(os.listdir("/proc/self/fd")) == before

    link.add_veth("v", "p", peer_namespace="red")
    namespace.delete("red")
    while "v" in names("host"):  # it goes with its peer, when the kernel releases the namespace
        threading.Event().wait(0.01)


def test_an_exchange_that_was_interrupted_does_not_disturb_the_next() -> None:
    with netlink.socket_in("host") as opened:
        body = netlink.pack(netlink.LinkHeader())
        opened._socket.send(netlink._header.pack(16 + len(body), netlink.GETLINK, 0x301, 999_999, 0) + body)

        assert names("host") == ["lo"]


def test_our_link_dump_says_what_pyroute2_says() -> None:
    from pyroute2 import NetNS

    with build(PAIR):
        ours = {}
        for record in netlink.dump(netlink.GETLINK, namespace="red"):
            ours[record.header.ifindex] = (record.header.flags, record.attributes[3], record.attributes[1])
        theirs = {}

        def ask() -> None:  # in a thread of its own: facts of pyroute2
            with NetNS("red", flags=0) as opened:
                for entry in opened.get_links():
                    mac = bytes.fromhex(entry.get_attr("IFLA_ADDRESS").replace(":", ""))
                    theirs[entry["index"]] = (entry["flags"], entry.get_attr("IFLA_IFNAME").encode() + b"\0", mac)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert ours == theirs
