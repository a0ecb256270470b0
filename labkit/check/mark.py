"""Was the prediction right? Each cell of a learner's table of hops, marked against what the kernel did.

    prediction = [
        {"where": "red/eth0", "dst_mac": "02:3a:89:67:1f:9a", "ttl": 64},
        {"where": "router/eth0", "ttl": 64},
        {"where": "router/eth1", "dst_mac": "02:70:e8:32:b4:95", "ttl": 63},
    ]
    mark(prediction, lab.trace("blue", from_="red"))

`next_hop` is where the packet goes from there, in any of three ways: the interface that sees it next ("host/veth-red"),
the namespace of that interface ("host"), or the next hop's IP address: the gateway of the route that decided, without
a gateway the destination itself. After the last hop it is "none".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as data_field
from difflib import SequenceMatcher
from ipaddress import ip_address
from typing import Any, Literal

from labkit.errors import WrongUse
from labkit.tracing.records import Hop, Leg, Trace

__all__ = ["FIELDS", "Blank", "Cell", "Marked", "blank", "mark"]

FIELDS = ("where", "next_hop", "src_mac", "dst_mac", "src", "dst", "sport", "dport", "ttl")
NONE = "none"  # written where there is nothing: a ping has no ports
Reader = Callable[[str], str | None]  # what a cell says in its one form, None for what it cannot be
Verdict = Literal["ok", "wrong", "empty", "missing", "extra"]
_SAID_NONE = ("none", "-", "nothing")
_GATEWAY = re.compile(r"\bvia (?:inet6 )?([0-9a-fA-F.:]+)")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table. `hop`: its row, from 1; `field`: one of FIELDS; `given`: what was predicted.

    `verdict`: "ok", "wrong", "empty" (not filled in), "missing" (of a hop that was not predicted) or "extra" (of one
    that there was not). `truth`: what the kernel did, "" of an extra hop."""

    hop: int
    field: str
    given: str
    verdict: Verdict
    truth: str = data_field(default="", repr=False)

    def text(self, reveal: bool) -> str:
        """What a table shows of it."""
        shown = f"{self.given} {self.verdict}".strip()
        return f"{shown} ({self.truth})" if reveal and self.verdict != "ok" and self.truth else shown


@dataclass(frozen=True, slots=True, repr=False)
class Marked:
    """A prediction, marked. It shows itself as a table, without the right values unless `reveal`."""

    title: str
    cells: tuple[Cell, ...]
    reveal: bool = False

    @property
    def total(self) -> int:
        """How many cells there are."""
        return len(self.cells)

    @property
    def right(self) -> int:
        """How many are right."""
        return sum(cell.verdict == "ok" for cell in self.cells)

    @property
    def passed(self) -> bool:
        """Whether all are, and there is one."""
        return self.right == self.total > 0

    def revealed(self) -> Marked:
        """Return it with the right values shown."""
        return replace(self, reveal=True)

    def rows(self) -> list[list[Cell | None]]:
        """Return the cells row by row, a column for each field; None where nothing was asked."""
        fields = [name for name in FIELDS if any(cell.field == name for cell in self.cells)]
        place = {(cell.hop, cell.field): cell for cell in self.cells}
        numbers = sorted({cell.hop for cell in self.cells})
        return [[place.get((number, name)) for name in fields] for number in numbers]

    @property
    def text(self) -> str:
        """The table, and how many cells are right."""
        from labkit.see.marks import text_of_marks

        return text_of_marks(self)

    @property
    def svg(self) -> str:
        """The same as a picture."""
        from labkit.see.marks import svg_of_marks

        return svg_of_marks(self)

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": self.text, "image/svg+xml": self.svg}


