# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.sweeper}.
"""

from __future__ import annotations

import random
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.entry import retimed
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key, keyOf
from dnsguard.caching.refresh import RefreshPolicy, Tier
from dnsguard.caching.refreshstats import Census, Removed
from dnsguard.caching.sliding import SlidingCounts
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.query import ClientQuery
from dnsguard.services.shelves import LocalShelf, SharedShelf
from dnsguard.services.sweeper import SILENCE, SweeperService, SweepRules, hostOffset
from dnsguard.wire.names import fromText
from tests.services.test_refresh import UNREACHED, WWW, Instance, fresh
from tests.support.answerstore import FakeAnswerStore, SharedAnswers

RULES = SweepRules(
    interval=15.0,
    window=60.0,
    parallel=2,
    policy=RefreshPolicy.preset("balanced", hotThresholdRate=10.0),
)
HOUR = 3600.0


class HostOffsetTests(SynchronousTestCase):
    """
    Tests for L{hostOffset}.
    """

    def test_offsets(self) -> None:
        """
        Hosts start at different times within five seconds, each always at the
        same one.
        """
        self.assertEqual(hostOffset(""), 0x811C9DC5 % 5000 / 1000)
        offsets = {hostOffset(f"host{number}") for number in range(50)}
        self.assertGreater(len(offsets), 40)
        self.assertTrue(all(0 <= offset < 5 for offset in offsets))


class Sweeping:
    """
    An instance with a sweeper.
    """

    def __init__(
        self, clock: Clock, store: FakeAnswerStore | None = None, host: str = "one", **rules: Any
    ) -> None:
        self.clock = clock
        self.instance = Instance(clock, store)
        self.rates: HitRates[Key] = HitRates(100, 60.0)
        self.counts: SlidingCounts = SlidingCounts(100, 24 * HOUR)
        self.flushed = 0
        self.sweeper = SweeperService(
            self.instance.service,
            LocalShelf(self.instance.memory, self.rates, self.counts, clock),
            self.instance.backoff,
            clock,
            rules=attrs.evolve(RULES, **rules),
            statistics=self.instance.statistics,
            wallClock=clock.seconds,
            store=store,
            shared=None if store is None else SharedShelf(store, maxKeys=20),
            flush=self.flush,
            host=host,
            rng=random.Random(1),
        )

    def flush(self) -> None:
        """
        Note the call.
        """
        self.flushed += 1

    def keep(self, name: str) -> Key:
        """
        Keep an answer for a name: it is fresh for 300 seconds.
        """
        qname = fromText(name)
        query = ClientQuery(qname, received=self.clock.seconds())
        self.instance.memory.cacheResult(query, fresh(qname))
        return keyOf(query)

    def asked(self) -> list[Key]:
        """
        What upstream was asked.
        """
        return [keyOf(query) for query in self.instance.upstream.queries]

    def sweep(self) -> Deferred[None]:
        """
        Make a round, and give it its turns.
        """
        sweeping = Deferred.fromCoroutine(self.sweeper.sweep())
        for _ in range(20):
            self.clock.advance(0)
        return sweeping


class LocalSweeperTests(SynchronousTestCase):
    """
    Tests for L{SweeperService} without a shared store.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.sweeping = Sweeping(self.clock)
        self.instance = self.sweeping.instance

    def sweep(self) -> None:
        """
        Make a round that upstream answers.
        """
        sweeping = self.sweeping.sweep()
        while self.instance.waiting:
            qname = self.instance.upstream.queries[-len(self.instance.waiting)].qname
            self.instance.reply(fresh(qname))
            for _ in range(5):
                self.clock.advance(0)
        self.successResultOf(sweeping)

    def test_renewsWhatIsDue(self) -> None:
        """
        What is fresh for no longer than the window is fetched, however rarely
        it is asked for; nothing else is.
        """
        key = self.sweeping.keep("www.example.org")
        self.clock.advance(200)
        self.sweeping.keep("other.example.org")
        self.sweep()
        self.assertEqual(self.sweeping.asked(), [])
        self.clock.advance(41)
        self.sweep()
        self.assertEqual(self.sweeping.asked(), [key])
        self.assertEqual(self.instance.softExpiry, 241 + 300)
        last = self.instance.statistics.last
        assert last is not None
        self.assertEqual((last.refreshed, last.removed, last.at), (1, Removed(), 241))
        self.assertEqual(self.sweeping.flushed, 2)

    def test_urgentFirst(self) -> None:
        """
        What has less than half a minute left comes first.
        """
        soon = {self.sweeping.keep(f"soon{number}.example.org") for number in range(3)}
        self.clock.advance(28)
        for number in range(5):
            self.sweeping.keep(f"later{number}.example.org")
        self.clock.advance(271 - 28)
        self.sweep()
        asked = self.sweeping.asked()
        self.assertEqual(len(asked), 8)
        self.assertEqual(set(asked[:3]), soon)

    def test_batchIsBounded(self) -> None:
        """
        One round fetches so many, those that expire first.
        """
        self.sweeping.sweeper.rules = attrs.evolve(RULES, batchSize=3)
        for number in range(6):
            self.sweeping.keep(f"host{number}.example.org")
            self.clock.advance(1)
        self.clock.advance(250)
        self.sweep()
        names = {f"host{number}.example.org" for number in range(3)}
        self.assertEqual({key[0] for key in self.sweeping.asked()}, set(map(fromText, names)))

    def test_soManyAtATime(self) -> None:
        """
        A round waits for its refreshes: no more than so many are under way.
        """
        for number in range(5):
            self.sweeping.keep(f"host{number}.example.org")
        self.clock.advance(250)
        sweeping = self.sweeping.sweep()
        self.assertEqual(len(self.instance.waiting), 2)
        self.assertNoResult(sweeping)

    def test_coldKeys(self) -> None:
        """
        With a hit window, a due key that nobody asked for in it isn't renewed;
        but not before there was counting for as long, nor one that is young.
        """
        self.sweeping.sweeper.rules = attrs.evolve(RULES, hitWindow=24 * HOUR, window=400.0)
        cold, warm = (self.sweeping.keep(f"{word}.example.org") for word in ("cold", "warm"))
        self.sweep()
        self.assertEqual(set(self.sweeping.asked()), {cold, warm})
        # From here on, each round renews what there is.
        for _ in range(32):
            self.clock.advance(HOUR)
            for key in (cold, warm):
                self.instance.memory._entries.discard(key)
                self.instance.memory.keep(ClientQuery(key[0], received=1e9), fresh(key[0]))
            self.sweeping.counts.add(warm, 1.0, self.clock.seconds())
        for key in (cold, warm):
            entry = self.instance.memory.entry(key)
            assert entry is not None
            aged = retimed(entry, TTLPolicy(), softExpiry=entry.softExpiry, createdAt=0.0)
            self.instance.memory.keepEntry(key, aged)
        young = self.sweeping.keep("young.example.org")
        before = len(self.sweeping.asked())
        self.sweep()
        self.assertEqual(set(self.sweeping.asked()[before:]), {warm, young})
        self.assertIsNotNone(self.instance.memory.entry(cold))

    def test_silentUpstream(self) -> None:
        """
        A round ends when no upstream answers.
        """
        for number in range(50):
            self.sweeping.keep(f"host{number}.example.org")
        self.clock.advance(250)
        sweeping = self.sweeping.sweep()
        while self.instance.waiting:
            self.instance.reply(UNREACHED)
            self.clock.advance(0)
        self.successResultOf(sweeping)
        self.assertLessEqual(len(self.sweeping.asked()), SILENCE + 2)
        self.assertEqual(self.sweeping.sweeper.silent, 1)

    def test_tiers(self) -> None:
        """
        A hot key is renewed as one: for no longer than it is true.
        """
        key = self.sweeping.keep("www.example.org")
        self.clock.advance(250)
        self.sweeping.rates.add(key, 50.0, self.clock.seconds())
        self.sweep()
        self.assertEqual(self.instance.softExpiry, 250 + 100)
        self.assertEqual(self.instance.statistics.census, Census(1, 0, 0))

    def test_disabled(self) -> None:
        """
        Without refreshing, a round tidies up and nothing more, and there are
        fewer of them.
        """
        self.sweeping.sweeper.rules = attrs.evolve(RULES, refresh=False)
        self.sweeping.keep("www.example.org")
        self.clock.advance(300 + 3600 + 1)
        self.sweep()
        self.assertEqual(self.sweeping.asked(), [])
        self.assertEqual(self.instance.memory.statistics.entries, 0)
        self.assertEqual(self.sweeping.sweeper.rules.pause, 30.0)

    def test_goesRound(self) -> None:
        """
        Once started it makes round after round, and none once stopped.
        """
        sweeper = self.sweeping.sweeper
        sweeper.startService()
        self.clock.pump([1.0] * 120)
        self.assertIn(sweeper.rounds, range(6, 9))
        self.successResultOf(sweeper.stopService())
        rounds = sweeper.rounds
        self.clock.pump([1.0] * 60)
        self.assertEqual((sweeper.rounds, self.clock.getDelayedCalls()), (rounds, []))

    def test_breaks(self) -> None:
        """
        A round that breaks is logged, and the next one is made.
        """
        self.sweeping.flush = lambda: 1 / 0  # type: ignore[assignment,method-assign]
        sweeper = self.sweeping.sweeper
        sweeper._flush = lambda: 1 / 0
        sweeper.startService()
        self.clock.pump([1.0] * 60)
        self.assertGreaterEqual(sweeper.broken, 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.successResultOf(sweeper.stopService())


class SharedSweeperTests(SynchronousTestCase):
    """
    Tests for L{SweeperService} among instances.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.shared = SharedAnswers(self.clock)
        self.stores = [FakeAnswerStore(self.shared) for _ in range(2)]
        self.one, self.two = (Sweeping(self.clock, store) for store in self.stores)

    def share(self, name: str) -> Key:
        """
        Keep an answer in the store.
        """
        key = self.one.keep(name)
        entry = self.one.instance.memory.entry(key)
        assert entry is not None
        self.stores[0].put(key, entry)
        return key

    def test_oneRoundBetweenThem(self) -> None:
        """
        The instance that claims a round has it; the other one leaves it.
        """
        key = self.share("www.example.org")
        self.clock.advance(250)
        rounds = [self.two.sweep(), self.one.sweep()]
        self.assertEqual((self.one.asked(), self.two.asked()), ([], [key]))
        self.two.instance.reply(fresh())
        for each in rounds:
            self.successResultOf(each)
        self.assertEqual(self.one.sweeper.left, 1)
        self.assertEqual(self.shared.entries[key].softExpiry, 550)

    def test_storeIsKeptInOrder(self) -> None:
        """
        Over the bound the least popular and oldest go; places in the index
        without answers go.
        """
        keys = []
        for number in range(23):
            keys.append(self.share(f"host{number}.example.org"))
            self.clock.advance(1)
        self.shared.hits[keys[0]] = 5
        self.shared.index[(WWW, 1, 1, 0)] = 0.0
        self.successResultOf(self.one.sweep())
        self.assertEqual(set(keys) - set(self.shared.entries), set(keys[1:4]))
        self.assertNotIn((WWW, 1, 1, 0), self.shared.index)
        last = self.one.instance.statistics.last
        assert last is not None
        self.assertEqual(last.removed, Removed(capEvicted=3, reconciled=1))

    def test_coldKeysGo(self) -> None:
        """
        With a hit window, what nobody asked for in it is thrown away.
        """
        cold, warm = self.share("cold.example.org"), self.share("warm.example.org")
        self.one.sweeper.rules = attrs.evolve(RULES, hitWindow=200.0)
        self.shared.sweepHits[warm] = 1
        self.clock.advance(250)
        sweeping = self.one.sweep()
        self.one.instance.reply(fresh(warm[0]))
        self.successResultOf(sweeping)
        self.assertEqual(self.one.asked(), [warm])
        self.assertNotIn(cold, self.shared.entries)
        last = self.one.instance.statistics.last
        assert last is not None
        self.assertEqual(last.removed, Removed(coldKeys=1))

    def test_storeAway(self) -> None:
        """
        While the store is away, each instance sees to its own answers.
        """
        key = self.share("www.example.org")
        self.clock.advance(250)
        for store in self.stores:
            store.available = False
        sweeping = self.one.sweep()
        self.assertEqual(self.one.asked(), [key])
        self.one.instance.reply(fresh())
        self.successResultOf(sweeping)

    def test_tierOfAllInstances(self) -> None:
        """
        What counts are the hits of all instances.
        """
        key = self.share("www.example.org")
        self.shared.hits[key] = 100
        self.clock.advance(250)
        sweeping = self.one.sweep()
        self.one.instance.reply(fresh())
        self.successResultOf(sweeping)
        self.assertEqual(self.shared.entries[key].softExpiry, 350)
        self.assertIs(RULES.policy.tier(100), Tier.HOT)
