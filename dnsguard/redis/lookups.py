# -*- test-case-name: tests.redis.test_lookups -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Look answers up.

What comes back is input from the network: each value is checked to answer the
question it is filed under, and its times to be ones this instance would keep.
Whatever is wrong with one is a miss and a count, never an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dnsguard.caching.entry import Entry, retimed
from dnsguard.caching.key import Key
from dnsguard.caching.stored import FIELDS, InvalidEntry, fromValues, fromWire
from dnsguard.caching.ttl import TTLPolicy
from dnsguard.errors import StoreError
from dnsguard.redis.keys import answerName
from dnsguard.redis.replies import ErrorReply, IRedis, Reply, orRaise
from dnsguard.throttle import Throttle

__all__ = ["Lookups"]

_LOOKUP = b"*%d\r\n$5\r\nHMGET\r\n$%%d\r\n%%b\r\n" % (2 + len(FIELDS)) + b"".join(
    b"$%d\r\n%b\r\n" % (len(field), field) for field in FIELDS
)
"""The command, but for the length of the key's name and that name."""


class LookupCounters:
    """
    What lookups came to.

    @ivar hits: Those that found an answer.
    @ivar misses: Those that found none.
    @ivar errors: Those that failed.
    @ivar corrupt: Values found that answer no such question.
    @ivar legacy: Values found in the oldest form.
    @ivar overtaken: Answers found that a clearing had overtaken.
    """

    __slots__ = ("corrupt", "errors", "hits", "legacy", "misses", "overtaken")

    def __init__(self) -> None:
        self.hits = self.misses = self.errors = 0
        self.corrupt = self.legacy = self.overtaken = 0


class Lookups:
    """
    Finds answers.

    @ivar ttlPolicy: For how long answers are kept.
    @ivar counted: What it found.
    """

    log = Logger()

    def __init__(
        self,
        redis: IRedis,
        clock: Any,
        epoch: Callable[[], float],
        ttlPolicy: TTLPolicy,
        renew: Callable[[Key, Entry], None],
    ) -> None:
        """
        @param epoch: Gives what to add to the clock's time to have seconds
            since the epoch.
        @param renew: Called with what was found in the oldest form.
        """
        self.counted = LookupCounters()
        self.ttlPolicy = ttlPolicy
        self._redis = redis
        self._clock = clock
        self._epoch = epoch
        self._renew = renew
        self._generation = 0
        self._throttle = Throttle(60.0, clock.seconds)

    def overtake(self) -> None:
        """
        Let what is being looked up count for nothing.
        """
        self._generation += 1

    def counters(self) -> dict[str, int]:
        """
        Give the numbers to publish.
        """
        return {name: getattr(self.counted, name) for name in LookupCounters.__slots__}

    def get(self, key: Key) -> Deferred[Entry | None]:
        """
        See L{dnsguard.interfaces.IAnswerStore.get}.
        """
        return self._look(key, self.counted)

    def peek(self, key: Key) -> Deferred[Entry | None]:
        """
        See L{dnsguard.interfaces.IAnswerStore.peek}.
        """
        return self._look(key, LookupCounters())

    def _look(self, key: Key, counted: LookupCounters) -> Deferred[Entry | None]:
        name = answerName(key)
        asked: Any = self._redis.execute(((b"HMGET", name, *FIELDS),), _LOOKUP % (len(name), name))
        lookup = (key, self._generation, counted)
        asked.addCallbacks(self._found, self._notAsked, lookup, None, (counted,))
        found: Deferred[Entry | None] = asked
        return found

    def _notAsked(self, reason: Any, counted: LookupCounters) -> Any:
        counted.errors += 1
        return reason

    def _found(
        self, replies: list[Reply], key: Key, generation: int, counted: LookupCounters
    ) -> Any:
        """
        Make an entry of what was found.
        """
        fields = replies[0]
        if type(fields) is not list:
            return self._notFields(fields, key, generation, counted)
        if fields and fields[0] is None:
            counted.misses += 1
            return None
        now = self._clock.seconds()
        try:
            entry = fromValues(fields, key, now, self._epoch(), self.ttlPolicy)
        except InvalidEntry as error:
            self._broken(key, str(error), counted)
            return None
        return self._checked(entry, generation, now, counted)

    def _notFields(self, reply: Reply, key: Key, generation: int, counted: LookupCounters) -> Any:
        """
        See what else there is.
        """
        if not isinstance(reply, Exception):
            self._broken(key, "no fields", counted)
            return None
        if isinstance(reply, ErrorReply) and reply.code == "WRONGTYPE":
            older = Deferred.fromCoroutine(self._older(key, generation, counted))
            return older.addErrback(self._notAsked, counted)
        counted.errors += 1
        self._complain(reply)
        raise reply

    def _checked(
        self, entry: Entry, generation: int, now: float, counted: LookupCounters
    ) -> Entry | None:
        """
        Give an entry if it still counts, with times this instance would give
        it.

        A time too far ahead is another instance's fast clock, or mischief: it
        is fresh no longer than it could be if it had been stored just now.
        """
        if generation != self._generation:
            counted.overtaken += 1
            return None
        counted.hits += 1
        most = min(entry.storedTTL, self.ttlPolicy.maxTTL)
        if entry.softExpiry - now <= most:
            return entry
        return retimed(entry, self.ttlPolicy, storedTTL=most, softExpiry=now + most)

    async def _older(self, key: Key, generation: int, counted: LookupCounters) -> Entry | None:
        """
        Look for a value in the oldest form, a bare message that expires by
        itself, and bring it up to date.
        """
        name = answerName(key)
        wire, milliseconds = await self._redis.execute([(b"GET", name), (b"PTTL", name)])
        if isinstance(wire, ErrorReply) and wire.code == "WRONGTYPE":
            # Neither: something that isn't ours. It is in the way.
            await self._redis.execute([(b"UNLINK", name)])
            self._broken(key, "another type", counted)
            return None
        seconds = orRaise(milliseconds) // 1000
        if orRaise(wire) is None or seconds <= 0:
            counted.misses += 1
            return None
        try:
            now = self._clock.seconds()
            entry = fromWire(wire, key, seconds, now, self.ttlPolicy)
        except InvalidEntry as error:
            self._broken(key, str(error), counted)
            return None
        found = self._checked(entry, generation, now, counted)
        if found is not None:
            counted.legacy += 1
            self._renew(key, found)
        return found

    def _broken(self, key: Key, reason: str, counted: LookupCounters) -> None:
        """
        Count a value that isn't one: a miss.
        """
        counted.corrupt += 1
        counted.misses += 1
        self._complain(StoreError(self._redis.name, f"{answerName(key).decode()}: {reason}"))

    def _complain(self, error: Exception) -> None:
        if times := self._throttle.allows():
            self.log.warn(
                "an answer can't be had from {error} ({times} time(s) lately)",
                error=str(error),
                times=times,
            )
