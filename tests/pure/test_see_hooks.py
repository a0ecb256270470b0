"""The picture of hooks: what hangs where, in the order of priorities, whichever tool made it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from labkit import see
from labkit.state.firewall import Chain, Rule, Ruleset

SVG = "{http://www.w3.org/2000/svg}"


def rules(*chains: Chain, **texts: str) -> Ruleset:
    """Return a ruleset; `texts`: chain name -> its rules, line by line."""
    found = {
        (chain.family, chain.table, chain.name, number): Rule(text, "")
        for chain in chains
        for number, text in enumerate(texts.get(chain.name, "").splitlines())
    }
    return Ruleset("", found, {(chain.family, chain.table, chain.name): chain for chain in chains})


def nft(name: str, hook: str, priority: str, family: str = "ip", policy: str = "accept") -> Chain:
    return Chain(family, "t", name, hook, priority, policy)


def iptables(name: str, hook: str, priority: str, table: str, family: str = "ip", policy: str = "accept") -> Chain:
    return Chain(family, table, name, hook, priority, policy, "iptables")


NUMBERS = [
    (nft("c", "prerouting", "raw"), -300),
    (nft("c", "prerouting", "dstnat + 5"), -95),
    (nft("c", "input", "filter - 5"), -5),
    (nft("c", "output", "-170"), -170),
    (nft("c", "postrouting", "srcnat"), 100),
    (nft("c", "forward", "security"), 50),
    (nft("c", "forward", "filter", family="bridge"), -200),
    (nft("c", "prerouting", "dstnat", family="bridge"), -300),
    (nft("c", "output", "out", family="bridge"), 100),
    (nft("c", "", ""), 0),
]


@pytest.mark.parametrize(("chain", "number"), NUMBERS)
def test_a_priority_in_words_is_the_kernels_number(chain: Chain, number: int) -> None:
    assert chain.number == number


def test_a_namespace_without_rules_has_five_hooks_and_no_tracking() -> None:
    assert see.hooks_text(rules(), "red") == (
        "hooks of red\n"
        "a packet comes in by a link of red\n"
        "prerouting\n"
        "   -200   connection tracking  off: no rule needs it\n"
        "routing decision: for red itself, or for another\n"
        "input, when it is for red\n"
        "  nothing\n"
        "forward, when it is for another\n"
        "  nothing\n"
        "routing decision, for a packet that red itself sends\n"
        "output, for that packet\n"
        "   -200   connection tracking  off: no rule needs it\n"
        "postrouting, for every packet that goes out\n"
        "  nothing"
    )


MIXED = rules(
    nft("late", "prerouting", "filter + 1"),
    iptables("PREROUTING", "prerouting", "dstnat", "nat", family="legacy ip"),
    nft("early", "prerouting", "raw - 1", family="inet"),
    iptables("PREROUTING", "prerouting", "-150", "mangle"),
    iptables("FORWARD", "forward", "filter", "filter", policy="drop"),
    Chain("ip", "filter", "DOCKER", tool="iptables"),
    PREROUTING="iptables -t nat -A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.2",
    FORWARD="iptables -t filter -A FORWARD -o br0 -j DOCKER\niptables -t filter -A FORWARD -j ACCEPT",
)


def lines_at(hook: str, shown: str) -> list[str]:
    lines = shown.splitlines()
    first = next(number for number, line in enumerate(lines) if line.split(",")[0] == hook)
    return [line for line in lines[first + 1 : first + 9] if line.startswith("  ")]


def test_chains_of_all_tools_stand_in_the_order_of_their_priorities() -> None:
    shown = [
        line.split("  nft,")[0].split("  iptables,")[0] for line in lines_at("prerouting", see.hooks_text(MIXED))[:5]
    ]
    assert [" ".join(line.split()) for line in shown] == [
        "-301 raw - 1 inet t early",
        "-200 connection tracking on: a rule needs it",
        "-150 mangle mangle PREROUTING",
        "-100 dstnat nat PREROUTING",
        "1 filter + 1 ip t late",
    ]


def test_a_chain_tells_its_policy_its_rules_and_where_they_jump() -> None:
    assert "filter FORWARD  iptables, policy drop, 2 rules → DOCKER" in see.hooks_text(MIXED)


def test_an_empty_chain_that_iptables_made_unasked_is_left_out() -> None:
    made = iptables("INPUT", "input", "filter", "filter", family="legacy ip")
    assert see.hooks_text(rules(made)) == see.hooks_text(rules())
    assert "filter INPUT" in see.hooks_text(rules(made, INPUT="iptables -t filter -A INPUT -j ACCEPT"))
    assert "no rule" in see.hooks_text(rules(nft("mine", "input", "filter")))


TRACKING = [
    ("iptables -t nat -A c -j MASQUERADE", True),
    ("iptables -t filter -A c -m conntrack --ctstate NEW -j ACCEPT", True),
    ("iptables -t raw -A c -j CT --notrack", False),
    ('iptables -t filter -A c -m comment --comment "no masquerade" -j ACCEPT', False),
    ("iptables -t filter -A c -m comment --comment masquerade -j ACCEPT", False),
    ("ct state established accept", True),
    ("ip saddr 10.0.0.0/24 masquerade", True),
    ("tcp dport 80 dnat to 10.0.0.2:80", True),
    ("notrack", False),
    ('iifname "ct state" accept', False),
    ('accept comment "ct state is not asked"', False),
    ("counter accept", False),
]


@pytest.mark.parametrize(("text", "on"), TRACKING)
def test_connections_are_tracked_where_a_rule_needs_it(text: str, on: bool) -> None:
    shown = see.hooks_text(rules(nft("c", "input", "filter"), c=text))
    assert ("on: a rule needs it" in shown) == on
    assert ("keeps a new connection" in shown) == on


def test_rules_for_ipv6_turn_tracking_on_for_ipv6() -> None:
    six = rules(nft("c", "input", "filter", family="ip6"), c="ct state new accept")
    assert "on: a rule needs it" not in see.hooks_text(six)
    assert "on: a rule needs it" in see.hooks_text(six, family="ip6")


def test_links_and_bridges_have_hooks_where_chains_are_there() -> None:
    assert "bridge" not in see.hooks_text(MIXED)
    more = rules(
        nft("in", "ingress", "filter", family="netdev"),
        nft("out", "egress", "filter", family="netdev"),
        nft("b", "forward", "filter", family="bridge"),
    )
    shown = see.hooks_text(more)
    assert shown.index("ingress") < shown.index("prerouting") < shown.index("egress") < shown.index("bridge")
    assert "   -200 filter  forward: bridge t b  nft, policy accept, no rule" in shown


@pytest.mark.parametrize("ruleset", [rules(), MIXED, rules(nft("b", "forward", "filter", family="bridge"))])
def test_the_picture_says_what_the_text_says(ruleset: Ruleset) -> None:
    drawn = see.hooks_svg(ruleset, "red")
    root = ET.fromstring(drawn)
    assert root.findtext(f"{SVG}desc") == see.hooks_text(ruleset, "red")
    words = " ".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    for chain in ruleset.chains.values():
        if chain.hook:
            assert f"{chain.table} {chain.name}" in words
    assert {group.get("data-hook") for group in root.iter(f"{SVG}g")} >= {"prerouting", "input", "forward", "output"}


def test_the_picture_is_the_same_whatever_order_the_chains_were_read_in() -> None:
    turned = Ruleset("", MIXED.rules, dict(reversed(MIXED.chains.items())))
    assert see.hooks_svg(turned) == see.hooks_svg(MIXED)


def test_a_picture_fits_into_a_notebook_however_many_chains_there_are() -> None:
    names = [f"DOCKER-ISOLATION-STAGE-{number}" for number in range(9)]
    many = rules(
        iptables("FORWARD", "forward", "filter", "filter", policy="drop"),
        iptables("OUTPUT", "output", "filter", "filter"),
        *(Chain("ip", "filter", name, tool="iptables") for name in names),
        FORWARD="\n".join(f"iptables -t filter -A FORWARD -j {name}" for name in names),
        OUTPUT="\n".join(f"iptables -t filter -A OUTPUT -j {name}" for name in names),
    )
    assert "9 rules → DOCKER-ISOLATION-STAGE-0, DOCKER-ISOLATION-STAGE-1, " in see.hooks_text(many)
    for ruleset in (MIXED, many):
        root = ET.fromstring(see.hooks_svg(ruleset, "a-long-name-of-a-namespace"))
        assert float(root.get("width", "9999")) < 1150
