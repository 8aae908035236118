# -*- test-case-name: tests.redis.test_writebehind -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Answers on their way into Redis.

No client waits for a write: answers are gathered for a few milliseconds and go
out together, one batch at a time. What doesn't fit into the queue, or comes
while Redis is away or refuses writes, is let go: it is in L0, and upstream has
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.caching.entry import Entry
from dnsguard.caching.key import Key
from dnsguard.caching.stored import toFields
from dnsguard.errors import StoreError
from dnsguard.redis.breaker import Breaker
from dnsguard.redis.keys import Names, answerName
from dnsguard.redis.replies import REFUSES_WRITES, Command, ErrorReply, IRedis
from dnsguard.redis.scripts import STORE, Call, run
from dnsguard.throttle import Throttle

__all__ = ["BATCH", "MAX_OCTETS", "MAX_PENDING", "WriteBehind"]

BATCH = 100
"""Answers that go out together."""

GATHER_SECONDS = 0.005
"""How long they are gathered."""

MAX_PENDING = 10_000
MAX_OCTETS = 16 << 20
"""The most that may wait to be written."""


class WriteBehind:
    """
    A bounded queue of answers, written in batches.

    @ivar written: Answers written.
    @ivar dropped: Answers let go, for whatever reason.
    @ivar failed: Answers among them that Redis was asked to keep, and didn't.
    """

    log = Logger()

    def __init__(
        self, redis: IRedis, names: Names, clock: Any, epoch: Callable[[], float]
    ) -> None:
        """
        @param epoch: Gives what to add to the clock's time to have seconds
            since the epoch.
        """
        self.written = self.dropped = self.failed = 0
        self._redis = redis
        self._names = names
        self._clock = clock
        self._epoch = epoch
        self._pending: dict[Key, Entry] = {}
        self._octets = 0
        self._timer: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        # A server that can't be written to can still be read from: this is
        # another matter than whether it is there.
        self._refusing = Breaker(firstPause=1.0, longestPause=30.0)
        self._throttle = Throttle(60.0, clock.seconds)

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, key: Key, entry: Entry) -> None:
        """
        Have an answer written, if that can be.
        """
        if not self._redis.available:
            self.dropped += 1
            return
        if not self._refusing.closed and not self._refusing.mayProbe(self._clock.seconds()):
            self.dropped += 1
            return
        before = self._pending.get(key)
        size = len(entry.wire) - (0 if before is None else len(before.wire))
        if self._octets + size > MAX_OCTETS or (
            before is None and len(self._pending) >= MAX_PENDING
        ):
            self.dropped += 1
            return
        self._pending[key] = entry
        self._octets += size
        if self._timer is None and self._writing is None:
            self._timer = self._clock.callLater(GATHER_SECONDS, self._begin)

    def forget(self) -> None:
        """
        Let go of all that isn't on its way yet.
        """
        self.dropped += len(self._pending)
        self._pending.clear()
        self._octets = 0

    def stop(self) -> Deferred[None] | None:
        """
        Write what is there, and no more.

        @return: What fires when that is done; L{None}: it is.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._begin()
        return self._writing

    def _begin(self) -> None:
        self._timer = None
        writing = self._writing = Deferred.fromCoroutine(self._drain())
        writing.addErrback(self._broke)
        if writing.called:
            self._writing = None

    def _broke(self, reason: Failure) -> Failure | None:
        """
        Log what must not happen. Being cancelled is for whoever did it.
        """
        if reason.check(CancelledError):
            return reason
        self.log.failure("writing answers failed", reason)
        return None

    async def _drain(self) -> None:
        try:
            while self._pending:
                await self._writeSome()
        finally:
            self._writing = None

    async def _writeSome(self) -> None:
        """
        Write one batch.
        """
        keys = list(self._pending)[:BATCH]
        batch = [(key, self._pending.pop(key)) for key in keys]
        self._octets -= sum(len(entry.wire) for _, entry in batch)
        now, epoch = self._clock.seconds(), self._epoch()
        batch = [(key, entry) for key, entry in batch if entry.expiry > now]
        if not batch:
            return
        index: list[bytes] = [b"ZADD", self._names.index]
        calls: list[Call | Command] = []
        for key, entry in batch:
            name = answerName(key)
            fields = toFields(entry, epoch)
            index += (fields[b"soft_expiry"], name)
            calls.append(_store(name, fields, math.ceil(entry.expiry - now)))
        try:
            # In the index first: what were kept and not in it would escape the
            # sweeper.
            replies = await run(self._redis, [tuple(index), *calls])
        except StoreError as error:
            self._note(len(batch), error)
            self.forget()
            return
        errors = [reply for reply in replies if isinstance(reply, StoreError)]
        if errors:
            self._note(
                len([each for each in replies[1:] if isinstance(each, StoreError)]), *errors
            )
        else:
            self._refusing.succeeded(self._clock.seconds())
        self.written += len(batch) - sum(isinstance(each, StoreError) for each in replies[1:])

    def _note(self, count: int, *errors: StoreError) -> None:
        """
        Count answers that weren't written, and say so now and then.
        """
        self.failed += count
        self.dropped += count
        now = self._clock.seconds()
        refusal = next(
            (
                error
                for error in errors
                if isinstance(error, ErrorReply) and error.code in REFUSES_WRITES
            ),
            None,
        )
        if refusal is not None:
            self._refusing.failed(now, refusal.code)
        elif not self._refusing.closed:
            self._refusing.failed(now, "")
        if times := self._throttle.allows():
            self.log.warn(
                "answers can't be kept in {error} ({times} time(s) lately)",
                error=str(errors[0]),
                times=times,
            )


def _store(name: bytes, fields: dict[bytes, bytes], seconds: int) -> Call:
    return STORE.call(
        [name],
        b"%d" % seconds,
        fields[b"msg"],
        fields[b"soft_expiry"],
        fields[b"created_at"],
        fields[b"stored_ttl"],
        fields.get(b"auth_ttl", b"0"),
    )
