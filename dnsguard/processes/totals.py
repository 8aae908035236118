# -*- test-case-name: tests.processes.test_counts -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Adding up what several processes have counted, so that it reads like one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dnsguard.observers.exposition import Gathered, Kind, Metric, Sample
from dnsguard.processes.counts import Counts

__all__ = ["Across", "acrossOf", "addCaches", "addCounts", "addGathered", "addRefreshes"]


class Across(enum.Enum):
    """
    What a number of several processes is.
    """

    SUM = "sum"
    MOST = "most"
    OWN = "own"
    """What the main process says: it is the same for all, or only that knows."""


_OWN_FAMILIES = ("dnsguard_list_", "dnsguard_policy_", "dnsguard_process", "dnsguard_control_")

_OWN = frozenset(
    {
        "dns_querystore_recorded_total",
        "dns_refresh_last_sweep_count",
        "dnsguard_build_info",
        # Each process hears of each, as each has a connection of its own.
        "dnsguard_cache_clearings_heard_total",
        "dnsguard_redis_up",
        "dnsguard_request_log_lines_total",
        "dnsguard_upstream_up",
    }
)

_MOST = frozenset({"dnsguard_reactor_lag_worst_seconds", "dnsguard_upstream_latency_seconds"})

HIT_RATE = "dns_cache_hit_rate"
HITS, MISSES = "dns_cache_hits_total", "dns_cache_misses_total"


def acrossOf(metric: Metric) -> Across:
    """
    Say what a metric of several processes is: their sum, unless something else
    is said here.
    """
    name = metric.name
    if name in _OWN or name.startswith(_OWN_FAMILIES):
        return Across.OWN
    return Across.MOST if name in _MOST else Across.SUM


def addCounts(metrics: Iterable[Metric], *several: Counts) -> Counts:
    """
    Add up what was counted.

    @param several: The first is the main process's, where there is one of that.
    """
    samples = {
        metric.name: tuple(_add(metric, [each.samples.get(metric.name, ()) for each in several]))
        for metric in metrics
        if any(metric.name in each.samples for each in several)
    }
    return Counts(samples)


def addGathered(gathered: Gathered, others: Sequence[Counts]) -> Gathered:
    """
    Add what other processes counted to what the main one did.
    """
    added: Gathered = []
    for metric, samples in gathered:
        found = [each.samples.get(metric.name, ()) for each in others]
        added.append((metric, _add(metric, [tuple(samples), *found])))
    totals = {metric.name: sum(_numbers(samples)) for metric, samples in added}
    return [
        (metric, _rate(totals) if metric.name == HIT_RATE and samples else samples)
        for metric, samples in added
    ]


def _numbers(samples: Iterable[Sample]) -> list[float]:
    return [each.value for each in samples if isinstance(each.value, int | float)]


def _rate(totals: Mapping[str, float]) -> list[Sample]:
    hits, misses = totals.get(HITS, 0), totals.get(MISSES, 0)
    return [Sample((), 100.0 * hits / (hits + misses) if hits else 0.0)]


def _add(metric: Metric, several: Sequence[tuple[Sample, ...]]) -> list[Sample]:
    across = acrossOf(metric)
    if across is Across.OWN:
        return list(several[0])
    values: dict[tuple[str, ...], Any] = {}
    for samples in several:
        for each in samples:
            before = values.get(each.labels)
            values[each.labels] = (
                each.value if before is None else _both(metric.kind, across, before, each.value)
            )
    return [Sample(labels, value) for labels, value in values.items()]


def _both(kind: Kind, across: Across, left: Any, right: Any) -> Any:
    if across is Across.MOST:
        return max(left, right)
    if kind is not Kind.HISTOGRAM:
        return left + right
    (counts, total), (others, rest) = left, right
    both = [
        (bound, count + more) for (bound, count), (_, more) in zip(counts, others, strict=True)
    ]
    return tuple(both), total + rest


# What the control API shows.

_OWN_KEYS = {"redis_keys", "redis_max_keys"}

_ADDED_REFRESHES = (
    "sweeps_24h",
    "refreshed_24h",
    "removed_24h",
    "removed_24h_breakdown",
    "estimated_refreshed_daily",
    "estimated_removed_daily",
    "deletion_candidates",
    "request_refreshed_hot_24h",
    "request_refreshed_warm_24h",
    "request_refreshed_normal_24h",
)


def addCaches(own: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """
    Add up the bodies of C{/cache/stats}.
    """
    total = dict(own)
    for other in others:
        for key, value in other.items():
            if key in _OWN_KEYS:
                continue
            before = total.get(key)
            if isinstance(value, Mapping):
                total[key] = addCaches(before or {}, [value])
            else:
                total[key] = value if before is None else before + value
    if "hit_rate" in total:
        hits, misses = total["hits"], total["misses"]
        total["hit_rate"] = round(100.0 * hits / (hits + misses), 2) if hits else 0.0
    if "fill_ratio" in total:
        total["fill_ratio"] = round(total["entries"] / total["max_entries"], 4)
    return total


def addRefreshes(own: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """
    Add up the bodies of C{/cache/refresh/stats}: what was done in a day. What
    the last sweep did, and settings, are the main process's.
    """
    total = dict(own)
    for other in others:
        for key in _ADDED_REFRESHES:
            if key not in other or key not in total:
                continue
            value, before = other[key], total[key]
            if isinstance(value, Mapping):
                total[key] = {name: before.get(name, 0) + more for name, more in value.items()}
            else:
                total[key] = before + value
    return total
