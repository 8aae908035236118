# -*- test-case-name: tests.services.test_replaydrain -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Hands what was answered from the replay store to those who count and log.

Replayed queries leave nothing behind but a record in a ring. They are taken
from it many at a time, so that a log and a counter see every query, and no
query pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from dnsguard.interfaces import IQueryObserver, IReplayBatch, IReplayStore
from dnsguard.replay.bounds import DRAIN_LIMIT

__all__ = ["ReplayDrainService"]


MOST_BATCHES = 512
"""Batches taken at the end: more than a ring holds."""


class ReplayDrainService(Service):
    """
    Drains the replay store's ring.

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
    ) -> None:
        """
        @param observers: Gives those to tell.
        @param interval: Seconds between two looks. At half a million queries
            in a second, 0.05 is a tenth of the ring. While there is more than
            one batch, the next one is taken in the next reactor turn.
        """
        self.setName("replaydrain")
        self.drained = 0
        self.failures = 0
        self._store = store
        self._observers = observers
        self._interval = interval
        self._more: IDelayedCall | None = None
        self._clock = clock
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock

    def startService(self) -> None:
        """
        Drain from now on.
        """
        super().startService()
        self._loop.start(self._interval, now=False)

    def stopService(self) -> None:
        """
        Drain what is there, and no more.
        """
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        if self._more is not None:
            self._more.cancel()
            self._more = None
        for _ in range(MOST_BATCHES):
            if self.drain() < DRAIN_LIMIT:
                break

    def _tick(self) -> None:
        if self._more is None:
            self._drainAll()

    def _drainAll(self) -> None:
        """
        Take a batch now, and others in the turns that follow.
        """
        self._more = None
        if self.drain() >= DRAIN_LIMIT:
            self._more = self._clock.callLater(0.0, self._drainAll)

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
            try:
                observer.queriesReplayed(batch)
            except Exception:
                self.failures += 1
                self.log.failure("replayed queries were not noted")
        return len(batch)
