# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.reply}.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any
from unittest import SkipTest
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.query import Transport
from dnsguard.server import reply as module
from dnsguard.server.reply import ReplyLimits, badVersion, compose, isTruncated, refuse
from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.layout import AA, AD, CD, QR, RA, RD, TC, Layout, scan
from tests.support.requests import optOf, queryOf, requestFor
from tests.wire.messages import messages

LIMITS = ReplyLimits()
MIXED = b"\x03wWw\x07eXample\x03oRG\0"
MIXED_TEXT = "wWw.eXample.oRG"


def addresses(count: int, ttl: int = 300, name: bytes = b"www.example.org") -> list[dns.RRHeader]:
    """
    That many A records.
    """
    return [
        dns.RRHeader(name, dns.A, dns.IN, ttl, dns.Record_A(f"192.0.2.{n % 256}", ttl))
        for n in range(count)
    ]


def upstream(
    records: Sequence[dns.RRHeader],
    additional: Sequence[dns.RRHeader] = (),
    name: str = "www.example.org",
    **facts: Any,
) -> Answer:
    """
    An answer that has a wire form only.
    """
    made = Answer.fromRecords(records, (), additional, outcome=Outcome.UPSTREAM)
    wire, layout = made.encoded(requestFor(name)[12:])
    facts.setdefault("outcome", Outcome.UPSTREAM)
    return Answer.fromWire(wire, layout, **facts)


def reply(
    request: bytes,
    answer: Answer,
    transport: Transport = Transport.UDP,
    limits: ReplyLimits = LIMITS,
) -> tuple[bytes, Layout]:
    """
    Compose a reply, and scan it.
    """
    octets = compose(request, scan(request), queryOf(request, transport), answer, limits)
    return octets, scan(octets)


class HeaderTests(SynchronousTestCase):
    """
    Tests for the header of replies.
    """

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, 0x7FFF), st.booleans(), st.booleans(), st.integers(0, 15))
    def test_bits(self, flags: int, authoritative: bool, authentic: bool, rCode: int) -> None:
        """
        RD and CD are the request's; RA is ours; AA is the answer's; AD is
        for those who ask for it; TC and the reserved bit never come from the
        request.
        """
        flags &= ~0x7800
        answer = Answer.failure(
            rCode, Outcome.LOCAL, authoritative=authoritative, authenticData=authentic
        )
        octets, layout = reply(requestFor(flags=flags, id=0xABCD), answer)
        expected = QR | RA | (flags & (RD | CD)) | rCode
        expected |= AA if authoritative else 0
        expected |= AD if authentic and flags & AD else 0
        self.assertEqual((layout.id, layout.flags), (0xABCD, expected))
        self.assertEqual(octets[4:12], b"\0\1\0\0\0\0\0\0")

    def test_adForDO(self) -> None:
        """
        DO asks for AD as well as the AD bit does (RFC 6840 §5.7).
        """
        answer = upstream(addresses(1), authenticData=True)
        self.assertFalse(reply(requestFor(), answer)[1].flags & AD)
        self.assertTrue(reply(requestFor(flags=RD | AD), answer)[1].flags & AD)
        self.assertTrue(reply(requestFor(edns=EDNS(dnssecOK=True)), answer)[1].flags & AD)

    def test_noRecursion(self) -> None:
        """
        A server that has nobody to ask doesn't claim recursion.
        """
        limits = ReplyLimits(recursionAvailable=False)
        request = requestFor()
        self.assertFalse(reply(request, upstream(addresses(1)), limits=limits)[1].flags & RA)
        self.assertFalse(scan(refuse(request, dns.EREFUSED, limits)).flags & RA)

    def test_letterCase(self) -> None:
        """
        The question comes back octet for octet, and the records behind it
        point at it.
        """
        octets, layout = reply(requestFor(MIXED), upstream(addresses(2)))
        self.assertEqual(octets[12 : layout.questionEnd], MIXED + b"\0\1\0\1")
        self.assertEqual(octets[layout.questionEnd : layout.questionEnd + 2], b"\xc0\x0c")
        self.assertEqual(layout.counts, (1, 2, 0, 0))


