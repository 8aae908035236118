# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.breaker}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.redis.breaker import Breaker, State


class BreakerTests(SynchronousTestCase):
    """
    Tests for L{Breaker}.
    """

    def test_firstFailure(self) -> None:
        """
        The first failure opens it, and says why.
        """
        breaker = Breaker()
        self.assertIs(breaker.state, State.CLOSED)
        self.assertTrue(breaker.failed(0.0, "gone"))
        self.assertEqual((breaker.closed, breaker.reason), (False, "gone"))
        self.assertIs(breaker.state, State.OPEN)
        self.assertEqual((breaker.trips, breaker.failures), (1, 1))

    def test_threshold(self) -> None:
        """
        With a threshold it takes so many in a row.
        """
        breaker = Breaker(threshold=2)
        self.assertFalse(breaker.failed(0.0, ""))
        breaker.succeeded(0.0)
        self.assertFalse(breaker.failed(0.0, ""))
        self.assertTrue(breaker.failed(0.0, ""))

    def test_oneProbe(self) -> None:
        """
        After a pause one may try it out, and nobody else meanwhile.
        """
        breaker = Breaker(firstPause=1.0)
        breaker.failed(0.0, "")
        self.assertFalse(breaker.mayProbe(0.9))
        self.assertTrue(breaker.mayProbe(1.0))
        self.assertIs(breaker.state, State.HALF_OPEN)
        self.assertFalse(breaker.mayProbe(9.0))
        self.assertTrue(breaker.succeeded(9.0))
        self.assertTrue(breaker.closed)
        self.assertFalse(breaker.mayProbe(10.0))
        self.assertEqual(breaker.probes, 1)

    def test_longerPauses(self) -> None:
        """
        Each probe that fails doubles the pause, up to a bound.
        """
        breaker = Breaker(firstPause=1.0, longestPause=3.0)
        now = 0.0
        breaker.failed(now, "")
        for pause in (1.0, 2.0, 3.0, 3.0):
            self.assertFalse(breaker.mayProbe(now + pause - 0.1))
            now += pause
            self.assertTrue(breaker.mayProbe(now))
            self.assertFalse(breaker.failed(now, ""))

    def test_relapse(self) -> None:
        """
        Who fails again soon after a probe that succeeded is left alone for
        longer than before; who held out starts anew.
        """
        breaker = Breaker(firstPause=1.0, relapse=10.0)
        breaker.failed(0.0, "")
        breaker.mayProbe(1.0)
        breaker.succeeded(1.0)
        breaker.failed(2.0, "")
        self.assertFalse(breaker.mayProbe(3.9))
        self.assertTrue(breaker.mayProbe(4.0))
        breaker.succeeded(4.0)
        breaker.failed(14.0, "")
        self.assertTrue(breaker.mayProbe(15.0))

    def test_hurry(self) -> None:
        """
        The next probe can be brought forward.
        """
        breaker = Breaker(firstPause=100.0)
        breaker.failed(0.0, "")
        breaker.hurry(1.0)
        self.assertTrue(breaker.mayProbe(1.0))

    def test_failuresWhileOpen(self) -> None:
        """
        What fails late doesn't make the pause longer.
        """
        breaker = Breaker(firstPause=1.0)
        breaker.failed(0.0, "")
        for _ in range(5):
            breaker.failed(0.5, "again")
        self.assertTrue(breaker.mayProbe(1.0))
        self.assertEqual((breaker.trips, breaker.failures, breaker.reason), (1, 6, "again"))

    @given(st.lists(st.sampled_from(["fail", "work", "probe", "wait"]), max_size=60))
    @settings(max_examples=100, deadline=None)
    def test_alwaysComesBack(self, steps: list[str]) -> None:
        """
        Whatever happened, a probe is allowed after the longest pause, and one
        that succeeds closes it.
        """
        breaker = Breaker()
        now, probing = 0.0, False
        for step in steps:
            if step == "fail":
                breaker.failed(now, "")
                probing = False
            elif step == "work":
                breaker.succeeded(now)
                probing = False
            elif step == "probe":
                probing = breaker.mayProbe(now) or probing
            else:
                now += 1.0
        if probing:
            breaker.failed(now, "")
        self.assertTrue(breaker.closed or breaker.mayProbe(now + 5.0))
        breaker.succeeded(now + 5.0)
        self.assertTrue(breaker.closed)
