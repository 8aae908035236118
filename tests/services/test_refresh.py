# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.refresh}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.key import CHECKING_DISABLED, DNSSEC_OK, Key, keyOf
from dnsguard.caching.refresh import Tier
from dnsguard.caching.refreshstats import RefreshStatistics
from dnsguard.caching.servfail import BackoffTable
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answered
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.services.refresh import RefreshService, RefreshSettings, queryFor
from dnsguard.testing import FixedAnswerer
from dnsguard.wire.edns import EDNS
from dnsguard.wire.names import ROOT, fromText
from tests.caching.messages import A, message, record
from tests.support.answerstore import FakeAnswerStore, SharedAnswers

WWW = fromText("www.example.org")
QUERY = ClientQuery(WWW)
KEY = keyOf(QUERY)
POLICY = TTLPolicy(minTTL=300, maxTTL=3600)
SETTINGS = RefreshSettings(ttlPolicy=POLICY, maxInFlight=2)
SERVFAIL = Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
REFUSED = Answer.failure(dns.EREFUSED, Outcome.REFUSED)
UNREACHED = Answer.failure(dns.ESERVER, Outcome.UPSTREAM_ERROR, final=False)


def fresh(qname: bytes = WWW, ttl: int = 100, type: int = A) -> Answer:
    """
    An upstream's answer.
    """
    wire, layout = message([record(type, ttl, owner=qname)], qname=qname, type=type)
    return Answer.fromWire(wire, layout, outcome=Outcome.UPSTREAM, cacheSeconds=ttl)


class Instance:
    """
    A refresh service with its cache, and an upstream whose answers are the
    test's.
    """

    def __init__(self, clock: Clock, store: FakeAnswerStore | None = None) -> None:
        self.clock = clock
        self.waiting: list[Deferred[Answer | None]] = []
        self.upstream = FixedAnswerer(self._answer)
        self.memory = MemoryCacheResolver(100, clock=clock, ttlPolicy=POLICY)
        self.backoff: BackoffTable[Key] = BackoffTable(60.0, refreshThreshold=3)
        self.statistics = RefreshStatistics(0.0)
        self.replaced: list[bytes] = []
        self.store = store
        self.service = RefreshService(
            self.upstream,
            self.memory,
            self.backoff,
            clock,
            settings=SETTINGS,
            statistics=self.statistics,
            wallClock=clock.seconds,
            store=store,
            clears=self.memory.clears,
            onRefreshed=self.replaced.append,
        )
        self.service.startService()

    def _answer(self, query: ClientQuery) -> Answered:
        answer: Deferred[Answer | None] = Deferred()
        self.waiting.append(answer)
        return answer

    def reply(self, answer: Answer | None) -> None:
        """
        Answer what was asked first.
        """
        self.waiting.pop(0).callback(answer)

    @property
    def softExpiry(self) -> float:
        """
        Until when the answer is fresh.
        """
        entry = self.memory.entry(KEY)
        assert entry is not None
        return entry.softExpiry


class QueryForTests(SynchronousTestCase):
    """
    Tests for L{queryFor}.
    """

    def test_variants(self) -> None:
        """
        The query for a key has that key, its DO and CD bits included.
        """
        for flags in (0, DNSSEC_OK, CHECKING_DISABLED, DNSSEC_OK | CHECKING_DISABLED):
            key = (WWW, 28, 1, flags)
            self.assertEqual(keyOf(queryFor(key, 0.0)), key)
        self.assertIsNone(queryFor(KEY, 0.0).edns)


