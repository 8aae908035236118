# -*- test-case-name: tests.assembly.test_refreshing -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The caches, and all that keeps them fresh, counted, saved and cleared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed

from dnsguard.assembly.cacherules import refreshPolicy, refreshSettings, sweepRules, ttlPolicy
from dnsguard.caching.clears import RecentClears
from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.caching.refresh import Tier
from dnsguard.caching.refreshstats import RefreshStatistics
from dnsguard.caching.servfail import BackoffTable
from dnsguard.caching.sliding import SlidingCounts
from dnsguard.caching.statistics import SweepSettings, TierCounts, cacheStats, refreshStats
from dnsguard.config.model import Config
from dnsguard.config.sections.caching import CacheConfig
from dnsguard.interfaces import IAnswerer, IAnswerStore, IReplayStore
from dnsguard.observers.hitcounter import HitCounter
from dnsguard.query import ClientQuery
from dnsguard.resolvers.backoff import BackoffResolver
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.resolvers.rediscache import Watch
from dnsguard.services.cacheclear import CacheClear
from dnsguard.services.refresh import RefreshService, TraceRefresh
from dnsguard.services.shelves import LocalShelf, SharedShelf
from dnsguard.services.snapshot import SnapshotService, SnapshotSettings
from dnsguard.services.sweeper import SweeperService
from dnsguard.services.warmstart import WarmStart

__all__ = ["Caches"]


