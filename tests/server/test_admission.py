# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.admission}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.server.admission import Verdict, judge, judgeHeader
from dnsguard.wire.edns import EDNS, InvalidOPT
from dnsguard.wire.layout import MalformedMessage, scan, scanRequest
from tests.support.requests import requestFor

RECORD = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\2\1"


class JudgeHeaderTests(SynchronousTestCase):
    """
    Tests for L{judgeHeader}.
    """

    def test_query(self) -> None:
        """
        A standard query is looked at further, whatever its other bits are.
        """
        for flags in (0, 0x0100, 0x07F0):
            self.assertIs(judgeHeader(requestFor(flags=flags)), Verdict.ADMIT)

    def test_short(self) -> None:
        """
        Octets that are no header are dropped.
        """
        for size in range(12):
            self.assertIs(judgeHeader(requestFor()[:size]), Verdict.DROP)

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0x8000, 0xFFFF))
    def test_response(self, flags: int) -> None:
        """
        Whatever is itself a response is dropped.
        """
        self.assertIs(judgeHeader(requestFor(flags=flags)), Verdict.DROP)

    def test_opcodes(self) -> None:
        """
        Every opcode but QUERY isn't implemented, whatever follows the header.
        """
        for opcode in range(1, 16):
            header = requestFor(flags=opcode << 11)[:12]
            self.assertIs(judgeHeader(header + b"\xff\xff"), Verdict.NOTIMP)


class JudgeTests(SynchronousTestCase):
    """
    Tests for L{judge}.
    """

    def assertVerdict(self, request: bytes, verdict: Verdict) -> None:
        """
        Check what becomes of a request.
        """
        self.assertIs(judge(scan(request)), verdict)

    def test_data(self) -> None:
        """
        Types that are data are asked for, known to us or not.
        """
        for type in (1, 2, 5, 28, 33, 43, 46, 64, 65, 127, 256, 257, 32769, 65535):
            self.assertVerdict(requestFor(type=type), Verdict.ADMIT)

    def test_transfers(self) -> None:
        """
        Zone transfers and the mail queries of old are refused, an IXFR with
        its SOA (RFC 1995 §3) too.
        """
        for type in (251, 252, 253, 254):
            self.assertVerdict(requestFor(type=type), Verdict.REFUSED)
        ixfr = requestFor(type=251, more=RECORD, counts=(1, 0, 1, 0))
        self.assertVerdict(ixfr, Verdict.REFUSED)

    def test_any(self) -> None:
        """
        ANY gets the least answer there is.
        """
        self.assertVerdict(requestFor(type=255), Verdict.MINIMAL)

    def test_meta(self) -> None:
        """
        What can't be asked for is a format error; TKEY isn't implemented.
        """
        for type in (0, 41, 128, 200, 248, 250):
            self.assertVerdict(requestFor(type=type), Verdict.FORMERR)
        self.assertVerdict(requestFor(type=249), Verdict.NOTIMP)

    def test_classes(self) -> None:
        """
        Every class but IN is refused.
        """
        for cls in (0, 2, 3, 4, 254, 255, 65535):
            self.assertVerdict(requestFor("version.bind", 16, cls), Verdict.REFUSED)

    def test_questions(self) -> None:
        """
        Anything but one question is a format error (RFC 9619).
        """
        question = requestFor()[12:]
        self.assertVerdict(requestFor(counts=(2, 0, 0, 0), more=question), Verdict.FORMERR)
        self.assertVerdict(requestFor()[:4] + bytes(8), Verdict.FORMERR)

    def test_records(self) -> None:
        """
        A query with answers or authority in it is a format error; additional
        records are read over.
        """
        self.assertVerdict(requestFor(counts=(1, 1, 0, 0), more=RECORD), Verdict.FORMERR)
        self.assertVerdict(requestFor(counts=(1, 0, 1, 0), more=RECORD), Verdict.FORMERR)
        self.assertVerdict(requestFor(counts=(1, 0, 0, 1), more=RECORD), Verdict.ADMIT)

    def test_version(self) -> None:
        """
        An EDNS version that isn't spoken comes before all else that is wrong.
        """
        self.assertVerdict(requestFor(edns=EDNS(version=1)), Verdict.BADVERS)
        self.assertVerdict(requestFor(cls=3, edns=EDNS(version=255)), Verdict.BADVERS)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """
    Requests of all kinds, most of them sound, some with octets changed.
    """
    labels = draw(st.lists(st.binary(min_size=1, max_size=12), max_size=5))
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    edns = draw(
        st.none()
        | st.builds(
            EDNS,
            version=st.sampled_from([0, 0, 0, 1]),
            payloadSize=st.integers(0, 65535),
            dnssecOK=st.booleans(),
            options=st.lists(
                st.tuples(st.integers(0, 65535), st.binary(max_size=8)), max_size=2
            ).map(tuple),
        )
    )
    request = bytearray(
        requestFor(
            name,
            draw(st.sampled_from([0, 1, 28, 41, 65, 128, 249, 251, 252, 255, 256, 65280])),
            draw(st.sampled_from([1, 1, 1, 3, 255])),
            id=draw(st.integers(0, 65535)),
            flags=draw(st.sampled_from([0x0100, 0x0130, 0, 0x8100, 0x0900, 0x7800, 0xFFFF])),
            edns=edns,
            more=draw(st.sampled_from([b"", b"", b"", b"\0", RECORD])),
            counts=draw(st.none() | st.tuples(*[st.sampled_from([0, 1, 1, 2])] * 4)),
        )
    )
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        request[draw(st.integers(0, len(request) - 1))] = draw(st.integers(0, 255))
    return bytes(request[: draw(st.none() | st.integers(0, len(request)))])


class ScanRequestTests(SynchronousTestCase):
    """
    Tests for L{scanRequest}, the short way to a query.
    """

    if scanRequest is None:
        skip = "not compiled"

    @settings(max_examples=150, deadline=None)
    @given(requests())
    def test_likeTheLongWay(self, request: bytes) -> None:
        """
        It takes those requests apart that are admitted when they are scanned and
        judged, and no other, and finds the same.
        """
        taken = scanRequest(request, EDNS.decode)
        layout = None
        try:
            if judgeHeader(request) is Verdict.ADMIT:
                layout = scan(request)
        except (MalformedMessage, InvalidOPT):
            pass
        if layout is None or judge(layout) is not Verdict.ADMIT:
            self.assertIsNone(taken)
            return
        self.assertEqual(
            taken, (layout.flags, layout.name, layout.type, layout.questionEnd, layout.edns)
        )

    def test_usual(self) -> None:
        """
        What clients usually send goes the short way.
        """
        for edns in (None, EDNS(), EDNS(dnssecOK=True), EDNS(options=((10, b"12345678"),))):
            self.assertIsNotNone(
                scanRequest(requestFor("WWW.example.org", edns=edns), EDNS.decode)
            )
