# -*- test-case-name: tests.services.test_snapshot -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Keeps a copy of the cache on disk, so that a restart doesn't begin with nothing.

Written every few minutes and at the end, read before the first query is taken.
What it holds that has expired meanwhile is still good to be served stale if
upstream is away, too, by its age on the wall clock. A file that can't be read
costs one line in the log, and nothing else.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import Cooperator, LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.caching.hits import HitRates
from dnsguard.caching.key import Key
from dnsguard.caching.snapshot import (
    InvalidSnapshot,
    Saved,
    readClearings,
    readSnapshot,
    writeSnapshot,
)
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.resolvers.memorycache import MemoryCacheResolver

__all__ = ["SnapshotService", "SnapshotSettings"]

SLICE = 500
"""Entries looked at or put into the cache in one reactor turn."""


@attrs.frozen
class SnapshotSettings:
    """
    How snapshots are made.

    @ivar interval: Seconds between two of them; 0: only at the end.
    @ivar maxEntries: The most entries in one.
    @ivar maxBytes: The most octets in one.
    @ivar loadSeconds: Seconds that reading one may take; what isn't read by
        then is left out. Listeners wait for it: 50,000 entries take that long.
    """

    interval: float = 300.0
    maxEntries: int = 100_000
    maxBytes: int = 256 << 20
    loadSeconds: float = 0.7


class SnapshotService(Service):
    """
    Loads the last snapshot, and saves new ones.

    @ivar saved: How many snapshots were written.
    @ivar failures: How many couldn't be.
    @ivar restored: Entries taken over from the last one.
    @ivar entries: Entries in the last one written.
    """

    log = Logger()

    def __init__(
        self,
        path: Path,
        memory: MemoryCacheResolver,
        rates: HitRates[Key],
        reactor: Any,
        *,
        settings: SnapshotSettings,
        ttlPolicy: TTLPolicy,
        wallClock: Callable[[], float],
        clearings: Callable[[], int | None] = lambda: None,
        restoring: Callable[[int | None], None] = lambda clearings: None,
    ) -> None:
        """
        @param path: The file; its folder is made if there is none.
        @param rates: Tells how popular entries are, and is told so.
        @param reactor: Tells the time, and has a thread pool: nothing here
            waits for a disk.
        @param wallClock: Seconds since the epoch.
        @param clearings: Gives the number of the last clearing that the cache
            has seen, where instances tell each other of these.
        @param restoring: Called with that of the snapshot, when what it has is
            in the cache.
        """
        self.setName("snapshot")
        self.saved = self.failures = self.restored = self.entries = 0
        self._path = path
        self._memory = memory
        self._rates = rates
        self._reactor = reactor
        self._settings = settings
        self._policy = ttlPolicy
        self._wallClock = wallClock
        self._clearingsNow = clearings
        self._restoring = restoring
        self._lock = DeferredLock()
        self._clearings = 0
        self._loop: LoopingCall | None = None

    def startService(self) -> None:
        """
        Save from time to time.
        """
        super().startService()
        if self._settings.interval > 0:
            self._loop = LoopingCall(self.save)
            self._loop.clock = self._reactor
            self._loop.start(self._settings.interval, now=False)

    def stopService(self) -> Deferred[None]:
        """
        Save for the last time.
        """
        super().stopService()
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        return self.save()

    # Loading.

    def load(self) -> Deferred[int]:
        """
        Take over what the last snapshot has, unless the cache was cleared
        meanwhile. Never fails.

        @return: How many entries, when they are in the cache.
        """
        loading = Deferred.fromCoroutine(self._load())
        loading.addErrback(self._notLoaded)
        return loading

    async def _load(self) -> int:
        clearings = self._clearings
        now = self._reactor.seconds()
        epoch = self._wallClock() - now
        reading: Deferred[tuple[list[Saved], int | None]] = self._inThread(
            _read, self._path, self._settings, now, epoch, self._policy
        )
        found, known = await reading
        restored = 0

        def slices() -> Iterator[None]:
            nonlocal restored
            for number, saved in enumerate(found):
                if self._clearings != clearings:
                    return
                if number % SLICE == SLICE - 1:
                    yield None
                restored += self._restore(saved)

        await self._inSlices(slices())
        self.restored += restored
        if restored:
            self._restoring(known)
            self.log.info(
                "{count} cached answers restored from {path}", count=restored, path=self._path
            )
        return restored

    def _restore(self, saved: Saved) -> bool:
        """
        Put one entry into the cache, unless there is a newer one already.
        """
        if self._memory.entry(saved.key) is not None:
            return False
        if saved.hits > 0:
            self._rates.add(saved.key, saved.hits, self._reactor.seconds())
        return self._memory.keepEntry(saved.key, saved.entry, touch=saved.hits >= 1)

    def _notLoaded(self, reason: Failure) -> int:
        problem = reason.value
        if isinstance(problem, OSError) and problem.errno == errno.ENOENT:
            return 0
        if reason.check(OSError, InvalidSnapshot):
            self.log.warn(
                "starting with an empty cache: {path}: {problem}",
                path=self._path,
                problem=problem,
            )
        else:
            self.log.failure("starting with an empty cache", reason)
        return 0

    # Saving.

    def save(self) -> Deferred[None]:
        """
        Write a snapshot; after another one, if that is being written. Never
        fails.
        """
        saving = self._lock.run(lambda: Deferred.fromCoroutine(self._save()))
        saving.addErrback(self._notSaved)
        return saving

    def cleared(self) -> Deferred[None]:
        """
        Let no snapshot bring back what has just been cleared.

        @return: Fires when the file is one without it. Never fails.
        """
        self._clearings += 1
        return self.save()

    async def _save(self) -> None:
        found: list[Saved] = []
        now = self._reactor.seconds()
        # Before: a clearing that comes meanwhile has another snapshot written.
        clearings = self._clearingsNow()

        def slices() -> Iterator[None]:
            for keys in self._memory.slices(SLICE):
                for key in keys:
                    entry = self._memory.entry(key)
                    if entry is not None and entry.expiry > now:
                        found.append(Saved(key, entry, self._rates.count(key, now)))
                yield None

        await self._inSlices(slices())
        epoch = self._wallClock() - self._reactor.seconds()
        writing: Deferred[int] = self._inThread(
            _write, self._path, self._settings, found, epoch, clearings
        )
        self.entries = await writing
        self.saved += 1

    def _notSaved(self, reason: Failure) -> None:
        self.failures += 1
        if reason.check(OSError):
            self.log.warn(
                "the cache isn't saved: {path}: {problem}", path=self._path, problem=reason.value
            )
        else:
            self.log.failure("the cache isn't saved", reason)

    def _inThread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), function, *arguments
        )

    def _inSlices(self, slices: Iterator[None]) -> Deferred[Any]:
        """
        Go through something, giving others their turns.
        """
        cooperator = Cooperator(
            terminationPredicateFactory=lambda: lambda: True,
            scheduler=lambda step: self._reactor.callLater(0.0, step),
        )
        return cooperator.coiterate(slices)


