"""iptables and nft as verbs: what they do is what the commands do, and after a refusal nothing of it is there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

import labkit
from labkit import Bridge, Container, Lab, Topology, build
from labkit.errors import Duplicate, LabkitError, NotFound, Refused, WrongUse
from labkit.net import here, iptables, namespace, nftables
from labkit.net.command import Command
from labkit.net.iptables import Backend
from labkit.state import conntrack, firewall

pytestmark = pytest.mark.usefixtures("network")

WORLD = Topology(
    Bridge("br0", "10.0.0.1/24"),
    Container("red", "10.0.0.2/24", link="br0"),
    Container("blue", "10.0.0.3/24", link="br0"),
)
UML = here.on_user_mode_linux()
BACKENDS: list[Backend] = ["legacy"] if UML else ["nft", "legacy"]
both = pytest.mark.parametrize("back", BACKENDS)
needs_nftables = pytest.mark.skipif(UML, reason="needs: nftables' ip family, which User-Mode Linux lacks")

DOCKERS = """
*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""


def sh(command: str) -> str:
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout


def saved(name: str, back: Backend) -> list[str]:
    """The oracle: what iptables-save says, without times, versions and counters."""
    text = sh(f"ip netns exec {name} iptables-{back}-save")
    return [line.split(" [")[0] for line in text.splitlines() if not line.startswith("#")]


def both_ways(back: Backend, verb: Callable[[str], Command], *before: str) -> None:
    """The verb in one namespace, its own command as the shell has it in another: iptables-save shows the same."""
    for name in ("one", "other"):
        namespace.add(name)
        for command in before:
            sh(f"ip netns exec {name} iptables-{back} {command}")
    done = verb("one")
    assert done.namespace == "one"
    sh(str(done).replace("netns exec one", "netns exec other"))
    assert saved("one", back) == saved("other", back)
    assert saved("one", back)


VERBS: dict[str, tuple[list[str], Callable[..., Command]]] = {
    "append": ([], lambda **at: iptables.append("nat", "POSTROUTING", "-s 10.0.0.0/8 -j MASQUERADE", **at)),
    "append words": (
        [],
        lambda **at: iptables.append("filter", "INPUT", ["-m", "comment", "--comment", "a b", "-j", "DROP"], **at),
    ),
    "insert": (["-A INPUT -j DROP"], lambda **at: iptables.insert("filter", "INPUT", "-p icmp -j ACCEPT", **at)),
    "insert further down": (
        ["-A INPUT -j DROP", "-A INPUT -j ACCEPT"],
        lambda **at: iptables.insert("filter", "INPUT", "-p icmp -j ACCEPT", 2, **at),
    ),
    "delete": (["-A INPUT -p udp -j DROP"], lambda **at: iptables.delete("filter", "INPUT", "-p udp -j DROP", **at)),
    "delete by number": (
        ["-A INPUT -p udp -j DROP", "-A INPUT -p tcp -j DROP"],
        lambda **at: iptables.delete("filter", "INPUT", 1, **at),
    ),
    "add a chain": (["-A INPUT -j DROP"], lambda **at: iptables.add_chain("filter", "MINE", **at)),
    "delete a chain": (
        ["-N MINE", "-A INPUT -j DROP"],
        lambda **at: iptables.delete_chain("filter", "MINE", **at),
    ),
    "flush a chain": (
        ["-A INPUT -j DROP", "-A OUTPUT -j DROP"],
        lambda **at: iptables.flush("filter", "INPUT", **at),
    ),
    "flush": (["-A INPUT -j DROP", "-A OUTPUT -j DROP"], lambda **at: iptables.flush("filter", **at)),
    "policy": ([], lambda **at: iptables.set_policy("filter", "FORWARD", "DROP", **at)),
    "apply": (["-t nat -A OUTPUT -j ACCEPT"], lambda **at: iptables.apply(DOCKERS, **at)),
    "apply twice": (
        ["-t nat -N DOCKER", "-t nat -A DOCKER -j RETURN"],
        lambda **at: iptables.apply("*nat\n:DOCKER - [0:0]\n-A DOCKER -j ACCEPT\nCOMMIT", **at),
    ),
}


