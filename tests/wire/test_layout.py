# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.wire.layout}.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.query import nameToWire
from dnsguard.wire.edns import EDNS, InvalidOPT
from dnsguard.wire.layout import Layout, MalformedMessage, readName, scan, scanAny, scanPlain
from dnsguard.wire.names import fromText
from tests.wire.messages import messages

QUESTION = b"\x03www\x07example\x03org\0\0\x01\0\x01"


def header(*counts: int, flags: int = 0x0100) -> bytes:
    """
    A header with id 1.
    """
    return struct.pack("!HHHHHH", 1, flags, *counts)


class ScanTests(SynchronousTestCase):
    """
    Tests for L{scan}.
    """

    @settings(max_examples=150, deadline=None)
    @given(messages())
    def test_agreesWithTwistedNames(self, message: dns.Message) -> None:
        """
        On a message from Twisted Names the scan finds the question, the
        counts, all TTLs, the least one and the negative TTL that were put in.
        """
        octets = message.toStr()
        layout = scan(octets)
        sections = (message.answers, message.authority, message.additional)
        self.assertEqual(layout.id, message.id)
        self.assertEqual(layout.rCode, message.rCode)
        self.assertEqual(layout.name, nameToWire(message.queries[0].name.name))
        self.assertEqual((layout.type, layout.cls), (message.queries[0].type, dns.IN))
        self.assertEqual(layout.counts, (1, *map(len, sections)))
        ttls = [record.ttl for section in sections for record in section]
        self.assertEqual([struct.unpack_from("!I", octets, at)[0] for at in layout.ttls], ttls)
        self.assertEqual(layout.leastTTL, min((r.ttl for r in message.answers), default=None))
        negative = None
        for record in message.authority:
            soa: Any = record.payload
            if record.type == dns.SOA:
                negative = min(record.ttl, soa.minimum)
        self.assertEqual(layout.negativeTTL, negative)
        self.assertEqual(layout.size, len(octets))
        self.assertEqual((layout.opt, layout.edns), (None, None))

    @settings(max_examples=300, deadline=None)
    @given(messages(), st.data())
    def test_mutated(self, message: dns.Message, data: st.DataObject) -> None:
        """
        A damaged message is either one that adds up or an error of ours, and
        the offsets found are inside it.
        """
        octets = bytearray(message.toStr())
        for _ in range(data.draw(st.integers(1, 4))):
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        try:
            layout = scan(bytes(octets))
        except (MalformedMessage, InvalidOPT):
            return
        self.assertEqual(layout.size, len(octets))
        self.assertTrue(all(12 < at <= len(octets) - 6 for at in layout.ttls))

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=80))
    def test_garbage(self, octets: bytes) -> None:
        """
        Random octets raise nothing but our errors.
        """
        with contextlib.suppress(MalformedMessage, InvalidOPT):
            scan(octets)

    def test_opt(self) -> None:
        """
        The OPT record is found, read, and known to be last or not; its TTL
        field isn't among the TTLs.
        """
        opt = EDNS(payloadSize=1400, dnssecOK=True, extendedRCode=1).encode()
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\2\1"
        last = scan(header(1, 0, 0, 2, flags=0x8003) + QUESTION + record + opt)
        first = scan(header(1, 0, 0, 2) + QUESTION + opt + record)
        assert last.edns is not None
        self.assertEqual((last.edns.payloadSize, last.edns.dnssecOK), (1400, True))
        self.assertEqual(last.rCode, 16 + 3)
        self.assertEqual((last.optLast, first.optLast), (True, False))
        self.assertEqual((len(last.ttls), len(first.ttls)), (1, 1))
        self.assertIsNone(last.leastTTL)

    def test_ttlWithTopBit(self) -> None:
        """
        A TTL with the top bit set counts as 0 (RFC 2181 §8).
        """
        record = b"\xc0\x0c\0\x01\0\x01\xff\xff\xff\xff\0\x04\xc0\0\2\1"
        self.assertEqual(scan(header(1, 1, 0, 0) + QUESTION + record).leastTTL, 0)

    def test_brokenOPT(self) -> None:
        """
        Two OPT records, or one that isn't the root's, are L{InvalidOPT}: the
        answer to them carries an OPT record of its own (RFC 6891 §7).
        """
        opt = EDNS().encode()
        for tail in (opt + opt, opt + b"\x01a" + opt, b"\xc0\x0c" + opt[1:]):
            message = header(1, 0, 0, tail.count(opt[1:])) + QUESTION + tail
            self.assertRaises(InvalidOPT, scan, message)

    def test_misplacedOPT(self) -> None:
        """
        An OPT record in another section makes a message malformed.
        """
        for counts in ((1, 1, 0, 0), (1, 0, 1, 0)):
            self.assertRaises(MalformedMessage, scan, header(*counts) + QUESTION + EDNS().encode())

    def test_malformed(self) -> None:
        """
        What runs over the end, points in a circle or forwards, or is left
        over is malformed.
        """
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\2\1"
        for octets in (
            b"",
            header(1, 0, 0, 0)[:11],
            header(1, 0, 0, 0),
            header(1, 0, 0, 0) + QUESTION[:-1],
            header(1, 0, 0, 0) + QUESTION + b"x",
            header(2, 0, 0, 0) + QUESTION,
            header(65535, 65535, 65535, 65535),
            header(1, 0, 0, 0) + b"\xc0\x0e\xc0\x0c\0\1\0\1",
            header(1, 0, 0, 0) + b"\xc0\x02\0\1\0\1",
            header(1, 0, 0, 0) + b"\x41" + b"x" * 65 + b"\0\0\1\0\1",
            header(1, 0, 0, 0) + b"\x80x\0\0\1\0\1",
            header(1, 0, 0, 0) + b"\x01a" * 128 + b"\0\0\1\0\1",
            header(1, 1, 0, 0) + QUESTION + record[:-1],
            header(1, 1, 0, 0) + QUESTION + b"\xc0\x40" + record[2:],
            header(1, 1, 0, 0) + QUESTION + record[:8],
        ):
            self.assertRaises(MalformedMessage, scan, octets)

    def test_largest(self) -> None:
        """
        A message of 65,535 octets with thousands of records is scanned.
        """
        count, rest = divmod(65535 - 33, 11)
        octets = header(1, 0, 0, count) + QUESTION + b"\0\0\x10\0\1\0\0\0\1\0\0" * (count - 1)
        octets += b"\0\0\x10\0\1\0\0\0\1" + struct.pack("!H", rest) + b"x" * rest
        self.assertEqual(len(octets), 65535)
        self.assertEqual(len(scan(octets).ttls), count)


