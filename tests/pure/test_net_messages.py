"""Our bytes say to pyroute2's decoder what they are meant to say."""

from __future__ import annotations

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from labkit.net import address, link, neighbour, netlink, route
from labkit.net.operation import Operation, Session


def decoded(operation: Operation, kind: type) -> object:
    session = Session()
    session.ifindexes.update(
        {(operation.namespace, name): number for number, name in enumerate(("lo", "eth0", "br0"), 1)}
    )
    session.descriptors["red"] = 42
    (request,) = operation.messages(session)
    data = netlink._header.pack(16 + len(request.body), request.kind, request.flags, 1, 0) + request.body
    message = kind(data)
    message.decode()
    return message


def test_a_veth() -> None:
    operation = link.add_veth.plan(
        "veth-red",
        "eth0",
        peer_namespace="red",
        mac="02:00:00:00:00:01",
        mtu=1400,
        master="br0",
        group=7,
        peer_ifindex=2,
    )
    message = decoded(operation, ifinfmsg)

    assert message.get_attr("IFLA_IFNAME") == "veth-red"
    assert message.get_attr("IFLA_ADDRESS") == "02:00:00:00:00:01"
    assert (message.get_attr("IFLA_MTU"), message.get_attr("IFLA_MASTER"), message.get_attr("IFLA_GROUP")) == (
        1400,
        3,
        7,
    )
    info = message.get_attr("IFLA_LINKINFO")
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert (peer["index"], peer.get_attr("IFLA_IFNAME"), peer.get_attr("IFLA_NET_NS_FD")) == (2, "eth0", 42)


def test_an_address() -> None:
    message = decoded(address.add.plan("10.0.0.2/24", "eth0", namespace="red"), ifaddrmsg)

    assert (message["index"], message["prefixlen"], message["family"]) == (2, 24, 2)
    assert message.get_attr("IFA_LOCAL") == message.get_attr("IFA_ADDRESS") == "10.0.0.2"
    assert message.get_attr("IFA_BROADCAST") == "10.0.0.255"


def test_a_route() -> None:
    message = decoded(route.add.plan("10.1.0.0/16", via="10.0.0.1", dev="eth0", table=1000, namespace="red"), rtmsg)

    assert (message.get_attr("RTA_DST"), message["dst_len"], message.get_attr("RTA_GATEWAY")) == (
        "10.1.0.0",
        16,
        "10.0.0.1",
    )
    assert (message.get_attr("RTA_OIF"), message.get_attr("RTA_TABLE")) == (2, 1000)


def test_a_neighbour() -> None:
    message = decoded(neighbour.add.plan("fd00::2", "02:00:00:00:00:02", "eth0", namespace="red"), ndmsg)

    assert (message["family"], message["ifindex"], message["state"]) == (10, 2, 0x80)
    assert (message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR")) == ("fd00::2", "02:00:00:00:00:02")


@pytest.mark.parametrize("size", range(9))
def test_attributes_are_taken_apart_as_they_were_put_together(size: int) -> None:
    data = netlink.attribute(3, b"x" * size) + netlink.attribute(0x8000 | 18, netlink.attribute(1, b"veth"))

    assert netlink.attributes(data) == {3: b"x" * size, 18: netlink.attribute(1, b"veth")}
    assert netlink.attributes(netlink.attributes(data)[18]) == {1: b"veth"}
