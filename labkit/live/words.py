"""What changed, in a sentence: for the line under the picture, which screen readers read out."""

from __future__ import annotations

import re

from labkit.state.difference import Change, Difference

__all__ = ["sentence"]

_TOLD = 3
_STATES = {"up": "came up", "down": "went down", "no carrier": "lost its carrier"}
_STATE = re.compile(r"(?:up|down|no carrier) → (up|down|no carrier)")


def sentence(difference: Difference) -> str:
    """Return what changed, the first few things in full: "red: eth0 went down; host: veth-red lost its carrier"."""
    changes = [change for change in difference if "proto kernel" not in change.text]  # those follow from the rest
    changes.sort(key=_rank)
    told = [_told(change) for change in changes[:_TOLD]]
    if len(changes) > _TOLD:
        more = len(changes) - _TOLD
        told.append(f"and {more} more change{'' if more == 1 else 's'}")
    return "; ".join(told)


def _rank(change: Change) -> int:
    """Causes before what follows from them: a link goes down, its peer loses its carrier, routes and entries go."""
    if change.what in ("namespace", "link"):
        return int("→ no carrier" in change.text)
    return 3 if change.what in ("neighbour", "fdb") else 2


def _told(change: Change) -> str:
    if change.what == "namespace":
        return f"{change.namespace}: {change.text or f'namespace {change.word}'}"
    if change.what == "link":
        return f"{change.namespace}: {_link(change)}"
    return f"{change.namespace}: {change.what} {change.text} {change.word}"


def _link(change: Change) -> str:
    if change.sign != "~":
        return f"{change.key} {change.word}"
    facts = change.text.removeprefix(change.key).strip()
    first, _, rest = facts.partition(", ")
    if state := _STATE.fullmatch(first):
        words = f"{change.key} {_STATES[state[1]]}"
        return f"{words}, {rest}" if rest else words
    return change.text
