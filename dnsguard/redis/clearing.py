# -*- test-case-name: tests.integration.test_redisstore -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Delete what is shared: all of it, a name's answers, or those below a name.

Names are found by walking over all there are, page by page on each server:
Redis knows no order among them. What else is in the database, such as the
sessions of a web interface, stays.
"""

from __future__ import annotations

from dnsguard.caching.candidate import Clearing
from dnsguard.redis.expiryindex import ExpiryIndex, chunks
from dnsguard.redis.keys import Names, answerPatterns, readAnswerName
from dnsguard.redis.replies import IRedis, orRaise
from dnsguard.wire.names import isAtOrBelow

__all__ = ["Cleaner"]

PAGE = b"500"
"""Names that a server looks at in one go."""


class Cleaner:
    """
    Deletes what a clearing says.
    """

    def __init__(self, redis: IRedis, names: Names, index: ExpiryIndex) -> None:
        self._redis = redis
        self._names = names
        self._index = index

    async def clean(self, clearing: Clearing) -> int:
        """
        Do what a clearing says.

        @return: How many answers were deleted.
        @raise StoreError: It couldn't be done, or not all of it.
        """
        qname = clearing.qname
        if qname is None:
            return await self._everything()
        deleted = 0
        for pattern in answerPatterns(qname, clearing.below):
            for server in self._redis.servers():
                deleted += await self._walk(server, pattern, qname, clearing.below)
        return deleted

    async def _walk(self, server: IRedis, pattern: bytes, qname: bytes, below: bool) -> int:
        """
        Delete the answers of one server that are meant.
        """
        deleted, cursor = 0, b"0"
        while True:
            cursor, found = await self._page(server, cursor, pattern)
            meant = []
            for name in found:
                key = readAnswerName(name)
                if key is not None and (isAtOrBelow(key[0], qname) if below else key[0] == qname):
                    meant.append(name)
            deleted += await self._index.delete(meant)
            if cursor == b"0":
                return deleted

    async def _everything(self) -> int:
        """
        Delete all answers, and all that was noted of them.
        """
        deleted = 0
        answers, meta = self._names.patterns
        for pattern in (answers, meta):
            for server in self._redis.servers():
                count = await self._sweep(server, pattern)
                if pattern is answers:
                    deleted += count
        return deleted

    async def _sweep(self, server: IRedis, pattern: bytes) -> int:
        """
        Delete all that one server has under a pattern.
        """
        deleted, cursor = 0, b"0"
        while True:
            cursor, found = await self._page(server, cursor, pattern)
            for some in chunks([name for name in found if name != self._names.clearings]):
                # Not one command: their slots differ in a cluster.
                replies = await self._redis.execute([(b"UNLINK", name) for name in some])
                deleted += sum(orRaise(reply) for reply in replies)
            if cursor == b"0":
                return deleted

    @staticmethod
    async def _page(server: IRedis, cursor: bytes, pattern: bytes) -> tuple[bytes, list[bytes]]:
        replies = await server.execute([(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", PAGE)])
        cursor, found = orRaise(replies[0])
        return cursor, found
