# -*- test-case-name: tests.caching.test_statistics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The documented shapes of C{/cache/stats} and C{/cache/refresh/stats}.

Plain functions of plain numbers: who has the numbers, and who serves the
result, is settled elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from dnsguard.caching.refresh import RefreshPolicy, Tier
from dnsguard.caching.refreshstats import DAY, RefreshStatistics, Removed, meanAndDeviation

__all__ = [
    "CacheStatistics",
    "SweepSettings",
    "TierCounts",
    "cacheStats",
    "duration",
    "refreshStats",
]

_NO_SWEEP = "0001-01-01T00:00:00Z"
"""What stands for "never" in the documented form."""


@attrs.frozen
class CacheStatistics:
    """
    What a L{dnsguard.resolvers.memorycache.MemoryCacheResolver} holds, and its
    counters since it was made.

    @ivar entries: Answers held now.
    @ivar maxEntries: The most it holds.
    @ivar bytes: Octets they take, about.
    @ivar maxBytes: The most they may take.
    @ivar hits: Queries answered with a fresh entry.
    @ivar staleHits: Queries that a stale entry was offered to.
    @ivar misses: Queries that there was nothing for.
    @ivar evictions: Entries pushed out for lack of room.
    @ivar refused: Answers too large for the whole cache.
    @ivar fresh: Entries that were fresh at the last sweep.
    @ivar stale: Entries that were no longer fresh, but could be served.
    @ivar expired: Entries that the last sweep removed as past all use.
    """

    entries: int
    maxEntries: int
    bytes: int
    maxBytes: int
    hits: int
    staleHits: int
    misses: int
    evictions: int
    refused: int
    fresh: int
    stale: int
    expired: int


@attrs.frozen
class TierCounts:
    """
    Lookups in one tier of the cache.

    @ivar hits: Queries it answered, stale answers included.
    @ivar misses: Queries it was asked and had nothing for.
    """

    hits: int
    misses: int

    @property
    def hitRate(self) -> float:
        """
        The share of hits, from 0 to 100.
        """
        lookups = self.hits + self.misses
        return 100.0 * self.hits / lookups if lookups else 0.0


@attrs.frozen
class SweepSettings:
    """
    The settings that C{/cache/refresh/stats} shows besides the policy's. Times
    are seconds.
    """

    cacheMinTTL: float
    clientTTLCap: float
    sweepHitWindow: float
    sweepMinHits: int
    batchSize: int


def duration(seconds: float) -> str:
    """
    Write a span of time in the documented form: C{48h0m0s}, C{5m0s}, C{1.5s}.
    """
    if seconds < 60:
        return f"{seconds:.9g}s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{rest:.9g}s"


def cacheStats(
    tiers: Mapping[str, TierCounts],
    lru: CacheStatistics | None = None,
    *,
    redisKeys: int | None = None,
    redisMaxKeys: int | None = None,
) -> dict[str, Any]:
    """
    Make the body of C{/cache/stats}.

    @param tiers: The counts of each tier in the order they are asked: C{l0},
        C{l1}. A query counts as a hit when one of them had it; those that the
        last one missed are the misses.
    @param lru: What the cache in this process says of itself; L{None}: there is
        none.
    @param redisKeys: Answers in the shared store, where it is known.
    @param redisMaxKeys: The most there may be; 0 for no bound.
    """
    hits = sum(tier.hits for tier in tiers.values())
    misses = list(tiers.values())[-1].misses if tiers else 0
    stats: dict[str, Any] = {
        "hits": hits,
        "misses": misses,
        "hit_rate": round(TierCounts(hits, misses).hitRate, 2),
        "tiers": {
            name: {
                "hits": tier.hits,
                "misses": tier.misses,
                "hit_rate": round(tier.hitRate, 2),
            }
            for name, tier in tiers.items()
        },
    }
    if lru is not None:
        stats["lru"] = {
            "entries": lru.entries,
            "max_entries": lru.maxEntries,
            "fresh": lru.fresh,
            "stale": lru.stale,
            "expired": lru.expired,
            "fill_ratio": round(lru.entries / lru.maxEntries, 4),
        }
    if redisKeys is not None:
        stats["redis_keys"] = redisKeys
    if redisMaxKeys is not None:
        stats["redis_max_keys"] = redisMaxKeys
    return stats


def refreshStats(
    statistics: RefreshStatistics, policy: RefreshPolicy, settings: SweepSettings, now: float
) -> dict[str, Any]:
    """
    Make the body of C{/cache/refresh/stats}.

    @param now: Seconds since the epoch.
    """
    sweeps = statistics.sweeps(now)
    last = statistics.last
    mean, deviation = meanAndDeviation([sweep.refreshed for sweep in sweeps])
    removed = sum((sweep.removed for sweep in sweeps), Removed())
    refreshed = sum(sweep.refreshed for sweep in sweeps)
    requested = {tier: statistics.requestedLately(tier, now) for tier in Tier}
    stats: dict[str, Any] = {
        "last_sweep_time": _NO_SWEEP if last is None else _time(last.at),
        "last_sweep_count": 0 if last is None else last.refreshed,
        "last_sweep_removed_count": 0 if last is None else last.removed.total,
        "last_sweep_removed_breakdown": _breakdown(Removed() if last is None else last.removed),
        "average_per_sweep_24h": round(mean, 3),
        "std_dev_per_sweep_24h": round(deviation, 3),
        "sweeps_24h": len(sweeps),
        "refreshed_24h": refreshed,
        "removed_24h": removed.total,
        "removed_24h_breakdown": _breakdown(removed),
        "batch_size": settings.batchSize,
        "stats_window_sec": int(DAY),
        "estimated_refreshed_daily": statistics.projected(refreshed, now)
        + sum(requested.values()),
        "estimated_removed_daily": statistics.projected(removed.total, now),
        "deletion_candidates": statistics.deletionCandidates,
        "sweep_hit_window": duration(settings.sweepHitWindow),
        "sweep_min_hits": settings.sweepMinHits,
        "request_refreshed_hot_24h": requested[Tier.HOT],
        "request_refreshed_warm_24h": requested[Tier.WARM],
        "request_refreshed_normal_24h": requested[Tier.NORMAL],
        "refresh_config": {
            "cache_min_ttl": duration(settings.cacheMinTTL),
            "refresh_min_ttl": duration(policy.minTTL),
            "client_ttl_cap": duration(settings.clientTTLCap),
            "hot_threshold_rate": policy.hotThresholdRate,
            "hot_ttl_fraction": policy.hotTTLFraction,
            "warm_threshold": policy.warmThreshold,
            "warm_ttl": duration(policy.warmTTL),
            "warm_ttl_fraction": policy.warmTTLFraction,
            "refresh_past_auth_ttl": policy.refreshPastAuthTTL,
        },
    }
    census = statistics.census
    if census is not None and census.sampled:
        stats["hot_warm_entry_stats"] = {
            "hot_count": census.hot,
            "warm_count": census.warm,
            "cold_count": census.cold,
            "sampled_count": census.sampled,
            "hot_pct": round(100.0 * census.hot / census.sampled, 2),
            "warm_pct": round(100.0 * census.warm / census.sampled, 2),
        }
    return stats


def _breakdown(removed: Removed) -> dict[str, int]:
    return {
        "cold_keys": removed.coldKeys,
        "cap_evicted": removed.capEvicted,
        "index_orphans": removed.indexOrphans,
        "reconcile": removed.reconciled,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
