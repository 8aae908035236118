# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.sliding}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.sliding import SlidingCounts


class SlidingCountsTests(SynchronousTestCase):
    """
    Tests for L{SlidingCounts}.
    """

    def test_refused(self) -> None:
        """
        There must be a window, and room.
        """
        self.assertRaises(ValueError, SlidingCounts, 0, 1.0)
        self.assertRaises(ValueError, SlidingCounts, 1, 0.0)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.tuples(st.floats(0.0, 50.0), st.sampled_from("ab")), max_size=40),
        st.floats(0.0, 300.0),
    )
    def test_between(self, hits: list[tuple[float, str]], last: float) -> None:
        """
        A count is at least the hits of the window, and at most those of a
        window and a quarter.
        """
        counts: SlidingCounts = SlidingCounts(10, 100.0)
        now, when = 0.0, []
        for wait, key in hits:
            now += wait
            counts.add(key, 1.0, now)
            when.append((now, key))
        now += last
        for key in "ab":
            ages = [now - at for at, each in when if each == key]
            count = counts.count(key, now)
            self.assertGreaterEqual(count, sum(age < 99.99 for age in ages))
            self.assertLessEqual(count, sum(age <= 125.01 for age in ages))

    def test_bounded(self) -> None:
        """
        Keys that there is no room for aren't counted, and that is.
        """
        counts: SlidingCounts = SlidingCounts(2, 100.0)
        for key in "abcc":
            counts.add(key, 1.0, 0.0)
        self.assertEqual((counts.count("c", 0.0), counts.uncounted), (0.0, 2))

    def test_covers(self) -> None:
        """
        Nothing can be said before a whole window has passed.
        """
        counts: SlidingCounts = SlidingCounts(2, 100.0)
        self.assertFalse(counts.covers(5.0))
        self.assertFalse(counts.covers(104.0))
        self.assertTrue(counts.covers(105.0))
        counts.clear()
        self.assertFalse(counts.covers(300.0))
