# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.refreshstats}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.refresh import Tier
from dnsguard.caching.refreshstats import (
    DAY,
    MOST_SWEEPS,
    RefreshStatistics,
    Removed,
    Sweep,
    meanAndDeviation,
)

HOUR = 3600.0


class RefreshStatisticsTests(SynchronousTestCase):
    """
    Tests for L{RefreshStatistics}.
    """

    def setUp(self) -> None:
        self.statistics = RefreshStatistics(0.0)

    def test_aDay(self) -> None:
        """
        Sweeps older than 24 hours are forgotten.
        """
        for at in (0.0, 10.0, DAY):
            self.statistics.swept(Sweep(at, 5))
        self.assertEqual(len(self.statistics.sweeps(DAY)), 3)
        self.assertEqual([each.at for each in self.statistics.sweeps(DAY + 5)], [10.0, DAY])
        self.assertEqual(self.statistics.last, Sweep(DAY, 5))
        self.assertEqual(self.statistics.sweeps(3 * DAY), [])
        self.assertIsNone(self.statistics.last)

    def test_bounded(self) -> None:
        """
        However often it is swept, so many sweeps are remembered.
        """
        for number in range(MOST_SWEEPS + 5):
            self.statistics.swept(Sweep(number / 1000, 0))
        self.assertEqual(len(self.statistics.sweeps(30.0)), MOST_SWEEPS)

    def test_hourlySlots(self) -> None:
        """
        What clients' queries asked for is counted for 24 hours, by tier.
        """
        for hour in range(30):
            self.statistics.requested(Tier.HOT, hour * HOUR + 1)
        self.statistics.requested(Tier.WARM, 29 * HOUR + 2)
        now = 29 * HOUR + 3
        self.assertEqual(self.statistics.requestedLately(Tier.HOT, now), 24)
        self.assertEqual(self.statistics.requestedLately(Tier.WARM, now), 1)
        self.assertEqual(self.statistics.requestedLately(Tier.NORMAL, now), 0)
        self.assertEqual(self.statistics.requestedLately(Tier.HOT, now + 23 * HOUR), 1)

    def test_projection(self) -> None:
        """
        A count over part of a day is projected to a whole one; after that it
        is what it is.
        """
        self.assertEqual(self.statistics.projected(10, DAY / 4), 40)
        self.assertEqual(self.statistics.projected(10, 5 * DAY), 10)

    def test_removed(self) -> None:
        """
        Causes add up.
        """
        removed = Removed(1, 2, 3, 4) + Removed(coldKeys=5)
        self.assertEqual((removed.coldKeys, removed.total), (6, 15))

    def test_deviation(self) -> None:
        """
        The deviation is that of the whole population.
        """
        self.assertEqual(meanAndDeviation([2, 4, 4, 4, 5, 5, 7, 9]), (5.0, 2.0))
        self.assertEqual(meanAndDeviation([]), (0.0, 0.0))