class Blank(str):
    """An empty table as Python code, that shows itself as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def mark(
    prediction: Sequence[Mapping[str, Any] | Sequence[Any]],
    trace: Trace,
    *,
    leg: Leg = "request",
    fields: Sequence[str] = (),
    reveal: bool = False,
) -> Marked:
    """Return each cell of `prediction` marked right or wrong.

    prediction: one row a hop, in order, without flooded copies: a dict with any of FIELDS, or a tuple in the order of
    `fields`. Only what is asked is marked. Where rows name their interface (`where`), a hop left out costs its own
    cells and not those after it. MACs in capitals or without leading zeros, addresses with /24, numbers as text and
    spaces are understood; "none" says that there is nothing (the ports of a ping), "" and None are not filled in.
    No rows at all predict that nobody sees the packet.
    leg: "request" or "answer". reveal: the table shows the right values.
    Raises WrongUse, which names the cell, for what can be no such value."""
    if leg not in ("request", "answer"):
        raise WrongUse(f"failed to mark: no leg '{leg}'", "legs: request, answer")
    rows = [_row(number, row, fields) for number, row in enumerate(_rows(prediction), 1)]
    hops = trace.request if leg == "request" else trace.answer
    asked = [name for name in FIELDS if any(name in row for row in rows)] or ["where"]
    cells: list[Cell] = []
    for number, (row, at) in enumerate(_pairs(rows, [hop.where for hop in hops]), 1):
        if at is None:
            cells += [Cell(number, name, given, "extra") for name, given in (row or {}).items()]
        elif row is None:
            cells += [Cell(number, name, "", "missing", _truth(hops, at, name)[0]) for name in asked]
        else:
            cells += [_marked(number, name, given, _truth(hops, at, name)) for name, given in row.items()]
    if not rows and not hops:
        cells.append(Cell(1, "where", NONE, "ok", NONE))
    return Marked(f"{trace.what} from {trace.source}, {leg}", tuple(cells), reveal)


def blank(trace_or_places: Trace | Sequence[str], fields: Sequence[str] = ("dst_mac", "src", "dst", "ttl")) -> Blank:
    """Return an empty table to fill in, as Python code to copy: a row for each hop of a request, or for each place
    ("red/eth0"). `where` is filled in, unless it is one of `fields`. Raises WrongUse."""
    if isinstance(trace_or_places, str):
        raise WrongUse("failed to make a table: the places are one text", 'give a list: ["red/eth0", "blue/eth0"]')
    for name in fields:
        _known_field(name, "failed to make a table")
    if isinstance(trace_or_places, Trace):
        trace_or_places = [hop.where for hop in trace_or_places.request]
    asked = [name for name in fields if name != "where"]
    rows = []
    for place in trace_or_places:
        row = {"where": "" if "where" in fields else place, **dict.fromkeys(asked, "")}
        rows.append(f"    {json.dumps(row)},")
    return Blank("\n".join(["prediction = [", *rows, "]"]))


def _rows(prediction: Any) -> list[Any]:
    if isinstance(prediction, Mapping | str) or not isinstance(prediction, Sequence):
        raise WrongUse(
            f"failed to mark: a prediction is a list of rows, not a {type(prediction).__name__}",
            'one dict a hop: [{"where": "red/eth0", "ttl": 64}, ...]',
        )
    return list(prediction)


def _row(number: int, row: Any, fields: Sequence[str]) -> dict[str, str]:
    """Return a row as field and value, each in the one form that is compared; "" where not filled in."""
    if isinstance(row, Mapping):
        told = dict(row)
    elif isinstance(row, Sequence) and not isinstance(row, str) and len(row) == len(fields):
        told = dict(zip(fields, row, strict=True))
    else:
        expected = (
            f"a tuple of {len(fields)}: {', '.join(fields)}" if fields else "a dict, or a tuple with fields=(...)"
        )
        raise WrongUse(f"failed to mark hop {number}: {row!r} is no row", f"a row is {expected}")
    for name in told:
        _known_field(name, f"failed to mark hop {number}")
    return {name: _plain(number, name, told[name]) for name in FIELDS if name in told}


def _known_field(name: object, what: str) -> None:
    if name not in FIELDS:
        raise WrongUse(f"{what}: nothing is called '{name}'", f"a hop has: {', '.join(FIELDS)}")


def _plain(number: int, name: str, value: Any) -> str:
    text = "" if value is None else str(value).strip()
    if not text:
        return ""
    if text.lower() in _SAID_NONE:
        return NONE
    reader, kind = _READERS[name]
    plain = None if isinstance(value, bool) else reader(text)
    if plain is None:
        raise WrongUse(f"failed to mark hop {number}, {name}: '{text}' is {kind[0]}", kind[1])
    return plain


def _mac(text: str) -> str | None:
    digits = re.split(r"[:-]", text.lower())
    if len(digits) == 1 and re.fullmatch(r"[0-9a-f.]+", text.lower()):
        digits = re.findall("..", text.lower().replace(".", ""))
    if len(digits) == 6 and all(re.fullmatch("[0-9a-f]{1,2}", pair) for pair in digits):
        return ":".join(pair.zfill(2) for pair in digits)
    return None


def _ip(text: str) -> str | None:
    try:
        return str(ip_address(text.split("/")[0].strip()))
    except ValueError:
        return None


def _number(most: int) -> Reader:
    def read(text: str) -> str | None:
        return str(int(text)) if text.isascii() and text.isdecimal() and int(text) <= most else None

    return read


def _place(text: str) -> str | None:
    """An interface in a namespace; `ip` writes eth0@if5, which is eth0."""
    namespace, slash, interface = (part.strip() for part in text.partition("/"))
    interface = interface.split("@")[0]
    return f"{namespace}/{interface}" if slash and namespace and interface else None


def _next_hop(text: str) -> str | None:
    return _ip(text) or _place(text) or (text if re.fullmatch(r"[^\s/]+", text) else None)


_MAC_ = ("no MAC address", "a MAC address is six bytes, as in 02:00:00:00:00:01")
_IP_ = ("no IP address", "an IP address is written as 10.0.0.2 or fd00::2")
_PORT_ = ("no port", "a port is a number, 0 to 65535")
_READERS: dict[str, tuple[Reader, tuple[str, str]]] = {
    "where": (_place, ("no interface", "an interface is written as red/eth0: the namespace, then its name there")),
    "next_hop": (
        _next_hop,
        ("no next hop", "a next hop is a namespace (red), an interface (red/eth0) or an IP address"),
    ),
    "src_mac": (_mac, _MAC_),
    "dst_mac": (_mac, _MAC_),
    "src": (_ip, _IP_),
    "dst": (_ip, _IP_),
    "sport": (_number(65535), _PORT_),
    "dport": (_number(65535), _PORT_),
    "ttl": (_number(255), ("no TTL", "a TTL is a number, 0 to 255")),
}


def _pairs(rows: list[dict[str, str]], places: list[str]) -> list[tuple[dict[str, str] | None, int | None]]:
    """Return which row is about which hop: in order, and where all rows name their place, by place."""
    named = [row.get("where", "") for row in rows]
    if not all(named):
        blocks = [(0, min(len(rows), len(places)), 0, min(len(rows), len(places)))]
        blocks.append((blocks[0][1], len(rows), blocks[0][3], len(places)))
    else:
        matcher = SequenceMatcher(None, named, places, autojunk=False)
        blocks = [(first, last, at, end) for _, first, last, at, end in matcher.get_opcodes()]
    pairs: list[tuple[dict[str, str] | None, int | None]] = []
    for first, last, at, end in blocks:
        for step in range(max(last - first, end - at)):
            row = rows[first + step] if first + step < last else None
            pairs.append((row, at + step if at + step < end else None))
    return pairs


def _truth(hops: Sequence[Hop], at: int, name: str) -> tuple[str, ...]:
    """Return what is right in a cell: the first is what is shown, any will do."""
    hop = hops[at]
    if name == "where":
        return (hop.where,)
    if name == "next_hop":
        return _next_hops(hops, at)
    value = getattr(hop.headers, name)
    return (str(value) if value not in (None, "") else NONE,)


def _next_hops(hops: Sequence[Hop], at: int) -> tuple[str, ...]:
    if at + 1 == len(hops):
        return (NONE,)
    hop, following = hops[at], hops[at + 1]
    routes = [decision.text for decision in hop.decided_by if decision.kind == "route"]
    gateways = [_GATEWAY.search(route) for route in routes]
    addresses = [found[1] if found else hop.headers.dst for found in gateways]
    return (following.where, following.namespace, *(address for address in addresses if address))


def _marked(number: int, name: str, given: str, truth: tuple[str, ...]) -> Cell:
    verdict: Verdict = "empty" if not given else "ok" if given in truth else "wrong"
    return Cell(number, name, given, verdict, truth[0])
