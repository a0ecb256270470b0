"""Which rules did a packet meet, and what did each say? The kernel's own trace tells.

nftables marks packets for tracing by a rule, `meta nftrace set 1`, and then tells listeners of every rule that matches
and of every policy, iptables' rules in nftables included. The marking rule stands in a table of ours whose owner is
our socket: it is invisible to nobody, touched by nobody else, and gone when the socket closes, even by kill -9.
iptables-legacy has the target TRACE instead, whose rules are ours to take away again, and logs by the logger that the
namespace has: its own sysctl net.netfilter.nf_log, put back afterwards.
Source: nft(8) on meta nftrace and table flags; iptables-extensions(8) on TRACE; include/uapi/linux/netfilter/*.h.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from labkit.net import sysctl
from labkit.net.netlink import attribute, attributes, every_attribute
from labkit.net.nfnetlink import LOG, NFTABLES, Message, Socket, be32, nested, number
from labkit.state.firewall import legacy_tables_here
from labkit.tracing.headers import Packet, packets_in

__all__ = ["Event", "Listener"]

_NEWTABLE, _GETTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE, _TRACE = 0, 1, 3, 4, 6, 17
_TRACE_GROUP, _CREATE, _OWNER = 9, 0x400, 2
_NFTRACE, _REGISTER = 12, 1
_EARLIEST = -1000  # before defragmentation (-400), raw (-300) and whatever else there is
_INET, _IP, _IP6, _ARP, _NETDEV, _BRIDGE = 1, 2, 10, 3, 5, 7
_FAMILIES = {_INET: "inet", _IP: "ip", _IP6: "ip6", _ARP: "arp", _NETDEV: "netdev", _BRIDGE: "bridge"}
# Where packets of each family begin: their first hook when they come in, and when they are made here.
_FIRST_HOOKS = {_INET: (0, 3), _BRIDGE: (0, 3), _ARP: (0, 1)}
_TYPES = {1: "policy", 2: "return", 3: "rule"}
_VERDICTS = {0: "drop", 1: "accept", 2: "stolen", 3: "queue", -1: "continue", -2: "break", -3: "jump", -4: "goto",
             -5: "return"}  # fmt: skip
_LEGACY = {"ip": ("iptables-legacy", 2), "ip6": ("ip6tables-legacy", 10)}
_LEGACY_HOOKS = ("PREROUTING", "OUTPUT")
_PREFIX = re.compile(r"TRACE: (\w+):(\S+):(rule|policy|return):(\d+) ?")
_SEARCH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
_PATIENCE = 5.0  # seconds
_OURS = "labkit_trace_"
_LOGGER = "nfnetlink_log"


@dataclass(frozen=True, slots=True)
class Event:
    """A packet met a rule, or a chain's policy. `verdict`: "accept", "drop", "continue", "jump CHAIN"...; of
    iptables-legacy, which does not say, "". `handle`: of the rule; there its number in the chain.
    `packet`: what the kernel told of the packet, as far as it told; `link_in`, `link_out`: ifindexes, 0 for none."""

    family: str
    table: str
    chain: str
    kind: str
    verdict: str
    handle: int
    packet: Packet | None
    skb: int
    link_in: int = 0
    link_out: int = 0
    mark: int = 0


class Listener:
    """Hears which rules packets meet in the namespace of the thread that makes it. Only where there are rules.

    `events()` returns what was heard; `close()` takes everything away again. Raises OSError."""

    def __init__(self) -> None:
        self._nft: Socket | None = None
        self._log: Socket | None = None
        self._latest: dict[int, Event] = {}  # by skb: the last event that told of its packet
        self._undo: list[Callable[[], object]] = []
        self._owned = f"{_OURS}{os.getpid()}_{id(self):x}"
        try:
            self._listen_to_nftables()
            for family in _LEGACY:
                if legacy_tables_here(family):
                    self._listen_to_legacy(family)
        except BaseException:
            self.close()
            raise

    @property
    def listening(self) -> bool:
        """Whether there is anything to hear."""
        return self._nft is not None or self._log is not None

    @property
    def lost(self) -> bool:
        """Whether some of what packets met came faster than it was read."""
        return any(opened is not None and opened.lost for opened in (self._nft, self._log))

    def events(self) -> list[Event]:
        """Return what was heard since the last question, in order."""
        found: list[Event] = []
        if self._nft is not None:
            heard = [(family, body) for kind, family, body in self._nft.heard() if kind == NFTABLES << 8 | _TRACE]
            told = [event for family, body in heard if (event := self._event(family, attributes(body)))]
            found += [self._whole(event) for event in told]
        if self._log is not None:
            found += [event for kind, family, body in self._log.heard() if (event := _logged(kind, family, body))]
        return found

    def _whole(self, event: Event) -> Event:
        """The kernel tells of a packet at the first rule that it meets in a chain, and not again at the others."""
        if event.packet is not None:
            self._latest[event.skb] = event
            return event
        first = self._latest.get(event.skb)
        return replace(event, packet=first.packet, link_in=first.link_in, link_out=first.link_out) if first else event

    def close(self) -> None:
        """Nothing of ours is left in the namespace. Runs inside it: iptables-legacy is a program."""
        while self._undo:
            self._undo.pop()()
        for opened in (self._nft, self._log):
            if opened is not None:
                opened.close()
        self._nft = self._log = None

    # nftables

    def _listen_to_nftables(self) -> None:
        opened = Socket(_TRACE_GROUP)
        try:
            try:
                families = {family for family, _ in opened.dump(Message(NFTABLES, _GETTABLE, 0))}
            except OSError:  # a kernel without nftables
                families = set()
            if not families:
                opened.close()
                return
            wanted = {_INET} if families & {_INET, _IP, _IP6, _NETDEV} else set()  # egress comes after output
            wanted |= families & {_BRIDGE, _ARP}
            devices = _ingress_devices(opened) if families & {_NETDEV, _INET} else []
            for family in sorted(wanted):
                opened.batch(self._marking(family, [_hook(number) for number in _FIRST_HOOKS[family]]))
            if devices:
                opened.batch(self._marking(_NETDEV, [_hook(0, devices)]))
        except BaseException:
            opened.close()
            raise
        self._nft = opened

    def _marking(self, family: int, hooks: list[bytes]) -> list[Message]:
        """Return the messages that make a table of our own in which every packet is marked for tracing."""
        table = attribute(1, self._owned.encode() + b"\0")
        messages = [Message(NFTABLES, _NEWTABLE, family, table + attribute(2, be32(_OWNER)), flags=_CREATE)]
        for index, hook in enumerate(hooks):
            name = f"from_{index}".encode() + b"\0"
            chain = table + attribute(3, name) + hook + attribute(7, b"filter\0")
            rule = table + attribute(2, name) + nested(4, _immediate_one(), _set_nftrace())
            messages.append(Message(NFTABLES, _NEWCHAIN, family, chain, flags=_CREATE))
            messages.append(Message(NFTABLES, _NEWRULE, family, rule, flags=_CREATE | 0x800))  # append
        return messages

    def _event(self, family: int, tells: dict[int, bytes]) -> Event | None:
        table = _text(tells.get(1))
        if table.startswith(_OURS):  # of this trace, or of another at the same time
            return None
        verdict = attributes(tells.get(5, b""))
        code = struct.unpack(">i", verdict[1])[0] if 1 in verdict else 0
        kind = _TYPES.get(number(tells.get(4)) or 0, "")
        if kind == "policy" and 16 in tells:
            code = number(tells[16]) or 0
        target = f" {_text(verdict.get(2))}" if 2 in verdict else ""
        return Event(
            family=_FAMILIES.get(family, str(family)),
            table=table,
            chain=_text(tells.get(2)),
            kind=kind,
            verdict=_VERDICTS.get(code, str(code)) + target,
            handle=number(tells.get(3)) or 0,
            packet=_told(tells),
            skb=number(tells.get(6)) or 0,
            link_in=number(tells.get(10)) or 0,
            link_out=number(tells.get(12)) or 0,
            mark=number(tells.get(14)) or 0,
        )

    # iptables-legacy

    def _listen_to_legacy(self, family: str) -> None:
        program, number_of_family = _LEGACY[family]
        path = shutil.which(program, path=_SEARCH)
        if path is None:
            raise FileNotFoundError(2, f"{program} is not installed")
        if self._log is None:
            self._log = Socket()
            _bind_to_group_0(self._log)
            self._log.ask(Message(LOG, 1, 0, attribute(2, struct.pack(">IBx", 0xFFFF, 2)) + attribute(5, be32(1))))
        key = f"net.netfilter.nf_log.{number_of_family}"
        before = sysctl.read(key)
        sysctl.write({key: _LOGGER})
        self._undo.append(lambda: sysctl.write({key: before}))
        for chain in _LEGACY_HOOKS:
            rule = [chain, "-j", "TRACE", "-m", "comment", "--comment", self._owned]
            _run(path, "-I", *rule)
            self._undo.append(lambda rule=rule: _run(path, "-D", *rule))  # type: ignore[misc]


def _bind_to_group_0(opened: Socket) -> None:
    """Hear what TRACE logs. A group has one listener: where another trace listens, wait until it is done. All traces
    take the namespaces in the same order, so that none waits for one that waits for it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            opened.ask(Message(LOG, 1, 0, attribute(1, b"\1")))  # NFULNL_CFG_CMD_BIND
        except PermissionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _run(path: str, verb: str, *rule: str) -> None:
    command = [path, "-w", "-t", "raw", verb, *rule]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError(22, done.stderr.strip() or f"{os.path.basename(path)} failed")


