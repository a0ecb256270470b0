"""The topology view: boxes, interfaces, bridges and cables, followed while they change.

The picture is labkit.see's. On a change the namespaces of the view are read again, drawn again, and pushed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from labkit.errors import LabkitError, NamespaceGone, NotFound
from labkit.lab.topology import Topology
from labkit.live import details, following, words
from labkit.live.view import View
from labkit.net import namespace as namespaces
from labkit.see import show
from labkit.state import Difference, Snapshot, difference, snapshot
from labkit.state.reread import refreshed

if TYPE_CHECKING:
    from labkit.lab import Lab

__all__ = ["TopologyView", "follow_view", "still_view"]

_TRIES = 5
_FAULTS = (NotFound, NamespaceGone)


def still_view(drawable: Topology | Snapshot) -> View:
    """Return the view of a Topology or a Snapshot: it follows nothing; a Snapshot's boxes open."""

    def tell(question: Mapping[str, Any]) -> Mapping[str, Any]:
        name = str(question["namespace"])
        if not isinstance(drawable, Snapshot):
            return {"tabs": [], "problem": f"{name} is planned, and not built yet"}
        if name not in drawable:
            return {"tabs": [], "problem": _no_namespace(name)}
        return {"tabs": details.tabs(drawable[name])}

    return View("topology", show.topology(drawable), {"details": tell}, live=False)


def follow_view(lab: Lab | None = None) -> TopologyView:
    """Return the view of what is there now, following it: of a lab, or of everything."""
    return TopologyView(() if lab is None else ("host", *lab.namespaces))


class TopologyView(View):
    """The topology as the kernel has it, while a page shows it. `names`: of these namespaces, else of all."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.names = names
        self._following = self._comparing = False
        self._wanted = True  # what the learner chose: follow, not pause
        self._now = self._marked = _read(names)
        answers = {
            "details": self._details,
            "follow": self._follow,
            "mark": self._mark,
            "compare": self._compare,
            "close": lambda _: self.close(),
        }
        state = {"live": True, "following": True, "comparing": False, "said": "", "fresh": []}
        super().__init__("topology", show.topology(self._now), answers, **state)

    def wake(self) -> None:
        """Follow, unless the learner paused."""
        if self._wanted and not self._following:
            self._following = True
            following.follow(self)
            self._look()  # at what changed meanwhile

    def sleep(self) -> None:
        """Follow no more."""
        if self._following:
            self._following = False
            following.leave(self)

    def network_changed(self, changed: frozenset[str]) -> None:
        """Draw again, if it is about namespaces of this view."""
        ours = changed & set(self.names) if self.names else changed
        if not self._following or not ours:
            return
        try:
            self._look(ours)
        except LabkitError as error:  # no descriptors left, say: the picture stays, and the next change is another try
            self.state = {**self.state, "said": f"not up to date: {error.message}"}

    def _look(self, changed: frozenset[str] | None = None, said: str = "") -> None:
        """Draw what is there now, and say what is different; only `changed` is read again, where that is enough."""
        with self._lock:
            before, again = self._now, refreshed(self._now, changed) if changed else None
            self._now = again or _read(self.names)
            compared = changed if changed and again else {*before, *self._now}
            if changes := _difference_in(compared, before, self._now):
                told = " ".join(filter(None, [said, words.sentence(changes)]))
                self._draw(said=told, fresh=[[change.namespace, change.key] for change in changes])
            elif said:
                self._draw(said=said)

    def _draw(self, **more: Any) -> None:
        changes = self._comparing and difference(self._marked, self._now)
        shown = show.difference(changes) if changes else show.topology(show.picture_of(self._now))
        state = {"live": True, "following": self._wanted, "comparing": self._comparing, "said": "", "fresh": []}
        if self._closing:
            state["closed"] = True
        self.state = {**state, "svg": shown.svg, "text": shown.text, **more}

    def _details(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        name = str(question["namespace"])
        now = _read(self.names)
        return {"tabs": details.tabs_now(now[name])} if name in now else {"tabs": [], "problem": _no_namespace(name)}

    def _follow(self, question: Mapping[str, Any]) -> None:
        self._wanted = bool(question["on"])
        if self._wanted:
            self._following = True
            following.follow(self)
            self._look(said="following again.")
        else:
            self.sleep()
            with self._lock:
                self._draw(said="paused: the picture stays as it is")

    def _mark(self, _question: Mapping[str, Any]) -> None:
        with self._lock:
            self._marked = self._now
            self._draw(said="marked: changes are compared with what is there now")

    def _compare(self, question: Mapping[str, Any]) -> None:
        with self._lock:
            self._comparing = bool(question["on"])
            changes = len(difference(self._marked, self._now))
            told = f"{changes or 'no'} change{'' if changes == 1 else 's'} since the mark"
            self._draw(said=told if self._comparing else "as it is now")


def _difference_in(names: Iterable[str], before: Snapshot, after: Snapshot) -> Difference:
    return difference(*(one.only(*(name for name in one if name in names)) for one in (before, after)))


def _no_namespace(name: str) -> str:
    if " more like " in name:
        return f"{name}: these differ in names and addresses only; open that one"
    return f"{name} is gone"


def _read(names: tuple[str, ...]) -> Snapshot:
    """Return what is there of `names`, or of everything; namespaces that are gone are left out."""
    for _ in range(_TRIES):
        if not names:
            return snapshot()
        there = {"host", *namespaces.names()}
        try:
            return snapshot(*(name for name in names if name in there))
        except _FAULTS:  # one died after it was listed
            continue
    everything = snapshot()  # which leaves out what dies meanwhile
    return everything.only(*(name for name in names if name in everything))
