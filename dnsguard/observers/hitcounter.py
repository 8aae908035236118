# -*- test-case-name: tests.observers.test_hitcounter -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Counts how often names are asked for, whichever road their queries took.

A cache sees only the queries that come to it; those answered from the replay
store, most of them, don't. They are added up by key, in one pass over their records,
and taken over once a second, some keys a turn of the reactor: half a million queries
in a second cost as much as the names they are for.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from dnsguard.answer import Outcome
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.caching.sliding import SlidingCounts
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerStore, IEntryObserver, IReplayBatch
from dnsguard.notes import SKIP
from dnsguard.observers.event import QueryEvent
from dnsguard.query import ClientQuery
from dnsguard.replay.entry import ReplayedAnswer

if TYPE_CHECKING:
    from dnsguard.notes import EntryNotes
else:
    try:
        from dnsguard._notes import EntryNotes
    except ImportError:
        from dnsguard.notes import EntryNotes

__all__ = ["HitCounter"]

SHARED_KEYS = 100
"""Keys whose counts go to a shared store in one second."""

MOST_KEYS = 50_000
"""Entries whose keys' hits are added up; with more, the second is over at once."""

MOST_ENTRIES = 4 * MOST_KEYS
"""Replay entries whose keys are known."""

SMALL = 512
"""Octets of a message that is held in its key's stead until somebody hits it."""

FEW_KEYS = 1000
"""Keys that are known on, however few of them are hit."""

KEYS_A_TURN = 250
"""
Keys whose hits are taken over in one turn of the reactor: 0.3 ms of work. For each
second that waits behind the first it is twice as many more: their keys are megabytes.
"""

PAUSE = 0.002
"""Seconds between two such turns, for whoever else wants the core."""

MOST_SECONDS = 8
"""Seconds whose hits wait to be taken over; of more the oldest isn't counted."""

MOST_WAITING = 3 * MOST_KEYS
"""Keys whose hits wait for that, those of all seconds added up."""

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_STALE = Outcome.STALE
_CACHED_OUTCOME = Outcome.CACHED

_COUNTED = frozenset({Outcome.CACHED, Outcome.STALE, Outcome.UPSTREAM})


_Turn = tuple[int, list[Key | bytes], list[object], Iterator[tuple[int, int]]]
"""
How many keys one second's hits are of; these keys, or messages in their stead; the
circumstances of the latter; and the places and counts still to be taken over.
"""


class Noting:
    """
    That of a L{HitCounter} which is done for each query that goes through the
    chain; apart from it, so that it can be compiled with its attributes in a C
    structure.
    """

    __slots__ = (
        "_capacity",
        "_clock",
        "_counts",
        "_onStale",
        "_random",
        "_sampleRate",
        "_store",
        "_waiting",
        "uncounted",
    )

    _capacity: int
    _clock: IReactorTime
    _counts: SlidingCounts | None
    _onStale: Callable[[ClientQuery], object]
    _random: Callable[[], float]
    _sampleRate: float
    _store: IAnswerStore | None
    _waiting: dict[Key, int]
    uncounted: int

    def queryAnswered(self, event: QueryEvent) -> None:
        """
        See L{IQueryObserver.queryAnswered}.
        """
        outcome = event.answer.outcome
        if outcome is _STALE:
            self._onStale(event.query)
        if (self._counts is not None or self._store is not None) and outcome in _COUNTED:
            hits = self._sampled(1)
            if hits:
                self._note(event.query.key, hits, self._clock.seconds())

    def _sampled(self, hits: int) -> int:
        """
        Count hits, or not: on average, as many as there are.
        """
        if self._sampleRate == 1.0:
            return hits
        return round(hits / self._sampleRate) if self._random() < self._sampleRate else 0

    def _note(self, key: Key, hits: int, now: float) -> None:
        """
        Count for the sweeper, here or in the shared store.
        """
        if self._counts is not None:
            self._counts.add(key, hits, now)
        if self._store is None:
            return
        if key in self._waiting:
            self._waiting[key] += hits
        elif len(self._waiting) < self._capacity:
            self._waiting[key] = hits
        else:
            self.uncounted += hits


