# -*- test-case-name: tests.services.test_replaydrain -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Hands what was answered from the replay store to those who count and log.

Replayed queries leave nothing behind but a record in a ring. They are taken
from it many at a time, so that a log and a counter see every query, and no
query pays for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from dnsguard.interfaces import IQueryObserver, IReplayBatch, IReplayStore
from dnsguard.replay.bounds import DRAIN_LIMIT

__all__ = ["ReplayDrainService"]


TURN = 1024
"""
Records that are to be taken at once: some 0.2 ms of work. The reactor may share its
core with the thread that answers, which then waits for no longer.
"""

SHORTEST = 0.005
"""Seconds between two looks at least: more records are taken at once from there on."""

MOST_BATCHES = 512
"""Batches taken at the end: more than a ring holds."""


def _noWay() -> None:
    """
    There is nothing to be done where the system can't be asked.
    """


_giveWay: Callable[[], None] = getattr(os, "sched_yield", _noWay)


class ReplayDrainService(Service):
    """
    Drains the replay store's ring: the more often, the faster it fills.

    @ivar drained: Queries handed on.
    @ivar failures: How often an observer failed to take some.
    """

    log = Logger()

    def __init__(
        self,
        store: IReplayStore,
        observers: Callable[[], Sequence[IQueryObserver]],
        clock: IReactorTime,
        interval: float = 0.05,
        giveWay: Callable[[], None] = _giveWay,
    ) -> None:
        """
        @param observers: Gives those to tell.
        @param interval: Seconds between two looks at most. At half a million
            queries in a second, 0.05 is a tenth of the ring. While there is more
            than one batch, the next one is taken in the next reactor turn.
        @param giveWay: Lets others have the core, if any wait for it. Called
            between observers: the thread that answers may have the same core.
        """
        self.setName("replaydrain")
        self.drained = 0
        self.failures = 0
        self._store = store
        self._observers = observers
        self._interval = interval
        self._clock = clock
        self._giveWay = giveWay
        self._next: IDelayedCall | None = None
        self._looked = 0.0

    def startService(self) -> None:
        """
        Drain from now on.
        """
        super().startService()
        self._looked = self._clock.seconds()
        self._next = self._clock.callLater(self._interval, self._look)

    def stopService(self) -> None:
        """
        Drain what is there, and no more.
        """
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        for _ in range(MOST_BATCHES):
            if self.drain() < DRAIN_LIMIT:
                break

    def _look(self) -> None:
        """
        Take a batch, and look again when there is likely to be another one of
        a good size.
        """
        now = self._clock.seconds()
        passed, self._looked = now - self._looked, now
        self._next = self._clock.callLater(self._pause(self.drain(), passed), self._look)

    def _pause(self, taken: int, seconds: float) -> float:
        """
        Say when to look again.

        @param taken: Queries that were taken now.
        @param seconds: The time since the last look.
        """
        if taken >= DRAIN_LIMIT:
            return 0.0
        return min(self._interval, max(SHORTEST, seconds * TURN / max(taken, 1)))

    def drain(self) -> int:
        """
        Hand on one batch. Never fails.

        @return: How many queries were in it.
        """
        try:
            batch: IReplayBatch = self._store.drain()
        except Exception:
            self.failures += 1
            self.log.failure("the replay store can't be drained")
            return 0
        if not len(batch):
            return 0
        self.drained += len(batch)
        for observer in self._observers():
            self._giveWay()
            try:
                observer.queriesReplayed(batch)
            except Exception:
                self.failures += 1
                self.log.failure("replayed queries were not noted")
        return len(batch)
