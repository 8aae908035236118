# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.cachestate}.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.assembly.cachestate import GuardCaches
from dnsguard.errors import StoreError
from tests.support.control import Server


class GuardCachesTests(SynchronousTestCase):
    """
    Tests for L{GuardCaches}, with a shared store made up.
    """

    def setUp(self) -> None:
        server = Server(Path(self.enterContext(tempfile.TemporaryDirectory())))
        self.guard: Any = server.guard
        self.keys: Deferred[int] = succeed(42)
        self.caches = GuardCaches(self.guard)

    def share(self) -> None:
        """
        Have a shared store.
        """
        store = SimpleNamespace(count=lambda: self.keys)
        tier = SimpleNamespace(hits=5, staleHits=1, misses=4)
        self.guard.redis = SimpleNamespace(store=store)
        self.guard.chain = SimpleNamespace(shared=tier)
        self.guard.caches._shelf = SimpleNamespace(maxKeys=100)

    def test_alone(self) -> None:
        """
        Without a shared store nothing is told of one, and it has no bound.
        """
        told = self.successResultOf(self.caches.stats())
        self.assertNotIn("redis_keys", told)
        self.assertNotIn("l1", told["tiers"])
        self.assertFalse(self.caches.setMaxKeys(7))

    def test_shared(self) -> None:
        """
        With one its hits, keys and bound are told; the bound can be changed.
        """
        self.share()
        self.assertTrue(self.caches.setMaxKeys(7))
        told = self.successResultOf(self.caches.stats())
        self.assertEqual((told["redis_keys"], told["redis_max_keys"]), (42, 7))
        self.assertEqual(told["tiers"]["l1"], {"hits": 6, "misses": 4, "hit_rate": 60.0})
        self.assertEqual((told["hits"], told["misses"]), (6, 4))

    def test_storeAway(self) -> None:
        """
        While it is away nobody knows how many keys it has; all else is told.
        """
        self.share()
        self.keys = fail(StoreError("redis", "away"))
        told = self.successResultOf(self.caches.stats())
        self.assertNotIn("redis_keys", told)
        self.assertEqual(told["redis_max_keys"], 100)
