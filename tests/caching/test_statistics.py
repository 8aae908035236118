# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.statistics}.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.refresh import RefreshPolicy, Tier
from dnsguard.caching.refreshstats import Census, RefreshStatistics, Removed, Sweep
from dnsguard.caching.statistics import (
    CacheStatistics,
    SweepSettings,
    TierCounts,
    cacheStats,
    duration,
    refreshStats,
)

LRU = CacheStatistics(50, 200, 0, 0, 0, 0, 0, 0, 0, 40, 8, 2)
SETTINGS = SweepSettings(300.0, 0.0, 48 * 3600.0, 1, 2000)
BEGAN = 1_700_000_000.0


class DurationTests(SynchronousTestCase):
    """
    Tests for L{duration}.
    """

    def test_documentedForm(self) -> None:
        """
        Spans of time are written like the documentation's.
        """
        for seconds, text in [
            (48 * 3600, "48h0m0s"),
            (300, "5m0s"),
            (3661.5, "1h1m1.5s"),
            (1.5, "1.5s"),
            (0, "0s"),
        ]:
            self.assertEqual(duration(seconds), text)


class CacheStatsTests(SynchronousTestCase):
    """
    Tests for L{cacheStats}.
    """

    def test_twoTiers(self) -> None:
        """
        A query that any tier had is a hit, one that the last one missed a
        miss.
        """
        stats = cacheStats(
            {"l0": TierCounts(60, 40), "l1": TierCounts(20, 20)},
            LRU,
            redisKeys=7,
            redisMaxKeys=10,
        )
        self.assertEqual((stats["hits"], stats["misses"], stats["hit_rate"]), (80, 20, 80.0))
        self.assertEqual(stats["tiers"]["l0"], {"hits": 60, "misses": 40, "hit_rate": 60.0})
        self.assertEqual(stats["tiers"]["l1"]["hit_rate"], 50.0)
        self.assertEqual(
            stats["lru"],
            {
                "entries": 50,
                "max_entries": 200,
                "fresh": 40,
                "stale": 8,
                "expired": 2,
                "fill_ratio": 0.25,
            },
        )
        self.assertEqual((stats["redis_keys"], stats["redis_max_keys"]), (7, 10))

    def test_nothing(self) -> None:
        """
        Without caches there are zeros, and no parts that aren't there.
        """
        self.assertEqual(cacheStats({}), {"hits": 0, "misses": 0, "hit_rate": 0.0, "tiers": {}})


class RefreshStatsTests(SynchronousTestCase):
    """
    Tests for L{refreshStats}.
    """

    def test_documentedKeys(self) -> None:
        """
        The documented keys are there, those that may be missing once there is
        something to say.
        """
        statistics = RefreshStatistics(BEGAN)
        statistics.swept(Sweep(BEGAN + 10, 4, Removed(1, 2, 3, 4)))
        statistics.swept(Sweep(BEGAN + 20, 8))
        statistics.requested(Tier.HOT, BEGAN + 20)
        statistics.census = Census(1, 2, 5)
        statistics.deletionCandidates = 3
        policy = RefreshPolicy.preset("balanced")
        stats = refreshStats(statistics, policy, SETTINGS, BEGAN + 8640)
        json.dumps(stats)
        config = stats.pop("refresh_config")
        self.assertEqual(
            stats,
            {
                "last_sweep_time": "2023-11-14T22:13:40Z",
                "last_sweep_count": 8,
                "last_sweep_removed_count": 0,
                "last_sweep_removed_breakdown": {
                    "cold_keys": 0,
                    "cap_evicted": 0,
                    "index_orphans": 0,
                    "reconcile": 0,
                },
                "average_per_sweep_24h": 6.0,
                "std_dev_per_sweep_24h": 2.0,
                "sweeps_24h": 2,
                "refreshed_24h": 12,
                "removed_24h": 10,
                "removed_24h_breakdown": {
                    "cold_keys": 1,
                    "cap_evicted": 2,
                    "index_orphans": 3,
                    "reconcile": 4,
                },
                "batch_size": 2000,
                "stats_window_sec": 86400,
                "estimated_refreshed_daily": 121,
                "estimated_removed_daily": 100,
                "deletion_candidates": 3,
                "sweep_hit_window": "48h0m0s",
                "sweep_min_hits": 1,
                "request_refreshed_hot_24h": 1,
                "request_refreshed_warm_24h": 0,
                "request_refreshed_normal_24h": 0,
                "hot_warm_entry_stats": {
                    "hot_count": 1,
                    "warm_count": 2,
                    "cold_count": 5,
                    "sampled_count": 8,
                    "hot_pct": 12.5,
                    "warm_pct": 25.0,
                },
            },
        )
        self.assertEqual(config["refresh_min_ttl"], "1h0m0s")
        self.assertEqual(config["hot_ttl_fraction"], 0.3)
        self.assertEqual(
            set(config),
            {
                "cache_min_ttl",
                "refresh_min_ttl",
                "client_ttl_cap",
                "hot_threshold_rate",
                "hot_ttl_fraction",
                "warm_threshold",
                "warm_ttl",
                "warm_ttl_fraction",
                "refresh_past_auth_ttl",
            },
        )

    def test_nothingYet(self) -> None:
        """
        Before the first sweep there are zeros.
        """
        stats = refreshStats(RefreshStatistics(BEGAN), RefreshPolicy(), SETTINGS, BEGAN)
        self.assertEqual(stats["last_sweep_time"], "0001-01-01T00:00:00Z")
        self.assertEqual(stats["sweeps_24h"], 0)
        self.assertNotIn("hot_warm_entry_stats", stats)
