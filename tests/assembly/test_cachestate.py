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
from dnsguard.processes.counts import Counts
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

    def test_processes(self) -> None:
        """
        With other processes their hits are told, too; a bound set by hand is
        passed on to them.
        """
        self.share()
        others = self.help()
        others.found = [
            Counts({}, {"hits": 9, "misses": 0, "tiers": {"l1": {"hits": 9, "misses": 0}}})
        ]
        told = self.successResultOf(self.caches.stats())
        self.assertEqual((told["hits"], told["hit_rate"]), (15, 78.95))
        self.assertEqual(told["tiers"]["l1"]["hits"], 15)
        self.assertEqual((told["redis_keys"], told["redis_max_keys"]), (42, 100))
        self.assertTrue(self.caches.setMaxKeys(7))
        self.assertEqual((others.changes, self.guard.wishes.maxKeys), (1, 7))
        other = SimpleNamespace(counts=Counts({}, {}, {"sweeps_24h": 3}))
        others.helpers = [other, other]
        self.assertEqual(self.caches.refreshStats()["sweeps_24h"], 6)

    def test_clearsEverywhere(self) -> None:
        """
        Clearing clears this process first, then the others; also where what is
        shared can't be cleared, which is told.
        """
        others = self.help()
        said: list[str] = []
        results: list[Deferred[int]] = [succeed(3), succeed(9), fail(StoreError("redis", "away"))]

        def clear(*arguments: Any) -> Deferred[int]:
            said.append("here")
            return results.pop(0)

        def clearOthers(qname: bytes | None, below: bool) -> Deferred[int]:
            said.append(f"there {qname!r} {below}")
            return succeed(5)

        others.clear = clearOthers
        self.guard.caches.clearing = SimpleNamespace(clear=clear, forget=clear, forgetBelow=clear)
        clearing = self.caches.clearing
        self.assertEqual(self.successResultOf(clearing.clear()), 5)
        self.assertEqual(self.successResultOf(clearing.forget(b"\1a\0")), 9)
        self.failureResultOf(clearing.forgetBelow(b"\1b\0"), StoreError)
        self.assertEqual(
            said,
            [
                "here",
                "there None False",
                "here",
                "there b'\\x01a\\x00' False",
                "here",
                "there b'\\x01b\\x00' True",
            ],
        )

    def help(self) -> Any:
        """
        Have other processes.
        """
        others: Any = SimpleNamespace(found=[], changes=0, helpers=[])
        others.counts = lambda: succeed(others.found)

        def changed() -> None:
            others.changes += 1

        others.changed = changed
        self.guard.listeners.inner.helpers = others
        return others

    def test_storeAway(self) -> None:
        """
        While it is away nobody knows how many keys it has; all else is told.
        """
        self.share()
        self.keys = fail(StoreError("redis", "away"))
        told = self.successResultOf(self.caches.stats())
        self.assertNotIn("redis_keys", told)
        self.assertEqual(told["redis_max_keys"], 100)
