# -*- test-case-name: tests.assembly.test_refreshing -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the configuration to the rules that caches go by.
"""

from __future__ import annotations

from dnsguard.caching.refresh import RefreshPolicy, adaptiveHotRate
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.config.sections.caching import CacheConfig
from dnsguard.services.refresh import RefreshSettings
from dnsguard.services.sweeper import SweepRules

__all__ = ["refreshPolicy", "refreshSettings", "sweepRules", "ttlPolicy"]


def ttlPolicy(cache: CacheConfig) -> TTLPolicy:
    """
    Say for how long answers are kept.
    """
    refresh = cache.refresh
    return TTLPolicy(
        minTTL=int(cache.minTTL),
        maxTTL=int(cache.maxTTL),
        negativeTTL=int(cache.negativeTTL),
        respectSourceTTL=cache.respectSourceTTL,
        grace=int(cache.lruGracePeriod),
        staleTTL=int(refresh.staleTTL) if refresh.serveStale else 0,
    )


def refreshPolicy(cache: CacheConfig) -> RefreshPolicy:
    """
    Say when answers are due.
    """
    refresh = cache.refresh
    rate = refresh.hotThresholdRate
    return RefreshPolicy.preset(
        refresh.refreshMode.value,
        hitWindow=refresh.hitWindow,
        hotThresholdRate=adaptiveHotRate(cache.clientTTLCap) if rate is None else rate,
        hotThreshold=refresh.hotThreshold,
        hotTTL=refresh.hotTTL,
        hotTTLFraction=refresh.hotTTLFraction,
        warmThreshold=refresh.warmThreshold,
        warmTTL=refresh.warmTTL,
        warmTTLFraction=refresh.warmTTLFraction,
        minTTL=refresh.minTTL,
        refreshPastAuthTTL=refresh.refreshPastAuthTTL,
    )


def refreshSettings(cache: CacheConfig) -> RefreshSettings:
    """
    Say how answers are renewed.
    """
    return RefreshSettings(
        enabled=cache.refresh.enabled,
        ttlPolicy=ttlPolicy(cache),
        maxInFlight=cache.refresh.maxInflight,
        lockTTL=cache.refresh.lockTTL,
        failLogInterval=cache.refreshUpstreamFailLogInterval,
    )


def sweepRules(cache: CacheConfig) -> SweepRules:
    """
    Say how the caches are gone through.
    """
    refresh = cache.refresh
    return SweepRules(
        refresh=refresh.enabled,
        interval=refresh.sweepInterval,
        window=refresh.sweepWindow,
        batchSize=refresh.maxBatchSize,
        hitWindow=refresh.sweepHitWindow,
        # As the counts in a shared store are whole numbers, 0 saves nobody.
        minHits=refresh.sweepMinHits,
        # The other half is for what clients ask for.
        parallel=max(1, refresh.maxInflight // 2),
        policy=refreshPolicy(cache),
    )
