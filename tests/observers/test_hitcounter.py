# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.observers.hitcounter}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Outcome
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import DNSSEC_OK, Key
from dnsguard.caching.sliding import SlidingCounts
from dnsguard.interfaces import IEntryObserver
from dnsguard.observers import hitcounter
from dnsguard.observers.hitcounter import SHARED_KEYS, HitCounter
from dnsguard.query import ClientQuery
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.wire.names import fromText
from tests.support.answerstore import FakeAnswerStore, SharedAnswers
from tests.support.events import answerOf, eventOf
from tests.support.replaybatch import FakeReplayBatch

WWW = fromText("www.example.org")
KEY = (WWW, 1, 1, 0)


def replayed(
    name: str = "www.example.org", outcome: Outcome = Outcome.CACHED, flags: int = 0
) -> ReplayedAnswer:
    """
    The facts of a replayed answer.
    """
    return ReplayedAnswer(fromText(name), 1, 1, outcome, 0, "", None, answerOf(), cacheFlags=flags)


class HitCounterTests(SynchronousTestCase):
    """
    Tests for L{HitCounter}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.rates: HitRates[Key] = HitRates(1000, 60.0)
        self.counts: SlidingCounts = SlidingCounts(1000, 3600.0)
        self.shared = SharedAnswers(self.clock)
        self.store = FakeAnswerStore(self.shared)
        self.stale: list[ClientQuery] = []

    def counter(self, **settings: Any) -> HitCounter:
        """
        A counter that is started.
        """
        counter = HitCounter(
            self.rates,
            self.clock,
            **{"counts": self.counts, "onStale": self.stale.append, **settings},
        )
        counter.startService()
        self.addCleanup(counter.stopService)
        return counter

    def replay(self, counter: HitCounter, **entries: int) -> None:
        """
        Have entries replayed: so often each.
        """
        batch = FakeReplayBatch(
            {number: replayed(f"{name}.example.org") for number, name in enumerate(entries)}
        )
        for number, count in enumerate(entries.values()):
            for _ in range(count):
                batch.add(number, "192.0.2.1")
        counter.queriesReplayed(batch)

    def test_interface(self) -> None:
        """
        It is an observer.
        """
        verifyObject(IEntryObserver, self.counter())

    def test_replayed(self) -> None:
        """
        Replayed queries count as hits of their answers' keys, once a second.
        """
        counter = self.counter()
        self.replay(counter, www=3)
        self.replay(counter, www=4)
        self.assertEqual(self.rates.count(KEY, 0.0), 0.0)
        self.clock.advance(1)
        self.assertEqual(self.rates.count(KEY, 1.0), 7.0)
        self.assertEqual(self.counts.count(KEY, 1.0), 7.0)
        self.assertEqual(counter.replayed, 7)

    def test_meets(self) -> None:
        """
        Keys of entries can be noted beforehand, some at a time; that counts
        nothing.
        """
        counter = self.counter()
        batch = FakeReplayBatch({number: replayed() for number in range(5)})
        for number in range(5):
            batch.add(number, "192.0.2.1")
        self.assertEqual([counter.meet(batch, 3) for _ in range(3)], [3, 2, 0])
        counter.flush()
        self.assertEqual(counter.replayed, 0)
        counter.queriesReplayed(batch)
        counter.flush()
        self.assertEqual((counter.replayed, self.rates.count(KEY, 0.0)), (5, 5.0))

    def test_oneKeyManyEntries(self) -> None:
        """
        Entries of one answer, as those for requests with EDNS and without,
        count together.
        """
        counter = self.counter()
        batch = FakeReplayBatch({1: replayed(), 2: replayed()})
        for number in (1, 2, 2):
            batch.add(number, "192.0.2.1")
        counter.queriesReplayed(batch)
        counter.flush()
        self.assertEqual(self.rates.count(KEY, 0.0), 3.0)

    def test_manyKeys(self) -> None:
        """
        Of many keys some are taken over in a turn of the reactor; hits that
        come meanwhile count in the next second, and none is lost or counted
        twice.
        """
        self.patch(hitcounter, "KEYS_A_TURN", 10)
        self.patch(hitcounter, "PAUSE", 0.0)
        counter = self.counter(store=self.store)
        names = [f"host{number:02}" for number in range(35)]
        self.replay(counter, **dict.fromkeys(names, 2))
        counter.flush()
        self.assertEqual(counter.replayed, 20)
        self.assertEqual(self.shared.commands, 0)
        self.replay(counter, **dict.fromkeys(names, 1))
        counter.flush()
        self.clock.advance(0)
        self.assertEqual(counter.replayed, 105)
        self.assertEqual(sum(self.shared.hits.values()), 105)
        for name in names:
            key = (fromText(f"{name}.example.org"), 1, 1, 0)
            self.assertEqual(self.rates.count(key, 0.0), 3.0)

    def test_secondsAreBounded(self) -> None:
        """
        Only so many seconds wait to be taken over; hits of the oldest ones
        beyond are counted as uncounted.
        """
        self.patch(hitcounter, "KEYS_A_TURN", 10)
        self.patch(hitcounter, "MOST_SECONDS", 3)
        counter = self.counter()
        names = [f"host{number:02}" for number in range(15)]
        for _ in range(8):
            self.replay(counter, **dict.fromkeys(names, 2))
            counter.flush()
            self.assertLessEqual(len(counter._turns), 3)
        # Of the first one ten keys had been taken over.
        self.assertEqual((counter.replayed, counter.uncounted), (20, 10 + 4 * 30))
        self.clock.pump([hitcounter.PAUSE] * 10)
        self.assertEqual(counter.replayed + counter.uncounted, 8 * 30)

    def test_fasterWhenBehind(self) -> None:
        """
        The more seconds wait, the more keys are taken over in one turn of the
        reactor.
        """
        self.patch(hitcounter, "KEYS_A_TURN", 10)
        counter = self.counter()
        names = [f"host{number:03}" for number in range(100)]
        taken = []
        for _ in range(3):
            self.replay(counter, **dict.fromkeys(names, 1))
            counter._turn()
        for _ in range(2):
            counter._takeOver()
            taken.append(counter.replayed)
        self.assertEqual(taken, [50, 100])
        while counter._turns:
            counter._takeOver()
        self.assertEqual((counter.replayed, counter.uncounted), (300, 0))

    def test_waitingKeysAreBounded(self) -> None:
        """
        Only so many keys wait to be taken over, in however few seconds; hits
        of the oldest ones beyond are counted as uncounted.
        """
        self.patch(hitcounter, "MOST_WAITING", 40)
        counter = self.counter()
        for number in range(5):
            self.replay(counter, **{f"host{number}-{each}": 2 for each in range(15)})
            counter._turn(anew=True)
            self.assertLessEqual(sum(turn[0] for turn in counter._turns), 40)
        self.assertEqual((len(counter._turns), counter.uncounted), (2, 3 * 30))
        counter.stopService()
        self.assertEqual(counter.replayed, 2 * 30)

    def test_messagesInKeysStead(self) -> None:
        """
        Until an entry's hits are taken over its message is held, which others
        hold as well, and its key from then on; that of a large message at once.
        """
        for most, kinds in ((512, [bytes, tuple]), (1, [tuple, tuple])):
            self.patch(hitcounter, "SMALL", most)
            counter = self.counter()
            seen = []
            for _ in range(2):
                self.replay(counter, www=1)
                seen.append(type(counter._keys[0]))
                counter.flush()
            self.assertEqual(seen, kinds)
            self.assertEqual(counter.replayed, 2)
        self.assertEqual(self.rates.count(KEY, 0.0), 4.0)

    def test_stopWithManyKeys(self) -> None:
        """
        Stopping takes over all that is left, at once.
        """
        self.patch(hitcounter, "KEYS_A_TURN", 10)
        counter = self.counter()
        self.replay(counter, **{f"host{number}": 1 for number in range(35)})
        counter.flush()
        self.replay(counter, **{f"host{number}": 1 for number in range(35)})
        counter.stopService()
        self.assertEqual(counter.replayed, 70)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_keysAreBounded(self) -> None:
        """
        With too many keys, or entries, the second is over at once.
        """
        for bound in ("MOST_KEYS", "MOST_ENTRIES"):
            self.patch(hitcounter, bound, 8)
            counter = self.counter()
            for number in range(20):
                batch = FakeReplayBatch({number: replayed(f"{number}.{bound}.example")})
                batch.add(number, "192.0.2.1")
                counter.queriesReplayed(batch)
                self.assertLess(len(counter._keys), 8)
                self.assertLess(len(counter._notes), 8)
            self.assertEqual(counter.replayed, 16)
            counter.flush()
            self.assertEqual(counter.replayed, 20)

    def test_keysOutOfUse(self) -> None:
        """
        Keys that nobody asks for any more aren't held.
        """
        self.patch(hitcounter, "FEW_KEYS", 4)
        counter = self.counter()
        self.replay(counter, **{f"host{number}": 1 for number in range(50)})
        counter.flush()
        self.assertEqual(len(counter._keys), 50)
        for _ in range(3):
            self.replay(counter, host0=1)
            counter.flush()
        self.assertEqual((len(counter._keys), counter.replayed), (1, 53))

    def test_variants(self) -> None:
        """
        An answer with DNSSEC records has a count of its own.
        """
        counter = self.counter()
        batch = FakeReplayBatch({1: replayed(flags=DNSSEC_OK)})
        batch.add(1, "192.0.2.1")
        counter.queriesReplayed(batch)
        counter.flush()
        self.assertEqual(self.rates.count((WWW, 1, 1, DNSSEC_OK), 0.0), 1.0)
        self.assertEqual(self.rates.count(KEY, 0.0), 0.0)

    def test_onlyWhatIsCached(self) -> None:
        """
        Replies that no cache is behind are nobody's hits.
        """
        counter = self.counter()
        batch = FakeReplayBatch({1: replayed(outcome=Outcome.BLOCKED)})
        batch.add(1, "192.0.2.1")
        counter.queriesReplayed(batch)
        counter.flush()
        self.assertEqual((len(self.rates), counter.replayed), (0, 0))

    def test_answered(self) -> None:
        """
        Queries that came to the chain count for the sweeper, whichever way
        they were answered from upstream's word; L0 has counted its own hits.
        """
        counter = self.counter()
        for outcome in (Outcome.CACHED, Outcome.UPSTREAM, Outcome.STALE, Outcome.LOCAL):
            counter.queryAnswered(eventOf("www.example.org", outcome))
        self.assertEqual(self.counts.count(KEY, 0.0), 3.0)
        self.assertEqual(len(self.rates), 0)

    def test_stale(self) -> None:
        """
        Somebody is told of each stale answer.
        """
        counter = self.counter(counts=None)
        for outcome in (Outcome.CACHED, Outcome.STALE):
            counter.queryAnswered(eventOf("www.example.org", outcome))
        self.assertEqual([query.qname for query in self.stale], [WWW])

    def test_sampled(self) -> None:
        """
        With a sample rate, one in so many counts for as many.
        """
        chances = iter([0.1, 0.5, 0.9, 0.3])
        counter = self.counter(sampleRate=0.25, random=lambda: next(chances))
        self.replay(counter, one=2, two=2)
        counter.flush()
        one, two = (fromText(f"{word}.example.org") for word in ("one", "two"))
        self.assertEqual(self.rates.count((one, 1, 1, 0), 0.0), 8.0)
        self.assertEqual(self.rates.count((two, 1, 1, 0), 0.0), 0.0)
        counter.queryAnswered(eventOf("www.example.org", Outcome.CACHED))
        self.assertEqual(self.counts.count(KEY, 0.0), 0.0)
        self.assertEqual(counter.replayed, 4)

    def test_shared(self) -> None:
        """
        Other instances hear of the counts, in two operations.
        """
        counter = self.counter(store=self.store, sweepWindow=3600.0)
        self.replay(counter, www=5)
        self.clock.advance(1)
        self.assertEqual((self.shared.hits, self.shared.sweepHits), ({KEY: 5}, {KEY: 5}))
        self.assertEqual(self.shared.commands, 2)
        self.clock.advance(1)
        self.assertEqual(self.shared.commands, 2)

    def test_sharedIsBounded(self) -> None:
        """
        Of more names than there is room for in a second, the most popular ones
        and those that wait go first; the others' turn comes.
        """
        counter = self.counter(store=self.store)
        names = {f"host{number:03}": 1 for number in range(2 * SHARED_KEYS)}
        names["host150"] = 9
        self.replay(counter, **names)
        counter.flush()
        self.assertEqual(len(self.shared.hits), SHARED_KEYS)
        self.assertIn((fromText("host150.example.org"), 1, 1, 0), self.shared.hits)
        counter.flush()
        self.assertEqual(sum(self.shared.hits.values()), 2 * SHARED_KEYS + 8)
        self.assertEqual(counter.uncounted, 0)

    def test_waitingIsBounded(self) -> None:
        """
        What there is no room for isn't counted elsewhere, and that is told.
        """
        counter = self.counter(store=self.store, capacity=2)
        self.replay(counter, one=1, two=1, three=5)
        counter.flush()
        self.assertEqual((len(self.shared.hits), counter.uncounted), (2, 5))

    def test_storeAway(self) -> None:
        """
        While the store is away nothing waits for it, and nothing breaks.
        """
        counter = self.counter(store=self.store)
        self.store.broken = True
        self.replay(counter, www=3)
        counter.flush()
        self.assertEqual((counter.failures, counter.uncounted), (1, 3))
        self.store.available = False
        self.replay(counter, www=2)
        counter.flush()
        self.assertEqual((counter.failures, counter.uncounted), (1, 5))
        self.assertEqual(self.rates.count(KEY, 0.0), 5.0)

    def test_stop(self) -> None:
        """
        Stopping takes over what was counted.
        """
        counter = self.counter()
        self.replay(counter, www=3)
        counter.stopService()
        self.assertEqual(counter.replayed, 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
