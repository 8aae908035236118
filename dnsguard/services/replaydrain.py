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

import os
from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from dnsguard.interfaces import IEntryObserver, IQueryObserver, IReplayBatch, IReplayStore
from dnsguard.replay.bounds import DRAIN_LIMIT

__all__ = ["ReplayDrainService"]


TURN = 1024
"""
Records that are to be taken at once: some 0.2 ms of work. The reactor may share its
core with the thread that answers, which then waits for no longer.
"""

SHORTEST = 0.005
"""Seconds between two looks at least: more records are taken at once from there on."""

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
        besideThread: bool = True,
    ) -> None:
        """
        @param observers: Gives those to tell.
        @param interval: Seconds between two looks at most. At half a million
            queries in a second, 0.05 is a tenth of the ring. While there is more
            than one batch, the next one is taken in the next reactor turn.
        @param giveWay: Lets others have the core, if any wait for it. Called
            between observers: the thread that answers may have the same core.
        @param besideThread: Is there such a thread? If not, as many queries as
            possible are taken at once, as that is less work.
        """
        self.setName("replaydrain")
        self.drained = 0
        self.failures = 0
        self._store = store
        self._observers = observers
        self._interval = interval
        # Taken from the store, and waiting until it is known.
        self._batch: IReplayBatch | None = None
        self._passed = 0.0
        self._clock = clock
        self._giveWay = giveWay if besideThread else _noWay
        self._turn = TURN if besideThread else DRAIN_LIMIT
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
        if self._batch is not None:
            self._handOn(self._batch)
        for _ in range(MOST_BATCHES):
            if self.drain() < DRAIN_LIMIT:
                break

    def _look(self) -> None:
        """
        Do what one turn has to do, and look again when there is likely to be
        another batch of a good size.
        """
        now = self._clock.seconds()
        if self._batch is None:
            self._passed, self._looked = now - self._looked, now
            self._batch = self._take()
        batch = self._batch
        pause = 0.0
        if batch is None:
            pause = self._interval
        elif self._isKnown(batch, now - self._looked):
            self._handOn(batch)
            pause = self._pause(len(batch), self._passed)
        self._next = self._clock.callLater(pause, self._look)

    def _pause(self, taken: int, seconds: float) -> float:
        """
        Say when to look again.

        @param taken: Queries that were taken now.
        @param seconds: The time since the look before.
        """
        if taken >= DRAIN_LIMIT:
            return 0.0
        return min(self._interval, max(SHORTEST, seconds * self._turn / taken))

    def _isKnown(self, batch: IReplayBatch, late: float) -> bool:
        """
        Have the observers get to know what is in a batch, or some of it.

        @param late: Seconds since it was taken.
        @return: Do they know all of it?
        """
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
            self._giveWay()
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
