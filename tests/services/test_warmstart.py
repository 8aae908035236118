# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.warmstart}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.key import keyOf
from dnsguard.query import ClientQuery
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.services.warmstart import WarmStart
from dnsguard.wire.names import fromText
from tests.services.test_refresh import POLICY, fresh
from tests.support.answerstore import FakeAnswerStore, SharedAnswers


class WarmStartTests(SynchronousTestCase):
    """
    Tests for L{WarmStart}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.shared = SharedAnswers(self.clock)
        self.store = FakeAnswerStore(self.shared)
        other = MemoryCacheResolver(1000, clock=self.clock, ttlPolicy=POLICY)
        self.keys = []
        for number in range(250):
            query = ClientQuery(fromText(f"host{number}.example.org"))
            other.cacheResult(query, fresh(query.qname))
            entry = other.entry(keyOf(query))
            assert entry is not None
            self.store.put(keyOf(query), entry)
            self.keys.append(keyOf(query))
        self.memory = MemoryCacheResolver(1000, clock=self.clock, ttlPolicy=POLICY)

    def start(self, most: int = 1000) -> WarmStart:
        """
        Start it.
        """
        service = WarmStart(self.store, self.memory, self.clock, most)
        service.startService()
        self.addCleanup(service.stopService)
        self.clock.pump([0.0] * 20)
        return service

    def test_takesOver(self) -> None:
        """
        What the store has is in the cache, with the times it has there.
        """
        self.clock.advance(100)
        self.assertEqual(self.start().restored, 250)
        entry = self.memory.entry(self.keys[0])
        assert entry is not None
        self.assertEqual(entry.remaining(100.0), 200.0)

    def test_theBest(self) -> None:
        """
        No more than so many are taken over: those asked for most.
        """
        for key in self.keys[50:60]:
            self.shared.hits[key] = 7
        self.start(most=10)
        self.assertEqual(set(self.memory.keys()), set(self.keys[50:60]))

    def test_nothingStale(self) -> None:
        """
        What isn't fresh any more stays where it is.
        """
        self.clock.advance(301)
        self.assertEqual(self.start().restored, 0)

    def test_waitsForTheStore(self) -> None:
        """
        A store that is there a little later is waited for; one that isn't, is
        not for ever.
        """
        self.store.available = False
        service = self.start()
        self.clock.pump([0.25] * 8)
        self.store.available = True
        self.clock.pump([0.25] * 10)
        self.assertEqual(service.restored, 250)
        self.store.available = False
        self.start()
        self.clock.pump([0.25] * 130)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_storeFails(self) -> None:
        """
        A store that goes away meanwhile ends it, without a fuss.
        """
        self.store.broken = True
        self.assertEqual(self.start().restored, 0)

    def test_stoppedMeanwhile(self) -> None:
        """
        So does a stop while answers are waited for.
        """
        self.patch(self.store, "get", lambda key: Deferred())
        service = self.start()
        service.stopService()
        self.assertEqual((service.restored, self.clock.getDelayedCalls()), (0, []))
        self.assertEqual(self.flushLoggedErrors(), [])
