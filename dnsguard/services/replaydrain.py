# -*- test-case-name: tests.services.test_replaydrain -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Hands what was answered from the replay store to those who count and log.

Replayed queries leave nothing behind but a record in a ring. They are taken
from it many at a time, so that a log and a counter see every query, and no
query pays for it.

Most records are of entries that the observers know, and ten thousand of those are
a fraction of a millisecond's work. After a reload all entries are new to them: so
before a batch is handed on they get to know what is in it, some entries a turn of
the reactor. Nothing is counted before all is known, and then all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from dnsguard.interfaces import IEntryObserver, IQueryObserver, IReplayBatch, IReplayStore
from dnsguard.replay.bounds import DRAIN_LIMIT

__all__ = ["ReplayDrainService"]


MEETINGS = 300
"""
Entries, and clients, that observers get to know in one turn of the reactor: a
millisecond's work.
"""

PATIENCE = 0.5
"""
Seconds that a batch may wait for that; from then on each turn does as much more as
it has waited longer. A turn that is late is better than a ring that overflows.
"""

LATEST = 5.0
"""Seconds after which a batch is handed on, known or not."""

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
        # Taken from the store, and waiting until it is known.
        self._batch: IReplayBatch | None = None
        self._since = 0.0
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
        if self._batch is not None:
            self._handOn(self._batch)
        for _ in range(MOST_BATCHES):
            if self.drain() < DRAIN_LIMIT:
                break

    def _tick(self) -> None:
        if self._more is None:
            self._drainSome()

    def _drainSome(self) -> None:
        """
        Do what one turn has to do, and go on in the turn that follows.
        """
        self._more = None
        batch = self._batch
        if batch is None:
            batch = self._batch = self._take()
            self._since = self._clock.seconds()
        if batch is None:
            return
        if self._isKnown(batch):
            self._handOn(batch)
        if self._batch is not None or len(batch) >= DRAIN_LIMIT:
            self._more = self._clock.callLater(0.0, self._drainSome)

    def _isKnown(self, batch: IReplayBatch) -> bool:
        """
        Have the observers get to know what is in a batch, or some of it.

        @return: Do they know all of it?
        """
        late = self._clock.seconds() - self._since
        left = int(MEETINGS * max(1.0, late / PATIENCE))
        for observer in self._observers():
            if left <= 0:
                break
            if IEntryObserver.providedBy(observer):
                left -= self._meet(observer, batch, left)
        # Who forgets what it has just been told must not hold up the ring.
        return left > 0 or late > LATEST

    def _meet(self, observer: IEntryObserver, batch: IReplayBatch, most: int) -> int:
        """
        Have one observer do some of it. Never fails.
        """
        try:
            met: int = observer.meet(batch, most)
        except Exception:
            self.failures += 1
            self.log.failure("replayed queries were not noted")
            return 0
        return met

    def _take(self) -> IReplayBatch | None:
        """
        Take one batch from the store. Never fails.

        @return: L{None} if there is nothing in it.
        """
        try:
            batch: IReplayBatch = self._store.drain()
        except Exception:
            self.failures += 1
            self.log.failure("the replay store can't be drained")
            return None
        return batch if len(batch) else None

    def _handOn(self, batch: IReplayBatch) -> None:
        """
        Tell the observers of a batch. Never fails.
        """
        self._batch = None
        self.drained += len(batch)
        for observer in self._observers():
            try:
                observer.queriesReplayed(batch)
            except Exception:
                self.failures += 1
                self.log.failure("replayed queries were not noted")

    def drain(self) -> int:
        """
        Hand on one batch at once, whatever it takes. Never fails.

        @return: How many queries were in it.
        """
        batch = self._take()
        if batch is None:
            return 0
        self._handOn(batch)
        return len(batch)
