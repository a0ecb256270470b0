"""How does a check look at the lab? Everything it may ask the kernel, the wire and the learner's answers.

What is not there raises NotFound with a sentence, which becomes the failed check's message. All that is returned is
data. Nothing here trusts the learner's Python: it runs in the judge's process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from labkit.errors import NotFound
from labkit.net import namespace

if TYPE_CHECKING:
    from labkit.lab import Ran
    from labkit.packets import Connection, Frame, Ping
    from labkit.state import Address, FdbEntry, Link, NamespaceState, Neighbour, Route, Snapshot
    from labkit.tracing import Trace

__all__ = ["Look"]


class Look:
    """What a check's `evidence` gets: `lambda look: {"ping": look.ping("red", "10.0.0.2")}`.

    answers: what the learner recorded with labkit.answer, by name. refresh: called before each look, so that
    namespaces made meanwhile are seen."""

    def __init__(self, answers: Callable[[], Mapping[str, Any]], refresh: Callable[[], None] = lambda: None) -> None:
        self._answers = answers
        self._refresh = refresh

    # ---- what the learner said

    def answer(self, name: str) -> Any:
        """Return the value recorded by labkit.answer(name, value); None is no answer yet. Raises NotFound."""
        answers = self._answers()
        if answers.get(name) is None:
            raise NotFound(
                f"there is no answer called '{name}' yet",
                f'its value is still None, or this was not run: labkit.answer("{name}", ...)',
            )
        return answers[name]

    # ---- what the kernel says

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces but the first. Same as: ip netns list"""
        self._refresh()
        return namespace.names()

    def inode(self, name: str) -> int:
        """Return the inode of namespace `name`: two names with one inode are one namespace. Raises NotFound."""
        self._refresh()
        return namespace.inode(name)

    def snapshot(self, *namespaces: str) -> Snapshot:
        """Return the tables of these namespaces, or of all. Raises NotFound."""
        from labkit.state import snapshot

        self._refresh()
        return snapshot(*namespaces)

    def state(self, name: str) -> NamespaceState:
        """Return the tables of one namespace, with the far ends of its veths. Raises NotFound."""
        return self.snapshot()[name]

    def links(self, name: str) -> dict[str, Link]:
        """Return the links of a namespace by name. Raises NotFound."""
        return {link.ifname: link for link in self.state(name).links}

    def link(self, name: str, ifname: str) -> Link:
        """Return one link: .is_up, .has_carrier, .mtu, .address (its MAC), .master, .peer, .kind... Raises NotFound."""
        links = self.links(name)
        if ifname not in links:
            raise NotFound(
                f"there is no link '{ifname}' in namespace '{name}'", f"links there: {', '.join(links) or 'none'}"
            )
        return links[ifname]

    def addresses(self, name: str, ifname: str | None = None) -> list[str]:
        """Return the addresses of a namespace or of one link, as "10.0.0.2/24". Raises NotFound."""
        if ifname is not None:
            self.link(name, ifname)
        found: tuple[Address, ...] = tuple(self.state(name).addresses)
        return [address.text for address in found if ifname in (None, address.ifname)]

    def ip(self, name: str) -> str:
        """Return a namespace's first IPv4 address other than loopback, without its prefix. Raises NotFound."""
        for address in self.state(name).addresses:
            if address.family == "inet" and address.ifname != "lo":
                return str(address.local)
        raise NotFound(f"namespace '{name}' has no IPv4 address", f"look at: {ip_command(name, 'address')}")

    def routes(self, name: str) -> list[Route]:
        """Return the routes of a namespace's main table. Raises NotFound."""
        return [route for route in self.state(name).routes if route.table == "main"]

    def neighbours(self, name: str) -> list[Neighbour]:
        """Return who is known at which MAC. Raises NotFound."""
        return list(self.state(name).neighbours)

    def fdb(self, name: str) -> list[FdbEntry]:
        """Return what the bridges of a namespace know of MACs. Raises NotFound."""
        return list(self.state(name).fdb)

    def sysctl(self, name: str, key: str) -> str:
        """Return a sysctl of a namespace, as in sysctl("red", "net.ipv4.ip_forward"). Raises NotFound."""
        self._refresh()
        with namespace.enter(name):
            try:
                with open("/proc/sys/" + key.replace(".", "/"), encoding="ascii") as setting:
                    return setting.read(4096).strip()
            except OSError as error:
                raise NotFound(f"there is no sysctl '{key}' in namespace '{name}'") from error

    def run(self, name: str, command: str) -> Ran:
        """Run a command of this computer in a namespace: .stdout, .stderr, .status. Raises NotFound."""
        from labkit.lab import run

        self._refresh()
        return run(name, command)

    # ---- what goes over the wire

    def ping(self, source: str, to: str, **options: Any) -> Ping:
        """Ping from a namespace to an address, or to a namespace's first address: .answered, .received, .error.

        options are those of labkit.ping; the timeout is 0.5 s unless given. Raises NotFound."""
        from labkit.packets import ping

        self._refresh()
        return ping(source, self.address_of(to), **{"timeout": 0.5, **options})

    def trace(self, packet: Any, source: str, **options: Any) -> Trace:
        """Follow one packet from a namespace: a ping to an address or a namespace's first address, or what tcp=, udp=
        and the other options of labkit.trace ask for, or a scapy packet. Returns the Trace. Raises NotFound."""
        from labkit.tracing import trace

        self._refresh()
        return trace(self.address_of(packet) if isinstance(packet, str) else packet, source, **options)

    def connect(self, source: str, to: str, port: int, *, serve: bool = False, **options: Any) -> Connection:
        """Connect from a namespace to a port of an address or a namespace: .ok, .peer, .source, .data, .error.

        With serve=True, `to` is a namespace, and a server of the judge's own listens there. Raises NotFound."""
        from labkit.packets import connect
        from labkit.packets import serve as listen

        self._refresh()
        address = self.address_of(to)
        with ExitStack() as stack:
            if serve:
                stack.enter_context(listen(to, port, udp=bool(options.get("udp"))))
            return connect(source, address, port, **{"timeout": 0.5, **options})

    @contextmanager
    def capture(self, *where: str, filter: str = "") -> Iterator[list[Frame]]:  # noqa: A002  the word in every tool
        """Capture at "red", "red/eth0"... while the block runs; the list is filled when it ends. Raises NotFound."""
        from labkit.packets import capture

        self._refresh()
        frames: list[Frame] = []
        with capture(*where, filter=filter) as running:
            yield frames
        frames.extend(running)

    def heard(self, *where: str, filter: str, during: Callable[[], object]) -> dict[str, int]:  # noqa: A002
        """Return how many frames that match the filter came by at each place while `during` ran. Raises NotFound."""
        return {place: len(frames) for place, frames in self._captured(where, filter, during).items()}

    def _captured(self, where: tuple[str, ...], filter: str, during: Callable[[], object]) -> dict[str, list[Frame]]:  # noqa: A002
        with ExitStack() as stack:
            captured = {place: stack.enter_context(self.capture(place, filter=filter)) for place in where}
            during()
        return captured

    def address_of(self, to: str) -> str:
        """Return `to` if it is an address, else the first address of the namespace with that name. Raises NotFound."""
        return to if to[:1].isdigit() or ":" in to else self.ip(to)


def ip_command(name: str, rest: str) -> str:
    """Return the command that looks at a namespace: ip -n red address"""
    return f"ip {rest}" if name == "host" else f"ip -n {name} {rest}"
