# -*- test-case-name: tests.processes.test_helper -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One helper process, as the main process sees it.

A helper is away, starting, serving or leaving. While it doesn't serve, the main
process reads the helper's sockets in its stead, so that no client waits for a
process that has died or isn't up yet: the stand-in ends just before a helper is
told to listen, and begins again as soon as it is gone. ::

    away --launch--> starting --ready--> serving --stop--> leaving
     ^                  |                   |                 |
     +---- a pause <----+---- it ended <----+                 v
                                                             away

A helper that doesn't follow new orders, or says nothing for L{HANG_SECONDS}, is
killed: thus no process answers by old rules for longer than that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.errors import HelperError
from dnsguard.processes.counts import Counts
from dnsguard.processes.orders import Orders
from dnsguard.processes.run import Run, Stage, StandIn

__all__ = ["HANG_SECONDS", "Helper"]

START_SECONDS = 60.0
"""How long a helper may take until it is ready."""

HANG_SECONDS = 10.0
"""How long it may take to do as it is told, or to say how it is."""

COUNT_SECONDS = 2.0
"""Time between two looks at how it is, and at what it has counted."""

STOP_SECONDS = 10.0
"""How long it may take to answer what it has and to hand everything over."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Time before a helper that ended is started again."""

STEADY_SECONDS = 60.0
"""One that served for as long as this is started again after the first pause."""


@attrs.define(eq=False)
class _Waiting:
    """
    Somebody who waits until orders are followed.
    """

    revision: int
    followed: Deferred[None]


