# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.histogram}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.histogram import SECONDS, Histogram


class HistogramTests(SynchronousTestCase):
    """
    Durations are counted by size.
    """

    def test_boundIsWithin(self) -> None:
        """
        A duration as long as a bound is in that bound's bucket.
        """
        histogram = Histogram((1.0, 2.0))
        for seconds in (0.5, 1.0, 1.5, 2.0, 3.0):
            histogram.add(seconds)
        self.assertEqual(histogram.counts, [2, 2, 1])
        self.assertEqual(list(histogram.cumulative()), [(1.0, 2), (2.0, 4), (float("inf"), 5)])
        self.assertEqual((histogram.count, histogram.total), (5, 8.0))

    def test_manyAtOnce(self) -> None:
        """
        Equal durations can be added together.
        """
        histogram = Histogram((1.0,))
        histogram.add(0.5, 10)
        self.assertEqual((histogram.count, histogram.total), (10, 5.0))

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.floats(0, 100)))
    def test_everythingIsCountedOnce(self, durations: list[float]) -> None:
        """
        The last bucket has everything, and none has less than the one before.
        """
        histogram = Histogram()
        for seconds in durations:
            histogram.add(seconds)
        counts = [count for _, count in histogram.cumulative()]
        self.assertEqual(counts, sorted(counts))
        self.assertEqual(counts[-1], len(durations))
        for bound, count in zip(SECONDS, counts[:-1], strict=True):
            self.assertEqual(count, sum(seconds <= bound for seconds in durations))
