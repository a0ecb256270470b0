"""What is on the wire? Craft, send, capture; ask a neighbour; call a port."""

from __future__ import annotations

from labkit.packets.capturing import Capture, capture
from labkit.packets.frames import Frame, Frames
from labkit.packets.icmp import Ping, ping

__all__ = ["Capture", "Frame", "Frames", "Ping", "capture", "ping"]