class Helper:
    """
    Keeps one helper process running, and doing as it is told.

    @ivar number: Its number, from 1; the main process is number 0.
    @ivar stage: Where it is.
    @ivar run: The process, while there is one.
    @ivar starts: How often it was started.
    @ivar ends: How often it ended without being told to, by why.
    @ivar counts: What it counted when it was last asked.
    """

    log = Logger()

    def __init__(
        self,
        number: int,
        clock: IReactorTime,
        launch: Callable[[Helper], Run],
        standIn: StandIn,
        orders: Callable[[], Orders],
        bury: Callable[[Counts], object],
        ends: Counter[str],
    ) -> None:
        """
        @param launch: Starts a process; raises L{OSError} if it can't. L{ended}
            is called when it has ended.
        @param orders: Gives what holds now.
        @param bury: Told what a process counted that has ended.
        @param ends: See the attribute; all helpers may have one.
        """
        self.number = number
        self.stage = Stage.AWAY
        self.run: Run | None = None
        self.starts = 0
        self.ends = ends
        self.counts = Counts()
        self._clock = clock
        self._launch = launch
        self._standIn = standIn
        self._orders = orders
        self._bury = bury
        self._following: int | None = None
        self._followed = -1
        self._waiting: list[_Waiting] = []
        self._counting = False
        self._wanted: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        self._pause = FIRST_PAUSE
        self._began = 0.0
        self._reason = "ended"
        self._gone: Deferred[None] | None = None

    # Its life.

    def start(self) -> None:
        """
        Start it; until it serves, somebody stands in.
        """
        self._standIn.begin()
        self._begin()

    def _begin(self) -> None:
        self._timer = None
        self.stage = Stage.STARTING
        self.starts += 1
        self._reason = "ended"
        self._began = self._clock.seconds()
        self._followed, self._following = -1, None
        try:
            self.run = self._launch(self)
        except OSError as reason:
            self.log.error(
                "helper process {number} can't be started: {reason}",
                number=self.number,
                reason=reason.strerror or str(reason),
            )
            self._over()
        else:
            self._timer = self._clock.callLater(START_SECONDS, self._kill, "slow")

    def hello(self) -> Orders:
        """
        It lives, and wants to know what to do.
        """
        orders = self._orders()
        self._followed = orders.revision
        return orders

    def ready(self) -> None:
        """
        It has prepared everything, and could serve.
        """
        if self.stage is Stage.STARTING:
            self._advance()

    def _advance(self) -> None:
        """
        Have it serve, once it goes by the orders of now.
        """
        if self._followed < self._orders().revision:
            self._follow()
            return
        self._cancelTimer()
        self.stage = Stage.SERVING
        self._began = self._clock.seconds()
        self._standIn.end()
        assert self.run is not None
        listening = self.run.call("listen", seconds=HANG_SECONDS)
        listening.addErrback(self._failed, "disobedient")
        self.log.info("helper process {number} serves", number=self.number)
        self._count()

    def ended(self) -> None:
        """
        It has ended.
        """
        if self.run is None:
            return
        self.run = None
        self._bury(self.counts)
        self.counts = Counts()
        if self._gone is not None:
            self._cancelTimer()
            self.stage = Stage.AWAY
            self._settle()
            self._gone.callback(None)
            return
        self._standIn.begin()
        self._over()

    def _over(self) -> None:
        """
        Start it again in a while, and say so.
        """
        self._cancelTimer()
        served = self.stage is Stage.SERVING
        self.stage = Stage.AWAY
        self.ends[self._reason] += 1
        if served and self._clock.seconds() - self._began >= STEADY_SECONDS:
            self._pause = FIRST_PAUSE
        self.log.warn(
            "helper process {number} has {reason}; starting it again in {seconds} s",
            number=self.number,
            reason=_WORDS[self._reason],
            seconds=self._pause,
        )
        self._timer = self._clock.callLater(self._pause, self._begin)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)
        self._settle()

    def stop(self) -> Deferred[None]:
        """
        Let it answer and hand over what it has, and end.

        @return: Fires when it has ended.
        """
        self._cancelTimer()
        run = self.run
        self._standIn.end()
        if run is None:
            self.stage = Stage.AWAY
            self._settle()
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._gone = gone
        if self.stage is Stage.SERVING:
            self.stage = Stage.LEAVING
            leaving = run.call("stop", seconds=STOP_SECONDS)
            leaving.addCallback(self._counted)
            leaving.addErrback(self._silent)
            leaving.addCallback(lambda _: self._dismiss(run))
        else:
            self.stage = Stage.LEAVING
            self._dismiss(run)
        return gone.addCallback(lambda _: self._reset())

    def _dismiss(self, run: Run) -> None:
        """
        There is nothing more for it to do.
        """
        if run is self.run:
            run.close()
            self._timer = self._clock.callLater(STOP_SECONDS, run.kill)

    def _silent(self, reason: Failure) -> None:
        self.log.warn(
            "helper process {number} didn't hand everything over: {reason}",
            number=self.number,
            reason=reason.getErrorMessage(),
        )
        if self.run is not None:
            self.run.kill()

    def _reset(self) -> None:
        self._gone = None

    def _cancelTimer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _kill(self, reason: str) -> None:
        """
        End it, because it doesn't do its work.
        """
        self._cancelTimer()
        if self.run is not None:
            self._reason = reason
            self.run.kill()

    def _failed(self, failure: Failure, reason: str) -> None:
        if not failure.check(HelperError):
            self.log.failure("a helper process was spoken to badly", failure)
        if self.run is not None and self.run.alive and self._gone is None:
            self.log.error(
                "helper process {number} is ended: {reason}",
                number=self.number,
                reason=failure.getErrorMessage(),
            )
            self._kill(reason)

    async def replace(self, reason: HelperError) -> None:
        """
        End it, for not having done what it was asked for, and wait until it has
        ended; another one will be started.
        """
        self._failed(Failure(reason), "disobedient")
        await self.whenFollowing(self._orders().revision + 1)

    # Orders.

    def follow(self) -> None:
        """
        There are new orders.
        """
        if self.stage is Stage.SERVING:
            self._follow()

    def _follow(self) -> None:
        if self._following is not None or self.run is None:
            return  # When it is done with those it has, it is told.
        orders = self._orders()
        self._following = orders.revision
        told = self.run.call("follow", *orders.encode(), seconds=HANG_SECONDS)
        told.addCallbacks(self._obeyed, self._failed, errbackArgs=("disobedient",))

    def _obeyed(self, message: Any) -> None:
        assert self._following is not None
        self._followed, self._following = self._following, None
        self._settle()
        if self.stage is Stage.STARTING:
            self._advance()
        elif self.stage is Stage.SERVING and self._followed < self._orders().revision:
            self._follow()

    def whenFollowing(self, revision: int) -> Deferred[None]:
        """
        Wait until it goes by these orders or later ones, or doesn't serve.
        """
        waiting = _Waiting(revision, Deferred())
        self._waiting.append(waiting)
        self._settle()
        return waiting.followed

    def _settle(self) -> None:
        """
        Tell those who needn't wait any more.
        """
        serves = self.stage in (Stage.SERVING, Stage.LEAVING)
        followed = self._followed
        for waiting in list(self._waiting):
            if not serves or waiting.revision <= followed:
                self._waiting.remove(waiting)
                waiting.followed.callback(None)

    # Counts.

    def recount(self) -> Deferred[None]:
        """
        Ask it for what it has counted by now.

        @return: Fires when C{counts} says it, or it can't be had.
        """
        if self.stage is not Stage.SERVING:
            return succeed(None)
        wanted: Deferred[None] = Deferred()
        self._wanted.append(wanted)
        if not self._counting:
            self._cancelTimer()
            self._count()
        return wanted

    def _count(self) -> None:
        """
        Ask now, for all who wanted to know until now. One question at a time.
        """
        self._timer = None
        if self.run is None or self.stage is not Stage.SERVING:
            self._tell(self._wanted)
            return
        wanted, self._wanted = self._wanted, []
        self._counting = True
        asking = self.run.call("count", seconds=HANG_SECONDS)
        asking.addCallback(self._counted)
        asking.addErrback(self._failed, "silent")
        asking.addCallback(lambda _: self._countedFor(wanted))

    def _counted(self, message: Any) -> None:
        self.counts = Counts.decode(message[1])

    def _countedFor(self, wanted: list[Deferred[None]]) -> None:
        self._counting = False
        self._tell(wanted)
        if self._wanted:
            self._count()
        elif self.stage is Stage.SERVING and self._timer is None:
            self._timer = self._clock.callLater(COUNT_SECONDS, self._count)

    def _tell(self, wanted: list[Deferred[None]]) -> None:
        told = list(wanted)
        wanted.clear()
        for each in told:
            each.callback(None)


_WORDS = {
    "ended": "ended",
    "slow": "been too slow to start",
    "silent": "been silent for too long",
    "disobedient": "not done as it was told",
}
