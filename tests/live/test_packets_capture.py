"""Captures on real links: nothing missed, a clear beginning and end, and nothing left behind."""

from __future__ import annotations

import _thread
import asyncio
import gc
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from labkit.errors import NotFound, NotInLabMachine, WrongUse
from labkit.net import here, namespace
from labkit.packets import capture, ping, read, send
from labkit.packets.closing import MOST
from labkit.packets.inside import inside

BLUE_MAC = "02:00:00:00:00:0b"


def sh(script: str) -> str:
    return subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def pair(network: None) -> Iterator[None]:
    """red (10.0.0.2) and blue (10.0.0.3) on one veth, with permanent neighbours: no ARP unless asked for."""
    namespace.add("red")
    namespace.add("blue")
    sh(f"""
    ip link add eth0 netns red address 02:00:00:00:00:0a type veth peer name eth0 netns blue address {BLUE_MAC}
    ip -n red address add 10.0.0.2/24 dev eth0; ip -n blue address add 10.0.0.3/24 dev eth0
    ip -n red link set eth0 up; ip -n blue link set eth0 up; ip -n red link set lo up
    ip -n red link; ip -n blue link  # reading flushes the pending carrier event
    ip -n red neighbour add 10.0.0.3 dev eth0 lladdr {BLUE_MAC}
    ip -n blue neighbour add 10.0.0.2 dev eth0 lladdr 02:00:00:00:00:0a
    """)
    yield
    wait_until(lambda: not labkit_threads())


