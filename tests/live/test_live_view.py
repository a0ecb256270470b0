"""The live topology view: it follows the kernel while a page shows it, and leaves nothing running when none does."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ipywidgets.widgets.widget import _instances

from labkit.errors import Unavailable, WrongUse
from labkit.lab import Bridge, Container, Lab, Topology, build
from labkit.live import View, view
from labkit.live.view import _KEPT
from labkit.state import snapshot

pytestmark = pytest.mark.usefixtures("network")
WIDGET = "application/vnd.jupyter.widget-view+json"


def sh(command: str) -> None:
    subprocess.run(["sh", "-ec", command], check=True)


def until(what: str, condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def watchers() -> int:
    return sum(thread.name == "labkit-watch" for thread in threading.enumerate())


def tell(shown: View, question: str, **more: Any) -> None:
    """What a page sends."""
    shown._handle_custom_msg({"ask": question, **more}, [])


class Page:
    """A page that shows a view as JupyterLab does: displayed, then rendered; it answers when asked who is there."""

    number = 0

    def __init__(self, shown: View) -> None:
        Page.number += 1
        self.id, self.view = f"page-{Page.number}", shown
        self.bundle = shown._repr_mimebundle_()
        tell(shown, "shown", id=self.id)

    def leave(self) -> None:
        tell(self.view, "hidden", id=self.id)


@pytest.fixture
def lab(network: None) -> Iterator[Lab]:
    containers = (Container("red", "10.0.0.2/24", "br0"), Container("blue", "10.0.0.3/24", "br0"))
    with build(Topology(Bridge("br0", "10.0.0.1/24"), *containers)) as lab:
        snapshot()
        yield lab


@pytest.fixture(autouse=True)
def none_is_left() -> Iterator[None]:
    yield
    for shown in [widget for widget in _instances.values() if isinstance(widget, View)]:
        shown._pages.clear()
        shown.close()
    until("no watcher is left", lambda: watchers() == 0)


def ask(shown: View, question: str, **more: Any) -> dict[str, Any]:
    """Return what Python answers to a page's question."""
    answers: list[dict[str, Any]] = []
    shown.send = answers.append  # type: ignore[method-assign]
    try:
        tell(shown, question, number="7", **more)
    finally:
        del shown.send
    (answer,) = answers
    assert answer["ask"] == question
    assert answer["number"] == "7"
    return answer


def test_a_link_taken_down_by_ip_is_down_in_the_picture_and_told_in_words(lab: Lab) -> None:
    shown = view(lab)
    Page(shown)
    assert "down" not in shown.state["text"]
    sh("ip -n red link set eth0 down")
    until(
        "the picture changes", lambda: "eth0 10.0.0.2/24, 02:" in shown.state["text"] and "down" in shown.state["text"]
    )
    assert shown.state["said"].startswith("red: eth0 went down; host: veth-red lost its carrier")
    assert ["red", "eth0"] in shown.state["fresh"]
    assert 'class="down"' in shown.state["svg"]


def test_the_view_of_everything_sees_namespaces_come_and_go() -> None:
    shown = view()
    Page(shown)
    sh("ip netns add green")
    until("green is there", lambda: 'data-namespace="green"' in shown.state["svg"])
    assert "green: namespace added" in shown.state["said"]
    sh("ip netns delete green")
    until("green is gone", lambda: 'data-namespace="green"' not in shown.state["svg"])


def test_the_view_of_a_lab_outlives_the_lab(lab: Lab) -> None:
    shown = view(lab)
    Page(shown)
    lab.down()
    until("nothing of it is drawn", lambda: 'data-namespace="red"' not in shown.state["svg"])


