# -*- test-case-name: tests.assembly.metrics.test_metrics -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Everything that is published of a running server: the one place to declare a
metric.

Each room's metrics are in a module of their own, as a tuple; a new room adds
its tuple to L{METRICS}. Then it is served, described in C{docs/monitoring.rst}
(written anew by L{dnsguard.assembly.metrics.page})
and checked by the tests.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector

from dnsguard.assembly.metrics.caches import CACHES
from dnsguard.assembly.metrics.control import CONTROL
from dnsguard.assembly.metrics.lists import LISTS
from dnsguard.assembly.metrics.logs import LOGS
from dnsguard.assembly.metrics.process import PROCESS
from dnsguard.assembly.metrics.processes import PROCESSES
from dnsguard.assembly.metrics.queries import QUERIES
from dnsguard.assembly.metrics.redis import REDIS
from dnsguard.assembly.metrics.refreshing import REFRESHING
from dnsguard.assembly.metrics.server import SERVER
from dnsguard.assembly.metrics.upstreams import UPSTREAMS
from dnsguard.observers.exposition import Exposition, Metric

__all__ = ["METRICS", "SECTIONS", "makeExposition"]

SECTIONS: dict[str, tuple[Metric, ...]] = {
    "Queries": QUERIES,
    "Server and listeners": SERVER,
    "Replay store, caches and chain": CACHES,
    "Redis": REDIS,
    "Refreshing and clearing": REFRESHING,
    "Upstreams": UPSTREAMS,
    "Block lists and policy": LISTS,
    "Logs and query store": LOGS,
    "Control API": CONTROL,
    "Process": PROCESS,
    "Several processes": PROCESSES,
}
"""All metrics, by the heading they are described under."""

METRICS = tuple(metric for section in SECTIONS.values() for metric in section)


class _Quiet:
    """
    A registry that takes a collector in and says nothing.
    """

    def register(self, collector: Any) -> None:
        """
        Don't.
        """


def makeExposition(guard: Any) -> Exposition:
    """
    Publish a server.

    @param guard: The L{Guard <dnsguard.assembly.Guard>}.
    """
    quiet: Any = _Quiet()
    return Exposition(
        METRICS,
        guard,
        # What prometheus_client knows of any Python process.
        [ProcessCollector(registry=quiet), PlatformCollector(registry=quiet), GCCollector(quiet)],
    )