@both
@pytest.mark.parametrize("name", VERBS)
def test_a_verb_does_what_its_command_does(name: str, back: Backend) -> None:
    before, verb = VERBS[name]
    both_ways(back, lambda where: verb(namespace=where, backend=back), *before)


def test_the_back_end_is_what_iptables_says_of_itself() -> None:
    said = "nft" if "nf_tables" in sh("iptables --version") else "legacy"
    assert iptables.backend() == said
    namespace.add("red")
    assert iptables.backend("red") == said


def test_a_rule_decides_about_packets_until_it_is_deleted() -> None:
    lab = build(WORLD)
    iptables.append("filter", "INPUT", "-p icmp -j DROP", namespace="blue")
    assert not lab.ping("red", "blue", timeout=0.2)
    iptables.delete("filter", "INPUT", "-p icmp -j DROP", namespace="blue")
    assert lab.ping("red", "blue")


@both
def test_what_is_not_in_the_text_stays(back: Backend) -> None:
    namespace.add("red")
    iptables.append("nat", "POSTROUTING", "-o eth9 -j MASQUERADE", namespace="red", backend=back)
    iptables.apply(DOCKERS, namespace="red", backend=back)
    rules = [line for line in saved("red", back) if line.startswith("-A")]
    assert "-A POSTROUTING -o eth9 -j MASQUERADE" in rules
    assert len(rules) == 5


@both
@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ("*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n*filter\n-A INPUT -p tcp --dportt 80 -j DROP\nCOMMIT", WrongUse),
        ("*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n*filter\n-A NONE -j DROP\nCOMMIT", NotFound),
        ("*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n*filter\n-A INPUT -j NONE\nCOMMIT", NotFound),
        ("*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n*filter\n-A INPUT -j MASQUERADE\nCOMMIT", Refused),
    ],
    ids=["option", "chain", "target", "kernel"],
)
@pytest.mark.parametrize("held", [True, False], ids=["rules before", "none before"])
def test_after_a_refusal_every_table_is_as_it_was(
    broken: str, kind: type[LabkitError], back: Backend, held: bool
) -> None:
    namespace.add("red")
    if held:
        iptables.apply(DOCKERS, namespace="red", backend=back)
    before = [line for line in saved("red", back) if line.startswith(("-A", "*", "COMMIT"))]
    with pytest.raises(kind, match=r"line \d, '"):
        iptables.apply(broken, namespace="red", backend=back)
    rules = [line for line in saved("red", back) if line.startswith("-A")]
    assert rules == [line for line in before if line.startswith("-A")]


@both
def test_deleting_what_is_gone_is_success(back: Backend) -> None:
    namespace.add("red")
    at: dict[str, Any] = {"namespace": "red", "backend": back}
    for _ in range(2):
        iptables.delete("filter", "INPUT", "-p udp -j DROP", **at)
        iptables.delete("filter", "MINE", "-j DROP", **at)
        iptables.delete("filter", "INPUT", "-j MINE", **at)
        iptables.delete_chain("filter", "MINE", **at)


REFUSALS: dict[str, tuple[type[LabkitError], str, Callable[..., object]]] = {
    "no chain": (NotFound, "no such chain", lambda **at: iptables.append("nat", "FOO", "-j ACCEPT", **at)),
    "no target": (NotFound, "no target or chain 'FOO'", lambda **at: iptables.append("nat", "OUTPUT", "-j FOO", **at)),
    "no match": (NotFound, "no match 'foo'", lambda **at: iptables.append("nat", "OUTPUT", "-m foo -j ACCEPT", **at)),
    "no option": (WrongUse, "'--dport' is not", lambda **at: iptables.append("nat", "OUTPUT", "--dport 80", **at)),
    "a word": (WrongUse, "'drop' is not understood", lambda **at: iptables.append("nat", "OUTPUT", "drop", **at)),
    "protocol": (WrongUse, "'tcpp' is not a", lambda **at: iptables.append("nat", "OUTPUT", "-p tcpp", **at)),
    "address": (WrongUse, "'10.0.0.300' is not", lambda **at: iptables.append("nat", "OUTPUT", "-s 10.0.0.300", **at)),
    "place": (Refused, "invalid argument", lambda **at: iptables.append("filter", "OUTPUT", "-j MASQUERADE", **at)),
    "again": (Duplicate, "it exists already", lambda **at: iptables.add_chain("filter", "MINE", **at)),
    "jumps": (Refused, "rules jump to it", lambda **at: iptables.delete_chain("filter", "MINE", **at)),
    "position": (WrongUse, "fewer rules", lambda **at: iptables.insert("filter", "INPUT", "-j DROP", 9, **at)),
    "number": (WrongUse, "fewer rules", lambda **at: iptables.delete("filter", "INPUT", 9, **at)),
    "policy": (WrongUse, "not a built-in", lambda **at: iptables.set_policy("filter", "MINE", "DROP", **at)),
    "flush": (NotFound, "no such chain", lambda **at: iptables.flush("filter", "FOO", **at)),
}


