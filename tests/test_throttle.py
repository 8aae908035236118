# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.throttle}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.throttle import Throttle


class ThrottleTests(SynchronousTestCase):
    """
    Tests for L{Throttle}.
    """

    def test_letsThroughOnceAnInterval(self) -> None:
        """
        The first event is let through at once, then one an interval, which
        says how many there were.
        """
        clock = Clock()
        throttle = Throttle(60.0, clock.seconds)
        self.assertEqual([throttle.allows() for _ in range(4)], [1, 0, 0, 0])
        clock.advance(60)
        self.assertEqual([throttle.allows() for _ in range(2)], [4, 0])