class RefreshTests(SynchronousTestCase):
    """
    Tests for L{RefreshService} alone in its process.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.instance = Instance(self.clock)
        self.service = self.instance.service
        self.instance.memory.cacheResult(QUERY, fresh())
        self.clock.advance(250)

    def counters(self, *names: str) -> tuple[int, ...]:
        """
        Some of the counters.
        """
        return tuple(getattr(self.service.counters, name) for name in names)

    def test_renews(self) -> None:
        """
        What is due is asked of upstream and kept anew, and whoever holds
        replies made of the old answer is told.
        """
        self.service.due(QUERY, Tier.WARM)
        self.assertEqual([keyOf(query) for query in self.instance.upstream.queries], [KEY])
        self.assertEqual((len(self.service), self.instance.replaced), (1, []))
        self.clock.advance(1)
        self.instance.reply(fresh())
        self.assertEqual(self.instance.softExpiry, 251 + 300)
        self.assertEqual(self.instance.replaced, [WWW])
        self.assertEqual(self.counters("asked", "started", "refreshed"), (1, 1, 1))
        self.assertEqual(self.instance.statistics.requestedLately(Tier.WARM, 251.0), 1)
        entry = self.instance.memory.entry(KEY)
        assert entry is not None
        self.assertEqual(entry.createdAt, 0.0)
        self.assertEqual(len(self.service), 0)

    def test_hotKeepsItsOwnTTL(self) -> None:
        """
        A hot key isn't kept for longer than it is true.
        """
        self.service.due(QUERY, Tier.HOT)
        self.instance.reply(fresh(ttl=20))
        self.assertEqual(self.instance.softExpiry, 250 + 20)

    def test_variantsStay(self) -> None:
        """
        A refresh asks with the DO and CD bits the client had.
        """
        query = ClientQuery(WWW, edns=EDNS(dnssecOK=True), checkingDisabled=True)
        self.service.due(query, Tier.HOT)
        (asked,) = self.instance.upstream.queries
        self.assertEqual((asked.dnssecOK, asked.checkingDisabled), (True, True))

    def test_onceAtATime(self) -> None:
        """
        However often a key is found due, it is fetched once.
        """
        for _ in range(3):
            self.service.due(QUERY, Tier.HOT)
        self.assertEqual(self.counters("started", "locked"), (1, 2))
        self.instance.reply(fresh())
        self.service.due(QUERY, Tier.HOT)
        self.assertEqual(self.counters("started"), (2,))

    def test_bounded(self) -> None:
        """
        No more than so many are under way.
        """
        for number in range(4):
            self.service.due(ClientQuery(fromText(f"host{number}.example.org")), Tier.HOT)
        self.assertEqual(self.counters("started", "full"), (2, 2))

    def test_rootIsLeftAlone(self) -> None:
        """
        The root isn't refreshed.
        """
        self.service.due(ClientQuery(ROOT, dns.NS), Tier.HOT)
        self.assertEqual(self.counters("started"), (0,))

    def test_disabled(self) -> None:
        """
        Switched off or stopped, nothing is refreshed.
        """
        self.service.reconfigure(RefreshSettings(enabled=False))
        self.service.due(QUERY, Tier.HOT)
        self.service.reconfigure(SETTINGS)
        self.successResultOf(self.service.stopService())
        self.service.due(QUERY, Tier.HOT)
        self.assertEqual(self.counters("started"), (0,))

    def test_servfail(self) -> None:
        """
        SERVFAIL leaves the old answer, holds the key for the backoff, and for
        good after so many in a row, until a client's query succeeds.
        """
        before = self.instance.softExpiry
        for count in range(1, 4):
            self.service.due(QUERY, Tier.HOT)
            self.instance.reply(SERVFAIL)
            self.service.due(QUERY, Tier.HOT)
            self.assertEqual(self.counters("started", "held"), (count, count))
            self.clock.advance(61)
        self.service.due(QUERY, Tier.HOT)
        self.assertEqual(self.counters("started", "held", "servfail"), (3, 4, 3))
        self.assertEqual(self.instance.softExpiry, before)
        self.instance.backoff.succeeded(KEY)
        self.service.due(QUERY, Tier.HOT)
        self.assertEqual(self.counters("started"), (4,))

    def test_refused(self) -> None:
        """
        REFUSED leaves the old answer, and isn't asked for again at once.
        """
        before = self.instance.softExpiry
        self.service.due(QUERY, Tier.HOT)
        self.instance.reply(REFUSED)
        self.service.due(QUERY, Tier.HOT)
        self.assertEqual(self.counters("started", "refused", "locked"), (1, 1, 1))
        self.assertEqual(self.instance.softExpiry, before)
        self.clock.advance(10)
        self.service.due(QUERY, Tier.HOT)
        self.assertEqual(self.counters("started"), (2,))

    def test_unreachable(self) -> None:
        """
        When no upstream answers, that is logged once a minute, however many
        keys it is.
        """
        with capturedLogs() as logs:
            for number in range(5):
                self.service.due(ClientQuery(fromText(f"host{number}.example.org")), Tier.HOT)
                self.instance.reply(UNREACHED)
        self.assertEqual(len(logs), 1)
        self.assertEqual(self.counters("failed", "refreshed"), (5, 0))
        self.assertEqual(self.instance.backoff.counted, 0)

    def test_brokenUpstream(self) -> None:
        """
        An exception is logged, and the place of the refresh is free again.
        """
        self.service.due(QUERY, Tier.HOT)
        self.instance.waiting.pop().errback(ZeroDivisionError())
        self.assertEqual((self.counters("broken"), len(self.service)), ((1,), 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_notForwarded(self) -> None:
        """
        What is forwarded nowhere, or isn't to be kept, changes nothing.
        """
        before = self.instance.softExpiry
        self.service.due(QUERY, Tier.HOT)
        self.instance.reply(None)
        self.clock.advance(10)
        self.service.due(QUERY, Tier.HOT)
        self.instance.reply(fresh(ttl=0))
        self.assertEqual(self.counters("notKept", "refreshed"), (1, 0))
        self.assertEqual(self.instance.softExpiry, before)

    def test_clearedMeanwhile(self) -> None:
        """
        What is cleared while it is fetched isn't brought back.
        """
        self.service.due(QUERY, Tier.HOT)
        self.clock.advance(0.1)
        self.instance.memory.forget(WWW)
        self.clock.advance(0.1)
        self.instance.reply(fresh())
        self.assertIsNone(self.instance.memory.entry(KEY))
        self.assertEqual(self.counters("overtaken"), (1,))

    def test_stop(self) -> None:
        """
        Stopping waits for nothing but the end of what it gives up.
        """
        self.service.due(QUERY, Tier.HOT)
        stopping = self.service.stopService()
        self.successResultOf(stopping)
        self.assertEqual((len(self.service), self.counters("broken")), (0, (0,)))


class SharedRefreshTests(SynchronousTestCase):
    """
    Tests for L{RefreshService} among several instances.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.shared = SharedAnswers(self.clock)
        self.one = Instance(self.clock, FakeAnswerStore(self.shared))
        self.two = Instance(self.clock, FakeAnswerStore(self.shared))
        self.one.memory.cacheResult(QUERY, fresh())
        entry: Any = self.one.memory.entry(KEY)
        self.two.memory.keepEntry(KEY, entry)
        self.one.service._store.put(KEY, entry)  # type: ignore[union-attr]
        self.clock.advance(250)

    def test_onceBetweenThem(self) -> None:
        """
        Of two instances that find a key due, one fetches it, and the other one
        takes that over when it finds it due again.
        """
        self.one.service.due(QUERY, Tier.HOT)
        self.two.service.due(QUERY, Tier.HOT)
        self.assertEqual((len(self.one.waiting), len(self.two.waiting)), (1, 0))
        self.assertEqual(self.two.service.counters.locked, 1)
        self.one.reply(fresh())
        self.assertEqual(self.shared.entries[KEY].softExpiry, 350)
        self.assertEqual(self.shared.locks, {})
        # The one that was too late waits until its own lock ends.
        self.clock.advance(10)
        self.two.service.due(QUERY, Tier.HOT)
        self.assertEqual(self.two.waiting, [])
        self.assertEqual(self.two.service.counters.adopted, 1)
        self.assertEqual((self.two.softExpiry, self.two.replaced), (350, [WWW]))

    def test_storeAway(self) -> None:
        """
        Without the store, or when it fails, each refreshes with its own
        locks.
        """
        store = self.one.store
        assert store is not None
        store.available = False
        self.one.service.due(QUERY, Tier.HOT)
        self.one.service.due(QUERY, Tier.HOT)
        self.one.reply(fresh())
        self.assertEqual(self.one.softExpiry, 350)
        store.available = store.broken = True
        self.one.service.due(QUERY, Tier.HOT)
        self.one.reply(fresh())
        self.assertEqual(self.one.service.counters.refreshed, 2)

    def test_lateUnlock(self) -> None:
        """
        Whoever was so slow that its lock ended doesn't take the next one's
        away.
        """
        self.one.service.due(QUERY, Tier.HOT)
        self.clock.advance(11)
        self.two.service.due(QUERY, Tier.HOT)
        held = self.shared.locks[KEY]
        self.one.reply(fresh())
        self.assertEqual(self.shared.locks[KEY], held)
