"""Building: how does a Topology become a live Lab, and how is it taken down without a trace?"""

from __future__ import annotations

import atexit
import ipaddress
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Self

from labkit.errors import Duplicate, NotFound, Refused, Unavailable, cause
from labkit.lab.plan import alone, bridge_mac, container_mac, ipv6, operations
from labkit.lab.run import Ran, run
from labkit.lab.topology import Container, Topology
from labkit.net import libc, link, netlink, sysctl
from labkit.net import namespace as namespaces
from labkit.net.here import ensure_lab_machine
from labkit.net.operation import Operation, Session, perform

__all__ = ["Lab", "build", "clears", "labs"]

_labs: dict[str, Lab] = {}
_building = threading.RLock()
_also_cleared: list[Callable[[], None]] = []
_FIRST_GROUP = 100  # of a lab's links on the host: all are deleted by it together


def labs() -> dict[str, Lab]:
    """Return the labs of this process that are up, by name."""
    return dict(_labs)


def clears(also: Callable[[], None]) -> Callable[[], None]:
    """From now on, building an empty topology calls `also`: it clears the stage, whoever has put something there."""
    _also_cleared.append(also)
    return also


def build(topology: Topology, name: str = "lab") -> Lab:
    """The topology exists, and every container is ready to send. What the same name built before is gone; with an empty
    topology, all else that labkit has built on the host (Docker's networks) is gone too.

    When it fails, or Ctrl-C interrupts it, nothing is left. Raises Duplicate (a namespace or link of that name exists),
    Refused, Unavailable (not enough descriptors). `Topology.commands()` says the same as shell commands."""
    ensure_lab_machine(f"build lab '{name}'")
    with _building:
        if name in _labs:
            _labs[name].down()
        if topology == Topology():
            for clear in _also_cleared:
                clear()
        lab = Lab(topology, name, _free_group())
        _labs[name] = lab
        try:
            _undisturbed(lab._build)
        except BaseException as error:
            lab.down()
            if isinstance(error, OSError) and error.errno in namespaces.FULL:
                raise Unavailable(
                    f"failed to build lab '{name}': {cause(error.errno)}", namespaces.CLOSE_SOME, errno=error.errno
                ) from error
            raise
        return lab