class ScanPlainTests(SynchronousTestCase):
    """
    Tests for L{dnsguard.wire._layout.scanPlain}.
    """

    if scanPlain is None:
        skip = "there are no compiled twins here"

    def check(self, octets: bytes) -> None:
        """
        It finds what the Python scan finds, or leaves it to that.
        """
        try:
            expected: Layout | None = scanAny(octets)
        except InvalidOPT:
            # Whoever notices it first.
            with contextlib.suppress(InvalidOPT):
                self.assertIsNone(scanPlain(octets, Layout, EDNS.decode))
            return
        except MalformedMessage:
            expected = None
        found = scanPlain(octets, Layout, EDNS.decode)
        if found is not None or (expected is not None and expected.counts[0] == 1):
            self.assertEqual(found, expected)

    @settings(max_examples=300, deadline=None)
    @given(messages(), st.booleans(), st.data())
    def test_likeTheOther(self, message: dns.Message, opt: bool, data: st.DataObject) -> None:
        """
        Of messages, whole, cut short and with octets changed, it says what the
        Python scan says.
        """
        octets = bytearray(message.toStr())
        if opt and octets[11] < 255:
            octets[11] += 1
            octets += EDNS(options=((10, b"abc"),)).encode()
        self.check(bytes(octets))
        for _ in range(data.draw(st.integers(0, 3))):
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        self.check(bytes(octets))
        self.check(bytes(octets[: data.draw(st.integers(0, len(octets)))]))


class ReadNameTests(SynchronousTestCase):
    """
    Tests for L{readName}.
    """

    def test_compressed(self) -> None:
        """
        A compressed name is read through its pointers, lower-cased.
        """
        octets = bytes(12) + b"\x07Example\x03ORG\0" + b"\x03WWW\xc0\x0c"
        self.assertEqual(readName(octets, 25), fromText("www.example.org"))

    def test_longPointerChain(self) -> None:
        """
        A name that hops over more pointers than a name has labels is refused
        at once, so many such names in a message can't cost quadratic time.
        """
        octets = (
            bytes(12)
            + b"\x01a\0\0"
            + b"".join(
                struct.pack("!H", 0xC000 | (12 if n == 0 else 14 + 2 * n)) for n in range(8000)
            )
        )
        self.assertEqual(readName(octets, 16 + 2 * 126), b"\x01a\0")
        self.assertRaises(MalformedMessage, readName, octets, 16 + 2 * 127)
        self.assertRaises(MalformedMessage, readName, octets, len(octets) - 2)

    def test_longWayRound(self) -> None:
        """
        Labels collected over pointers count toward the 255 octets.
        """
        octets = bytes(12) + b"\x3f" + b"a" * 63 + b"\0"
        starts = [12]
        for _ in range(4):
            starts.append(len(octets))
            octets += b"\x3e" + b"b" * 62 + struct.pack("!H", 0xC000 | starts[-2])
        self.assertEqual(len(readName(octets, starts[3])), 64 + 3 * 63 + 1)
        self.assertRaises(MalformedMessage, readName, octets, starts[4])

    @settings(max_examples=300, deadline=None)
    @given(st.binary(min_size=13, max_size=60))
    def test_garbage(self, octets: bytes) -> None:
        """
        Random octets are a name of at most 255 octets or malformed.
        """
        try:
            name = readName(octets, 12)
        except MalformedMessage:
            return
        self.assertLessEqual(len(name), 255)
        self.assertEqual(name[-1], 0)
