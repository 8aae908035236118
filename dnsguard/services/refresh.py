# -*- test-case-name: tests.services.test_refresh -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Fetches answers anew before they expire, so that no client waits for them.

Whoever finds an answer due says so, a cache at a hit or the sweeper in its
rounds; here it is decided whether it is fetched, by whom of several instances,
and how many at a time. Upstream is asked directly and never the caches, which
would only say what they hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from dnsguard.answer import Answer, Outcome
from dnsguard.caching.clears import RecentClears
from dnsguard.caching.entry import Entry
from dnsguard.caching.key import CHECKING_DISABLED, DNSSEC_OK, Key, keyOf
from dnsguard.caching.locks import LocalLocks
from dnsguard.caching.refresh import Tier
from dnsguard.caching.refreshstats import RefreshCounters, RefreshStatistics
from dnsguard.caching.servfail import BackoffTable
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerer, IAnswerStore
from dnsguard.query import Asker, ClientQuery
from dnsguard.resolvers.base import isUsable
from dnsguard.resolvers.cached import entryOf
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.throttle import Throttle
from dnsguard.wire.edns import EDNS
from dnsguard.wire.mnemonics import rCodeName
from dnsguard.wire.names import ROOT

__all__ = ["RefreshService", "RefreshSettings", "TraceRefresh", "queryFor"]

TraceRefresh = Callable[[bytes, int, str], object]
"""Is told a name in wire form, a type, and what became of refreshing its answer."""

_DNSSEC = EDNS(dnssecOK=True)

NEWER = 1.0
"""Seconds by which another instance's answer must be fresh longer than ours."""


@attrs.frozen
class RefreshSettings:
    """
    How refreshing is done. Times are seconds.

    @ivar enabled: Refresh at all?
    @ivar ttlPolicy: For how long answers are kept.
    @ivar maxInFlight: The most refreshes at a time.
    @ivar lockTTL: When a key's lock ends by itself. A key whose refresh failed
        is left alone for so long.
    @ivar failLogInterval: Log failed refreshes once in this time.
    """

    enabled: bool = True
    ttlPolicy: TTLPolicy = attrs.field(factory=TTLPolicy)
    maxInFlight: int = 100
    lockTTL: float = 10.0
    failLogInterval: float = 60.0


def queryFor(key: Key, now: float) -> ClientQuery:
    """
    Make the query that a key's answer answers, its DO and CD bits included.
    """
    qname, type, cls, flags = key
    return ClientQuery(
        qname,
        type,
        cls,
        asker=Asker.INTERNAL,
        edns=_DNSSEC if flags & DNSSEC_OK else None,
        checkingDisabled=bool(flags & CHECKING_DISABLED),
        received=now,
    )


