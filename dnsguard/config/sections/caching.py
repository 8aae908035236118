# -*- test-case-name: tests.config.sections.test_caching -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{cache}: what is remembered, and for how long.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.durations import formatDuration
from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Flag
from dnsguard.config.quantities import Duration, Integer, Size
from dnsguard.config.sections.redis import RedisConfig
from dnsguard.config.sections.refreshing import RefreshConfig, SnapshotConfig

__all__ = ["CacheConfig", "RefreshConfig", "SnapshotConfig"]

_MOST_TTL = 7 * 86400
"""RFC 8767 §4 suggests to cap TTLs at a week."""


@attrs.frozen
class CacheConfig:
    """
    The cache in this process.
    """

    lruSize: int = key(
        Integer(0, 50_000_000, "entries"),
        10_000,
        meaning="The most answers that are kept; 0 keeps none.",
        aliases=("cache.redis.lru_size",),
    )
    maxBytes: int = key(
        Size(least=64 << 10),
        64 << 20,
        meaning="The most memory that they may take.",
    )
    lruGracePeriod: float = key(
        Duration(most=_MOST_TTL),
        3600.0,
        meaning="The longest that an answer is kept after its time.",
        aliases=("cache.redis.lru_grace_period",),
    )
    minTTL: float = key(
        Duration(most=_MOST_TTL),
        300.0,
        meaning="Answers are kept at least this long; see ``respect_source_ttl``.",
    )
    maxTTL: float = key(
        Duration(least=1, most=_MOST_TTL),
        3600.0,
        meaning="Answers are kept at most this long.",
    )
    negativeTTL: float = key(
        Duration(most=_MOST_TTL),
        300.0,
        meaning='How long "no such name" and "no such data" are kept if no SOA record tells.',
    )
    clientTTLCap: float = key(
        Duration(most=_MOST_TTL),
        0.0,
        meaning="The largest TTL that clients get to see; 0 doesn't limit it.",
    )
    respectSourceTTL: bool = key(
        Flag(),
        False,
        meaning="Never keep an answer for longer than it says, whatever ``min_ttl``?",
    )
    servfailBackoff: float = key(
        Duration(most=3600),
        60.0,
        meaning="How long a question that failed upstream isn't asked again; 0 asks each time.",
    )
    servfailRefreshThreshold: int = key(
        Integer(0, 1_000_000),
        10,
        meaning="""After how many failures in a row an answer isn't renewed in the background
            any more; 0 never stops.""",
    )
    servfailLogInterval: float | None = key(
        Duration(most=86400),
        None,
        unset="as long as ``servfail_backoff``",
        meaning="How long a failing question isn't logged again; 0 logs each time.",
    )
    refreshUpstreamFailLogInterval: float = key(
        Duration(most=86400),
        60.0,
        meaning="How long failed renewals aren't logged again; 0 logs each one.",
    )
    hitCounterMaxEntries: int = key(
        Integer(2, 50_000_000, "questions"),
        10_000,
        meaning="How many questions hits are counted of.",
        aliases=("cache.redis.hit_counter_max_entries",),
    )
    redis: RedisConfig = key(
        Section(RedisConfig),
        RedisConfig(),
        meaning="The cache that several instances share.",
    )
    refresh: RefreshConfig = key(
        Section(RefreshConfig),
        RefreshConfig(),
        meaning="Answers are renewed before they expire, and given for a while after it.",
    )
    snapshot: SnapshotConfig = key(
        Section(SnapshotConfig), SnapshotConfig(), meaning="A copy of the cache on disk."
    )

    def faults(self) -> Iterator[Fault]:
        """
        The shortest time isn't longer than the longest.
        """
        if self.minTTL > self.maxTTL:
            yield Fault(
                ("min_ttl",),
                f"{formatDuration(self.minTTL)} is longer than max_ttl,"
                f" {formatDuration(self.maxTTL)}",
                ("max_ttl",),
            )
