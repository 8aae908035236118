# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.coalesce}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.upstream.coalesce import Coalescer
from dnsguard.upstream.exchange import Group
from dnsguard.upstream.selection import Strategy
from tests.support.upstreams import QNAME, TAIL, FakeUpstream, read

Question = tuple[bytes, bytes, bool, bool]

QUESTION: Question = (QNAME, TAIL, False, False)


class CoalescerTests(SynchronousTestCase):
    """
    Tests for L{Coalescer}.
    """

    def setUp(self) -> None:
        self.upstream = FakeUpstream()
        self.group = Group.of(Strategy.FAILOVER, [self.upstream])
        self.coalescer = Coalescer(Clock(), maxExchanges=3, maxWaiters=2)

    def ask(self, question: Question = QUESTION) -> Deferred[Answer | None]:
        asked = self.coalescer.ask(question, self.group, 10.0)
        assert asked is not None
        return asked

    def test_equalQuestionsShare(self) -> None:
        """
        Equal questions are asked once, and have the same answer.
        """
        first, second = self.ask(), self.ask()
        (attempt,) = self.upstream.attempts
        self.assertEqual((len(self.coalescer), self.coalescer.joined), (1, 1))
        attempt.succeed(read(), 0.1)
        answer = self.successResultOf(first)
        self.assertIs(self.successResultOf(second), answer)
        self.assertEqual(len(self.coalescer), 0)
        self.ask()
        self.assertEqual(len(self.upstream.attempts), 2)

    def test_traceOfWhatBegins(self) -> None:
        """
        Exchanges begun while somebody traces are traced to their end, others
        aren't.
        """
        told: list[str] = []
        self.ask()
        self.coalescer.trace = lambda *facts: told.append(facts[3])
        self.ask((b"\1a\0", TAIL, False, False))
        self.coalescer.trace = None
        for attempt in self.upstream.attempts:
            attempt.succeed(read(rCode=3), 0.1)
        self.assertEqual(told, ["NXDOMAIN"])

    def test_differentQuestionsDoNot(self) -> None:
        """
        Name, type, class, DO and CD tell questions apart.
        """
        for question in [
            (b"\1a\0", TAIL, False, False),
            (QNAME, b"\0\x1c\0\1", False, False),
            (QNAME, b"\0\1\0\3", False, False),
            (QNAME, TAIL, True, False),
            (QNAME, TAIL, False, True),
        ]:
            self.coalescer = Coalescer(Clock())
            self.ask()
            self.ask(question)
            self.assertEqual((len(self.coalescer), self.coalescer.joined), (2, 0))

    def test_askedWhileTold(self) -> None:
        """
        Who is told may ask the same again at once: that is a new exchange.
        """
        again: list[Deferred[Answer | None]] = []
        self.ask().addCallback(lambda _: again.append(self.ask()))
        self.upstream.attempts[0].succeed(read(), 0.1)
        self.assertEqual(len(self.upstream.attempts), 2)
        self.assertNoResult(again[0])

    def test_waitersAreBounded(self) -> None:
        """
        Only so many may wait for one question.
        """
        self.ask()
        self.ask()
        self.assertIsNone(self.coalescer.ask(QUESTION, self.group, 10.0))
        self.assertEqual(self.coalescer.refused, 1)

    def test_exchangesAreBounded(self) -> None:
        """
        Only so many questions may be under way; one that is already may still
        be joined.
        """
        for number in range(3):
            self.ask((b"\1%d\0" % number, TAIL, False, False))
        self.assertIsNone(self.coalescer.ask(QUESTION, self.group, 10.0))
        self.assertEqual(self.coalescer.refused, 1)
        self.ask((b"\x010\0", TAIL, False, False))

    def test_cancelling(self) -> None:
        """
        One who gives up doesn't take the answer from the others; when all
        have, the upstream isn't waited for.
        """
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.upstream.attempts[0].succeed(read(), 0.1)
        self.assertEqual(getattr(self.successResultOf(second), "outcome", None), Outcome.UPSTREAM)
        third = self.ask()
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.assertEqual(self.upstream.abandoned, self.upstream.attempts[1:])
        self.assertEqual(len(self.coalescer), 0)

    def test_close(self) -> None:
        """
        Closing answers all that wait with a failure.
        """
        asked = self.ask()
        self.coalescer.close()
        self.assertEqual(
            getattr(self.successResultOf(asked), "outcome", None), Outcome.UPSTREAM_ERROR
        )
        self.assertEqual((len(self.coalescer), len(self.upstream.abandoned)), (0, 1))
