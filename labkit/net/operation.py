"""Operations: what is to change in the kernel, as data?

An Operation is one small record that yields both the netlink message and the equivalent shell command. A verb
(`link.add_bridge("br0")`) makes one and performs it; `link.add_bridge.plan("br0")` only makes it. A Lab makes many and
performs them together.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple, ParamSpec, Protocol, Self

from labkit.errors import Duplicate, LabkitError, NotFound, Refused, cause
from labkit.net import namespace as namespaces
from labkit.net import netlink
from labkit.net.here import ensure_lab_machine
from labkit.net.netlink import REQUEST, Header, Request, Socket, attribute

__all__ = ["RAW", "Descriptor", "Link", "Message", "Operation", "Session", "perform", "verb"]

P = ParamSpec("P")
RAW = -1  # in place of an attribute's type: bytes as they are


class Link(NamedTuple):
    """Stands for the ifindex of the link `name`, looked up when the message is sent."""

    name: str


class Descriptor(NamedTuple):
    """Stands for a descriptor of the namespace `name`, opened when the message is sent."""

    name: str


Attributes = tuple[tuple[int, "Value"], ...]
Value = bytes | Link | Descriptor | Attributes


class Message(NamedTuple):
    """One netlink message whose numbers are not known yet: `dev` names the link that its header speaks of."""

    kind: int
    flags: int
    header: Header
    attributes: Attributes = ()
    dev: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Operation:
    """One change to one object in one namespace. Its repr is the equivalent shell command."""

    verb: str
    name: str
    namespace: str
    words: str  # the command's, after `ip` or `bridge` and the namespace
    message: Message
    program: str = "ip"
    success: tuple[int, ...] = ()  # refusals that mean that all is well: what is to be deleted is gone
    undone_by: Callable[[], Operation] | None = field(default=None, compare=False)

    @property
    def command(self) -> str:
        """The equivalent shell command: "ip -n red link set eth0 up"."""
        where = "" if self.namespace == "host" else f"-n {self.namespace} "
        return f"{self.program} {where}{self.words}"

    @property
    def undo(self) -> Operation | None:
        """The operation that takes this one back, or None where there is none."""
        return self.undone_by() if self.undone_by else None

    def messages(self, session: Session | None = None) -> list[Request]:
        """Return the netlink messages, links and namespaces looked up in the kernel (or known to `session`)."""
        with session or Session() as known:
            known.learn(self)
            return [known.encode(self)]

    def __repr__(self) -> str:
        return self.command

    __str__ = __repr__


class Session:
    """What is known while operations are performed: sockets, descriptors of namespaces, indexes of links.

    A build fills it in advance; whatever is missing is asked of the kernel, and forgotten at the end."""

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}
        self.descriptors: dict[str, int] = {}
        self.ifindexes: dict[tuple[str, str], int] = {}
        self._borrowed = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._borrowed.close()

    def socket(self, namespace: str) -> Socket:
        """Return a socket in `namespace`."""
        if namespace not in self.sockets:
            self.sockets[namespace] = self._borrowed.enter_context(netlink.socket_in(namespace))
            self._borrowed.callback(self.sockets.pop, namespace)
        return self.sockets[namespace]

    def descriptor(self, namespace: str) -> int:
        """Return a descriptor of `namespace`."""
        if namespace not in self.descriptors:
            opened = self.descriptors[namespace] = namespaces.open_namespace(namespace)
            self._borrowed.callback(os.close, opened)
            self._borrowed.callback(self.descriptors.pop, namespace)
        return self.descriptors[namespace]

    def learn(self, operation: Operation) -> None:
        """Ask the kernel for the index of every link that the operation speaks of. Raises NotFound."""
        message = operation.message
        names = [value.name for _, value in message.attributes if type(value) is Link]
        for name in names if message.dev is None else [message.dev, *names]:
            if (operation.namespace, name) not in self.ifindexes:
                self.ifindexes[operation.namespace, name] = self._ask(operation, name)

    def encode(self, operation: Operation) -> Request:
        """Return the operation's message as it travels. Raises KeyError for a link whose index is not known."""
        kind, flags, header, attributes, dev = operation.message
        namespace = operation.namespace
        if dev is not None:
            header = header._replace(ifindex=self.ifindexes[namespace, dev])  # type: ignore[call-arg, unused-ignore]
        body = netlink.pack(header) + self._pack(namespace, attributes)
        return Request(kind, flags | REQUEST, body, operation.success)

    def _pack(self, namespace: str, attributes: Attributes) -> bytes:
        parts = []
        for kind, value in attributes:
            if type(value) is bytes:
                parts.append(value if kind == RAW else attribute(kind, value))
            elif type(value) is Link:
                parts.append(attribute(kind, self.ifindexes[namespace, value.name].to_bytes(4, "little")))
            elif type(value) is Descriptor:
                parts.append(attribute(kind, self.descriptor(value.name).to_bytes(4, "little")))
            else:
                parts.append(attribute(kind, self._pack(namespace, value)))  # type: ignore[arg-type]
        return b"".join(parts)

    def _ask(self, operation: Operation, name: str) -> int:
        body = netlink.pack(netlink.LinkHeader()) + attribute(3, name.encode() + b"\0")  # IFLA_IFNAME
        try:
            answer = self.socket(operation.namespace).ask(Request(netlink.GETLINK, REQUEST, body))
        except netlink.Refusal as refusal:
            raise NotFound(
                f"failed to {operation.verb} '{operation.name}' in namespace '{operation.namespace}': no link '{name}'",
                _links_there(self, operation.namespace),
            ) from refusal
        index: int = answer[0].header.ifindex
        return index


