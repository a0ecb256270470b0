"""What is drawn: boxes with interfaces and bridges in them, boxes in boxes, cables and tunnels between interfaces.
Plans, the kernel as it is, and differences all become a Picture; text and SVG are made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "ORDINARY_LO",
    "SIGNS",
    "Box",
    "Bridge",
    "Cable",
    "End",
    "Note",
    "Picture",
    "Plug",
    "Tunnel",
    "state_between",
]

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
    """A namespace. `more` above 0: it stands for that many boxes that look alike. `parent`: the box it is drawn in."""

    name: str
    plugs: tuple[Plug, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    routes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    sign: str = ""
    notes: tuple[Note, ...] = ()
    more: int = 0
    parent: str = ""

    def every_plug(self) -> Iterator[Plug]:
        """Yield its interfaces, bridges and ports included."""
        for bridge in self.bridges:
            yield bridge.plug
            yield from bridge.ports
        yield from self.plugs


@dataclass(frozen=True, slots=True)
class Cable:
    """A veth pair: what goes in at one end comes out at the other. With a `kind` ("macvlan", "ipvlan", "vlan"), what
    the first end, a link of that kind, sits on: the second."""

    ends: tuple[End, End]
    sign: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Two interfaces whose packets travel to each other inside packets of another network. `label`: "VXLAN vni 1".

    `one_way`: the first knows the second's outer address, the second does not know the first's."""

    ends: tuple[End, End]
    label: str
    one_way: bool = False
    sign: str = ""

    @property
    def words(self) -> str:
        """What is written beside it."""
        marked = f"{self.sign} {SIGNS[self.sign]}" if self.sign else ""
        return ", ".join(part for part in (self.label, "one way" if self.one_way else "", marked) if part)


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes, in the order to read them, cables and tunnels. `caption` is shown above, `title` is for screen readers."""

    boxes: tuple[Box, ...] = ()
    cables: tuple[Cable, ...] = ()
    title: str = "the network"
    caption: str = ""
    tunnels: tuple[Tunnel, ...] = ()

    def plugs(self) -> dict[End, Plug]:
        """Return every interface by its place."""
        return {(box.name, plug.name): plug for box in self.boxes for plug in box.every_plug()}

    def plug(self, end: End) -> Plug | None:
        """Return the interface at a cable's end."""
        return self.plugs().get(end)

    def cable_state(self, cable: Cable | Tunnel) -> str:
        """Return "up" when both ends are, else the state of the end that is to blame."""
        return state_between([plug for end in cable.ends if (plug := self.plug(end))])

    def parents_first(self) -> list[Box]:
        """Return the boxes in order, those in a box right after it."""
        inside: dict[str, list[Box]] = {}
        for box in self.boxes:
            inside.setdefault(box.parent, []).append(box)
        return [each for box in inside.get("", ()) for each in (box, *inside.get(box.name, ()))]


def state_between(plugs: list[Plug]) -> str:
    """Return "up" when all interfaces are, else the worst of their states."""
    states = [plug.state for plug in plugs]
    return next((state for state in ("down", "no carrier", "planned") if state in states), "up")
