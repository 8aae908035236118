# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.helper}, without processes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import HelperError
from dnsguard.observers.exposition import Sample
from dnsguard.processes.counts import Counts
from dnsguard.processes.helper import (
    COUNT_SECONDS,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    START_SECONDS,
    STEADY_SECONDS,
    STOP_SECONDS,
    Helper,
)
from dnsguard.processes.orders import Orders
from dnsguard.processes.run import Stage


@attrs.define(eq=False)
class FakeRun:
    """
    A process that does nothing by itself.
    """

    pid: int
    alive: bool = True
    killed: int = 0
    closed: int = 0
    asked: list[tuple[str, Deferred[Any]]] = attrs.field(factory=list)

    def call(
        self, name: str, fields: Any = None, payload: bytes = b"", *, seconds: float
    ) -> Deferred[Any]:
        """See L{Run}."""
        reply: Deferred[Any] = Deferred()
        self.asked.append((name, reply))
        return reply

    def close(self) -> None:
        """See L{Run}."""
        self.closed += 1

    def kill(self) -> None:
        """See L{Run}."""
        self.killed += 1

    def names(self) -> list[str]:
        """
        What it was asked for and hasn't replied to.
        """
        return [name for name, _ in self.asked]

    def reply(self, name: str, result: Any = ({}, b"")) -> None:
        """
        Reply to the first question of a name.
        """
        self._take(name).callback(result)

    def _take(self, name: str) -> Deferred[Any]:
        for at, (asked, reply) in enumerate(self.asked):
            if asked == name:
                del self.asked[at]
                return reply
        raise AssertionError(f"{name} wasn't asked for, but {self.names()}")

    def fail(self, name: str, reason: str = "no reply in time") -> None:
        """
        Fail the first question of a name.
        """
        self._take(name).errback(HelperError(reason))


class FakeStandIn:
    """
    Notes whether it stands in.
    """

    def __init__(self) -> None:
        self.stands = False

    def begin(self) -> None:
        """See L{StandIn}."""
        self.stands = True

    def end(self) -> None:
        """See L{StandIn}."""
        self.stands = False


def counted(number: float) -> bytes:
    """
    What a process replies that has counted so much.
    """
    return Counts({"dnsguard_queries_total": (Sample((), number),)}).encode()