class RefreshService(Service):
    """
    Refreshes what is due.

    @ivar counters: The L{RefreshCounters}.
    @ivar statistics: The L{RefreshStatistics}, shared with the sweeper.
    @ivar trace: Is told of each refresh, or usually nobody: L{None}.
    """

    log = Logger()

    def __init__(
        self,
        upstream: IAnswerer,
        memory: MemoryCacheResolver | None,
        backoff: BackoffTable[Key],
        clock: IReactorTime,
        *,
        settings: RefreshSettings,
        statistics: RefreshStatistics,
        wallClock: Callable[[], float],
        store: IAnswerStore | None = None,
        clears: RecentClears | None = None,
        onRefreshed: Callable[[bytes], object] = lambda qname: None,
    ) -> None:
        """
        @param upstream: Who is asked: the end of the chain.
        @param memory: L0; L{None} without one.
        @param backoff: What upstream failed to answer, shared with the chain.
        @param wallClock: Seconds since the epoch, for the statistics.
        @param store: The answers that instances share; L{None} without any.
        @param clears: What was cleared lately.
        @param onRefreshed: Told the name of each answer replaced, lower-cased,
            in wire form: replies made of the old one are to go.
        """
        self.setName("refresh")
        self.counters = RefreshCounters()
        self.statistics = statistics
        self.trace: TraceRefresh | None = None
        self._upstream = upstream
        self._memory = memory
        self._backoff = backoff
        self._clock = clock
        self._wallClock = wallClock
        self._store = store
        self._clears = RecentClears() if clears is None else clears
        self._onRefreshed = onRefreshed
        self._underWay: dict[Key, Deferred[bool]] = {}
        self._locks: LocalLocks[Key] = LocalLocks(settings.lockTTL)
        self._throttle = Throttle(settings.failLogInterval, clock.seconds)
        self.reconfigure(settings)

    def reconfigure(self, settings: RefreshSettings) -> None:
        """
        Go on with other settings.
        """
        self._settings = settings
        self._locks.seconds = settings.lockTTL
        self._throttle.seconds = settings.failLogInterval

    def __len__(self) -> int:
        """
        How many refreshes are under way.
        """
        return len(self._underWay)

    def stopService(self) -> Deferred[Any]:
        """
        Begin no more, and give up those under way.
        """
        super().stopService()
        ending = list(self._underWay.values())
        waiting: Deferred[Any] = DeferredList([_ended(each) for each in ending])
        for refresh in ending:
            refresh.cancel()
        return waiting

    def due(self, query: ClientQuery, tier: Tier, softExpiry: float = 0.0) -> None:
        """
        Refresh the answer to a client's query, if that may be done now. Never
        fails, never waits.

        @param softExpiry: See L{refresh}.
        """
        self.counters.asked += 1
        key = keyOf(query)
        if self.refresh(key, tier, softExpiry) is not None:
            self.statistics.requested(tier, self._wallClock())

    def refresh(self, key: Key, tier: Tier, softExpiry: float = 0.0) -> Deferred[bool] | None:
        """
        Refresh one key, if that may be done now.

        @param softExpiry: Until when its answer was fresh when that was looked
            up; if the shared store's is so for longer by now, another instance
            has refreshed it.
        @return: L{None} if not; else fires with whether there is a new answer
            now, when it is over. Never fails.
        """
        token = self._admit(key)
        if token is None:
            return None
        self.counters.started += 1
        if self.trace is not None:
            self.trace(key[0], key[1], "asked")
        refresh = self._underWay[key] = Deferred.fromCoroutine(self._run(key, tier, softExpiry))
        refresh.addErrback(self._broke, key)
        refresh.addCallback(self._over, key, token)
        return refresh

    def _admit(self, key: Key) -> int | None:
        """
        Ask everything that may stand against a refresh, the documented order.

        @return: The token of the key's lock in this process, or L{None}.
        """
        settings, counters, now = self._settings, self.counters, self._clock.seconds()
        if not settings.enabled or not self.running:
            return None
        if key[0] == ROOT or (self._memory is None and self._store is None):
            return None
        if not self._backoff.mayRefresh(key, now):
            counters.held += 1
            return None
        if key in self._underWay:
            counters.locked += 1
            return None
        if len(self._underWay) >= settings.maxInFlight:
            counters.full += 1
            return None
        token = self._locks.acquire(key, now)
        if token is None:
            counters.locked += 1
        return token

    def _over(self, renewed: bool, key: Key, token: int) -> bool:
        """
        Let go of a key. One that couldn't be renewed keeps its lock until that
        ends by itself: else each hit on a popular name would ask a silent
        upstream again.
        """
        self._underWay.pop(key, None)
        if renewed:
            self._locks.release(key, token)
        return renewed

    def _broke(self, reason: Any, key: Key) -> bool:
        if reason.check(CancelledError) is None:
            self.counters.broken += 1
            if self.trace is not None:
                self.trace(key[0], key[1], f"failed: {reason.getErrorMessage()}")
            if times := self._throttle.allows():
                self.log.failure("refreshing broke, {times} time(s)", reason, times=times)
        return False

    async def _run(self, key: Key, tier: Tier, softExpiry: float) -> bool:
        """
        Refresh a key, unless another instance does.

        @return: Is there a new answer?
        """
        store, token = self._store, None
        if store is not None and store.available:
            try:
                token = await store.lock(key, self._settings.lockTTL)
            except StoreError:
                # Then this process's lock has to do.
                store = None
            else:
                if token is None:
                    self.counters.locked += 1
                    return False
        else:
            store = None
        try:
            return await self._fetch(key, tier, softExpiry, store)
        finally:
            if store is not None and token is not None:
                store.unlock(key, token).addErrback(_storeIsAway)

    async def _fetch(
        self, key: Key, tier: Tier, softExpiry: float, store: IAnswerStore | None
    ) -> bool:
        known = None if self._memory is None else self._memory.entry(key)
        if store is not None:
            try:
                shared: Entry | None = await store.get(key)
            except StoreError:
                shared = None
            if known is not None:
                softExpiry = max(softExpiry, known.softExpiry)
            if shared is not None and 0 < softExpiry < shared.softExpiry - NEWER:
                return self._adopt(key, known, shared)
            known = known or shared
        began = self._clock.seconds()
        query = queryFor(key, began)
        answer = self._upstream.answer(query)
        if isinstance(answer, Deferred):
            answer = await answer
        if answer is None or not self._isGood(key, query, answer):
            return False
        return self._keep(query, answer, tier, known, began)

    def _adopt(self, key: Key, known: Entry | None, shared: Entry) -> bool:
        """
        Take what another instance has fetched meanwhile.
        """
        self.counters.adopted += 1
        if known is not None and self._memory is not None:
            self._memory.keepEntry(key, shared, touch=False)
            self._onRefreshed(key[0])
        return True

    def _isGood(self, key: Key, query: ClientQuery, answer: Answer) -> bool:
        """
        Learn from an answer.

        @return: Does it replace what there is?
        """
        counters, now = self.counters, self._clock.seconds()
        if self.trace is not None:
            self.trace(key[0], key[1], f"{answer.outcome.value}, {rCodeName(answer.rCode)}")
        if isUsable(answer):
            self._backoff.succeeded(key)
            return True
        if answer.outcome is Outcome.SERVFAIL:
            counters.servfail += 1
            if self._backoff.failed(key, now, refresh=True):
                self.log.debug(
                    "refresh: upstream {upstream} answered SERVFAIL for {name} type {type}",
                    upstream=answer.upstream or "?",
                    name=query.text,
                    type=query.type,
                )
        elif answer.outcome is Outcome.UPSTREAM_ERROR:
            counters.failed += 1
            if times := self._throttle.allows():
                self.log.warn(
                    "{times} refresh(es) failed, the last one of {name} type {type}: no"
                    " upstream answered",
                    times=times,
                    name=query.text,
                    type=query.type,
                )
        else:
            counters.refused += 1
        return False

    def _keep(
        self, query: ClientQuery, answer: Answer, tier: Tier, known: Entry | None, began: float
    ) -> bool:
        """
        Put a new answer in the place of the old one, everywhere.
        """
        now = self._clock.seconds()
        if self._clears.overtook(query.qname, began, now):
            self.counters.overtaken += 1
            return False
        entry = entryOf(
            query,
            answer,
            now,
            self._settings.ttlPolicy,
            hot=tier is Tier.HOT,
            createdAt=None if known is None else known.createdAt,
        )
        if entry is None:
            self.counters.notKept += 1
            return False
        key = keyOf(query)
        if self._memory is not None:
            self._memory.keepEntry(key, entry, touch=False)
        if self._store is not None:
            self._store.put(key, entry)
        self._onRefreshed(query.qname)
        self.counters.refreshed += 1
        return True


def _ended(refresh: Deferred[bool]) -> Deferred[None]:
    """
    Fire when a refresh is over.
    """
    ended: Deferred[None] = Deferred()

    def pass_(result: Any) -> Any:
        ended.callback(None)
        return result

    refresh.addBoth(pass_)
    return ended


def _storeIsAway(reason: Any) -> None:
    reason.trap(StoreError)
