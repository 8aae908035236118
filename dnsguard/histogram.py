# -*- test-case-name: tests.test_histogram -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How often something took how long.

Counting a duration must cost less than what is measured, so this is a list of
numbers and a search in a tuple. Whoever publishes it adds the numbers up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

__all__ = ["SECONDS", "Histogram"]

SECONDS = (
    0.00001,
    0.0001,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
"""
The buckets' upper bounds: from an answer out of the replay store, in
microseconds, to one that three upstreams were asked for.
"""


class Histogram:
    """
    Counts of durations by size.

    @ivar bounds: The upper bounds of the buckets, ascending, each within its
        bucket.
    @ivar counts: How many durations fell into each bucket, and last, how many
        were longer than all bounds.
    @ivar total: The sum of all durations, in seconds.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """
        Count a duration.

        @param times: How many there were of it.
        """
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.total += seconds * times

    @property
    def count(self) -> int:
        """
        How many durations were counted.
        """
        return sum(self.counts)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """
        Give each bound, and last infinity, with the count of all that isn't
        above it.
        """
        sofar = 0
        for bound, count in zip((*self.bounds, float("inf")), tuple(self.counts), strict=True):
            sofar += count
            yield bound, sofar
