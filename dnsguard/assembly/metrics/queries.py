# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of queries.
"""

from __future__ import annotations

from typing import Any

from dnsguard.answer import Outcome
from dnsguard.observers.exposition import Metric, Reading

__all__ = ["QUERIES"]

_CACHED = (Outcome.CACHED, Outcome.STALE)
_ASKED = (Outcome.UPSTREAM, Outcome.UPSTREAM_ERROR, Outcome.SERVFAIL)


def _queries(guard: Any) -> Reading:
    for key, chained, replayed in guard.observers.metrics.queries():
        labels = (key.outcome.value, key.transport.value, key.qtype, key.rCode)
        yield labels, chained + replayed


def _durations(guard: Any) -> Reading:
    for outcome, histogram in guard.observers.metrics.durations.items():
        if any(histogram.counts):
            yield (outcome.value,), histogram


def _hitRate(guard: Any) -> float:
    hits = guard.observers.metrics.total(*_CACHED)
    misses = guard.observers.metrics.total(*_ASKED)
    return 100.0 * hits / (hits + misses) if hits else 0.0


QUERIES = (
    Metric.counter(
        "dnsguard_queries_total",
        "Queries answered. Types and codes that are rare are counted as other.",
        _queries,
        ("outcome", "transport", "qtype", "rcode"),
    ),
    Metric.histogram(
        "dnsguard_query_duration_seconds",
        "Time from a query's arrival to its reply. Of replayed ones a sample is measured.",
        _durations,
        ("outcome",),
    ),
    Metric.counter(
        "dnsguard_queries_replayed_total",
        "Of all queries, those answered from the replay store.",
        lambda guard: guard.observers.metrics.replayed,
    ),
    Metric.counter(
        "dns_queries_blocked_total",
        "Queries blocked.",
        lambda guard: guard.observers.metrics.total(Outcome.BLOCKED),
    ),
    Metric.counter(
        "dns_cache_hits_total",
        "Queries answered from a cache, replayed and stale answers included.",
        lambda guard: guard.observers.metrics.total(*_CACHED),
    ),
    Metric.counter(
        "dns_cache_misses_total",
        "Queries that no cache had an answer to, so that upstream was asked.",
        lambda guard: guard.observers.metrics.total(*_ASKED),
    ),
    Metric.gauge(
        "dns_cache_hit_rate",
        "Hits in a hundred of hits and misses, since the start.",
        _hitRate,
    ),
)
