# -*- test-case-name: tests.services.test_shelves -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a sweeper goes through: the answers of this process, or those that several
instances share.

Both say the same of themselves: what is due, what is known of it, and how it is
thrown away. Where there is a shared store that works, its answers are the ones
to keep fresh, once for all instances; else each process sees to its own.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from dnsguard.caching.candidate import Candidate, Standing
from dnsguard.caching.entry import Entry
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.caching.refreshstats import Removed
from dnsguard.caching.sliding import SlidingCounts
from dnsguard.interfaces import IAnswerStore
from dnsguard.resolvers.memorycache import MemoryCacheResolver

__all__ = ["LocalShelf", "SharedShelf", "Shelf"]

RECONCILED = 500
"""Places in a shared index that one sweep looks at."""

CHECKED = 200
"""Keys that a shared store is asked about in one operation."""


class Shelf(Protocol):
    """
    Answers to keep fresh. Whatever is shared may fail with
    L{dnsguard.errors.StoreError}.
    """

    async def tidy(self, until: float, limit: int) -> Removed:
        """
        Throw away what is past all use, and look for what is due.

        @param until: As for L{candidates}; so for C{limit}.
        """

    async def candidates(self, until: float, limit: int) -> list[Candidate]:
        """
        List what is fresh no longer than a certain time, in order.
        """

    async def standings(self, keys: Sequence[Key]) -> list[Standing]:
        """
        Tell what is known of keys.
        """

    async def delete(self, keys: Sequence[Key]) -> int:
        """
        Throw answers away that nobody asks for.

        @return: How many are gone.
        """

    async def drop(self, keys: Sequence[Key]) -> int:
        """
        Forget candidates that there is no answer for.
        """

    async def sample(self, limit: int) -> list[Key]:
        """
        List some of the keys.
        """


class LocalShelf:
    """
    The answers of this process. Its expiry index is a walk over them, which
    the cache makes at each sweep anyway.
    """

    def __init__(
        self,
        memory: MemoryCacheResolver,
        rates: HitRates[Key],
        counts: SlidingCounts | None,
        clock: IReactorTime,
    ) -> None:
        """
        @param rates: The hits of the hit window.
        @param counts: The hits of the sweeper's window; L{None}: nobody counts.
        """
        self._memory = memory
        self._rates = rates
        self._counts = counts
        self._clock = clock
        self._found: list[Candidate] = []

    async def tidy(self, until: float, limit: int) -> Removed:
        """
        Sweep the cache. What is past its retention isn't counted as removed:
        no sweep decides that.
        """
        soonest: list[tuple[float, Key]] = []

        def seen(key: Key, entry: Entry) -> None:
            if entry.softExpiry > until:
                return
            # A heap with the latest on top, so that it never holds more.
            if len(soonest) < limit:
                heapq.heappush(soonest, (-entry.softExpiry, key))
            else:
                heapq.heappushpop(soonest, (-entry.softExpiry, key))

        await self._memory.sweep(seen)
        soonest.sort(reverse=True)
        self._found = [Candidate(key, -negated) for negated, key in soonest]
        return Removed()

    async def candidates(self, until: float, limit: int) -> list[Candidate]:
        """
        Give what L{tidy} found.
        """
        found, self._found = self._found, []
        return found[:limit]

    async def standings(self, keys: Sequence[Key]) -> list[Standing]:
        """
        Tell what is known of keys, some of them a reactor turn.
        """
        known: list[Standing] = []
        for part in _parts(keys):
            if known:
                await deferLater(self._clock, 0.0)
            now = self._clock.seconds()
            known += [self._standing(key, now) for key in part]
        return known

    def _standing(self, key: Key, now: float) -> Standing:
        entry = self._memory.entry(key)
        if entry is None:
            return Standing(False)
        counts = self._counts
        # Before a whole window has been counted nobody can be called cold.
        counted = counts is not None and counts.covers(now)
        return Standing(
            True,
            entry.createdAt if counted else now,
            round(self._rates.count(key, now)),
            0 if counts is None else round(counts.count(key, now)),
        )

    async def delete(self, keys: Sequence[Key]) -> int:
        """
        Leave answers to expire: they may yet be good to be served stale, and
        the cache has bounds of its own.
        """
        return 0

    async def drop(self, keys: Sequence[Key]) -> int:
        """
        There is no index to take them out of.
        """
        return len(keys)

    async def sample(self, limit: int) -> list[Key]:
        """
        List some of the keys, from all over the cache.
        """
        keys = self._memory.keys()
        return keys[:: max(1, -(-len(keys) // limit))]


class SharedShelf:
    """
    The answers that instances share.
    """

    def __init__(self, store: IAnswerStore, maxKeys: int = 0) -> None:
        """
        @param maxKeys: The most answers there may be; 0: no bound.
        """
        self.maxKeys = maxKeys
        self._store = store

    async def tidy(self, until: float, limit: int) -> Removed:
        """
        Put the index in order, and keep within the bound.
        """
        reconciled: int = await self._store.reconcile(RECONCILED)
        evicted: int = await self._store.evictBeyond(self.maxKeys) if self.maxKeys else 0
        return Removed(capEvicted=evicted, reconciled=reconciled)

    async def candidates(self, until: float, limit: int) -> list[Candidate]:
        """
        Ask the index.
        """
        found: list[Candidate] = await self._store.expiryCandidates(until, limit)
        return found

    async def standings(self, keys: Sequence[Key]) -> list[Standing]:
        """
        Ask what is known, some keys at a time.
        """
        known: list[Standing] = []
        for part in _parts(keys):
            known += await self._store.candidateChecks(part)
        return known

    async def delete(self, keys: Sequence[Key]) -> int:
        """
        Throw answers away, with all that belongs to them.
        """
        deleted = 0
        for part in _parts(keys):
            deleted += await self._store.deleteKeys(part)
        return deleted

    async def drop(self, keys: Sequence[Key]) -> int:
        """
        Take keys out of the index.
        """
        dropped = 0
        for part in _parts(keys):
            dropped += await self._store.dropCandidates(part)
        return dropped

    async def sample(self, limit: int) -> list[Key]:
        """
        List those that stay fresh the longest: the ones kept last.
        """
        return [candidate.key for candidate in await self._store.freshest(limit)]


def _parts(keys: Sequence[Key]) -> Iterable[Sequence[Key]]:
    return (keys[start : start + CHECKED] for start in range(0, len(keys), CHECKED))
