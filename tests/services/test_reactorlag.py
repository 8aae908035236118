# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.reactorlag}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.services.reactorlag import ReactorLagService


class ReactorLagTests(SynchronousTestCase):
    """
    A timer that is late shows a reactor that is busy.
    """

    def test_lateness(self) -> None:
        """
        What is measured is how late the timer is, and the worst is kept.
        """
        clock = Clock()
        service = ReactorLagService(clock, 0.1)
        service.startService()
        clock.advance(0.1)
        self.assertEqual(service.lag.count, 1)
        self.assertAlmostEqual(service.worst, 0.0)
        clock.advance(0.6)
        clock.advance(0.2)
        self.assertEqual(service.lag.count, 3)
        self.assertAlmostEqual(service.worst, 0.5)
        service.stopService()

    def test_stops(self) -> None:
        """
        Nothing is left of a service that has stopped.
        """
        clock = Clock()
        service = ReactorLagService(clock)
        service.startService()
        service.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
