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
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from dnsguard.interfaces import IQueryObserver, IReplayBatch, IReplayStore

__all__ = ["ReplayDrainService"]


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
            in a second, 0.05 is a tenth of the ring.
        """
        self.setName("replaydrain")
        self.drained = 0
        self.failures = 0
        self._store = store
        self._observers = observers
        self._interval = interval
        self._loop = LoopingCall(self.drain)
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
        self.drain()

    def drain(self) -> None:
        """
        Hand on what is there. Never fails.
        """
        try:
            batch: IReplayBatch = self._store.drain()
        except Exception:
            self.failures += 1
            self.log.failure("the replay store can't be drained")
            return
        if not len(batch):
            return
        self.drained += len(batch)
        for observer in self._observers():
            try:
                observer.queriesReplayed(batch)
            except Exception:
                self.failures += 1
                self.log.failure("replayed queries were not noted")
