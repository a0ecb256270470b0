"""A pod by hand: a process that holds two namespaces, and two containers that join it."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from labkit.check import Check, Exercise, Fault, Look, has_address, has_route
from labkit.packets import connect

SHOP = "10.244.0.5"


def says(caller: str, address: str, port: int) -> Callable[[Look], dict[str, Any]]:
    """Return evidence: what `caller` is told on this port."""

    def evidence(look: Look) -> dict[str, Any]:
        look.links("shop")
        call = connect(caller, address, port, data="?", timeout=0.5)
        return {"said": call.text if call.ok and call.data else call.error or "connected, and no answer"}

    return evidence


def names(look: Look) -> dict[str, Any]:
    """Ask both containers for their host name."""
    told = [says(*call)(look)["said"] for call in (("host", SHOP, 8080), ("shop", "127.0.0.1", 9090))]
    return {"front": told[0].partition(":")[0], "admin": told[1].partition(":")[0]}


def outside(look: Look) -> dict[str, Any]:
    """Let the node call port 9090 at the pod's addresses other than 127.0.0.1."""
    addresses = [text.partition("/")[0] for text in look.addresses("shop") if "." in text and text[:4] != "127."]
    answers = [f"{address} {call.text}" for address in addresses if (call := connect("host", address, 9090, data="?"))]
    here = connect("host", "127.0.0.1", 9090, data="?")
    return {"told": "; ".join([*answers, *([f"127.0.0.1 of the node {here.text}"] if here else [])]) or "nobody"}


def holders(look: Look) -> dict[str, Any]:
    """Count, of the processes in the pod's network namespace, those that are no container, and their UTS namespaces."""
    others, spaces = 0, set()
    for pid in look.run("host", "ip netns pids shop").stdout.split():
        with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as words:  # it may have ended
            spaces.add(os.stat(f"/proc/{pid}/ns/uts").st_ino)
            others += b"create_server" not in words.read()
    return {"others": others, "spaces": len(spaces)}


RUN = "start(*join, python, '-c', program, address, str(port), word)"
JOIN = 'join = ["nsenter", "--target", str(pause.pid), "--net", "--uts"]'
BOTH = 'front = container("10.244.0.5", 8080, "front")\nadmin = container("127.0.0.1", 9090, "admin")'
LINK = "!ln -s /proc/{pause.pid}/ns/net /run/netns/shop"
SLEEP = "hostname shop; echo ready; exec sleep infinity"
WIRE = (
    "!ip link add vethshop type veth peer name eth0 netns shop\n"
    "!ip link set vethshop master cni0 up; ip -n shop link set eth0 up\n"
    "!ip -n shop address add 10.244.0.5/24 dev eth0\n"
)
OPEN = BOTH.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - inside a namespace


def containers(body: str, started: str = BOTH) -> str:
    """The cell of a learner whose function has this body."""
    return "front = admin = None\ndef container(address, port, word):\n    " + f"{body}\n{started}"


