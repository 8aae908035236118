# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.backoff}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.key import Key
from dnsguard.caching.servfail import BackoffTable
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.interfaces import IAnswerCache, IAnswerer
from dnsguard.policy.view import View
from dnsguard.query import ClientQuery
from dnsguard.resolvers.backoff import BackoffResolver
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.testing import FixedAnswerer, askChain
from dnsguard.wire.edns import EDNS, ExtendedError
from dnsguard.wire.names import fromText
from tests.caching.messages import A, message, record

NAME = "www.example.org"
QUERY = ClientQuery(fromText(NAME))

SERVFAIL = Answer.failure(dns.ESERVER, Outcome.SERVFAIL, upstream="one", final=False)
UNREACHABLE = Answer.failure(dns.ESERVER, Outcome.UPSTREAM_ERROR, final=False)
FOUND = Answer.fromRecords([], outcome=Outcome.UPSTREAM)


class BackoffResolverTests(SynchronousTestCase):
    """
    Tests for L{BackoffResolver}, in a chain before an upstream.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.table: BackoffTable[Key] = BackoffTable(60.0)
        self.backoff = BackoffResolver(self.table, clock=self.clock)
        self.says = SERVFAIL
        self.upstream = FixedAnswerer(lambda query: self.says)
        self.chain = AnswererChain([self.backoff, self.upstream])

    def ask(self, name: str = NAME, **facts: Any) -> Outcome:
        """
        Ask the chain how it answers.
        """
        answer = askChain(self.chain, name, **facts)
        assert answer is not None
        return answer.outcome

    def test_interface(self) -> None:
        """
        It is an answerer and learns as a cache does.
        """
        verifyObject(IAnswerer, self.backoff)
        verifyObject(IAnswerCache, self.backoff)

    def test_leavesUpstreamAlone(self) -> None:
        """
        After a SERVFAIL upstream isn't asked for that name for a while.
        """
        outcomes = [self.ask() for _ in range(3)]
        self.assertEqual(
            outcomes, [Outcome.SERVFAIL, Outcome.SERVFAIL_BACKOFF, Outcome.SERVFAIL_BACKOFF]
        )
        self.assertEqual((len(self.upstream.queries), self.backoff.answered), (1, 2))
        self.clock.advance(60)
        self.assertEqual(self.ask(), Outcome.SERVFAIL)

    def test_whatItSays(self) -> None:
        """
        It answers SERVFAIL for good, and says that the error was cached.
        """
        self.ask()
        answer = self.backoff.answer(QUERY)
        assert answer is not None
        self.assertEqual((answer.rCode, answer.final), (dns.ESERVER, True))
        self.assertEqual(answer.extendedError, ExtendedError(13, "Cached Error"))
        self.assertEqual((answer.cacheSeconds, answer.replaySeconds), (0, 0))

    def test_otherNamesAndVariants(self) -> None:
        """
        Other names, types and variants aren't in backoff.
        """
        self.ask()
        self.says = FOUND
        self.assertEqual(self.ask("example.org"), Outcome.UPSTREAM)
        self.assertEqual(self.ask(type=dns.MX), Outcome.UPSTREAM)
        self.assertEqual(self.ask(checkingDisabled=True), Outcome.UPSTREAM)
        self.assertEqual(self.ask(edns=EDNS(dnssecOK=True)), Outcome.UPSTREAM)

    def test_answerEndsIt(self) -> None:
        """
        An answer, NXDOMAIN too, forgets what failed before.
        """
        for code in (dns.OK, dns.ENAME):
            self.table.failed((QUERY.qname, QUERY.type, QUERY.cls, 0), 0.0, refresh=True)
            self.backoff.cacheResult(QUERY, FOUND.replace(rCode=code))
            self.assertEqual((len(self.table), self.table.counted), (0, 0))
            self.assertIsNone(self.backoff.answer(QUERY))

    def test_answerEndsCounting(self) -> None:
        """
        An answer forgets failed refreshes where no key is ever in backoff.
        """
        self.table.reconfigure(0.0, 1)
        self.table.failed((QUERY.qname, QUERY.type, QUERY.cls, 0), 0.0, refresh=True)
        self.assertEqual((len(self.table), self.table.counted), (0, 1))
        self.backoff.cacheResult(QUERY, FOUND)
        self.assertEqual(self.table.counted, 0)

    def test_unreachable(self) -> None:
        """
        That no upstream could be reached is kept for a second only.
        """
        self.says = UNREACHABLE
        self.assertEqual(
            [self.ask() for _ in range(2)], [Outcome.UPSTREAM_ERROR, Outcome.SERVFAIL_BACKOFF]
        )
        self.clock.advance(1)
        self.says = FOUND
        self.assertEqual(self.ask(), Outcome.UPSTREAM)
        self.assertEqual(len(self.table), 0)

    def test_unreachableNotKept(self) -> None:
        """
        Or not at all.
        """
        self.backoff = BackoffResolver(self.table, clock=self.clock, unreachableSeconds=0.0)
        self.chain = AnswererChain([self.backoff, self.upstream])
        self.says = UNREACHABLE
        self.assertEqual([self.ask() for _ in range(2)], [Outcome.UPSTREAM_ERROR] * 2)

    def test_otherFailuresAreNotLearnt(self) -> None:
        """
        REFUSED says nothing of the name, nor do its own answers.
        """
        self.says = Answer.failure(dns.EREFUSED, Outcome.REFUSED)
        self.assertEqual([self.ask() for _ in range(2)], [Outcome.REFUSED] * 2)
        own = Answer.failure(dns.ESERVER, Outcome.SERVFAIL_BACKOFF)
        self.backoff.cacheResult(QUERY, own)
        self.assertEqual(len(self.table), 0)

    def test_groupsWithoutCache(self) -> None:
        """
        Groups without cache ask upstream each time, and teach it nothing.
        """
        view = View(1, cacheDisabled=True)
        self.assertEqual([self.ask(view=view) for _ in range(2)], [Outcome.SERVFAIL] * 2)
        self.assertEqual(len(self.table), 0)
        self.ask()
        self.assertEqual(self.ask(view=view), Outcome.SERVFAIL)

    def test_staleAnswerBeatsIt(self) -> None:
        """
        What a cache has in stale form is answered with that during a backoff,
        and upstream is left alone.
        """
        wire, layout = message([record(A, 60)])
        found = Answer.fromWire(wire, layout, outcome=Outcome.UPSTREAM, cacheSeconds=60)
        memory = MemoryCacheResolver(10, clock=self.clock, ttlPolicy=TTLPolicy(minTTL=0))
        self.chain = AnswererChain([memory, self.backoff, self.upstream], clock=self.clock)
        self.says = found
        self.ask()
        self.clock.advance(61)
        self.says = SERVFAIL
        self.assertEqual([self.ask() for _ in range(3)], [Outcome.STALE] * 3)
        self.assertEqual(len(self.upstream.queries), 2)
        self.clock.advance(60)
        self.says = found
        self.assertEqual([self.ask() for _ in range(2)], [Outcome.UPSTREAM, Outcome.CACHED])

    def test_logsOnceAKey(self) -> None:
        """
        A warning names the upstream and the name, once an interval.
        """
        events: list[LogEvent] = []

        @implementer(ILogObserver)
        def note(event: LogEvent) -> None:
            events.append(event)

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        for _ in range(3):
            self.backoff.cacheResult(QUERY, SERVFAIL)
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1)
        self.assertEqual((warnings[0]["upstream"], warnings[0]["name"]), ("one", NAME))

    def test_withoutClock(self) -> None:
        """
        Without a clock the machine's is used.
        """
        self.chain = AnswererChain([BackoffResolver(self.table), self.upstream])
        self.assertEqual(
            [self.ask() for _ in range(2)], [Outcome.SERVFAIL, Outcome.SERVFAIL_BACKOFF]
        )
