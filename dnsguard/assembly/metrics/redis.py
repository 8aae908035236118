# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of L1, the store of shared answers.
"""

from __future__ import annotations

from typing import Any

from dnsguard.observers.exposition import Metric, Reading

__all__ = ["REDIS"]

_TROUBLES = ("errors", "corrupt", "overtaken")


def _hits(guard: Any) -> int | None:
    shared = guard.chain.shared
    return None if shared is None else shared.hits


def _lookups(guard: Any) -> Reading:
    shared = guard.chain.shared
    if shared is not None:
        yield ("hit",), shared.hits
        yield ("stale",), shared.staleHits
        yield ("miss",), shared.misses
        yield ("failed",), shared.failures
        yield ("skipped",), shared.skipped


def _troubles(guard: Any) -> Reading:
    if guard.redis is not None:
        counters = guard.redis.store.counters()
        for name in _TROUBLES:
            yield (name,), counters[name]


def _writes(guard: Any) -> Reading:
    if guard.redis is not None:
        counters = guard.redis.store.counters()
        yield ("written",), counters["written"]
        yield ("dropped",), counters["writes_dropped"]
        yield ("failed",), counters["writes_failed"]


def _pending(guard: Any) -> int | None:
    if guard.redis is None:
        return None
    pending: int = guard.redis.store.counters()["writes_pending"]
    return pending


REDIS = (
    Metric.gauge(
        "dnsguard_redis_up",
        "1 if Redis is connected and answers, else 0.",
        lambda guard: None if guard.redis is None else int(guard.redis.store.available),
    ),
    Metric.counter(
        "dnsguard_redis_transitions_total",
        "Times that Redis went away or came back.",
        lambda guard: None if guard.redis is None else guard.redis.service.transitions,
    ),
    Metric.counter("dns_l1_hits_total", "Queries answered from L1.", _hits),
    Metric.counter(
        "dnsguard_l1_lookups_total",
        "Lookups in L1 by what was found: a fresh answer (hit), a stale one, none (miss), or that"
        " Redis failed; skipped are queries it wasn't asked about because it was away.",
        _lookups,
        ("result",),
    ),
    Metric.counter(
        "dnsguard_redis_troubles_total",
        "Lookups that failed (errors), values that answer no such question (corrupt), and answers"
        " that a clearing had overtaken.",
        _troubles,
        ("trouble",),
    ),
    Metric.counter(
        "dnsguard_redis_writes_total",
        "Answers written, let go for whatever reason (dropped), and of these those that Redis"
        " didn't take (failed).",
        _writes,
        ("result",),
    ),
    Metric.gauge("dnsguard_redis_writes_pending", "Answers that wait to be written.", _pending),
)
