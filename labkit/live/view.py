"""A view: the static form that everybody sees, and in JupyterLab the same, alive.

One widget class for all views. `kind` says which ("topology", "capture", "trace"), `state` is what the view's own part
of the ES module draws: for all kinds it holds `svg`, the very SVG that Python drew, and `text`, its text twin. The
module sends questions (`model.send({"ask": ...})`); `answers` says who answers them, and each answer goes back as a
message of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import anywidget
import traitlets

from labkit.see.show import Shown

__all__ = ["View"]

_PARTS = ("common", "topology", "capture", "trace", "index")
Answer = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


def styles() -> str:
    """Return the style sheet: what all views share, then each view's own."""
    files = [resources.files("labkit.live") / "js" / f"{part}.css" for part in _PARTS]
    return "\n".join(file.read_text("utf-8") for file in files if file.is_file())


def module() -> str:
    """Return the ES module: its parts, one after another. No part imports anything."""
    folder = resources.files("labkit.live") / "js"
    return "\n".join((folder / f"{part}.js").read_text("utf-8") for part in _PARTS)


class View(anywidget.AnyWidget):
    """One view. `shown`: its static form. `close()` ends it: the watcher it may have stops, the picture stays."""

    _esm = module()
    _css = styles()
    kind = traitlets.Unicode().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, kind: str, shown: Shown, answers: Mapping[str, Answer] | None = None, **more: Any) -> None:
        super().__init__(kind=kind, state={"svg": shown.svg, "text": shown.text, **more})
        self._shown = shown
        self._answers = dict(answers or {})
        self.on_msg(self._asked)

    def _asked(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        answer = self._answers.get(str(content.get("ask")))
        reply = answer(content) if answer else None
        if reply is not None:
            number = {"number": content["number"]} if "number" in content else {}
            self.send({"ask": content["ask"], **number, **reply})

    def __repr__(self) -> str:
        return self._shown.text

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
        data = {**(data or {}), "text/plain": self._shown.text, "image/svg+xml": self._shown.svg}
        return (data, *rest) if rest else data
