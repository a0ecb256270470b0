"""A picture in words: nested plain text, for terminals, for diffs and for screen readers."""

from __future__ import annotations

from collections import defaultdict

from labkit.see.picture import SIGNS, Box, End, Note, Picture, Plug

__all__ = ["text_of"]


def text_of(picture: Picture) -> str:
    """Return one block a box: its interfaces, its bridges with their ports, its routes, the boxes inside it; cables
    and tunnels by their far end."""
    bridge_of = {
        (box.name, port.name): bridge.plug.name
        for box in picture.boxes
        for bridge in box.bridges
        for port in bridge.ports
    }
    lines = [picture.caption] if picture.caption else []
    leads = _cables(picture, bridge_of)
    tunnels = _tunnels(picture)
    for box in picture.parents_first():
        inset = "  " if box.parent else ""
        lines += [inset + line for line in _box(box, leads, tunnels)]
    return "\n".join(lines) or "nothing to draw"


def _cables(picture: Picture, bridge_of: dict[End, str]) -> dict[End, str]:
    """Return what is said of each interface's other ends."""
    leads: dict[End, str] = {}
    for cable in picture.cables:
        for here, there in (cable.ends, cable.ends[::-1]):
            if cable.kind and here == cable.ends[0]:
                continue  # its facts say on what it sits
            word = f"carries {cable.kind}" if cable.kind else "cable to"
            port = f", a port of {bridge_of[there]}" if there in bridge_of and not cable.kind else ""
            leads[here] = f"{leads.get(here, '')}, {word} {there[0]}/{there[1]}{port}"
    return leads


def _tunnels(picture: Picture) -> defaultdict[End, list[str]]:
    """Return a line for each of an interface's tunnels, those to several far ends in one."""
    found: defaultdict[tuple[End, str, str], list[str]] = defaultdict(list)
    for tunnel in picture.tunnels:
        state = picture.cable_state(tunnel)
        label = f"tunnel {tunnel.label}{f', {state},' if state in ('down', 'no carrier') else ''}"
        for (here, there), way in zip((tunnel.ends, tunnel.ends[::-1]), ("one way to", "one way from"), strict=True):
            words = f"{label} {way if tunnel.one_way else 'to'}"
            found[here, tunnel.sign, words].append(f"{there[0]}/{there[1]}")
    lines: defaultdict[End, list[str]] = defaultdict(list)
    for (end, sign, words), others in found.items():
        lines[end].append(_signed(sign, f"{words} {', '.join(others)}"))
    return lines


def _box(box: Box, leads: dict[End, str], tunnels: dict[End, list[str]]) -> list[str]:
    lines = [_signed(box.sign, ", ".join([box.name, *box.facts]))]

    def tell(plug: Plug, indent: str, word: str) -> None:
        line = f"{word}{plug_text(plug)}{leads.get((box.name, plug.name), '')}"
        lines.append(indent + _signed(plug.sign, line))
        lines.extend(f"{indent}  {_note(note)}" for note in plug.notes)
        lines.extend(f"{indent}  {line}" for line in tunnels.get((box.name, plug.name), ()))

    for bridge in box.bridges:
        tell(bridge.plug, "  ", "bridge ")
        for port in bridge.ports:
            tell(port, "    ", "" if " " in port.name else "port ")
    for plug in box.plugs:
        tell(plug, "  ", "")
    lines += [f"  route {route}" for route in box.routes]
    lines += [f"  {_note(note)}" for note in box.notes]
    return lines


def plug_text(plug: Plug) -> str:
    """Return an interface in one line: name, kind, addresses, MAC, MTU where unusual, facts, state where not up."""
    words = [plug.name]
    if plug.kind not in ("veth", "bridge", "loopback", "ether", ""):
        words.append(plug.kind)
    words += [*plug.addresses]
    line = " ".join(words)
    details = [plug.mac] if plug.mac else []
    details += [f"mtu {plug.mtu}"] if plug.mtu != 1500 else []
    details += [*plug.facts]
    details += [plug.state] if plug.state in ("down", "no carrier") else []
    return ", ".join([line, *details])


def _signed(sign: str, line: str) -> str:
    return f"{sign} {line} ({SIGNS[sign]})" if sign in ("+", "-") else f"{sign} {line}" if sign else line


def _note(note: Note) -> str:
    return " ".join(part for part in note if part)
