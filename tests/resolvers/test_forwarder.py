# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.forwarder}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.interfaces import IAnswerer, IPromptAnswerer
from dnsguard.query import ClientQuery
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.upstream.exchange import Group
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.upstream.selection import Strategy
from dnsguard.upstream.waiter import Waiter
from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.layout import scan
from dnsguard.wire.names import ROOT, fromText
from tests.support.upstreams import QNAME, FakeUpstream, read


def group(*upstreams: FakeUpstream) -> Group:
    return Group.of(Strategy.FAILOVER, upstreams)


class ForwardingResolverTests(SynchronousTestCase):
    """
    Tests for L{ForwardingResolver}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.first = FakeUpstream("first")
        self.inner = FakeUpstream("inner")
        self.resolver = self.build(
            {
                ROOT: group(self.first),
                fromText("lab.example.org"): group(self.inner),
                fromText("private.example.org"): group(),
            }
        )

    def build(self, groups: dict[bytes, Group], **options: Any) -> ForwardingResolver:
        return ForwardingResolver(UpstreamSet(groups), clock=self.clock, **options)

    def ask(self, name: str = "www.example.org", **facts: Any) -> Deferred[Answer | None]:
        """
        Ask what is to be forwarded.
        """
        asked = self.resolver.answer(ClientQuery(fromText(name), **facts))
        assert isinstance(asked, Deferred)
        return asked

    def answered(self, asked: Deferred[Answer | None]) -> Answer:
        """
        The answer, which is there.
        """
        answer = self.successResultOf(asked)
        assert answer is not None
        return answer

    def test_interface(self) -> None:
        """
        It answers with and without Deferreds.
        """
        verifyObject(IAnswerer, self.resolver)
        verifyObject(IPromptAnswerer, self.resolver)

    def test_withoutDeferred(self) -> None:
        """
        Asked without a Deferred it tells the answer, and shares exchanges with
        those who want one; who cancels isn't told.
        """
        told: list[Answer | None] = []
        deferred = self.ask()
        waiters = [self.resolver.answerInto(ClientQuery(QNAME), told.append) for _ in range(2)]
        assert isinstance(waiters[1], Waiter)
        waiters[1].cancel()
        (attempt,) = self.first.attempts
        attempt.succeed(read(), 100.1)
        self.assertEqual(told, [self.answered(deferred)])

    def test_cancel(self) -> None:
        """
        The question is given up when all who asked have given up.
        """
        deferred = self.ask()
        waiter = self.resolver.answerInto(ClientQuery(QNAME), lambda _: None)
        assert isinstance(waiter, Waiter)
        waiter.cancel()
        self.assertEqual(self.first.abandoned, [])
        deferred.cancel()
        self.failureResultOf(deferred, CancelledError)
        self.assertEqual(self.first.abandoned, self.first.attempts)

    def test_forwards(self) -> None:
        """
        The upstream's reply is the answer.
        """
        asked = self.ask()
        self.first.attempts[0].succeed(read(), 100.1)
        answer = self.answered(asked)
        self.assertEqual((answer.outcome, answer.upstream), (Outcome.UPSTREAM, "first"))
        answers, _, _ = answer
        self.assertEqual(answers[0].payload, dns.Record_A("192.0.2.1", 60))

    def test_asksWhatTheClientAsked(self) -> None:
        """
        Name, type, class, DO and CD are the client's; nothing else of its
        EDNS is.
        """
        edns = EDNS(dnssecOK=True, options=((10, b"cookie"), (8, b"subnet")))
        self.ask(type=dns.AAAA, cls=dns.CH, edns=edns, checkingDisabled=True)
        exchange = self.first.attempts[0].exchange
        self.assertEqual(exchange.question, (QNAME, b"\0\x1c\0\3", True, True))
        self.ask(edns=EDNS(options=((10, b"cookie"),)))
        self.ask()
        self.assertEqual(len(self.first.attempts), 2)
        self.assertEqual(self.first.attempts[1].exchange.question[2:], (False, False))

    def test_conditionalForwarding(self) -> None:
        """
        Names of a domain with upstreams of its own go there and nowhere else.
        """
        asked = self.ask("host.lab.example.org")
        self.assertEqual((len(self.first.attempts), len(self.inner.attempts)), (0, 1))
        self.inner.attempts[0].succeed(read(rCode=2, answers=()), 100.1)
        self.assertEqual(self.answered(asked).outcome, Outcome.SERVFAIL)
        self.assertEqual(self.first.attempts, [])

    def test_unforwardedDomain(self) -> None:
        """
        Names of a domain that isn't to be forwarded don't exist, and for how
        long is said.
        """
        query = ClientQuery(fromText("www.private.example.org"))
        answer = self.resolver.answer(query)
        assert isinstance(answer, Answer)
        self.assertEqual((answer.rCode, answer.outcome), (dns.ENAME, Outcome.LOCAL))
        self.assertEqual(answer.extendedError, ExtendedError(15, "not forwarded"))
        self.assertTrue(answer.final)
        layout = scan(answer.encoded(query.question)[0])
        self.assertEqual((layout.counts, layout.negativeTTL), ((1, 0, 1, 0), 3600))
        self.assertEqual(answer[1][0].name.name, b"private.example.org")
        self.assertEqual(self.resolver.unforwarded, 1)

    def test_unforwardedRoot(self) -> None:
        """
        That holds for all names, too.
        """
        self.resolver = self.build({ROOT: group()})
        query = ClientQuery(fromText("www.example.org"))
        answer = self.resolver.answer(query)
        assert isinstance(answer, Answer)
        self.assertEqual(scan(answer.encoded(query.question)[0]).counts, (1, 0, 1, 0))

    def test_nobodyToAsk(self) -> None:
        """
        Where there is no upstream, it is somebody else's question.
        """
        self.resolver = self.build({fromText("lab.example.org"): group(self.inner)})
        self.assertIsNone(self.resolver.answer(ClientQuery(QNAME)))

    def test_deadline(self) -> None:
        """
        The timeout is for everything.
        """
        self.resolver = self.build({ROOT: group(self.first)}, timeout=4.0)
        self.ask()
        self.assertEqual(self.first.attempts[0].deadline, 104.0)

    def test_impatience(self) -> None:
        """
        A caller may have less patience, but not more.
        """
        self.ask("a.example.org", timeout=(1, 2))
        self.ask("b.example.org", timeout=(100, 200))
        self.assertEqual([each.deadline for each in self.first.attempts], [103.0, 110.0])

    def test_tooMuch(self) -> None:
        """
        Too many questions are answered with SERVFAIL at once.
        """
        self.resolver = self.build({ROOT: group(self.first)}, maxExchanges=1)
        self.ask()
        answer = self.resolver.answer(ClientQuery(fromText("other.example.org")))
        assert isinstance(answer, Answer)
        self.assertEqual((answer.rCode, answer.outcome), (dns.ESERVER, Outcome.UPSTREAM_ERROR))
        self.assertEqual(answer.extendedError, ExtendedError(23, "too many queries under way"))
        self.assertFalse(answer.final)

    def test_replaceUpstreams(self) -> None:
        """
        New questions go to the new upstreams; the old ones finish what is
        under way.
        """
        asked = self.ask()
        self.resolver.replaceUpstreams(UpstreamSet({ROOT: group(self.inner)}))
        self.assertEqual((self.first.retired, self.inner.retired), (True, False))
        self.ask("other.example.org")
        self.assertEqual(len(self.inner.attempts), 1)
        self.first.attempts[0].succeed(read(), 100.1)
        self.assertEqual(self.answered(asked).upstream, "first")

    def test_replaceAgain(self) -> None:
        """
        Upstreams that have retired are closed at the next replacement, or
        with all others.
        """
        upstreams = [FakeUpstream(str(number)) for number in range(3)]
        for upstream in upstreams:
            self.resolver.replaceUpstreams(UpstreamSet({ROOT: group(upstream)}))
        self.assertEqual([each.closed for each in upstreams], [True, False, False])
        self.assertEqual([each.retired for each in upstreams], [True, True, False])
        self.successResultOf(self.resolver.close())
        self.assertEqual([each.closed for each in upstreams], [True, True, True])

    def test_close(self) -> None:
        """
        Closing answers those who wait, and closes the upstreams.
        """
        asked = self.ask()
        self.successResultOf(self.resolver.close())
        self.assertEqual(self.answered(asked).outcome, Outcome.UPSTREAM_ERROR)
        self.assertTrue(self.first.closed)
