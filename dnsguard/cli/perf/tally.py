# -*- test-case-name: tests.cli.perf.test_tally -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What a measurement has counted.

Latencies are kept in a histogram whose size doesn't depend on how many there
are: exact to the microsecond up to 131 ms, and to 1/65536 above. Percentiles of
a run of a thousand million queries cost what those of ten do.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

__all__ = ["BUCKETS", "COUNTS", "RCODES", "Tally", "bucketOf", "microsecondsOf"]

EXACT_BITS = 17
HALF = 1 << (EXACT_BITS - 1)
SHIFTS = 20
MOST_MICROSECONDS = (1 << (EXACT_BITS + SHIFTS)) - 1
BUCKETS = (1 << EXACT_BITS) + SHIFTS * HALF

RCODES = 16
"""The header has four bits for them; more take EDNS, which isn't sent."""

COUNTS = ("sent", "answered", "timeouts", "wrong", "refused", "unexpected", "truncated")
"""
What is counted, in the order of L{Tally.counts}: questions sent; replies to the
very question; questions without a reply in time; replies to another question
under the right id, or damaged; questions lost because nobody listens or a
connection broke; replies too late or never asked for; truncated ones among the
answers.
"""


def bucketOf(microseconds: int) -> int:
    """
    Find the bucket of a latency.
    """
    if microseconds < 1 << EXACT_BITS:
        return max(microseconds, 0)
    microseconds = min(microseconds, MOST_MICROSECONDS)
    shift = microseconds.bit_length() - EXACT_BITS
    return (1 << EXACT_BITS) + (shift - 1) * HALF + (microseconds >> shift) - HALF


def microsecondsOf(bucket: int) -> int:
    """
    Give the least latency of a bucket.
    """
    if bucket < 1 << EXACT_BITS:
        return bucket
    shift, rest = divmod(bucket - (1 << EXACT_BITS), HALF)
    return (rest + HALF) << (shift + 1)


class Tally:
    """
    The counters of one run. The compiled twin writes into these very arrays.

    @ivar histogram: How many latencies fell into each bucket.
    @ivar rCodes: How many answers had each response code.
    @ivar counts: See L{COUNTS}.
    @ivar extremes: The least and the greatest latency and the sum of all, in
        microseconds.
    """

    def __init__(self) -> None:
        self.histogram = array("I", bytes(4 * BUCKETS))
        self.rCodes = array("Q", bytes(8 * RCODES))
        self.counts = array("Q", bytes(8 * len(COUNTS)))
        self.extremes = array("Q", [MOST_MICROSECONDS, 0, 0])

    def record(self, microseconds: int) -> None:
        """
        Count a latency.
        """
        microseconds = max(microseconds, 0)
        self.histogram[bucketOf(microseconds)] += 1
        extremes = self.extremes
        extremes[0] = min(extremes[0], microseconds)
        extremes[1] = max(extremes[1], microseconds)
        extremes[2] += microseconds

    def add(self, name: str, number: int = 1) -> None:
        """
        Count something of L{COUNTS}.
        """
        self.counts[COUNTS.index(name)] += number

    def __getitem__(self, name: str) -> int:
        return self.counts[COUNTS.index(name)]

    @property
    def samples(self) -> int:
        """
        How many latencies there are: one for each question that is over.
        """
        return self.errors + self["answered"]

    @property
    def errors(self) -> int:
        """
        Questions without a right answer.
        """
        return self["timeouts"] + self["wrong"] + self["refused"]

    @property
    def least(self) -> float:
        """
        The least latency, in milliseconds.
        """
        return self.extremes[0] / 1000 if self.samples else 0.0

    @property
    def greatest(self) -> float:
        """
        The greatest latency, in milliseconds.
        """
        return self.extremes[1] / 1000

    @property
    def average(self) -> float:
        """
        The mean latency, in milliseconds.
        """
        return self.extremes[2] / self.samples / 1000 if self.samples else 0.0

    def percentiles(self, *percents: float) -> list[float]:
        """
        Give latencies by nearest rank, in milliseconds.

        @param percents: In ascending order.
        """
        number = self.samples
        found: list[float] = []
        if not number:
            return [0.0 for _ in percents]
        seen = 0
        buckets = self.filled()
        bucket = 0
        for percent in percents:
            # The documented rank, from 0: to the nearest, halves up.
            rank = int(percent / 100 * (number - 1) + 0.5)
            while seen <= rank:
                bucket, count = next(buckets)
                seen += count
            value = microsecondsOf(bucket) / 1000
            found.append(min(max(value, self.least), self.greatest))
        return found

    def filled(self) -> Iterator[tuple[int, int]]:
        """
        Give each bucket that isn't empty, and how many are in it.
        """
        # Most are empty: skip those fast.
        octets = self.histogram.tobytes()
        step = 4096
        for start in range(0, BUCKETS, step):
            if octets.count(0, start * 4, (start + step) * 4) == min(step, BUCKETS - start) * 4:
                continue
            for bucket in range(start, min(start + step, BUCKETS)):
                if self.histogram[bucket]:
                    yield bucket, self.histogram[bucket]