def _hook(hook: int, devices: list[str] | None = None) -> bytes:
    parts = [attribute(1, be32(hook)), attribute(2, struct.pack(">i", _EARLIEST))]
    if devices:
        parts.append(nested(4, *(attribute(1, device.encode() + b"\0") for device in devices)))
    return nested(4, *parts)


def _immediate_one() -> bytes:
    data = nested(2, attribute(1, b"\1\0\0\0"))
    return _expression("immediate", attribute(1, be32(_REGISTER)) + data)


def _set_nftrace() -> bytes:
    return _expression("meta", attribute(2, be32(_NFTRACE)) + attribute(3, be32(_REGISTER)))


def _expression(name: str, data: bytes) -> bytes:
    return nested(1, attribute(1, name.encode() + b"\0"), nested(2, data))


def _ingress_devices(opened: Socket) -> list[str]:
    """Return the devices on which chains hook in before prerouting: of netdev, or ingress of inet."""
    found: set[str] = set()
    for _, body in opened.dump(Message(NFTABLES, _GETCHAIN, 0)):
        hook = attributes(attributes(body).get(4, b""))
        found.update(_text(name) for _, name in every_attribute(hook.get(4, b"")))
        if 3 in hook:
            found.add(_text(hook[3]))
    return sorted(found)


