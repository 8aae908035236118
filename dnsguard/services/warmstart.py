# -*- test-case-name: tests.services.test_warmstart -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Takes the most popular answers over from the shared store after a start.

A process that has just begun would look each name up there once, while its
clients wait. It asks for the best of them itself instead: a bounded number, in
small parts, once.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from dnsguard.caching.entry import Entry
from dnsguard.caching.key import Key
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerStore
from dnsguard.resolvers.memorycache import MemoryCacheResolver

__all__ = ["WarmStart"]

MOST = 1000
"""Answers taken over."""

CHOSEN_FROM = 4000
PART = 100
PATIENCE = 30.0
"""Seconds to wait for the store to be there; who starts without it has learnt
what is popular by then."""

LOOK = 0.25


class WarmStart(Service):
    """
    Fills the cache of this process once, from the shared store.

    @ivar restored: How many answers it took over.
    """

    log = Logger()

    def __init__(
        self,
        store: IAnswerStore,
        memory: MemoryCacheResolver,
        clock: IReactorTime,
        most: int = MOST,
    ) -> None:
        """
        @param most: The most answers to take over.
        """
        self.setName("warmstart")
        self.restored = 0
        self._store = store
        self._memory = memory
        self._clock = clock
        self._most = min(most, memory.statistics.maxEntries)
        self._filling: Deferred[None] | None = None

    def startService(self) -> None:
        """
        Begin, as soon as the store is there.
        """
        super().startService()
        self._filling = Deferred.fromCoroutine(self._fill())
        self._filling.addErrback(self._failed)

    def stopService(self) -> None:
        """
        Leave it at what is there.
        """
        super().stopService()
        if self._filling is not None:
            self._filling.cancel()
            self._filling = None

    async def _fill(self) -> None:
        until = self._clock.seconds() + PATIENCE
        while not self._store.available:
            if self._clock.seconds() >= until:
                return
            await deferLater(self._clock, LOOK)
        for part in _parts(await self._popular(), PART):
            entries: list[Entry | None] = await gatherResults(
                [self._store.get(key) for key in part], consumeErrors=True
            )
            for key, entry in zip(part, entries, strict=True):
                self._take(key, entry)
            await deferLater(self._clock, 0.0)
        if self.restored:
            self.log.info(
                "{count} cached answers taken over from the shared store", count=self.restored
            )

    async def _popular(self) -> list[Key]:
        """
        List the keys with the most hits.
        """
        found = [candidate.key for candidate in await self._store.freshest(CHOSEN_FROM)]
        if len(found) <= self._most:
            return found
        hits: dict[Key, int] = {}
        for part in _parts(found, PART):
            for key, standing in zip(part, await self._store.candidateChecks(part), strict=True):
                hits[key] = max(standing.hits, standing.sweepHits)
        return sorted(found, key=lambda key: -hits[key])[: self._most]

    def _take(self, key: Key, entry: Entry | None) -> None:
        """
        Keep what is fresh and not here already.
        """
        now = self._clock.seconds()
        if entry is None or entry.softExpiry <= now or self._memory.entry(key) is not None:
            return
        self.restored += self._memory.keepEntry(key, entry, touch=False)

    def _failed(self, reason: Any) -> None:
        problem = reason.value
        if isinstance(problem, FirstError):
            problem = problem.subFailure.value
        if isinstance(problem, CancelledError):
            return
        if isinstance(problem, StoreError):
            self.log.info("the shared store went away while answers were taken over")
        else:
            self.log.failure("taking answers over broke", reason)


def _parts(keys: list[Key], size: int) -> list[list[Key]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]
