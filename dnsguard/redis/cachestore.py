# -*- test-case-name: tests.integration.test_redisstore -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The answers in Redis, as the rest of dnsguard sees them.

Lookups go over a connection of their own, so that no sweep and no batch of
writes stands before them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from dnsguard.caching.candidate import Candidate, Clearing, Standing
from dnsguard.caching.entry import Entry
from dnsguard.caching.key import Key
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.interfaces import IAnswerStore
from dnsguard.redis.clearing import Cleaner
from dnsguard.redis.expiryindex import CHUNK, ExpiryIndex, chunks
from dnsguard.redis.keys import Names, answerName
from dnsguard.redis.lookups import Lookups
from dnsguard.redis.replies import IRedis, orRaise
from dnsguard.redis.scripts import ADD_HITS, UNLOCK, run
from dnsguard.redis.writebehind import WriteBehind

__all__ = ["RedisAnswerStore"]

CLEARINGS = 2
"""How often it is made sure that nothing is left of what is cleared."""

T = TypeVar("T")


class Announcer(Protocol):
    """
    What tells other instances of clearings: see L{dnsguard.redis.channel}.
    """

    origin: bytes
    number: int | None

    def resume(self, number: int | None) -> None:
        """
        See L{IAnswerStore.resume}.
        """

    def announce(self, clearing: Clearing) -> Coroutine[Any, Any, None]:
        """
        Tell them.
        """


