# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.pending}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.server.pending import PendingQueries


class PendingQueriesTests(SynchronousTestCase):
    """
    Tests for L{PendingQueries}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[str] = []
        self.pending: PendingQueries = PendingQueries(10, self.expired.append, self.clock)

    def test_expiry(self) -> None:
        """
        Each one's time is up after its own ten seconds.
        """
        self.pending.add("first", self.clock.seconds())
        self.clock.advance(4)
        self.pending.add("second", self.clock.seconds())
        self.pending.add("third", self.clock.seconds())
        self.clock.advance(5.5)
        self.assertEqual((self.expired, len(self.pending)), ([], 3))
        self.clock.advance(0.5)
        self.assertEqual((self.expired, len(self.pending)), (["first"], 2))
        self.pending.remove("second")
        self.clock.advance(4)
        self.assertEqual((self.expired, len(self.pending)), (["first", "third"], 0))

    def test_oneTimer(self) -> None:
        """
        However many wait, there is one timer, and none when nobody does.
        """
        for number in range(100):
            self.pending.add(str(number), self.clock.seconds())
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for number in range(100):
            self.pending.remove(str(number))
        self.clock.advance(10)
        self.assertEqual((self.clock.getDelayedCalls(), self.expired), ([], []))

    def test_removeTwice(self) -> None:
        """
        Removing somebody who isn't there is no matter.
        """
        self.pending.remove("nobody")
        self.assertEqual(len(self.pending), 0)

    def test_withoutClock(self) -> None:
        """
        Without a clock they wait as long as it takes.
        """
        pending: PendingQueries = PendingQueries(10, self.expired.append, None)
        pending.add("one", 0.0)
        self.assertEqual(len(pending), 1)
        pending.close()
        self.assertEqual((len(pending), self.expired), (0, ["one"]))

    def test_whenEmpty(self) -> None:
        """
        Those who want to know are told when the last one is gone, and at once
        when nobody is there.
        """
        self.assertIsNone(self.successResultOf(self.pending.whenEmpty()))
        self.pending.add("one", self.clock.seconds())
        self.pending.add("two", self.clock.seconds())
        told = self.pending.whenEmpty()
        self.pending.remove("one")
        self.assertNoResult(told)
        self.pending.remove("two")
        self.assertIsNone(self.successResultOf(told))

    def test_whenEmptyCancelled(self) -> None:
        """
        Who doesn't want to know any more isn't told.
        """
        self.pending.add("one", self.clock.seconds())
        told = self.pending.whenEmpty()
        told.cancel()
        self.failureResultOf(told, CancelledError)
        self.pending.remove("one")

    def test_close(self) -> None:
        """
        Closing ends the time of all, and the timer.
        """
        self.pending.add("one", self.clock.seconds())
        self.pending.add("two", self.clock.seconds())
        self.pending.close()
        self.assertEqual((self.expired, self.clock.getDelayedCalls()), (["one", "two"], []))
