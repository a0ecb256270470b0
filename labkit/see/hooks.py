"""Where does a packet meet rules? The hooks in the order in which a packet comes by, and the chains at each.

At one hook the chain of the lowest priority comes first, whichever tool made it. Connection tracking and NAT are
between them, and so are the kernel's decisions where a packet goes.
Source: include/uapi/linux/netfilter.h, netfilter_ipv4.h; nft(8) on hooks and priorities.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from labkit.see.layout import PAD, TITLE
from labkit.see.measure import CHARACTER, LINE
from labkit.see.svg import document, text
from labkit.state.firewall import Chain, Ruleset

__all__ = ["HOOKS", "svg_of_hooks", "text_of_hooks"]

HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_EDGES = ("ingress", "egress")  # of a link, before and after all others; drawn where chains are there
_APART = ("bridge", "arp")  # families with hooks of their own
_TRACKED = {"prerouting": -200, "output": -200}  # NF_IP_PRI_CONNTRACK
_CONFIRMED = ("input", "postrouting")  # NF_IP_PRI_CONNTRACK_CONFIRM, after all others
_LAST = 2**31 - 1
# What makes the kernel track connections in a namespace: rules that ask for their state, and NAT.
_TRACKING = re.compile(
    r"-m (?:conntrack|state|connmark|connbytes|connlimit|connlabel|helper)\b"
    r"|-j (?:SNAT|DNAT|MASQUERADE|REDIRECT|NETMAP|CONNMARK|CT(?! --notrack))\b"
    r"|(?<![\w-])(?:ct (?:state|status|mark|count|original|reply|direction|zone|helper|expiration|label)"
    r"|masquerade|redirect|[sd]nat)\b"
)
_QUOTED = re.compile(r'"[^"]*"|--comment [^"\s]\S*')  # comments, prefixes of logs, names of links
_NAMES = {-300: "raw", -150: "mangle", -100: "dstnat", 0: "filter", 50: "security", 100: "srcnat"}
_JUMP = re.compile(r"(?:-[jg]|jump|goto) (\S+)")
_COLUMN, _GAP, _WRAP = 320.0, 96.0, 42


class _Line(NamedTuple):
    """What is at a hook: its priority as a number and in words, what it is, and more about it."""

    number: int
    priority: str
    name: str
    about: str
    dim: bool = False

    @property
    def order(self) -> str:
        return "last" if self.number == _LAST else str(self.number)

    @property
    def below(self) -> list[str]:
        """What is written below its name."""
        return textwrap.wrap(self.about, _WRAP, break_on_hyphens=False)


def text_of_hooks(ruleset: Ruleset, namespace: str = "host", family: str = "ip") -> str:
    """Return the hooks in words: in a packet's order, with the chains at each."""
    at = _at_hooks(ruleset, family)
    rows = [
        ("", f"a packet comes in by a link of {namespace}"),
        ("ingress", "ingress"),
        ("prerouting", "prerouting"),
        ("", f"routing decision: for {namespace} itself, or for another"),
        ("input", f"input, when it is for {namespace}"),
        ("forward", "forward, when it is for another"),
        ("", f"routing decision, for a packet that {namespace} itself sends"),
        ("output", "output, for that packet"),
        ("postrouting", "postrouting, for every packet that goes out"),
        ("egress", "egress"),
    ]
    lines = [f"hooks of {namespace}"]
    for hook, words in rows:
        if hook in _EDGES and not at[hook]:
            continue
        lines.append(words)
        lines += [f"  {line}" for line in _columns(at[hook])] if hook else []
    for other in _apart(ruleset):
        lines += [f"{other}, hooks of its own", *(f"  {line}" for line in _columns(_at_apart(ruleset, other)))]
    return "\n".join(lines)


def _columns(lines: list[_Line]) -> list[str]:
    """Return the lines in columns; "nothing" for none."""
    if not lines:
        return ["nothing"]
    widths = [max(len(cell) for cell in column) for column in zip(*(line[1:3] for line in lines), strict=True)]
    return [
        f"{line.order:>5} {line.priority:<{widths[0]}}  {line.name:<{widths[1]}}  {line.about}".rstrip()
        for line in lines
    ]


