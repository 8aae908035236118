# -*- test-case-name: tests.services.test_sweeper -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Goes round the caches: throws away what is past all use, and has what will soon
expire fetched anew.

Several instances over one shared store do its part of this once between them:
whoever claims a round first has it. Each starts at another time, so that it
isn't always the same one's upstreams that bear it.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.caching.candidate import Candidate, Standing
from dnsguard.caching.key import Key
from dnsguard.caching.refresh import RefreshPolicy, Tier
from dnsguard.caching.refreshstats import Census, RefreshStatistics, Removed, Sweep
from dnsguard.caching.servfail import BackoffTable
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerStore
from dnsguard.services.refresh import RefreshService
from dnsguard.services.shelves import LocalShelf, SharedShelf, Shelf
from dnsguard.throttle import Throttle

__all__ = ["SweepRules", "SweeperService", "hostOffset"]

URGENT = 30.0
"""Candidates with fewer seconds left come first."""

CENSUS_EVERY = 20
CENSUS_SIZE = 10_000

SILENCE = 20
"""Refreshes that no upstream answers, and none in between that one does, after
which a round ends: asking for all the rest helps nobody."""

MAINTENANCE = 30.0
"""Seconds between two rounds while nothing is refreshed."""

SPREAD = 5.0


def hostOffset(name: str) -> float:
    """
    Give a host's own delay, in seconds from 0 to 5: FNV-1a of its name.
    """
    value = 0x811C9DC5
    for octet in name.encode("utf-8", "surrogateescape"):
        value = (value ^ octet) * 0x01000193 & 0xFFFFFFFF
    return (value % 5000) / 1000


@attrs.frozen
class SweepRules:
    """
    How sweeping is done. Times are seconds.

    @ivar refresh: Have answers fetched anew? If not, only tidy up.
    @ivar interval: Between two rounds.
    @ivar window: Answers fresh for no longer than this are fetched anew.
    @ivar batchSize: The most of them in one round.
    @ivar hitWindow: Keys without hits in it are thrown away; 0: none is.
    @ivar minHits: How many hits save a key from that.
    @ivar parallel: How many refreshes a round has under way.
    @ivar policy: Tells tiers apart.
    """

    refresh: bool = True
    interval: float = 15.0
    window: float = 60.0
    batchSize: int = 2000
    hitWindow: float = 0.0
    minHits: int = 1
    parallel: int = 50
    policy: RefreshPolicy = attrs.field(factory=RefreshPolicy)

    @property
    def pause(self) -> float:
        """
        Seconds between two rounds.
        """
        return self.interval if self.refresh else max(self.interval, MAINTENANCE)

    def isCold(self, standing: Standing, now: float) -> bool:
        """
        Is a key to be thrown away?
        """
        if self.hitWindow <= 0 or standing.sweepHits >= self.minHits:
            return False
        return standing.createdAt is None or now - standing.createdAt > self.hitWindow

    def tier(self, standing: Standing) -> Tier:
        """
        Sort a key by its hits.
        """
        return self.policy.tier(standing.hits)


