# -*- test-case-name: tests.services.test_heapwatch -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which lines of code the memory went to that was taken while somebody watched.

Python notes for each allocation where it was made, if it is asked to; that
costs time and memory, so it is asked to for some seconds only. What was there
before isn't seen: a leak shows itself by growing.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from dnsguard.services.sampler import ProfileBusy

__all__ = ["HeapWatch"]

TOP = 50
"""Lines of code that are told."""


class HeapWatch:
    """
    Watches allocations, one watch at a time.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._busy = False

    def watch(self, seconds: float) -> Deferred[dict[str, Any]]:
        """
        Watch for some time.

        @return: What is still held of what was taken meanwhile, fit for JSON.
            Fails with L{ProfileBusy} if somebody else watches.
        """
        return Deferred.fromCoroutine(self._watch(seconds))

    async def _watch(self, seconds: float) -> dict[str, Any]:
        if self._busy:
            raise ProfileBusy
        self._busy = True
        # The operator may have it on for good, by PYTHONTRACEMALLOC.
        before = tracemalloc.is_tracing()
        try:
            if not before:
                tracemalloc.start(1)
            await deferLater(self._reactor, seconds)
            pool = self._reactor.getThreadPool()
            found: dict[str, Any] = await deferToThreadPool(self._reactor, pool, summary)
        finally:
            self._busy = False
            if not before:
                tracemalloc.stop()
        return {"seconds": seconds, "since_start": before, **found}


def summary() -> dict[str, Any]:
    """
    Sum up what is traced by lines of code, the largest first. In a thread.
    """
    held, peak = tracemalloc.get_traced_memory()
    snapshot = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(False, tracemalloc.__file__)]
    )
    statistics = snapshot.statistics("lineno")
    return {
        "held_bytes": held,
        "peak_bytes": peak,
        "overhead_bytes": tracemalloc.get_tracemalloc_memory(),
        "lines": len(statistics),
        "top": [
            {
                "file": statistic.traceback[0].filename,
                "line": statistic.traceback[0].lineno,
                "bytes": statistic.size,
                "blocks": statistic.count,
            }
            for statistic in statistics[:TOP]
        ],
    }