def _at_hooks(ruleset: Ruleset, family: str) -> dict[str, list[_Line]]:
    """Return what hangs at each hook, in order."""
    found: dict[str, list[_Line]] = {hook: [] for hook in (*HOOKS, *_EDGES)}
    for chain in ruleset.chains.values():
        if chain.hook in found and _is_of(chain, family) and not _does_nothing(ruleset, chain):
            found[chain.hook].append(_line(ruleset, chain))
    ours = [rule for key, rule in ruleset.rules.items() if key[0] in _families(family)]
    tracks = any(_TRACKING.search(_QUOTED.sub("", rule.text)) for rule in ours)
    for hook, number in _TRACKED.items():
        about = "on: a rule needs it" if tracks else "off: no rule needs it"
        found[hook].append(_Line(number, "", "connection tracking", about, dim=not tracks))
    for hook in _CONFIRMED if tracks else ():
        found[hook].append(_Line(_LAST, "", "connection tracking", "keeps a new connection"))
    return {hook: sorted(lines, key=lambda line: line.number) for hook, lines in found.items()}


def _families(family: str) -> tuple[str, str, str]:
    return family, "inet", f"legacy {family}"


def _is_of(chain: Chain, family: str) -> bool:
    return chain.family in _families(family) or (chain.family == "netdev" and chain.hook in _EDGES)


def _does_nothing(ruleset: Ruleset, chain: Chain) -> bool:
    """Return whether a chain is one that iptables made unasked, and holds no rule."""
    return chain.tool != "nft" and chain.policy == "accept" and not _rules_of(ruleset, chain)


def _rules_of(ruleset: Ruleset, chain: Chain) -> list[str]:
    place = chain.family, chain.table, chain.name
    return [rule.text for key, rule in ruleset.rules.items() if key[:3] == place]


def _line(ruleset: Ruleset, chain: Chain) -> _Line:
    rules = _rules_of(ruleset, chain)
    whose = f"{chain.family} " if chain.tool == "nft" else ""
    count = "no rule" if not rules else "1 rule" if len(rules) == 1 else f"{len(rules)} rules"
    own = {name for one, table, name in ruleset.chains if (one, table) == (chain.family, chain.table)}
    targets = dict.fromkeys(word for rule in rules for word in _JUMP.findall(rule) if word in own)
    jumps = f" → {', '.join(list(targets)[:4])}{', …' if len(targets) > 4 else ''}" if targets else ""
    policy = f"policy {chain.policy}, " if chain.policy else ""
    named = _NAMES.get(chain.number, "") if chain.priority.lstrip("-").isdigit() else chain.priority
    return _Line(chain.number, named, f"{whose}{chain.table} {chain.name}", f"{chain.tool}, {policy}{count}{jumps}")


def _apart(ruleset: Ruleset) -> list[str]:
    """Return the families with hooks of their own at which chains are there."""
    return [
        family for family in _APART if any(chain.family == family and chain.hook for chain in ruleset.chains.values())
    ]


def _at_apart(ruleset: Ruleset, family: str) -> list[_Line]:
    """Return the chains of such a family, by hook and in order."""
    chains = [chain for chain in ruleset.chains.values() if chain.family == family and chain.hook]
    chains.sort(key=lambda chain: (HOOKS.index(chain.hook) if chain.hook in HOOKS else -1, chain.number))
    lines = [_line(ruleset, chain) for chain in chains]
    return [line._replace(name=f"{chain.hook}: {line.name}") for chain, line in zip(chains, lines, strict=True)]


# As a picture