@both
def test_a_refusal_says_why_and_leaves_nothing(back: Backend) -> None:
    namespace.add("red")
    at: dict[str, Any] = {"namespace": "red", "backend": back}
    iptables.apply("*filter\n:MINE - [0:0]\n-A INPUT -j MINE\nCOMMIT\n*nat\nCOMMIT", **at)
    rules = [line for line in saved("red", back) if line.startswith("-A")]
    for name, (kind, cause, wrong) in REFUSALS.items():
        with pytest.raises(LabkitError) as refused:
            wrong(**at)
        assert type(refused.value) is kind, name
        assert cause in refused.value.message, name
        assert refused.value.message.startswith("failed to "), name
        assert refused.value.hint, name
    assert [line for line in saved("red", back) if line.startswith("-A")] == rules


def test_a_namespace_that_is_gone_is_named() -> None:
    for wrong in (
        lambda: iptables.append("nat", "OUTPUT", "-j ACCEPT", namespace="gone"),
        lambda: iptables.backend("gone"),
        lambda: nftables.flush(namespace="gone"),
        lambda: firewall.counts("gone"),
        lambda: labkit.hooks("gone"),
    ):
        with pytest.raises(NotFound, match="failed to enter namespace 'gone': no such namespace"):
            wrong()


@needs_nftables
def test_rules_of_the_other_back_end_are_told_unless_one_is_asked_for() -> None:
    mine = iptables.backend()
    other: Backend = "legacy" if mine == "nft" else "nft"
    namespace.add("red")
    iptables.append("nat", "POSTROUTING", "-j MASQUERADE", namespace="red", backend=other)
    for change in (
        lambda: iptables.append("filter", "INPUT", "-j DROP", namespace="red"),
        lambda: iptables.apply(DOCKERS, namespace="red"),
    ):
        with pytest.raises(Refused) as refused:
            change()
        assert f"iptables-{other} holds rules there (-t nat -A POSTROUTING -j MASQUERADE)" in refused.value.message
        assert f"backend='{mine}'" in refused.value.hint
    assert not [line for line in saved("red", mine) if line.startswith("-A")]
    iptables.append("filter", "INPUT", "-j DROP", namespace="red", backend=mine)
    assert "-A INPUT -j DROP" in saved("red", mine)


@needs_nftables
def test_tables_of_the_other_back_end_without_rules_disturb_nobody() -> None:
    other: Backend = "legacy" if iptables.backend() == "nft" else "nft"
    namespace.add("red")
    sh(f"ip netns exec red iptables-{other} -t nat -L")
    iptables.append("filter", "INPUT", "-j DROP", namespace="red")
    iptables.set_policy("filter", "FORWARD", "DROP", namespace="red", backend=other)
    with pytest.raises(Refused, match=r"\(-t filter -P FORWARD DROP\)"):
        iptables.append("filter", "INPUT", "-j DROP", namespace="red")


def test_rules_for_ipv6_are_apart() -> None:
    namespace.add("red")
    done = iptables.append("filter", "INPUT", "-p udp -j DROP", namespace="red", family="ip6")
    assert repr(done) == "ip netns exec red ip6tables -w -t filter -A INPUT -p udp -j DROP"
    assert "-A INPUT -p udp -j DROP" in sh("ip netns exec red ip6tables-save")
    assert "-A" not in sh("ip netns exec red iptables-save")


