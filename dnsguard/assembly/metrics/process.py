# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is published of the process and its reactor.

Memory, processor time and open files are added by prometheus_client, under
the names that any process has them.
"""

from __future__ import annotations

import platform
from typing import Any

import dnsguard
from dnsguard.observers.exposition import Metric
from dnsguard.replay import pathInUse
from twisted import __version__ as twistedVersion

__all__ = ["PROCESS"]


def _build(guard: Any) -> dict[str, str]:
    compiled, _ = pathInUse()
    return {
        "version": dnsguard.__version__,
        "python": platform.python_version(),
        "twisted": twistedVersion,
        "replay": "compiled" if compiled else "python",
        "reactor": type(guard.reactor).__name__,
    }


def _threads(guard: Any) -> Any:
    return guard.reactor.getThreadPool()


def _collector(guard: Any) -> Any:
    return guard.namedServices["collector"]


PROCESS = (
    Metric.info("dnsguard_build_info", "What is running.", _build),
    Metric.histogram(
        "dnsguard_reactor_lag_seconds",
        "By how much a timer of the reactor is late; it is set ten times a second.",
        lambda guard: guard.lag.lag,
    ),
    Metric.gauge(
        "dnsguard_reactor_lag_worst_seconds",
        "The latest it was since the start.",
        lambda guard: guard.lag.worst,
    ),
    Metric.gauge(
        "dnsguard_reactor_delayed_calls",
        "Calls that the reactor has put off.",
        lambda guard: len(guard.reactor.getDelayedCalls()),
    ),
    Metric.gauge(
        "dnsguard_thread_pool_threads",
        "Threads of the reactor's pool.",
        lambda guard: len(_threads(guard).threads),
    ),
    Metric.gauge(
        "dnsguard_thread_pool_busy",
        "How many of them work.",
        lambda guard: len(_threads(guard).working),
    ),
    Metric.gauge(
        "dnsguard_thread_pool_max_threads",
        "The most threads there may be.",
        lambda guard: _threads(guard).max,
    ),
    Metric.counter(
        "dnsguard_collections_total",
        "Times that Python's collector looked at everything, which holds everybody up.",
        lambda guard: _collector(guard).collections,
    ),
    Metric.counter(
        "dnsguard_collected_objects_total",
        "Objects that nobody but the collector could free. Queries leave none.",
        lambda guard: _collector(guard).collected,
    ),
    Metric.gauge(
        "dnsguard_collection_longest_seconds",
        "The longest that took.",
        lambda guard: _collector(guard).longest,
    ),
    Metric.counter(
        "dnsguard_metrics_failed_total",
        "Times that a metric couldn't be read.",
        lambda guard: guard.exposition.failures.total(),
    ),
)