@implementer(IEntryObserver)
class HitCounter(Noting, Service):
    """
    Feeds hit counts to whoever decides by them.

    @ivar replayed: Queries answered from the replay store with what a cache or
        an upstream had said: hits of the cache in this process.
    @ivar uncounted: Hits that there was no room for: to wait here, or to tell a
        shared store of.
    @ivar failures: How often a shared store didn't take counts.
    """

    log = Logger()

    def __init__(
        self,
        rates: HitRates[Key],
        clock: IReactorTime,
        *,
        counts: SlidingCounts | None = None,
        store: IAnswerStore | None = None,
        sampleRate: float = 1.0,
        capacity: int = 10_000,
        sweepWindow: float = 0.0,
        onStale: Callable[[ClientQuery], object] = lambda query: None,
        random: Callable[[], float] = random.random,
        interval: float = 1.0,
    ) -> None:
        """
        @param rates: The hits of the hit window, shared with L0, which counts
            its own.
        @param counts: The hits of the sweeper's window; L{None}: nobody asks.
        @param store: Where counts are shared among instances; L{None} without.
        @param sampleRate: Count this share of the hits, each for as many more.
        @param capacity: The most keys whose counts wait for the store.
        @param sweepWindow: The sweeper's window; 0: nothing is counted for it.
        @param onStale: Told of each query that had a stale answer.
        @param random: Gives numbers from 0 to 1, 1 excluded.
        @param interval: Seconds after which counts are taken over.
        """
        self.setName("hitcounter")
        self.replayed = self.uncounted = self.failures = 0
        self._rates = rates
        self._clock = clock
        self._counts = counts
        self._store = store
        self._sampleRate = min(max(sampleRate, 0.01), 1.0)
        self._capacity = capacity
        self._sweepWindow = sweepWindow
        self._onStale = onStale
        self._random = random
        self._interval = interval
        self._begin()
        self._turns: deque[_Turn] = deque()
        self._next: IDelayedCall | None = None
        self._waiting: dict[Key, int] = {}
        self._loop = LoopingCall(self.flush)
        self._loop.clock = clock

    def startService(self) -> None:
        """
        Take counts over from now on.
        """
        super().startService()
        self._loop.start(self._interval, now=False)

    def stopService(self) -> None:
        """
        Take over what was counted, and no more.
        """
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._turn()
        while self._turns:
            self._takeOver()
        self._share()

    def meet(self, batch: IReplayBatch, most: int) -> int:
        """
        See L{IEntryObserver.meet}.
        """
        return self._notes.meet(batch, most)

    def queriesReplayed(self, batch: IReplayBatch) -> None:
        """
        See L{IQueryObserver.queriesReplayed}.
        """
        self._notes.count(batch)
        if len(self._keys) >= MOST_KEYS or len(self._notes) >= MOST_ENTRIES:
            self._turn(anew=True)
            self._proceed()

    def _begin(self) -> None:
        """
        Know no key.
        """
        # A key is twice the octets that an entry takes: of one that is still to be
        # taken over there are its parts, which others hold as well.
        self._keys: list[Key | bytes] = []
        self._circumstances: list[object] = []
        self._notes = EntryNotes(self._placeOf)

    def _placeOf(self, entry: ReplayedAnswer) -> int:
        """
        Give the place of an entry's key. Entries of one key have a place each,
        as who asks with EDNS and who asks without have: what tells that keys are
        equal takes more memory than another key.
        """
        if entry.outcome is not _CACHED_OUTCOME:
            # Local and blocked names are in no cache.
            return SKIP
        parts = entry.parts
        isHeld = parts is not None and len(parts[0]) <= SMALL
        key, circumstances = parts if parts and isHeld else (entry.key, None)
        self._keys.append(key)
        self._circumstances.append(circumstances)
        return len(self._keys) - 1

    def flush(self) -> None:
        """
        Take over what was added up, and tell the store: now, or some keys a
        turn of the reactor when there are many. Never fails.
        """
        self._turn()
        self._proceed()

    def _turn(self, anew: bool = False) -> None:
        """
        Begin a new second.

        @param anew: Forget all keys; that is done as well when few of them are
            asked for any more.
        """
        counts = self._notes.take()
        hit = len(counts) - counts.count(0)
        self._makeRoom(len(counts))
        self._turns.append((len(counts), self._keys, self._circumstances, enumerate(counts)))
        if anew or len(self._keys) > max(FEW_KEYS, 4 * hit):
            self._begin()

    def _makeRoom(self, keys: int) -> None:
        """
        Let go of the oldest seconds for which there is no room beside a new one.

        @param keys: How many keys were hit in that.
        """
        turns = self._turns
        waiting = sum(turn[0] for turn in turns)
        while turns and (len(turns) >= MOST_SECONDS or waiting + keys > MOST_WAITING):
            size, _, _, counts = turns.popleft()
            self.uncounted += sum(count for _, count in counts)
            waiting -= size

    def _proceed(self) -> None:
        """
        Take over until a turn's work is done; go on in a moment.
        """
        if self._next is not None:
            return
        self._takeOver()
        if self._turns:
            self._next = self._clock.callLater(PAUSE, self._goOn)
        else:
            self._share()

    def _goOn(self) -> None:
        self._next = None
        self._proceed()

    def _takeOver(self) -> None:
        """
        Count some keys' hits that were added up.
        """
        now = self._clock.seconds()
        seen, most = 0, KEYS_A_TURN * (2 * len(self._turns) - 1)
        _, keys, circumstances, counts = self._turns[0]
        for place, count in islice(counts, most):
            seen += 1
            if not count:
                continue
            key = keys[place]
            if isinstance(key, bytes):
                key = ReplayedAnswer.of(key, circumstances[place]).key
                if keys is self._keys:
                    # It is likely to be hit again.
                    keys[place], circumstances[place] = key, None
            self.replayed += count
            hits = self._sampled(count)
            if hits:
                self._rates.add(key, hits, now)
                if self._counts is not None or self._store is not None:
                    self._note(key, hits, now)
        if seen < most:
            self._turns.popleft()

    def _share(self) -> None:
        """
        Tell the shared store of some keys: of those with the most hits, and of
        those that have waited longest.
        """
        store, waiting = self._store, self._waiting
        if store is None or not waiting:
            return
        if not store.available:
            self.uncounted += sum(waiting.values())
            waiting.clear()
            return
        if len(waiting) <= SHARED_KEYS:
            chosen, self._waiting = waiting, {}
        else:
            keys = heapq.nlargest(SHARED_KEYS // 2, waiting, key=waiting.__getitem__)
            chosen = {key: waiting.pop(key) for key in keys}
            for key in list(islice(waiting, SHARED_KEYS - len(chosen))):
                chosen[key] = waiting.pop(key)
        self._tell(chosen)

    def _tell(self, hits: Mapping[Key, int]) -> None:
        store = self._store
        assert store is not None
        store.addHits(hits, self._rates.window).addErrback(self._lost, hits)
        if self._sweepWindow > 0:
            store.addSweepHits(hits, self._sweepWindow).addErrback(self._lost, {})

    def _lost(self, reason: Any, hits: Mapping[Key, int]) -> None:
        """
        What the store didn't take is gone: a count is no reason to hold things
        up.
        """
        self.failures += 1
        self.uncounted += sum(hits.values())
        if reason.check(StoreError) is None:
            self.log.failure("hits couldn't be counted", reason)
