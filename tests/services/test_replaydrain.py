# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.replaydrain}.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.interfaces import IReplayStore
from dnsguard.replay.bounds import DRAIN_LIMIT
from dnsguard.services.replaydrain import SHORTEST, TURN, ReplayDrainService


class Store:
    """
    A store whose ring is a list.
    """

    def __init__(self) -> None:
        self.ring: list[str] = []
        self.broken = False

    def drain(self) -> list[str]:
        if self.broken:
            raise ZeroDivisionError()
        taken, self.ring = self.ring, []
        return taken


class Observer:
    """
    Keeps batches, or fails.
    """

    def __init__(self, broken: bool = False) -> None:
        self.batches: list[Any] = []
        self.broken = broken

    def queriesReplayed(self, batch: Any) -> None:
        if self.broken:
            raise ZeroDivisionError()
        self.batches.append(batch)


class ReplayDrainServiceTests(SynchronousTestCase):
    """
    Tests for L{ReplayDrainService}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.store: Any = Store()
        self.observers: list[Any] = [Observer(), Observer()]
        self.service = ReplayDrainService(
            cast(IReplayStore, self.store), lambda: self.observers, self.clock, interval=0.5
        )

    def test_drains(self) -> None:
        """
        Every observer is told of what is there, at each tick, and at the end.
        """
        self.service.startService()
        self.store.ring = ["a", "b"]
        self.clock.advance(0.5)
        self.clock.advance(0.5)
        self.store.ring = ["c"]
        self.service.stopService()
        for observer in self.observers:
            self.assertEqual(observer.batches, [["a", "b"], ["c"]])
        self.assertEqual(self.service.drained, 3)
        self.store.ring = ["d"]
        self.clock.advance(5)
        self.assertEqual(self.service.drained, 3)

    def test_moreThanABatch(self) -> None:
        """
        When there is more than one batch, the others follow at once; at the
        end all are taken.
        """
        rest = ["a"] * (2 * DRAIN_LIMIT + 1)

        def drain() -> list[str]:
            taken = rest[:DRAIN_LIMIT]
            del rest[:DRAIN_LIMIT]
            return taken

        self.store.drain = drain
        self.service.startService()
        self.clock.advance(0.5)
        sizes = [len(batch) for batch in self.observers[0].batches]
        self.assertEqual(sizes, [DRAIN_LIMIT, DRAIN_LIMIT, 1])
        rest += ["b"] * (2 * DRAIN_LIMIT)
        self.clock.advance(0.5)
        self.service.stopService()
        self.assertEqual(self.service.drained, 4 * DRAIN_LIMIT + 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oftenWhenBusy(self) -> None:
        """
        The faster queries are replayed, the more often they are taken, so that
        there are about as many each time; but not more often than makes sense.
        """
        self.service.startService()
        self.store.ring = ["a"] * (TURN * 5)
        self.clock.advance(0.5)
        (call,) = self.clock.getDelayedCalls()
        self.assertAlmostEqual(call.getTime() - self.clock.seconds(), 0.1)
        self.store.ring = ["a"] * TURN
        self.clock.advance(0.1)
        (call,) = self.clock.getDelayedCalls()
        self.assertAlmostEqual(call.getTime() - self.clock.seconds(), 0.1)
        self.store.ring = ["a"] * (DRAIN_LIMIT - 1)
        self.clock.advance(0.1)
        self.clock.advance(0.0125)
        self.store.ring = ["a"] * (DRAIN_LIMIT - 1)
        self.clock.advance(0.01)
        (call,) = self.clock.getDelayedCalls()
        self.assertAlmostEqual(call.getTime() - self.clock.seconds(), SHORTEST)

    def test_seldomWhenIdle(self) -> None:
        """
        When hardly anything is replayed, it looks at its interval again.
        """
        self.service.startService()
        self.store.ring = ["a"] * (TURN * 5)
        self.clock.advance(0.5)
        for ring in ([], ["a"]):
            self.store.ring = ring
            self.clock.advance(0.5)
            (call,) = self.clock.getDelayedCalls()
            self.assertEqual(call.getTime() - self.clock.seconds(), 0.5)

    def test_brokenObserver(self) -> None:
        """
        One that fails is logged and counted, and doesn't keep others from
        being told.
        """
        self.observers.insert(0, Observer(broken=True))
        self.service.startService()
        self.store.ring = ["a"]
        self.clock.advance(0.5)
        self.assertEqual(self.observers[2].batches, [["a"]])
        self.assertEqual(self.service.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_brokenStore(self) -> None:
        """
        A store that fails doesn't end the ticking.
        """
        self.service.startService()
        self.store.broken = True
        self.clock.advance(0.5)
        self.store.broken = False
        self.store.ring = ["a"]
        self.clock.advance(0.5)
        self.assertEqual(self.service.drained, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
