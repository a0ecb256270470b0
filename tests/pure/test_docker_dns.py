"""The embedded DNS, as data: who may ask for what, and what is answered to whatever may come.

The answers are Docker 20.10's, as its daemon was seen to give them; where it asked the next name server, REFUSED."""

from __future__ import annotations

import random

import pytest
from dnslib import EDNS0, RCODE, DNSRecord

from labkit.docker.dns_server import Endpoint, Names, answer

NAMES = Names(
    [
        Endpoint("red", "Web", "172.18.0.2", ("WWW", "svc", "2194e77765ed")),
        Endpoint("red", "db.one", "172.18.0.3", ("svc", "dbhost")),
        Endpoint("red", "two", "172.18.0.4"),
        Endpoint("Blue.net", "two", "172.19.0.2", ("both",)),
        Endpoint("Blue.net", "other", "172.19.0.3"),
    ]
)


def ask(asker: str, name: str, kind: str = "A") -> tuple[str, list[str]]:
    """Return the status and the answers, sorted."""
    message = answer(DNSRecord.question(name, kind).pack(), NAMES, asker)
    assert message is not None
    reply = DNSRecord.parse(message)
    return RCODE[reply.header.rcode], sorted(str(record.rdata) for record in reply.rr)


@pytest.mark.parametrize(
    ("asker", "name", "addresses"),
    [
        ("Web", "two", ["172.18.0.4"]),
        ("Web", "web", ["172.18.0.2"]),  # itself; capitals make no difference
        ("Web", "WEB.red", ["172.18.0.2"]),
        ("Web", "www", ["172.18.0.2"]),
        ("Web", "www.red", ["172.18.0.2"]),
        ("Web", "2194e77765ed", ["172.18.0.2"]),
        ("Web", "svc", ["172.18.0.2", "172.18.0.3"]),
        ("Web", "db.one", ["172.18.0.3"]),  # dots in names
        ("Web", "db.one.red", ["172.18.0.3"]),
        ("two", "two", ["172.19.0.2"]),  # of its networks, the first by name
        ("two", "two.red", ["172.18.0.4"]),
        ("two", "other.Blue.net", ["172.19.0.3"]),
        ("two", "svc", ["172.18.0.2", "172.18.0.3"]),
        ("other", "both", ["172.19.0.2"]),
    ],
)
def test_a_name_has_the_addresses_on_the_networks_that_are_shared(asker, name, addresses):
    assert ask(asker, name) == ("NOERROR", addresses)


@pytest.mark.parametrize(
    ("asker", "name", "kind"),
    [
        ("Web", "example.com", "A"),
        ("Web", "nosuch", "AAAA"),
        ("Web", "other", "A"),  # on a network that it is not on
        ("Web", "both", "A"),
        ("Web", "two.Blue.net", "A"),
        ("Web", "172.19.0.2.in-addr.arpa", "PTR"),
        ("two", "two.blue.net", "A"),  # in a network's name capitals make a difference
        ("two", "red", "A"),  # a network is nobody
        ("two", "two", "TXT"),
        ("stranger", "two", "A"),
        ("Web", "2.0.19.172.in-addr.arpa", "PTR"),
        ("Web", "two", "PTR"),
    ],
)
def test_what_docker_would_ask_of_the_next_name_server_is_refused(asker, name, kind):
    assert ask(asker, name, kind) == ("REFUSED", [])


@pytest.mark.parametrize(("address", "name"), [("2.0.18.172", "Web.red."), ("2.0.19.172", "two.Blue.net.")])
def test_an_address_has_the_name_with_its_network(address, name):
    assert ask("two", f"{address}.in-addr.arpa", "PTR") == ("NOERROR", [name])
    assert ask("two", f"{address}.IN-ADDR.ARPA", "PTR") == ("NOERROR", [name])


@pytest.mark.parametrize("kind", ["AAAA", "MX"])
def test_a_name_without_such_a_record_exists(kind):
    assert ask("Web", "two", kind) == ("NOERROR", [])


def test_an_answer_has_dockers_header_and_ttl():
    query = DNSRecord.question("two")
    reply = DNSRecord.parse(answer(query.pack(), NAMES, "Web") or b"")
    assert (reply.header.id, reply.header.qr, reply.header.aa, reply.header.rd, reply.header.ra) == (
        query.header.id,
        1,
        0,
        1,
        1,
    )
    assert [record.ttl for record in reply.rr] == [600]


def test_the_order_of_several_addresses_changes():
    message = DNSRecord.question("svc").pack()
    orders = {str(DNSRecord.parse(answer(message, NAMES, "two") or b"").rr[0].rdata) for _ in range(100)}
    assert orders == {"172.18.0.2", "172.18.0.3"}


MANY = Names([Endpoint("red", f"c{number}", f"172.18.1.{number}", ("all",)) for number in range(1, 201)])


@pytest.mark.parametrize(("allowed", "room"), [(0, 512), (100, 512), (1232, 1232), (65535, 65535)])
def test_what_does_not_fit_is_left_out_and_said(allowed, room):
    query = DNSRecord.question("all")
    if allowed:
        query.add_ar(EDNS0(udp_len=allowed))
    message = answer(query.pack(), MANY, "c1") or b""
    reply = DNSRecord.parse(message)
    assert room - 16 < len(message) <= room or len(reply.rr) == 200
    assert reply.header.tc == (len(reply.rr) < 200)


def test_over_tcp_everything_fits():
    reply = DNSRecord.parse(answer(DNSRecord.question("all").pack(), MANY, "c1", 65535) or b"")
    assert len({str(record.rdata) for record in reply.rr}) == 200
    assert not reply.header.tc


QUERY = DNSRecord.question("two").pack()[2:]


@pytest.mark.parametrize(
    ("message", "reply"),
    [  # as Docker answers them, byte for byte
        (b"ab", None),
        (b"lU\x80" + QUERY[1:], None),  # an answer
        (b"lU\1\0\0\1\0\0\0\0\0\0\xc0", b"lU\x81\1\0\0\0\0\0\0\0\0"),  # FORMERR
        (b"lU\1\0\0\0\0\0\0\0\0\0", b"lU\x81\1\0\0\0\0\0\0\0\0"),  # no question
        (b"lU\1\0\0\2" + QUERY[4:] + QUERY[10:], b"lU\x81\1\0\0\0\0\0\0\0\0"),  # two questions
        (b"lU\x29\0" + QUERY[2:], b"lU\xa9\4\0\0\0\0\0\0\0\0"),  # NOTIMP: an UPDATE
    ],
)
def test_what_is_no_query_is_answered_in_kind(message, reply):
    assert answer(message, NAMES, "Web") == reply


def test_no_bytes_make_it_fail():
    rolls = random.Random(11)
    for _ in range(3000):
        message = bytearray(b"lU" + QUERY)
        for _ in range(rolls.randint(1, 4)):
            message[rolls.randrange(len(message))] = rolls.choice((0, 1, 0xC0, 0xFF, rolls.randrange(256)))
        reply = answer(bytes(message[: rolls.randint(10, 40)]), NAMES, "Web")
        assert reply is None or reply[:2] == bytes(message[:2])
