"""The spawner: pauses and containers are there when it says so, and nothing of them is left when anybody dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit.errors import Duplicate, LabkitError, NamespaceGone, NotFound, Refused, WrongUse
from labkit.kube.processes import log
from labkit.kube.processes.spawner import SYSCTLS, Exit, Spawner, Wanted
from labkit.net import address, link, netlink, sysctl
from labkit.net import namespace as namespaces
from labkit.net.operation import Session, perform


@pytest.fixture
def spawner() -> Iterator[Spawner]:
    with Spawner() as made:
        yield made
    assert namespaces.names() == []


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def printed(pod: str, container: str) -> str:
    return Path(log.path(pod, container)).read_text()


def shell(spawner: Spawner, sandbox: int, script: str, **env: str) -> int:
    return spawner.start("web", "shell", "tools", ["sh", "-c", script], [], env, sandbox=sandbox)


def curl(namespace: str, *words: str) -> str:
    command = ["ip", "netns", "exec", namespace, "curl", "-s", "-m", "5", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_sandbox_is_a_process_in_namespaces_of_its_own_with_stated_sysctls_and_lo_up(spawner: Spawner) -> None:
    pid, other = spawner.sandboxes([("web", "web"), ("shop_api", "api" * 30)])
    assert os.readlink(namespaces.path("web")) == f"/proc/{pid}/ns/net"
    inodes = {os.stat(f"/proc/{one}/ns/{kind}").st_ino for one in (pid, other, "self") for kind in ("net", "uts")}
    assert len(inodes) == 6
    shown = json.loads(subprocess.check_output(["ip", "-j", "-n", "web", "link"]))
    assert [(one["ifname"], "UP" in one["flags"]) for one in shown] == [("lo", True)]
    for key, value in SYSCTLS.items():
        if os.path.exists("/proc/sys/" + key.replace(".", "/")):
            assert sysctl.get(key, namespace="web") == value
    names = [subprocess.check_output(["nsenter", "-u", "-t", str(one), "hostname"], text=True) for one in (pid, other)]
    assert names == ["web\n", ("api" * 30)[:63] + "\n"]
    assert Path(f"/proc/{pid}/comm").read_text() == "pause\n"


def test_a_sandbox_hands_over_a_socket_that_changes_its_network(spawner: Spawner) -> None:
    sockets: dict[str, netlink.Socket] = {}
    spawner.sandboxes([("a", "a"), ("b", "b")], sockets)
    session = Session()
    session.sockets.update(sockets)
    perform([link.add_bridge.plan("br0", namespace="b")], session)
    shown = {name: subprocess.check_output(["ip", "-n", name, "link"], text=True) for name in ("a", "b")}
    assert [name for name, links in shown.items() if "br0" in links] == ["b"]
    for opened in sockets.values():
        opened.close()


def test_a_taken_name_is_refused_and_nothing_is_left(spawner: Spawner) -> None:
    namespaces.add("taken")
    for wanted in (["new", "taken"], ["new", "new"]):
        with pytest.raises(Duplicate, match=f"failed to add namespace '{wanted[1]}': it exists already"):
            spawner.sandboxes([(name, name) for name in wanted])
    with pytest.raises(WrongUse, match="'host'"):
        spawner.sandboxes([("host", "host")])
    namespaces.delete("taken")
    assert namespaces.names() == []


def test_a_name_whose_process_has_ended_is_free(spawner: Spawner) -> None:
    [pid] = spawner.sandboxes([("web", "web")])
    os.kill(pid, signal.SIGKILL)
    assert spawner.exits.get(timeout=5) == Exit(pid, -signal.SIGKILL)
    [again] = spawner.sandboxes([("web", "web")])
    assert namespaces.inode("web") == os.stat(f"/proc/{again}/ns/net").st_ino


def test_killing_a_pause_takes_its_namespace(spawner: Spawner) -> None:
    [pid] = spawner.sandboxes([("web", "web")])
    link.add_veth("here", "there", peer_namespace="web")
    os.kill(pid, signal.SIGKILL)
    assert spawner.exits.get(timeout=5) == Exit(pid, -signal.SIGKILL)
    with pytest.raises(NamespaceGone):
        namespaces.open_namespace("web")
    assert until(lambda: "here" not in subprocess.check_output(["ip", "link"], text=True))
    namespaces.delete("web")


@pytest.fixture
def wired(spawner: Spawner) -> tuple[int, int]:
    """web 10.0.0.1 and client 10.0.0.2 on one wire."""
    web, client = spawner.sandboxes([("web", "web"), ("client", "client")])
    link.add_veth("eth0", "eth0", namespace="web", peer_namespace="client")
    for name, number in (("web", 1), ("client", 2)):
        link.set_up("eth0", namespace=name)
        address.add(f"10.0.0.{number}/24", "eth0", namespace=name)
    return web, client


def test_echo_tells_whom_it_sees(spawner: Spawner, wired: tuple[int, int]) -> None:
    spawner.start("web", "main", "echo:1.0", [], [], {}, sandbox=wired[0])
    assert curl("client", "10.0.0.1:8080/a?b") == (
        "pod: web\ncontainer: main\nfrom: 10.0.0.2\nto: 10.0.0.1:8080\nrequest: GET /a?b\n"
    )
    assert curl("client", "-d", "hello", "10.0.0.1:8080").endswith("request: POST /\nbody: hello\n")
    assert curl("client", "-0", "10.0.0.1:8080/hostname", "10.0.0.1:8080/hostname") == "web\nweb\n"
    assert curl("client", "-I", "10.0.0.1:8080").startswith("HTTP/1.1 200 OK")
    assert until(lambda: printed("web", "main").endswith('10.0.0.2 "HEAD /" 200\n'))
    assert printed("web", "main").startswith('10.0.0.2 "GET /a?b" 200\n10.0.0.2 "POST /" 200\n')


def test_echo_answers_while_another_caller_is_slow_and_survives_nonsense(
    spawner: Spawner, wired: tuple[int, int]
) -> None:
    spawner.start("web", "main", "echo", [], ["--port=80"], {}, sandbox=wired[0])
    called = "10.0.0.1", 80
    slow = namespaces.inside("client", lambda: socket.create_connection(called, 5))
    slow.sendall(b"GET /slow HT")
    for said, status in (
        (b"nonsense\r\n\r\n", b"400"),
        (b"x" * 20000, b"431"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
    ):
        with namespaces.inside("client", lambda: socket.create_connection(called, 5)) as sock:
            sock.sendall(said)
            assert sock.recv(4096).startswith(b"HTTP/1.1 " + status)
    assert "from: 10.0.0.2" in curl("client", "10.0.0.1")
    slow.sendall(b"TP/1.1\r\n\r\nGET /hostname HTTP/1.0\r\n\r\n")
    with slow, slow.makefile("rb") as stream:
        whole = stream.read()  # to the end: HTTP/1.0 closes
    assert b"request: GET /slow\n" in whole
    assert whole.endswith(b"\r\n\r\nweb\n")


def test_udp_echo_and_dns_answer(spawner: Spawner, wired: tuple[int, int]) -> None:
    from dnslib import DNSRecord

    spawner.start("web", "udp", "udp-echo", [], [], {}, sandbox=wired[0])
    spawner.start("web", "dns", "dns", [], ["web.default=10.0.0.1", "web.default=10.0.0.7"], {}, sandbox=wired[0])

    def ask(port: int, data: bytes) -> bytes:
        with namespaces.inside("client", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.settimeout(5)
            sock.connect(("10.0.0.1", port))
            sock.send(data)
            return sock.recv(65535)

    assert ask(8081, b"hello") == b"from 10.0.0.2 to 10.0.0.1:8081: hello"
    reply = DNSRecord.parse(ask(53, DNSRecord.question("Web.default").pack()))
    assert (reply.header.aa, [str(record.rdata) for record in reply.rr]) == (1, ["10.0.0.1", "10.0.0.7"])
    assert DNSRecord.parse(ask(53, DNSRecord.question("other").pack())).header.rcode == 3  # NXDOMAIN
    assert DNSRecord.parse(ask(53, DNSRecord.question("web.default", "AAAA").pack())).rr == []
    assert until(lambda: "10.0.0.2 A web.default NOERROR\n" in printed("web", "dns"))
    query = DNSRecord.question("web.default").pack()
    with namespaces.inside("client", lambda: socket.create_connection(("10.0.0.1", 53), 5)) as sock:
        sock.sendall(len(query).to_bytes(2, "big") + query)
        assert len(DNSRecord.parse(sock.recv(4096)[2:]).rr) == 2


@pytest.mark.parametrize(
    ("image", "arguments", "status", "said"),
    [
        ("echo", [], 1, "failed to listen on 0.0.0.0:8080: address already in use\n"),
        (
            "echo",
            ["--port", "http"],
            2,
            "failed to read the arguments: --port wants a number from 1 to 65535, not 'http'\n",
        ),
        ("udp-echo", ["loud"], 2, "failed to read the arguments: 'loud' is none of them (--port PORT)\n"),
        ("dns", ["web"], 2, "failed to read the arguments: 'web' is no NAME=ADDRESS\n"),
    ],
)
def test_a_server_that_cannot_serve_ends_and_says_why(
    spawner: Spawner, image: str, arguments: list[str], status: int, said: str
) -> None:
    [sandbox] = spawner.sandboxes([("web", "web")])
    spawner.start("web", "first", "echo", [], [], {}, sandbox=sandbox)
    second = spawner.start("web", "second", image, [], arguments, {}, sandbox=sandbox)
    assert spawner.exits.get(timeout=5) == Exit(second, status)
    assert printed("web", "second") == said


def test_a_command_runs_with_its_environment_and_its_status_is_told(spawner: Spawner) -> None:
    [sandbox] = spawner.sandboxes([("web", "web")])
    pid = shell(spawner, sandbox, "echo $HOSTNAME $(hostname) $GREETING; exit 3", GREETING="good day")
    assert spawner.exits.get(timeout=5) == Exit(pid, 3)
    assert printed("web", "shell") == "web web good day\n"
    [pid] = [spawner.start("web", "args", "tools", [], ["echo", "args"], {}, sandbox=sandbox)]
    assert spawner.exits.get(timeout=5) == Exit(pid, 0)
    assert printed("web", "args") == "args\n"
    assert printed("web", "shell") == "web web good day\n"


def test_what_cannot_start_is_refused(spawner: Spawner) -> None:
    [sandbox] = spawner.sandboxes([("web", "web")])
    with pytest.raises(
        Refused, match="container 'a' in namespace 'web': its command 'nonsense': no such file or directory"
    ):
        spawner.start("web", "a", "tools", ["nonsense"], [], {}, sandbox=sandbox)
    with pytest.raises(NotFound, match="no image 'nginx'"):
        spawner.start("web", "a", "nginx", [], [], {}, sandbox=sandbox)
    with pytest.raises(Refused, match="its sandbox, process 99999: no such file"):
        spawner.start("web", "a", "echo", [], [], {}, sandbox=99999)
    assert spawner.exits.empty()


def test_containers_that_start_together_all_run_but_those_that_cannot(spawner: Spawner) -> None:
    names = [f"pod-{number}" for number in range(40)]
    pauses = spawner.sandboxes([(name, name) for name in names])
    wanted = [Wanted(name, "main", "echo", [], [], {}, pause) for name, pause in zip(names, pauses, strict=True)]
    wanted[7] = wanted[7]._replace(command=["nonsense"])
    begun = spawner.start_all(wanted)
    assert [isinstance(one, LabkitError) for one in begun] == [number == 7 for number in range(40)]
    assert all(curl(name, "127.0.0.1:8080/hostname") == f"{name}\n" for name in (names[0], names[39]))


def test_many_threads_may_ask_at_once(spawner: Spawner) -> None:
    found: list[str] = []

    def pod(name: str) -> None:
        [sandbox] = spawner.sandboxes([(name, name)])
        pid = spawner.start(name, "main", "tools", ["hostname"], [], {}, sandbox=sandbox)
        until(lambda: gone(pid))
        found.append(printed(name, "main"))
        spawner.end(sandbox)

    threads = [threading.Thread(target=pod, args=[f"pod-{number}"]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(f"pod-{number}\n" for number in range(20))
    assert {spawner.exits.get(timeout=5).status for _ in threads} == {0}


def test_ending_a_container_ends_all_of_it_and_is_no_news(spawner: Spawner) -> None:
    [sandbox] = spawner.sandboxes([("web", "web")])
    deaf = shell(spawner, sandbox, "trap '' TERM; sleep 1000 & echo deaf; wait; sleep 1000")
    assert until(lambda: printed("web", "shell") == "deaf\n")
    before = time.monotonic()
    spawner.end(deaf, patience=0.1)
    assert 0.1 <= time.monotonic() - before < 2
    assert until(lambda: gone(deaf))
    assert until(lambda: "sleep" not in subprocess.check_output(["ps", "-eo", "comm"], text=True))
    spawner.end_all([sandbox, deaf])
    assert spawner.exits.empty()
    assert namespaces.names() == []


def test_a_killed_container_is_told_and_can_start_again(spawner: Spawner) -> None:
    [sandbox] = spawner.sandboxes([("web", "web")])
    for _ in range(2):
        pid = spawner.start("web", "main", "echo", [], [], {}, sandbox=sandbox)
        assert curl("web", "127.0.0.1:8080/hostname") == "web\n"
        os.kill(pid, signal.SIGKILL)
        assert spawner.exits.get(timeout=5) == Exit(pid, -signal.SIGKILL)
    assert Path(log.path("web", "main") + ".1").read_text() == '127.0.0.1 "GET /hostname" 200\n'


def test_a_log_keeps_the_last_part(spawner: Spawner) -> None:
    [sandbox] = spawner.sandboxes([("web", "web")])
    pid = shell(spawner, sandbox, "seq 1000000")
    assert spawner.exits.get(timeout=30) == Exit(pid, 0)
    assert log.MOST // 2 <= os.path.getsize(log.path("web", "shell")) <= log.MOST
    lines = printed("web", "shell").split()
    assert lines == [str(number) for number in range(int(lines[0]), 1000001)]


def test_the_thread_that_made_it_may_end() -> None:
    made: list[Spawner] = []
    thread = threading.Thread(target=lambda: made.append(Spawner()))
    thread.start()
    thread.join()
    with made[0] as spawner:
        assert len(spawner.sandboxes([("web", "web")])) == 1


def test_nothing_survives_a_killed_spawner() -> None:
    spawner = Spawner()
    sandbox, other = spawner.sandboxes([("web", "web"), ("other", "other")])
    daemon = shell(spawner, sandbox, "setsid sleep 1000 & wait")
    assert until(lambda: "sleep" in subprocess.check_output(["ps", "-eo", "comm"], text=True))
    os.kill(spawner.pid, signal.SIGKILL)
    ended = {spawner.exits.get(timeout=5) for _ in range(3)}
    assert ended == {Exit(pid, -signal.SIGKILL) for pid in (sandbox, other, daemon)}
    assert until(
        lambda: {"sleep", "pause"}.isdisjoint(subprocess.check_output(["ps", "-eo", "comm"], text=True).split())
    )
    with pytest.raises(Refused, match=f"the spawner, process {spawner.pid}, has ended"):
        spawner.sandboxes([("web", "web")])
    with pytest.raises(Refused, match="has ended"):
        spawner.start("web", "a", "echo", [], [], {}, sandbox=sandbox)
    spawner.close()
    for name in ("web", "other"):
        namespaces.delete(name)


_CONTROLLER = """
import signal
from labkit.kube.processes.spawner import Spawner
spawner = Spawner()
[sandbox] = spawner.sandboxes([("web", "web")])
main = spawner.start("web", "main", "echo", [], [], {}, sandbox=sandbox)
shell = spawner.start("web", "shell", "tools", ["sh", "-c", "setsid sleep 1000 & sleep 1000"], [], {}, sandbox=sandbox)
print(spawner.pid, sandbox, main, shell, flush=True)
signal.pause()
"""


def test_nothing_survives_a_killed_controller() -> None:
    controller = subprocess.Popen([sys.executable, "-c", _CONTROLLER], stdout=subprocess.PIPE, text=True)
    assert controller.stdout is not None
    pids = [int(word) for word in controller.stdout.readline().split()]
    assert len(pids) == 4
    assert not any(map(gone, pids))
    controller.kill()
    controller.wait()
    controller.stdout.close()
    assert until(lambda: all(map(gone, pids)))
    assert until(lambda: "sleep" not in subprocess.check_output(["ps", "-eo", "comm"], text=True))
    with Spawner() as spawner:  # the next one takes over the names
        spawner.sandboxes([("web", "web")])
    assert namespaces.names() == []