def perform(operations: Iterable[Operation], session: Session | None = None) -> None:
    """Have the kernel carry out `operations` in order; neighbours in the same namespace travel together.

    Raises Refused, Duplicate or NotFound for the first that failed."""
    waiting: list[Operation] = []
    requests: list[Request] = []

    with session or Session() as known:

        def send() -> None:
            try:
                known.socket(waiting[0].namespace).send(requests)
            except netlink.Refusal as refusal:
                raise _refused(waiting[refusal.index], refusal, known) from refusal
            waiting.clear()
            requests.clear()

        for operation in operations:
            if waiting and (waiting[0].namespace != operation.namespace or len(waiting) == netlink.BATCH):
                send()
            try:
                request = known.encode(operation)
            except KeyError:
                if waiting:  # the link may be one that is to be made first
                    send()
                try:
                    known.learn(operation)
                except NotFound:
                    if errno.ENODEV in operation.success:
                        continue  # what was to be deleted went with its link
                    raise
                request = known.encode(operation)
            requests.append(request)
            waiting.append(operation)
        if waiting:
            send()


def _refused(operation: Operation, refusal: netlink.Refusal, session: Session) -> LabkitError:
    where = f"failed to {operation.verb} '{operation.name}' in namespace '{operation.namespace}'"
    there = _links_there(session, operation.namespace)
    if refusal.errno == errno.ENODEV:
        return NotFound(f"{where}: no such link", there, errno=refusal.errno)
    if refusal.errno == errno.EEXIST:
        return Duplicate(f"{where}: it exists already", there, errno=refusal.errno)
    explained = f" ({refusal.text.strip().rstrip('.')})" if refusal.text else ""
    return Refused(f"{where}: {cause(refusal.errno)}{explained}", there, errno=refusal.errno)


def _links_there(session: Session, namespace: str) -> str:
    links = session.socket(namespace).dump(netlink.GETLINK, netlink.pack(netlink.LinkHeader()))
    names = [record.attributes[3].rstrip(b"\0").decode() for record in links]
    shown = names if len(names) <= 10 else [*names[:9], f"and {len(names) - 9} more"]
    return f"links there: {', '.join(shown)}"


class Verb(Protocol[P]):
    """A function that changes the kernel. `plan` takes the same arguments and only says what would be done."""

    plan: Callable[P, Operation]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Operation: ...


def verb(plan: Callable[P, Operation]) -> Verb[P]:
    """Make a function that describes an operation into one that performs it, inside a lab machine only."""

    @functools.wraps(plan)
    def performing(*args: P.args, **kwargs: P.kwargs) -> Operation:
        operation = plan(*args, **kwargs)
        ensure_lab_machine(f"{operation.verb} '{operation.name}'")
        perform([operation])
        return operation

    performing.plan = plan  # type: ignore[attr-defined]
    return performing  # type: ignore[return-value]
