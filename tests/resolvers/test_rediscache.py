# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.resolvers.rediscache}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.clears import RecentClears
from dnsguard.caching.entry import Entry
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import DNSSEC_OK, Key
from dnsguard.caching.refresh import RefreshPolicy, Tier
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerCache, IAnswerer
from dnsguard.policy.view import View
from dnsguard.query import ClientQuery
from dnsguard.resolvers.chain import AnswererChain
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.resolvers.rediscache import REPLAY_SECONDS, RedisCacheResolver, Watch
from dnsguard.testing import FixedAnswerer, StillWaiting, askChain
from dnsguard.wire.edns import EDNS
from tests.redis.entries import POLICY, entryFor, keyFor

NAME = "www.example.org"
KEY = keyFor(NAME)


class Store:
    """
    A store of entries, of which the resolver needs two methods.

    @ivar failing: Fail lookups with this, unless it is L{None}.
    @ivar waiting: A lookup that takes its time.
    """

    def __init__(self) -> None:
        self.available = True
        self.entries: dict[Key, Entry] = {}
        self.asked: list[Key] = []
        self.failing: Exception | None = None
        self.waiting: Deferred[Entry | None] | None = None

    def get(self, key: Key) -> Deferred[Entry | None]:
        """
        Look up.
        """
        self.asked.append(key)
        if self.failing is not None:
            return fail(self.failing)
        return self.waiting or succeed(self.entries.get(key))

    def put(self, key: Key, entry: Entry) -> None:
        """
        Keep.
        """
        self.entries[key] = entry


