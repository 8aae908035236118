# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.cacheclear}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.key import Key, keyOf
from dnsguard.caching.servfail import BackoffTable
from dnsguard.errors import StoreError
from dnsguard.query import ClientQuery
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.services.cacheclear import CacheClear
from dnsguard.wire.names import fromText
from tests.services.test_refresh import POLICY, fresh
from tests.support.answering import FakeReplay
from tests.support.answerstore import FakeAnswerStore, SharedAnswers

NAMES = ["example.org", "www.example.org", "other.example.com"]
ORG = fromText("example.org")


class Replay(FakeReplay):
    """
    Notes what is to be forgotten.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[bytes | None] = []

    def forget(self, qname: bytes | None) -> None:
        """
        Note it.
        """
        self.forgotten.append(qname)


class Snapshot:
    """
    Counts how often it is told.
    """

    def __init__(self) -> None:
        self.told = 0

    def cleared(self) -> Deferred[None]:
        """
        Count one.
        """
        self.told += 1
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done


class Place:
    """
    An instance with all that is cleared.
    """

    def __init__(self, clock: Clock, store: FakeAnswerStore | None = None) -> None:
        self.clock = clock
        self.memory = MemoryCacheResolver(100, clock=clock, ttlPolicy=POLICY)
        self.replay = Replay()
        self.backoff: BackoffTable[Key] = BackoffTable()
        self.snapshot = Snapshot()
        self.store = store
        self.clear = CacheClear(
            memory=self.memory,
            replay=self.replay,
            backoffs=(self.backoff,),
            store=store,
            snapshot=self.snapshot,  # type: ignore[arg-type]
        )
        self.clear.startService()

    def fill(self) -> None:
        """
        Keep three names.
        """
        for name in NAMES:
            query = ClientQuery(fromText(name), received=self.clock.seconds())
            self.memory.cacheResult(query, fresh(query.qname))
            entry: Any = self.memory.entry(keyOf(query))
            self.backoff.failed(keyOf(query), self.clock.seconds())
            if self.store is not None:
                self.store.put(keyOf(query), entry)

    def names(self) -> set[bytes]:
        """
        The names held.
        """
        return {qname for qname, *_ in self.memory.keys()}  # noqa: SIM118


class CacheClearTests(SynchronousTestCase):
    """
    Tests for L{CacheClear}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.place = Place(self.clock)
        self.place.fill()

    def done(self, clearing: Deferred[int]) -> int:
        """
        Give a clearing its turns.
        """
        for _ in range(10):
            self.clock.advance(0)
        return self.successResultOf(clearing)

    def test_everything(self) -> None:
        """
        All goes: answers, replies, failures, the copy on disk.
        """
        self.assertEqual(self.done(self.place.clear.clear()), 3)
        self.assertEqual(self.place.names(), set())
        self.assertEqual((len(self.place.backoff), self.place.replay.forgotten), (0, [None]))
        self.assertEqual((self.place.snapshot.told, self.place.clear.clearings), (1, 1))

    def test_oneName(self) -> None:
        """
        One name goes, with its replies.
        """
        self.assertEqual(self.done(self.place.clear.forget(ORG)), 1)
        self.assertEqual(self.place.names(), set(map(fromText, NAMES[1:])))
        self.assertEqual(self.place.replay.forgotten, [ORG])

    def test_suffix(self) -> None:
        """
        A name goes with all below it; as replies don't know their parents, all
        of them go.
        """
        self.assertEqual(self.done(self.place.clear.forgetBelow(ORG)), 2)
        self.assertEqual(self.place.names(), {fromText(NAMES[2])})
        self.assertEqual(self.place.replay.forgotten, [None])

    def test_replyMadeMeanwhile(self) -> None:
        """
        Replies are forgotten once the answers they could be made of are gone.
        """
        self.place.clear.forget(ORG)
        self.assertEqual(self.place.replay.forgotten, [])
        self.clock.advance(0)
        self.assertEqual((len(self.place.names()), self.place.replay.forgotten), (2, [ORG]))

    def test_answerUnderWay(self) -> None:
        """
        An answer to a query from before the clearing isn't kept; one to a later
        query is.
        """
        query = ClientQuery(ORG, received=self.clock.seconds())
        self.clock.advance(1)
        self.done(self.place.clear.clear())
        self.clock.advance(1)
        self.place.memory.cacheResult(query, fresh(ORG))
        self.assertEqual(self.place.names(), set())
        later = ClientQuery(ORG, received=self.clock.seconds())
        self.place.memory.cacheResult(later, fresh(ORG))
        self.assertEqual(self.place.names(), {ORG})


class SharedCacheClearTests(SynchronousTestCase):
    """
    Tests for L{CacheClear} among instances.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.shared = SharedAnswers(self.clock)
        self.one, self.two = (Place(self.clock, FakeAnswerStore(self.shared)) for _ in range(2))
        self.one.fill()
        self.two.fill()

    def turns(self) -> None:
        """
        Let things go on.
        """
        for _ in range(10):
            self.clock.advance(0)

    def test_all(self) -> None:
        """
        A clearing reaches the store and every instance.
        """
        for order, left in [
            (lambda: self.one.clear.forget(ORG), 2),
            (lambda: self.one.clear.forgetBelow(ORG), 1),
            (self.two.clear.clear, 0),
        ]:
            clearing = order()
            self.turns()
            self.successResultOf(clearing)
            self.assertEqual(len(self.shared.entries), left)
            self.assertEqual(len(self.one.names()), left)
            self.assertEqual(len(self.two.names()), left)
        self.assertEqual(self.two.replay.forgotten[:2], [ORG, None])
        self.assertEqual((self.two.clear.heard, self.one.clear.heard), (2, 1))

    def test_refilledFromTheStore(self) -> None:
        """
        What a lookup took over from the store before that was cleared goes,
        too.
        """
        store = self.one.store
        assert store is not None
        slow: Deferred[int] = Deferred()
        clear = store.clear
        store.clear = lambda: slow  # type: ignore[method-assign]
        clearing = self.one.clear.clear()
        self.turns()
        key = (ORG, 1, 1, 0)
        self.one.memory.keepEntry(key, self.shared.entries[key])
        clear().chainDeferred(slow)
        self.turns()
        self.assertEqual(self.successResultOf(clearing), 3)
        self.assertEqual(self.one.names(), set())

    def test_storeAway(self) -> None:
        """
        When the store can't be cleared, that is told; this instance is clear.
        """
        store = self.one.store
        assert store is not None
        store.broken = True
        clearing = self.one.clear.clear()
        self.turns()
        self.failureResultOf(clearing, StoreError)
        self.assertEqual(self.one.names(), set())

    def test_stopped(self) -> None:
        """
        A stopped instance listens no more.
        """
        self.two.clear.stopService()
        self.one.clear.clear()
        self.turns()
        self.assertEqual((len(self.two.names()), self.two.clear.heard), (3, 0))
