"""The view of a capture that runs: it grows while a page shows it, says what was dropped, and then rests."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from labkit.live.capture import CaptureView, capture_view
from labkit.net import namespace
from labkit.packets import Capture, capture, connect, send, serve
from labkit.packets.checksums import UNFINISHED
from labkit.packets.fields import layers_of

FRAME = b"\x02" * 12 + b"\x88\xb5" + bytes(46)


@pytest.fixture
def pair(network: None) -> Iterator[None]:
    """red (10.0.0.2) and blue (10.0.0.3) on one veth."""
    namespace.add("red")
    namespace.add("blue")
    script = """
    ip link add eth0 netns red type veth peer name eth0 netns blue
    for name in red blue; do ip -n $name link set eth0 up; ip -n $name link set lo up; done
    ip -n red address add 10.0.0.2/24 dev eth0; ip -n blue address add 10.0.0.3/24 dev eth0
    ip -n red link; ip -n blue link  # reading flushes the pending carrier event
    """
    subprocess.run(["sh", "-ec", script], check=True, stdout=subprocess.DEVNULL)
    yield
    wait_until(lambda: not following())


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def following() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "labkit-view"]


class Page:
    """What a page does: it says that it shows the view, asks for rows, and hears."""

    def __init__(self, seen: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[dict[str, Any]] = []
        self.view: CaptureView = capture_view(seen)
        monkeypatch.setattr(self.view, "send", lambda content, buffers=None: self.heard.append(content))
        self.tell("shown", id="page")
        self.tell("rows", page="page", filter="ether proto 0x88b5", first=0, count=50)

    def tell(self, ask: str, **more: Any) -> None:
        self.view._asked(self.view, {"ask": ask, **more}, [])

    def rows(self) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["ask"] == "rows"]

    def matched(self) -> int:
        return int(self.rows()[-1]["matched"])


def test_what_arrives_is_shown_without_being_asked_for(pair: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture("blue/eth0") as seen:
        page = Page(seen, monkeypatch)
        assert (page.matched(), page.rows()[-1]["running"]) == (0, True)
        for number in (1, 2):
            send(FRAME, "red", "eth0")
            wait_until(lambda number=number: page.matched() == number)
        asked = len(page.rows())
    wait_until(lambda: not page.rows()[-1]["running"])
    wait_until(lambda: not following())
    assert len(page.rows()) <= asked + 2
    assert repr(page.view) == repr(seen)


def test_while_nothing_arrives_nothing_is_sent(pair: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labkit.live.capture.EVERY", 0.01)
    with capture("blue/eth0", filter="ether proto 0x88b5") as seen:
        page = Page(seen, monkeypatch)
        looks = 0
        arrived = Capture.arrived.fget  # type: ignore[attr-defined]

        def counted(one: Capture) -> int:
            nonlocal looks
            looks += 1
            return int(arrived(one))

        monkeypatch.setattr(Capture, "arrived", property(counted))
        wait_until(lambda: looks > 10)
        assert len(page.rows()) == 1
        page.tell("hidden", id="page")


@pytest.mark.parametrize("how", ["hidden", "closed"])
def test_hidden_or_closed_it_follows_nothing(pair: None, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    with capture("blue/eth0") as seen:
        page = Page(seen, monkeypatch)
        assert following()
        if how == "hidden":
            page.tell("hidden", id="page")
        else:
            page.view.close()
        wait_until(lambda: not following())
        if how == "hidden":
            page.tell("shown", id="page")
            assert following()


def test_shown_many_times_it_has_one_thread(pair: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture("blue/eth0") as seen:
        page = Page(seen, monkeypatch)
        for number in range(20):
            page.tell("here", id=f"page {number}")
            page.tell("shown", id="page")
        assert len(following()) == 1


def test_what_came_after_the_bound_is_counted_and_said(pair: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture("blue/eth0", limit=10, filter="ether proto 0x88b5") as seen:
        page = Page(seen, monkeypatch)
        send([FRAME] * 25, "red", "eth0")
        wait_until(lambda: page.rows()[-1]["dropped"] == 15)
    answer = page.view._rows({"page": "page"})
    assert (answer["total"], answer["dropped"], answer["running"]) == (10, 15, False)
    assert answer["notes"] == ["15 frames came after the bound (10 frames, 67108864 bytes) was reached"]


def test_a_capture_that_is_read_while_it_stops_loses_nothing(pair: None) -> None:
    """A view's thread reads while the cell stops it."""
    for _ in range(20):
        seen = capture("blue/eth0", filter="ether proto 0x88b5").start()
        over = threading.Event()

        def read(seen: Capture = seen, over: threading.Event = over) -> None:
            while not over.is_set():
                _ = seen.frames

        reader = threading.Thread(target=read)
        reader.start()
        send([FRAME] * 50, "red", "eth0")
        seen.stop()
        over.set()
        reader.join()
        assert len(seen) == 50


def test_a_checksum_on_a_veth_is_explained_until_offload_is_off(pair: None) -> None:
    def remarks() -> set[str]:
        with capture("blue/eth0", filter="tcp[tcpflags] & tcp-syn != 0 and dst port 80") as seen, serve("blue", 80):
            assert connect("red", "10.0.0.3", 80)
        assert len(seen)
        return {field.remark for frame in seen for layer in layers_of(frame) for field in layer.fields} - {""}

    assert remarks() == {UNFINISHED}
    off = ["ip", "netns", "exec", "red", "ethtool", "-K", "eth0", "tx", "off"]
    try:
        subprocess.run(off, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs: ethtool")
    assert remarks() == set()
