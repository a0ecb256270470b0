"""Rules: which rules of iptables does Docker write for itself, for a network, and for a published port?

They are in the words of iptables-save, and in the order in which Docker writes them: `-I` puts a rule at the top of its
chain, `-A` at the end. Chains: DOCKER-USER is for the user's own rules; DOCKER-ISOLATION-STAGE-1 and -2 keep networks
apart; DOCKER holds the published ports, in `nat` where they lead and in `filter` that they may.
Source: libnetwork, drivers/bridge/setup_ip_tables.go and iptables/iptables.go, as in Docker 20.10; tried with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

__all__ = ["JUMPS", "Rule", "chains", "daemon", "drop_forwarded", "network", "published", "text", "without"]

ANY = "0.0.0.0"  # noqa: S104 - every address of the host
STAGE_1, STAGE_2, USER = "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2", "DOCKER-USER"


class Rule(NamedTuple):
    """One change to a table. `verb` is -A (append), -I (insert at the top), -N (a new chain), -P (a policy) or -D."""

    table: str
    verb: str
    words: str

    @property
    def command(self) -> str:
        """The shell command: "iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"."""
        return f"iptables {'' if self.table == 'filter' else f'-t {self.table} '}{self.verb} {self.words}"

    @property
    def line(self) -> str:
        """The line of iptables-restore."""
        if self.verb == "-N":
            return f":{self.words} - [0:0]"
        if self.verb == "-P":
            return f":{self.words} [0:0]"
        return f"{self.verb} {self.words}"


def text(rules: Iterable[Rule]) -> str:
    """Return the rules in the form that iptables-restore takes, table by table."""
    tables: dict[str, list[str]] = {}
    for rule in rules:
        tables.setdefault(rule.table, []).append(rule.line)
    return "".join(f"*{table}\n{chr(10).join(lines)}\nCOMMIT\n" for table, lines in tables.items())


def without(rules: Iterable[Rule]) -> list[Rule]:
    """Return what takes the rules away, the last one first."""
    return [Rule(rule.table, "-D", rule.words) for rule in reversed(list(rules)) if rule.verb in ("-A", "-I")]


JUMPS = (  # always the first of FORWARD: Docker moves them there with every network
    Rule("filter", "-I", f"FORWARD -j {STAGE_1}"),
    Rule("filter", "-I", f"FORWARD -j {USER}"),
)


def chains() -> list[Rule]:
    """Return Docker's own chains, empty."""
    return [
        *(Rule("filter", "-N", chain) for chain in ("DOCKER", STAGE_1, STAGE_2, USER)),
        Rule("nat", "-N", "DOCKER"),
    ]


def daemon(userland_proxy: bool) -> list[Rule]:
    """Return the rules that Docker writes when it starts, before any network.

    What goes to an address of the host passes the published ports. With the userland proxy, 127.0.0.0/8 does not:
    the proxy answers there."""
    loopback = "! -d 127.0.0.0/8 " if userland_proxy else ""
    return [
        *(Rule("filter", "-A", f"{chain} -j RETURN") for chain in (STAGE_1, STAGE_2, USER)),
        *JUMPS,
        Rule("nat", "-A", "PREROUTING -m addrtype --dst-type LOCAL -j DOCKER"),
        Rule("nat", "-A", f"OUTPUT {loopback}-m addrtype --dst-type LOCAL -j DOCKER"),
    ]


def drop_forwarded() -> Rule:
    """Return the policy that Docker sets when it is who switches forwarding on: what no rule accepts is dropped."""
    return Rule("filter", "-P", "FORWARD DROP")


def network(
    bridge: str,
    subnet: IPv4Network,
    *,
    icc: bool = True,
    masquerade: bool = True,
    internal: bool = False,
    userland_proxy: bool = True,
) -> list[Rule]:
    """Return the rules of one bridge network.

    `icc`: containers on the bridge reach each other. `masquerade`: what leaves by another interface leaves with that
    one's address. `internal`: nothing leaves, and nothing comes in."""
    among = "-I", "ACCEPT"
    if not icc:
        among = "-A", "DROP"
    found = [Rule("filter", among[0], f"FORWARD -i {bridge} -o {bridge} -j {among[1]}")]
    if internal:
        return [
            *found,
            Rule("filter", "-I", f"{STAGE_1} ! -d {subnet} -i {bridge} -j DROP"),
            Rule("filter", "-I", f"{STAGE_1} ! -s {subnet} -o {bridge} -j DROP"),
        ]
    found += [
        Rule("filter", "-I", f"FORWARD -i {bridge} ! -o {bridge} -j ACCEPT"),
        Rule("filter", "-I", f"FORWARD -o {bridge} -j DOCKER"),
        Rule("filter", "-I", f"FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        Rule("filter", "-I", f"{STAGE_1} -i {bridge} ! -o {bridge} -j {STAGE_2}"),
        Rule("filter", "-I", f"{STAGE_2} -o {bridge} -j DROP"),
    ]
    if masquerade:
        found.append(Rule("nat", "-I", f"POSTROUTING -s {subnet} ! -o {bridge} -j MASQUERADE"))
    if masquerade and userland_proxy:
        found.append(Rule("nat", "-I", f"DOCKER -i {bridge} -j RETURN"))
    if not userland_proxy:
        found.append(Rule("nat", "-I", f"POSTROUTING -o {bridge} -m addrtype --src-type LOCAL -j MASQUERADE"))
    return found


def published(
    bridge: str,
    address: IPv4Address,
    port: int,
    protocol: str,
    host_ip: str,
    host_port: int,
    *,
    userland_proxy: bool = True,
) -> list[Rule]:
    """Return the three rules of a published port: where it leads, that it may, and the way back of hairpin.

    The third is for a container that calls its own published port: the reply has to come back through the host."""
    to = "" if host_ip == ANY else f"-d {host_ip}/32 "
    outside = f"! -i {bridge} " if userland_proxy else ""
    among = f"-p {protocol} -m {protocol} --dport"
    return [
        Rule("nat", "-A", f"DOCKER {to}{outside}{among} {host_port} -j DNAT --to-destination {address}:{port}"),
        Rule("filter", "-A", f"DOCKER -d {address}/32 ! -i {bridge} -o {bridge} {among} {port} -j ACCEPT"),
        Rule("nat", "-A", f"POSTROUTING -s {address}/32 -d {address}/32 {among} {port} -j MASQUERADE"),
    ]