class RecordTests(SynchronousTestCase):
    """
    Tests for the records in replies.
    """

    @settings(max_examples=150, deadline=None)
    @given(messages(), st.booleans())
    def test_untouched(self, message: dns.Message, withEDNS: bool) -> None:
        """
        The records of an answer with a wire form come out as they went in.
        """
        wire = message.toStr()
        found = scan(wire)
        answer = Answer.fromWire(wire, found, outcome=Outcome.UPSTREAM)
        edns = EDNS(payloadSize=4096) if withEDNS else None
        request = requestFor(found.name, found.type, edns=edns)
        octets, layout = reply(request, answer, Transport.TCP)
        end = layout.size if layout.opt is None else layout.opt[0]
        self.assertEqual(octets[layout.questionEnd : end], wire[found.questionEnd :])
        self.assertEqual(layout.counts[1:3], found.counts[1:3])
        self.assertEqual(layout.counts[3], found.counts[3] + withEDNS)
        self.assertEqual(layout.rCode, message.rCode)

    def test_ttlCap(self) -> None:
        """
        The cap holds for what came from upstream, the OPT record's TTL field
        excepted, and not for local records.
        """
        capped = ReplyLimits(ttlCap=60)
        request = requestFor(edns=EDNS(dnssecOK=True))
        answer = upstream(addresses(2, ttl=300))
        for outcome in (Outcome.UPSTREAM, Outcome.CACHED, Outcome.STALE):
            _, layout = reply(request, answer.replace(outcome=outcome), limits=capped)
            self.assertEqual(layout.leastTTL, 60)
            self.assertTrue(layout.edns and layout.edns.dnssecOK)
        _, layout = reply(request, answer.replace(outcome=Outcome.LOCAL), limits=capped)
        self.assertEqual(layout.leastTTL, 300)
        _, layout = reply(request, upstream(addresses(1, ttl=5)), limits=capped)
        self.assertEqual(layout.leastTTL, 5)

    def test_foreignOPT(self) -> None:
        """
        An OPT record that an answer brings along doesn't get through.
        """
        opt = dns.RRHeader(b"", dns.OPT, 4096, 0x8000, dns.UnknownRecord(b""))
        answer = upstream(addresses(1), [opt, *addresses(1, name=b"ns.example.net")])
        _, layout = reply(requestFor(edns=EDNS()), answer)
        self.assertEqual(layout.counts, (1, 1, 0, 2))
        self.assertEqual(layout.edns, EDNS())
        self.assertTrue(layout.optLast)
        self.assertEqual(reply(requestFor(), answer)[1].counts, (1, 1, 0, 1))

    def test_answerForAnotherName(self) -> None:
        """
        An answer to another question is encoded anew behind this one.
        """
        answer = upstream(addresses(1, name=b"other.example.org"), name="other.example.org")
        octets, _ = reply(requestFor(MIXED), answer)
        found = dns.Message()
        found.fromStr(octets)
        self.assertEqual(found.answers[0].name.name.lower(), b"other.example.org")
        self.assertEqual(found.queries[0].name.name, b"wWw.eXample.oRG")

    def test_answerThatCantBeMoved(self) -> None:
        """
        An answer to another question that can't be decoded becomes SERVFAIL.
        """
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x02\xc0\0"
        wire = requestFor("other.example.org", flags=QR, more=record, counts=(1, 1, 0, 0))
        answer = Answer.fromWire(wire, scan(wire), outcome=Outcome.UPSTREAM)
        _, layout = reply(requestFor(edns=EDNS()), answer)
        self.assertEqual((layout.rCode, layout.counts), (dns.ESERVER, (1, 0, 0, 1)))

    def test_dotInALabel(self) -> None:
        """
        A name with a dot, or nothing but dots, in a label can be answered.
        """
        for name in (b"\x03a.b\x03org\0", b"\x02..\x03org\0", b"\x01.\0"):
            _, layout = reply(requestFor(name), Answer.failure(3, Outcome.BLOCKED))
            self.assertEqual(layout.rCode, dns.ENAME)
            _, layout = reply(requestFor(name), upstream(addresses(1)))
            self.assertEqual(layout.counts, (1, 1, 0, 0))
            self.assertEqual(layout.name, name)


