# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.wire.rewrite}.
"""

from __future__ import annotations

import struct

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.wire.edns import EDNS, InvalidOPT
from dnsguard.wire.layout import MalformedMessage, scan
from dnsguard.wire.rewrite import MAX_TTL, withHeader, withoutOPT, withQuestion, withTTLs
from tests.wire.messages import messages

QUESTION = b"\x03www\x07example\x03org\0\0\x01\0\x01"


def insertOPT(octets: bytes, place: int) -> tuple[bytes, bytes]:
    """
    Put an OPT record in a message with no compression behind C{place}.

    @return: The message with it, and the record.
    """
    opt = EDNS(options=((65001, b"\xc0\x0c" * 4),)).encode()
    count = struct.unpack_from("!H", octets, 10)[0]
    return octets[:10] + struct.pack("!H", count + 1) + octets[12:place] + opt + octets[
        place:
    ], opt


class WithoutOPTTests(SynchronousTestCase):
    """
    Tests for L{withoutOPT}.
    """

    @settings(max_examples=150, deadline=None)
    @given(messages())
    def test_last(self, message: dns.Message) -> None:
        """
        Without an OPT record at its end a message is what it was before.
        """
        plain = message.toStr()
        octets, _ = insertOPT(plain, len(plain))
        self.assertEqual(withoutOPT(octets, scan(octets)), plain)

    @settings(max_examples=200, deadline=None)
    @given(messages(), st.data())
    def test_inTheMiddle(self, message: dns.Message, data: st.DataObject) -> None:
        """
        Records behind the OPT record say the same without it, though names in
        them point to one another.
        """
        opt = EDNS(options=((65001, bytes(9)),)).encode()
        place = data.draw(st.integers(0, len(message.additional)))
        names = list(message.additional)
        payload = dns.UnknownRecord(opt[11:])
        marker = dns.RRHeader(b"", dns.OPT, 1232, 0, payload)
        message.additional = [*names[:place], marker, *names[place:]]
        octets = message.toStr()
        # Twisted writes pointers that point elsewhere beyond that.
        assume(len(octets) < 0x4000)
        message.additional = names
        stripped = withoutOPT(octets, scan(octets))
        found, expected = dns.Message(), dns.Message()
        found.fromStr(stripped)
        expected.fromStr(message.toStr())
        layout = scan(stripped)
        self.assertIsNone(layout.opt)
        self.assertEqual(layout.counts[3], len(names))
        for section in ("answers", "authority", "additional"):
            self.assertEqual(getattr(found, section), getattr(expected, section))

    def test_none(self) -> None:
        """
        A message that has none is given back.
        """
        octets = struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0) + QUESTION
        self.assertIs(withoutOPT(octets, scan(octets)), octets)

    def test_pointerIntoIt(self) -> None:
        """
        A name that points into the OPT record can't be kept.
        """
        opt = EDNS(options=((65001, b"\x01a\0"),)).encode()
        at = 12 + len(QUESTION) + 15
        record = struct.pack("!H", 0xC000 | at) + b"\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\2\1"
        octets = struct.pack("!HHHHHH", 1, 0x8000, 1, 0, 0, 2) + QUESTION + opt + record
        self.assertRaises(MalformedMessage, withoutOPT, octets, scan(octets))

    def test_brokenData(self) -> None:
        """
        Data in which names are expected and don't fit makes a message
        malformed.
        """
        for type, data in (
            (35, b"\0\1\0\1\xff"),
            (35, b"\0\1\0\1\1u\0"),
            (15, b"\0\1\5a"),
            (5, b"\xc0"),
            (5, b"\x80"),
        ):
            record = struct.pack("!BHHIH", 0, type, 1, 60, len(data)) + data
            octets = struct.pack("!HHHHHH", 1, 0x8000, 1, 0, 0, 2) + QUESTION
            octets += EDNS().encode() + record
            self.assertRaises(MalformedMessage, withoutOPT, octets, scan(octets))

    @settings(max_examples=300, deadline=None)
    @given(messages(), st.data())
    def test_mutated(self, message: dns.Message, data: st.DataObject) -> None:
        """
        From a damaged message either a message comes or an error of ours.
        """
        marker = dns.RRHeader(b"", dns.OPT, 1232, 0, dns.UnknownRecord(b""))
        message.additional.insert(0, marker)
        octets = bytearray(message.toStr())
        for _ in range(data.draw(st.integers(1, 4))):
            octets[data.draw(st.integers(12, len(octets) - 1))] = data.draw(st.integers(0, 255))
        try:
            layout = scan(bytes(octets))
            stripped = withoutOPT(bytes(octets), layout)
        except (MalformedMessage, InvalidOPT):
            return
        self.assertEqual(scan(stripped).counts[:3], layout.counts[:3])


class WithTTLsTests(SynchronousTestCase):
    """
    Tests for L{withTTLs}.
    """

    @settings(max_examples=150, deadline=None)
    @given(messages(), st.integers(0, MAX_TTL), st.integers(0, MAX_TTL), st.integers(0, MAX_TTL))
    def test_bounds(self, message: dns.Message, age: int, floor: int, cap: int) -> None:
        """
        Each TTL is what is left of it, within the bounds, the cap winning;
        nothing else changes.
        """
        octets = message.toStr()
        layout = scan(octets)
        changed = withTTLs(octets, layout.ttls, age, floor, cap)
        for at in layout.ttls:
            before = struct.unpack_from("!I", octets, at)[0]
            after = struct.unpack_from("!I", changed, at)[0]
            self.assertEqual(after, min(cap, max(floor, before - age)))
            changed = changed[:at] + octets[at : at + 4] + changed[at + 4 :]
        self.assertEqual(changed, octets)

    def test_topBit(self) -> None:
        """
        A TTL with the top bit set counts as 0 (RFC 2181 §8).
        """
        self.assertEqual(withTTLs(b"\xff\xff\xff\xff", [0], 0, 5), b"\0\0\0\5")


class PatchTests(SynchronousTestCase):
    """
    Tests for L{withHeader} and L{withQuestion}.
    """

    @settings(max_examples=100, deadline=None)
    @given(messages(), st.integers(0, 65535), st.integers(0, 65535))
    def test_header(self, message: dns.Message, id: int, flags: int) -> None:
        """
        Id and flags are put in the place of the old ones.
        """
        octets = message.toStr()
        changed = withHeader(octets, id, flags)
        self.assertEqual(struct.unpack_from("!HH", changed), (id, flags))
        self.assertEqual(changed[4:], octets[4:])

    def test_question(self) -> None:
        """
        A question in other letter case takes the old one's place.
        """
        octets = bytes(12) + QUESTION + b"rest"
        other = b"\x03wWw\x07eXample\x03oRG\0\0\x01\0\x01"
        self.assertEqual(withQuestion(octets, other), bytes(12) + other + b"rest")
