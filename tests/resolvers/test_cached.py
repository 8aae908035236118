# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.cached}.
"""

from __future__ import annotations

from typing import Any

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.entry import Entry
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.query import ClientQuery
from dnsguard.resolvers.cached import entryOf, freshAnswer, staleAnswer
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText
from tests.caching.messages import WWW, A, message, record, soa, ttls

POLICY = TTLPolicy(minTTL=0)
QUERY = ClientQuery(WWW)


def upstreamAnswer(*args: Any, seconds: int = 60, **facts: Any) -> Answer:
    """
    An upstream's answer of a message made with these arguments.
    """
    wire, layout = message(*args, **facts)
    return Answer.fromWire(wire, layout, outcome=Outcome.UPSTREAM, cacheSeconds=seconds)


def keep(answer: Answer, **facts: Any) -> Entry:
    """
    Make an entry that must be kept, at the time 1000.
    """
    entry = entryOf(QUERY, answer, 1000.0, POLICY, **facts)
    assert entry is not None
    return entry


class AnswersTests(SynchronousTestCase):
    """
    Tests for L{freshAnswer} and L{staleAnswer}.
    """

    def setUp(self) -> None:
        error = ExtendedError(4, "Forged")
        answer = upstreamAnswer([record(A, 60)])
        self.entry = keep(answer.replace(upstream="one", authenticData=True, extendedError=error))

    def test_fresh(self) -> None:
        """
        A fresh answer says what upstream said, with TTLs counted down to whole
        seconds.
        """
        answer = freshAnswer(self.entry, 20.7, 5.5)
        self.assertEqual(ttls(answer.wire or b""), [20])
        self.assertEqual((answer.outcome, answer.upstream), (Outcome.CACHED, "one"))
        self.assertEqual((answer.cacheSeconds, answer.replaySeconds), (20, 5.5))
        self.assertTrue(answer.authenticData and answer.final)
        self.assertEqual(answer.extendedError, ExtendedError(4, "Forged"))
        self.assertFalse(answer.authoritative)

    def test_lastSecond(self) -> None:
        """
        In its last second it shows 1, not 0.
        """
        self.assertEqual(ttls(freshAnswer(self.entry, 0.3, 0.3).wire or b""), [1])

    def test_stale(self) -> None:
        """
        A stale answer isn't final, can't be replayed, says that it is stale
        and for how long it has been.
        """
        answer = staleAnswer(self.entry, -70.5, 30)
        self.assertEqual(ttls(answer.wire or b""), [30])
        self.assertEqual(answer.outcome, Outcome.STALE)
        self.assertEqual((answer.final, answer.replaySeconds), (False, 0.0))
        self.assertEqual(answer.cacheSeconds, -70)
        self.assertEqual(answer.extendedError, ExtendedError(3, "Stale Answer"))

    def test_staleNXDOMAIN(self) -> None:
        """
        A stale NXDOMAIN has an extended error of its own.
        """
        entry = keep(upstreamAnswer([], [soa(60, 60)], rCode=3))
        answer = staleAnswer(entry, -1.0, 30)
        self.assertEqual(answer.extendedError, ExtendedError(19, "Stale NXDOMAIN Answer"))
        self.assertEqual(answer.rCode, dns.ENAME)

    def test_layoutFits(self) -> None:
        """
        The layout tells where things stand in the octets.
        """
        answer = freshAnswer(self.entry, 20.0, 0.0)
        assert answer.wire is not None
        assert answer.layout is not None
        self.assertEqual(answer.layout.ttls, scan(answer.wire).ttls)
        self.assertEqual(answer[0][0].ttl, 20)


class EntryOfTests(SynchronousTestCase):
    """
    Tests for L{entryOf}.
    """

    def test_upstreamsWordOnly(self) -> None:
        """
        What we made ourselves isn't kept, nor what is stale, nor failures.
        """
        answer = upstreamAnswer([record(A, 60)])
        for outcome in Outcome:
            entry = entryOf(QUERY, answer.replace(outcome=outcome), 0.0, POLICY)
            self.assertEqual(
                entry is not None, outcome in (Outcome.UPSTREAM, Outcome.CACHED), outcome
            )
        self.assertIsNone(entryOf(QUERY, answer.replace(rCode=dns.ESERVER), 0.0, POLICY))

    def test_noTime(self) -> None:
        """
        An answer that says not to keep it isn't kept; a negative one that says
        nothing is, for the configured time.
        """
        self.assertIsNone(entryOf(QUERY, upstreamAnswer([record(A, 60)], seconds=0), 0.0, POLICY))
        entry = keep(upstreamAnswer(rCode=3, seconds=0))
        self.assertEqual(entry.storedTTL, POLICY.negativeTTL)

    def test_ofRecords(self) -> None:
        """
        An answer made of records by a stock resolver is encoded.
        """
        header = dns.RRHeader(b"www.example.org", dns.A, dns.IN, 60, dns.Record_A("192.0.2.1", 60))
        answer = Answer.fromRecords([header], outcome=Outcome.UPSTREAM, cacheSeconds=60)
        self.assertEqual(freshAnswer(keep(answer), 60.0, 0.0)[0], [header])

    def test_anotherQuestion(self) -> None:
        """
        An answer to another question isn't kept.
        """
        answer = upstreamAnswer([record(A, 60)])
        other = ClientQuery(fromText("other.example.org"))
        self.assertIsNone(entryOf(other, answer, 0.0, POLICY))
        self.assertIsNone(entryOf(ClientQuery(WWW, dns.MX), answer, 0.0, POLICY))

    def test_entryOfAnotherCache(self) -> None:
        """
        A cached answer gives its entry, times and all; a stale one none.
        """
        entry = keep(upstreamAnswer([record(A, 60)]))
        self.assertIs(entryOf(QUERY, freshAnswer(entry, 5.0, 0.0), 1055.0, POLICY), entry)
        self.assertIsNone(entryOf(QUERY, staleAnswer(entry, -5.0, 30), 1065.0, POLICY))

    def test_hotAndCreatedAt(self) -> None:
        """
        The refresh of a hot key isn't raised, and keeps the key's age.
        """
        answer = upstreamAnswer([record(A, 20)])
        entry = entryOf(QUERY, answer, 1000.0, TTLPolicy(minTTL=300), hot=True, createdAt=5.0)
        assert entry is not None
        self.assertEqual((entry.storedTTL, entry.createdAt), (20, 5.0))
