"""What is drawn: boxes with interfaces and bridges in them, cables between interfaces. Plans, the kernel as it is,
and differences all become a Picture; text and SVG are made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ORDINARY_LO", "SIGNS", "Box", "Bridge", "Cable", "End", "Note", "Picture", "Plug"]

ORDINARY_LO = frozenset({"127.0.0.1/8", "::1/128"})  # the addresses of every lo that is up
SIGNS = {"+": "added", "-": "removed", "~": "changed"}

End = tuple[str, str]  # a box's name and an interface's name in it
Note = tuple[str, str]  # a sign ("+", "-", "~" or "") and what it is about


@dataclass(frozen=True, slots=True)
class Plug:
    """An interface. `state`: "up", "down", "no carrier" or "planned". `facts`: what else is worth a word."""

    name: str
    kind: str = ""
    addresses: tuple[str, ...] = ()
    mac: str = ""
    mtu: int = 1500
    state: str = "up"
    facts: tuple[str, ...] = ()
    sign: str = ""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge and its ports, each an interface of the same box."""

    plug: Plug
    ports: tuple[Plug, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A namespace. `more` above 0: it stands for that many boxes that look alike."""

    name: str
    plugs: tuple[Plug, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    routes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    sign: str = ""
    notes: tuple[Note, ...] = ()
    more: int = 0

    def every_plug(self) -> Iterator[Plug]:
        """Yield its interfaces, bridges and ports included."""
        for bridge in self.bridges:
            yield bridge.plug
            yield from bridge.ports
        yield from self.plugs


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth pair: what goes in at one end comes out at the other."""

    ends: tuple[End, End]
    sign: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, in the order to read them, and cables. `caption` is shown above, `title` is for screen readers."""

    boxes: tuple[Box, ...] = ()
    cables: tuple[Cable, ...] = ()
    title: str = "the network"
    caption: str = ""

    def plug(self, end: End) -> Plug | None:
        """Return the interface at a cable's end."""
        return next(
            (plug for box in self.boxes if box.name == end[0] for plug in box.every_plug() if plug.name == end[1]), None
        )

    def cable_state(self, cable: Cable) -> str:
        """Return "up" when both ends are, else the state of the end that is to blame."""
        states = [plug.state for end in cable.ends if (plug := self.plug(end))]
        return next((state for state in ("down", "no carrier", "planned") if state in states), "up")
