# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.cli.perf.tally}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.cli.perf.tally import (
    BUCKETS,
    EXACT_BITS,
    MOST_MICROSECONDS,
    Tally,
    bucketOf,
    microsecondsOf,
)


class BucketTests(SynchronousTestCase):
    """
    Tests for L{bucketOf} and L{microsecondsOf}.
    """

    def test_exact(self) -> None:
        """
        Up to 131 ms each microsecond has a bucket of its own.
        """
        for microseconds in (0, 1, 999, (1 << EXACT_BITS) - 1):
            self.assertEqual(microsecondsOf(bucketOf(microseconds)), microseconds)

    def test_bounds(self) -> None:
        """
        There is a bucket for whatever comes.
        """
        self.assertEqual(bucketOf(-5), 0)
        self.assertEqual(bucketOf(MOST_MICROSECONDS), BUCKETS - 1)
        self.assertEqual(bucketOf(1 << 63), BUCKETS - 1)

    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, MOST_MICROSECONDS))
    def test_near(self, microseconds: int) -> None:
        """
        What a bucket stands for is at most 1/65536 below what is in it, and
        the next bucket is above.
        """
        bucket = bucketOf(microseconds)
        low = microsecondsOf(bucket)
        self.assertLessEqual(low, microseconds)
        self.assertLessEqual(microseconds - low, microseconds / 65536)
        if bucket + 1 < BUCKETS:
            self.assertGreater(microsecondsOf(bucket + 1), microseconds)


class TallyTests(SynchronousTestCase):
    """
    Tests for L{Tally}.
    """

    def tally(self, *latencies: int) -> Tally:
        """
        A tally of answers with these latencies.
        """
        tally = Tally()
        for latency in latencies:
            tally.add("answered")
            tally.record(latency)
        return tally

    def test_empty(self) -> None:
        """
        Without samples all is 0.
        """
        tally = Tally()
        self.assertEqual(tally.percentiles(50, 99), [0.0, 0.0])
        self.assertEqual((tally.least, tally.greatest, tally.average), (0.0, 0.0, 0.0))

    def test_rank(self) -> None:
        """
        A percentile is the sample whose rank is nearest.
        """
        tally = self.tally(*range(1000, 11000, 1000))
        # Ranks 4.5, 8.55 and 8.91 of 0 to 9, halves up.
        self.assertEqual(tally.percentiles(50, 95, 99), [6.0, 10.0, 10.0])
        self.assertEqual((tally.least, tally.greatest, tally.average), (1.0, 10.0, 5.5))

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.integers(0, 100_000), min_size=1))
    def test_sorted(self, latencies: list[int]) -> None:
        """
        Percentiles are those of the sorted samples.
        """
        percents = (0, 25, 50, 75, 100)
        found = self.tally(*latencies).percentiles(*percents)
        ranked = sorted(latencies)
        for percent, value in zip(percents, found, strict=True):
            rank = int(percent / 100 * (len(ranked) - 1) + 0.5)
            self.assertEqual(value, ranked[rank] / 1000)

    def test_errors(self) -> None:
        """
        Questions without a right answer are errors, others aren't.
        """
        tally = self.tally(5)
        for name in ("timeouts", "wrong", "refused", "unexpected", "truncated"):
            tally.add(name)
        self.assertEqual((tally.errors, tally.samples), (3, 4))
