# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.caching}.
"""

from __future__ import annotations

from tests.config.sections.cases import SectionCase


class CacheTests(SectionCase):
    """
    Tests for C{cache}.
    """

    def test_defaults(self) -> None:
        """
        The documented defaults hold.
        """
        cache = self.config("").cache
        self.assertEqual((cache.lruSize, cache.lruGracePeriod), (10_000, 3600.0))
        self.assertEqual((cache.minTTL, cache.maxTTL, cache.negativeTTL), (300.0, 3600.0, 300.0))
        self.assertEqual((cache.clientTTLCap, cache.respectSourceTTL), (0.0, False))
        self.assertEqual((cache.servfailBackoff, cache.servfailRefreshThreshold), (60.0, 10))
        self.assertIsNone(cache.servfailLogInterval)
        refresh = cache.refresh
        self.assertEqual((refresh.serveStale, refresh.staleTTL), (True, 3600.0))
        self.assertEqual(refresh.expiredEntryTTL, 30.0)

    def test_zero(self) -> None:
        """
        Zero is zero wherever it makes sense, never "as by default".
        """
        cache = self.config(
            "cache: {lru_size: 0, min_ttl: 0, negative_ttl: 0, servfail_backoff: 0,"
            " servfail_refresh_threshold: 0, servfail_log_interval: 0, lru_grace_period: 0}"
        ).cache
        self.assertEqual(
            (
                cache.lruSize,
                cache.minTTL,
                cache.negativeTTL,
                cache.servfailBackoff,
                cache.servfailRefreshThreshold,
                cache.servfailLogInterval,
                cache.lruGracePeriod,
            ),
            (0, 0.0, 0.0, 0.0, 0, 0.0, 0.0),
        )

    def test_documentedPath(self) -> None:
        """
        The size stands where it is documented as well.
        """
        cache = self.config("cache: {redis: {lru_size: 77, lru_grace_period: 5m}}").cache
        self.assertEqual((cache.lruSize, cache.lruGracePeriod), (77, 300.0))

    def test_refused(self) -> None:
        """
        Times that contradict each other are refused.
        """
        for text, path in [
            ("min_ttl: 2h", "cache.min_ttl"),
            ("max_ttl: 0", "cache.max_ttl"),
            ("max_bytes: 1KB", "cache.max_bytes"),
            ("lru_size: -1", "cache.lru_size"),
            ("refresh: {stale_ttl: 0}", "cache.refresh.stale_ttl"),
            ("refresh: {expired_entry_ttl: 0}", "cache.refresh.expired_entry_ttl"),
        ]:
            self.assertEqual(self.paths(f"cache: {{{text}}}"), [path])
        self.config("cache: {refresh: {serve_stale: false, stale_ttl: 0}}")
