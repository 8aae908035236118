# -*- test-case-name: tests.services.test_cacheclear -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Clears what is remembered of names, wherever that is.

An answer is in up to five places: the cache of this process, the replies made
from it, the failures remembered, the snapshot on disk, and the store that other
instances read. Clearing means all of them, in an order in
which none fills another one again; and what is under way at that moment isn't
kept when it arrives.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dnsguard.caching.candidate import Clearing
from dnsguard.caching.clears import RecentClears
from dnsguard.caching.key import Key
from dnsguard.caching.servfail import BackoffTable
from dnsguard.interfaces import IAnswerStore, IReplayStore
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.services.snapshot import SnapshotService

__all__ = ["CacheClear"]


class CacheClear(Service):
    """
    Clears caches, for this instance and the others.

    @ivar clearings: How many were ordered here.
    @ivar heard: How many were ordered by other instances.
    """

    log = Logger()

    def __init__(
        self,
        *,
        memory: MemoryCacheResolver | None = None,
        replay: IReplayStore | None = None,
        backoffs: tuple[BackoffTable[Key], ...] = (),
        store: IAnswerStore | None = None,
        snapshot: SnapshotService | None = None,
        clears: RecentClears | None = None,
        seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """
        @param memory: L0.
        @param replay: The replies made.
        @param backoffs: The failures remembered.
        @param store: The answers that instances share.
        @param snapshot: The copy on disk.
        @param clears: Where to note what is cleared, for whoever keeps answers;
            L0 does that itself.
        @param seconds: The time to note it with.
        """
        self.setName("cacheclear")
        self.clearings = self.heard = 0
        self._memory = memory
        self._replay = replay
        self._backoffs = backoffs
        self._store = store
        self._snapshot = snapshot
        self._clears = clears
        self._seconds = seconds
        self._unsubscribe: Callable[[], None] | None = None

    def startService(self) -> None:
        """
        Listen to the other instances.
        """
        super().startService()
        if self._store is not None:
            self._unsubscribe = self._store.subscribe(self._hear)

    def stopService(self) -> None:
        """
        Listen no more.
        """
        super().stopService()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def clear(self) -> Deferred[int]:
        """
        Clear everything.

        @return: How many answers there were, in this process's cache or in the
            shared store, whichever had more. It fires when all are gone, the
            file on disk included, and the other instances are told: no query
            from then on is answered with what was there. It fails with
            L{dnsguard.errors.StoreError} when the shared store can't be
            cleared; what is in this process is.
        """
        return self._order(Clearing())

    def forget(self, qname: bytes) -> Deferred[int]:
        """
        The same for one name: all types and variants.

        @param qname: The name, lower-cased, in wire form.
        """
        return self._order(Clearing(qname))

    def forgetBelow(self, qname: bytes) -> Deferred[int]:
        """
        The same for a name and all below it.
        """
        return self._order(Clearing(qname, below=True))

    def _order(self, clearing: Clearing) -> Deferred[int]:
        self.clearings += 1
        return Deferred.fromCoroutine(self._clear(clearing))

    async def _clear(self, clearing: Clearing) -> int:
        here = await self.clearHere(clearing)
        there = 0
        if self._store is not None:
            shared: Deferred[int]
            if clearing.qname is None:
                shared = self._store.clear()
            else:
                shared = self._store.forget(clearing.qname, clearing.below)
            try:
                there = await shared
            finally:
                # Once more what was filled from there meanwhile.
                await self.clearHere(clearing)
        if self._snapshot is not None:
            await self._snapshot.cleared()
        return max(here, there)

    async def clearHere(self, clearing: Clearing) -> int:
        """
        Clear what is in this process, and nothing else.

        @return: How many answers were in its cache.
        """
        qname = clearing.qname
        for backoff in self._backoffs:
            # Few, and of use for a minute at most: not worth picking from.
            backoff.clear()
        if self._clears is not None:
            self._clears.add(qname, clearing.below, self._seconds())
        dropped = 0
        if self._memory is not None:
            if qname is None:
                dropped = await self._memory.clear()
            else:
                dropped = await self._memory.forget(qname, clearing.below)
        if self._replay is not None:
            # Behind the cache, which is gone through in steps: replies made of
            # what was still in it go as well. They know their names, but not
            # the suffixes of these.
            self._replay.forget(None if clearing.below else qname)
        return dropped

    def _hear(self, clearing: Clearing) -> None:
        """
        Do as another instance has ordered.
        """
        self.heard += 1
        hearing = Deferred.fromCoroutine(self._heard(clearing))
        hearing.addErrback(lambda reason: self.log.failure("clearing broke", reason))

    async def _heard(self, clearing: Clearing) -> None:
        if await self.clearHere(clearing) and self._snapshot is not None:
            await self._snapshot.cleared()
