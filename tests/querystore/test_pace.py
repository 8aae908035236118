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

    def test_starved(self) -> None:
        """
        A store that waits for a core is left alone, longer each time up to a bound,
        and from the beginning once it has taken rows.
        """
        rests = []
        for _ in range(6):
            self.assertFalse(self.allows())
            began = self.clock.seconds()
            while self.pace.isResting:
                self.clock.advance(0.5)
            rests.append(self.clock.seconds() - began)
        self.assertEqual(rests, [1.0, 2.0, 4.0, 8.0, 8.0, LONGEST_REST])
        self.assertEqual(self.pace.rests, 6)
        self.store.answer = succeed(False)
        self.assertTrue(self.allows())
        self.assertFalse(self.pace.isResting)
        self.store.answer = None
        self.assertFalse(self.allows())
        self.clock.advance(1.0)
        self.assertFalse(self.pace.isResting)

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
