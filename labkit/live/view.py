"""A view: the static form that everybody sees, and in JupyterLab the same, alive.

One widget class for all views. `kind` says which ("topology", "capture", "trace"), `state` is what the view's own part
of the ES module draws: for all kinds it holds `svg`, the very SVG that Python drew, and `text`, its text twin. The
module sends questions (`ask(model, "details", {...})`); `answers` says who answers them, and each answer goes back as a
message of the same name.

Pages say when they show a view and when no longer. A view that no page shows works no more (`sleep`) until one does
(`wake`). It reaches the browser when it is displayed first; of the views that no page shows, the last few stay there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import resources
from typing import Any

import anywidget
import ipywidgets
import traitlets

from labkit.see.show import Shown

__all__ = ["View"]

_PARTS = ("common", "topology", "capture", "trace", "index")
_KEPT = 32  # views that no page shows and that the browser still knows: a page may be slow to say that it shows one
Answer = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


def styles() -> str:
    """Return the style sheet: what all views share, then each view's own."""
    files = [resources.files("labkit.live") / "js" / f"{part}.css" for part in _PARTS]
    return "\n".join(file.read_text("utf-8") for file in files if file.is_file())


def module() -> str:
    """Return the ES module: its parts, one after another, without comments. No part imports anything."""
    folder = resources.files("labkit.live") / "js"
    lines = (line for part in _PARTS for line in (folder / f"{part}.js").read_text("utf-8").splitlines())
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("//"))


_unseen: OrderedDict[int, View] = OrderedDict()  # known to the browser, shown by no page, oldest first
_layouts: list[ipywidgets.Layout] = []


def _layout() -> ipywidgets.Layout:
    """Return the one layout of all views: each would make one of its own that outlives it."""
    if not _layouts or _layouts[0].comm is None:
        _layouts[:] = [ipywidgets.Layout()]
    return _layouts[0]


class View(anywidget.AnyWidget):
    """One view. Shown by a notebook, it lives; `close()` ends it: what follows the kernel stops, the picture stays."""

    _esm = module()
    _css = styles()
    kind = traitlets.Unicode().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, kind: str, shown: Shown, answers: Mapping[str, Answer] | None = None, **more: Any) -> None:
        self._pages: set[str] = set()
        self._answers = dict(answers or {})
        self._closing = False
        self._lock = threading.RLock()  # of `state`, which more than one thread may draw
        state = {"svg": shown.svg, "text": shown.text, **more}
        super().__init__(kind=kind, state=state, layout=_layout())
        self.on_msg(self._asked)

    @property
    def is_shown(self) -> bool:
        """Whether some page shows it."""
        return bool(self._pages)

    def wake(self) -> None:
        """A page shows it again: nothing by itself, a view that follows something follows it from now on."""

    def sleep(self) -> None:
        """No page shows it any more, or it was closed: what it started for itself ends."""

    def open(self) -> None:
        """Nothing yet: it reaches the browser when it is displayed, so that one that never is costs nothing."""

    @property
    def model_id(self) -> str:
        """By which the browser knows it, from now on."""
        if self.comm is None:
            super().open()
            self._rest()
        return str(super().model_id)

    def close(self) -> None:
        """It follows nothing any more. The picture stays where it is shown. Once more is as good as once."""
        if not hasattr(self, "_pages"):  # __init__ failed
            return
        self.sleep()
        if not self._closing:
            self._closing = True
            with self._lock:
                self.state = {**self.state, "closed": True}
        if not self._pages:
            self._leave()

    def _asked(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        question = str(content.get("ask"))
        if question in ("shown", "here", "hidden"):
            self._told(question, str(content.get("id")))
            return
        answer = self._answers.get(question)
        reply = answer(content) if answer else None
        if reply is not None:
            number = {"number": content["number"]} if "number" in content else {}
            self.send({"ask": question, **number, **reply})

    def _told(self, what: str, page: str) -> None:
        was_shown = self.is_shown
        if what == "hidden":
            self._pages.discard(page)
        elif what == "here":
            self._pages.add(page)
        else:  # a page that was closed or reloaded may not have said so: whoever is there answers
            self._pages = {page}
            self.send({"ask": "who"})
        if self.is_shown and not was_shown:
            _unseen.pop(id(self), None)
            if not self._closing:
                self.wake()
        elif was_shown and not self.is_shown:
            self.sleep()
            self._rest()

    def _rest(self) -> None:
        """The browser keeps it for a while; a closed one, and the oldest of too many, it forgets."""
        _unseen[id(self)] = self
        if self._closing:
            self._leave()
        while len(_unseen) > _KEPT:
            next(iter(_unseen.values()))._leave()

    def _leave(self) -> None:
        """The browser knows it no more. Displayed again, it is there again."""
        _unseen.pop(id(self), None)
        super().close()
        with suppress(AttributeError):
            del self._repr_mimebundle_  # ipywidgets puts None there, and the picture would be gone from notebooks

    def __repr__(self) -> str:
        return str(self.state["text"])

    def _repr_mimebundle_(self, **options: Any) -> Any:
        static = {"text/plain": repr(self), "image/svg+xml": self.state["svg"]}
        if self._closing:
            return static
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, **static}, metadata
