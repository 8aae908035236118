# -*- test-case-name: tests.assembly.test_cachestate -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The caches of a running server, as the control API asks about them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dnsguard.caching.statistics import TierCounts
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerStore
from dnsguard.processes.totals import addCaches, addRefreshes
from dnsguard.resolvers.memorycache import MemoryCacheResolver

if TYPE_CHECKING:
    from dnsguard.assembly.guard import Guard

__all__ = ["GuardCaches"]


class GuardCaches:
    """
    Looks up each time what a reload may have replaced.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    @property
    def memory(self) -> MemoryCacheResolver | None:
        """
        L0, if there is one.
        """
        return self._guard.caches.memory

    @property
    def shared(self) -> IAnswerStore | None:
        """
        L1, if there is one.
        """
        redis = self._guard.redis
        return None if redis is None else redis.store

    @property
    def clearing(self) -> ClearEverywhere:
        """
        What clears.
        """
        return ClearEverywhere(self._guard)

    def stats(self) -> Deferred[dict[str, Any]]:
        """
        Count hits and misses, and what is held, of all processes.
        """
        return Deferred.fromCoroutine(self._stats())

    async def _stats(self) -> dict[str, Any]:
        guard = self._guard
        facts: dict[str, Any] = {}
        if guard.redis is not None:
            facts["redisMaxKeys"] = guard.caches.maxKeys
            # While it is away nobody knows how many there are.
            with suppress(StoreError):
                facts["redisKeys"] = await guard.redis.store.count()
        if guard.helpers is None:
            return self.ownStats(**facts)
        others = await guard.helpers.counts()
        return addCaches(self.ownStats(**facts), [each.caches for each in others])

    def ownStats(self, **facts: Any) -> dict[str, Any]:
        """
        The same of this process.

        @param facts: What is known of a shared store.
        """
        guard = self._guard
        shared = guard.chain.shared
        if shared is not None:
            facts["redis"] = TierCounts(shared.hits + shared.staleHits, shared.misses)
        replay: Any = guard.replay
        return {**guard.caches.cacheStats(**facts), "replay": dict(replay.counters())}

    def refreshStats(self) -> dict[str, Any]:
        """
        Count what was fetched anew, and what was thrown away; of helpers, as
        they said last.
        """
        own = self._guard.caches.refreshStats()
        helpers = self._guard.helpers
        if helpers is None:
            return own
        return addRefreshes(own, [helper.counts.refreshes for helper in helpers.helpers])

    def setMaxKeys(self, most: int) -> bool:
        """
        Set how many answers the shared cache may have; false: there is none.
        """
        guard = self._guard
        done = guard.caches.setMaxKeys(most)
        if done:
            guard.wishes = attrs.evolve(guard.wishes, maxKeys=most)
            guard.tellHelpers()
        return done


class ClearEverywhere:
    """
    Clears what all processes remember.

    The main process and the shared store come first: what a helper takes over
    from there meanwhile is cleared with the rest of what it has.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def clear(self) -> Deferred[int]:
        """
        See L{CacheClear.clear <dnsguard.services.cacheclear.CacheClear.clear>}.
        """
        return self._and(self._guard.caches.clearing.clear(), None, False)

    def forget(self, qname: bytes) -> Deferred[int]:
        """
        See L{CacheClear.forget <dnsguard.services.cacheclear.CacheClear.forget>}.
        """
        return self._and(self._guard.caches.clearing.forget(qname), qname, False)

    def forgetBelow(self, qname: bytes) -> Deferred[int]:
        """
        See L{CacheClear.forgetBelow
        <dnsguard.services.cacheclear.CacheClear.forgetBelow>}.
        """
        return self._and(self._guard.caches.clearing.forgetBelow(qname), qname, True)

    def _and(self, clearing: Deferred[int], qname: bytes | None, below: bool) -> Deferred[int]:
        helpers = self._guard.helpers
        if helpers is None:
            return clearing

        def others(result: int | Failure) -> Deferred[int]:
            # Also when the shared store couldn't be cleared.
            return helpers.clear(qname, below).addCallback(
                lambda most: result if isinstance(result, Failure) else max(result, most)
            )

        return clearing.addBoth(others)
