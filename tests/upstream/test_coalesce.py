# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.coalesce}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.upstream.coalesce import Coalescer
from dnsguard.upstream.exchange import Group
from dnsguard.upstream.selection import Strategy
from dnsguard.upstream.waiter import Receiver, Waiter
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

        self.told: list[Answer] = []

    def ask(self, question: Question = QUESTION, receive: Receiver | None = None) -> Waiter:
        """
        Ask what isn't answered at once, by default into C{told}.
        """
        asked = self.coalescer.askInto(question, self.group, 10.0, receive or self.told.append)
        assert isinstance(asked, Waiter)
        return asked

    def test_equalQuestionsShare(self) -> None:
        """
        Equal questions are asked once, and have the same answer.
        """
        self.ask()
        self.ask()
        (attempt,) = self.upstream.attempts
        self.assertEqual((len(self.coalescer), self.coalescer.joined), (1, 1))
        attempt.succeed(read(), 0.1)
        first, second = self.told
        self.assertIs(first, second)
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
        self.ask(receive=lambda _: self.ask())
        self.upstream.attempts[0].succeed(read(), 0.1)
        self.assertEqual((len(self.upstream.attempts), self.told), (2, []))

    def test_answeredAtOnce(self) -> None:
        """
        Who asks when nobody can be reached has the answer at once, and isn't
        told it later.
        """
        self.upstream.refusing = "no route"
        answer = self.coalescer.askInto(QUESTION, self.group, 10.0, self.told.append)
        assert isinstance(answer, Answer)
        self.assertEqual(answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertEqual((len(self.coalescer), self.told), (0, []))

    def test_waitersAreBounded(self) -> None:
        """
        Only so many may wait for one question.
        """
        self.ask()
        self.ask()
        self.assertIsNone(self.coalescer.askInto(QUESTION, self.group, 10.0, self.told.append))
        self.assertEqual(self.coalescer.refused, 1)

    def test_exchangesAreBounded(self) -> None:
        """
        Only so many questions may be under way; one that is already may still
        be joined.
        """
        for number in range(3):
            self.ask((b"\1%d\0" % number, TAIL, False, False))
        self.assertIsNone(self.coalescer.askInto(QUESTION, self.group, 10.0, self.told.append))
        self.assertEqual(self.coalescer.refused, 1)
        self.ask((b"\x010\0", TAIL, False, False))

    def test_cancelling(self) -> None:
        """
        One who gives up doesn't take the answer from the others; when all
        have, the upstream isn't waited for.
        """
        first = self.ask()
        self.ask()
        first.cancel()
        self.upstream.attempts[0].succeed(read(), 0.1)
        self.assertEqual([answer.outcome for answer in self.told], [Outcome.UPSTREAM])
        self.ask().cancel()
        self.assertEqual(self.upstream.abandoned, self.upstream.attempts[1:])
        self.assertEqual((len(self.coalescer), len(self.told)), (0, 1))

    def test_close(self) -> None:
        """
        Closing answers all that wait with a failure.
        """
        self.ask()
        self.coalescer.close()
        self.assertEqual([answer.outcome for answer in self.told], [Outcome.UPSTREAM_ERROR])
        self.assertEqual((len(self.coalescer), len(self.upstream.abandoned)), (0, 1))
