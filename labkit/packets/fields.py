"""Which bytes of a frame hold each field of its layers?

scapy knows each field's size and meaning, but keeps no places. So its own field definitions are read once more here,
one after another, over the bytes of each layer: what a field takes away is its place. A place is told only if the
bytes are those of the layer and the same value comes out again; otherwise it is None.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from labkit.packets.checksums import header_remark, length_remark, segment_remark
from labkit.packets.decode import EPHEMERAL
from labkit.packets.layers import PORTS, VARIES, dissect

if TYPE_CHECKING:
    from labkit.packets.frames import Frame

__all__ = ["Field", "Layer", "layers_of"]

Place = tuple[int, int]
TCP_FLAGS = {"F": "FIN", "S": "SYN", "R": "RST", "P": "PSH", "A": "ACK", "U": "URG", "E": "ECE", "C": "CWR", "N": "NS"}
# How lists of options lie in the bytes: kinds of one byte, the kind that ends the list, what the length leaves out.
OPTIONS = {"TCP": ((0, 1), 0, 0), "DHCP options": ((0, 255), 255, 2)}


class Field(NamedTuple):
    """One field of a layer."""

    name: str
    value: str  # in words
    place: Place | None  # its first bit in the frame's bytes, and how many bits; None: not known
    varies: bool = False  # from run to run
    remark: str = ""  # what is unusual about it, in sentences

    @property
    def bytes(self) -> Place | None:
        """Its first byte in the frame's bytes, and how many bytes it touches."""
        if self.place is None:
            return None
        first, bits = self.place
        return first // 8, (first + bits + 7) // 8 - first // 8

    def where(self) -> str:
        """Return its place in words: "bytes 12 to 13", "bits 4 to 7 of byte 14" (bit 0 is the first), or ""."""
        if self.place is None or self.bytes is None or not self.place[1]:
            return ""
        first, size = self.bytes
        if self.place[0] % 8 == 0 and self.place[1] % 8 == 0:
            return _in_bytes(first, size)
        bit = self.place[0] % 8
        bits = f"bit {bit}" if self.place[1] == 1 else f"bits {bit} to {bit + self.place[1] - 1}"
        return f"{bits} of {_in_bytes(first, size)}"


class Layer(NamedTuple):
    """One header, or the payload."""

    name: str
    place: Place | None  # its first byte in the frame's bytes, and how many; None: not known
    fields: tuple[Field, ...]

    def where(self) -> str:
        """Return its place in words: "bytes 14 to 33", or ""."""
        return _in_bytes(*self.place) if self.place else ""


def _in_bytes(first: int, size: int) -> str:
    return f"byte {first}" if size == 1 else f"bytes {first} to {first + size - 1}"


def layers_of(frame: Frame) -> tuple[Layer, ...]:
    """Return the layers of a frame from the outside in, with the place of each field in `frame.data`."""
    layers: list[Layer] = []
    packet, at = _dissected(frame), 0
    known = True
    while packet is not None and type(packet).__name__ != "NoPayload":
        known = known and frame.data.startswith(packet.original, at)
        fields, size = _read(packet, packet.original, at if known else None)
        layers.append(Layer(packet.name, (at, size) if known else None, fields))
        packet, at = packet.payload, at + size
    return _remarked(frame, layers)


def _dissected(frame: Frame) -> Any:
    """scapy refuses a frame whose first header is cut short: then all of it is payload."""
    try:
        return dissect(frame.data, frame.linktype)
    except (struct.error, IndexError, ValueError):
        return dissect(frame.data, -1)


def _read(packet: Any, data: bytes, start: int | None) -> tuple[tuple[Field, ...], int]:
    """Return the fields of one layer, and how many bytes of `data`, `start` bytes into the frame, they take."""
    rest: Any = data
    found: list[Field] = []
    for field in packet.fields_desc:
        begin = _bits_done(data, rest)
        try:
            rest, again = field.getfield(packet, rest)
        except (struct.error, IndexError, ValueError, TypeError):
            if field.name not in packet.fields:
                continue  # not there: the bytes ended before
            start, again = None, None
        value = packet.fields.setdefault(field.name, again) if again is not None else packet.fields.get(field.name)
        if value is None or (isinstance(value, bytes | list) and not value):
            continue
        if isinstance(again, bytes) and isinstance(value, bytes) and again.startswith(value):
            again, rest = value, again[len(value) :] + rest  # the layer gave some of its bytes to the next
        place = (start * 8 + begin, _bits_done(data, rest) - begin) if start is not None else None
        if place and not place[1]:
            continue  # scapy's own, nothing on the wire
        if place is None or start is None or not _same(value, again, place, start, data):
            place = None
        found += _told(packet, field, value, place, data, start)
    return tuple(found), (_bits_done(data, rest) + 7) // 8


