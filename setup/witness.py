"""Did set-up change the computer's network, or start a service?

Looks twice at links, addresses, routes, rules, packet filters, network sysctls and programs that run on their own, and
compares. It asks the kernel directly (/proc, /sys, one netlink dump): it needs nothing installed, and trusts nothing
of labkit's.
"""

from __future__ import annotations

import glob
import os
import socket
import struct
import time
from typing import NamedTuple

Table = dict[str, str]

# Values that move on their own, and a key that may not be read.
VOLATILE = ("nf_conntrack_count", "stable_secret")
RTM_GETRULE, NLM_F_REQUEST_DUMP = 34, 0x301


class Program(NamedTuple):
    """A child of PID 1, which starts services and adopts daemons. `installed`: when its file came, in seconds."""

    pid: int
    started: str
    command: str
    installed: float


class Look(NamedTuple):
    """What stands in the kernel's tables, one entry for each thing, and which programs run on their own."""

    when: float
    network: Table
    programs: frozenset[Program]


def look() -> Look:
    """Look now."""
    network = {**_links(), **_addresses(), **_routes(), **_rules(), **_filters(), **_sysctls()}
    return Look(time.time(), network, frozenset(_programs()))


def changes(before: Look, after: Look) -> list[str]:
    """Return one line for each thing of the network that came, went or changed, and each service that started."""
    old, new = before.network, after.network
    lines = [f"- {name}" for name in old.keys() - new.keys()]
    lines += [f"+ {name}: {new[name]}" for name in new.keys() - old.keys()]
    lines += [f"! {name}: {old[name]} → {new[name]}" for name in old.keys() & new.keys() if old[name] != new[name]]
    return sorted(lines + [f"+ service {one.command} (process {one.pid})" for one in _services(before, after)])


def settled_changes(before: Look, patience: float = 10) -> list[str]:
    """As `changes` from `before` until now, without what goes away in `patience` seconds (a timer's job)."""
    deadline = time.monotonic() + patience
    found = changes(before, look())
    while found and time.monotonic() < deadline:
        time.sleep(0.5)
        found = [line for line in changes(before, look()) if line in found]
    return found


def _services(before: Look, after: Look) -> set[Program]:
    """New programs whose file was installed meanwhile, or that took the place of one with the same command line.

    Other new programs are the computer's own business: somebody logged in, a timer went off."""
    ended = {program.command for program in before.programs - after.programs}
    return {one for one in after.programs - before.programs if one.installed > before.when or one.command in ended}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _links() -> Table:
    seen = {}
    for folder in glob.glob("/sys/class/net/*"):
        for name in ("ifindex", "address", "mtu", "flags", "operstate", "master/ifindex"):
            seen[f"link {os.path.basename(folder)} {name}"] = _read(f"{folder}/{name}").strip()
    return seen


def _addresses() -> Table:
    seen, address = {}, ""
    for line in _read("/proc/net/fib_trie").splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            address = words[1]
        elif words[:1] and words[0].startswith("/") and "LOCAL" in words:
            seen[f"address {address}{words[0]}"] = " ".join(words[1:])
    for line in _read("/proc/net/if_inet6").splitlines():
        address, _, prefix, scope, _, link = line.split()
        seen[f"address {address}/{int(prefix, 16)}"] = f"{link} scope {scope}"
    return seen


def _routes() -> Table:
    seen = {}
    for line in _read("/proc/net/route").splitlines()[1:]:
        words = line.split()
        seen[f"route {words[1]}/{words[7]} {words[0]} metric {words[6]}"] = f"via {words[2]} flags {words[3]}"
    for line in _read("/proc/net/ipv6_route").splitlines():
        words = line.split()
        if not int(words[8], 16) & 0x01000000:  # RTF_CACHE: remembered from traffic, not set by anybody
            seen[f"route {words[0]}/{words[1]} {words[9]} metric {words[5]}"] = f"via {words[4]}"
    return seen


def _rules() -> Table:
    """Policy routing rules, as the kernel's own messages: /proc has no file for them."""
    seen = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(5)
        netlink.send(struct.pack("=LHHLL", 28, RTM_GETRULE, NLM_F_REQUEST_DUMP, 1, 0) + bytes(12))
        done = False
        while not done:
            data = netlink.recv(1 << 16)
            while len(data) >= 16:
                length, kind = struct.unpack_from("=LH", data)
                done = done or kind in (2, 3)  # an error, or the end of the dump
                if kind not in (2, 3):
                    seen[f"rule {data[16:length].hex()}"] = "there"
                data = data[(length + 3) & ~3 :]
    return seen


def _filters() -> Table:
    """The old packet filter's tables; nf_tables has no file that says what is in it, but its module is seen."""
    seen = {}
    for family in ("ip", "ip6", "arp", "eb"):
        for table in _read(f"/proc/net/{family}_tables_names").split():
            seen[f"filter {family} {table}"] = "there"
    for line in _read("/proc/modules").splitlines():
        name = line.split()[0]
        if name.startswith(("nf_", "nft_", "xt_", "ip_", "ip6", "br", "veth", "vxlan", "tun", "8021q", "dummy")):
            seen[f"module {name}"] = "loaded"
    return seen


def _sysctls() -> Table:
    seen = {}
    for folder, _, names in os.walk("/proc/sys/net"):
        for name in names:
            if not name.startswith(VOLATILE):
                path = os.path.join(folder, name)
                seen[f"sysctl {path.removeprefix('/proc/sys/').replace('/', '.')}"] = " ".join(_read(path).split())
    return seen


def _programs() -> list[Program]:
    seen = []
    for path in glob.glob("/proc/[0-9]*"):
        fields = _read(f"{path}/stat").rpartition(")")[2].split()
        if fields and fields[1] == "1" and fields[0] != "Z":
            command = _read(f"{path}/cmdline").replace("\0", " ").strip() or _read(f"{path}/comm").strip()
            try:
                installed = os.stat(f"{path}/exe").st_ctime
            except OSError:
                installed = 0  # a kernel thread, or another user's when this is not root
            seen.append(Program(int(os.path.basename(path)), fields[19], command, installed))
    return seen
