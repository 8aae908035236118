# -*- test-case-name: tests.resolvers.test_memorycache -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
That of L0 which is done for each query: look its answer up, and keep it.

Apart from the resolver, so that it can be compiled with its attributes in a C
structure.
"""

from __future__ import annotations

from collections.abc import Callable

from dnsguard.answer import Answer
from dnsguard.caching.clears import RecentClears
from dnsguard.caching.entry import Entry
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.caching.refresh import RefreshPolicy, Tier, jitterOf
from dnsguard.caching.sieve import Sieve
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.query import ClientQuery
from dnsguard.resolvers.cached import entryOf, freshAnswer, staleAnswer

__all__ = ["KeptAnswers"]

DUE_REPLAY_SECONDS = 1.0
"""
How long a reply may be replayed whose refresh has been asked for: so that a hot
name doesn't fall to the slow road while its refresh is under way.
"""

_FIRSTS = 1024


class KeptAnswers:
    """
    The answers that a L{dnsguard.resolvers.memorycache.MemoryCacheResolver} has.
    """

    __slots__ = (
        "_entries",
        "_expiredEntryTTL",
        "_firstDue",
        "_hits",
        "_latestAnswer",
        "_latestEntry",
        "_latestKept",
        "_misses",
        "_now",
        "_onDue",
        "_policy",
        "_rates",
        "_refresh",
        "_refused",
        "_staleHits",
        "_staleTTL",
        "clears",
    )

    _entries: Sieve[Key, Entry]
    _expiredEntryTTL: int
    _firstDue: dict[tuple[int, int], float]
    _hits: int
    _latestAnswer: Answer | None
    _latestEntry: Entry | None
    _latestKept: float
    _misses: int
    _now: Callable[[], float]
    _onDue: Callable[[ClientQuery, Tier], None] | None
    _policy: TTLPolicy
    _rates: HitRates[Key]
    _refresh: RefreshPolicy
    _refused: int
    _staleHits: int
    _staleTTL: float
    clears: RecentClears

    def answer(self, query: ClientQuery) -> Answer | None:
        """
        Look an answer up.
        """
        view = query.view
        if view is not None and view.cacheDisabled:
            return None
        key = query.key
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
        tier = self._refresh.tier(count)
        due = self._refresh.dueAge(tier, stored, true, jitterOf(key))
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
        key, now = query.key, self._now()
        if self.clears.overtook(query.qname, query.received, now):
            return False
        known = self._entries.peek(key)
        if (
            known is not None
            and known is self._latestEntry
            and payload is self._latestAnswer
            and now - self._latestKept < 1.0
        ):
            # Equal questions that waited for one upstream together offer the
            # one answer they got each.
            return True
        createdAt = None if known is None else known.createdAt
        entry = entryOf(query, payload, now, self._policy, hot, createdAt)
        if entry is None or not self.keepEntry(key, entry):
            return False
        self._latestAnswer, self._latestEntry, self._latestKept = payload, entry, now
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
