"""How is a trace stepped through? The picture with the packet at one hop, what it carries there and what decided it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labkit import see
from labkit.live.view import View
from labkit.see.trace import ending, headline, steps_of, unseen
from labkit.tracing.records import Headers, Hop, Trace

__all__ = ["trace_view"]

_WORDS = {
    "src_mac": "src MAC",
    "dst_mac": "dst MAC",
    "src": "src",
    "dst": "dst",
    "sport": "sport",
    "dport": "dport",
    "ttl": "ttl",
}


def trace_view(trace: Trace) -> View:
    """Return the live view of a trace: its hops one by one, forwards and back. `state["hops"]` is what it shows."""
    told = {step.number: step.summary for leg in ("request", "answer") for step in steps_of(trace, leg)}
    before: dict[str, Headers] = {}
    hops = []
    for number, hop in enumerate(trace.hops, 1):
        hops.append({"number": number, "told": told[number], **_hop(hop, before.get(hop.leg))})
        if not hop.copy:
            before[hop.leg] = hop.headers
    return View("trace", see.trace(trace), hops=hops, headline=headline(trace), ending=_ending(trace))


def _hop(hop: Hop, before: Headers | None) -> dict[str, Any]:
    return {
        "leg": hop.leg,
        "where": hop.where,
        "direction": hop.direction,
        "copy": hop.copy,
        "summary": hop.summary,
        "headers": list(_headers(hop.headers, before or hop.headers)),
        "changed": [change.text for change in hop.changed],
        "because": [[decision.kind, decision.text, decision.command] for decision in hop.decided_by],
    }


def _headers(now: Headers, before: Headers) -> Iterator[tuple[str, str, str]]:
    """Yield a word, the value, and what it was one hop before if that is something else."""
    for name, word in _WORDS.items():
        value, was = _text(getattr(now, name)), _text(getattr(before, name))
        if value or was:
            yield word, value or "none", "" if was == value else was or "none"
    if now.outer or before.outer:
        value, was = "; ".join(now.outer) or "nothing", "; ".join(before.outer) or "nothing"
        yield "around it", value, "" if was == value else was


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _ending(trace: Trace) -> dict[str, Any]:
    """Return the sentences, and the hop at which the cause belongs: the last of its way; or why there is no hop."""
    leg = trace.cause.leg if trace.cause else ""
    numbers = [number for number, hop in enumerate(trace.hops, 1) if hop.leg == leg and not hop.copy]
    told = {"at": numbers[-1] if numbers else len(trace.hops), "sentences": ending(trace)}
    return told if trace.hops else told | {"unseen": unseen(trace)}
