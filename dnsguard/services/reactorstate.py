# -*- test-case-name: tests.services.test_reactorstate -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the reactor is about to do, and whom it listens to.
"""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

from twisted.internet.task import LoopingCall

from dnsguard.services.reactorlag import ReactorLagService

__all__ = ["reactorState"]

MOST = 100
"""Rows of each kind that are told."""


def reactorState(reactor: Any, lag: ReactorLagService) -> dict[str, Any]:
    """
    Describe the reactor. In its thread; fit for JSON.

    @param lag: What measures how late it is.
    """
    pool = reactor.getThreadPool()
    return {
        "reactor": type(reactor).__name__,
        "delayed_calls": _delayed(reactor),
        "readers": _kinds(reactor.getReaders()),
        "writers": _kinds(reactor.getWriters()),
        "threads": sorted(thread.name for thread in threading.enumerate())[:MOST],
        "thread_pool": {
            "max": pool.max,
            "threads": len(pool.threads),
            "working": len(pool.working),
        },
        "lag": {
            "samples": lag.lag.count,
            "worst_seconds": lag.worst,
            "total_seconds": lag.lag.total,
            "buckets": [
                {"at_most_seconds": bound if bound != float("inf") else None, "samples": count}
                for bound, count in lag.lag.cumulative()
            ],
        },
        "garbage": [{"generation": n, **stats} for n, stats in enumerate(gc.get_stats())],
    }


def _delayed(reactor: Any) -> dict[str, Any]:
    """
    Describe what is put off, by what is called.
    """
    now = reactor.seconds()
    counts: Counter[str] = Counter()
    soonest: dict[str, float] = {}
    for call in reactor.getDelayedCalls():
        name = nameOf(call.func)
        counts[name] += 1
        seconds = call.getTime() - now
        soonest[name] = min(seconds, soonest.get(name, seconds))
    return {
        "count": counts.total(),
        "functions": [
            {"function": name, "count": count, "soonest_seconds": round(soonest[name], 6)}
            for name, count in counts.most_common(MOST)
        ],
    }


def _kinds(descriptors: Iterable[Any]) -> dict[str, Any]:
    counts = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in descriptors)
    return {
        "count": counts.total(),
        "kinds": [{"kind": kind, "count": count} for kind, count in counts.most_common(MOST)],
    }


def nameOf(function: Any) -> str:
    """
    Name what is called; of something that calls something else, that.
    """
    for _ in range(5):
        if isinstance(function, partial):
            function = function.func
        elif isinstance(function, LoopingCall):
            function = function.f
        else:
            break
    module = getattr(function, "__module__", None) or type(function).__module__
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}.{name}"