class _Box(NamedTuple):
    """A hook's box in one of two columns. `room`: characters that the priorities take, in all boxes alike."""

    title: str
    about: str
    lines: list[_Line]
    room: int

    @property
    def height(self) -> float:
        return TITLE + LINE * max(sum(1 + len(line.below) for line in self.lines), 1) + 12

    @property
    def width(self) -> float:
        longest = max((len(words) for line in self.lines for words in (line.name, *line.below)), default=0)
        head = len(self.title) * 8.5 + len(self.about) * 6.2 + 3 * PAD
        return max(2 * PAD + CHARACTER * (self.room + longest + 1), head, _COLUMN)


def _priority_room(lines: Iterable[_Line]) -> int:
    """Return how many characters the priorities take."""
    return 7 + max((len(line.priority) for line in lines), default=0)


def svg_of_hooks(ruleset: Ruleset, namespace: str = "host", family: str = "ip") -> str:
    """Return the hooks as one SVG, the same for the same rules."""
    at = _at_hooks(ruleset, family)
    apart = {other: _at_apart(ruleset, other) for other in _apart(ruleset)}
    room = _priority_room(line for lines in (*at.values(), *apart.values()) for line in lines)
    boxes = {hook: _Box(hook, about, at[hook], room) for hook, about in _ABOUT.items()}
    left = max(boxes[hook].width for hook in ("prerouting", "forward", "postrouting", *(h for h in _EDGES if at[h])))
    right = max(boxes[hook].width for hook in ("input", "output"))
    drawing = _Drawing(boxes, namespace, left, right)
    parts = list(drawing.parts(at))
    for other, lines in apart.items():
        parts += drawing.apart(_Box(other, "hooks of its own", lines, room))
    return document(
        drawing.width, drawing.bottom + 16, f"hooks of {namespace}", text_of_hooks(ruleset, namespace, family), parts
    )


_ABOUT = {
    "ingress": "of a link",
    "prerouting": "whatever comes in",
    "input": "what is for itself",
    "forward": "what is for another",
    "output": "what it sends itself",
    "postrouting": "whatever goes out",
    "egress": "of a link",
}


class _Drawing:
    """Two columns: what passes through goes down on the left, what is for the namespace or from it on the right."""

    def __init__(self, boxes: dict[str, _Box], namespace: str, left: float, right: float) -> None:
        self.boxes, self.namespace = boxes, namespace
        self.left, self.right = left, right
        self.gap = max(_GAP, CHARACTER * (len(namespace) + 4) + 28)
        self.width = 40 + left + self.gap + right
        self.middle = 20 + left / 2
        self.other = 20 + left + self.gap + right / 2
        self.bottom = 0.0

    def parts(self, at: dict[str, list[_Line]]) -> Iterator[str]:
        """Yield all parts, top down."""
        yield text(20, 30, "t", f"hooks of {self.namespace}")
        y = 52.0
        yield text(self.middle, y, "s", "a packet comes in", "middle")
        y += 8
        for hook in ("ingress", "prerouting") if at["ingress"] else ("prerouting",):
            yield from _down(self.middle, y, y + 22)
            yield from self.box(hook, 20, y + 22, self.left)
            y += 22 + self.boxes[hook].height
        decided = y + 24
        yield from _down(self.middle, y, decided)
        yield from _pill(self.middle, decided, "routing decision")
        yield from self.sideways(decided + 14)
        below = self.inside(decided)
        yield from below[0]
        y = decided + 28
        yield from _down(self.middle, y, y + 40)
        yield text(self.middle + 10, y + 22, "s", "for another")
        yield from self.box("forward", 20, y + 40, self.left)
        y += 40 + self.boxes["forward"].height
        yield from self.out(y, below[1], at)

    def box(self, hook: str, x: float, y: float, wide: float) -> Iterator[str]:
        """Yield a hook with what is at it."""
        yield from _box(self.boxes[hook], x, y, wide)

    def sideways(self, y: float) -> Iterator[str]:
        """Yield the way from the first routing decision to the input hook."""
        start, end = self.middle + 70, 20 + self.left + self.gap
        yield f'<path class="cable" d="M{start:g} {y:g}H{end - 6:g}"/>'
        yield f'<path class="full" d="M{end:g} {y:g}l-9 -5v10z"/>'
        yield text(20 + self.left + self.gap / 2, y - 8, "s", f"for {self.namespace}", "middle")

    def inside(self, y: float) -> tuple[list[str], float]:
        """Return the right column, whose first box begins beside `y`, and where it ends."""
        x = 20 + self.left + self.gap
        parts = list(self.box("input", x, y, self.right))
        y += self.boxes["input"].height
        for words in (f"a process of {self.namespace}", "routing decision"):
            parts += [*_down(self.other, y, y + 22), *_pill(self.other, y + 22, words)]
            y += 50
        parts += [*_down(self.other, y, y + 22), *self.box("output", x, y + 22, self.right)]
        return parts, y + 22 + self.boxes["output"].height

    def out(self, left: float, right: float, at: dict[str, list[_Line]]) -> Iterator[str]:
        """Yield where both columns meet, and what comes after."""
        joined = max(left, right) + 24
        yield from _down(self.middle, left, joined + 26)
        yield f'<path class="cable" d="M{self.other:g} {right:g}V{joined - 8:g}q0 8 -8 8H{self.middle:g}"/>'
        yield text(self.other - 14, joined - 8, "s", "routed once more if rewritten", "end")
        y = joined + 26
        for hook in ("postrouting", "egress") if at["egress"] else ("postrouting",):
            yield from self.box(hook, 20, y, self.left)
            y += self.boxes[hook].height
            yield from _down(self.middle, y, y + 22)
            y += 22
        yield text(self.middle, y + 16, "s", "it goes out", "middle")
        self.bottom = y + 16

    def apart(self, box: _Box) -> list[str]:
        """Return a box below all others."""
        wide = max(box.width, self.left)
        self.width = max(self.width, wide + 40)
        parts = list(_box(box, 20, self.bottom + 20, wide))
        self.bottom += 20 + box.height
        return parts


