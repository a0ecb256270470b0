"""One frame, written by the learner: the judge sends it, and listens for the answer."""

from typing import Any

from labkit.check import Check, Exercise, Fault, Look
from labkit.errors import NotFound

ETHERNET, IPV4 = 14, 34  # bytes: where the IPv4 header begins, where ICMP does
MARK = slice(IPV4 + 4, IPV4 + 8)  # identifier and sequence number: a reply repeats them
ECHO_REQUEST = 8
REST = 'IP(src="10.0.0.2", dst="10.0.0.3") / ICMP() / b"hello"'


def frame(look: Look) -> bytes:
    """The learner's frame. Raises NotFound where the answer is not one."""
    try:
        return bytes.fromhex(look.answer("packet"))
    except (TypeError, ValueError) as error:
        raise NotFound("the answer 'packet' is not a frame in hexadecimal: bytes(packet).hex() makes one") from error


def form(look: Look) -> dict[str, Any]:
    data = frame(look)
    layers = []
    if data[12:14] == b"\x08\x00" and len(data) > IPV4:
        layers = ["IPv4"]
        if data[23] == 1:
            layers.append("ICMP echo request" if data[IPV4] == ECHO_REQUEST else "ICMP")
    return {"layers": " / ".join(["Ethernet", *layers]), "address": bool(layers) and ip(data[26:30])}


def ip(four: bytes) -> str:
    return ".".join(map(str, four))


def sent(look: Look) -> dict[str, Any]:
    """Send the frame from red, and see what comes back to red and what green hears."""
    from labkit.packets import send

    data = frame(look)
    with look.capture("red/eth0", filter="icmp[icmptype] == icmp-echoreply") as replies:
        with look.capture("green/eth0") as heard:
            send(data, "red", "eth0")
            look.ping("red", "10.0.0.3")  # by the time of its answer, the answer to the frame is there
    mine = [reply.data[IPV4:] for reply in replies if reply.direction == "in" and reply.data[MARK] == data[MARK]]
    return {
        "answers": len(mine),
        "data": mine[0][8:] if mine else b"",
        "green": sum(other.data[: len(data)] == data for other in heard),
    }


def written(packet: str) -> str:
    """The cell of a learner who writes this packet."""
    return f'packet = {packet}\nlabkit.answer("packet", bytes(packet).hex())'


def told(data: bytes) -> str:
    return data[:40].decode("ascii", "replace") or "nothing"


exercise = Exercise(
    "00-your-lab-machine/a-packet-by-hand",
    title="A packet by hand",
    checks=[
        Check(
            "from-red",
            evidence=form,
            verdict=lambda layers, address: layers == "Ethernet / IPv4 / ICMP echo request" and address == "10.0.0.2",
            passed="it is an echo request that says it comes from red",
            failed="its layers are {layers}, and it says it comes from {address}",
            look_at="packet.show()",
            hints=[
                "The one who is asked answers to the address that the question says it comes from.",
                "IP has two fields for that, src and dst. Write out both.",
            ],
        ),
        Check(
            "blue-answers",
            evidence=lambda look: {"answers": sent(look)["answers"]},
            verdict=lambda answers: answers == 1,
            passed="sent by red, it is answered",
            failed="sent by red, it brought {answers} answers",
            look_at="frames: is an echo-reply there before the one of the ping?",
            points=2,
            after=["from-red"],
            hints=[
                "A card takes only frames that are addressed to its own MAC.",
                "Ethernet has src and dst too, and both are MACs. Who is asked?",
                'packet["Ether"].dst and packet["IP"].dst belong to the same container.',
            ],
        ),
        Check(
            "it-says-hello",
            evidence=lambda look: {"data": told(sent(look)["data"])},
            verdict=lambda data: data == "hello",
            passed="the answer carries the word",
            failed="the answer carries: {data}",
            look_at="packet.show(), the last layer",
            after=["blue-answers"],
            hints=[
                "An echo reply gives back what the request carried.",
                "Bytes can be a layer: put them behind the last slash.",
            ],
        ),
        Check(
            "green-hears-nothing",
            evidence=lambda look: {"number": sent(look)["green"]},
            verdict=lambda number: number == 0,
            passed="green heard nothing of it",
            failed="green heard {number} of your frames",
            look_at='packet["Ether"].dst',
            after=["blue-answers"],
            must_not=True,
            hints=["To whom is the frame addressed?", "ff:ff:ff:ff:ff:ff is everybody."],
        ),
    ],
    faults=[
        Fault(
            "addresses left to Scapy",
            replace={"packet": written('Ether(src=red_mac, dst=blue_mac) / IP(dst="10.0.0.3") / ICMP() / b"hello"')},
            red=["from-red"],
        ),
        Fault(
            "addressed to the sender itself",
            replace={"packet": written("Ether(src=blue_mac, dst=red_mac) / " + REST)},
            red=["blue-answers"],
        ),
        Fault(
            "shouted to everybody",
            replace={"packet": written('Ether(src=red_mac, dst="ff:ff:ff:ff:ff:ff") / ' + REST)},
            red=["green-hears-nothing"],
        ),
        Fault(
            "no word in it",
            replace={
                "packet": written('Ether(src=red_mac, dst=blue_mac) / IP(src="10.0.0.2", dst="10.0.0.3") / ICMP()')
            },
            red=["it-says-hello"],
        ),
    ],
)
