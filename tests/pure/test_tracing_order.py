"""Rules of iptables-legacy and of nftables, told apart, stand in the order in which a packet met them."""

from __future__ import annotations

import pytest

from labkit.state.firewall import Chain
from labkit.tracing.evidence import Met
from labkit.tracing.order import in_order
from labkit.tracing.rules import Event

CHAINS = {
    (chain.family, chain.table, chain.name): chain
    for chain in (
        Chain("legacy ip", "raw", "PREROUTING", "prerouting", "raw"),
        Chain("legacy ip", "nat", "PREROUTING", "prerouting", "dstnat"),
        Chain("legacy ip", "filter", "INPUT", "input", "filter"),
        Chain("legacy ip", "filter", "FORWARD", "forward", "filter"),
        Chain("legacy ip", "filter", "OUTPUT", "output", "filter"),
        Chain("legacy ip", "filter", "MINE"),
        Chain("ip", "t", "pre", "prerouting", "filter"),
        Chain("ip", "t", "in", "input", "filter - 5"),
        Chain("ip", "t", "late", "input", "filter + 5"),
        Chain("ip", "t", "out", "output", "filter - 5"),
        Chain("ip", "t", "post", "postrouting", "srcnat"),
    )
}
NFT = {chain for family, _, chain in CHAINS if family == "ip"}

CASES = [
    ("pre in late PREROUTING INPUT", "PREROUTING pre in INPUT late"),
    ("pre in late INPUT MINE INPUT", "pre in INPUT MINE INPUT late"),
    ("pre post FORWARD", "pre FORWARD post"),
    ("out post OUTPUT", "out OUTPUT post"),
    ("out post pre in OUTPUT PREROUTING INPUT", "out OUTPUT post PREROUTING pre in INPUT"),
    (
        "pre post pre post PREROUTING FORWARD PREROUTING FORWARD",
        "PREROUTING pre FORWARD post PREROUTING pre FORWARD post",
    ),
    ("pre in late", "pre in late"),
    ("PREROUTING INPUT", "PREROUTING INPUT"),
    ("in gone INPUT", "in gone INPUT"),
]


def met(words: str, role: str = "request") -> list[Met]:
    """Return what was told: the names of chains, in the order in which each of the two told them."""
    events = []
    for name in words.split():
        family = "ip" if name in NFT or name == "gone" else "legacy ip"
        table = "t" if family == "ip" else "raw" if name == "RAW" else "nat" if name == "PREROUTING" else "filter"
        events.append(Event(family, table, name, "rule", "continue", 1, None, 0))
    return [Met(role, event) for event in events]  # type: ignore[arg-type]


@pytest.mark.parametrize(("told", "order"), CASES)
def test_the_hook_comes_first_then_the_priority(told: str, order: str) -> None:
    assert " ".join(one.event.chain for one in in_order(met(told), CHAINS)) == order


def test_the_answer_has_an_order_of_its_own() -> None:
    both = [*met("pre in INPUT"), *met("out OUTPUT", "answer")]
    shown = [(one.role, one.event.chain) for one in in_order(both, CHAINS)]
    assert shown == [(one.role, one.event.chain) for one in both]
