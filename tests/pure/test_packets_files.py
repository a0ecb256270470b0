"""Captures as files: what is written is what tcpdump reads, and what is read is what was written."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from labkit.errors import NotFound, Refused, WrongUse
from labkit.packets import pcap
from labkit.packets.frames import Frame, Frames
from labkit.packets.links import RAW

PACKET = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b") / IP(src="10.0.0.2", dst="10.0.0.3") / ICMP(seq=1)
FRAME = Frame(1_795_424_238_531_243_566, "red", "eth0", "out", bytes(PACKET), len(PACKET))
FRAMES = Frames([FRAME, FRAME._replace(namespace="host", interface="br0", direction="in", length=9000)])


def content_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_a_capture_read_back_is_the_one_written(tmp_path: object) -> None:
    raw = FRAME._replace(interface="tun0", data=bytes(PACKET[IP]), linktype=RAW)
    frames = Frames([*FRAMES, raw])
    frames.to_pcap(f"{tmp_path}/a.pcapng")
    assert pcap.read(f"{tmp_path}/a.pcapng").frames == frames.frames


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs: tcpdump")
def test_tcpdump_reads_it_to_the_nanosecond() -> None:
    file = io.BytesIO()
    FRAMES.to_pcap(file)
    command = ["tcpdump", "-n", "-tt", "--nano", "-r", "-"]
    printed = subprocess.run(command, input=file.getvalue(), capture_output=True, check=True).stdout.decode()
    assert printed.startswith("1795424238.531243566 IP 10.0.0.2 > 10.0.0.3: ICMP echo request")


@pytest.mark.parametrize("nano", [False, True])
def test_a_classic_pcap_is_read_too(tmp_path: object, nano: bool) -> None:
    PACKET.time = 1.5
    wrpcap(f"{tmp_path}/a.pcap", [PACKET], nano=nano)
    (frame,) = pcap.read(f"{tmp_path}/a.pcap")
    assert (frame.time_ns, frame.data, frame.where) == (1_500_000_000, bytes(PACKET), "file/0")


def test_a_file_that_is_no_capture_is_refused_in_one_sentence(tmp_path: object) -> None:
    path = f"{tmp_path}/a.pcapng"
    FRAMES.to_pcap(path)
    whole = content_of(path)
    for content in (b"", b"hello", whole[:-3], whole[:70]):
        with open(path, "wb") as file:
            file.write(content)
        with pytest.raises(
            WrongUse, match=r"failed to read the capture '.*': it is no pcap or pcapng file, or it is cut"
        ):
            pcap.read(path)
    with pytest.raises(NotFound, match="no such file"):
        pcap.read(f"{tmp_path}/nothing")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs: /dev/full")
def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{tmp_path}/a.pcapng"
    FRAMES.to_pcap(path)
    before = content_of(path)
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(pcap.os, "fdopen", lambda _descriptor, _mode: full)
        monkeypatch.setattr(pcap.os, "fchmod", lambda *_: None)
        with pytest.raises(Refused, match="no space left on device"):
            Frames([FRAME] * 1000).to_pcap(path)
    assert content_of(path) == before
    assert os.listdir(str(tmp_path)) == ["a.pcapng"]


def test_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(Refused, match=r"failed to write the capture to '/nowhere/a.pcapng': no such file or directory"):
        FRAMES.to_pcap("/nowhere/a.pcapng")


def test_layers_are_shown_without_what_varies() -> None:
    text = str(FRAME.show())
    assert text.splitlines()[0] == "Ethernet"
    assert "    id        varies" in text
    assert "      type      echo-request" in text
    assert repr(FRAME.show()) == text
    assert FRAME.packet[IP].src == "10.0.0.2"


def test_the_frame_is_one_line() -> None:
    assert repr(FRAME) == "red/eth0 out 10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1"


def test_packets_and_a_dissection_import_little_of_scapy() -> None:
    program = (
        "import sys, labkit.packets\n"
        "assert not [m for m in sys.modules if m.startswith('scapy')], 'scapy at import'\n"
        "from labkit.packets.layers import dissect\n"
        f"dissect(bytes.fromhex('{FRAME.data.hex()}'), 1)\n"
        "assert 'scapy.all' not in sys.modules and 'scapy.layers.dns' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: object) -> None:
    path = f"{tmp_path}/pipe"
    os.mkfifo(path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    pcap.write(path, [Frame(1, "red", "eth0", "out", bytes(60), 60, 1)])
    assert reader.communicate(timeout=10)[0].startswith(b"\x0a\x0d\x0d\x0a")
    assert stat.S_ISFIFO(os.stat(path).st_mode)