class Lab:
    """A live topology. `with build(...) as lab:` takes it down at the end of the block; so does `lab.down()`."""

    def __init__(self, topology: Topology, name: str, group: int) -> None:
        self.topology = topology
        self.name = name
        self._group = group
        self._session = Session()
        self._named: list[str] = []
        self._first_ifindex = 0  # of a new namespace, after lo and whatever else the kernel puts there
        self._up = False

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names of its containers, in order."""
        return self.topology.namespaces

    def commands(self) -> list[str]:
        """Return the shell commands that build the same."""
        return self.topology.commands()

    def ip(self, name: str) -> str:
        """Return the first address of a container, or of a bridge, without its prefix length. Raises NotFound."""
        for bridge in self.topology.bridges:
            if bridge.name == name and bridge.address:
                return bridge.address.partition("/")[0]
        addresses = [port.address for port in self.topology.container(name).interfaces if port.address]
        if not addresses:
            raise _nothing(name, "address", "find the address of")
        return addresses[0].partition("/")[0]

    def mac(self, name: str) -> str:
        """Return the MAC of a container's first interface, or of a bridge. Raises NotFound."""
        for bridge in self.topology.bridges:
            if bridge.name == name:
                return bridge_mac(bridge)
        for port in self.topology.container(name).interfaces:
            return container_mac(name, port)
        raise _nothing(name, "interface", "find the MAC of")

    def enter(self, namespace: str) -> Any:
        """Run a `with` block inside a namespace, in this thread only: `with lab.enter("red"): ...`"""
        return namespaces.enter(namespace)

    def run(self, namespace: str, command: str | list[str], *, timeout: float = 30.0) -> Ran:
        """Run a command in a namespace and return what it printed. Same as: ip netns exec NAMESPACE COMMAND"""
        return run(namespace, command, timeout=timeout)

    def ping(self, namespace: str, to: str, **options: Any) -> Any:
        """Send an ICMP echo request from a namespace to a container, a bridge or an IP address, and return the Ping."""
        from labkit import packets

        return packets.ping(namespace, to if _is_address(to) else self.ip(to), **options)

    def trace(self, packet: Any, from_: str = "host", **options: Any) -> Any:
        """Follow one packet through every interface, and return its Trace: where it went, and what decided it.

        packet: a container, bridge or IP address to ping, or with tcp=, udp=, http=, dns= to call; or one of scapy."""
        from labkit import tracing

        to = packet if not isinstance(packet, str) or _is_address(packet) else self.ip(packet)
        return tracing.trace(to, from_, **options)

    def capture(self, *where: str, **options: Any) -> Any:
        """Capture on namespaces or interfaces ("red", "red/eth0", "host/br0"), on all of the lab when none is named."""
        from labkit import packets

        return packets.capture(*(where or ("host", *self.namespaces)), **options)

    def snapshot(self) -> Any:
        """Return a Snapshot of the host and of the lab's containers."""
        from labkit import state

        return state.snapshot("host", *self.namespaces)

    def down(self) -> None:
        """Nothing of the lab is left. Once more is as good as once."""
        _undisturbed(self._take_down)
        if _labs.get(self.name) is self:
            del _labs[self.name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def __repr__(self) -> str:
        number = len(self.topology.containers)
        text = f"Lab '{self.name}': {number} container{'' if number == 1 else 's'}"
        return text if self._up else text + ", down"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        if not self._up:
            return {"text/plain": repr(self)}
        from labkit import see

        snapshot = self.snapshot()
        return {"text/plain": see.topology_text(snapshot), "image/svg+xml": see.topology_svg(snapshot)}

    # Below: the work, which Ctrl-C does not cut short: it asks `interrupted()` where it may stop.

    def _build(self, interrupted: Callable[[], bool]) -> None:
        with namespaces.enter("host"):  # and back: making a namespace moves this thread into it
            self._add_namespaces(interrupted)
        self._write_on_host(ipv6(self.topology).get("host", {}))
        perform(_until(interrupted, self._plan()), self._session)
        for container in self.topology.containers:
            if container.sysctls:
                self._set_sysctls(container)
        self._up = True

    def _add_namespaces(self, interrupted: Callable[[], bool]) -> None:
        _allow_descriptors(self.name, 2 * len(self.topology.containers) + 256)
        os.makedirs(namespaces.NETNS, exist_ok=True)
        process = os.readlink("/proc/self")  # our PID as the mounted /proc tells it
        wanted = ipv6(self.topology)
        settings: dict[str, str] = {}
        for name in self.topology.namespaces:
            if interrupted():
                return
            libc.unshare(libc.CLONE_NEWNET)
            opened = self._session.sockets[name] = netlink.Socket()
            if not self._named:  # all new namespaces start alike: as copies of the computer's first
                settings = sysctl.state_here()
                links = opened.dump(netlink.GETLINK, netlink.pack(netlink.LinkHeader()))
                self._first_ifindex = max(record.header.ifindex for record in links) + 1
            else:
                sysctl.write(settings)
            sysctl.write(wanted.get(name, {}))
            descriptor = self._session.descriptors[name] = opened.namespace()
            _link_name(name, f"/proc/{process}/fd/{descriptor}")
            self._named.append(name)
            netlink.keep(name, os.fstat(descriptor).st_ino, opened)

    def _plan(self) -> Iterator[Operation]:
        first = self._first_ifindex
        for name in alone(self.topology):
            self._session.ifindexes[name, self.topology.container(name).interfaces[0].name] = first
        return operations(self.topology, group=self._group, peer_ifindex=first)

    def _set_sysctls(self, container: Container) -> None:
        for key, value in container.sysctls.items():
            try:
                with namespaces.enter(container.name):
                    sysctl.write({key: value})
            except OSError as error:
                raise Refused(
                    f"failed to set '{key}' in namespace '{container.name}': {cause(error.errno or 0)}",
                    f"sysctls there: ip netns exec {container.name} sysctl -a",
                    errno=error.errno or 0,
                ) from error

    def _write_on_host(self, settings: dict[str, str]) -> None:
        if settings:
            with namespaces.enter("host"):
                sysctl.write(settings)

    def _take_down(self, _interrupted: Callable[[], bool]) -> None:
        self._up = False
        if self._group:
            perform([link.delete_group.plan(self._group)])
            if not any("host" in ipv6(lab.topology) for lab in _labs.values() if lab is not self):
                self._write_on_host(dict.fromkeys(ipv6(self.topology).get("host", {}), "1"))
            self._group = 0
        for name in self._named:
            with suppress(OSError):
                if os.path.islink(namespaces.path(name)):  # not what a learner has made under this name since
                    os.unlink(namespaces.path(name))
            netlink.release(name)
        for descriptor in self._session.descriptors.values():
            os.close(descriptor)
        for opened in self._session.sockets.values():
            opened.close()
        self._named.clear()
        self._session = Session()


def _undisturbed(work: Callable[[Callable[[], bool]], None]) -> None:
    """Do `work` to its end: Ctrl-C only makes `interrupted()` true, and is raised afterwards.

    Python hands signals to the main thread, so that elsewhere there is nothing to keep away."""
    asked: list[object] = []
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual is None:
        work(lambda: False)
        return
    signal.signal(signal.SIGINT, lambda *signalled: asked.append(signalled))
    try:
        work(lambda: bool(asked))
    finally:
        signal.signal(signal.SIGINT, usual)
        if asked:
            raise KeyboardInterrupt


def _until(interrupted: Callable[[], bool], plan: Iterable[Operation]) -> Iterator[Operation]:
    for operation in plan:
        if interrupted():
            return
        yield operation


def _link_name(name: str, target: str) -> None:
    where = namespaces.path(name)
    try:
        if os.path.islink(where) and not os.path.exists(where):
            os.unlink(where)  # of a process that has ended
        os.symlink(target, where)
    except FileExistsError as error:
        raise Duplicate(
            f"failed to add namespace '{name}': it exists already",
            f"delete it first: ip netns delete {name}",
            errno=error.errno or 0,
        ) from error
    except OSError as error:
        raise Refused(
            f"failed to add namespace '{name}': {cause(error.errno or 0)}",
            f"its name is a file in {namespaces.NETNS}",
            errno=error.errno or 0,
        ) from error


def _allow_descriptors(name: str, wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise Unavailable(
            f"failed to build lab '{name}': it needs {wanted} file descriptors, and this computer allows {hard}",
            "raise the hard limit (ulimit -Hn), or build fewer containers",
        )
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _free_group() -> int:
    taken = {lab._group for lab in _labs.values()}
    return next(group for group in range(_FIRST_GROUP, _FIRST_GROUP + len(taken) + 1) if group not in taken)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _nothing(name: str, thing: str, verb: str) -> NotFound:
    return NotFound(f"failed to {verb} '{name}': it has no {thing}", "the topology says which things have one")


def _at_exit(process: int) -> None:
    for lab in list(_labs.values()):
        if os.getpid() == process:
            lab._take_down(lambda: False)


atexit.register(_at_exit, os.getpid())
