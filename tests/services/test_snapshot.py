# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.snapshot}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key, keyOf
from dnsguard.query import ClientQuery
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.services.snapshot import SnapshotService, SnapshotSettings
from dnsguard.wire.names import fromText
from tests.services.test_refresh import POLICY, fresh
from tests.support.threads import PromptPool, PromptReactor

EPOCH = 1_700_000_000.0


class Reactor(PromptReactor):
    """
    A clock with a pool.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = PromptPool()

    def getThreadPool(self) -> PromptPool:
        """
        Give the pool.
        """
        return self.pool


class Run:
    """
    One run of a process, with a cache and its snapshot.

    @ivar uptime: Seconds its clock showed when the wall clock showed the epoch.
    """

    def __init__(self, path: Path, at: float = 0.0, **settings: Any) -> None:
        self.reactor = Reactor()
        self.began = at
        self.memory = MemoryCacheResolver(1000, clock=self.reactor, ttlPolicy=POLICY)
        self.rates: HitRates[Key] = HitRates(1000, 60.0)
        self.snapshot = SnapshotService(
            path,
            self.memory,
            self.rates,
            self.reactor,
            settings=SnapshotSettings(**settings),
            ttlPolicy=POLICY,
            wallClock=lambda: EPOCH + self.began + self.reactor.seconds(),
        )

    def keep(self, *names: str) -> list[Key]:
        """
        Keep answers for names, fresh for 300 seconds.
        """
        queries = [ClientQuery(fromText(name), received=self.reactor.seconds()) for name in names]
        for query in queries:
            self.memory.cacheResult(query, fresh(query.qname))
        return [keyOf(query) for query in queries]

    def turn(self, waiting: Deferred[Any]) -> Any:
        """
        Give something its turns, and what it came to.
        """
        results: list[Any] = []
        waiting.addBoth(results.append)
        for _ in range(50):
            self.reactor.advance(0)
        return results[0]


class SnapshotServiceTests(SynchronousTestCase):
    """
    Tests for L{SnapshotService}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "state" / "cache.snapshot"
        self.first = Run(self.path)

    def test_overARestart(self) -> None:
        """
        What the last run had is there again, as old as it is by now, and so is
        what is known of its popularity.
        """
        keys = self.first.keep(*[f"host{number}.example.org" for number in range(600)])
        self.first.rates.add(keys[0], 9.0, 0.0)
        self.first.turn(self.first.snapshot.stopService())
        second = Run(self.path, at=100.0)
        self.assertEqual(second.turn(second.snapshot.load()), 600)
        entry = second.memory.entry(keys[0])
        assert entry is not None
        self.assertAlmostEqual(entry.remaining(0.0), 200.0, places=3)
        self.assertAlmostEqual(second.rates.count(keys[0], 0.0), 9.0, places=3)
        self.assertEqual((second.snapshot.restored, self.first.snapshot.saved), (600, 1))

    def test_nothingSaved(self) -> None:
        """
        The first run of all begins with nothing, and says nothing.
        """
        with capturedLogs() as logs:
            self.assertEqual(self.first.turn(self.first.snapshot.load()), 0)
        self.assertEqual(logs, [])

    def test_damaged(self) -> None:
        """
        A file that is damaged, not one of ours, too large or no file costs one
        line.
        """
        self.first.keep("www.example.org")
        self.first.turn(self.first.snapshot.save())
        octets = self.path.read_bytes()
        for bad in (b"", b"nonsense", octets[:-1], octets[:50] + b"x" + octets[51:]):
            self.path.write_bytes(bad)
            second = Run(self.path)
            with capturedLogs() as logs:
                self.assertEqual(second.turn(second.snapshot.load()), 0)
            self.assertEqual(len(logs), 1)
        self.path.write_bytes(octets)
        second = Run(self.path, maxBytes=len(octets) - 1)
        with capturedLogs() as logs:
            self.assertEqual(second.turn(second.snapshot.load()), 0)
        self.assertEqual(len(logs), 1)
        self.path.unlink()
        self.path.mkdir()
        second = Run(self.path)
        with capturedLogs() as logs:
            self.assertEqual(second.turn(second.snapshot.load()), 0)
            second.turn(second.snapshot.save())
        self.assertEqual((len(logs), second.snapshot.failures), (2, 1))

    def test_wholeOrNotAtAll(self) -> None:
        """
        A snapshot that can't be written leaves the one before, and nothing
        half-written.
        """
        self.first.keep("www.example.org")
        self.first.turn(self.first.snapshot.save())
        before = self.path.read_bytes()
        self.first.keep("other.example.org")
        draft = self.path.with_name("cache.snapshot.new")
        draft.mkdir()
        self.first.turn(self.first.snapshot.save())
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(self.first.snapshot.failures, 1)

    def test_thePopularOnes(self) -> None:
        """
        Where there isn't room for all, those asked for most are saved.
        """
        run = Run(self.path, maxEntries=2)
        keys = run.keep(*[f"host{number}.example.org" for number in range(5)])
        for number in (1, 3):
            run.rates.add(keys[number], 5.0, 0.0)
        run.turn(run.snapshot.save())
        second = Run(self.path)
        second.turn(second.snapshot.load())
        self.assertEqual(set(second.memory.keys()), {keys[1], keys[3]})

    def test_fromTimeToTime(self) -> None:
        """
        It is saved every so many seconds; with 0, only at the end.
        """
        for interval, saved in ((60.0, 3), (0.0, 0)):
            run = Run(self.path, interval=interval)
            run.snapshot.startService()
            run.reactor.pump([1.0] * 190)
            self.assertEqual(run.snapshot.saved, saved)
            run.turn(run.snapshot.stopService())
            self.assertEqual(run.snapshot.saved, saved + 1)
            self.assertEqual(run.reactor.getDelayedCalls(), [])

    def test_newerStays(self) -> None:
        """
        What was fetched before the snapshot was read isn't replaced by it.
        """
        (key,) = self.first.keep("www.example.org")
        self.first.turn(self.first.snapshot.save())
        second = Run(self.path, at=100.0)
        second.keep("www.example.org")
        self.assertEqual(second.turn(second.snapshot.load()), 0)
        entry = second.memory.entry(key)
        assert entry is not None
        self.assertEqual(entry.remaining(0.0), 300.0)

    def test_cleared(self) -> None:
        """
        After a clearing neither a restart nor a load under way brings back
        what was there.
        """
        self.first.keep(*[f"host{number}.example.org" for number in range(1200)])
        self.first.turn(self.first.snapshot.save())
        second = Run(self.path)
        loading = second.snapshot.load()
        second.turn(second.snapshot.cleared())
        self.assertLess(second.turn(loading), 600)
        self.first.turn(self.first.memory.clear())
        self.first.turn(self.first.snapshot.cleared())
        third = Run(self.path)
        self.assertEqual(third.turn(third.snapshot.load()), 0)