class HelperTests(SynchronousTestCase):
    """
    Tests for L{Helper}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.runs: list[FakeRun] = []
        self.standIn = FakeStandIn()
        self.revision = 1
        self.buried: list[float] = []
        self.refuse = False
        self.helper = Helper(
            1,
            self.clock,
            self.launch,
            self.standIn,
            lambda: Orders(self.revision, b"config"),
            lambda counts: self.buried.append(counts.total("dnsguard_queries_total")),
            Counter(),
        )

    def launch(self, helper: Helper) -> FakeRun:
        """
        Start a process that does nothing.
        """
        if self.refuse:
            raise OSError(11, "out of processes")
        run = FakeRun(100 + len(self.runs))
        self.runs.append(run)
        return run

    @property
    def run_(self) -> FakeRun:
        """
        The last process.
        """
        return self.runs[-1]

    def serve(self) -> FakeRun:
        """
        Start one, and let it come to serve.
        """
        self.helper.start()
        self.come()
        return self.run_

    def come(self) -> None:
        """
        Let the last one come to serve.
        """
        self.helper.hello()
        self.helper.ready()
        self.run_.reply("listen")

    def test_standInUntilItServes(self) -> None:
        """
        The main process stands in from the start until the moment at which the
        helper is told to listen.
        """
        self.helper.start()
        self.assertEqual((self.helper.stage, self.standIn.stands), (Stage.STARTING, True))
        self.helper.hello()
        self.assertTrue(self.standIn.stands)
        self.helper.ready()
        self.assertEqual((self.helper.stage, self.standIn.stands), (Stage.SERVING, False))
        self.assertEqual(self.run_.names(), ["listen", "count"])

    def test_ordersChangeWhileItStarts(self) -> None:
        """
        One that was started under old orders goes by the new ones before it
        serves.
        """
        self.helper.start()
        self.helper.hello()
        self.revision = 2
        self.helper.ready()
        self.assertEqual(self.run_.names(), ["follow"])
        self.revision = 3
        self.run_.reply("follow")
        self.assertEqual((self.run_.names(), self.standIn.stands), (["follow"], True))
        self.run_.reply("follow")
        self.assertEqual((self.helper.stage, self.standIn.stands), (Stage.SERVING, False))

    def test_follows(self) -> None:
        """
        New orders are told one after the other, the latest only; those who wait
        are told when they are followed.
        """
        run = self.serve()
        self.revision = 2
        self.helper.follow()
        second = self.helper.whenFollowing(2)
        self.revision = 3
        self.helper.follow()
        self.revision = 4
        self.helper.follow()
        fourth = self.helper.whenFollowing(4)
        self.assertEqual(run.names().count("follow"), 1)
        self.assertNoResult(second)
        run.reply("follow")
        self.successResultOf(second)
        self.assertNoResult(fourth)
        run.reply("follow")
        self.successResultOf(fourth)
        self.assertEqual(run.names().count("follow"), 0)
        self.successResultOf(self.helper.whenFollowing(3))

    def test_doesNotFollow(self) -> None:
        """
        One that doesn't follow, or can't, is killed; who waits is told when it
        has ended, and the main process answers.
        """
        run = self.serve()
        self.revision = 2
        self.helper.follow()
        waiting = self.helper.whenFollowing(2)
        run.fail("follow")
        self.assertEqual(run.killed, 1)
        self.assertNoResult(waiting)
        self.helper.ended()
        self.successResultOf(waiting)
        self.assertTrue(self.standIn.stands)
        self.assertEqual(self.helper.ends, {"disobedient": 1})

    def test_killedBetweenCounts(self) -> None:
        """
        One that is killed leaves no timer behind; its next question would have
        the next one killed for being slow to start, a minute after it started.
        """
        run = self.serve()
        run.reply("count", ({}, counted(1)))
        self.revision = 2
        self.helper.follow()
        run.fail("follow")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.helper.ended()
        self.clock.advance(FIRST_PAUSE)
        self.clock.advance(COUNT_SECONDS)
        self.come()
        self.clock.advance(START_SECONDS)
        self.assertEqual((self.helper.stage, self.run_.killed), (Stage.SERVING, 0))

    def test_nobodyWaitsForOneThatIsAway(self) -> None:
        """
        One that doesn't serve can't answer by old orders.
        """
        self.successResultOf(self.helper.whenFollowing(9))
        self.helper.start()
        self.successResultOf(self.helper.whenFollowing(9))

    def test_startedAgain(self) -> None:
        """
        One that ends is started again after a pause, which grows with each
        end, up to a bound; after a long service it is short again.
        """
        self.serve()
        pause = FIRST_PAUSE
        for times in range(1, 12):
            self.helper.ended()
            self.assertTrue(self.standIn.stands)
            self.clock.advance(pause - 0.001)
            self.assertEqual(len(self.runs), times)
            self.clock.advance(0.002)
            self.assertEqual(len(self.runs), times + 1)
            pause = min(LONGEST_PAUSE, 2 * pause)
            self.come()
        self.assertEqual(pause, LONGEST_PAUSE)
        self.clock.advance(STEADY_SECONDS)
        self.helper.ended()
        self.clock.advance(FIRST_PAUSE)
        self.assertEqual(len(self.runs), 13)
        self.assertEqual((self.helper.starts, self.helper.ends), (13, {"ended": 12}))

    def test_cannotBeStarted(self) -> None:
        """
        A process that can't be had is tried for again; the main process stands
        in.
        """
        self.refuse = True
        self.helper.start()
        self.assertEqual((self.helper.stage, self.standIn.stands), (Stage.AWAY, True))
        self.refuse = False
        self.clock.advance(FIRST_PAUSE)
        self.come()
        self.assertEqual(self.helper.stage, Stage.SERVING)

    def test_slowToStart(self) -> None:
        """
        One that never gets ready is killed.
        """
        self.helper.start()
        self.helper.hello()
        self.clock.advance(START_SECONDS)
        self.assertEqual(self.run_.killed, 1)
        self.helper.ended()
        self.assertEqual(self.helper.ends, {"slow": 1})

    def test_silent(self) -> None:
        """
        One that doesn't say how it is is killed.
        """
        run = self.serve()
        run.reply("count", ({}, counted(1)))
        self.clock.advance(COUNT_SECONDS)
        run.fail("count")
        self.assertEqual(run.killed, 1)
        self.helper.ended()
        self.assertEqual(self.helper.ends, {"silent": 1})

    def test_counts(self) -> None:
        """
        It is asked for its numbers now and then; what it said last is kept
        when it ends.
        """
        run = self.serve()
        for number in (1.0, 5.0):
            run.reply("count", ({}, counted(number)))
            self.assertEqual(self.helper.counts.total("dnsguard_queries_total"), number)
            self.assertEqual(run.names(), [])
            self.clock.advance(COUNT_SECONDS)
        self.helper.ended()
        self.assertEqual(self.buried, [5.0])
        self.assertEqual(self.helper.counts, Counts())

    def test_recount(self) -> None:
        """
        Whoever wants numbers gets those asked for after that: with one question
        for all who came meanwhile, and never two questions at a time.
        """
        run = self.serve()
        asked = [self.helper.recount() for _ in range(3)]
        self.assertEqual(run.names(), ["count"])
        run.reply("count", ({}, counted(1)))
        self.assertNoResult(asked[0])
        self.assertEqual(run.names(), ["count"])
        run.reply("count", ({}, counted(2)))
        for each in asked:
            self.successResultOf(each)
        self.assertEqual(self.helper.counts.total("dnsguard_queries_total"), 2)
        self.assertEqual(run.names(), [])
        # The next look is planned once.
        self.clock.advance(COUNT_SECONDS)
        self.assertEqual(run.names(), ["count"])

    def test_recountOfOneThatEnds(self) -> None:
        """
        Nobody waits for the numbers of one that has ended, or isn't there.
        """
        run = self.serve()
        asked = [self.helper.recount(), self.helper.recount()]
        run.alive = False
        run.fail("count", "gone")
        run.fail("count", "gone")
        self.helper.ended()
        for each in asked:
            self.successResultOf(each)
        self.assertEqual(run.killed, 0)
        self.successResultOf(self.helper.recount())

    def test_stop(self) -> None:
        """
        One that is stopped hands everything over, its last numbers included,
        and is let go then.
        """
        run = self.serve()
        run.reply("count", ({}, counted(3)))
        stopped = self.helper.stop()
        self.assertEqual((run.names(), run.closed), (["stop"], 0))
        run.reply("stop", ({}, counted(8)))
        self.assertEqual(run.closed, 1)
        self.assertNoResult(stopped)
        self.helper.ended()
        self.successResultOf(stopped)
        self.assertEqual((self.buried, self.helper.ends), ([8.0], {}))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(self.standIn.stands)

    def test_stopOneThatHangs(self) -> None:
        """
        One that doesn't stop is killed, if it doesn't reply or doesn't end.
        """
        run = self.serve()
        stopped = self.helper.stop()
        run.fail("stop")
        self.assertEqual(run.killed, 1)
        self.clock.advance(STOP_SECONDS)
        self.assertEqual(run.killed, 2)
        self.helper.ended()
        self.successResultOf(stopped)

    def test_stopOneThatDies(self) -> None:
        """
        One that dies while it stops isn't started again.
        """
        run = self.serve()
        stopped = self.helper.stop()
        run.alive = False
        run.fail("stop", "gone")
        self.helper.ended()
        self.successResultOf(stopped)
        self.clock.advance(2 * LONGEST_PAUSE)
        self.assertEqual(len(self.runs), 1)

    def test_stopWhileItStarts(self) -> None:
        """
        One that isn't up yet is let go at once; one that waits to be started
        isn't.
        """
        self.helper.start()
        stopped = self.helper.stop()
        self.assertEqual((self.run_.closed, self.run_.names()), (1, []))
        self.helper.ended()
        self.successResultOf(stopped)
        self.helper.start()
        self.helper.ended()
        self.successResultOf(self.helper.stop())
        self.clock.advance(LONGEST_PAUSE)
        self.assertEqual(len(self.runs), 2)

    def test_replace(self) -> None:
        """
        One that didn't do what it was asked for is ended, and who asked told
        when it has.
        """
        run = self.serve()
        ended = Deferred.fromCoroutine(self.helper.replace(HelperError("no reply in time")))
        self.assertEqual(run.killed, 1)
        self.assertNoResult(ended)
        self.helper.ended()
        self.successResultOf(ended)