class Caches(MultiService):
    """
    The caches of one server.

    What is cached outlives a change of the configuration; what goes by the
    configuration is made anew.

    @ivar memory: L0; L{None} if it is switched off.
    @ivar clears: What was cleared lately.
    @ivar table: What upstream failed to answer.
    @ivar statistics: What refreshing did.
    @ivar settings: The configuration in force.
    @ivar refresh: Renews answers.
    @ivar sweeper: Goes through the caches.
    @ivar counter: The observer that counts hits.
    @ivar snapshot: The copy on disk, or L{None}.
    @ivar clearing: Clears all of it.
    """

    def __init__(
        self,
        config: Config,
        upstream: IAnswerer,
        reactor: Any,
        wallClock: Callable[[], float],
        *,
        replay: IReplayStore | None = None,
        store: IAnswerStore | None = None,
    ) -> None:
        """
        @param upstream: Whom to ask for what is due.
        @param wallClock: Seconds since the epoch.
        @param replay: The replies made.
        @param store: The answers that instances share.
        """
        super().__init__()
        self.setName("caches")
        self._upstream = upstream
        self._reactor = reactor
        self._wallClock = wallClock
        self._replay = replay
        self._loading: Deferred[Any] = succeed(None)
        self.statistics = RefreshStatistics(wallClock())
        cache = config.cache
        self.settings = cache
        self.table: BackoffTable[Key] = BackoffTable(
            cache.servfailBackoff,
            refreshThreshold=cache.servfailRefreshThreshold,
            logInterval=cache.servfailLogInterval,
        )
        self.backoff = BackoffResolver(self.table, clock=reactor)
        self.memory: MemoryCacheResolver | None = None
        self.clears = RecentClears()
        self._trace: TraceRefresh | None = None
        self._store: IAnswerStore | None = None
        self._counted: tuple[float, ...] | None = None
        self._make(config, store)

    def _make(self, config: Config, store: IAnswerStore | None) -> None:
        """
        Make what goes by the configuration.
        """
        cache = self.settings = config.cache
        before: IAnswerStore | None = self._store
        self._store = store
        self._makeCounts(cache)
        self._makeMemory(cache)
        self.refresh = self._makeRefresh(cache)
        self.refresh.trace = self._trace
        self.counter = self._makeCounter(cache)
        self.sweeper = self._makeSweeper(cache)
        self.snapshot = self._makeSnapshot(config)
        self.clearing = CacheClear(
            memory=self.memory,
            replay=self._replay,
            backoffs=(self.table, self.backoff.unreachable),
            store=store,
            snapshot=self.snapshot,
            clears=self.clears if self.memory is None else None,
            seconds=self._reactor.seconds,
        )
        services = [self.refresh, self.counter, self.sweeper, self.clearing]
        if self.snapshot is not None:
            services.append(self.snapshot)
        if store is not None and store is not before and self.memory is not None:
            services.append(WarmStart(store, self.memory, self._reactor))
        for service in services:
            service.setServiceParent(self)

    def _makeCounts(self, cache: CacheConfig) -> None:
        """
        Make the counts of hits, unless those there are will do.
        """
        refresh = cache.refresh
        window = refresh.sweepHitWindow if refresh.enabled else 0.0
        capacity = cache.hitCounterMaxEntries
        rate = refresh.hitCountSampleRate
        wanted: tuple[float, ...] = (capacity, refresh.hitWindow, rate, window)
        if self._counted == wanted:
            return
        self._counted = wanted
        self._rates: HitRates[Key] = HitRates(capacity, refresh.hitWindow, sampleRate=rate)
        self._counts: SlidingCounts | None = None
        if window > 0:
            self._counts = SlidingCounts(capacity, window)

    def _makeRefresh(self, cache: CacheConfig) -> RefreshService:
        return RefreshService(
            self._upstream,
            self.memory,
            self.table,
            self._reactor,
            settings=refreshSettings(cache),
            statistics=self.statistics,
            wallClock=self._wallClock,
            store=self._store,
            clears=self.clears,
            onRefreshed=self._replace,
        )

    def _makeCounter(self, cache: CacheConfig) -> HitCounter:
        refresh = cache.refresh
        return HitCounter(
            self._rates,
            self._reactor,
            counts=self._counts,
            store=self._store,
            sampleRate=refresh.hitCountSampleRate,
            capacity=cache.hitCounterMaxEntries,
            sweepWindow=0.0 if self._counts is None else refresh.sweepHitWindow,
            onStale=self._stale,
        )

    def _makeMemory(self, cache: CacheConfig) -> None:
        """
        Make L0, or have the one there is go by other rules.
        """
        expired = int(cache.refresh.expiredEntryTTL)
        if not cache.lruSize:
            self.memory = None
        elif self.memory is None:
            self.memory = MemoryCacheResolver(
                cache.lruSize,
                maxBytes=cache.maxBytes,
                clock=self._reactor,
                ttlPolicy=ttlPolicy(cache),
                expiredEntryTTL=expired,
                refreshPolicy=refreshPolicy(cache),
                hits=self._rates,
                onDue=self._due if cache.refresh.enabled else None,
            )
            self.clears = self.memory.clears
        else:
            self.memory.resize(cache.lruSize, cache.maxBytes)
            self.memory.reconfigure(ttlPolicy(cache), expired, refreshPolicy(cache))
            self.memory.watch(self._rates, self._due if cache.refresh.enabled else None)

    def _makeSweeper(self, cache: CacheConfig) -> SweeperService:
        local, store = None, self._store
        self._shelf = None if store is None else SharedShelf(store, cache.redis.maxKeys)
        if self.memory is not None:
            local = LocalShelf(self.memory, self._rates, self._counts, self._reactor)
        return SweeperService(
            self.refresh,
            local,
            self.table,
            self._reactor,
            rules=sweepRules(cache),
            statistics=self.statistics,
            wallClock=self._wallClock,
            store=store,
            shared=self._shelf,
            flush=self.counter.flush,
        )

    def _makeSnapshot(self, config: Config) -> SnapshotService | None:
        cache = config.cache
        if self.memory is None or not cache.snapshot.enabled:
            return None
        return SnapshotService(
            config.statePath(cache.snapshot.path),
            self.memory,
            self._rates,
            self._reactor,
            settings=SnapshotSettings(
                interval=cache.snapshot.interval,
                maxEntries=cache.snapshot.maxEntries,
                maxBytes=2 * cache.maxBytes,
            ),
            ttlPolicy=ttlPolicy(cache),
            wallClock=self._wallClock,
            clearings=lambda: None if self._store is None else self._store.clearings,
            restoring=self._restoring,
        )

    # Late bound: the services behind these are replaced.

    def _due(self, query: ClientQuery, tier: Tier) -> None:
        self.refresh.due(query, tier)

    def watch(self) -> Watch | None:
        """
        Give what counts hits on shared answers and says which are due; L{None}
        if L0 does that, or nothing is ever due.
        """
        if self.memory is not None or not self.settings.refresh.enabled:
            return None
        return Watch(self._rates, refreshPolicy(self.settings), self._dueShared)

    def _dueShared(self, query: ClientQuery, tier: Tier, softExpiry: float) -> None:
        self.refresh.due(query, tier, softExpiry)

    def _stale(self, query: ClientQuery) -> None:
        self.refresh.due(query, Tier.NORMAL)

    def _restoring(self, clearings: int | None) -> None:
        if self._store is not None:
            self._store.resume(clearings)

    def _replace(self, qname: bytes) -> None:
        if self._replay is not None:
            self._replay.forget(qname)

    def startService(self) -> None:
        """
        Begin, with what was saved at the end of the last run.
        """
        super().startService()
        if self.snapshot is not None:
            self._loading = self.snapshot.load()

    def whenLoaded(self) -> Deferred[None]:
        """
        Wait until what was saved is in the cache.
        """
        loaded: Deferred[None] = Deferred()

        def pass_(result: Any) -> Any:
            loaded.callback(None)
            return result

        self._loading.addBoth(pass_)
        return loaded

    async def reconfigure(self, config: Config, store: IAnswerStore | None = None) -> None:
        """
        Go by another configuration. What is cached stays.

        @param store: As for the constructor.
        """
        if config.cache == self.settings and store is self._store:
            return
        cache = config.cache
        before: list[Any] = list(self)
        await gatherResults([maybeDeferred(each.disownServiceParent) for each in before])
        self.table.reconfigure(
            cache.servfailBackoff, cache.servfailRefreshThreshold, cache.servfailLogInterval
        )
        self._make(config, store)

    def traceRefreshes(self, trace: TraceRefresh | None) -> None:
        """
        Tell somebody of each refresh from now on, or nobody.
        """
        self._trace = self.refresh.trace = trace

    def setMaxKeys(self, most: int) -> bool:
        """
        Set how many answers the shared store may have, until the next reload.

        @return: False: there is no shared store.
        """
        if self._shelf is None:
            return False
        self._shelf.maxKeys = most
        return True

    @property
    def maxKeys(self) -> int | None:
        """
        How many answers the shared store may have; 0: no bound; L{None}: there
        is none.
        """
        return None if self._shelf is None else self._shelf.maxKeys

    # Statistics.

    def cacheStats(self, redis: TierCounts | None = None, **facts: Any) -> dict[str, Any]:
        """
        Give the body of C{/cache/stats}.

        @param redis: The counts of the shared store's tier, if there is one.
        @param facts: Further keyword arguments of
            L{dnsguard.caching.statistics.cacheStats}.
        """
        tiers = {}
        lru = None
        if self.memory is not None:
            lru = self.memory.statistics
            tiers["l0"] = TierCounts(lru.hits + lru.staleHits + self.counter.replayed, lru.misses)
        if redis is not None:
            tiers["l1"] = redis
        return cacheStats(tiers, lru, **facts)

    def refreshStats(self) -> dict[str, Any]:
        """
        Give the body of C{/cache/refresh/stats}.
        """
        cache = self.settings
        refresh = cache.refresh
        settings = SweepSettings(
            cacheMinTTL=cache.minTTL,
            clientTTLCap=cache.clientTTLCap,
            sweepHitWindow=refresh.sweepHitWindow,
            sweepMinHits=refresh.sweepMinHits,
            batchSize=refresh.maxBatchSize,
        )
        return refreshStats(self.statistics, refreshPolicy(cache), settings, self._wallClock())

    def counters(self) -> dict[str, float]:
        """
        Give the numbers to publish.
        """
        numbers: dict[str, float] = {
            f"refresh_{name}": value for name, value in attrs.asdict(self.refresh.counters).items()
        }
        numbers |= {
            "refresh_in_flight": len(self.refresh),
            "sweeps": self.sweeper.rounds,
            "sweeps_left_to_others": self.sweeper.left,
            "sweeps_broken": self.sweeper.broken,
            "sweeps_silent": self.sweeper.silent,
            "hits_replayed": self.counter.replayed,
            "hits_uncounted": self.counter.uncounted,
            "hits_not_shared": self.counter.failures,
            "hit_counts_forgotten": self._rates.forgotten,
            "clearings": self.clearing.clearings,
            "clearings_heard": self.clearing.heard,
            "backoffs": len(self.table),
            "backoffs_evicted": self.table.evictions,
        }
        if self.snapshot is not None:
            numbers |= {
                "snapshots_saved": self.snapshot.saved,
                "snapshots_failed": self.snapshot.failures,
                "snapshot_entries": self.snapshot.entries,
                "snapshot_restored": self.snapshot.restored,
            }
        return numbers