class EDNSTests(SynchronousTestCase):
    """
    Tests for the OPT record of replies.
    """

    def test_onlyForThoseWhoHaveOne(self) -> None:
        """
        There is an OPT record in the reply exactly if one is in the request.
        """
        answer = upstream(addresses(1), extendedError=ExtendedError(15, "why"))
        self.assertIsNone(optOf(reply(requestFor(), answer)[0]))
        self.assertIsNotNone(optOf(reply(requestFor(edns=EDNS()), answer)[0]))

    def test_content(self) -> None:
        """
        It says our payload size and version, the upper bits of the response
        code, DO as in the request, and none of the client's options.
        """
        edns = EDNS(0, 4096, True, 77, ((10, b"12345678"), (65001, b"x")))
        answer = Answer.failure(0x123, Outcome.SERVFAIL)
        _, layout = reply(requestFor(edns=edns), answer, limits=ReplyLimits(1400))
        self.assertEqual(layout.edns, EDNS(0, 1400, True, 0x12))
        self.assertEqual(layout.rCode, 0x123)

    def test_upperBitsWithoutEDNS(self) -> None:
        """
        A code that needs an OPT record becomes SERVFAIL without one.
        """
        _, layout = reply(requestFor(), Answer.failure(23, Outcome.SERVFAIL))
        self.assertEqual(layout.rCode, dns.ESERVER)

    def test_extendedError(self) -> None:
        """
        The extended error is an option of it.
        """
        answer = Answer.failure(3, Outcome.BLOCKED, extendedError=ExtendedError(15, "ads"))
        _, layout = reply(requestFor(edns=EDNS()), answer)
        self.assertEqual(layout.edns, EDNS(options=((15, b"\0\x0fads"),)))

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 1400))
    def test_extendedErrorGivesWay(self, length: int) -> None:
        """
        An extended error never costs a record: first its text goes, then all.
        """
        reason = ExtendedError(15, "x" * length)
        answer = upstream(addresses(50), extendedError=reason)
        octets, layout = reply(requestFor(edns=EDNS()), answer)
        self.assertEqual(layout.counts[1], 50)
        self.assertFalse(isTruncated(octets))
        self.assertLessEqual(len(octets), 1232)
        whole = len(reply(requestFor(edns=EDNS()), upstream(addresses(50)))[0])
        assert layout.edns is not None
        fits = whole + 6 + length <= 1232
        self.assertEqual(layout.edns.options, ((15, reason.option()[1][: None if fits else 2]),))

    def test_noRoomForAnExtendedError(self) -> None:
        """
        Where not even its code fits, the option is left out.
        """
        base = 12 + 21 + 11
        request = requestFor(edns=EDNS(payloadSize=512))
        for left, options in ((6, ((15, b"\0\x0f"),)), (5, ())):
            text = dns.RRHeader(b"www.example.org", dns.TXT, ttl=5)
            text.payload = dns.UnknownRecord(b"x" * (512 - base - 12 - left))
            answer = upstream([text], extendedError=ExtendedError(15, "why"))
            _, layout = reply(request, answer)
            self.assertEqual(layout.counts[1], 1)
            assert layout.edns is not None
            self.assertEqual(layout.edns.options, options)

    def test_keepalive(self) -> None:
        """
        A client that asks over a stream is told the idle limit, in tenths of
        a second (RFC 7828); over UDP nobody is, and nobody who didn't ask.
        """
        limits = ReplyLimits(keepaliveSeconds=10)
        answer = upstream(addresses(1))
        request = requestFor(edns=EDNS(options=((11, b""),)))
        _, layout = reply(request, answer, Transport.TCP, limits)
        self.assertEqual(layout.edns, EDNS(options=((11, b"\0\x64"),)))
        self.assertEqual(reply(request, answer, Transport.UDP, limits)[1].edns, EDNS())
        self.assertEqual(reply(request, answer, Transport.TCP)[1].edns, EDNS())
        plain = requestFor(edns=EDNS(options=((12, b""),)))
        self.assertEqual(reply(plain, answer, Transport.TCP, limits)[1].edns, EDNS())


