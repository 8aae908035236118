# -*- test-case-name: tests.services.test_reactorlag -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How late the reactor is.

Whatever keeps the reactor's thread, be it a long computation or a flood of
packets, keeps everybody waiting. A timer that says how late it was called
shows that, whoever is to blame.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from dnsguard.histogram import Histogram

__all__ = ["ReactorLagService"]

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ReactorLagService(Service):
    """
    Measures by how many seconds a timer is late.

    @ivar lag: How late it was.
    @ivar worst: The latest it was so far.
    """

    name = "reactorlag"

    def __init__(self, clock: IReactorTime, interval: float = 0.1) -> None:
        """
        @param interval: Seconds between two measurements.
        """
        self.lag = Histogram(BOUNDS)
        self.worst = 0.0
        self._clock: Any = clock
        self._interval = interval
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def startService(self) -> None:
        """
        Measure from now on.
        """
        super().startService()
        self._plan()

    def stopService(self) -> None:
        """
        Measure no more.
        """
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _plan(self) -> None:
        self._due = self._clock.seconds() + self._interval
        self._call = self._clock.callLater(self._interval, self._called)

    def _called(self) -> None:
        late = max(0.0, self._clock.seconds() - self._due)
        self.lag.add(late)
        self.worst = max(self.worst, late)
        self._plan()
