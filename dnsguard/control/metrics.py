# -*- test-case-name: tests.control.test_errors -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Metrics, for Prometheus to fetch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred

from dnsguard.control.route import Call, Reply, Role, Route

__all__ = ["Exposed", "MetricsFamily"]


class Exposed(Protocol):
    """
    What is published.
    """

    def gather(self) -> Any:
        """
        Read all numbers. In the reactor's thread; gives them, or a Deferred.
        """

    def encode(self, accept: str, gathered: Any) -> tuple[bytes, str]:
        """
        Write them down. In any thread.
        """


class MetricsFamily:
    """
    Publish metrics.
    """

    name = "Metrics"
    meaning = "Numbers for Prometheus: text, or OpenMetrics for those who accept it."

    def __init__(self, exposed: Exposed, inThread: Callable[..., Deferred[Any]]) -> None:
        """
        @param inThread: Calls a function in a thread.
        """
        self._exposed = exposed
        self._inThread = inThread

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/metrics",
            self.metrics,
            Role.NOBODY,
            "Give all metrics.",
            response={"type": "string"},
            contentType="text/plain",
            aliases=("/metrics",),
        )

    async def metrics(self, call: Call) -> Any:
        """
        See the route.
        """
        gathered = await maybeDeferred(self._exposed.gather)
        octets, contentType = await self._inThread(self._exposed.encode, call.accept, gathered)
        return Reply(octets, contentType=contentType)
