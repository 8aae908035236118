# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.replay.entry}.
"""

from __future__ import annotations

from typing import Any

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.policy.decision import Attribution, RuleKind
from dnsguard.query import ClientQuery
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.resolvers.cached import entryOf, freshAnswer
from dnsguard.wire.edns import ExtendedError
from dnsguard.wire.layout import scan
from dnsguard.wire.names import fromText
from tests.support.replay import reply, request

WWW = fromText("www.example.org")


def upstreamAnswer(name: bytes = WWW, **facts: Any) -> Answer:
    """
    What an upstream says.
    """
    wire = reply(request(name), 300)
    return Answer.fromWire(
        wire, scan(wire), outcome=Outcome.UPSTREAM, upstream="192.0.2.53", **facts
    )


def entryFor(answer: Answer, qname: bytes = WWW, **facts: Any) -> ReplayedAnswer:
    """
    The facts of a replayed answer.
    """
    return ReplayedAnswer(qname, 1, 1, Outcome.CACHED, 0, "kids", None, answer, **facts)


class ReplayedAnswerTests(SynchronousTestCase):
    """
    Tests for L{ReplayedAnswer}.
    """

    def test_facts(self) -> None:
        """
        It gives what it was made of, the name in lower case.
        """
        answer = upstreamAnswer(fromText("www.example.org").replace(b"www", b"wWw"))
        entry = entryFor(answer, viewNumber=2, generation=3, cacheFlags=1)
        self.assertEqual((entry.qname, entry.type, entry.cls), (WWW, 1, 1))
        self.assertEqual((entry.outcome, entry.rCode), (Outcome.CACHED, 0))
        self.assertEqual((entry.groupID, entry.attribution), ("kids", None))
        self.assertEqual((entry.viewNumber, entry.generation, entry.cacheFlags), (2, 3, 1))
        self.assertIsNone(entry.row)

    def test_partsOfIt(self) -> None:
        """
        It gives its key in caches, and its message with the place behind the
        question, if that has the name.
        """
        entry = entryFor(upstreamAnswer(), cacheFlags=1)
        self.assertEqual(entry.key, (WWW, 1, 1, 1))
        self.assertEqual(entry.questionEnd, scan(entry.message).questionEnd)
        self.assertEqual(entryFor(upstreamAnswer(), fromText("x.example")).questionEnd, 0)

    def test_parts(self) -> None:
        """
        One can be made of its parts again, if it has such.
        """
        entry = entryFor(upstreamAnswer(), viewNumber=2, generation=3, cacheFlags=1)
        assert entry.parts is not None
        again = ReplayedAnswer.of(*entry.parts)
        self.assertIsNone(again.row)
        for name in ("qname", "key", "outcome", "rCode", "groupID", "viewNumber", "generation"):
            self.assertEqual(getattr(again, name), getattr(entry, name))
        self.assertEqual(again.answer.wire, entry.answer.wire)

    def test_noParts(self) -> None:
        """
        It is held whole if its message has another name, or a rule decided,
        which few others have in common.
        """
        self.assertIsNone(entryFor(upstreamAnswer(), fromText("x.example")).parts)
        rule = Attribution(RuleKind.LIST, "ads", "www.example.org")
        answer = upstreamAnswer()
        entry = ReplayedAnswer(WWW, 1, 1, Outcome.BLOCKED, 0, "", rule, answer)
        self.assertIsNone(entry.parts)

    def test_circumstances(self) -> None:
        """
        What many entries have in common is told by one object.
        """
        one = entryFor(upstreamAnswer())
        self.assertIs(entryFor(upstreamAnswer()).circumstances, one.circumstances)
        other = entryFor(upstreamAnswer(), cacheFlags=1)
        self.assertNotEqual(other.circumstances, one.circumstances)

    def test_holdsTheMessageOfTheCache(self) -> None:
        """
        A cached answer's message is the cache's own, not a copy.
        """
        query = ClientQuery(WWW, dns.A, dns.IN)
        cached = entryOf(query, upstreamAnswer(cacheSeconds=300), 0.0, TTLPolicy())
        assert cached is not None
        entry = entryFor(freshAnswer(cached, 200.0, 200.0))
        self.assertIs(entry.answer.wire, cached.wire)

    def test_commonFactsAreHeldOnce(self) -> None:
        """
        Entries that have all but name and message in common share the rest.
        """
        one, other = (entryFor(upstreamAnswer(name), name) for name in (WWW, b"\3abc" + WWW[4:]))
        self.assertNotEqual(one.qname, other.qname)
        self.assertIs(one._shared, other._shared)
        self.assertIsNot(one._shared, entryFor(upstreamAnswer(), generation=1)._shared)

    def test_answer(self) -> None:
        """
        The answer it gives has the records, the code of the extended error and
        what was validated; it came from no upstream this time.
        """
        made = upstreamAnswer(authenticData=True, extendedError=ExtendedError(9, "no key"))
        answer = entryFor(made).answer
        self.assertEqual(list(answer), list(made))
        self.assertEqual((answer.upstream, answer.outcome), ("", Outcome.CACHED))
        self.assertTrue(answer.authenticData)
        self.assertEqual(answer.extendedError, ExtendedError(9))

    def test_answerToAnotherName(self) -> None:
        """
        The name asked for holds, whatever question the answer's message has.
        """
        other = fromText("other.example")
        self.assertEqual(entryFor(upstreamAnswer(), other).qname, other)

    def test_answerWithoutAMessage(self) -> None:
        """
        An answer that has records only, or none, gets a message.
        """
        failure = Answer.failure(dns.ENAME, Outcome.BLOCKED)
        entry = ReplayedAnswer(WWW, 1, 1, Outcome.BLOCKED, dns.ENAME, "", None, failure)
        self.assertEqual((entry.qname, entry.rCode), (WWW, dns.ENAME))
        self.assertEqual(list(entry.answer), [[], [], []])
        self.assertEqual(entry.answer.rCode, dns.ENAME)