def _bits_done(data: bytes, rest: Any) -> int:
    """scapy hands on what is left of the bytes, and within a byte also how many of its bits are done."""
    if isinstance(rest, tuple):
        return (len(data) - len(rest[0])) * 8 + int(rest[1])
    return (len(data) - len(rest)) * 8


def _same(value: Any, again: Any, place: Place, start: int, data: bytes) -> bool:
    """Whether reading the place gave the value once more; for a bit field, whether its bits are the value."""
    if isinstance(value, list):
        return [_plain(one) for one in value] == [_plain(one) for one in again or ()]
    if place[1] % 8 and isinstance(value, int):
        first, end = place[0] - start * 8, place[0] - start * 8 + place[1]
        touched = int.from_bytes(data[first // 8 : (end + 7) // 8], "big") >> -end % 8
        return touched & ((1 << place[1]) - 1) == int(value)
    return bool(_plain(value) == _plain(again))


def _plain(value: Any) -> Any:
    return _taken(value) if hasattr(value, "fields_desc") else value


def _taken(packet: Any) -> Any:
    """Return the bytes that a packet in a list was made of; what follows it may hang on."""
    return packet.raw_packet_cache or packet.original


def _told(packet: Any, field: Any, value: Any, place: Place | None, data: bytes, start: int | None) -> Iterator[Field]:
    """Yield a field, or what is in it: the options, or the records, one by one."""
    if isinstance(value, list) and all(hasattr(one, "fields_desc") for one in value):
        yield from _records(field.name, value, place)
    elif packet.name in OPTIONS and field.name == "options":
        yield from _options(packet.name, value, place, data, start)
    else:
        yield Field(field.name, _words(packet, field, value), place, _varies(packet.name, field.name, value))


def _records(name: str, packets: list[Any], place: Place | None) -> Iterator[Field]:
    """Yield the fields of packets that lie one behind another, as IP's options and DNS's records do."""
    at = place[0] // 8 if place else None
    read = [_read(one, _taken(one), None) for one in packets]
    if place and sum(size for _, size in read) * 8 != place[1]:
        at = None
    for number, (one, (_, size)) in enumerate(zip(packets, read, strict=True)):
        called = name if len(packets) == 1 else f"{name}[{number}]"
        for field in _read(one, _taken(one), at)[0]:
            yield field._replace(name=f"{called}.{field.name}")
        at = None if at is None else at + size


def _options(layer: str, values: list[Any], place: Place | None, data: bytes, start: int | None) -> Iterator[Field]:
    """Yield TCP's or DHCP's options, each with its kind, length and value as one place."""
    places: list[Place] = []
    if place is not None and start is not None:
        first = place[0] // 8
        listed = data[first - start : first - start + place[1] // 8]
        places = [((first + at) * 8, size * 8) for at, size in _option_places(listed, *OPTIONS[layer])]
    for number, value in enumerate(values):
        name, *content = value if isinstance(value, tuple) else (value,)
        told = ", ".join(_content(one) for one in content if one not in (None, b""))
        where = places[number] if len(places) == len(values) else None
        yield Field("option", f"{name} {told}".strip(), where, name == "Timestamp")


def _content(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value)
    return value.hex(" ") if isinstance(value, bytes) else str(value)


def _option_places(data: bytes, single: tuple[int, ...], last: int, head: int) -> Iterator[Place]:
    at = 0
    while at < len(data):
        size = 1 if data[at] in single or at + 1 == len(data) else data[at + 1] + head
        if size < 1 or at + size > len(data):
            return
        yield at, size
        if data[at] == last:
            return
        at += size


def _words(packet: Any, field: Any, value: Any) -> str:
    """Return a value in words: its name, if it has one, and its number."""
    told = str(field.i2repr(packet, value))
    if isinstance(value, bytes):
        if field.name == "load":
            return "1 byte" if len(value) == 1 else f"{len(value)} bytes"
        return value.decode("ascii", "backslashreplace") if told == repr(value) else "empty" if told == "b''" else told
    if type(value).__name__ == "FlagValue":
        return _flags(packet.name, str(value))
    if not isinstance(value, int):
        return told
    if field.name in ("ihl", "dataofs"):
        return f"{value} ({value * 4} bytes)"
    if field.name == "frag" and value:
        return f"{value} (from byte {value * 8} on)"
    return _number(told, value, field)


def _number(told: str, value: int, field: Any) -> str:
    if told.startswith("0x"):
        return told if value < 10 or field.name in ("chksum", "cksum") else f"{told} ({value})"
    if told.lstrip("-").isdigit():
        return told
    return f"{told} ({value:#06x})" if type(field).__name__.startswith("X") else f"{told} ({value})"


def _flags(layer: str, letters: str) -> str:
    if layer.startswith("TCP"):
        return f"{letters} ({' '.join(TCP_FLAGS.get(letter, letter) for letter in letters)})" if letters else "none"
    return letters or "none"


def _varies(layer: str, name: str, value: Any) -> bool:
    layer = layer.removesuffix(" in ICMP")
    if layer == "TCP" and name == "options":
        return False  # each option tells for itself
    return name in VARIES.get(layer, ()) or ((layer, name) in PORTS and value in EPHEMERAL)


def _remarked(frame: Frame, layers: list[Layer]) -> tuple[Layer, ...]:
    """Return the layers with a remark beside each checksum that does not match, and each length beyond the MTU."""
    for number, layer in enumerate(layers[:-1]):
        if layer.place is None or layer.name not in ("IP", "IPv6"):
            continue
        said = _remarks_v4 if layer.name == "IP" else _remarks_v6
        transport = next((n for n in range(number + 1, len(layers)) if "chksum" in _names(layers[n])), number)
        place = layers[transport].place
        if place is None:
            continue
        about_header, about_segment = said(frame, layer.place[0], place[0])
        layers[number] = _with_remarks(layer, about_header)
        if transport != number:
            layers[transport] = _with_remarks(layers[transport], about_segment)
    return tuple(layers)


def _names(layer: Layer) -> set[str]:
    return {"chksum" if field.name == "cksum" else field.name for field in layer.fields}


def _with_remarks(layer: Layer, remarks: Mapping[str, str]) -> Layer:
    fields = (field._replace(remark=remarks.get(field.name, field.remark)) for field in layer.fields)
    return layer._replace(fields=tuple(fields))


def _remarks_v4(frame: Frame, at: int, inner: int) -> tuple[dict[str, str], dict[str, str]]:
    data = frame.data
    header = (data[at] & 15) * 4
    total, fragment = struct.unpack_from(">2xHxxH", data, at)
    protocol, source, destination = data[at + 9], data[at + 12 : at + 16], data[at + 16 : at + 20]
    about = {"chksum": header_remark(data[at : at + header]), "len": length_remark(protocol, total, frame.interface)}
    whole = inner == at + header and not fragment & 0x3FFF and header < total <= len(data) - at
    return about, _segment(protocol, source, destination, data[inner : at + total] if whole else b"")


def _remarks_v6(frame: Frame, at: int, inner: int) -> tuple[dict[str, str], dict[str, str]]:
    data = frame.data
    length, protocol = struct.unpack_from(">4xHB", data, at)
    about = {"plen": length_remark(protocol, length + 40, frame.interface)}
    whole = inner == at + 40 and 0 < length <= len(data) - inner
    segment = data[inner : inner + length] if whole else b""
    return about, _segment(protocol, data[at + 8 : at + 24], data[at + 24 : at + 40], segment)


def _segment(protocol: int, source: bytes, destination: bytes, segment: bytes) -> dict[str, str]:
    remark = segment_remark(protocol, source, destination, segment)
    return {"chksum": remark, "cksum": remark}
