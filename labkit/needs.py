"""Needs: can this lab machine do what the notebook is about?"""

from __future__ import annotations

from labkit.errors import Unavailable, WrongUse
from labkit.net.here import ensure_lab_machine

__all__ = ["needs"]


def needs(*features: str) -> None:
    """Nothing happens when this lab machine has all the features ("ip_vs", "vxlan"); it is found by trying them.

    Otherwise raises Unavailable with one sentence, and one remedy. `labkit doctor` tells all features."""
    from labkit.machine.features import FEATURES
    from labkit.machine.probe import try_here

    ensure_lab_machine(f"try {', '.join(features)}")
    known = [feature.name for feature in FEATURES]
    for name in features:
        if name not in known:
            raise WrongUse(f"failed to try feature '{name}': no such feature", f"features there: {', '.join(known)}")
    for answer in try_here(features):
        if not answer.works:
            raise Unavailable(f"this notebook needs {answer.name}, {answer.sentence}", f"remedy: {answer.remedy}")
