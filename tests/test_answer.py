# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.answer}.
"""

from __future__ import annotations

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.query import ClientQuery, nameToWire
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.layout import readName, scan
from dnsguard.wire.names import fromText

QUERY = ClientQuery(fromText("www.example.org"), dns.A)
RECORD = dns.RRHeader(b"www.example.org", dns.A, dns.IN, 60, dns.Record_A("192.0.2.1", 60))


class AnswerTests(SynchronousTestCase):
    """
    Tests for L{Answer}.
    """

    def test_isASequenceOfThree(self) -> None:
        """
        Stock code may take an answer apart as it takes a triple.
        """
        answer = Answer.fromRecords([RECORD], outcome=Outcome.LOCAL)
        answers, authority, additional = answer
        self.assertEqual((answers, authority, additional), ([RECORD], [], []))
        self.assertEqual(len(answer), 3)
        self.assertEqual(answer[0], [RECORD])

    def test_encodesRecordsOnce(self) -> None:
        """
        Records become a message with the question, whose owner names point at
        it; the message is kept.
        """
        answer = Answer.fromRecords([RECORD], outcome=Outcome.LOCAL)
        self.assertIsNone(answer.wire)
        wire, layout = answer.encoded(QUERY.question)
        self.assertEqual(wire[layout.questionEnd : layout.questionEnd + 2], b"\xc0\x0c")
        self.assertEqual(layout.counts, (1, 1, 0, 0))
        self.assertEqual(layout.leastTTL, 60)
        self.assertIs(answer.encoded(QUERY.question)[0], wire)

    def test_dotInALabel(self) -> None:
        """
        An owner name with a dot inside a label is still the name asked for.
        """
        question = b"\x03a.b\x07example\x03org\0\0\x01\0\x01"
        record = dns.RRHeader(b"a.b.example.org", dns.A, payload=dns.Record_A("192.0.2.1"))
        apex = dns.RRHeader(b"example.org", dns.A, payload=dns.Record_A("192.0.2.1"))
        answer = Answer.fromRecords([record, apex], outcome=Outcome.LOCAL)
        wire, layout = answer.encoded(question)
        self.assertEqual(wire[12 : layout.questionEnd], question)
        self.assertEqual(readName(wire, layout.questionEnd), question[:-4])
        self.assertEqual(readName(wire, layout.questionEnd + 16), b"\x07example\x03org\0")

    def test_beyondPointers(self) -> None:
        """
        Names that stand farther into a message than a pointer reaches aren't
        pointed at.
        """
        records = [
            dns.RRHeader(
                b"n%d.example.net" % (number % 900), dns.A, payload=dns.Record_A("192.0.2.1")
            )
            for number in range(1800)
        ]
        wire, layout = Answer.fromRecords(records, outcome=Outcome.LOCAL).encoded(QUERY.question)
        self.assertEqual(len(layout.ttls), 1800)
        at = layout.questionEnd
        for record, ttl in zip(records, layout.ttls, strict=True):
            self.assertEqual(readName(wire, at), nameToWire(record.name.name))
            at = ttl + 10

    def test_decodesWireOnTouch(self) -> None:
        """
        An answer made of octets gives its records when it is taken apart.
        """
        wire, _ = Answer.fromRecords([RECORD], outcome=Outcome.LOCAL).encoded(QUERY.question)
        answer = Answer.fromWire(wire, scan(wire), outcome=Outcome.CACHED)
        self.assertEqual(answer[0], [RECORD])

    def test_replaceKeepsTheRest(self) -> None:
        """
        A changed copy keeps every attribute that isn't changed.
        """
        answer = Answer.failure(
            dns.ESERVER,
            Outcome.SERVFAIL,
            upstream="one",
            extendedError=ExtendedError(22, "no reachable authority"),
            cacheSeconds=3,
            replaySeconds=1.5,
            final=False,
        )
        changed = answer.replace(outcome=Outcome.SERVFAIL_BACKOFF)
        self.assertEqual(changed.outcome, Outcome.SERVFAIL_BACKOFF)
        for name in Answer.__slots__:
            if name not in {"outcome"}:
                self.assertEqual(getattr(changed, name), getattr(answer, name), name)
