# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.hits}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.hits import HitRates


class HitRatesTests(SynchronousTestCase):
    """
    Tests for L{HitRates}.
    """

    def test_steadyHitsCountThoseOfOneWindow(self) -> None:
        """
        However long a steady rate lasts, the count stands for the hits of one
        window.
        """
        rates: HitRates[str] = HitRates(10, 60.0)
        for second in range(3600):
            rates.hit("a", float(second))
        self.assertApproximates(rates.count("a", 3600.0), 60.0, 1.0)

    def test_countsFade(self) -> None:
        """
        A key nobody asks for any more loses its count.
        """
        rates: HitRates[str] = HitRates(10, 60.0)
        rates.add("a", 100.0, 0.0)
        self.assertApproximates(rates.count("a", 60.0), 36.8, 0.1)
        self.assertLess(rates.count("a", 600.0), 0.01)

    def test_firstHitIsOne(self) -> None:
        """
        The first hit counts one; a key never hit counts none.
        """
        rates: HitRates[str] = HitRates(10, 60.0)
        self.assertEqual(rates.count("a", 5.0), 0.0)
        self.assertEqual(rates.hit("a", 5.0), 1.0)

    def test_clockSetBackAddsNothing(self) -> None:
        """
        Counts never grow by the clock.
        """
        rates: HitRates[str] = HitRates(10, 60.0)
        rates.hit("a", 1000.0)
        self.assertEqual(rates.count("a", 0.0), 1.0)

    def test_sampledHitsAreScaledUp(self) -> None:
        """
        With one hit in four counted, each counts for four.
        """
        numbers = iter([0.9, 0.1, 0.25, 0.24])
        rates: HitRates[str] = HitRates(10, 60.0, sampleRate=0.25, random=lambda: next(numbers))
        self.assertEqual([rates.hit("a", 0.0) for _ in range(4)], [0.0, 4.0, 4.0, 8.0])

    def test_sampleRateIsClamped(self) -> None:
        """
        A rate below one in a hundred is taken as that.
        """
        rates: HitRates[str] = HitRates(10, 60.0, sampleRate=0.0, random=lambda: 0.0)
        self.assertEqual(rates.hit("a", 0.0), 100.0)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.integers(0, 30), max_size=200), st.integers(2, 12))
    def test_isBounded(self, keys: list[int], capacity: int) -> None:
        """
        It never holds more keys than its capacity, always the last one hit,
        and never counts more hits than there were.
        """
        rates: HitRates[int] = HitRates(capacity, 60.0)
        for number, key in enumerate(keys):
            rates.hit(key, 0.0)
            self.assertLessEqual(len(rates), capacity)
            self.assertGreaterEqual(rates.count(key, 0.0), 1.0)
            self.assertLessEqual(rates.count(key, 0.0), keys[: number + 1].count(key))
        self.assertEqual(len(rates) + rates.forgotten >= len(set(keys)), True)

    def test_keysInUseAreKept(self) -> None:
        """
        A key that is hit all the time isn't pushed out by those hit once.
        """
        rates: HitRates[int] = HitRates(10, 60.0)
        for other in range(1, 101):
            rates.hit(0, 0.0)
            rates.hit(other, 0.0)
        self.assertEqual(rates.count(0, 0.0), 100.0)
        self.assertEqual(rates.forgotten, 101 - len(rates))

    def test_clear(self) -> None:
        """
        After clearing nothing has a count.
        """
        rates: HitRates[str] = HitRates(10, 60.0)
        rates.hit("a", 0.0)
        rates.clear()
        self.assertEqual((len(rates), rates.count("a", 0.0)), (0, 0.0))

    def test_boundsMustMakeSense(self) -> None:
        """
        Without a window or without room there is no counting.
        """
        self.assertRaises(ValueError, HitRates, 1, 60.0)
        self.assertRaises(ValueError, HitRates, 10, 0.0)
