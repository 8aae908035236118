# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.replaydrain}.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from dnsguard.interfaces import IEntryObserver, IReplayStore
from dnsguard.replay.bounds import DRAIN_LIMIT
from dnsguard.services.replaydrain import (
    LATEST,
    MEETINGS,
    PATIENCE,
    SHORTEST,
    TURN,
    ReplayDrainService,
)


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


@implementer(IEntryObserver)
class Meeting(Observer):
    """
    Gets to know what is in a batch first.

    @ivar turns: How much it did each time it was asked.
    """

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.known: set[str] = set()
        self.turns: list[int] = []
        self.forgetful = False
        self.unable = broken

    def queryAnswered(self, event: Any) -> None:
        raise AssertionError("no query was answered")

    def meet(self, batch: Any, most: int) -> int:
        if self.unable:
            raise ZeroDivisionError()
        new = sorted(set(batch) - self.known)[:most]
        if not self.forgetful:
            self.known.update(new)
        self.turns.append(len(new))
        return len(new)

    def queriesReplayed(self, batch: Any) -> None:
        super().queriesReplayed(batch)
        self.turns.append(0)


class StepClock(Clock):
    """
    A clock that calls what is due turn by turn.
    """

    def turn(self) -> bool:
        """
        Call what is due now, and not what that plans.

        @return: Was there anything?
        """
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
        return bool(due)


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

    def test_besideNoThread(self) -> None:
        """
        Where no thread answers there is none to make way for: as much as
        possible is taken at once.
        """
        made: list[str] = []
        self.service = ReplayDrainService(
            cast(IReplayStore, self.store),
            lambda: self.observers,
            self.clock,
            interval=0.5,
            giveWay=lambda: made.append("way"),
            besideThread=False,
        )
        self.service.startService()
        self.store.ring = ["a"] * (DRAIN_LIMIT - 1)
        self.clock.advance(0.5)
        (call,) = self.clock.getDelayedCalls()
        self.assertEqual(call.getTime() - self.clock.seconds(), 0.5)
        self.assertEqual(self.service.drained, DRAIN_LIMIT - 1)
        self.assertEqual(made, [])

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

    def meetings(self, *observers: Observer) -> StepClock:
        """
        Begin with other observers, turn by turn.
        """
        clock = StepClock()
        self.observers[:] = observers
        self.service = ReplayDrainService(
            cast(IReplayStore, self.store), lambda: self.observers, clock, interval=0.5
        )
        self.service.startService()
        # Its tick comes with the first turn.
        clock.rightNow += 0.5
        return clock

    def test_metInSlices(self) -> None:
        """
        What observers haven't met before is made known to them, so much a turn
        for all of them together; then all is handed on at once, and in order.
        """
        first, plain, second = Meeting(), Observer(), Meeting()
        clock = self.meetings(first, plain, second)
        many = [f"{number:05}" for number in range(2 * MEETINGS - 1)]
        self.store.ring = list(many)
        done = []
        while clock.turn():
            done.append(sum(first.turns) + sum(second.turns))
            # What comes meanwhile waits.
            if len(done) == 1:
                self.store.ring = ["later"]
        steps = [now - before for before, now in zip([0, *done], done, strict=False)]
        self.assertLessEqual(max(steps), MEETINGS)
        self.assertEqual(sum(steps), 2 * len(many))
        clock.rightNow += 0.5
        while clock.turn():
            pass
        for observer in (first, plain, second):
            self.assertEqual(observer.batches, [many, ["later"]])
        self.assertEqual(self.service.drained, len(many) + 1)

    def test_notHandedOnBeforeAllIsMet(self) -> None:
        """
        Nobody is told of a batch while somebody has still to get ready for it.
        """
        plain, slow = Observer(), Meeting()
        clock = self.meetings(plain, slow)
        self.store.ring = [f"{number:05}" for number in range(MEETINGS)]
        clock.turn()
        self.assertEqual((plain.batches, self.service.drained), ([], 0))
        clock.turn()
        self.assertEqual(len(plain.batches), 1)

    def test_knownIsHandedOnAtOnce(self) -> None:
        """
        A batch that holds nothing new takes one turn.
        """
        observer = Meeting()
        clock = self.meetings(observer)
        observer.known = {"a", "b"}
        self.store.ring = ["a", "b", "a"]
        clock.turn()
        self.assertEqual(observer.batches, [["a", "b", "a"]])

    def test_lateBatchIsHurried(self) -> None:
        """
        The longer a batch has waited, the more is done in a turn.
        """
        observer = Meeting()
        clock = self.meetings(observer)
        self.store.ring = [f"{number:06}" for number in range(20 * MEETINGS)]
        clock.turn()
        clock.rightNow += 3 * PATIENCE
        clock.turn()
        self.assertEqual(observer.turns, [MEETINGS, 3 * MEETINGS])

    def test_forgetfulObserver(self) -> None:
        """
        Who never gets ready is told all the same, in the end.
        """
        observer = Meeting()
        observer.forgetful = True
        clock = self.meetings(observer)
        self.store.ring = [f"{number:06}" for number in range(100 * MEETINGS)]
        clock.turn()
        clock.rightNow += LATEST
        clock.turn()
        self.assertEqual(observer.batches, [])
        clock.rightNow += 0.1
        clock.turn()
        self.assertEqual(len(observer.batches), 1)

    def test_stoppedMeanwhile(self) -> None:
        """
        A batch that waits is handed on before the rest when the service stops,
        whole and once.
        """
        observer = Meeting()
        clock = self.meetings(observer)
        many = [f"{number:05}" for number in range(3 * MEETINGS)]
        self.store.ring = list(many)
        clock.turn()
        self.store.ring = ["later"]
        self.service.stopService()
        self.assertEqual(observer.batches, [many, ["later"]])
        self.assertEqual(self.service.drained, len(many) + 1)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_unableToMeet(self) -> None:
        """
        One that can't get ready is told all the same; that is logged and counted.
        """
        observers = [Meeting(broken=True), Meeting()]
        clock = self.meetings(*observers)
        self.store.ring = ["a"]
        clock.turn()
        for observer in observers:
            self.assertEqual(observer.batches, [["a"]])
        self.assertEqual(self.service.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

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