@implementer(IAnswerStore)
class RedisAnswerStore:
    """
    Answers shared in Redis.

    @ivar announcer: What tells other instances of clearings, or L{None}.
    """

    def __init__(
        self,
        redis: IRedis,
        background: IRedis,
        clock: Any,
        *,
        names: Names | None = None,
        ttlPolicy: TTLPolicy | None = None,
        wallClock: Callable[[], float] = time.time,
    ) -> None:
        """
        @param redis: What lookups and locks are asked of.
        @param background: What all the rest is asked of: the same server over
            another connection.
        @param clock: Gives the time that entries are in.
        @param ttlPolicy: For how long answers are kept.
        @param wallClock: Gives seconds since the epoch.
        """
        self.announcer: Announcer | None = None
        self._redis = redis
        self._background = background
        self._clock = clock
        self._wallClock = wallClock
        self._names = names = names or Names()
        self._instance = secrets.token_hex(8).encode("ascii")
        self._locks = 0
        self._listeners: list[Callable[[Clearing], None]] = []
        self._writes = WriteBehind(background, names, clock, self._epoch)
        self._index = ExpiryIndex(background, names, self._epoch)
        self._cleaner = Cleaner(background, names, self._index)
        self._lookups = Lookups(redis, clock, self._epoch, ttlPolicy or TTLPolicy(), self.put)

    @property
    def available(self) -> bool:
        """
        See L{IAnswerStore}.
        """
        return self._redis.available

    @property
    def ttlPolicy(self) -> TTLPolicy:
        """
        For how long answers are kept.
        """
        return self._lookups.ttlPolicy

    @ttlPolicy.setter
    def ttlPolicy(self, policy: TTLPolicy) -> None:
        self._lookups.ttlPolicy = policy

    def _epoch(self) -> float:
        """
        What to add to a time of the clock to have seconds since the epoch.
        """
        return self._wallClock() - float(self._clock.seconds())

    def get(self, key: Key) -> Deferred[Entry | None]:
        """
        See L{IAnswerStore.get}.
        """
        return self._lookups.get(key)

    def peek(self, key: Key) -> Deferred[Entry | None]:
        """
        See L{IAnswerStore.peek}.
        """
        return self._lookups.peek(key)

    # Keeping.

    def put(self, key: Key, entry: Entry) -> None:
        """
        See L{IAnswerStore.put}.
        """
        self._writes.put(key, entry)

    def stop(self) -> Deferred[None] | None:
        """
        Write what is waiting to be written.

        @return: What fires when that is done, if it isn't.
        """
        return self._writes.stop()

    # Locks.

    def lock(self, key: Key, seconds: float) -> Deferred[bytes | None]:
        """
        See L{IAnswerStore.lock}.
        """
        self._locks += 1
        token = b"%s-%d" % (self._instance, self._locks)
        return self._run(self._set(self._names.lock(answerName(key)), token, seconds))

    def unlock(self, key: Key, token: bytes) -> Deferred[bool]:
        """
        See L{IAnswerStore.unlock}.
        """

        async def unlock() -> bool:
            call = UNLOCK.call([self._names.lock(answerName(key))], token)
            return bool(orRaise((await run(self._redis, [call]))[0]))

        return self._run(unlock())

    def claim(self, task: str, seconds: float) -> Deferred[bool]:
        """
        See L{IAnswerStore.claim}.
        """

        async def claim() -> bool:
            return await self._set(self._names.task(task), self._instance, seconds) is not None

        return self._run(claim())

    async def _set(self, name: bytes, token: bytes, seconds: float) -> bytes | None:
        """
        Set a value that nobody else has set, for a time.
        """
        command = (b"SET", name, token, b"NX", b"PX", b"%d" % max(seconds * 1000, 1))
        reply = orRaise((await self._redis.execute([command]))[0])
        return token if reply is not None else None

    # Counting.

    def addHits(self, hits: Mapping[Key, int], window: float) -> Deferred[None]:
        """
        See L{IAnswerStore.addHits}.
        """
        return self._run(self._add(self._names.hits, hits, window))

    def addSweepHits(self, hits: Mapping[Key, int], window: float) -> Deferred[None]:
        """
        See L{IAnswerStore.addSweepHits}.
        """
        return self._run(self._add(self._names.sweepHits, hits, window))

    async def _add(
        self, nameOf: Callable[[bytes], bytes], hits: Mapping[Key, int], window: float
    ) -> None:
        seconds = b"%d" % max(round(window), 1)
        for some in chunks(list(hits.items()), CHUNK):
            call = ADD_HITS.call(
                [nameOf(answerName(key)) for key, _ in some],
                seconds,
                *[b"%d" % count for _, count in some],
            )
            orRaise((await run(self._background, [call]))[0])

    # Sweeping.

    def expiryCandidates(self, until: float, limit: int) -> Deferred[list[Candidate]]:
        """
        See L{IAnswerStore.expiryCandidates}.
        """
        return self._run(self._index.candidates(until, limit))

    def freshest(self, limit: int) -> Deferred[list[Candidate]]:
        """
        See L{IAnswerStore.freshest}.
        """
        return self._run(self._index.freshest(limit))

    def candidateChecks(self, keys: Sequence[Key]) -> Deferred[list[Standing]]:
        """
        See L{IAnswerStore.candidateChecks}.
        """
        return self._run(self._index.standings(keys))

    def reconcile(self, sample: int) -> Deferred[int]:
        """
        See L{IAnswerStore.reconcile}.
        """
        return self._run(self._index.reconcile(sample))

    def dropCandidates(self, keys: Sequence[Key]) -> Deferred[int]:
        """
        See L{IAnswerStore.dropCandidates}.
        """
        return self._run(self._index.drop(keys))

    def count(self) -> Deferred[int]:
        """
        See L{IAnswerStore.count}.
        """
        return self._run(self._index.count())

    def deleteKeys(self, keys: Sequence[Key]) -> Deferred[int]:
        """
        See L{IAnswerStore.deleteKeys}.
        """
        return self._run(self._index.delete([answerName(key) for key in keys]))

    def evictBeyond(self, maxKeys: int) -> Deferred[int]:
        """
        See L{IAnswerStore.evictBeyond}.
        """
        return self._run(self._index.evictBeyond(maxKeys))

    # Clearing.

    def clear(self) -> Deferred[int]:
        """
        See L{IAnswerStore.clear}.
        """
        return self._run(self._clear(Clearing()))

    def forget(self, qname: bytes, below: bool = False) -> Deferred[int]:
        """
        See L{IAnswerStore.forget}.
        """
        return self._run(self._clear(Clearing(qname, below)))

    async def _clear(self, clearing: Clearing) -> int:
        deleted = 0
        for attempt in range(CLEARINGS):
            self._overtake()
            found = await self._cleaner.clean(clearing)
            # What was found before it was deleted, and is still on its way here.
            self._overtake()
            if self.announcer is not None and (found or not attempt):
                await self.announcer.announce(clearing)
            deleted += found
            if not found:
                break
            # Another instance may have written one behind the cleaner's back,
            # and read it again, before it heard. From now on none does.
        return deleted

    def _overtake(self) -> None:
        self._lookups.overtake()
        self._writes.forget()

    def subscribe(self, listener: Callable[[Clearing], None]) -> Callable[[], None]:
        """
        See L{IAnswerStore.subscribe}.
        """
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    @property
    def clearings(self) -> int | None:
        """
        See L{IAnswerStore.clearings}.
        """
        return None if self.announcer is None else self.announcer.number

    def resume(self, clearings: int | None) -> None:
        """
        See L{IAnswerStore.resume}.
        """
        if self.announcer is not None:
            self.announcer.resume(clearings)

    def cleared(self, clearing: Clearing) -> None:
        """
        Another instance has cleared something.
        """
        self._overtake()
        for listener in tuple(self._listeners):
            listener(clearing)

    def counters(self) -> dict[str, int]:
        """
        See L{IAnswerStore.counters}.
        """
        return {
            **self._lookups.counters(),
            "written": self._writes.written,
            "writes_dropped": self._writes.dropped,
            "writes_failed": self._writes.failed,
            "writes_pending": len(self._writes),
        }

    @staticmethod
    def _run(work: Coroutine[Any, Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(work)
