"""A picture in words: nested plain text, for terminals, for diffs and for screen readers."""

from __future__ import annotations

from labkit.see.picture import SIGNS, Box, End, Note, Picture, Plug

__all__ = ["text_of"]


def text_of(picture: Picture) -> str:
    """Return one block a box: its interfaces, its bridges with their ports, its routes; cables by their far end."""
    far: dict[End, End] = {}
    for cable in picture.cables:
        far[cable.ends[0]], far[cable.ends[1]] = cable.ends[1], cable.ends[0]
    bridge_of = {
        (box.name, port.name): bridge.plug.name
        for box in picture.boxes
        for bridge in box.bridges
        for port in bridge.ports
    }
    lines = [picture.caption] if picture.caption else []
    for box in picture.boxes:
        lines += _box(box, far, bridge_of)
    return "\n".join(lines) or "nothing to draw"


def _box(box: Box, far: dict[End, End], bridge_of: dict[End, str]) -> list[str]:
    lines = [_signed(box.sign, ", ".join([box.name, *box.facts]))]

    def tell(plug: Plug, indent: str, word: str) -> None:
        line = f"{word}{plug_text(plug)}"
        if other := far.get((box.name, plug.name)):
            port = f", a port of {bridge_of[other]}" if other in bridge_of else ""
            line += f", cable to {other[0]}/{other[1]}{port}"
        lines.append(indent + _signed(plug.sign, line))
        lines.extend(f"{indent}  {_note(note)}" for note in plug.notes)

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