class SweeperService(Service):
    """
    Sweeps, time and again.

    @ivar statistics: The L{RefreshStatistics}.
    @ivar rounds: How many rounds were begun.
    @ivar left: Rounds that another instance had taken already.
    @ivar broken: Rounds that ended with an exception.
    @ivar silent: Rounds that ended because upstream didn't answer.
    """

    log = Logger()

    def __init__(
        self,
        refresh: RefreshService,
        local: LocalShelf | None,
        backoff: BackoffTable[Key],
        clock: IReactorTime,
        *,
        rules: SweepRules,
        statistics: RefreshStatistics,
        wallClock: Callable[[], float],
        store: IAnswerStore | None = None,
        shared: SharedShelf | None = None,
        flush: Callable[[], object] = lambda: None,
        host: str | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """
        @param local: The answers of this process; L{None} without any.
        @param backoff: The failures to prune.
        @param store: Says whose round it is; needed with C{shared}.
        @param shared: The answers that instances share.
        @param flush: Called before each round: has hits counted that wait.
        @param host: This host's name; by default what the system says.
        @param rng: Deals out chance.
        """
        self.setName("sweeper")
        self.rules = rules
        self.statistics = statistics
        self.rounds = self.left = self.broken = self.silent = 0
        self._refresh = refresh
        self._local = local
        self._backoff = backoff
        self._clock = clock
        self._wallClock = wallClock
        self._store = store
        self._shared = shared
        self._flush = flush
        self._offset = hostOffset(socket.gethostname() if host is None else host)
        self._random = random.Random() if rng is None else rng
        self._throttle = Throttle(60.0, clock.seconds)
        self._stopping = False
        self._sleep: IDelayedCall | None = None
        self._round: Deferred[None] | None = None

    def startService(self) -> None:
        """
        Sweep from now on.
        """
        super().startService()
        self._stopping = False
        self._next = self._clock.seconds()
        self._wait()

    def stopService(self) -> Deferred[None]:
        """
        Sweep no more; the round under way ends where it is.
        """
        super().stopService()
        self._stopping = True
        if self._sleep is not None and self._sleep.active():
            self._sleep.cancel()
        self._sleep = None
        ending = self._round
        if ending is None:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        ending.addBoth(lambda _: ended.callback(None))
        ending.cancel()
        return ended

    def _wait(self) -> None:
        """
        Sleep until the next round.
        """
        now, pause = self._clock.seconds(), self.rules.pause
        spread = min(SPREAD, pause / 3)
        self._next = max(self._next + pause, now)
        at = self._next + min(self._offset, spread) + self._random.random() * spread
        self._sleep = self._clock.callLater(max(at - now, 0.01), self._go)

    def _go(self) -> None:
        self._sleep = None
        self._round = Deferred.fromCoroutine(self.sweep())
        self._round.addErrback(self._broke)
        self._round.addCallback(lambda _: self._ended())

    def _ended(self) -> None:
        self._round = None
        if self.running:
            self._wait()

    def _broke(self, reason: Failure) -> None:
        if reason.check(CancelledError):
            return
        self.broken += 1
        if self._throttle.allows():
            if reason.check(StoreError):
                self.log.warn("sweep ended early: {reason}", reason=reason.getErrorMessage())
            else:
                self.log.failure("sweep broke", reason)

    async def sweep(self) -> None:
        """
        Make one round.

        @raise StoreError: The shared store went away.
        """
        self.rounds += 1
        rules, now = self.rules, self._clock.seconds()
        self._backoff.prune(now)
        self._flush()
        until = now + rules.window
        shelf: Shelf | None = self._local
        removed = Removed()
        if self._local is not None:
            removed += await self._local.tidy(until, rules.batchSize)
        if self._shared is not None and self._store is not None and self._store.available:
            if not await self._store.claim("sweep", max(1.0, rules.pause * 0.8)):
                self.left += 1
                return
            shelf = self._shared
            removed += await shelf.tidy(until, rules.batchSize)
        refreshed = 0
        if shelf is not None and rules.refresh:
            if self.rounds % CENSUS_EVERY == 1:
                await self._census(shelf)
            refreshed, gone = await self._renew(shelf, until)
            removed += gone
        self.statistics.swept(Sweep(self._wallClock(), refreshed, removed))

    async def _renew(self, shelf: Shelf, until: float) -> tuple[int, Removed]:
        """
        Throw cold keys away, and have what is due fetched.

        @return: How many refreshes were begun, and what was thrown away.
        """
        rules = self.rules
        found = await shelf.candidates(until, rules.batchSize)
        standings = await shelf.standings([candidate.key for candidate in found])
        now = self._clock.seconds()
        due: list[tuple[Candidate, Tier]] = []
        cold: list[Key] = []
        orphans: list[Key] = []
        for candidate, standing in zip(found, standings, strict=True):
            if not standing.exists:
                orphans.append(candidate.key)
            elif rules.isCold(standing, now):
                cold.append(candidate.key)
            else:
                due.append((candidate, rules.tier(standing)))
        removed = Removed(
            coldKeys=await shelf.delete(cold) if cold else 0,
            indexOrphans=await shelf.drop(orphans) if orphans else 0,
        )
        return await self._refreshAll(self._ordered(due, now)), removed

    def _ordered(
        self, due: list[tuple[Candidate, Tier]], now: float
    ) -> list[tuple[Candidate, Tier]]:
        """
        The most urgent first; otherwise by chance, so that several instances
        don't go through the same keys side by side.
        """
        self._random.shuffle(due)
        return sorted(due, key=lambda each: each[0].softExpiry > now + URGENT)

    async def _refreshAll(self, due: list[tuple[Candidate, Tier]]) -> int:
        """
        Have keys fetched, so many at a time.

        @return: How many fetches were begun.
        """
        begun = 0
        counters = self._refresh.counters
        failed = counters.failed
        underWay: list[Deferred[bool]] = []
        for candidate, tier in due:
            started = self._refresh.refresh(candidate.key, tier, candidate.softExpiry)
            if started is None:
                continue
            begun += 1
            underWay.append(started)
            if len(underWay) >= self.rules.parallel and await underWay.pop(0):
                failed = counters.failed
            if counters.failed - failed >= SILENCE:
                self.silent += 1
                break
            if self._stopping:
                break
        for started in underWay:
            await started
        return begun

    async def _census(self, shelf: Shelf) -> None:
        """
        See how popular the keys are.
        """
        rules = self.rules
        standings = await shelf.standings(await shelf.sample(CENSUS_SIZE))
        now = self._clock.seconds()
        tiers = [rules.tier(standing) for standing in standings if standing.exists]
        hot, warm = tiers.count(Tier.HOT), tiers.count(Tier.WARM)
        self.statistics.census = Census(hot, warm, len(tiers) - hot - warm)
        self.statistics.deletionCandidates = sum(
            standing.exists and rules.isCold(standing, now) for standing in standings
        )
