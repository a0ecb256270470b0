"""What is on the wire? Craft, send, capture; ask a neighbour; call a port."""

from __future__ import annotations

from labkit.packets.capturing import Capture, capture
from labkit.packets.frames import Frame, Frames
from labkit.packets.icmp import Ping, ping
from labkit.packets.icmp_errors import IcmpError
from labkit.packets.layer2 import arp_request, send
from labkit.packets.pcap import read
from labkit.packets.transport import Connection, Server, connect, reply_http, reply_source, serve

__all__ = [
    "Capture",
    "Connection",
    "Frame",
    "Frames",
    "IcmpError",
    "Ping",
    "Server",
    "arp_request",
    "capture",
    "connect",
    "ping",
    "read",
    "reply_http",
    "reply_source",
    "send",
    "serve",
]
