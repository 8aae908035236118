# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.pace}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.querystore.pace import LONGEST_REST, MANY, Pace


class StarvingStore:
    """
    A store that waits for a core, or doesn't.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Deferred[bool] | None = None

    def isStarved(self) -> Deferred[bool]:
        """
        Answer as told.
        """
        self.asked += 1
        return succeed(True) if self.answer is None else self.answer


class FixedSpool:
    """
    As much of a spool as is looked at.
    """

    isHalfFull = False


class PaceTests(SynchronousTestCase):
    """
    Leaving the store alone.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = StarvingStore()
        self.spool = FixedSpool()
        self.pace = Pace(self.store, self.spool, self.clock)  # type: ignore[arg-type]

    def allows(self, rows: int = MANY) -> bool:
        """
        May so many rows be stored, at once?
        """
        return self.successResultOf(Deferred.fromCoroutine(self.pace.allows(rows)))

    def test_few(self) -> None:
        """
        For few rows nobody is asked.
        """
        self.assertTrue(self.allows(MANY - 1))
        self.assertEqual((self.store.asked, self.pace.rests), (0, 0))

    def rested(self) -> float:
        """
        Wait for a rest's end.

        @return: How long it was.
        """
        began = self.clock.seconds()
        while self.pace.isResting:
            self.clock.advance(0.5)
        return self.clock.seconds() - began

    def test_starved(self) -> None:
        """
        A store that waits for a core is left alone, longer each time up to a bound.
        """
        rests = []
        for _ in range(5):
            self.assertFalse(self.allows())
            rests.append(self.rested())
        self.assertEqual(rests, [4.0, 8.0, 16.0, 16.0, LONGEST_REST])
        self.assertEqual(self.pace.rests, 5)

    def test_oneBlock(self) -> None:
        """
        A store that waits for a core again after one block rests longer than before;
        after two it has recovered.
        """
        rests = []
        for blocks in (1, 1, 2, 1):
            self.store.answer = None
            self.assertFalse(self.allows())
            rests.append(self.rested())
            self.store.answer = succeed(False)
            for _ in range(blocks):
                self.assertTrue(self.allows())
        self.assertEqual(rests, [4.0, 8.0, 16.0, 4.0])

    def test_halfFull(self) -> None:
        """
        With half of the spool full rows are stored, a rest at an end: none is lost for
        the sake of the pace.
        """
        self.assertFalse(self.allows())
        self.spool.isHalfFull = True
        self.assertFalse(self.pace.isResting)
        self.assertTrue(self.allows())
        self.assertEqual(self.store.asked, 1)

    def test_withoutSpool(self) -> None:
        """
        Without a spool rows have nowhere to wait.
        """
        pace = Pace(self.store, None, self.clock)
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(pace.allows(MANY))))
        self.assertFalse(pace.isResting)

    def test_hurry(self) -> None:
        """
        Before the end, rows are stored at any price.
        """
        self.assertFalse(self.allows())
        self.pace.hurry()
        self.assertFalse(self.pace.isResting)
        self.assertTrue(self.allows())

    def test_failing(self) -> None:
        """
        A store that can't tell is given rows; what is amiss it says then.
        """
        self.store.answer = fail(StoreError("fake", "told to"))
        self.assertTrue(self.allows())
        self.assertIsNone(self.pace.since)

    def test_since(self) -> None:
        """
        As long as the store hasn't answered, it is known since when it owes that.
        """
        self.clock.advance(3.0)
        self.store.answer = Deferred()
        asking = Deferred.fromCoroutine(self.pace.allows(MANY))
        self.assertEqual(self.pace.since, 3.0)
        self.store.answer.callback(False)
        self.assertTrue(self.successResultOf(asking))
        self.assertIsNone(self.pace.since)
