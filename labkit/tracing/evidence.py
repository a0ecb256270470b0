"""What was seen while one packet was on its way? Everything at once, gathered around one send.

Before: the kernel's tables, counters and connections of every namespace. Meanwhile: every frame on every interface, and
every firewall rule that was met. Afterwards: tables, counters and connections again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property

from labkit.errors import NamespaceGone, NotFound
from labkit.net import namespace as namespaces
from labkit.net.namespace import inside
from labkit.packets.capturing import Capture, capture
from labkit.packets.frames import Frame
from labkit.state import conntrack, firewall
from labkit.state.conntrack import ConntrackEntry
from labkit.state.read import snapshot
from labkit.state.snapshot import NamespaceState, Snapshot
from labkit.tracing.following import Following, Role, signature
from labkit.tracing.headers import Packet, packets_in
from labkit.tracing.lookups import counters_here
from labkit.tracing.order import in_order
from labkit.tracing.probes import Probe
from labkit.tracing.rules import Event, Listener

__all__ = ["Evidence", "Met", "Seen", "gather"]

QUIET = 0.25  # seconds without a frame of ours after which none is expected
STEP = 0.02  # seconds between two looks
MOST = 20_000  # frames


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that belongs to the trace: what it is, and the packet in it that is followed."""

    frame: Frame
    role: Role
    packet: Packet


@dataclass(frozen=True, slots=True)
class Met:
    """The packet, or its answer, met a firewall rule or a policy."""

    role: Role
    event: Event

    @property
    def drops(self) -> bool:
        """Whether that was the end of it."""
        return self.event.verdict == "drop"


