# -*- test-case-name: tests.assembly.test_observing -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Those who are told of queries: the counter always, the log and the store as
they are configured, a trace while somebody wants to see one.
"""

from __future__ import annotations

from dnsguard.assembly.logs import tracedEvents
from dnsguard.assembly.refreshing import Caches
from dnsguard.config.model import Config
from dnsguard.interfaces import IQueryObserver
from dnsguard.observers.metrics import QueryMetrics
from dnsguard.observers.trace import TraceEvent, Tracer
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.server.corridor import Corridor

__all__ = ["Observers"]


class Observers:
    """
    The observers of one server.

    @ivar metrics: Counts queries.
    @ivar tracer: Logs single ones while somebody wants to see them.
    """

    def __init__(self, server: Corridor, forwarder: ForwardingResolver, caches: Caches) -> None:
        self.metrics = QueryMetrics()
        self.tracer = Tracer(self.announce)
        self._server = server
        self._forwarder = forwarder
        self._caches = caches
        self._noters: tuple[IQueryObserver, ...] = ()

    def note(self, *noters: IQueryObserver) -> None:
        """
        Have queries noted by these from now on, besides the counters.
        """
        self._noters = noters
        self.announce()

    def configure(self, config: Config, before: Config | None = None) -> None:
        """
        Trace what a configuration says. What was switched on by hand stays on
        if the configuration says the same as before.
        """
        events = tracedEvents(config)
        if events != (() if before is None else tracedEvents(before)):
            self.tracer.trace(events)

    def announce(self) -> None:
        """
        Tell those who hand out what happens whom to tell. A trace that wants
        to know nothing is told nothing, and so costs nothing.
        """
        wants = self.tracer.wants
        traces = (self.tracer,) if wants(TraceEvent.QUERY_RESOLUTION) else ()
        self._server.observers = (self.metrics, self._caches.counter, *self._noters, *traces)
        exchanged = self.tracer.exchanged if wants(TraceEvent.UPSTREAM_EXCHANGE) else None
        self._forwarder.exchanges.trace = exchanged
        refreshed = self.tracer.refreshed if wants(TraceEvent.REFRESH_UPSTREAM) else None
        self._caches.traceRefreshes(refreshed)