def _told(tells: dict[int, bytes]) -> Packet | None:
    """Return the packet of which the kernel told the beginning: 14 bytes of Ethernet, 40 of IP, 20 of what follows."""
    network = tells.get(8, b"")
    if not network:
        return None
    header = (network[0] & 15) * 4 if network[0] >> 4 == 4 else 40
    whole = network[:header] + tells.get(9, b"")
    kind = {4: b"\x08\x00", 6: b"\x86\xdd"}.get(network[0] >> 4, b"\x08\x06")
    link = tells.get(7, b"")
    frame = (link[:12] if len(link) >= 14 else bytes(12)) + kind + (whole if kind != b"\x08\x06" else network)
    return next(iter(packets_in(frame)), None)


def _logged(kind: int, family: int, body: bytes) -> Event | None:
    """Return the event that a packet logged by TRACE tells of, or None for what others log."""
    tells = attributes(body)
    prefix = _PREFIX.match(_text(tells.get(10)))
    if kind != LOG << 8 or not prefix:
        return None
    table, chain, what, place = prefix.groups()
    number_in_chain = int(place) - (table == "raw" and chain in _LEGACY_HOOKS)  # our own rule stands first there
    protocol = b"\x86\xdd" if family == socket.AF_INET6 else b"\x08\x00"
    found = packets_in(bytes(12) + protocol + tells.get(9, b""))
    name = "legacy ip6" if family == socket.AF_INET6 else "legacy ip"
    link_in, link_out = number(tells.get(4)) or 0, number(tells.get(5)) or 0
    return Event(
        name, table, chain, what, "", number_in_chain, found[0] if found else None, 0, link_in, link_out,
        number(tells.get(2)) or 0,
    )  # fmt: skip


def _text(data: bytes | None) -> str:
    return (data or b"").split(b"\0")[0].decode(errors="replace")
