# -*- test-case-name: tests.assembly.test_cachestate -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The caches of a running server, as the control API asks about them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from dnsguard.caching.statistics import TierCounts
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerStore
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.services.cacheclear import CacheClear

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
    def clearing(self) -> CacheClear:
        """
        What clears.
        """
        return self._guard.caches.clearing

    def stats(self) -> Deferred[dict[str, Any]]:
        """
        Count hits and misses, and what is held.
        """
        return Deferred.fromCoroutine(self._stats())

    async def _stats(self) -> dict[str, Any]:
        guard = self._guard
        facts: dict[str, Any] = {}
        shared = guard.chain.shared
        if shared is not None:
            facts["redis"] = TierCounts(shared.hits + shared.staleHits, shared.misses)
        if guard.redis is not None:
            facts["redisMaxKeys"] = guard.caches.maxKeys
            # While it is away nobody knows how many there are.
            with suppress(StoreError):
                facts["redisKeys"] = await guard.redis.store.count()
        replay: Any = guard.replay
        return {**guard.caches.cacheStats(**facts), "replay": dict(replay.counters())}

    def refreshStats(self) -> dict[str, Any]:
        """
        Count what was fetched anew, and what was thrown away.
        """
        return self._guard.caches.refreshStats()

    def setMaxKeys(self, most: int) -> bool:
        """
        Set how many answers the shared cache may have; false: there is none.
        """
        return self._guard.caches.setMaxKeys(most)
