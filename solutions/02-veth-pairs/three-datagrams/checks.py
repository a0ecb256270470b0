"""Which wrong checksum in a capture is wrong, and which is only not finished yet?"""

from labkit.check import Check, Exercise, Fault, Look, answered

PORT = 9000


def checksums(look: Look, name: str, to: str) -> dict[str, object]:
    """Let `name` send a datagram to the host, and compare the captured checksum with the computed one."""
    from scapy.layers.l2 import Ether

    from labkit.packets import connect, serve

    with look.capture(f"host/veth-{name}", filter=f"udp dst port {PORT}") as frames, serve("host", PORT, udp=True):
        answer = connect(name, to, PORT, udp=True, data=b"checking", timeout=5.0)  # the server is there: it comes
    if not frames:
        return {"captured": "nothing", "right": False, "answered": answer.ok}
    packet = frames[0].packet
    captured = packet["UDP"].chksum
    del packet["UDP"].chksum
    right = captured == Ether(packet.build())["UDP"].chksum
    return {"captured": f"{captured:#06x}", "right": right, "answered": answer.ok}


def forged(look: Look) -> dict[str, object]:
    """Send a datagram with a checksum that nobody vouches for, then an honest one; see which is answered."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    from labkit.packets import capture, send, serve

    plug = look.link("host", "veth-green").address
    head = Ether(src=look.link("green", "eth0").address, dst=plug) / IP(src="10.0.3.2", dst="10.0.3.1")
    with serve("host", PORT, udp=True), capture("host/veth-green", filter=f"udp src port {PORT}") as answers:
        send(head / UDP(sport=40000, dport=PORT, chksum=0xBEEF) / b"forged", "green", "eth0")
        send(head / UDP(sport=40000, dport=PORT) / b"honest", "green", "eth0")
        answers.wait(lambda frame: b"honest" in frame.data, timeout=5.0)  # the forged one is answered before, if at all
    return {word: sum(word.encode() in frame.data for frame in answers) for word in ("honest", "forged")}


exercise = Exercise(
    "02-veth-pairs/three-datagrams",
    title="Three datagrams",
    checks=[
        answered(
            "wrong_checksum",
            ["red", "green"],
            look_at="frame.packet['UDP'].chksum of each frame, and what scapy computes for it",
            hints=[
                "Delete the field from a copy, let scapy build the packet again, and compare.",
                "Look at the three datagrams only, not at the server's answers.",
                "Whose kernel was told not to leave the sum to a network card?",
            ],
        ),
        answered(
            "delivered",
            ["red", "blue"],
            look_at="the capture: to whom does the server answer?",
            hints=["Five frames: three datagrams, and answers to some.", "Port 9000 as the source is the server."],
        ),
        Check(
            "red-checksums",
            evidence=lambda look: checksums(look, "red", "10.0.1.1"),
            verdict=lambda captured, right, answered: right and answered,  # noqa: ARG005  the sentence wants it
            passed="a datagram from red shows the right checksum",
            failed="a datagram from red, seen at veth-red: checksum {captured}; right: {right}; answered: {answered}",
            look_at="ip netns exec red ethtool -k eth0",
            points=2,
            hints=["Who leaves the sum unfinished: sender or receiver?", "`ethtool -K` sets what `ethtool -k` shows."],
        ),
        Check(
            "forged-not-delivered",
            evidence=forged,
            verdict=lambda honest, forged: honest > 0 and forged == 0,
            passed="a datagram with a forged checksum is still refused, and one with a right checksum is not",
            failed="answers to a datagram with a right checksum: {honest}; with a forged one: {forged}",
            look_at="a capture on veth-green",
            after=["red-checksums"],
            must_not=True,
            hints=["green has nothing to do with it: leave its cable alone.", "Run the first cell again."],
        ),
    ],
    faults=[
        Fault(
            "a wrong checksum is a lost datagram",
            replace={"judge": 'labkit.answer("delivered", ["blue"])'},
            red=["delivered"],
        ),
        Fault(
            "only the forged one",
            replace={"compute": 'labkit.answer("wrong_checksum", ["green"])'},
            red=["wrong-checksum"],
        ),
        Fault(
            "switched off at the receiver",
            replace={"mend": "!ethtool -K veth-red tx off >/dev/null"},
            red=["red-checksums"],
        ),
        Fault(
            "the cable pulled too",
            replace={"mend": "!ip netns exec red ethtool -K eth0 tx off >/dev/null; ip -n green link set eth0 down"},
            red=["forged-not-delivered"],
        ),
    ],
)
