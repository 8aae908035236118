# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.tail}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.querystore.filters import EVERYTHING, QueryFilter
from dnsguard.querystore.tail import MAX_WAITING, MAX_WATCHERS, LiveTail
from tests.support.storecontract import sampleBlock


class LiveTailTests(SynchronousTestCase):
    """
    Rows as they come.
    """

    def test_watching(self) -> None:
        """
        Each watcher is shown what it wants, once, the oldest first.
        """
        tail = LiveTail()
        self.assertFalse(tail)
        everything = tail.watch(EVERYTHING)
        blocked = tail.watch(QueryFilter(outcomes=("blocked",)))
        assert everything is not None
        assert blocked is not None
        self.assertTrue(tail)
        tail.offer(sampleBlock())
        rows = everything.take()
        self.assertEqual([row["ts"] for row in rows], sorted(row["ts"] for row in rows))
        self.assertEqual(len(rows), 11)
        self.assertEqual([row["qname"] for row in blocked.take()], ["bad.example"] * 2)
        self.assertEqual(blocked.take(), [])

    def test_slowWatcher(self) -> None:
        """
        A watcher that doesn't come loses the oldest rows, and they are
        counted.
        """
        tail = LiveTail()
        watcher = tail.watch(EVERYTHING)
        assert watcher is not None
        for _ in range(100):
            tail.offer(sampleBlock())
        self.assertEqual(watcher.missed, 1100 - MAX_WAITING)
        self.assertEqual(len(watcher.take()), MAX_WAITING)

    def test_manyWatchers(self) -> None:
        """
        There is room for so many watchers, and again when one leaves.
        """
        tail = LiveTail()
        watchers = [tail.watch(EVERYTHING) for _ in range(MAX_WATCHERS)]
        self.assertIsNone(tail.watch(EVERYTHING))
        assert watchers[0] is not None
        watchers[0].leave()
        self.assertIsNotNone(tail.watch(EVERYTHING))
