# -*- test-case-name: tests.resolvers.test_rediscache -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
L1: the answers that several instances share.

Stands behind L0 and before the upstreams. The store may be away, slow or wrong;
none of that is this query's business: then there is no answer here, and the
chain asks on. While the store is known to be away it isn't even asked.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from dnsguard.answer import Answer
from dnsguard.caching.clears import RecentClears
from dnsguard.caching.entry import Entry
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.caching.refresh import RefreshPolicy, Tier, jitterOf
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerCache, IAnswerStore
from dnsguard.query import ClientQuery
from dnsguard.resolvers.base import Answerer
from dnsguard.resolvers.cached import CachedAnswer, entryOf, freshAnswer, staleAnswer

__all__ = ["REPLAY_SECONDS", "RedisCacheResolver", "Watch"]

REPLAY_SECONDS = 1.0
"""
How long a reply made here may be replayed: the next query after that finds the
answer in L0, which counts hits and knows when a refresh is due.
"""


@attrs.frozen
class Watch:
    """
    Counts hits on answers in a store, and says which are due for refresh.

    @ivar rates: Where hits are counted.
    @ivar policy: When an answer is due.
    @ivar onDue: Called with the query, its tier and until when the answer is
        fresh, at each hit on one that is due. It must return at once, and never
        fail.
    """

    rates: HitRates[Key]
    policy: RefreshPolicy
    onDue: Callable[[ClientQuery, Tier, float], None]

    def hit(self, query: ClientQuery, entry: Entry, now: float) -> None:
        """
        Take note of a hit.
        """
        key = query.key
        tier = self.policy.tier(self.rates.hit(key, now))
        stored = entry.storedTTL
        age = stored - entry.remaining(now)
        if age >= self.policy.dueAge(tier, stored, entry.authTTL, jitterOf(key)):
            self.onDue(query, tier, entry.softExpiry)


@implementer(IAnswerCache)
class RedisCacheResolver(Answerer):
    """
    Answers from a store of shared answers, and keeps there what upstream said.

    Queries whose view says C{cacheDisabled} pass it by both ways.

    @ivar store: The store.
    @ivar hits: Queries answered with a fresh entry.
    @ivar staleHits: Queries that a stale entry was offered to.
    @ivar misses: Queries that the store had nothing for.
    @ivar failures: Queries that the store failed on.
    @ivar skipped: Queries it wasn't asked about because it was away.
    """

    def __init__(
        self,
        store: IAnswerStore,
        *,
        clock: IReactorTime | None = None,
        ttlPolicy: TTLPolicy | None = None,
        expiredEntryTTL: int = 30,
        clears: RecentClears | None = None,
    ) -> None:
        """
        @param clock: Tells the time that the store's entries are in; without
            one the machine's clock does.
        @param ttlPolicy: For how long answers are kept and may be served stale.
        @param expiredEntryTTL: The TTL in a stale answer, in seconds.
        @param clears: What was cleared lately: an answer that was asked for
            before that isn't kept.
        """
        super().__init__()
        self.store = store
        self.hits = self.staleHits = self.misses = self.failures = self.skipped = 0
        self._now: Callable[[], float] = monotonic if clock is None else clock.seconds
        self._policy = ttlPolicy or TTLPolicy()
        self._staleTTL = float(self._policy.staleTTL)
        self._expiredEntryTTL = max(expiredEntryTTL, 1)
        self._clears = RecentClears() if clears is None else clears
        self._watch: Watch | None = None

    def watch(self, watch: Watch | None) -> None:
        """
        Count hits, and tell somebody what is due. Only where there is no L0,
        which does this for what it takes over from here.
        """
        self._watch = watch

    def answer(self, query: ClientQuery) -> Deferred[Answer | None] | None:
        """
        Look an answer up, if that can be done in time.
        """
        view = query.view
        if view is not None and view.cacheDisabled:
            return None
        if not self.store.available:
            self.skipped += 1
            return None
        asked: Any = self.store.get(query.key)
        asked.addCallbacks(self._found, self._failed, (query,))
        answered: Deferred[Answer | None] = asked
        return answered

    def _found(self, entry: Entry | None, query: ClientQuery) -> Answer | None:
        """
        Give what an entry is good for.
        """
        if entry is not None:
            now = self._now()
            remaining = entry.remaining(now)
            if remaining > 0.0:
                self.hits += 1
                if self._watch is not None:
                    self._watch.hit(query, entry, now)
                return freshAnswer(entry, remaining, min(remaining, REPLAY_SECONDS))
            if -remaining <= self._staleTTL and self._staleTTL > 0.0:
                self.staleHits += 1
                return staleAnswer(entry, remaining, self._expiredEntryTTL)
        self.misses += 1
        return None

    def _failed(self, reason: Failure) -> None:
        """
        Have nothing. The store says in the log what is the matter.
        """
        reason.trap(StoreError)
        self.failures += 1

    def cacheResult(self, query: ClientQuery, payload: Answer) -> None:
        """
        Keep an answer that came from upstream.
        """
        view = query.view
        if view is not None and view.cacheDisabled:
            return
        # What comes from a cache is in it with its own times.
        if isinstance(payload, CachedAnswer) or not self.store.available:
            return
        now = self._now()
        if self._clears.overtook(query.qname, query.received, now):
            return
        entry = entryOf(query, payload, now, self._policy)
        if entry is not None:
            self.store.put(query.key, entry)