TABLE = (
    "table ip t {\n\tchain c {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tcounter drop\n\t}\n}\n"
)
TABLE_AS_JSON = [
    {"add": {"table": {"family": "ip", "name": "t"}}},
    {
        "add": {
            "chain": {
                "family": "ip",
                "table": "t",
                "name": "c",
                "type": "filter",
                "hook": "input",
                "prio": 0,
                "policy": "accept",
            }
        }
    },
    {
        "add": {
            "rule": {"family": "ip", "table": "t", "chain": "c", "expr": [{"counter": None}, {"drop": None}]},
        }
    },
]


@needs_nftables
@pytest.mark.parametrize("ruleset", [TABLE, TABLE_AS_JSON, {"nftables": TABLE_AS_JSON}], ids=["text", "list", "JSON"])
def test_a_ruleset_of_nft_is_there_as_the_command_makes_it(ruleset: Any) -> None:
    for name in ("one", "other"):
        namespace.add(name)
    done = nftables.apply(ruleset, namespace="one")
    sh(str(done).replace("netns exec one", "netns exec other"))
    listed = json.loads(sh("ip netns exec one nft -j list ruleset"))
    assert listed == json.loads(sh("ip netns exec other nft -j list ruleset"))
    assert sh("ip netns exec one nft -s list ruleset") == TABLE


@needs_nftables
@pytest.mark.parametrize(
    "broken",
    [
        TABLE + "add rule ip t nowhere accept\n",
        TABLE + "add rule ip t c bogus\n",
        [*TABLE_AS_JSON, {"add": {"rule": {"family": "ip", "table": "t", "chain": "nowhere", "expr": []}}}],
    ],
    ids=["kernel", "words", "JSON"],
)
def test_a_ruleset_of_nft_is_taken_whole_or_not_at_all(broken: Any) -> None:
    namespace.add("red")
    with pytest.raises(WrongUse) as refused:
        nftables.apply(broken, namespace="red")
    assert refused.value.message.startswith("failed to apply rules in namespace 'red': ")
    assert sh("ip netns exec red nft list ruleset") == ""
    nftables.apply(TABLE, namespace="red")
    with pytest.raises(WrongUse):
        nftables.apply(f"flush ruleset\n{broken}" if isinstance(broken, str) else broken, namespace="red")
    assert sh("ip netns exec red nft -s list ruleset") == TABLE


@needs_nftables
def test_tables_of_nft_are_deleted_one_or_all() -> None:
    namespace.add("red")
    nftables.apply(TABLE + TABLE.replace("table ip t", "table inet u"), namespace="red")
    nftables.delete_table("t", namespace="red")
    assert sh("ip netns exec red nft list tables").split() == ["table", "inet", "u"]
    nftables.delete_table("t", namespace="red")
    assert str(nftables.flush(namespace="red")) == "ip netns exec red nft flush ruleset"
    assert sh("ip netns exec red nft list ruleset") == ""


@both
def test_counters_tell_how_many_packets_met_each_rule(back: Backend) -> None:
    lab = build(WORLD)
    iptables.append("filter", "INPUT", "-p icmp -j ACCEPT", namespace="blue", backend=back)
    iptables.append("filter", "INPUT", "-p udp -j ACCEPT", namespace="blue", backend=back)
    assert lab.ping("red", "blue", count=3)
    icmp, udp = firewall.counts("blue")
    assert (icmp.packets, udp.packets) == (3, 0)
    assert f"[3:{icmp.bytes}] -A INPUT -p icmp" in sh(f"ip netns exec blue iptables-{back}-save -c")
    assert icmp.text.startswith("  3 packets  iptables")
    assert icmp.text.endswith("-t filter -A INPUT -p icmp -j ACCEPT")
    assert repr(firewall.counts("red")) == "no rule counts"


@needs_nftables
def test_rules_of_nft_count_where_they_say_so() -> None:
    lab = build(WORLD)
    chain = "type filter hook input priority 0; ip protocol icmp counter accept; ip protocol udp accept;"
    nftables.apply(f"table ip t {{ chain c {{ {chain} }}; }}", namespace="blue")
    assert lab.ping("red", "blue")
    assert repr(firewall.counts("blue")) == "  1 packet   ip protocol icmp counter accept"


