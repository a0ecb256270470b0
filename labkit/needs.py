"""Needs: can this lab machine do what a notebook, or one cell of it, is about, and if not, which kernel can?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from labkit.errors import Unavailable, WrongUse
from labkit.net import here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labkit.machine.probe import Answer

__all__ = ["needs"]


def needs(*features: str) -> None:
    """Nothing happens when this lab machine has all the features ("ip_vs", "vxlan"); it is found by trying them.

    Otherwise raises Unavailable with one sentence, and one remedy: most often the kernel to choose. `labkit doctor`
    tells all features. Raises WrongUse for a feature that does not exist."""
    from labkit.machine.features import FEATURES
    from labkit.machine.probe import try_here

    here.ensure_lab_machine(f"try {', '.join(features)}")
    known = [feature.name for feature in FEATURES]
    for name in features:
        if name not in known:
            raise WrongUse(f"failed to try feature '{name}': no such feature", f"features there: {', '.join(known)}")
    missing = [answer for answer in try_here(features) if not answer.works]
    if missing:
        raise Unavailable(_sentence(missing), _remedy(missing, features))


def _sentence(missing: Sequence[Answer]) -> str:
    others = ", ".join(answer.name for answer in missing[1:])
    return f"this needs {missing[0].name}, {missing[0].sentence}{f' (and: {others})' if others else ''}"


def _remedy(missing: Sequence[Answer], features: Sequence[str]) -> str:
    """Return what to do, the quickest first: a program to install, a kernel to choose, a module to load."""
    own = "; ".join(dict.fromkeys(answer.remedy.partition("; so may")[0] for answer in missing))
    if all(answer.remedy.startswith("sudo apt install") for answer in missing):
        return own
    choice = _back() if here.kind() == "uml" else _to_uml(features)
    installs = [answer.remedy for answer in missing if answer.remedy.startswith("sudo apt install")]
    by_module = not installs and all(answer.remedy.startswith("sudo modprobe") for answer in missing)
    if not choice:
        return own
    return "; and ".join([choice, *dict.fromkeys(installs)]) + (f"; or load it: {own}" if by_module else "")


def _to_uml(features: Sequence[str]) -> str:
    """Return how to come to User-Mode Linux, "" where it would not help: it lacks one, too, or does not run here."""
    from labkit.machine import suits

    if suits.UML_LACKS & set(features):
        return ""
    missing = suits.uml_missing()
    if missing is None:
        return here.choose("labkit-uml", "uml")
    install = missing.hint.startswith("sudo apt install")
    return f"{here.choose('labkit-uml', 'uml')}, after: {missing.hint.partition(' (')[0]}" if install else ""


def _back() -> str:
    """Return how to leave User-Mode Linux for the computer's own kernel."""
    from labkit.machine import kinds

    why = os.environ.get(kinds.WHY, "")
    if "no namespaces" in why:
        return "a computer whose kernel gives you namespaces has it (here: labkit doctor says what would help)"
    return f"{here.choose('labkit', 'namespaces')}, which has it if this computer's own kernel does"