def needs_tcpdump() -> None:
    """In a lab machine of an ordinary user, Debian's tcpdump ends when it tries to become the user tcpdump."""
    empty = struct.pack("=IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    done = subprocess.run(["tcpdump", "-r", "-"], input=empty, capture_output=True, check=False)
    if b"Couldn't change to" in done.stderr:
        pytest.skip("needs: a tcpdump that runs where only one user is mapped")


def wait_until(condition: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def labkit_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("labkit-")]


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def frame(number: int = 0, size: int = 60) -> bytes:
    return (b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb5" + struct.pack(">I", number)).ljust(size, b"\0")


def numbers(frames: object) -> list[int]:
    return [struct.unpack_from(">I", one.data, 14)[0] for one in frames if one.data[12:14] == b"\x88\xb5"]  # type: ignore[attr-defined]


def blasted(frames: object) -> list[int]:
    return [struct.unpack_from(">I", one.data, 42)[0] for one in frames if one.data[23] == 17]  # type: ignore[attr-defined]


def test_a_packet_is_seen_at_both_ends_in_the_order_of_its_way(pair: None) -> None:
    with capture("red", "blue/eth0") as seen:
        ping("red", "10.0.0.3")
    assert [repr(one) for one in seen] == [
        "red/eth0 out 10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1",
        "blue/eth0 in 10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1",
        "blue/eth0 out 10.0.0.3 > 10.0.0.2 ICMP echo-reply seq=1",
        "red/eth0 in 10.0.0.3 > 10.0.0.2 ICMP echo-reply seq=1",
    ]
    assert (seen.dropped, seen.notes, seen.running) == (0, (), False)


def test_it_says_the_same_as_tcpdump(pair: None) -> None:
    needs_tcpdump()
    tcpdump = subprocess.Popen(
        ["ip", "netns", "exec", "blue", "tcpdump", "-n", "-tt", "--nano", "-i", "eth0", "-c", "2", "--immediate-mode"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert tcpdump.stderr is not None
    while "listening" not in tcpdump.stderr.readline():
        pass
    with capture("blue/eth0") as seen:
        ping("red", "10.0.0.3")
    printed, _ = tcpdump.communicate(timeout=10)
    times = [int(float_.replace(".", "")) for float_ in re.findall(r"^(\d+\.\d{9}) ", printed, re.MULTILINE)]
    assert [one.time_ns for one in seen] == times


def test_of_1000_rounds_none_misses_its_packet(pair: None) -> None:
    outside = inside("red", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    outside.bind(("eth0", 0))
    with outside:
        for number in range(1000):
            cap = capture("blue/eth0")
            cap.start()
            outside.send(frame(number))
            cap.stop()
            outside.send(frame(5_000_000))
            # on a slow kernel the last round's second frame may be on its way still when this capture begins
            assert numbers(cap) in ([number], [5_000_000, number])


@pytest.mark.parametrize("pause", [0.0, 0.004, 0.012, 0.05])
def test_the_move_to_the_ring_neither_loses_nor_doubles_a_frame(pair: None, pause: float) -> None:
    outside = inside("red", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    outside.bind(("eth0", 0))
    with outside, capture("blue/eth0") as seen:
        end = time.monotonic() + 0.03 + pause
        number = 0
        while time.monotonic() < end:
            outside.send(frame(number))
            number += 1
            time.sleep(0.0001)
    assert numbers(seen) == list(range(number))


def test_after_the_end_nothing_more_comes_in(pair: None) -> None:
    with capture("blue/eth0") as seen:
        time.sleep(0.03)
        send(frame(1), "red", "eth0")
    send(frame(2), "red", "eth0")
    assert numbers(seen) == [1]
    assert seen.stop() is seen
    assert numbers(seen) == [1]


def test_reading_while_it_runs_shows_what_came_until_now(pair: None) -> None:
    with capture("blue/eth0") as seen:
        for number in range(5):
            send(frame(number), "red", "eth0")
            assert len(seen) == number + 1
            time.sleep(0.01 * number)
        assert seen.wait(count=5)
        assert not seen.wait("icmp", timeout=0.05)
        assert seen.running


def test_started_again_it_starts_over(pair: None) -> None:
    seen = capture("blue/eth0").start()
    send(frame(1), "red", "eth0")
    with pytest.raises(WrongUse, match="failed to start the capture: it is running already"):
        seen.start()
    seen.stop()
    with seen:
        send(frame(2), "red", "eth0")
    assert numbers(seen) == [2]


def test_a_filter_lets_the_kernel_choose(pair: None) -> None:
    with capture("red", filter="icmp[0] = 8") as seen, capture("red", "blue", filter="arp") as nothing:
        ping("red", "10.0.0.3", count=2)
    assert [one.direction for one in seen] == ["out", "out"]
    assert len(nothing) == 0


def test_of_several_links_in_one_namespace_only_those_named_are_heard(pair: None) -> None:
    sh("ip -n red link add eth1 type veth peer name eth2; for i in 1 2; do ip -n red link set eth$i up; done")
    for expression in ("", "ether proto 0x88b5"):
        with capture("red/eth0", "red/eth1", filter=expression) as seen:
            send(frame(1), "red", "eth1")
            send(frame(2), "red", "eth0")
        assert [(one.interface, one.direction) for one in seen] == [("eth1", "out"), ("eth0", "out")]


def test_snap_keeps_the_beginning_and_says_the_length(pair: None) -> None:
    for pause in (0.0, 0.03):
        with capture("red", snap=40, filter="ether proto 0x88b5") as seen, capture("blue/eth0", snap=20) as other:
            time.sleep(pause)
            send(frame(1, 1000), "red", "eth0")
        assert [(len(one.data), one.length) for one in (*seen, *other)] == [(40, 1000), (20, 1000)]


def test_a_vlan_tag_is_where_it_was(pair: None) -> None:
    tagged = b"\xff" * 6 + b"\x02" * 6 + struct.pack(">HHH", 0x8100, 7, 0x88B5) + bytes(46)
    for pause in (0.0, 0.03):
        with capture("blue/eth0", filter="vlan 7") as seen, capture("blue/eth0", filter="vlan 8") as nothing:
            time.sleep(pause)
            send(tagged, "red", "eth0")
        assert [one.data for one in seen] == [tagged]
        assert seen[0].summary().startswith("VLAN 7 ")
        assert len(seen.where("vlan 7")) == 1
        assert len(nothing) == 0


def test_on_lo_a_frame_is_shown_once(pair: None) -> None:
    with capture("red") as seen:
        ping("red", "127.0.0.1")
    assert [one.summary() for one in seen] == [
        "127.0.0.1 > 127.0.0.1 ICMP echo-request seq=1",
        "127.0.0.1 > 127.0.0.1 ICMP echo-reply seq=1",
    ]


def test_a_link_that_appears_meanwhile_is_captured_by_its_name(pair: None) -> None:
    with capture("red") as seen:
        time.sleep(0.03)
        sh("ip -n red link add new0 type veth peer name new1; ip -n red link set new0 up; ip -n red link set new1 up")
        end = time.monotonic() + 10  # the kernel tells of the link first, and a busy computer hears it late
        while not seen.where("ether proto 0x88b5") and time.monotonic() < end:
            send(frame(1), "red", "new0")
            time.sleep(0.02)
    assert [one.interface for one in seen.where("ether proto 0x88b5")][:2] == ["new0", "new1"]


def test_bounds_keep_the_first_frames_and_say_what_is_missing(pair: None) -> None:
    for pause in (0.0, 0.03):
        with capture("blue/eth0", limit=10) as seen:
            time.sleep(pause)
            send([frame(number) for number in range(25)], "red", "eth0")
        assert numbers(seen) == list(range(10))
        assert seen.dropped == 15
        assert seen.notes == ("15 frames came after the bound (10 frames, 67108864 bytes) was reached",)
    for pause in (0.0, 0.03):
        with capture("blue/eth0", bytes=5000) as seen:
            time.sleep(pause)
            send([frame(number, 1000) for number in range(25)], "red", "eth0")
        assert (len(seen), seen.dropped) == (5, 20)


def test_no_frame_is_lost_while_python_computes(pair: None) -> None:
    """20,000 frames at 50,000 a second from another process, while this one holds the interpreter."""
    blast = os.path.join(os.path.dirname(here.__file__), "..", "..", "benchmarks", "blast.py")
    with capture("blue/eth0") as seen:
        time.sleep(0.2)  # the ring is there; until then 10 ms of such a flood fit into an ordinary user's socket
        sender = subprocess.Popen(
            [sys.executable, blast, "red", "eth0", "20000", "100", "50000"], stdout=subprocess.DEVNULL
        )
        while sender.poll() is None:
            sum(range(100_000))
    assert blasted(seen) == list(range(20000))
    assert seen.dropped == 0


def test_at_50000_a_second_what_comes_beyond_the_bound_is_counted_to_the_last_frame(pair: None) -> None:
    blast = os.path.join(os.path.dirname(here.__file__), "..", "..", "benchmarks", "blast.py")
    with capture("blue/eth0", limit=12_000, filter="udp port 4001") as seen:
        command = [sys.executable, blast, "red", "eth0", "20000", "100", "50000"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    assert blasted(seen) == list(range(12_000))
    assert seen.dropped == 8000
    assert seen.notes == ("8000 frames came after the bound (12000 frames, 67108864 bytes) was reached",)


def test_a_link_deleted_meanwhile_ends_quietly_with_a_sentence(pair: None) -> None:
    for pause in (0.0, 0.03):
        sh("ip -n red link add eth1 type veth peer name eth2; for i in 1 2; do ip -n red link set eth$i up; done")
        with capture("red/eth1") as seen:
            time.sleep(pause)
            send(frame(1), "red", "eth1")
            sh("ip -n red link delete eth1")
            time.sleep(0.02)
        assert numbers(seen) == [1]
        assert seen.notes == ("link 'eth1' in namespace 'red' was deleted meanwhile",)


def test_a_link_that_goes_down_and_up_is_heard_again(pair: None) -> None:
    for pause in (0.0, 0.03):
        with capture("red/eth0") as seen:
            time.sleep(pause)
            sh("ip -n red link set eth0 down; ip -n red link set eth0 up")
            wait_until(lambda: "LOWER_UP" in sh("ip -n red link show eth0"))
            send(frame(1), "red", "eth0")
        assert numbers(seen) == [1]
        assert seen.notes == ()


def test_a_link_that_is_down_is_heard_once_it_is_up(pair: None) -> None:
    sh("ip -n red link set eth0 down")
    with capture("red/eth0") as seen:
        sh("ip -n red link set eth0 up")
        wait_until(lambda: "LOWER_UP" in sh("ip -n red link show eth0"))
        send(frame(1), "red", "eth0")
    assert numbers(seen) == [1]


def test_a_namespace_deleted_meanwhile_is_told(pair: None) -> None:
    with capture("red", "blue") as seen:
        send(frame(1), "red", "eth0")
        sh("ip netns delete red")
    assert len(seen.at("red", "blue")) == 2
    assert "namespace 'red' was deleted meanwhile" in seen.notes


def test_the_namespace_dies_as_soon_as_the_capture_lets_go(pair: None) -> None:
    seen = capture("red", "blue").start()
    time.sleep(0.03)
    sh("ip netns delete red")
    seen.stop()
    wait_until(lambda: "eth0" not in sh("ip -n blue link"))  # the other end of the veth goes with it


def test_a_frame_with_no_ethernet_header_is_decoded_and_filtered(pair: None) -> None:
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("needs: /dev/net/tun, open to this user")
    sh("""ip -n red tuntap add tun0 mode tun; ip -n red address add 10.9.0.1/24 dev tun0; ip -n red link set tun0 up""")

    def attach() -> int:
        import fcntl

        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
        return descriptor

    tun = inside("red", attach)
    try:
        with capture("red/tun0", filter="icmp") as seen, capture("red", filter="icmp") as ethernet_only:
            assert not ping("red", "10.9.0.2", timeout=0.1).answered
        with capture("red") as whole:
            ping("red", "10.9.0.2", timeout=0.1)
    finally:
        os.close(tun)
    line = "10.0.9.1 > 10.9.0.2 ICMP echo-request seq=1".replace("10.0.9.1", "10.9.0.1")
    assert seen.summaries() == whole.summaries() == [line]
    assert len(ethernet_only) == 0
    assert len(seen.where("icmp")) == 1


REFUSALS = [
    ("red/eth7", NotFound, "failed to capture on 'eth7' in namespace 'red': no such link\nlinks there: lo, eth0"),
    ("green", NotFound, "failed to enter namespace 'green': no such namespace\nnamespaces there: host, blue, red"),
]


@pytest.mark.parametrize(("where", "kind", "sentence"), REFUSALS)
def test_what_is_not_there_is_refused_and_nothing_stays_open(
    pair: None, where: str, kind: type[Exception], sentence: str
) -> None:
    before = open_descriptors()
    with pytest.raises(kind) as refusal:
        capture("blue", where).start()
    assert str(refusal.value) == sentence
    wait_until(lambda: open_descriptors() == before)


def test_a_bad_filter_is_refused_and_nothing_stays_open(pair: None) -> None:
    before = open_descriptors()
    with pytest.raises(WrongUse, match="failed to compile filter 'icmp foo'"):
        capture("blue", filter="icmp foo").start()
    with pytest.raises(WrongUse, match="failed to capture: nothing named to capture on"):
        capture()
    with pytest.raises(WrongUse, match="failed to capture on '/eth0': it names no namespace"):
        capture("/eth0")
    wait_until(lambda: open_descriptors() == before)


def test_nothing_is_left_behind(pair: None) -> None:
    with capture("red"):
        pass
    wait_until(lambda: not labkit_threads())
    before = open_descriptors()
    for pause in [0.0] * 3 * MOST + [0.03] * 3:
        with capture("red", "blue/eth0"):
            time.sleep(pause)
            ping("red", "10.0.0.3")
    forgotten = capture("red").start()
    time.sleep(0.03)
    del forgotten
    wait_until(lambda: open_descriptors() == before and not labkit_threads())


def test_it_works_where_an_event_loop_runs(pair: None) -> None:
    async def cell() -> int:
        with capture("red") as seen:
            ping("red", "10.0.0.3")
        return len(seen)

    assert asyncio.run(cell()) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # interrupted before it was closed
def test_an_interrupt_ends_it_and_leaves_this_thread_where_it_was(pair: None) -> None:
    home = os.stat("/proc/thread-self/ns/net").st_ino
    with capture("red"):  # the host's netlink socket is open from now on
        pass
    before = open_descriptors()
    seen = capture("red")

    def cell() -> None:
        with seen:
            timer.start()
            while True:
                ping("red", "10.0.0.3", count=100)
                len(seen)

    def interrupt() -> None:
        """As often as it takes: Python drops one that comes while an object is being taken apart."""
        wait = 0.05
        while not stopped.wait(wait):
            _thread.interrupt_main()
            wait = 5.0

    stopped = threading.Event()
    timer = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt):
        cell()
    stopped.set()
    timer.join()
    assert not seen.running
    assert len(seen) > 0
    assert os.stat("/proc/thread-self/ns/net").st_ino == home
    wait_until(lambda: gc.collect() >= 0 and open_descriptors() <= before)


def test_frames_are_handed_over_as_they_come(pair: None) -> None:
    seen = capture("red").start()
    ping("red", "10.0.0.3")
    assert [one.direction for one in seen.follow(quiet=0.02)] == ["out", "in"]
    time.sleep(0.03)
    ping("red", "10.0.0.3")
    following = seen.follow()
    assert next(following).summary() == "10.0.0.2 > 10.0.0.3 ICMP echo-request seq=1"
    seen.stop()
    assert [one.direction for one in following] == ["in"]
    assert len(seen) == 0


def test_a_pipe_shows_frames_while_they_come(pair: None) -> None:
    """tcpdump stands for `wireshark -k -i -`."""
    needs_tcpdump()
    reader = subprocess.Popen(
        ["tcpdump", "-n", "-l", "-t", "-r", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, bufsize=0,
    )  # fmt: skip
    assert reader.stdin is not None
    assert reader.stdout is not None
    with capture("red/eth0") as seen:
        writer = threading.Thread(target=seen.stream, args=(reader.stdin,), daemon=True)
        writer.start()
        ping("red", "10.0.0.3")
        assert b"ICMP echo request" in reader.stdout.readline()
        assert b"ICMP echo reply" in reader.stdout.readline()
        reader.terminate()  # Wireshark is closed
        reader.wait()
        ping("red", "10.0.0.3")
        writer.join(5)
        assert not writer.is_alive()
    reader.stdin.close()
    reader.stdout.close()


def test_a_capture_file_holds_every_place_and_direction(pair: None, tmp_path: object) -> None:
    needs_tcpdump()
    with capture("red", "blue") as seen:
        ping("red", "10.0.0.3")
    seen.to_pcap(f"{tmp_path}/a.pcapng")
    assert read(f"{tmp_path}/a.pcapng").frames == seen.frames
    assert sh(f"tcpdump -n -r {tmp_path}/a.pcapng 2>/dev/null | wc -l").strip() == "4"


def test_the_command_is_the_equivalent_one(pair: None) -> None:
    assert capture("red/eth0", "host", filter="icmp or arp").command == (
        "ip netns exec red tcpdump -n -e -i eth0 'icmp or arp'\ntcpdump -n -e -i any 'icmp or arp'"
    )


def test_outside_a_lab_machine_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "in_lab_machine", lambda: False)
    with pytest.raises(NotInLabMachine, match="failed to capture on red: this is not a lab machine"):
        capture("red")


def test_the_main_thread_never_enters_a_namespace(pair: None, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[threading.Thread] = []
    original = namespace.libc.setns
    monkeypatch.setattr(
        namespace.libc, "setns", lambda *words: (entered.append(threading.current_thread()), original(*words))
    )
    with capture("red"):
        ping("red", "10.0.0.3")
        send(frame(1), "red", "eth0")
    assert entered
    assert threading.main_thread() not in entered