def test_where_the_kernel_cannot_be_asked_the_view_says_so_and_tries_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = view(lab)
    Page(shown)

    def unavailable(*_: object) -> None:
        raise Unavailable("failed to enter namespace 'red': too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("labkit.live.topology.refreshed", unavailable)
        sh("ip -n red link set eth0 mtu 1400")
        until("it is said", lambda: shown.state["said"].startswith("not up to date: failed to enter"))
    sh("ip -n red link set eth0 mtu 1300")
    until("the next change is drawn", lambda: "mtu 1300" in shown.state["text"])


def test_a_view_that_no_page_shows_follows_nothing(lab: Lab) -> None:
    shown = view(lab)
    assert watchers() == 0
    page = Page(shown)
    assert watchers() == 1
    page.leave()
    assert watchers() == 0


def test_displayed_again_it_shows_what_changed_meanwhile(lab: Lab) -> None:
    shown = view(lab)
    Page(shown).leave()
    sh("ip -n red link set eth0 down")
    Page(shown)
    assert "red: eth0 went down" in shown.state["said"]
    assert watchers() == 1


def test_all_views_share_one_watcher(lab: Lab) -> None:
    one, other = view(lab), view()
    pages = [Page(one), Page(one), Page(other)]
    assert watchers() == 1
    tell(one, "here", id=pages[0].id)  # it answers "who", which the second page's "shown" had Python ask
    for page in pages[:2]:
        page.leave()
    assert watchers() == 1, "the other one is still shown"
    pages[2].leave()
    assert watchers() == 0


def test_a_page_that_was_reloaded_without_a_word_does_not_count(lab: Lab) -> None:
    shown = view(lab)
    Page(shown)
    Page(shown).leave()
    assert not shown.is_shown
    assert watchers() == 0


def test_a_new_page_has_the_others_say_that_they_are_there(lab: Lab) -> None:
    shown = view(lab)
    first = Page(shown)
    sent: list[Any] = []
    shown.send = sent.append  # type: ignore[method-assign]
    second = Page(shown)
    assert {"ask": "who"} in sent
    tell(shown, "here", id=first.id)
    second.leave()
    assert shown.is_shown
    first.leave()
    assert not shown.is_shown


@pytest.mark.parametrize("how", ["by the button", "by close()"])
def test_closing_stops_the_watcher_and_the_picture_stays(lab: Lab, how: str) -> None:
    shown = view(lab)
    page = Page(shown)
    if how == "by the button":
        tell(shown, "close")
    else:
        shown.close()
        shown.close()
    assert watchers() == 0
    assert shown.state["closed"] is True
    assert set(shown._repr_mimebundle_()) == {"text/plain", "image/svg+xml"}
    assert shown.comm is not None, "its page still shows the picture"
    page.leave()
    assert shown.comm is None
    assert "10.0.0.2/24" in repr(shown)


def test_the_static_form_is_text_and_svg_beside_the_live_one(lab: Lab) -> None:
    data, _ = view(lab)._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/svg+xml", WIDGET}
    assert data["text/plain"].startswith("host\n  bridge br0")
    assert data["image/svg+xml"].startswith("<svg")


def test_showing_views_again_and_again_grows_nothing(lab: Lab) -> None:
    def show_many(number: int) -> None:
        for _ in range(number):
            Page(view(lab)).leave()
        gc.collect()

    def counted() -> tuple[int, ...]:
        views = sum(isinstance(one, View) for one in gc.get_objects())
        return threading.active_count(), len(os.listdir("/proc/self/fd")), len(_instances), views

    show_many(_KEPT + 8)
    before = counted()
    show_many(2 * _KEPT)
    assert counted() == before


def test_a_view_that_is_never_displayed_goes_with_its_last_reference(lab: Lab) -> None:
    gone = weakref.ref(view(lab))
    gc.collect()
    assert gone() is None


def test_paused_it_stays_as_it_is_and_following_again_it_says_what_changed(lab: Lab) -> None:
    shown = view(lab)
    Page(shown)
    tell(shown, "follow", on=False)
    assert watchers() == 0
    assert shown.state["following"] is False
    before = shown.state["svg"]
    sh("ip -n red link set eth0 down")
    assert shown.state["svg"] == before
    tell(shown, "follow", on=True)
    assert watchers() == 1
    assert shown.state["said"].startswith("following again. red: eth0 went down")
    assert shown.state["svg"] != before


def test_a_paused_view_stays_paused_when_it_is_shown_again(lab: Lab) -> None:
    shown = view(lab)
    page = Page(shown)
    tell(shown, "follow", on=False)
    page.leave()
    Page(shown)
    assert watchers() == 0


def test_what_changed_since_it_was_opened_or_marked_is_shown_as_such(lab: Lab) -> None:
    shown = view(lab)
    Page(shown)
    sh("ip -n red link set eth0 mtu 1400")
    until("it is seen", lambda: "mtu 1400" in shown.state["text"])
    tell(shown, "compare", on=True)
    assert "~ mtu 1500 → 1400" in shown.state["svg"]
    assert shown.state["said"] == "1 change since the mark"
    tell(shown, "mark")
    assert "1500" not in shown.state["svg"]
    sh("ip -n blue address add 10.9.0.1/32 dev eth0")
    until("it is marked", lambda: "+ 10.9.0.1/32" in shown.state["svg"])
    tell(shown, "compare", on=False)
    assert "+ 10.9.0.1/32" not in shown.state["svg"]
    assert "10.9.0.1/32" in shown.state["svg"]


TABS = ["links", "routes", "neighbours", "FDB", "rules", "firewall", "conntrack", "sysctls"]


def test_the_tables_of_a_namespace_are_those_of_this_moment(lab: Lab) -> None:
    shown = view(lab)
    sh("ip -n red route add 10.8.0.0/16 via 10.0.0.3; ip -n red rule add from 10.9.0.0/16 lookup 100")
    sh("ip netns exec red nft add table inet one; ip -n red neighbour add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0")
    tabs = {tab["name"]: tab for tab in ask(shown, "details", namespace="red")["tabs"]}
    assert list(tabs) == TABS
    assert "10.8.0.0/16 via 10.0.0.3 dev eth0" in tabs["routes"]["text"]
    assert "from 10.9.0.0/16 lookup 100" in tabs["rules"]["text"]
    assert "table inet one" in tabs["firewall"]["text"]
    assert "10.0.0.9 dev eth0" in tabs["neighbours"]["text"]
    assert "peer veth-red in host" in tabs["links"]["text"]
    assert "net.ipv4.ip_forward = 0" in tabs["sysctls"]["text"]


def test_rules_of_iptables_legacy_stand_in_the_tab_with_their_command(lab: Lab) -> None:
    if os.geteuid() or not shutil.which("iptables-legacy", path="/usr/sbin"):
        pytest.skip("needs: root, and iptables-legacy")
    sh("ip netns exec red iptables-legacy -t raw -A OUTPUT -d 192.0.2.1 -j DROP")
    (tab,) = (tab for tab in ask(view(lab), "details", namespace="red")["tabs"] if tab["name"] == "firewall")
    assert "-A OUTPUT -d 192.0.2.1/32 -j DROP" in tab["text"]
    told = subprocess.run(["sh", "-ec", tab["command"]], capture_output=True, text=True, check=True).stdout
    assert "-A OUTPUT -d 192.0.2.1/32 -j DROP" in told


@pytest.mark.parametrize("namespace", ["host", "red"])
@pytest.mark.parametrize("name", TABS)
def test_the_command_of_a_tab_shows_the_same(lab: Lab, namespace: str, name: str) -> None:
    sh("ip netns exec red ping -c 1 -W 1 10.0.0.3 >/dev/null; ip -n red route add 10.8.0.0/16 via 10.0.0.3 table 100")
    (tab,) = (tab for tab in ask(view(lab), "details", namespace=namespace)["tabs"] if tab["name"] == name)
    told = subprocess.run(["sh", "-ec", tab["command"]], capture_output=True, text=True, check=True).stdout
    for line in tab["text"].splitlines():
        first = line.split()[0].rstrip(":")
        assert first in told, f"{line!r} is not in what {tab['command']!r} shows"


def test_a_namespace_that_is_not_there_any_more_says_so(lab: Lab) -> None:
    shown = view()
    sh("ip netns add green")
    assert ask(shown, "details", namespace="green")["tabs"]
    sh("ip netns delete green")
    assert ask(shown, "details", namespace="green") == {
        "ask": "details", "number": "7", "tabs": [], "problem": "green is gone",
    }  # fmt: skip
    folded = ask(shown, "details", namespace="28 more like c11")
    assert "open that one" in folded["problem"]


def test_a_snapshot_and_a_topology_have_views_that_follow_nothing(lab: Lab) -> None:
    still = view(lab.snapshot())
    Page(still)
    planned = view(lab.topology)
    Page(planned)
    assert watchers() == 0
    assert still.state["live"] is planned.state["live"] is False
    tabs = ask(still, "details", namespace="red")["tabs"]
    assert [tab["name"] for tab in tabs] == [name for name in TABS if name not in ("firewall", "conntrack")]
    assert "not built yet" in ask(planned, "details", namespace="red")["problem"]


def test_there_is_no_view_of_just_anything() -> None:
    with pytest.raises(WrongUse, match="failed to view a int: there is no picture of it"):
        view(3)


def test_at_the_end_of_the_process_a_page_goes_on_to_show_what_was_there() -> None:
    program = """
import labkit, threading
from labkit import Bridge, Container, Topology, build
lab = build(Topology(Bridge("br0", "10.0.0.1/24"), Container("red", "10.0.0.2/24", "br0")))
shown = labkit.view(lab)
shown._repr_mimebundle_()
shown._handle_custom_msg({"ask": "shown", "id": "1"}, [])
shown.observe(lambda change: print("red" in change["new"]["text"], change["new"].get("closed"), flush=True), "state")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("True True\n", "", 0)
