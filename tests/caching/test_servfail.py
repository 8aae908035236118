# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.caching.servfail}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.servfail import BackoffTable


class BackoffTableTests(SynchronousTestCase):
    """
    Tests for L{BackoffTable}.
    """

    def test_leavesAKeyAlone(self) -> None:
        """
        A failed key is in backoff for so long, and no other key is.
        """
        table: BackoffTable[str] = BackoffTable(60.0)
        table.failed("a", 100.0)
        self.assertTrue(table.inBackoff("a", 159.9))
        self.assertEqual(table.remaining("a", 130.0), 30.0)
        self.assertFalse(table.inBackoff("a", 160.0))
        self.assertFalse(table.inBackoff("b", 100.0))

    def test_failureProlongs(self) -> None:
        """
        Each failure starts the time anew.
        """
        table: BackoffTable[str] = BackoffTable(60.0)
        table.failed("a", 0.0)
        table.failed("a", 50.0)
        self.assertTrue(table.inBackoff("a", 100.0))

    def test_successEndsIt(self) -> None:
        """
        An answer ends the backoff and forgets the failed refreshes.
        """
        table: BackoffTable[str] = BackoffTable(60.0, refreshThreshold=1)
        table.failed("a", 0.0, refresh=True)
        self.assertFalse(table.mayRefresh("a", 1000.0))
        table.succeeded("a")
        self.assertFalse(table.inBackoff("a", 1.0))
        self.assertTrue(table.mayRefresh("a", 1.0))
        self.assertEqual((len(table), table.counted), (0, 0))

    def test_zeroSecondsIsNoBackoff(self) -> None:
        """
        With no time set, nothing is ever in backoff.
        """
        table: BackoffTable[str] = BackoffTable(0.0)
        table.failed("a", 5.0)
        self.assertFalse(table.inBackoff("a", 5.0))
        self.assertEqual(len(table), 0)

    def test_givesUpRefreshing(self) -> None:
        """
        After so many failed refreshes in a row a key isn't refreshed any more,
        also when its backoff is over. Failures to clients don't count.
        """
        table: BackoffTable[str] = BackoffTable(60.0, refreshThreshold=3)
        for attempt in range(3):
            now = attempt * 100.0
            table.failed("a", now)
            table.failed("a", now, refresh=True)
            self.assertFalse(table.mayRefresh("a", now + 1))
            self.assertEqual(table.mayRefresh("a", now + 61), attempt < 2)

    def test_thresholdZeroNeverGivesUp(self) -> None:
        """
        With a threshold of 0 a key is refreshed whenever its backoff is over.
        """
        table: BackoffTable[str] = BackoffTable(60.0, refreshThreshold=0)
        for _ in range(50):
            table.failed("a", 0.0, refresh=True)
        self.assertTrue(table.mayRefresh("a", 60.0))

    def test_logsOnceInAWhile(self) -> None:
        """
        A key's failures are to be logged once an interval, by default once a
        backoff; other keys have their own.
        """
        table: BackoffTable[str] = BackoffTable(60.0)
        said = [table.failed("a", now) for now in (0.0, 10.0, 59.0, 60.0, 61.0)]
        self.assertEqual(said, [True, False, False, True, False])
        self.assertTrue(table.failed("b", 61.0))
        often: BackoffTable[str] = BackoffTable(60.0, logInterval=5.0)
        said = [often.failed("a", now) for now in (0.0, 4.0, 5.0)]
        self.assertEqual(said, [True, False, True])

    def test_pruningKeepsCounts(self) -> None:
        """
        Pruning lets go of backoffs that are over, not of how often refreshes
        failed.
        """
        table: BackoffTable[str] = BackoffTable(60.0, refreshThreshold=1)
        table.failed("a", 0.0, refresh=True)
        table.failed("b", 30.0)
        self.assertEqual(table.prune(70.0), 1)
        self.assertEqual(len(table), 1)
        self.assertFalse(table.mayRefresh("a", 70.0))

    def test_failuresPrune(self) -> None:
        """
        Each failure lets go of some that are over: without any sweep the table
        doesn't fill up with them.
        """
        table: BackoffTable[int] = BackoffTable(60.0, capacity=1000)
        for second in range(500):
            table.failed(second, float(second))
        self.assertLessEqual(len(table), 61)

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 20), st.integers(0, 30), st.booleans(), st.booleans()),
            max_size=150,
        )
    )
    def test_followsASlowModel(self, steps: list[tuple[int, int, bool, bool]]) -> None:
        """
        With room enough it says what plain dicts of times and counts say.
        """
        table: BackoffTable[int] = BackoffTable(60.0, refreshThreshold=2)
        until: dict[int, float] = {}
        counts: dict[int, int] = {}
        now = 0.0
        for key, wait, fails, refresh in steps:
            now += wait
            if fails:
                table.failed(key, now, refresh)
                until[key] = now + 60.0
                counts[key] = counts.get(key, 0) + refresh
            else:
                table.succeeded(key)
                until.pop(key, None)
                counts.pop(key, None)
            for each in range(21):
                backoff = until.get(each, 0.0) > now
                self.assertEqual(table.inBackoff(each, now), backoff)
                self.assertEqual(
                    table.mayRefresh(each, now), not backoff and counts.get(each, 0) < 2
                )

    def test_isBounded(self) -> None:
        """
        Full, it lets the keys go that failed longest ago, and counts them.
        """
        table: BackoffTable[int] = BackoffTable(60.0, capacity=3)
        for key in range(5):
            table.failed(key, 0.0, refresh=True)
        self.assertEqual((len(table), table.counted), (3, 3))
        self.assertEqual([table.inBackoff(key, 1.0) for key in range(5)], [False] * 2 + [True] * 3)
        self.assertEqual(table.evictions, 6)

    def test_clear(self) -> None:
        """
        Cleared, it knows of no failure.
        """
        table: BackoffTable[str] = BackoffTable(60.0)
        table.failed("a", 0.0, refresh=True)
        table.clear()
        self.assertFalse(table.inBackoff("a", 1.0))
        self.assertEqual((len(table), table.counted), (0, 0))
