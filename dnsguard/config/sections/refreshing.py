# -*- test-case-name: tests.config.sections.test_refreshing -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{cache.refresh} and C{cache.snapshot}: how answers are kept fresh, and kept
over a restart.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import attrs

from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Choice, Flag, Text
from dnsguard.config.quantities import Duration, Integer, Number

__all__ = ["RefreshConfig", "RefreshMode", "SnapshotConfig"]

_MOST_TTL = 7 * 86400
"""RFC 8767 §4 suggests to cap TTLs at a week."""


class RefreshMode(enum.Enum):
    """
    Settings that belong together.
    """

    CUSTOM = "custom"
    AGGRESSIVE = "aggressive"
    BALANCED = "balanced"
    CONSERVATIVE = "conservative"


@attrs.frozen
class RefreshConfig:
    """
    How answers are kept fresh, and what becomes of those whose time is over.
    """

    enabled: bool = key(Flag(), True, meaning="Renew answers before they expire?")
    refreshMode: RefreshMode = key(
        Choice(RefreshMode, {"": "custom"}),
        RefreshMode.CUSTOM,
        meaning="""How eagerly: ``aggressive``, ``balanced`` and ``conservative`` set
            ``refresh_past_auth_ttl``, ``hot_ttl_fraction``, ``warm_threshold``, ``warm_ttl``,
            ``warm_ttl_fraction`` and ``min_ttl`` of this section, whatever stands there;
            ``custom`` leaves them as they are.""",
    )
    hitWindow: float = key(
        Duration(most=86400), 60.0, meaning="The time over which hits are counted."
    )
    hotThresholdRate: float | None = key(
        Number(most=1e6),
        None,
        unset="20; with ``client_ttl_cap``, by how often one client must ask again: 2 for 5m, 3 "
        "for 1m, 18 for 10s",
        meaning="""The queries in a minute that make a question hot; 0 goes by
            ``hot_threshold``.""",
    )
    hotThreshold: int = key(
        Integer(0, 1_000_000_000, "hits"),
        20,
        meaning="The hits in ``hit_window`` that do if ``hot_threshold_rate`` is 0.",
    )
    minTTL: float = key(
        Duration(most=_MOST_TTL),
        3600.0,
        meaning="""A question neither hot nor warm is renewed with so much of its time left,
            but not before the last tenth of it.""",
    )
    hotTTL: float = key(
        Duration(most=_MOST_TTL),
        120.0,
        meaning="""A hot question is renewed with so much of its time left, at most half of
            it.""",
    )
    hotTTLFraction: float = key(
        Number(most=1),
        0.0,
        meaning="The same as a share of its time, used instead unless 0.",
    )
    warmThreshold: int = key(
        Integer(0, 1_000_000_000, "hits"),
        0,
        meaning="The hits in ``hit_window`` that make a question warm; 0: none is.",
    )
    warmTTL: float = key(
        Duration(most=_MOST_TTL),
        300.0,
        meaning="As ``hot_ttl``, for a warm question.",
    )
    warmTTLFraction: float = key(
        Number(most=1), 0.0, meaning="As ``hot_ttl_fraction``, for a warm question."
    )
    refreshPastAuthTTL: bool = key(
        Flag(),
        True,
        meaning="""Renew hot and warm questions, too, when what they were answered with is no
            longer true, though ``cache.min_ttl`` keeps it?""",
    )
    serveStale: bool = key(
        Flag(), True, meaning="Give an expired answer while a new one can't be had? (RFC 8767)"
    )
    staleTTL: float = key(
        Duration(most=_MOST_TTL),
        3600.0,
        meaning="How long after its time an answer may still be given.",
    )
    expiredEntryTTL: float = key(
        Duration(most=3600),
        30.0,
        meaning="The TTL that an expired answer is given with.",
    )
    clientResponseTimeout: float = key(
        Duration(least=0.01, most=10),
        1.8,
        meaning="""How long a client waits for a new answer that could be given an expired one
            (RFC 8767 §5).""",
    )
    lockTTL: float = key(
        Duration(most=600),
        10.0,
        meaning="""When the right to renew an answer ends by itself; one that couldn't be renewed
            isn't tried again for so long.""",
    )
    maxInflight: int = key(
        Integer(0, 100_000, "renewals"), 100, meaning="The most renewals at a time."
    )
    sweepInterval: float = key(
        Duration(most=86400),
        15.0,
        meaning="How often the cache is gone through for what will soon expire.",
    )
    sweepWindow: float = key(
        Duration(most=86400), 60.0, meaning="What soon means: what expires in this time."
    )
    maxBatchSize: int = key(
        Integer(0, 1_000_000, "answers"),
        2000,
        meaning="The most answers renewed each time.",
        deprecated=("cache.refresh.batch_size",),
    )
    sweepMinHits: int = key(
        Integer(0, 1_000_000_000, "hits"),
        1,
        meaning="The hits in ``sweep_hit_window`` that an answer needs to be renewed so.",
    )
    sweepHitWindow: float = key(
        Duration(most=366 * 86400),
        0.0,
        meaning="""Answers with fewer hits than ``sweep_min_hits`` in this time aren't renewed so,
            and dropped from a shared cache; 0 renews all that there is room for, whether anybody
            asks or not. The configuration that comes with dnsguard has 20m, as 0 asked upstream 18
            times for each query of a day on a small network, and 20m 1.3 times.""",
    )
    hitCountSampleRate: float = key(
        Number(most=1),
        1.0,
        meaning="Count this share of the hits, each for as many more; at least 0.01.",
    )

    def faults(self) -> Iterator[Fault]:
        """
        What is switched on has times that aren't zero.
        """
        yield from self._staleFaults()
        if not self.enabled:
            return
        for name, value in (
            ("hit_window", self.hitWindow),
            ("min_ttl", self.minTTL),
            ("hot_ttl", self.hotTTL),
            ("lock_ttl", self.lockTTL),
            ("sweep_interval", self.sweepInterval),
            ("sweep_window", self.sweepWindow),
        ):
            if value < 1:
                yield Fault((name,), "needs to be 1s or more while enabled is on", ("enabled",))
        for name, count in (
            ("max_inflight", self.maxInflight),
            ("max_batch_size", self.maxBatchSize),
        ):
            if count < 1:
                yield Fault((name,), "needs to be 1 or more while enabled is on", ("enabled",))
        if self.warmThreshold > 0 and self.warmTTL <= 0:
            yield Fault(
                ("warm_ttl",),
                "needs to be more than 0 while warm_threshold is set",
                ("enabled", "warm_threshold"),
            )

    def _staleFaults(self) -> Iterator[Fault]:
        if self.serveStale:
            for name, seconds in (
                ("stale_ttl", self.staleTTL),
                ("expired_entry_ttl", self.expiredEntryTTL),
            ):
                if seconds < 1:
                    yield Fault(
                        (name,), "needs to be 1s or more while serve_stale is on", ("serve_stale",)
                    )


@attrs.frozen
class SnapshotConfig:
    """
    A copy of the cache on disk, so that a restart doesn't begin with nothing.
    """

    enabled: bool = key(Flag(), True, meaning="Keep one?")
    path: str = key(
        Text("a path"),
        "cache.snapshot",
        meaning="The file; a relative path is one below ``data_directory``.",
    )
    interval: float = key(
        Duration(most=86400),
        300.0,
        meaning="How often it is written; 0 writes it when dnsguard stops, and only then.",
    )
    maxEntries: int = key(
        Integer(1, 50_000_000, "answers"),
        100_000,
        meaning="The most answers in it: those asked for most.",
    )