def _read(
    path: Path, settings: SnapshotSettings, now: float, epoch: float, policy: TTLPolicy
) -> tuple[list[Saved], int | None]:
    """
    Read a file. In a thread.

    @return: What is in it, and the last clearing that it knows of.
    """
    until = time.monotonic() + settings.loadSeconds
    with path.open("rb") as file:
        octets = file.read(settings.maxBytes + 1)
    if len(octets) > settings.maxBytes:
        raise InvalidSnapshot(f"larger than {settings.maxBytes} octets")
    found = []
    for saved in readSnapshot(octets, now, epoch, policy):
        found.append(saved)
        if len(found) >= settings.maxEntries or time.monotonic() > until:
            break
    return found, readClearings(octets)


def _write(
    path: Path,
    settings: SnapshotSettings,
    found: list[Saved],
    epoch: float,
    clearings: int | None,
) -> int:
    """
    Write a file in the place of the old one, whole or not at all. In a thread.

    @return: How many entries are in it, at most.
    """
    popular = [saved for saved in found if saved.hits > 0]
    # The rest aren't sorted: sorting lets nobody else have a turn.
    popular.sort(key=lambda saved: saved.hits, reverse=True)
    popular += [saved for saved in found if not saved.hits > 0]
    del popular[settings.maxEntries :]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for part in writeSnapshot(popular, epoch, settings.maxBytes, clearings):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    _syncFolder(path.parent)
    return len(popular)


def _syncFolder(folder: Path) -> None:
    """
    Have the file's new name on disk, too.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
