"""What the capture view answers: rows, one frame with the bytes of its fields, the picture, the file."""

from __future__ import annotations

import io
import shutil
from typing import Any, Literal

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import ARP, Ether

from labkit.live.capture import CaptureView, capture_view
from labkit.packets import Frame, Frames, pcap

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
IP4 = IP(src="10.0.0.2", dst="10.0.0.3")
needs_tcpdump = pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs: tcpdump")


def frame(number: int, packet: object, where: str = "red/eth0", direction: Literal["in", "out"] = "out") -> Frame:
    data = bytes(packet)  # type: ignore[call-overload]
    namespace, _, interface = where.partition("/")
    return Frame(10**18 + number * 1_500_000, namespace, interface, direction, data, len(data))


FRAMES = Frames(
    [
        frame(0, Ether(src=A, dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="10.0.0.2", pdst="10.0.0.3", hwsrc=A)),
        frame(1, Ether(src=A, dst=B) / IP4 / ICMP(seq=1)),
        frame(2, Ether(src=A, dst=B) / IP4 / ICMP(seq=1), "blue/eth0", "in"),
        frame(3, Ether(src=A, dst=B) / IP4 / TCP(dport=80)),
    ],
    dropped=2,
    notes=["the kernel dropped 2 frames that nobody read in time"],
)


@pytest.fixture
def view() -> CaptureView:
    return capture_view(FRAMES)


def rows(view: CaptureView, **question: Any) -> dict[str, Any]:
    return view._rows({"page": "1", **question})


def test_rows_have_number_time_place_direction_and_summary(view: CaptureView) -> None:
    answer = rows(view)
    assert answer["rows"][:2] == [
        [1, "0.000", "red/eth0", "out", "ARP who-has 10.0.0.3 tell 10.0.0.2"],
        [2, "1.500", "red/eth0", "out", "10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1"],
    ]
    assert (answer["matched"], answer["total"], answer["running"], answer["problem"]) == (4, 4, False, "")
    assert (answer["dropped"], answer["notes"]) == (2, ["the kernel dropped 2 frames that nobody read in time"])


def test_only_the_rows_in_sight_are_sent(view: CaptureView) -> None:
    assert [row[0] for row in rows(view, first=1, count=2)["rows"]] == [2, 3]
    assert rows(view, first=9)["rows"] == []


@needs_tcpdump
@pytest.mark.parametrize(
    ("words", "numbers", "read_as"),
    [
        ("arp", [1], "a tcpdump filter"),
        ("icmp or tcp port 80", [2, 3, 4], "a tcpdump filter"),
        ("host 10.0.0.3", [1, 2, 3, 4], "a tcpdump filter"),
        ("10.0.0.3:80", [4], "words"),
        ("blue", [3], "words"),
        ("RED/eth0 echo", [2], "words"),
        ("  ", [1, 2, 3, 4], ""),
    ],
)
def test_what_is_typed_is_tcpdumps_or_words(view: CaptureView, words: str, numbers: list[int], read_as: str) -> None:
    answer = rows(view, filter=words)
    assert ([row[0] for row in answer["rows"]], answer["read_as"], answer["problem"]) == (numbers, read_as, "")


@needs_tcpdump
def test_an_empty_table_says_why(view: CaptureView) -> None:
    answer = rows(view, filter="icmp foo")
    assert answer["rows"] == []
    assert answer["problem"] == (
        "No frame has all of these words. Failed to compile filter 'icmp foo': can't parse filter expression: "
        "syntax error."
    )


def test_without_tcpdump_words_still_work(view: CaptureView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert [row[0] for row in rows(view, filter="echo-request blue")["rows"]] == [3]
    assert "tcpdump is not installed" in rows(view, filter="echo-request green")["problem"]


def test_a_frame_is_told_with_the_bytes_of_each_field(view: CaptureView) -> None:
    answer = view._frame({"frame": 2})
    assert answer is not None
    assert answer["title"] == "2: red/eth0 out 10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1"
    assert [layer["name"] for layer in answer["layers"]] == ["Ethernet", "IP", "ICMP"]
    assert answer["layers"][1]["fields"][1] == {
        "name": "ihl",
        "value": "5 (20 bytes)",
        "bytes": (14, 1),
        "where": "bits 4 to 7 of byte 14",
        "remark": "",
    }
    assert bytes.fromhex(answer["hex"]) == FRAMES[1].data
    assert view._frame({"frame": 5}) is None


@needs_tcpdump
def test_the_picture_and_the_file_follow_the_filter(view: CaptureView, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[dict[str, Any], Any]] = []
    monkeypatch.setattr(view, "send", lambda content, buffers=None: sent.append((content, buffers)))
    assert view._picture({"filter": "arp"})["text"].splitlines()[0].endswith("ARP who-has 10.0.0.3 tell 10.0.0.2")
    view._pcap({"page": "1", "filter": "icmp"})
    view._pcap({"page": "1", "filter": ""})
    assert [(told["name"], told["frames"]) for told, _ in sent] == [
        ("capture-filtered.pcapng", 2),
        ("capture.pcapng", 4),
    ]
    whole = io.BytesIO()
    FRAMES.to_pcap(whole)
    assert sent[1][1] == [whole.getvalue()]


def test_the_static_form_is_that_of_the_capture(view: CaptureView) -> None:
    bundle = view._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    static = FRAMES._repr_mimebundle_()
    assert {kind: data[kind] for kind in static} == static


def test_of_5000_frames_a_page_gets_200_at_most() -> None:
    many = capture_view(Frames([FRAMES[1]] * 5000))
    answer = rows(many, filter="echo-request seq=1", count=5000)
    assert (answer["matched"], len(answer["rows"])) == (5000, 200)


def test_the_pcap_of_a_view_reads_back(view: CaptureView, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(view, "send", lambda content, buffers=None: sent.extend(buffers))
    view._pcap({"page": "1"})
    (tmp_path / "file.pcapng").write_bytes(sent[0])
    assert pcap.read(str(tmp_path / "file.pcapng")).frames == FRAMES.frames
