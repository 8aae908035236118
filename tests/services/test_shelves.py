# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.shelves}.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.candidate import Candidate, Standing
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key, keyOf
from dnsguard.caching.sliding import SlidingCounts
from dnsguard.query import ClientQuery
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.services.shelves import CHECKED, LocalShelf, SharedShelf
from dnsguard.wire.names import fromText
from tests.services.test_refresh import POLICY, fresh
from tests.support.answerstore import FakeAnswerStore, SharedAnswers


class ShelfCase(SynchronousTestCase):
    """
    A cache with names in it, one every ten seconds.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = MemoryCacheResolver(1000, clock=self.clock, ttlPolicy=POLICY)
        self.keys = []
        for number in range(5):
            query = ClientQuery(fromText(f"host{number}.example.org"))
            self.memory.cacheResult(query, fresh(query.qname))
            self.keys.append(keyOf(query))
            self.clock.advance(10)

    def run_(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """
        Run something with its turns.
        """
        running = Deferred.fromCoroutine(coroutine)
        for _ in range(20):
            self.clock.advance(0)
        return self.successResultOf(running)


class LocalShelfTests(ShelfCase):
    """
    Tests for L{LocalShelf}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.rates: HitRates[Key] = HitRates(100, 60.0)
        self.counts: SlidingCounts = SlidingCounts(100, 1000.0)
        self.shelf = LocalShelf(self.memory, self.rates, self.counts, self.clock)

    def test_candidates(self) -> None:
        """
        Candidates are what is fresh no longer than a time, in order, so many
        of them; they are given once.
        """
        self.run_(self.shelf.tidy(325.0, 2))
        found = self.run_(self.shelf.candidates(325.0, 2))
        self.assertEqual(found, [Candidate(self.keys[0], 300.0), Candidate(self.keys[1], 310.0)])
        self.assertEqual(self.run_(self.shelf.candidates(325.0, 2)), [])
        self.run_(self.shelf.tidy(325.0, 100))
        self.assertEqual(len(self.run_(self.shelf.candidates(325.0, 100))), 3)

    def test_standings(self) -> None:
        """
        A key's standing is what this process has counted; before a window has
        been counted, nothing is old.
        """
        self.rates.add(self.keys[0], 3.0, 50.0)
        self.counts.add(self.keys[0], 4.0, 50.0)
        gone = (fromText("gone.example.org"), 1, 1, 0)
        standings = self.run_(self.shelf.standings([self.keys[0], gone]))
        self.assertEqual(standings, [Standing(True, 50.0, 3, 4), Standing(False)])
        self.clock.advance(1000)
        (standing,) = self.run_(self.shelf.standings([self.keys[1]]))
        self.assertEqual(standing, Standing(True, 10.0, 0, 0))

    def test_leaves(self) -> None:
        """
        Answers that nobody asks for are left to expire; what isn't there
        needn't be dropped.
        """
        self.assertEqual(self.run_(self.shelf.delete(self.keys[:2])), 0)
        self.assertEqual(self.memory.statistics.entries, 5)
        self.assertEqual(self.run_(self.shelf.drop(self.keys[:2])), 2)

    def test_sample(self) -> None:
        """
        A sample is of all or of no more than so many.
        """
        self.assertEqual(self.run_(self.shelf.sample(5)), self.keys)
        self.assertEqual(self.run_(self.shelf.sample(2)), [self.keys[0], self.keys[3]])


class SharedShelfTests(ShelfCase):
    """
    Tests for L{SharedShelf}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.shared = SharedAnswers(self.clock)
        self.store = FakeAnswerStore(self.shared)
        self.shelf = SharedShelf(self.store, maxKeys=4)
        for key in self.keys:
            entry = self.memory.entry(key)
            assert entry is not None
            self.store.put(key, entry)

    def test_tidy(self) -> None:
        """
        The bound holds, the index is in order.
        """
        removed = self.run_(self.shelf.tidy(0.0, 1))
        self.assertEqual((removed.capEvicted, removed.reconciled), (1, 0))
        self.assertNotIn(self.keys[0], self.shared.entries)
        self.shelf.maxKeys = 0
        self.assertEqual(self.run_(self.shelf.tidy(0.0, 1)).total, 0)

    def test_inParts(self) -> None:
        """
        The store is asked about a bounded number of keys at a time.
        """
        many = [(fromText(f"many{number}.example.org"), 1, 1, 0) for number in range(CHECKED + 1)]
        before = self.shared.commands
        self.assertEqual(len(self.run_(self.shelf.standings(many))), CHECKED + 1)
        self.assertEqual(self.shared.commands, before + 2)
        self.assertEqual(self.run_(self.shelf.delete([*many, self.keys[0]])), 1)
        self.assertEqual(self.run_(self.shelf.drop([*many, self.keys[1]])), 1)

    def test_lists(self) -> None:
        """
        Candidates and samples come from the index.
        """
        (first, *_) = self.run_(self.shelf.candidates(325.0, 2))
        self.assertEqual(first, Candidate(self.keys[0], 300.0))
        self.assertEqual(self.run_(self.shelf.sample(2)), [self.keys[4], self.keys[3]])