def test_chains_of_legacy_have_the_priorities_that_the_kernel_gives_them() -> None:
    namespace.add("red")
    for table in iptables.TABLES:
        subprocess.run(
            ["ip", "netns", "exec", "red", "iptables-legacy", "-t", table, "-L"], capture_output=True, check=False
        )
    chains = [chain for chain in firewall.rules("red").chains.values() if chain.family == "legacy ip"]
    by_place = {(chain.table, chain.name): chain.number for chain in chains}
    wanted = {
        ("raw", "PREROUTING"): -300,
        ("mangle", "FORWARD"): -150,
        ("nat", "PREROUTING"): -100,
        ("nat", "OUTPUT"): -100,
        ("filter", "INPUT"): 0,
        ("nat", "INPUT"): 100,
        ("nat", "POSTROUTING"): 100,
    }
    assert {place: by_place.get(place) for place in wanted} == wanted


TRACKED = [
    ("true", False),
    ("iptables -A INPUT -j ACCEPT", False),
    ("iptables -t nat -A POSTROUTING -j ACCEPT", False),
    ("iptables -t nat -A POSTROUTING -p tcp -j MASQUERADE", True),
    ("iptables -A INPUT -m conntrack --ctstate INVALID -j DROP", True),
    ("iptables -A INPUT -m comment --comment 'a masquerade' -j ACCEPT", False),
    ("iptables -t raw -A PREROUTING -p tcp -j CT --notrack", False),
]
TRACKED_BY_NFT = [
    ("nft 'table ip t { chain c { type nat hook postrouting priority 100; accept; }; }'", False),
    ("nft 'table ip t { chain c { type nat hook prerouting priority -100; tcp dport 80 dnat to 10.0.0.9; }; }'", True),
    ("nft 'table ip t { chain c { ct state invalid drop; }; }'", True),
    ("nft 'table ip t { chain c { type filter hook prerouting priority -300; ip protocol tcp notrack; }; }'", False),
]


@pytest.mark.parametrize(("command", "tracked"), TRACKED + (TRACKED_BY_NFT if not UML else []))
def test_the_picture_of_hooks_knows_where_the_kernel_tracks_connections(command: str, tracked: bool) -> None:
    lab: Lab = build(WORLD)
    assert lab.run("blue", command)
    assert lab.ping("red", "blue")
    assert bool(conntrack.conntrack("blue")) == tracked
    assert ("connection tracking  on" in labkit.hooks("blue").text) == tracked


def test_the_picture_of_hooks_is_the_same_with_both_back_ends() -> None:
    shown = []
    for back in BACKENDS:
        name = f"red-{back}"
        namespace.add(name)
        iptables.apply(DOCKERS, namespace=name, backend=back)
        shown.append(labkit.hooks(name).text.replace(name, "red").replace(f"iptables-{back}", "iptables"))
    assert "   -100 dstnat  nat PREROUTING       iptables, policy accept, 1 rule → DOCKER" in shown[0]
    assert "      0 filter  filter FORWARD  iptables, policy drop, 1 rule" in shown[0]
    assert shown[0] == shown[-1]


@needs_nftables
def test_a_trace_tells_the_rules_of_both_back_ends_in_the_packets_order() -> None:
    lab = build(WORLD)
    early, late = (f"type filter hook input priority {p}; ip protocol icmp counter accept" for p in (-5, 5))
    nftables.apply(f"table ip t {{ chain early {{ {early}; }}; chain late {{ {late}; }}; }}", namespace="blue")
    iptables.append("filter", "INPUT", "-p icmp -j ACCEPT", namespace="blue", backend="legacy")
    iptables.append("raw", "PREROUTING", "-p icmp -j ACCEPT", namespace="blue", backend="legacy")
    trace = lab.trace("blue", from_="red")
    decided = [decision.text for hop in trace.hops for decision in hop.decided_by if decision.kind == "firewall"]
    request = decided[:4]
    assert [text.split(" -p")[0] for text in request] == [
        "iptables-legacy -t raw -A PREROUTING",
        "ip protocol icmp counter accept",
        "iptables-legacy -t filter -A INPUT",
        "ip protocol icmp counter accept",
    ]