class TruncationTests(SynchronousTestCase):
    """
    Tests for replies that are too large.
    """

    @settings(max_examples=150, deadline=None)
    @given(
        st.integers(0, 300),
        st.one_of(st.none(), st.integers(0, 65535)),
        st.sampled_from([512, 1232, 4096]),
    )
    def test_udp(self, count: int, size: int | None, limit: int) -> None:
        """
        Over UDP a reply fits the client's size, at least 512, and ours; what
        doesn't fit is TC with the question and the OPT record alone.
        """
        request = requestFor(MIXED, edns=None if size is None else EDNS(payloadSize=size))
        octets, layout = reply(request, upstream(addresses(count)), limits=ReplyLimits(limit))
        room = 512 if size is None else min(max(size, 512), limit)
        whole = len(request) + 16 * count
        self.assertEqual(isTruncated(octets), whole > room)
        self.assertEqual(len(octets), whole if whole <= room else len(request))
        self.assertEqual(layout.counts[1], count if whole <= room else 0)
        self.assertEqual(layout.counts[3], 0 if size is None else 1)
        self.assertEqual(octets[12:33], request[12:33])

    def test_additionalGivesWay(self) -> None:
        """
        Without its additional section a reply may fit and isn't truncated
        (RFC 2181 §9).
        """
        answer = upstream(addresses(20), addresses(20), authenticData=True)
        _, layout = reply(requestFor(flags=RD | AD), answer)
        self.assertEqual(layout.counts, (1, 20, 0, 0))
        self.assertEqual(layout.flags & (TC | AD), AD)

    def test_truncatedIsntAuthentic(self) -> None:
        """
        Where nothing is said, nothing is vouched for.
        """
        answer = upstream(addresses(100), authenticData=True)
        _, layout = reply(requestFor(flags=RD | AD), answer)
        self.assertEqual(layout.flags & (TC | AD), TC)

    def test_streams(self) -> None:
        """
        A stream takes 65,535 octets, whatever size the client says.
        """
        request = requestFor(edns=EDNS(payloadSize=512))
        room = (65535 - len(request)) // 16
        for transport in (Transport.TCP, Transport.DOT, Transport.DOH):
            octets, layout = reply(request, upstream(addresses(room)), transport)
            self.assertEqual(layout.counts[1], room)
            octets, layout = reply(request, upstream(addresses(room + 1)), transport)
            self.assertTrue(isTruncated(octets))
            self.assertEqual(len(octets), len(request))