@dataclass
class Evidence:
    """All that is known of one packet's way."""

    probe: Probe
    following: Following
    before: Snapshot
    after: Snapshot
    frames: tuple[Frame, ...] = ()
    seen: list[Seen] = field(default_factory=list)
    met: dict[str, list[Met]] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)  # of other packets too
    counters: dict[str, dict[str, int]] = field(default_factory=dict)  # by how much each moved
    connections_before: dict[str, tuple[ConntrackEntry, ...]] = field(default_factory=dict)
    connections: dict[str, tuple[ConntrackEntry, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _rulesets: dict[str, firewall.Ruleset] = field(default_factory=dict)

    def ruleset(self, namespace: str) -> firewall.Ruleset:
        """Return the firewall rules of a namespace, read when first asked for."""
        if namespace not in self._rulesets:
            self._rulesets[namespace] = firewall.rules(namespace)
        return self._rulesets[namespace]

    def moved(self, namespace: str, counter: str) -> int:
        """Return by how much a counter of a namespace moved meanwhile."""
        return self.counters.get(namespace, {}).get(counter, 0)

    def state(self, namespace: str) -> NamespaceState:
        """Return a namespace's tables as they were afterwards."""
        return self.after[namespace]

    @cached_property
    def packets(self) -> list[tuple[Frame, list[Packet]]]:
        """Every frame with the packets in it."""
        return [(frame, packets_in(frame.data, frame.linktype)) for frame in self.frames]


class _Namespaces:
    """All namespaces that can be entered: their listeners, counters and connections."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.names = ["host", *namespaces.names()]
        self.listeners: dict[str, Listener] = {}
        self.counters: dict[str, dict[str, int]] = {}
        self.connections: dict[str, tuple[ConntrackEntry, ...]] = {}
        self.events: dict[str, list[Event]] = {}
        self.notes: list[str] = []
        self.overrun: list[str] = []

    def open(self) -> None:
        known = {
            namespaces.inode(self.source): self.source
        }  # of two names of one namespace, the one that was asked for
        for name in list(self.names):
            try:
                if known.setdefault(namespaces.inode(name), name) != name:
                    self.names.remove(name)
                    continue
                inside(name, lambda name=name: self._open_here(name))  # type: ignore[misc]
            except (NotFound, NamespaceGone):
                self.names.remove(name)

    def _open_here(self, name: str) -> None:
        self.counters[name] = counters_here()
        self.connections[name] = conntrack.read_here()
        try:
            listener = Listener()
        except OSError as error:
            self.notes.append(f"{name}: the rules that a packet meets cannot be traced here ({error})")
            return
        if listener.listening:
            self.listeners[name] = listener

    def listen(self) -> None:
        for name, listener in self.listeners.items():
            self.events.setdefault(name, []).extend(listener.events())
            if listener.lost and name not in self.overrun:
                self.overrun.append(name)
                self.notes.append(f"{name}: so many packets met rules that some were not told of")

    def read_again(self) -> tuple[dict[str, dict[str, int]], dict[str, tuple[ConntrackEntry, ...]]]:
        counters: dict[str, dict[str, int]] = {}
        connections: dict[str, tuple[ConntrackEntry, ...]] = {}

        def read(name: str) -> None:
            now, then = counters_here(), self.counters[name]
            counters[name] = {key: value - then.get(key, 0) for key, value in now.items() if value != then.get(key, 0)}
            connections[name] = conntrack.read_here()

        for name in self.names:
            with suppress(NotFound, NamespaceGone):
                inside(name, lambda name=name: read(name))  # type: ignore[misc]
        return counters, connections

    def close(self) -> None:
        for name, listener in self.listeners.items():
            try:
                inside(name, listener.close)
            except (NotFound, NamespaceGone):
                listener.close()
        self.listeners.clear()


def gather(probe: Probe, timeout: float) -> Evidence:
    """Send what `probe` has, and return everything that was seen of it. timeout: seconds to wait for an answer."""
    with _listening(probe.source) as everywhere:
        before = snapshot(*everywhere.names)
        with capture(*everywhere.names, limit=MOST) as seen:
            try:
                probe.send()
                _wait(probe, seen, everywhere, timeout)
            except BaseException:
                probe.close()
                raise
        everywhere.listen()
        counters, connections = everywhere.read_again()
        after = snapshot(*counters)
    following = probe.following()
    probe.close()
    evidence = Evidence(
        probe, following, before, after, seen.frames, counters=counters, connections_before=everywhere.connections,
        connections=connections, events=everywhere.events, notes=[*everywhere.notes, *seen.notes],
    )  # fmt: skip
    evidence.seen = list(_recognised(evidence))
    evidence.met = _met(following, everywhere.events, _wrappings(evidence))
    for name, met in evidence.met.items():
        if len({one.event.family.startswith("legacy") for one in met}) == 2:
            evidence.met[name] = in_order(met, evidence.ruleset(name).chains)
    return evidence


@contextmanager
def _listening(source: str) -> Iterator[_Namespaces]:
    everywhere = _Namespaces(source)
    try:
        everywhere.open()
        yield everywhere
    finally:
        everywhere.close()


def _recognised(evidence: Evidence) -> Iterator[Seen]:
    for frame, packets in evidence.packets:
        found = evidence.following.look(packets, frame.namespace == evidence.probe.source)
        if found:
            yield Seen(frame, found.role, found.packet)


def _wrappings(evidence: Evidence) -> dict[tuple[object, ...], Role]:
    """Return what tells the tunnels' packets around the one that is followed: rules meet those, not what is inside."""
    roles = {seen.frame: seen.role for seen in evidence.seen}
    wrapped = [(frame, packets[0]) for frame, packets in evidence.packets if len(packets) > 1]
    return {_wrapping(packet): roles[frame] for frame, packet in wrapped if frame in roles}


def _wrapping(packet: Packet) -> tuple[object, ...]:
    return packet.ends, packet.ident


def _met(
    following: Following, events: Mapping[str, list[Event]], wrappings: Mapping[tuple[object, ...], Role] | None = None
) -> dict[str, list[Met]]:
    """Return the rules that the packet and its answer met, by namespace, in order."""
    around = wrappings or {}
    found: dict[str, list[Met]] = {}
    for namespace, heard in events.items():
        for event in heard:
            role = _role_of(following, event)
            if role is None and event.packet is not None:
                role = around.get(_wrapping(event.packet))
            if role:
                found.setdefault(namespace, []).append(Met(role, event))
    return found


def _role_of(following: Following, event: Event) -> Role | None:
    if event.packet is None:
        return None
    wanted = signature(event.packet)
    if (
        following.answer is not None
        and wanted == signature(following.answer)
        and not _is_mirror(following, event.packet)
    ):
        return "answer"
    if following.request is not None:
        if event.packet.offset:
            fragment = (event.packet.protocol, event.packet.ident)
            return "request" if fragment == (following.request.protocol, following.request.ident) else None
        if wanted == signature(following.request):
            again = event.packet.ident != following.request.ident and event.packet.ident and following.request.ident
            return None if again else "request"
        return "answer" if following.answer is None and following.would_answer(event.packet) else None
    return "request" if following.sent(event.packet) else None


def _is_mirror(following: Following, packet: Packet) -> bool:
    """Whether this is the packet itself, and not an answer that carries the same."""
    request = following.request
    return request is not None and signature(packet) == signature(request) and packet.ident == request.ident


def _wait(probe: Probe, seen: Capture, everywhere: _Namespaces, timeout: float) -> None:
    """Wait for the answer, or until nothing more can come."""
    start = time.monotonic()
    progress = _Progress(probe)
    while not probe.done(STEP):
        everywhere.listen()
        progress.look(seen)
        passed = time.monotonic() - start
        quiet = not probe.patient and passed > QUIET and progress.is_quiet()
        quiet = quiet and not _asking_already(progress.where)
        if passed > timeout or quiet or progress.home or progress.dropped(everywhere.events):
            probe.done(STEP)  # what came home a moment ago is with its sender now
            return


def _asking_already(namespace: str) -> bool:
    """Whether a namespace asks for a neighbour since before: it asks again each second only, and the packet waits."""
    with suppress(NotFound, NamespaceGone):
        return any(entry.state == "INCOMPLETE" for entry in snapshot(namespace)[namespace].neighbours)
    return False


class _Progress:
    """How far the packet is, while it is on its way. It only says when to stop waiting."""

    def __init__(self, probe: Probe) -> None:
        self.source, self.following = probe.source, probe.following()
        self.read = 0  # frames looked at
        self.last_ns = 0
        self.where = probe.source  # the namespace that had it last
        self.asking = False  # the last thing that was heard is a question by ARP
        self.home = False  # the answer came in where the packet set off

    def look(self, seen: Capture) -> None:
        frames = seen.frames
        for frame in frames[self.read :]:
            packets = packets_in(frame.data, frame.linktype)
            found = self.following.look(packets, frame.namespace == self.source)
            if found:
                self.last_ns, self.asking, self.where = frame.time_ns, False, frame.namespace
                self.home |= found.role == "answer" and (frame.namespace, frame.direction) == (self.source, "in")
            elif packets and (packets[0].arp or packets[0].kind in (135, 136)):  # ARP, or neighbour discovery
                self.asking = packets[0].arp[0] == 1 if packets[0].arp else packets[0].kind == 135
        self.read = len(frames)

    def is_quiet(self) -> bool:
        return not self.asking and time.time_ns() - self.last_ns > QUIET * 1e9

    def dropped(self, events: Mapping[str, list[Event]]) -> bool:
        """Whether a rule dropped the packet or its answer: then nothing more is to come but what it sent at once."""
        if not any(event.verdict == "drop" for heard in events.values() for event in heard):
            return False
        return any(met.drops for heard in _met(self.following, events).values() for met in heard)
