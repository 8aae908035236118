# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of refreshing, sweeping and saving what is cached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from dnsguard.observers.exposition import Metric, Reading

__all__ = ["REFRESHING"]


def _counter(name: str) -> Callable[[Any], float | None]:
    """
    Read a number of the caches', if it is there.
    """

    def read(guard: Any) -> float | None:
        number: float | None = guard.caches.counters().get(name)
        return number

    return read


def _refreshes(guard: Any) -> Reading:
    for name, count in attrs.asdict(guard.caches.refresh.counters).items():
        yield ("".join(f"_{c.lower()}" if c.isupper() else c for c in name),), count


def _removed(guard: Any) -> Reading:
    removed = guard.caches.statistics.removed
    yield ("cold",), removed.coldKeys
    yield ("over_bound",), removed.capEvicted
    yield ("orphans",), removed.indexOrphans
    yield ("reconciled",), removed.reconciled


def _sweeps(guard: Any) -> Reading:
    sweeper = guard.caches.sweeper
    yield ("begun",), sweeper.rounds
    yield ("left_to_others",), sweeper.left
    yield ("broken",), sweeper.broken
    yield ("upstream_silent",), sweeper.silent


def _lastSweep(guard: Any) -> int | None:
    last = guard.caches.statistics.last
    return None if last is None else last.refreshed


def _snapshots(guard: Any) -> Reading:
    snapshot = guard.caches.snapshot
    if snapshot is not None:
        yield ("saved",), snapshot.saved
        yield ("failed",), snapshot.failures


REFRESHING = (
    Metric.counter(
        "dnsguard_refreshes_total",
        "Refreshes by what became of them. Asked are all calls for one, most of which find it"
        " under way; started are those begun, which end as refreshed, adopted from another"
        " instance, servfail, refused, failed, not_kept, overtaken by a clearing, or broken;"
        " locked, full and held are those not begun.",
        _refreshes,
        ("result",),
    ),
    Metric.gauge(
        "dnsguard_refreshes_in_flight",
        "Refreshes under way.",
        lambda guard: len(guard.caches.refresh),
    ),
    Metric.counter(
        "dns_refresh_sweep_total",
        "Answers that sweeps had refreshed.",
        lambda guard: guard.caches.statistics.sweptKeys,
    ),
    Metric.gauge(
        "dns_refresh_last_sweep_count",
        "Answers that the last sweep had refreshed; nothing before the first one.",
        _lastSweep,
    ),
    Metric.counter(
        "dnsguard_sweeps_total",
        "Sweeps begun; of these those left to another instance, broken, or given up because"
        " upstream was silent.",
        _sweeps,
        ("result",),
    ),
    Metric.counter(
        "dnsguard_sweep_removed_total",
        "Answers that sweeps took away: cold ones that nobody asked for, those over the bound of a"
        " shared store, and what its index still named.",
        _removed,
        ("cause",),
    ),
    Metric.counter(
        "dnsguard_hits_uncounted_total",
        "Hits that there was no room for: to wait here, or to tell a shared store of.",
        _counter("hits_uncounted"),
    ),
    Metric.counter(
        "dnsguard_cache_clearings_total",
        "Times that caches were cleared from here.",
        _counter("clearings"),
    ),
    Metric.counter(
        "dnsguard_cache_clearings_heard_total",
        "Times that other instances told us to clear caches.",
        _counter("clearings_heard"),
    ),
    Metric.counter(
        "dnsguard_snapshots_total",
        "Times that L0 was saved to disk, or couldn't be.",
        _snapshots,
        ("result",),
    ),
    Metric.gauge("dnsguard_snapshot_entries", "Answers last saved.", _counter("snapshot_entries")),
    Metric.gauge(
        "dnsguard_snapshot_restored",
        "Answers that were there from the last run.",
        _counter("snapshot_restored"),
    ),
)