class RefusalTests(SynchronousTestCase):
    """
    Tests for L{refuse} and L{badVersion}.
    """

    def test_inKind(self) -> None:
        """
        A refusal has the request's id, opcode, RD, CD, question and OPT.
        """
        request = requestFor(MIXED, flags=0x2000 | RD | CD | AD | AA, edns=EDNS(dnssecOK=True))
        octets = refuse(request, dns.ENOTIMP, LIMITS, scan(request))
        layout = scan(octets)
        self.assertEqual(layout.flags, QR | 0x2000 | RD | CD | RA | dns.ENOTIMP)
        self.assertEqual(layout.counts, (1, 0, 0, 1))
        self.assertEqual(layout.edns, EDNS(dnssecOK=True))
        self.assertEqual(octets[12:33], request[12:33])

    def test_headerOnly(self) -> None:
        """
        What can't be scanned gets a header, and an OPT record where one was
        seen.
        """
        request = requestFor(counts=(1, 9, 9, 9))
        self.assertEqual(refuse(request, dns.EFORMAT, LIMITS), b"\x12\x34\x81\x81" + bytes(8))
        layout = scan(refuse(request, dns.EFORMAT, LIMITS, hasOPT=True))
        self.assertEqual((layout.counts, layout.edns), ((0, 0, 0, 1), EDNS()))

    def test_twoQuestions(self) -> None:
        """
        Questions come back only if there is one of them.
        """
        request = requestFor(counts=(2, 0, 0, 0), more=requestFor()[12:])
        octets = refuse(request, dns.EFORMAT, LIMITS, scan(request))
        self.assertEqual(scan(octets).counts, (0, 0, 0, 0))

    def test_badVersion(self) -> None:
        """
        BADVERS is 16, with version 0 and the DO bit as it was.
        """
        request = requestFor(edns=EDNS(version=1, dnssecOK=True))
        layout = scan(badVersion(request, scan(request), LIMITS))
        self.assertEqual(layout.rCode, 16)
        self.assertEqual(layout.edns, EDNS(dnssecOK=True, extendedRCode=1))
        self.assertEqual(struct.unpack_from("!H", octets := request, 0)[0], layout.id)
        self.assertEqual(layout.name, scan(octets).name)


class SpliceTests(SynchronousTestCase):
    """
    Tests for L{dnsguard.server._splice}.
    """

    def setUp(self) -> None:
        """
        There must be compiled code.
        """
        if module.splice is None:
            raise SkipTest("there are no compiled twins here")

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.sampled_from([0, 30, 3600, 0x7FFFFFFF, 0xFFFFFFFF]), max_size=80),
        st.integers(0, 3),
        st.sampled_from([None, EDNS(), EDNS(payloadSize=4096, dnssecOK=True)]),
        st.sampled_from([None, 0, 60]),
        st.sampled_from([Outcome.UPSTREAM, Outcome.LOCAL, Outcome.CACHED]),
        st.sampled_from([Transport.UDP, Transport.TCP]),
        st.booleans(),
        st.sampled_from([0, 2, 3, 16]),
    )
    def test_likeTheOther(
        self,
        ttls: list[int],
        additional: int,
        edns: EDNS | None,
        cap: int | None,
        outcome: Outcome,
        transport: Transport,
        vouched: bool,
        rCode: int,
    ) -> None:
        """
        A reply put together by compiled code is the one that Python makes.
        """
        request = requestFor(MIXED_TEXT, edns=edns, flags=RD | AD)
        records = [each for ttl in ttls for each in addresses(1, ttl)]
        answer = upstream(
            records,
            addresses(additional),
            outcome=outcome,
            authenticData=vouched,
            authoritative=not vouched,
            rCode=rCode,
        )
        limits = ReplyLimits(ttlCap=cap)
        made = reply(request, answer, transport, limits)[0]
        with patch.object(module, "splice", None):
            self.assertEqual(made, reply(request, answer, transport, limits)[0])

    def test_bounds(self) -> None:
        """
        Places beyond the messages are refused.
        """
        request = requestFor()
        end = len(request)
        wire = bytes(end + 16)
        for arguments in [
            (request, end + 1, 0, wire, end, (), -1, b""),
            (request, 11, 0, wire, end, (), -1, b""),
            (request, end, 0, wire, len(wire) + 1, (), -1, b""),
            (request, end, 0, wire, end, (end - 1,), 9, b""),
            (request, end, 0, wire, end, (len(wire) - 3,), 9, b""),
        ]:
            self.assertRaises(ValueError, module.splice, *arguments)
