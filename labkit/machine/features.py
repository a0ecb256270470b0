"""What can the kernel of a lab machine do? One record a feature: what it is for, how to try it, what would mend it.

`code`: functions that a kernel with this feature has (/proc/kallsyms). They are looked for first, and where one is
missing from a kernel with modules the trial is left out: it could make that kernel load one, for the whole computer.
`module`: the kernel modules that hold it, separated by spaces.
`trial`: a shell script, run in a network namespace of a fresh lab machine; its status is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FEATURES", "Feature"]


@dataclass(frozen=True)
class Feature:
    """One ability of the kernel, and of the program that drives it."""

    name: str
    purpose: str
    code: tuple[str, ...]
    trial: str
    module: str
    program: str = "ip"
    package: str = "iproute2"


def _link(name: str, purpose: str, code: str, *, arguments: str = "", module: str = "") -> Feature:
    return Feature(name, purpose, (code,), f"ip link add t0 type {name} {arguments}", module or name)


_DUMMY_PARENT = "ip link add p0 type veth peer name p1 && "

FEATURES = (
    _link("veth", "a cable between two namespaces", "veth_newlink", arguments="peer name t1"),
    _link("bridge", "a switch, as docker0 is one", "br_dev_setup"),
    _link(
        "vxlan",
        "an overlay across nodes",
        "vxlan_newlink",
        arguments="id 7 remote 127.0.0.1 dstport 4789 dev lo",
    ),
    Feature(
        "macvlan",
        "containers with a place of their own on the wire",
        ("macvlan_newlink",),
        _DUMMY_PARENT + "ip link add t0 link p0 type macvlan mode bridge",
        "macvlan",
    ),
    Feature(
        "ipvlan",
        "containers that share one MAC address",
        ("ipvlan_link_new",),
        _DUMMY_PARENT + "ip link add t0 link p0 type ipvlan",
        "ipvlan",
    ),
    Feature(
        "vlan",
        "tagged networks on one wire",
        ("register_vlan_dev",),
        _DUMMY_PARENT + "ip link add t0 link p0 type vlan id 7",
        "8021q",
    ),
    _link("dummy", "a link that leads nowhere, to hold addresses", "dummy_dev_init"),
    _link("vrf", "several routing tables for links", "vrf_newlink", arguments="table 10"),
    _link("ipip", "IP in IP, as Calico tunnels", "ipip_newlink", arguments="local 127.0.0.1 remote 127.0.0.2"),
    _link("geneve", "an overlay with options", "geneve_newlink", arguments="id 7 remote 127.0.0.1"),
    _link("wireguard", "an encrypted tunnel", "wg_newlink"),
    Feature(
        "nftables",
        "packet filter and NAT, the present one",
        ("nf_tables_newtable", "nft_nat_do_chain", "nft_masq_init"),
        "nft 'table ip t { chain c { type nat hook postrouting priority 100; masquerade; }; }'",
        "nft_chain_nat nft_masq",
        "nft",
        "nftables",
    ),
    Feature(
        "nft-numgen",
        "spreading connections over backends with nftables",
        ("nf_tables_newtable", "nft_ng_random_init"),
        "nft 'table ip t { chain c { numgen random mod 3 == 0 accept; }; }'",
        "nft_numgen",
        "nft",
        "nftables",
    ),
    Feature(
        "iptables-nft",
        "iptables' language over nftables",
        ("nft_target_select_ops", "masquerade_tg", "nft_nat_do_chain"),
        "iptables-nft -t nat -A POSTROUTING -j MASQUERADE",
        "nft_compat nft_chain_nat xt_MASQUERADE",
        "iptables-nft",
        "iptables",
    ),
    Feature(
        "iptables-legacy",
        "iptables' own tables",
        ("ipt_do_table", "iptable_filter_table_init"),
        "iptables-legacy -A INPUT -j ACCEPT",
        "iptable_filter",
        "iptables-legacy",
        "iptables",
    ),
    Feature(
        "xt-statistic",
        "kube-proxy's dice: spreading connections with iptables",
        ("statistic_mt", "comment_mt"),
        "iptables -A INPUT -m comment --comment t -m statistic --mode random --probability 0.5 -j ACCEPT",
        "xt_statistic xt_comment",
        "iptables",
        "iptables",
    ),
    Feature(
        "ipset",
        "sets of addresses in rules",
        ("ip_set_create", "hash_ip_create"),
        "ipset create t hash:ip",
        "ip_set_hash_ip",
        "ipset",
        "ipset",
    ),
    Feature(
        "conntrack",
        "the table of connections",
        ("nf_conntrack_in",),
        "test -e /proc/sys/net/netfilter/nf_conntrack_max",
        "nf_conntrack",
    ),
    Feature(
        "ip_vs",
        "kube-proxy's IPVS mode",
        ("ip_vs_add_service", "ip_vs_rr_schedule"),
        "ipvsadm -A -t 127.0.0.1:80 -s rr",
        "ip_vs_rr",
        "ipvsadm",
        "ipvsadm",
    ),
    Feature(
        "br_netfilter",
        "rules that see bridged packets",
        ("br_nf_pre_routing",),
        "test -e /proc/sys/net/bridge/bridge-nf-call-iptables",
        "br_netfilter",
    ),
    Feature(
        "tc",
        "programs and filters on a link's way in and out",
        ("clsact_init",),
        "tc qdisc add dev lo clsact",
        "sch_ingress",
        "tc",
    ),
    Feature(
        "tbf",
        "slow links",
        ("tbf_enqueue",),
        "tc qdisc add dev lo root tbf rate 1mbit burst 2k limit 9k",
        "sch_tbf",
        "tc",
    ),
    Feature(
        "netem",
        "delay and loss on demand",
        ("netem_enqueue",),
        "tc qdisc add dev lo root netem delay 1ms",
        "sch_netem",
        "tc",
    ),
    Feature(
        "ebpf",
        "loading programs into the kernel (needs real root)",
        ("cls_bpf_init",),
        "{python} -m labkit.machine.trials ebpf",
        "cls_bpf",
    ),
    Feature(
        "capture",
        "seeing packets on a link",
        ("packet_create",),
        "{python} -m labkit.machine.trials capture",
        "af_packet",
    ),
    Feature(
        "ipv6",
        "IPv6",
        ("inet6_create",),
        "sysctl -qw net.ipv6.conf.lo.disable_ipv6=0 && ip addr add fd00::1/64 dev lo",
        "ipv6",
    ),
)
