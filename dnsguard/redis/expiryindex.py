# -*- test-case-name: tests.integration.test_redisstore -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The index of all shared answers by the end of their time, and what is done by it:
finding what is due, deleting what nobody asks for, keeping within a bound.

Work over thousands of keys is cut into pipelines of a hundred, each waited for
before the next one: Redis does one thing at a time, and lookups of this and
other instances must get their turns in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from dnsguard.caching.candidate import Candidate, Standing
from dnsguard.caching.key import Key
from dnsguard.redis.keys import Names, answerName, readAnswerName
from dnsguard.redis.replies import Command, IRedis, Reply, orRaise

__all__ = ["CHUNK", "ExpiryIndex"]

CHUNK = 100
"""Keys that are looked at, or deleted, in one pipeline."""

MOST_EVICTED = 5000
"""Keys among which those to evict are picked at a time."""

T = TypeVar("T")


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """
    Cut a sequence into pieces.
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]


class ExpiryIndex:
    """
    What the sweeper needs of Redis.
    """

    def __init__(self, redis: IRedis, names: Names, epoch: Callable[[], float]) -> None:
        """
        @param epoch: Gives what to add to a time of the clock in use to have
            seconds since the epoch.
        """
        self._redis = redis
        self._names = names
        self._epoch = epoch

    async def _ask(self, *command: bytes) -> Any:
        return orRaise((await self._redis.execute([command]))[0])

    async def candidates(self, until: float, limit: int) -> list[Candidate]:
        """
        See L{dnsguard.interfaces.IAnswerStore.expiryCandidates}.
        """
        return await self._listed(
            b"ZRANGEBYSCORE",
            self._names.index,
            b"-inf",
            b"%.3f" % (until + self._epoch()),
            b"WITHSCORES",
            b"LIMIT",
            b"0",
            b"%d" % limit,
        )

    async def freshest(self, limit: int) -> list[Candidate]:
        """
        See L{dnsguard.interfaces.IAnswerStore.freshest}.
        """
        return await self._listed(
            b"ZREVRANGE", self._names.index, b"0", b"%d" % (limit - 1), b"WITHSCORES"
        )

    async def _listed(self, *command: bytes) -> list[Candidate]:
        """
        List what a command finds, and take out what isn't an answer's name.
        """
        epoch = self._epoch()
        found: list[bytes] = await self._ask(*command)
        candidates, strange = [], []
        for name, score in zip(found[::2], found[1::2], strict=True):
            key = readAnswerName(name)
            if key is None:
                strange.append(name)
            else:
                candidates.append(Candidate(key, float(score) - epoch))
        for some in chunks(strange):
            await self._ask(b"ZREM", self._names.index, *some)
        return candidates

    async def standings(self, keys: Sequence[Key]) -> list[Standing]:
        """
        See L{dnsguard.interfaces.IAnswerStore.candidateChecks}.
        """
        epoch = self._epoch()
        standings = []
        for some in chunks(keys):
            commands: list[Command] = []
            names = [answerName(key) for key in some]
            for name in names:
                commands.append((b"EXISTS", name))
                commands.append((b"HGET", name, b"created_at"))
            # Counters share a slot, so all go in one command.
            commands.append((b"MGET", *map(self._names.hits, names)))
            commands.append((b"MGET", *map(self._names.sweepHits, names)))
            *each, hits, sweepHits = await self._redis.execute(commands)
            for exists, created, count, sweepCount in zip(
                each[::2], each[1::2], orRaise(hits), orRaise(sweepHits), strict=True
            ):
                standings.append(_standing(exists, created, count, sweepCount, epoch))
        return standings

    async def reconcile(self, sample: int) -> int:
        """
        See L{dnsguard.interfaces.IAnswerStore.reconcile}.
        """
        names: list[bytes] = await self._ask(
            b"ZRANGE", self._names.index, b"0", b"%d" % (sample - 1)
        )
        removed = 0
        for some in chunks(names):
            replies = await self._redis.execute([(b"EXISTS", name) for name in some])
            gone = [name for name, there in zip(some, replies, strict=True) if there == 0]
            removed += await self._drop(gone)
        return removed

    async def drop(self, keys: Sequence[Key]) -> int:
        """
        See L{dnsguard.interfaces.IAnswerStore.dropCandidates}.
        """
        removed = 0
        for some in chunks(keys):
            removed += await self._drop([answerName(key) for key in some])
        return removed

    async def _drop(self, names: Sequence[bytes]) -> int:
        return await self._ask(b"ZREM", self._names.index, *names) if names else 0

    async def count(self) -> int:
        """
        See L{dnsguard.interfaces.IAnswerStore.count}.
        """
        number: int = await self._ask(b"ZCARD", self._names.index)
        return number

    async def delete(self, names: Sequence[bytes]) -> int:
        """
        Delete answers by their names, with all that belongs to them.

        @return: How many answers were there.
        """
        deleted = 0
        for some in chunks(names):
            rest = [
                part
                for name in some
                for part in (
                    self._names.lock(name),
                    self._names.hits(name),
                    self._names.sweepHits(name),
                )
            ]
            commands: list[Command] = [(b"UNLINK", name) for name in some]
            commands.append((b"UNLINK", *rest))
            commands.append((b"ZREM", self._names.index, *some))
            replies = await self._redis.execute(commands)
            deleted += sum(orRaise(reply) for reply in replies[: len(some)])
            orRaise(replies[-1])
        return deleted

    async def evictBeyond(self, maxKeys: int) -> int:
        """
        See L{dnsguard.interfaces.IAnswerStore.evictBeyond}.
        """
        excess = await self.count() - maxKeys
        if excess <= 0:
            return 0
        found: list[bytes] = await self._ask(
            b"ZRANGE", self._names.index, b"0", b"%d" % (MOST_EVICTED - 1)
        )
        keys = [(name, key) for name in found if (key := readAnswerName(name)) is not None]
        standings = await self.standings([key for _, key in keys])
        ranked = sorted(
            zip(keys, standings, strict=True),
            key=lambda pair: (pair[1].hits, pair[1].createdAt or 0.0),
        )
        await self.delete([name for (name, _), _ in ranked[:excess]])
        return min(excess, len(ranked))


def _standing(
    exists: Reply, created: Reply, hits: Reply, sweepHits: Reply, epoch: float
) -> Standing:
    """
    Put together what is known of a key. What is stored under a name needn't be
    of our making.
    """
    createdAt = None if isinstance(created, Exception) else _number(created)
    return Standing(
        orRaise(exists) == 1,
        None if createdAt is None else createdAt - epoch,
        int(_number(hits) or 0),
        int(_number(sweepHits) or 0),
    )


def _number(text: bytes | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except (TypeError, ValueError):
        return None
    return number if number is not None and abs(number) <= 1e15 else None