exercise = Exercise(
    "07-the-kubernetes-model/a-sandbox",
    title="A sandbox",
    checks=[
        has_address(
            "shop",
            "eth0",
            f"{SHOP}/24",
            hints=[
                "The name in /run/netns can be a symbolic link to /proc/PID/ns/net: who has that PID?",
                "Has the process that holds the namespace lived until now?",
                "`ip -n shop -br address`",
            ],
        ),
        has_route("shop", "default", via="10.244.0.1", after=["shop-eth0-address"], hints=["`ip -n shop route`"]),
        Check(
            "front-answers",
            evidence=says("host", SHOP, 8080),
            verdict=lambda said: said.endswith(": front, started anew"),
            passed="front was started anew, and answers at the pod's address: {said}",
            failed=f"the node called {SHOP}, port 8080, after the crash: {{said}}",
            look_at="ip netns pids shop; ip netns exec shop ss -ltn",
            points=2,
            after=["shop-eth0-address"],
            hints=[
                "In whose network namespace was the program started?",
                "What else ends when front does? The namespace must be held by somebody else.",
                "The pod has this address only once its network is there.",
            ],
        ),
        Check(
            "admin-answers",
            evidence=says("shop", "127.0.0.1", 9090),
            verdict=lambda said: said.endswith(": admin"),
            passed="inside the pod, admin answers at 127.0.0.1: {said}",
            failed="a call inside the pod to 127.0.0.1, port 9090: {said}",
            look_at="ip netns exec shop ss -ltn; ip -n shop -br address",
            after=["shop-eth0-address"],
            hints=["Are the two containers in one namespace?", "Is `lo` up?"],
        ),
        Check(
            "nobody-outside-reaches-admin",
            evidence=outside,
            verdict=lambda told: told == "nobody",
            passed="outside the pod nobody reaches admin",
            failed="the node called port 9090, and was answered: {told}",
            look_at="ip netns exec shop ss -ltn; ss -ltn",
            points=2,
            after=["front-answers", "admin-answers"],
            must_not=True,
            hints=["At which of the pod's addresses does admin listen?", "Which address does nobody outside have?"],
        ),
        Check(
            "one-host-name",
            evidence=names,
            verdict=lambda front, admin: front == admin == "shop",
            passed="both containers have the host name shop",
            failed="front says that it is on '{front}', admin on '{admin}'",
            look_at="the words after nsenter in your function",
            after=["front-answers", "admin-answers"],
            hints=["A host name belongs to a UTS namespace.", "`nsenter --help`: which namespaces are joined?"],
        ),
        Check(
            "a-sandbox-holds-both",
            evidence=holders,
            verdict=lambda others, spaces: others > 0 and spaces == 1,
            passed="a process that is no container is in the pod's network namespace, and all there are in one UTS"
            " namespace",
            failed="in the pod's network namespace: processes that are no container: {others}; UTS namespaces of all"
            " processes: {spaces}",
            look_at="ip netns pids shop; ls -l /proc/PID/ns",
            after=["one-host-name"],
            hints=["Who holds the namespaces while no container runs?", "Two names can be alike and not be one."],
        ),
    ],
    faults=[
        Fault(
            "a container is its own sandbox",
            replace={
                "sandbox": "pause = None",
                "wire": "",
                "containers": (
                    "def container(address, port, word):\n"
                    '    return start("unshare", "--net", "--uts", "sh", "-c", f"hostname shop; ip link set lo up;'
                    " echo up; exec '{sys.executable}' -c '{program}' {address} {port} '{word}'\")\n"
                    'front = container("0.0.0.0", 8080, "front")\n'
                    "!ln -s /proc/{front.pid}/ns/net /run/netns/shop\n" + WIRE
                ),
            },
            red=["shop-eth0-address"],
        ),
        Fault(
            "a name holds the namespace, and each container has a host name like it",
            replace={
                "sandbox": "pause = None\n!ip netns add shop",
                "containers": containers(
                    'join = ["ip", "netns", "exec", "shop", "unshare", "--uts", "sh", "-c",'
                    ' \'hostname shop; exec "$@"\', "sh"]\n'
                    f"    return {RUN}"
                ),
            },
            red=["a-sandbox-holds-both"],
        ),
        Fault(
            "the containers stay on the node",
            replace={"containers": containers('return start(sys.executable, "-c", program, address, str(port), word)')},
            red=["front-answers", "admin-answers"],
        ),
        Fault(
            "joined without the host name",
            replace={"containers": containers(f"{JOIN[:-9]}]\n    return {RUN}")},
            red=["one-host-name"],
        ),
        Fault(
            "admin for everybody",
            replace={"containers": containers(f"{JOIN}\n    return {RUN}", OPEN)},
            red=["nobody-outside-reaches-admin"],
        ),
        Fault(
            "admin kept from outside by its port's number",
            replace={
                "containers": containers(
                    f"{JOIN}\n    return {RUN}", BOTH.replace('"127.0.0.1", 9090', '"0.0.0.0", 9091')
                )
            },
            red=["admin-answers"],
        ),
        Fault(
            "lo is down",
            replace={"wire": WIRE + "!ip -n shop route add default via 10.244.0.1"},
            red=["admin-answers"],
        ),
        Fault(
            "no gateway",
            replace={"wire": WIRE + "!ip -n shop link set lo up"},
            red=["shop-route-default"],
        ),
        Fault(
            "a sandbox for each container",
            replace={
                "containers": containers(
                    f"{JOIN}\n    return {RUN}",
                    BOTH.splitlines()[0]
                    + f'\npause = start("unshare", "--net", "--uts", "sh", "-c", "{SLEEP}")\n'
                    + "!ip link set lo up\n"
                    + BOTH.splitlines()[1]
                    + "\npause = processes[0]",
                )
            },
            red=["admin-answers"],
        ),
    ],
)
