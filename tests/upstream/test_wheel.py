# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.wheel}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.upstream.wheel import TimerWheel


class Item:
    """
    Something with a deadline.
    """

    def __init__(self, due: float, putOff: float = 0.0) -> None:
        self.due = due
        self.pending = True
        self.fired: list[float] = []
        self.putOff = putOff

    def timedOut(self, now: float) -> None:
        self.fired.append(now)
        if self.putOff:
            self.due, self.putOff = now + self.putOff, 0.0
        else:
            self.pending = False


class TimerWheelTests(SynchronousTestCase):
    """
    Tests for L{TimerWheel}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = TimerWheel(self.clock, tick=0.05)

    def run_(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds / 0.01))

    def test_firesOnceAfterTheDeadline(self) -> None:
        """
        A deadline fires once, up to two ticks late, and the clock is left
        alone afterwards.
        """
        item = Item(0.42)
        self.wheel.add(item)
        self.run_(2)
        (fired,) = item.fired
        self.assertTrue(0.42 <= fired <= 0.53, fired)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_finishedIsSkipped(self) -> None:
        """
        What isn't pending any more isn't bothered.
        """
        item = Item(0.42)
        self.wheel.add(item)
        item.pending = False
        self.run_(1)
        self.assertEqual(item.fired, [])

    def test_puttingOff(self) -> None:
        """
        A deadline may be put off from outside, and when it fires.
        """
        item = Item(0.3, putOff=0.5)
        self.wheel.add(item)
        item.due = 0.6
        self.run_(2)
        first, second = item.fired
        self.assertTrue(0.6 <= first <= 0.72, first)
        self.assertTrue(first + 0.5 <= second <= first + 0.62, second)

    def test_oneBadItemDoesNotHarmTheOthers(self) -> None:
        """
        An exception is logged, and the rest of the slot still fires.
        """

        class Bad(Item):
            def timedOut(self, now: float) -> None:
                self.pending = False
                raise RuntimeError("bad")

        good = Item(0.1)
        self.wheel.add(Bad(0.1))
        self.wheel.add(good)
        self.run_(0.5)
        self.assertEqual(len(good.fired), 1)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_close(self) -> None:
        """
        Nothing fires after closing.
        """
        item = Item(0.1)
        self.wheel.add(item)
        self.wheel.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.run_(0.5)
        self.assertEqual(item.fired, [])

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.floats(0, 3), max_size=20), st.floats(0.01, 5))
    def test_noneIsEarlyOrLost(self, dues: list[float], step: float) -> None:
        """
        However the clock jumps, every deadline fires once, and none before
        its time.
        """
        clock = Clock()
        wheel = TimerWheel(clock)
        items = [Item(due) for due in dues]
        for item in items:
            wheel.add(item)
        for _ in range(int(4 / step) + 3):
            clock.advance(step)
        for item in items:
            self.assertEqual(len(item.fired), 1)
            self.assertGreaterEqual(item.fired[0], item.due)
