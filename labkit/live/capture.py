"""How is a capture looked through? A table that is filtered by typing, one frame's layers and bytes, and the sequence.

The browser asks for the rows that it shows, and gets no others: a capture of 100,000 frames opens as fast as one of 10.
While the capture runs and some page shows it, a thread looks four times a second whether more has come.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from labkit import see
from labkit.errors import LabkitError
from labkit.live.view import View
from labkit.packets import Capture, Frame, Frames, decode, filters
from labkit.packets.fields import layers_of

__all__ = ["CaptureView", "capture_view"]

EVERY = 0.25  # seconds between two looks at a running capture
SHARE = 0.2  # of one core, that reading a big one over and over takes at most
UNKNOWN = "its bytes are not known"
ROWS = 200  # sent at once at most
Message = Mapping[str, Any]

_summary = lru_cache(maxsize=20_000)(decode.summary)


class _Found(NamedTuple):
    """The frames that a filter lets pass, as places in the capture; how the filter was read; why nothing passes."""

    places: list[int]
    read_as: str = ""
    problem: str = ""


def capture_view(frames: Frames) -> CaptureView:
    """Return the live view of a capture, running or not, or of any frames."""
    return CaptureView(frames)


class CaptureView(View):
    """A capture to look through. While it runs and is shown, it grows."""

    def __init__(self, frames: Frames) -> None:
        self._capture = frames
        self._windows: dict[str, Message] = {}  # what each page asked for last
        self._over: threading.Event | None = None
        self._drawn = len(frames)
        answers = {"rows": self._rows, "frame": self._frame, "picture": self._picture, "pcap": self._pcap}
        super().__init__("capture", see.capture(frames), answers)

    def wake(self) -> None:
        """A page shows it: it follows the capture, if that runs."""
        with self._lock:
            if self._over is None and self._running:
                self._over = threading.Event()
                threading.Thread(target=self._follow, args=(self._over,), name="labkit-view", daemon=True).start()

    def sleep(self) -> None:
        """No page shows it: it follows nothing."""
        with self._lock:
            if self._over is not None:
                self._over.set()
            self._over = None
            self._windows.clear()

    @property
    def _running(self) -> bool:
        return isinstance(self._capture, Capture) and self._capture.running

    def _follow(self, over: threading.Event) -> None:
        capture = self._capture
        assert isinstance(capture, Capture)
        seen, pause, running = capture.arrived, EVERY, True
        while running and not over.wait(pause):
            running, arrived = capture.running, capture.arrived
            if running and arrived == seen:
                continue
            begin, seen = time.monotonic(), arrived
            for page, question in list(self._windows.items()):
                self.send({"ask": "rows", "page": page, **self._rows(question)})
            pause = max(EVERY, (time.monotonic() - begin) * (1 / SHARE - 1))
        with self._lock:
            if self._over is over:
                self._over = None

    def _rows(self, question: Message) -> dict[str, Any]:
        """Answer with the rows from `first` on, of those that `filter` lets pass."""
        self._windows[str(question.get("page"))] = question
        running = self._running  # before reading: what comes in between is told by the next answer
        frames = self._capture.frames
        found = _matching(frames, str(question.get("filter", "")))
        first = max(0, int(question.get("first", 0)))
        wanted = found.places[first : first + min(ROWS, int(question.get("count", ROWS)))]
        begin = frames[0].time_ns if frames else 0
        return {
            "rows": [_row(number, frames[number], begin) for number in wanted],
            "first": first,
            "matched": len(found.places),
            "total": len(frames),
            "read_as": found.read_as,
            "problem": found.problem,
            "running": running,
            "dropped": self._capture.dropped,
            "notes": list(self._capture.notes),
        }

    def _frame(self, question: Message) -> dict[str, Any] | None:
        """Answer with the layers and bytes of the frame `frame`, counted from 1."""
        frames, number = self._capture.frames, int(question.get("frame", 0))
        if not 1 <= number <= len(frames):
            return None
        frame = frames[number - 1]
        return {"frame": number, "title": f"{number}: {frame!r}", **_opened(frame)}

    def _picture(self, question: Message) -> dict[str, Any]:
        """Answer with the sequence of the frames that pass."""
        chosen, _ = self._chosen(question)
        return {"svg": see.capture_svg(chosen), "text": see.capture_text(chosen)}

    def _pcap(self, question: Message) -> None:
        """Send the frames that pass as a file, beside the message."""
        chosen, all_of_them = self._chosen(question)
        file = io.BytesIO()
        chosen.to_pcap(file)
        name = "capture.pcapng" if all_of_them else "capture-filtered.pcapng"
        told = {"ask": "pcap", "page": question.get("page"), "name": name, "frames": len(chosen)}
        self.send(told, buffers=[file.getvalue()])

    def _chosen(self, question: Message) -> tuple[Frames, bool]:
        frames, words = self._capture.frames, str(question.get("filter", ""))
        places = _matching(frames, words).places
        chosen = Frames([frames[at] for at in places], dropped=self._capture.dropped, notes=self._capture.notes)
        return chosen, not words.strip()

    def _redraw(self) -> None:
        """What notebooks keep shows what came until now."""
        count = len(self._capture)
        if count != self._drawn and not self._closing:
            self._drawn = count
            with self._lock:
                self.state = {
                    **self.state,
                    "svg": see.capture_svg(self._capture),
                    "text": see.capture_text(self._capture),
                }

    def __repr__(self) -> str:
        self._redraw()
        return super().__repr__()


def _matching(frames: tuple[Frame, ...], words: str) -> _Found:
    """Return what passes: a tcpdump expression if tcpdump takes it for one, else words that a row must all have."""
    words = " ".join(words.split())
    if not words:
        return _Found(list(range(len(frames))))
    try:
        filters.compile_expression(words)
    except LabkitError as error:
        refusal = error.message
    else:
        return _Found([at for at, frame in enumerate(frames) if filters.matches(words, frame)], "a tcpdump filter")
    wanted = words.lower().split()
    places = [at for at, frame in enumerate(frames) if all(word in _line(frame) for word in wanted)]
    if places or not frames:
        return _Found(places, "words")
    return _Found([], "words", f"No frame has all of these words. {refusal[0].upper()}{refusal[1:]}.")


def _line(frame: Frame) -> str:
    return f"{frame.where} {frame.direction} {_summary(frame.data, frame.length, frame.linktype)}".lower()


def _row(at: int, frame: Frame, begin: int) -> list[Any]:
    summary = _summary(frame.data, frame.length, frame.linktype)
    return [at + 1, f"{(frame.time_ns - begin) / 1e6:.3f}", frame.where, frame.direction, summary]


def _opened(frame: Frame) -> dict[str, Any]:
    """Return the layers, each field with its place (first bit, bits) and in words, and the bytes as hex."""
    layers = [
        {
            "name": layer.name,
            "place": layer.place,
            "where": layer.where() or UNKNOWN,
            "fields": [
                {
                    "name": field.name,
                    "value": field.value,
                    "bytes": field.bytes,
                    "where": field.where() or UNKNOWN,
                    "remark": field.remark,
                }
                for field in layer.fields
            ],
        }
        for layer in layers_of(frame)
    ]
    return {"layers": layers, "hex": frame.data.hex(), "length": frame.length}
