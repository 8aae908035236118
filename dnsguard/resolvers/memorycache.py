# -*- test-case-name: tests.resolvers.test_memorycache -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
L0: the answers kept in this process.

It holds what upstream said and nothing that a policy decided, so it stands
behind the policy elements and no reload empties it. What is no longer fresh is
given as an answer that isn't final: the chain asks on, a shared store and the
upstreams, and uses it if they have nothing better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from zope.interface import implementer

from dnsguard.caching.clears import RecentClears
from dnsguard.caching.entry import Entry
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.caching.refresh import RefreshPolicy, Tier
from dnsguard.caching.sieve import Sieve, newSieve
from dnsguard.caching.statistics import CacheStatistics
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.interfaces import IAnswerCache
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answerer
from dnsguard.resolvers.keptanswers import KeptAnswers
from dnsguard.wire.names import isAtOrBelow

__all__ = ["CacheStatistics", "MemoryCacheResolver"]

SLICE = 1000
"""Entries that a walk over the cache looks at before others get their turn."""


@implementer(IAnswerCache)
class MemoryCacheResolver(KeptAnswers, Answerer):
    """
    A bounded cache of answers in this process.

    Queries whose view says C{cacheDisabled} pass it by both ways.

    @ivar statistics: The counters, as L{CacheStatistics}.
    @ivar clears: What was dropped lately by L{clear} and L{forget}.
    """

    def __init__(
        self,
        size: int,
        *,
        maxBytes: int = 64 * 1024 * 1024,
        clock: IReactorTime | None = None,
        ttlPolicy: TTLPolicy | None = None,
        expiredEntryTTL: int = 30,
        refreshPolicy: RefreshPolicy | None = None,
        hits: HitRates[Key] | None = None,
        onDue: Callable[[ClientQuery, Tier], None] | None = None,
    ) -> None:
        """
        @param size: The most entries, 1 or more.
        @param maxBytes: The most octets they may take.
        @param clock: Tells the time and gives long walks their turns; without
            one the machine's clock does, and walks are made in one go.
        @param ttlPolicy: For how long answers are kept and may be served stale.
        @param expiredEntryTTL: The TTL in a stale answer, in seconds.
        @param refreshPolicy: When an entry is due for refresh.
        @param hits: Where hits are counted; other caches may share it.
        @param onDue: Called with the query and the L{Tier} at each hit on an
            entry that is due. It must return at once, never fail, and expect
            to be called again until there is a new entry. Without it nothing
            is due, and no hits are counted.
        @raise ValueError: No room.
        """
        super().__init__()
        self._entries = newSieve(size, maxBytes)
        self._clock = clock
        self._now = monotonic if clock is None else clock.seconds
        self.reconfigure(
            ttlPolicy or TTLPolicy(), expiredEntryTTL, refreshPolicy or RefreshPolicy()
        )
        self._rates = HitRates(10000, self._refresh.hitWindow) if hits is None else hits
        self._onDue = onDue
        self.clears = RecentClears()
        self._latestAnswer = self._latestEntry = None
        self._latestKept = 0.0
        self._hits = self._staleHits = self._misses = self._refused = 0
        self._evicted = 0
        self._census = (0, 0, 0)

    def reconfigure(
        self, ttlPolicy: TTLPolicy, expiredEntryTTL: int, refreshPolicy: RefreshPolicy
    ) -> None:
        """
        Go on with other rules, as for the constructor. What is held keeps the
        times it has.
        """
        self._policy = ttlPolicy
        self._staleTTL = float(ttlPolicy.staleTTL)
        self._expiredEntryTTL = max(expiredEntryTTL, 1)
        self._refresh = refreshPolicy
        self._firstDue = {}

    def watch(
        self, hits: HitRates[Key], onDue: Callable[[ClientQuery, Tier], None] | None
    ) -> None:
        """
        Count hits elsewhere, and tell somebody else what is due, as for the
        constructor.
        """
        self._rates = hits
        self._onDue = onDue

    def resize(self, size: int, maxBytes: int) -> None:
        """
        Go on with other bounds. What is over smaller ones goes with the next
        answers kept.

        @raise ValueError: No room.
        """
        self._entries.resize(size, maxBytes)

    def entry(self, key: Key) -> Entry | None:
        """
        Give an entry, however old, without counting a hit.
        """
        return self._entries.peek(key)

    def keys(self) -> list[Key]:
        """
        Copy the keys of what is held, fresh or not.
        """
        return self._entries.keys()

    def slices(self, most: int) -> Iterator[list[Key]]:
        """
        Give the keys of what is held, some at a time: copying all of them takes a
        while. See L{Sieve.slices<dnsguard.caching.sieve.Sieve.slices>}.
        """
        return self._entries.slices(most)

    @property
    def statistics(self) -> CacheStatistics:
        """
        The counters of this moment.
        """
        entries = self._entries
        return CacheStatistics(
            len(entries),
            entries.maxEntries,
            entries.bytes,
            entries.maxBytes,
            self._hits,
            self._staleHits,
            self._misses,
            self._evicted + entries.evictions,
            self._refused,
            *self._census,
        )

    def clear(self) -> Deferred[int]:
        """
        Drop everything. No query from now on is answered with what was there.

        @return: How many entries there were, when their memory is free.
        """
        self.clears.add(None, False, self._now())
        old = self._entries
        self._entries = newSieve(old.maxEntries, old.maxBytes)
        self._evicted += old.evictions
        return self._walk(old, lambda key, entry: True)

    def forget(self, qname: bytes, below: bool = False) -> Deferred[int]:
        """
        Drop all types and variants of one name.

        @param qname: The name, lower-cased, in wire form.
        @param below: Drop all names below it, too.
        @return: How many entries there were, when all are gone.
        """
        self.clears.add(qname, below, self._now())
        if below:
            return self._walk(self._entries, lambda key, entry: isAtOrBelow(key[0], qname))
        return self._walk(self._entries, lambda key, entry: key[0] == qname)

    def sweep(self, seen: Callable[[Key, Entry], None] | None = None) -> Deferred[int]:
        """
        Drop what is past all use, and count what is fresh and stale.

        @param seen: Called with each key that stays, and its entry.
        @return: How many entries were dropped, when all have been looked at.
        """
        now = self._now()
        fresh = stale = expired = 0

        def isExpired(key: Key, entry: Entry) -> bool:
            nonlocal fresh, stale, expired
            if now >= entry.expiry:
                expired += 1
                return True
            fresh += entry.softExpiry > now
            stale += entry.softExpiry <= now
            if seen is not None:
                seen(key, entry)
            return False

        def counted(dropped: int) -> int:
            self._census = (fresh, stale, expired)
            return dropped

        return self._walk(self._entries, isExpired).addCallback(counted)

    def _walk(
        self, entries: Sieve[Key, Entry], drop: Callable[[Key, Entry], bool]
    ) -> Deferred[int]:
        """
        Drop the entries that a function picks, slice by slice.

        @return: How many those were.
        """
        dropped = 0

        def slices() -> Iterator[None]:
            nonlocal dropped
            for keys in entries.slices(SLICE):
                for key in keys:
                    entry = entries.peek(key)
                    if entry is not None and drop(key, entry):
                        entries.discard(key)
                        dropped += 1
                yield None

        clock = self._clock
        if clock is None:
            for _ in slices():
                pass
            return succeed(dropped)
        cooperator = Cooperator(
            # One slice a turn.
            terminationPredicateFactory=lambda: lambda: True,
            scheduler=lambda step: clock.callLater(0.0, step),
        )
        return cooperator.coiterate(slices()).addCallback(lambda _: dropped)
