# -*- test-case-name: tests.observers.test_hitcounter -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Counts how often names are asked for, whichever road their queries took.

A cache sees only the queries that come to it; those answered from the replay
store, most of them, don't. They are added up by replay entry, not by query, and
taken over once a second: half a million queries in a second cost as much as the
names they are for.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from dnsguard.answer import Outcome
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.caching.sliding import SlidingCounts
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerStore, IQueryObserver, IReplayBatch
from dnsguard.observers.event import QueryEvent
from dnsguard.query import ClientQuery
from dnsguard.replay.entry import ReplayedAnswer

__all__ = ["HitCounter"]

SHARED_KEYS = 100
"""Keys whose counts go to a shared store in one second."""

MOST_ENTRIES = 50_000
"""Replay entries added up before the second is over."""

# Bound here: on CPython 3.11 reading a member off its class takes 0.1 us.
_STALE = Outcome.STALE

_COUNTED = frozenset({Outcome.CACHED, Outcome.STALE, Outcome.UPSTREAM})


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


@implementer(IQueryObserver)
class HitCounter(Noting, Service):
    """
    Feeds hit counts to whoever decides by them.

    @ivar replayed: Queries answered from the replay store with what a cache or
        an upstream had said: hits of the cache in this process.
    @ivar uncounted: Hits that there was no room to tell a shared store of.
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
        self._entries: dict[int, ReplayedAnswer] = {}
        self._hits: dict[int, int] = {}
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
        self.flush()

    def queriesReplayed(self, batch: IReplayBatch) -> None:
        """
        See L{IQueryObserver.queriesReplayed}.
        """
        # As little as possible for each entry: this runs many times a second.
        known = self._hits
        entries = batch.entries
        for number, hits in batch.hits.items():
            if number in known:
                known[number] += hits
            else:
                known[number] = hits
                self._entries[number] = entries[number]
        if len(known) >= MOST_ENTRIES:
            self._takeOver()

    def flush(self) -> None:
        """
        Take over what was added up, and tell the store. Never fails.
        """
        self._takeOver()
        self._share()

    def _takeOver(self) -> None:
        """
        Count hits by key that were added up by entry.
        """
        counted, self._hits = self._hits, {}
        entries, self._entries = self._entries, {}
        now = self._clock.seconds()
        add = self._rates.add
        noted = self._counts is not None or self._store is not None
        for number, count in counted.items():
            entry = entries[number]
            if entry.outcome is not Outcome.CACHED:
                # Local and blocked names are in no cache.
                continue
            self.replayed += count
            hits = self._sampled(count)
            if hits:
                key = (entry.qname, entry.type, entry.cls, entry.cacheFlags)
                add(key, hits, now)
                if noted:
                    self._note(key, hits, now)

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