def _box(box: _Box, x: float, y: float, wide: float) -> Iterator[str]:
    shape = f'x="{x:g}" y="{y:g}" width="{wide:g}" height="{box.height:g}" rx="8"'
    edge = f"M{x:g} {y + TITLE:g}V{y + 8:g}q0 -8 8 -8H{x + wide - 8:g}q8 0 8 8V{y + TITLE:g}z"
    yield f'<g data-hook="{box.title}"><rect class="box" {shape}/><path class="host" d="{edge}"/>'
    yield f'<rect class="frame" {shape}/>'
    yield text(x + PAD, y + TITLE - 9, "t", box.title)
    yield text(x + wide - PAD, y + TITLE - 9, "s", box.about, "end")
    y += TITLE + 6
    if not box.lines:
        yield text(x + PAD, y + LINE - 4, "fact", "nothing")
    for line in box.lines:
        kind = "fact" if line.dim else ""
        yield text(x + PAD + 5 * CHARACTER, y + LINE - 4, kind or "address", line.order, "end")
        if line.priority:
            yield text(x + PAD + 6 * CHARACTER, y + LINE - 4, "fact", line.priority)
        at = x + PAD + box.room * CHARACTER
        yield text(at, y + LINE - 4, kind or "name", line.name)
        y += LINE
        for words in line.below:
            yield text(at, y + LINE - 4, "down" if "policy drop" in words else "fact", words)
            y += LINE
    yield "</g>"


def _pill(x: float, y: float, words: str) -> Iterator[str]:
    wide = max(140.0, CHARACTER * len(words) + 24)
    yield f'<rect class="bridge" x="{x - wide / 2:g}" y="{y:g}" width="{wide:g}" height="28" rx="14"/>'
    yield text(x, y + 18, "s", words, "middle")


def _down(x: float, y: float, end: float) -> Iterator[str]:
    yield f'<path class="cable" d="M{x:g} {y:g}V{end - 6:g}"/><path class="full" d="M{x:g} {end:g}l-5 -9h10z"/>'
