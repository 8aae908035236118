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

from dnsguard.answer import Answer
from dnsguard.caching.clears import RecentClears
from dnsguard.caching.entry import Entry
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import CHECKING_DISABLED, DNSSEC_OK, Key, keyOf
from dnsguard.caching.refresh import RefreshPolicy, Tier
from dnsguard.caching.sieve import Sieve
from dnsguard.caching.statistics import CacheStatistics
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.interfaces import IAnswerCache
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answerer
from dnsguard.resolvers.cached import entryOf, freshAnswer, staleAnswer
from dnsguard.wire.names import isAtOrBelow

__all__ = ["CacheStatistics", "MemoryCacheResolver"]

SLICE = 1000
"""Entries that a walk over the cache looks at before others get their turn."""

DUE_REPLAY_SECONDS = 1.0
"""
How long a reply may be replayed whose refresh has been asked for: so that a hot
name doesn't fall to the slow road while its refresh is under way.
"""

_JITTERS = 1024
_FIRSTS = 1024


@implementer(IAnswerCache)
class MemoryCacheResolver(Answerer):
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
        self._entries: Sieve[Key, Entry] = Sieve(size, maxBytes)
        self._clock = clock
        self._now: Callable[[], float] = monotonic if clock is None else clock.seconds
        self.reconfigure(
            ttlPolicy or TTLPolicy(), expiredEntryTTL, refreshPolicy or RefreshPolicy()
        )
        self._rates = HitRates(10000, self._refresh.hitWindow) if hits is None else hits
        self._onDue = onDue
        self.clears = RecentClears()
        self._latest: tuple[Answer | None, Entry | None, float] = (None, None, 0.0)
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
        self._firstDue: dict[tuple[int, int], float] = {}

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

    def answer(self, query: ClientQuery) -> Answer | None:
        """
        Look an answer up.
        """
        view = query.view
        if view is not None and view.cacheDisabled:
            return None
        # keyOf(), without the call.
        edns = query.edns
        flags = DNSSEC_OK if edns is not None and edns.dnssecOK else 0
        if query.checkingDisabled:
            flags |= CHECKING_DISABLED
        key = (query.qname, query.type, query.cls, flags)
        entry = self._entries.get(key)
        if entry is None:
            self._misses += 1
            return None
        now = self._now()
        remaining = entry.softExpiry - now
        if remaining <= 0.0:
            return self._stale(key, entry, remaining, now)
        self._hits += 1
        if self._onDue is None:
            return freshAnswer(entry, remaining, remaining)
        return freshAnswer(entry, remaining, self._untilDue(query, key, entry, remaining, now))

    def _stale(self, key: Key, entry: Entry, remaining: float, now: float) -> Answer | None:
        """
        Give what an entry that isn't fresh is good for.
        """
        if now >= entry.expiry:
            self._entries.discard(key)
        elif -remaining <= self._staleTTL and self._staleTTL > 0.0:
            self._staleHits += 1
            return staleAnswer(entry, remaining, self._expiredEntryTTL)
        self._misses += 1
        return None

    def _untilDue(
        self, query: ClientQuery, key: Key, entry: Entry, remaining: float, now: float
    ) -> float:
        """
        Count a hit, and ask for a refresh if the entry is due.

        @return: For how many seconds a reply may be replayed.
        """
        assert self._onDue is not None
        count = self._rates.hit(key, now)
        stored, true = entry.storedTTL, entry.authTTL
        age = stored - remaining
        first = self._firstDueAge(stored, true)
        if age < first:
            return first - age
        jitter = (hash(key) % _JITTERS) / _JITTERS
        tier = self._refresh.tier(count)
        due = self._refresh.dueAge(tier, stored, true, jitter)
        if age >= due:
            self._onDue(query, tier)
            return min(DUE_REPLAY_SECONDS, remaining)
        # Due earlier in another tier: have a look now and then at whether it
        # has got there.
        return min(due - age, remaining, self._refresh.hitWindow)

    def _firstDueAge(self, stored: int, true: int) -> float:
        """
        Tell the age before which nothing with these TTLs is due, whatever its
        tier and jitter. Names share a few TTLs: it is worked out once for each.
        """
        times = (stored, true)
        first = self._firstDue.get(times)
        if first is None:
            if len(self._firstDue) >= _FIRSTS:
                self._firstDue.clear()
            first = self._firstDue[times] = self._refresh.firstDueAge(stored, true, 1.0)
        return first

    def cacheResult(self, query: ClientQuery, payload: Answer) -> None:
        """
        Keep an answer that came from upstream or from another cache.
        """
        view = query.view
        if view is None or not view.cacheDisabled:
            self.keep(query, payload)

    def keep(self, query: ClientQuery, payload: Answer, hot: bool = False) -> bool:
        """
        Keep an answer.

        @param hot: Is it the refresh of a key in the hot tier?
        @return: Was it one to keep?
        """
        key, now = keyOf(query), self._now()
        if self.clears.overtook(query.qname, query.received, now):
            return False
        known = self._entries.peek(key)
        answer, entry, then = self._latest
        if known is not None and known is entry and payload is answer and now - then < 1.0:
            # Equal questions that waited for one upstream together offer the
            # one answer they got each.
            return True
        createdAt = None if known is None else known.createdAt
        entry = entryOf(query, payload, now, self._policy, hot=hot, createdAt=createdAt)
        if entry is None or not self.keepEntry(key, entry):
            return False
        self._latest = (payload, entry, now)
        return True

    def keepEntry(self, key: Key, entry: Entry, touch: bool = True) -> bool:
        """
        Keep an entry whose times are of this cache's clock.

        @param touch: False: nobody asked for it.
        @return: False when it is too large.
        """
        kept = self._entries.put(key, entry, entry.size, touch)
        self._refused += not kept
        return kept

    def entry(self, key: Key) -> Entry | None:
        """
        Give an entry, however old, without counting a hit.
        """
        return self._entries.peek(key)

    def discard(self, key: Key) -> bool:
        """
        Drop one entry; was it there?
        """
        return self._entries.discard(key)

    def keys(self) -> list[Key]:
        """
        Copy the keys of what is held, fresh or not.
        """
        return self._entries.keys()

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
        self._entries = Sieve(old.maxEntries, old.maxBytes)
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
            keys = entries.keys()
            for start in range(0, len(keys), SLICE):
                for key in keys[start : start + SLICE]:
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
