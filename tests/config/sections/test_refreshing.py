# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.refreshing}.
"""

from __future__ import annotations

from dnsguard.config.sections.refreshing import RefreshConfig, RefreshMode, SnapshotConfig
from tests.config.sections.cases import SectionCase


class RefreshTests(SectionCase):
    """
    Tests for C{cache.refresh}.
    """

    def refresh(self, text: str) -> RefreshConfig:
        """
        The section of a text.
        """
        return self.config(f"cache: {{refresh: {{{text}}}}}").cache.refresh

    def test_defaults(self) -> None:
        """
        The documented defaults hold.
        """
        refresh = self.refresh("")
        self.assertTrue(refresh.enabled)
        self.assertIs(refresh.refreshMode, RefreshMode.CUSTOM)
        self.assertIsNone(refresh.hotThresholdRate)
        self.assertEqual(
            (refresh.hitWindow, refresh.hotThreshold, refresh.minTTL), (60.0, 20, 3600.0)
        )
        self.assertEqual((refresh.hotTTL, refresh.hotTTLFraction), (120.0, 0.0))
        self.assertEqual(
            (refresh.warmThreshold, refresh.warmTTL, refresh.warmTTLFraction), (0, 300.0, 0.0)
        )
        self.assertTrue(refresh.refreshPastAuthTTL)
        self.assertEqual((refresh.lockTTL, refresh.maxInflight), (10.0, 100))
        self.assertEqual(
            (refresh.sweepInterval, refresh.sweepWindow, refresh.maxBatchSize), (15.0, 60.0, 2000)
        )
        self.assertEqual((refresh.sweepMinHits, refresh.sweepHitWindow), (1, 0.0))
        self.assertEqual((refresh.hitCountSampleRate, refresh.clientResponseTimeout), (1.0, 1.8))
        cache = self.config("").cache
        self.assertEqual(cache.hitCounterMaxEntries, 10_000)
        self.assertEqual(cache.refreshUpstreamFailLogInterval, 60.0)

    def test_modes(self) -> None:
        """
        The documented modes are known; none is the custom one.
        """
        for word in ("aggressive", "balanced", "conservative", "custom"):
            self.assertEqual(self.refresh(f"refresh_mode: {word}").refreshMode.value, word)
        self.assertIs(self.refresh("refresh_mode: ''").refreshMode, RefreshMode.CUSTOM)
        self.assertEqual(
            self.paths("cache: {refresh: {refresh_mode: eager}}"), ["cache.refresh.refresh_mode"]
        )

    def test_numbers(self) -> None:
        """
        Rates and shares may have fractions.
        """
        refresh = self.refresh("hot_threshold_rate: 2.5, hot_ttl_fraction: 0.3")
        self.assertEqual((refresh.hotThresholdRate, refresh.hotTTLFraction), (2.5, 0.3))
        self.assertEqual(self.refresh("sweep_min_hits: 0").sweepMinHits, 0)

    def test_otherPaths(self) -> None:
        """
        Keys stand where they are documented, too.
        """
        cache = self.config("cache: {redis: {hit_counter_max_entries: 77}}").cache
        self.assertEqual(cache.hitCounterMaxEntries, 77)

    def test_refused(self) -> None:
        """
        What is switched on needs times and numbers that aren't zero.
        """
        for text, key in [
            ("hit_window: 0", "hit_window"),
            ("min_ttl: 0", "min_ttl"),
            ("hot_ttl: 0", "hot_ttl"),
            ("lock_ttl: 0", "lock_ttl"),
            ("max_inflight: 0", "max_inflight"),
            ("sweep_interval: 0", "sweep_interval"),
            ("sweep_window: 0", "sweep_window"),
            ("max_batch_size: 0", "max_batch_size"),
            ("warm_threshold: 1, warm_ttl: 0", "warm_ttl"),
            ("warm_ttl_fraction: 1.5", "warm_ttl_fraction"),
            ("sweep_min_hits: -1", "sweep_min_hits"),
            ("hot_threshold: -1", "hot_threshold"),
        ]:
            self.assertEqual(
                self.paths(f"cache: {{refresh: {{{text}}}}}"), [f"cache.refresh.{key}"]
            )
        self.refresh("enabled: false, hit_window: 0, max_inflight: 0, sweep_interval: 0")


class SnapshotTests(SectionCase):
    """
    Tests for C{cache.snapshot}.
    """

    def test_defaults(self) -> None:
        """
        There is a snapshot, unless it is switched off.
        """
        snapshot = self.config("").cache.snapshot
        self.assertEqual(snapshot, SnapshotConfig())
        self.assertEqual(
            (snapshot.enabled, snapshot.path, snapshot.interval, snapshot.maxEntries),
            (True, "cache.snapshot", 300.0, 100_000),
        )
        self.assertFalse(self.config("cache: {snapshot: {enabled: false}}").cache.snapshot.enabled)