class RedisCacheResolverTests(SynchronousTestCase):
    """
    Tests for L{RedisCacheResolver}, between a cache in memory and an upstream.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.store = Store()
        self.memory = MemoryCacheResolver(100, clock=self.clock, ttlPolicy=POLICY)
        self.shared = RedisCacheResolver(
            self.store,  # type: ignore[arg-type]
            clock=self.clock,
            ttlPolicy=POLICY,
            expiredEntryTTL=17,
        )
        entry = entryFor(KEY, 0.0, address="192.0.2.99")
        self.says = Answer.fromWire(
            entry.wire, entry.layout, outcome=Outcome.UPSTREAM, upstream="one", cacheSeconds=300
        )
        self.upstream = FixedAnswerer(lambda query: self.says)
        self.chain = AnswererChain([self.memory, self.shared, self.upstream], clock=self.clock)

    def ask(self, **facts: Any) -> Answer:
        """
        What the chain answers.
        """
        answer = askChain(self.chain, NAME, **facts)
        assert answer is not None
        return answer

    def put(self, age: float = 0.0) -> None:
        """
        Have an answer of that age in the store.
        """
        self.store.entries[KEY] = entryFor(KEY, self.clock.seconds() - age)

    def counted(self) -> tuple[int, int, int, int, int]:
        """
        Hits, stale hits, misses, failures, and queries skipped.
        """
        shared = self.shared
        return shared.hits, shared.staleHits, shared.misses, shared.failures, shared.skipped

    def test_interface(self) -> None:
        """
        It is an answerer and a cache.
        """
        verifyObject(IAnswerer, self.shared)
        verifyObject(IAnswerCache, self.shared)

    def test_hit(self) -> None:
        """
        What is in the store is answered with the time it has left, and then is
        in memory with the same.
        """
        self.put(age=100.0)
        answer = self.ask()
        self.assertEqual((answer.outcome, answer.cacheSeconds), (Outcome.CACHED, 200))
        self.assertEqual(answer.replaySeconds, REPLAY_SECONDS)
        self.clock.advance(50.0)
        answer = self.ask()
        self.assertEqual((answer.outcome, answer.cacheSeconds), (Outcome.CACHED, 150))
        self.assertEqual(len(self.store.asked), 1)
        self.assertEqual((self.upstream.queries, self.counted()), ([], (1, 0, 0, 0, 0)))

    def test_miss(self) -> None:
        """
        What isn't is asked for upstream, and kept.
        """
        self.assertEqual(self.ask().outcome, Outcome.UPSTREAM)
        self.assertEqual(self.counted(), (0, 0, 1, 0, 0))
        entry = self.store.entries[KEY]
        self.assertEqual((entry.remaining(1000.0), entry.upstream), (300.0, "one"))

    def test_hitIsntPutBack(self) -> None:
        """
        What came from the store isn't written to it again.
        """
        self.put()
        before = self.store.entries[KEY]
        self.ask()
        self.assertIs(self.store.entries[KEY], before)

    def test_variants(self) -> None:
        """
        Queries for DNSSEC data have answers of their own.
        """
        self.ask(edns=EDNS(dnssecOK=True))
        self.assertEqual(list(self.store.entries), [(*KEY[:3], DNSSEC_OK)])

    def test_failureIsntKept(self) -> None:
        """
        A failure is no answer.
        """
        self.says = Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
        self.assertEqual(self.ask().rCode, dns.ESERVER)
        self.assertEqual(self.store.entries, {})

    def test_staleAtBest(self) -> None:
        """
        A stale answer is used if upstream has none, and only as long as it may
        be.
        """
        self.put(age=400.0)
        self.assertEqual(self.ask().outcome, Outcome.UPSTREAM)
        self.assertEqual(self.counted(), (0, 1, 0, 0, 0))
        self.put(age=400.0)
        self.memory.clear()
        self.says = Answer.failure(dns.ESERVER, Outcome.SERVFAIL)
        answer = self.ask()
        self.assertEqual((answer.outcome, answer.cacheSeconds), (Outcome.STALE, -100))
        self.put(age=300.0 + POLICY.staleTTL + 1)
        self.assertEqual(self.ask().rCode, dns.ESERVER)

    def test_fresherThanMemory(self) -> None:
        """
        What is stale in memory, and another instance has fetched anew, is
        answered from the store.
        """
        self.ask()
        self.clock.advance(400.0)
        self.put()
        answer = self.ask()
        self.assertEqual((answer.outcome, answer.cacheSeconds), (Outcome.CACHED, 300))
        self.assertEqual(len(self.upstream.queries), 1)

    def test_away(self) -> None:
        """
        A store that is away isn't asked, nor given anything.
        """
        self.store.available = False
        self.assertEqual(self.ask().outcome, Outcome.UPSTREAM)
        self.assertEqual((self.store.asked, self.store.entries), ([], {}))
        self.assertEqual(self.counted(), (0, 0, 0, 0, 1))

    def test_fails(self) -> None:
        """
        A store that fails is no reason not to ask upstream.
        """
        self.store.failing = StoreError("redis", "no reply within 0.05 s")
        self.assertEqual(self.ask().outcome, Outcome.UPSTREAM)
        self.assertEqual(self.counted(), (0, 0, 0, 1, 0))

    def test_defect(self) -> None:
        """
        A defect isn't taken for a miss.
        """
        self.store.failing = ZeroDivisionError()
        self.assertEqual(self.ask().rCode, dns.ESERVER)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_waited(self) -> None:
        """
        A lookup that takes its time is waited for.
        """
        self.store.waiting = Deferred()
        self.assertRaises(StillWaiting, self.ask)

    def test_cleared(self) -> None:
        """
        An answer asked for before its name was cleared isn't kept.
        """
        clears = RecentClears()
        shared = RedisCacheResolver(
            self.store,  # type: ignore[arg-type]
            clock=self.clock,
            ttlPolicy=POLICY,
            clears=clears,
        )
        before = ClientQuery(KEY[0], KEY[1], received=self.clock.seconds())
        self.clock.advance(1)
        clears.add(KEY[0], False, self.clock.seconds())
        self.clock.advance(1)
        shared.cacheResult(before, self.says)
        self.assertEqual(self.store.entries, {})
        after = ClientQuery(KEY[0], KEY[1], received=self.clock.seconds())
        shared.cacheResult(after, self.says)
        self.assertEqual(list(self.store.entries), [KEY])

    def test_watched(self) -> None:
        """
        Whoever watches hears which answers are due, with the tier that comes
        of the hits; before that they count only.
        """
        rates: HitRates[Key] = HitRates(10, 60.0)
        due: list[tuple[Tier, float]] = []
        policy = RefreshPolicy(hotThresholdRate=3.0, hotTTLFraction=0.5, hitWindow=60.0)
        self.shared.watch(
            Watch(rates, policy, lambda query, tier, until: due.append((tier, until)))
        )
        self.put()
        for _ in range(4):
            self.memory.clear()
            self.ask()
        self.assertEqual(due, [])
        self.clock.advance(160.0)
        for _ in range(4):
            self.memory.clear()
            self.ask()
        self.assertEqual(due[-1], (Tier.HOT, 1300.0))

    def test_cacheDisabled(self) -> None:
        """
        A group that wants no cache has none.
        """
        view = View(1, cacheDisabled=True)
        self.put()
        self.assertEqual(self.ask(view=view).outcome, Outcome.UPSTREAM)
        self.assertEqual(self.store.asked, [])
        self.store.entries.clear()
        self.ask(view=view)
        self.assertEqual(self.store.entries, {})
