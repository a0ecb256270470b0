"""The watcher: what it hears, in which namespaces, how it ends; and that it sleeps while nothing happens."""

from __future__ import annotations

import gc
import os
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from labkit.errors import NotFound
from labkit.net import here
from labkit.state import Watcher, snapshot, watch

pytestmark = pytest.mark.usefixtures("network")

PAIR = """
ip netns add red; ip netns add blue
ip link add eth0 netns red type veth peer name eth0 netns blue
for n in red blue; do ip -n $n link set eth0 up; done
ip -n red address add 10.0.0.1/24 dev eth0
ip -n blue address add 10.0.0.2/24 dev eth0
ip link add br0 type bridge; ip link set br0 up
"""


# Linux 6.1 tells of a carrier up to a second later (net/core/link_watch.c), whoever asks for the link meanwhile.
QUIET = 1.2 if here.on_user_mode_linux() else 0.2


def sh(command: str) -> None:
    subprocess.run(["sh", "-ec", command], check=True)


def until(what: str, condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@pytest.fixture
def pair() -> None:
    sh(PAIR)
    for _ in range(2):  # the kernel has drawn the consequences of the carrier
        snapshot()


@pytest.fixture
def watcher(pair: None) -> Iterator[Watcher]:
    with watch() as hearing:
        while hearing.wait(QUIET):  # what the fixture itself did
            pass
        yield hearing


def heard(watcher: Watcher, where: str) -> set[str]:
    """Return the namespaces told of until `where` is among them."""
    told: set[str] = set()
    deadline = time.monotonic() + 5
    while where not in told:
        assert time.monotonic() < deadline, f"{where} was not heard of, only {told}"
        told |= watcher.wait(1)
    return told


@pytest.mark.parametrize(
    "command",
    [
        "ip -n red link set eth0 mtu 1400",
        "ip -n red link add d0 type dummy 2>/dev/null || ip -n red link add d0 type bridge",
        "ip -n red address add 10.9.0.1/32 dev lo",
        "ip -n red route add 10.8.0.0/16 via 10.0.0.2",
        "ip -n red neighbour add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0",
        "ip -n red rule add from 10.9.0.0/16 lookup 100",
        "ip netns exec red sysctl -qw net.ipv4.ip_forward=1",
    ],
)
def test_a_change_in_one_namespace_is_heard_there_and_not_elsewhere(watcher: Watcher, command: str) -> None:
    sh(command)
    assert heard(watcher, "red") == {"red"}


def test_an_fdb_entry_is_heard(watcher: Watcher) -> None:
    sh("bridge fdb add 02:00:00:00:00:09 dev br0 self permanent")
    assert heard(watcher, "host") == {"host"}


def test_a_link_that_goes_down_is_heard_at_both_ends(watcher: Watcher) -> None:
    sh("ip -n red link set eth0 down")
    told = heard(watcher, "red")
    assert "blue" in told or heard(watcher, "blue")


def test_changes_that_belong_together_are_told_together(watcher: Watcher) -> None:
    with watch("red", delay=0.5) as slow:
        sh("for i in 1 2 3 4 5 6 7 8; do echo link set eth0 mtu 140$i; done | ip -n red -batch -")
        assert slow.wait(5) == {"red"}
        assert slow.wait(0.7) == frozenset()


def test_a_namespace_that_comes_is_heard_and_listened_to_and_so_is_its_going(watcher: Watcher) -> None:
    sh("ip netns add green")
    assert heard(watcher, "green") == {"green"}
    sh("ip -n green link set lo up")
    assert heard(watcher, "green") == {"green"}
    sh("ip netns delete green")
    assert heard(watcher, "green") == {"green"}


def test_a_namespace_replaced_under_its_name_is_the_new_one_to_listen_to(watcher: Watcher) -> None:
    sh("ip netns delete blue; ip netns add blue")
    heard(watcher, "blue")
    while watcher.wait(0.3):
        pass
    sh("ip -n blue link set lo up")
    assert heard(watcher, "blue") == {"blue"}


def test_a_watcher_does_not_keep_a_deleted_namespace_alive(watcher: Watcher) -> None:
    sh("ip link add v type veth peer name w netns red")
    heard(watcher, "red")
    sh("ip netns delete red")
    until("the namespace is released, and with it the veth", lambda: not os.path.exists("/sys/class/net/v"))


def test_a_watcher_does_not_keep_a_namespace_alive_whose_name_was_unmounted(watcher: Watcher) -> None:
    sh("ip link add v type veth peer name w netns red")
    heard(watcher, "red")
    sh("umount /run/netns/red")
    until("the namespace is released, and with it the veth", lambda: not os.path.exists("/sys/class/net/v"))


def test_only_the_namespaces_named_are_heard(pair: None) -> None:
    with watch("red") as watcher:
        sh("ip -n blue link set lo up; ip netns add green; ip -n red link set lo up")
        assert heard(watcher, "red") == {"red"}


def test_a_namespace_named_that_is_not_there_is_not_found_and_leaves_nothing_open() -> None:
    snapshot()
    before = open_descriptors()
    with pytest.raises(NotFound, match="no such namespace"):
        watch("nobody")
    assert open_descriptors() == before


def test_lost_messages_count_as_a_change(pair: None) -> None:
    with watch("red", delay=1.0) as watcher:
        busy = threading.Event()
        release = threading.Event()
        with watch("red", call=lambda _: (busy.set(), release.wait(10))) as deaf:
            sh("ip -n red link set eth0 mtu 1400")
            assert busy.wait(5)
            batch = "".join(f"link set eth0 mtu {1300 + number % 100}\n" for number in range(3000))
            subprocess.run(["ip", "-n", "red", "-batch", "-"], input=batch.encode(), check=True)  # more than it holds
            busy.clear()
            release.set()
            assert busy.wait(30), "the lost ones are told"
            assert not deaf.closed
        assert heard(watcher, "red") == {"red"}


def test_a_call_gets_what_changed(pair: None) -> None:
    calls: list[frozenset[str]] = []
    with watch(call=calls.append):
        sh("ip -n red address add 10.9.0.1/32 dev lo")
        until("it is called", lambda: frozenset({"red"}) in calls)


def test_a_bound_method_is_held_weakly(pair: None) -> None:
    class Listener:
        def hear(self, _changed: frozenset[str]) -> None:
            pass

    listener = Listener()
    with watch(call=listener.hear):
        gone: list[bool] = []
        weakref.finalize(listener, gone.append, True)
        del listener
        gc.collect()
        assert gone == [True]


def test_close_ends_the_thread_and_the_descriptors(pair: None) -> None:
    snapshot()
    before = open_descriptors(), threading.active_count()
    watcher = watch()
    assert threading.active_count() == before[1] + 1
    waiting = threading.Thread(target=lambda: list(watcher))
    waiting.start()
    watcher.close()
    watcher.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert watcher.closed
    assert (open_descriptors(), threading.active_count()) == before


def test_a_watcher_that_nobody_holds_ends(pair: None) -> None:
    snapshot()
    before = open_descriptors(), threading.active_count()
    watcher = watch()
    del watcher
    gc.collect()
    until("its thread has ended", lambda: (open_descriptors(), threading.active_count()) == before)


def test_while_nothing_happens_its_thread_does_not_run(watcher: Watcher) -> None:
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "labkit-watch"]

    def switches() -> int:
        with open(f"/proc/self/task/{thread.native_id}/status") as status:
            return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)

    until("it sleeps", lambda: switches() == (time.sleep(0.3), switches())[1])
    before = switches()
    assert watcher.wait(1.0) == frozenset()
    assert switches() == before


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
