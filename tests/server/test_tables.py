# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The whole server, from octets to octets, against two tables of what must come
back: C{tests/data/edns_conformance.json} and C{malformed_packets.json}.

Both are facts taken from RFCs and from ISC's compliance tests; each row names
its source.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.errors import UpstreamError
from dnsguard.query import ClientQuery, Transport
from dnsguard.server.corridor import ServerLimits
from dnsguard.server.factory import GuardServerFactory
from dnsguard.server.reply import ReplyLimits
from dnsguard.server.stream import StreamLimits
from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.layout import AA, CD, QR, RA, RD, TC, Layout, scan
from tests.support.answering import Answers
from tests.support.requests import requestFor

DATA = Path(__file__).parents[1] / "data"
CODES = {
    "NOERROR": 0,
    "FORMERR": 1,
    "SERVFAIL": 2,
    "NXDOMAIN": 3,
    "NOTIMP": 4,
    "REFUSED": 5,
    "NOTAUTH": 9,
    "BADVERS": 16,
    "BADCOOKIE": 23,
}
ZONE = b"conformance-probe.com"
SOA = dns.RRHeader(
    ZONE,
    dns.SOA,
    dns.IN,
    300,
    dns.Record_SOA(b"ns." + ZONE, b"h." + ZONE, 1, 3600, 600, 86400, 60),
)
BIG = 24


def zone(query: ClientQuery) -> Any:
    """
    What the tables take their upstream, and the block list, to say.
    """
    name = query.name.name
    label = name.partition(b".")[0]
    if label == b"dead":
        return fail(UpstreamError("stub", "no reply within 1 s"))
    if label == b"blocked":
        why = ExtendedError(15, "blocked")
        return Answer.failure(dns.ENAME, Outcome.BLOCKED, extendedError=why)
    outcome = Outcome.UPSTREAM
    if name == ZONE and query.type == dns.SOA:
        return Answer.fromRecords([SOA], outcome=outcome)
    if label == b"big" and query.type == dns.TXT:
        text = dns.RRHeader(name, dns.TXT, dns.IN, 300, dns.Record_TXT(b"x" * 120, ttl=300))
        return Answer.fromRecords([text] * BIG, outcome=outcome)
    if label == b"www" and query.type == dns.A:
        record = dns.RRHeader(name, dns.A, dns.IN, 300, dns.Record_A("192.0.2.10", 300))
        return Answer.fromRecords([record], outcome=outcome)
    return Answer.fromRecords([], [SOA], rCode=dns.ENAME, outcome=outcome)


