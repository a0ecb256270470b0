"""iptables and nft: what they complain of becomes one sentence, and a text is looked at before a program is run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from labkit.errors import CommandNotInstalled, LabkitError, NotInLabMachine, Refused, Unavailable, WrongUse
from labkit.net import command, conntrack, iptables, iptables_text, nftables
from labkit.net.command import Command

LINES = ["*filter", "-A INPUT -j ACCEPT", "-A FOO -j ACCEPT", "COMMIT", "*nat", "-A INPUT -j FOO", "COMMIT"]

# What iptables-nft, and iptables-legacy, say to the same mistake: (kind, cause).
IPTABLES = [
    (
        'iptables v1.8.9 (nf_tables): unknown option "--dportt"\nTry `iptables -h\' or',
        "WrongUse",
        "'--dportt' is not an option here",
    ),
    ('iptables v1.8.9 (legacy): unknown option "--dport"\nTry', "WrongUse", "'--dport' is not an option here"),
    ('iptables v1.8.9 (nf_tables): unknown protocol "tcpp" specified', "WrongUse", "'tcpp' is not a protocol"),
    ("iptables v1.8.9 (legacy): host/network `10.0.0.300' not found", "WrongUse", "'10.0.0.300' is not an address"),
    ("Bad argument `accept'\nTry", "WrongUse", "'accept' is not understood here"),
    (
        "iptables v1.8.9 (nf_tables): Couldn't load match `foo':No such file or directory\n",
        "NotFound",
        "no match 'foo'",
    ),
    ("iptables v1.8.9 (nf_tables): Chain 'FOO' does not exist", "NotFound", "no target or chain 'FOO'"),
    ("iptables v1.8.9 (legacy): Couldn't load target `FOO':No such file", "NotFound", "no target or chain 'FOO'"),
    ("iptables: No chain/target/match by that name.", "NotFound", "no such chain, target or match"),
    ("iptables: Chain already exists.", "Duplicate", "it exists already"),
    (
        "iptables v1.8.9 (nf_tables):  CHAIN_DEL failed (Device or resource busy): chain FOO",
        "Refused",
        "rules jump to it",
    ),
    ("iptables: Too many links.", "Refused", "rules jump to it"),
    ("iptables: Directory not empty.", "Refused", "it has rules"),
    ("iptables: Bad built-in chain name.", "WrongUse", "it is not a built-in chain"),
    ("iptables: Index of insertion too big.", "WrongUse", "it has fewer rules than that"),
    (
        "iptables v1.8.9 (nf_tables):  RULE_APPEND failed (Invalid argument): rule in chain INPUT",
        "Refused",
        "the kernel says: invalid argument",
    ),
    ("iptables: Invalid argument. Run `dmesg' for more information.", "Refused", "the kernel says: invalid argument"),
    (
        "iptables v1.8.9 (legacy): can't initialize iptables table `nat': Table does not exist",
        "Unavailable",
        "this kernel has no such table",
    ),
    (
        "ERROR: No valid subcommand given.\nValid subcommands:\n * iptables",
        "Unavailable",
        "this kernel has no nftables for it",
    ),
    ("something new", "Refused", "something new"),
    ("", "Refused", "iptables did not say why"),
]
# The same of iptables-restore, which read LINES.
RESTORE = [
    (
        'iptables-restore v1.8.9 (nf_tables): unknown option "--dportt"\nError occurred at line: 2\n',
        "WrongUse",
        "line 2, '-A INPUT -j ACCEPT': '--dportt' is not an option here",
    ),
    (
        "iptables-restore: line 3 failed: No chain/target/match by that name.",
        "NotFound",
        "line 3, '-A FOO -j ACCEPT': no such chain, target or match",
    ),
    ("iptables-restore: line 3 failed", "NotFound", "line 3, '-A FOO -j ACCEPT': no such chain, target or match"),
    (
        "iptables-restore v1.8.9 (nf_tables): Chain 'FOO' does not exist\nError occurred at line: 7\n",
        "NotFound",
        "line 3, '-A FOO -j ACCEPT': no target or chain 'FOO'",
    ),
    ("iptables-restore: line 4 failed", "Refused", "line 4, 'COMMIT': the kernel takes not all of this table's rules"),
    (
        "iptables-restore v1.8.9 (nf_tables): \nline 2: RULE_APPEND failed (Invalid argument): rule in chain INPUT",
        "Refused",
        "line 2, '-A INPUT -j ACCEPT': the kernel says: invalid argument",
    ),
    ("iptables-restore: line 99 failed", "Refused", "iptables-restore: line 99 failed"),
]


@pytest.mark.parametrize(("stderr", "kind", "cause"), IPTABLES)
def test_a_complaint_of_iptables_is_one_sentence(stderr: str, kind: str, cause: str) -> None:
    found, sentence, hint = iptables_text.complaint(stderr)
    assert (found.__name__, sentence) == (kind, cause)
    assert hint


@pytest.mark.parametrize(("stderr", "kind", "cause"), RESTORE)
def test_a_complaint_of_iptables_restore_names_the_line(stderr: str, kind: str, cause: str) -> None:
    found, sentence, hint = iptables_text.complaint(stderr, LINES)
    assert (found.__name__, sentence) == (kind, cause)
    assert hint


TEXTS = [
    ("", "there are no rules in the text"),
    ("# a comment\n\n", "there are no rules in the text"),
    ("hello", "line 1, 'hello': no table has begun"),
    ("-A INPUT -j ACCEPT", "line 1, '-A INPUT -j ACCEPT': no table has begun"),
    ("*natt\nCOMMIT", "line 1, '*natt': no table 'natt'"),
    ("*nat\n-A POSTROUTING -j MASQUERADE\n", "table 'nat' does not end"),
    ("*nat\n*filter\nCOMMIT", "line 2, '*filter': table 'nat' does not end before it"),
    ("*nat\nCOMMIT\n\n*nat\nCOMMIT", "line 4, '*nat': the table is there twice"),
    ("*nat\niptables -A INPUT\nCOMMIT", "line 2, 'iptables -A INPUT': a line has no command's name"),
    ("*nat\nallow all\nCOMMIT", "line 2, 'allow all': neither a rule nor a chain"),
]


@pytest.mark.parametrize(("text", "cause"), TEXTS)
def test_a_text_that_cannot_be_is_refused_before_a_program_runs(text: str, cause: str) -> None:
    with pytest.raises(WrongUse) as refused:
        iptables_text.parse(text, "red")
    assert refused.value.message == f"failed to apply rules in namespace 'red': {cause}"
    assert refused.value.hint


def test_a_text_may_be_indented_and_have_comments_and_counters() -> None:
    text = """
        # Generated by hand
        *nat
        :POSTROUTING ACCEPT [0:0]
        [3:252] -A POSTROUTING -j MASQUERADE
        COMMIT
        *filter
        COMMIT
    """
    lines = [":POSTROUTING ACCEPT [0:0]", "[3:252] -A POSTROUTING -j MASQUERADE"]
    assert iptables_text.parse(text) == {"nat": lines, "filter": []}


NFT_TEXT = "table ip t {\n chain c {\n  type filter hook inputt priority 0;\n }\n}\nadd rule ip t c bogus\n accept\n"
NFT = [
    (
        "/dev/stdin:3:20-25: Error: unknown chain hook\n  type",
        NFT_TEXT,
        "WrongUse",
        "line 3, at 'inputt': unknown chain hook",
        "line 3: type filter hook inputt priority 0;",
    ),
    (
        "/dev/stdin:6:22-22: Error: syntax error, unexpected newline\n",
        NFT_TEXT,
        "WrongUse",
        "line 6, at 'bogus': syntax error, unexpected newline",
        "line 6: add rule ip t c bogus",
    ),
    (
        "/dev/stdin:7:8-8: Error: syntax error, unexpected newline\n",
        NFT_TEXT,
        "WrongUse",
        "line 7, at 'accept': syntax error, unexpected newline",
        "line 7: accept",
    ),
    (
        "/dev/stdin:8:1-1: Error: syntax error, unexpected end of file\n",
        NFT_TEXT,
        "WrongUse",
        "line 8, at its end: syntax error, unexpected end of file",
        "line 8: ",
    ),
    (
        "/dev/stdin:6:15-15: Error: Could not process rule: No such file or directory\n",
        NFT_TEXT,
        "NotFound",
        "line 6, at 'c': no such table, chain or set",
        "line 6: add rule ip t c bogus",
    ),
    (
        "/dev/stdin:1:10-10: Error: Could not process rule: File exists\n",
        "create table t",
        "Duplicate",
        "line 1, at 'table': it exists already",
        "line 1: create table t",
    ),
    (
        "/dev/stdin:1:1-4: Error: Could not process rule: Value too large\n",
        "flush ruleset",
        "Refused",
        "line 1, at 'flush': the kernel says: value too large",
        "line 1: flush ruleset",
    ),
    (
        "internal:0:0-0: Error: Unknown statement object 'acceptt'.\n\nParsing command array at index 1 failed.\n",
        '{"nftables": [{"a": 1}, {"b": 2}]}',
        "WrongUse",
        "command 1: unknown statement object 'acceptt'",
        'command 1: {"b": 2}',
    ),
    (
        "internal:0:0-0: Error: Could not process rule: No such file or directory\n",
        "{}",
        "NotFound",
        "no such table, chain or set",
        "nft's words: man nft",
    ),
    (
        "Error: Could not process rule: Device or resource busy\ndelete table",
        "",
        "Refused",
        "it is in use",
        "nft's words: man nft",
    ),
    (
        "netlink: Error: cache initialization failed",
        "",
        "WrongUse",
        "cache initialization failed",
        "nft's words: man nft",
    ),
]


@pytest.mark.parametrize(("stderr", "text", "kind", "cause", "hint"), NFT)
def test_a_complaint_of_nft_is_one_sentence(stderr: str, text: str, kind: str, cause: str, hint: str) -> None:
    found, *said = nftables.complaint(stderr, text)
    assert (found.__name__, said) == (kind, [cause, hint])


def test_a_change_shows_itself_as_the_shell_command() -> None:
    words = ("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-m", "comment", "--comment", "to the world")
    assert repr(Command("append", "a rule", "host", words)) == (
        "iptables -w -t nat -A POSTROUTING -m comment --comment 'to the world'"
    )
    assert repr(Command("append", "a rule", "red", words)).startswith("ip netns exec red iptables -w")


def test_a_text_is_shown_as_what_the_shell_would_feed_it() -> None:
    shown = repr(Command("apply", "rules", "red", ("nft", "-f", "-"), "table ip t {\n}\n"))
    assert shown == "ip netns exec red nft -f - <<'END'\ntable ip t {\n}\nEND"


VERBS: list[Callable[[], object]] = [
    lambda: iptables.backend(),
    lambda: iptables.apply("*nat\nCOMMIT"),
    lambda: iptables.append("nat", "POSTROUTING", "-j MASQUERADE"),
    lambda: iptables.save(),
    lambda: nftables.apply("table ip t { }"),
    lambda: nftables.delete_table("t"),
    lambda: nftables.flush(),
    lambda: conntrack.delete("udp"),
    lambda: conntrack.flush(),
    lambda: conntrack.watch(),
    lambda: conntrack.room(),
]


@pytest.mark.parametrize("verb", VERBS)
def test_on_the_computer_itself_every_verb_refuses(verb: Callable[[], object]) -> None:
    with pytest.raises(NotInLabMachine, match="never touches the computer's own network"):
        verb()


WRONG: list[tuple[Callable[[], object], str]] = [
    (
        lambda: iptables.append("natt", "INPUT", "-j ACCEPT", namespace="red"),
        "append a rule to chain 'INPUT' of table 'natt' in namespace 'red': no table 'natt'",
    ),
    (lambda: iptables.save("natt"), "save table 'natt' in namespace 'host': no table 'natt'"),
    (
        lambda: iptables.append("nat", "INPUT", ""),
        "append a rule to chain 'INPUT' of table 'nat' in namespace 'host': the rule is empty",
    ),
    (
        lambda: iptables.insert("nat", "INPUT", "-j 'A"),
        "insert a rule into chain 'INPUT' of table 'nat' in namespace 'host': no closing quotation",
    ),
    (
        lambda: iptables.set_policy("filter", "INPUT", "REJECT"),
        "set policy of chain 'INPUT' of table 'filter' in namespace 'host': 'REJECT' is not a policy",
    ),
    (lambda: iptables.flush("nat", backend="new"), "choose iptables in namespace 'host': no back end 'new'"),  # type: ignore[arg-type]
    (lambda: iptables.flush("nat", family="ip5"), "choose iptables in namespace 'host': no family 'ip5'"),  # type: ignore[arg-type]
    (lambda: nftables.apply(" \n"), "apply rules in namespace 'host': there are no rules in it"),
    (lambda: nftables.apply([]), "apply rules in namespace 'host': there are no rules in it"),
    (lambda: nftables.apply([{"add": {1, 2}}]), "apply rules: Object of type set is not JSON serializable"),
    (lambda: nftables.delete_table("t", family="ipv4"), "delete table 't' in namespace 'host': no family 'ipv4'"),
    (lambda: conntrack.delete(), "delete connections in namespace 'host': it is not said which"),
    (lambda: conntrack.delete("http"), "delete connections in namespace 'host': 'http' is not a protocol"),
    (
        lambda: conntrack.delete(src="10.0.0.300"),
        "delete connections in namespace 'host': '10.0.0.300' is neither an address nor a prefix",
    ),
    (
        lambda: conntrack.delete(reply_dport=70000),
        "delete connections in namespace 'host': 70000 is not a port (reply dport)",
    ),
]


@pytest.mark.parametrize(("wrong", "sentence"), WRONG)
def test_what_cannot_be_is_said_at_once(wrong: Callable[[], object], sentence: str) -> None:
    with pytest.raises(WrongUse) as refused:
        wrong()
    assert refused.value.message == f"failed to {sentence}"
    assert refused.value.hint


@pytest.mark.parametrize(
    ("change", "program", "package"),
    [
        (lambda: nftables.flush(namespace="red"), "nft", "nftables"),
        (lambda: iptables.append("nat", "INPUT", "-j ACCEPT", backend="legacy"), "iptables-legacy", "iptables"),
        (lambda: iptables.backend(), "iptables", "iptables"),
    ],
)
def test_a_missing_program_is_named_with_its_package(
    change: Callable[[], object], program: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (command, iptables):
        monkeypatch.setattr(module, "which", lambda _: None)
        monkeypatch.setattr(module, "ensure_lab_machine", lambda _: None)
    monkeypatch.setattr("labkit.net.namespace.inode", lambda _: 1)
    with pytest.raises(CommandNotInstalled) as refused:
        change()
    assert f": {program} is not installed" in refused.value.message
    assert refused.value.hint == f"sudo apt install {package}"


def test_a_kernel_without_nftables_is_told_with_what_works_there(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "/dev/stdin:1:1-14: Error: Could not process rule: Operation not supported\n"
    monkeypatch.setattr(nftables, "run", lambda done: subprocess.CompletedProcess(done.words, 1, "", said))
    monkeypatch.setattr(nftables, "on_user_mode_linux", lambda: True)
    with pytest.raises(Unavailable) as refused:
        nftables.apply("add table ip t\n", namespace="red")
    assert refused.value.message == "failed to apply rules in namespace 'red': this kernel has no nftables for IPv4"
    assert refused.value.hint.startswith("iptables works here (labkit.net.iptables); for nft, ")
    monkeypatch.setattr(nftables, "on_user_mode_linux", lambda: False)
    with pytest.raises(
        Refused, match="line 1, at 'add table ip t': the kernel does not do that in such a chain or table"
    ):
        nftables.apply("add table ip t\n", namespace="red")


def test_every_kind_of_complaint_is_an_error_of_labkit() -> None:
    assert all(issubclass(iptables_text.complaint(stderr)[0], LabkitError) for stderr, *_ in IPTABLES)