class TableTestCase(SynchronousTestCase):
    """
    A server, asked over both transports.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.answers = Answers(zone)
        self.server = GuardServerFactory(
            resolver=self.answers,
            clock=self.clock,
            limits=ServerLimits(replies=ReplyLimits(keepaliveSeconds=10.0)),
            streams=StreamLimits(idleSeconds=10.0, readSeconds=5.0),
        )

    def overUDP(self, request: bytes) -> list[bytes]:
        """
        Send a datagram.
        """
        replies: list[bytes] = []

        def respond(reply: bytes) -> bool:
            replies.append(reply)
            return True

        self.server.requestReceived(request, b"\xc0\0\2\7", Transport.UDP, respond)
        return replies

    def overTCP(self, octets: bytes, piece: int = 65536) -> tuple[list[bytes], StringTransport]:
        """
        Send octets over a stream.
        """
        peer = IPv4Address("TCP", "192.0.2.7", 53)
        transport = StringTransport(peerAddress=peer)
        protocol = self.server.buildProtocol(peer)
        assert protocol is not None
        protocol.makeConnection(transport)
        for start in range(0, len(octets), piece):
            protocol.dataReceived(octets[start : start + piece])
        value, replies = transport.value(), []
        while value:
            end = 2 + int.from_bytes(value[:2], "big")
            replies.append(value[2:end])
            self.assertEqual(len(value[2:end]), end - 2)
            value = value[end:]
        return replies, transport


class ConformanceTests(TableTestCase):
    """
    The rows of C{edns_conformance.json}.
    """

    def check(self, row: dict[str, Any]) -> None:
        """
        Send a row's request, and hold the reply against what is expected.
        """
        expect = row["expect"]
        request = bytes.fromhex(row["wire_hex"])
        if row["transport"] == "udp":
            (reply,) = self.overUDP(request)
        else:
            framed = struct.pack("!H", len(request)) + request
            (reply,), _ = self.overTCP(framed, 1 if "steps" in row else 65536)
        layout = scan(reply)
        self.assertTrue(layout.flags & QR)
        self.assertEqual(layout.id, 0x1234)
        if "rcode" in expect:
            self.assertIn(layout.rCode, [CODES[name] for name in expect["rcode"]])
        for key, bit in (("ra", RA), ("rd", RD), ("aa", AA), ("cd", CD), ("tc", TC)):
            if key in expect:
                self.assertEqual(bool(layout.flags & bit), bool(expect[key]), key)
        if expect.get("question_echo"):
            end = scan(request).questionEnd
            self.assertEqual(reply[12:end], request[12:end])
        if "opcode" in expect:
            self.assertEqual(layout.opcode, expect["opcode"])
        if "ancount" in expect:
            count = BIG if expect["ancount"] == "all" else expect["ancount"]
            self.assertEqual(layout.counts[1], count)
        self.assertLessEqual(len(reply), expect.get("max_size", 65535))
        self.checkEDNS(expect, layout, reply)

    def checkEDNS(self, expect: dict[str, Any], layout: Layout, reply: bytes) -> None:
        """
        Hold the reply's OPT record against what is expected.
        """
        if "opt" in expect:
            self.assertEqual(layout.edns is not None, expect["opt"])
        edns = layout.edns or EDNS()
        options = dict(edns.options)
        self.assertEqual(edns.version, expect.get("edns_version", 0))
        if "do" in expect:
            self.assertEqual(edns.dnssecOK, bool(expect["do"]))
        if "edns_z" in expect:
            assert layout.opt is not None
            flags = int.from_bytes(reply[layout.opt[0] + 7 : layout.opt[0] + 9], "big")
            self.assertEqual(flags & 0x7FFF, expect["edns_z"])
        for code in expect.get("options_absent", ()):
            self.assertNotIn(code, options)
        if "keepalive" in expect:
            self.assertEqual(options.get(11), b"\0\x64")
        if "ecs" in expect:
            self.assertNotIn(8, options)
        if "ede_in" in expect:
            self.assertIn(int.from_bytes(options[15][:2], "big"), expect["ede_in"])

    def test_rows(self) -> None:
        """
        Every row about a server's part on plain transports holds.
        """
        skipped = {
            "ed066": "padding is for encrypted transports",
            "ed073": "the cache's part",
            "ed081": "checked with a clock below",
        }
        rows = json.loads((DATA / "edns_conformance.json").read_text("utf-8"))["rows"]
        failed = []
        for row in rows:
            if row["id"] in skipped:
                continue
            try:
                self.check(row)
            except AssertionError as reason:
                failed.append(f"{row['id']} {row['name']}: {reason}")
        self.assertEqual(failed, [])
        self.assertEqual(len(rows), 44)

    def test_neverForwarded(self) -> None:
        """
        What isn't a question of ours to answer doesn't get to the chain.
        """
        rows = json.loads((DATA / "edns_conformance.json").read_text("utf-8"))["rows"]
        names = {"STATUS", "NOTIFY", "CH version.bind", "class NONE", "edns1"}
        chosen = [row for row in rows if row["name"] in names]
        self.assertEqual(len(chosen), len(names))
        for row in chosen:
            self.check(row)
        self.assertEqual(self.answers.asked, [])

    def test_idle(self) -> None:
        """
        An idle connection is closed at the configured time, by FIN.
        """
        _, transport = self.overTCP(b"")
        self.clock.advance(9.9)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(0.1)
        self.assertTrue(transport.disconnecting)
        self.assertFalse(transport.disconnected)


class MalformedTests(TableTestCase):
    """
    The rows of C{malformed_packets.json} that a client sends.
    """

    def test_udp(self) -> None:
        """
        Each datagram gets one of the replies that are acceptable, and the
        next valid question its answer.
        """
        failed = []
        for case in self.cases("udp"):
            replies = self.overUDP(bytes.fromhex(case["hex"]))
            got = "drop"
            if replies:
                (reply,) = replies
                layout = scan(reply)
                self.assertTrue(layout.flags & QR)
                got = next(name for name, code in CODES.items() if code == layout.rCode)
            if got not in case["accept"]:
                failed.append(f"{case['id']} {case['name']}: {got}, not {case['accept']}")
            (reply,) = self.overUDP(requestFor("www.conformance-probe.com"))
            self.assertEqual(scan(reply).counts, (1, 1, 0, 0))
        self.assertEqual(failed, [])

    def test_tcp(self) -> None:
        """
        Each stream ends or goes on as is acceptable, and none holds more than
        its due.
        """
        for case in self.cases("tcp"):
            if case["id"] == "mp095":
                continue
            replies, transport = self.overTCP(bytes.fromhex(case["hex"]))
            accept = " ".join(case["accept"])
            codes = [scan(reply).rCode for reply in replies]
            self.assertTrue(all(code in (0, 1) for code in codes), case["id"])
            if not transport.disconnecting:
                self.assertTrue(
                    "idle" in accept or "ignore" in accept or replies, (case["id"], accept)
                )
                self.clock.advance(10)
                self.assertTrue(transport.disconnecting, case["id"])

    def test_hundredQueries(self) -> None:
        """
        A hundred queries in one piece have a hundred answers.
        """
        octets = b""
        for number in range(100):
            request = requestFor("www.conformance-probe.com", id=number)
            octets += struct.pack("!H", len(request)) + request
        replies, transport = self.overTCP(octets)
        self.assertEqual([scan(reply).id for reply in replies], list(range(100)))
        self.assertFalse(transport.disconnecting)

    def cases(self, transport: str) -> list[dict[str, Any]]:
        """
        The rows for a transport.
        """
        table = json.loads((DATA / "malformed_packets.json").read_text("utf-8"))
        cases: list[dict[str, Any]] = table["cases"]
        chosen = [
            case for case in cases if case["side"] == "client" and case["transport"] == transport
        ]
        self.assertNotEqual(chosen, [])
        return chosen
