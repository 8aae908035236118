# -*- test-case-name: tests.redis.test_scripts -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is done inside Redis, in Lua: where looking first and acting then from here
would take another round trip, or let somebody in between.

A server may not know a script, after a restart or a failover above all; it is
sent along then, once for all commands of a pipeline that wanted it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import attrs

from dnsguard.redis.replies import Command, ErrorReply, IRedis, Reply

__all__ = ["ADD_HITS", "ANNOUNCE", "STORE", "UNLOCK", "Call", "Script", "run"]


@attrs.frozen
class Script:
    """
    A script and the name that Redis knows it by.
    """

    source: bytes
    digest: bytes

    @classmethod
    def of(cls, source: str) -> Script:
        """
        Make one of its source.
        """
        octets = source.strip().encode("ascii")
        return cls(octets, hashlib.sha1(octets, usedforsecurity=False).hexdigest().encode("ascii"))

    def call(self, keys: Sequence[bytes], *arguments: bytes) -> Call:
        """
        Make a call of it.
        """
        return Call(self, (b"%d" % len(keys), *keys, *arguments))


@attrs.frozen
class Call:
    """
    A script with what it is given.
    """

    script: Script
    arguments: tuple[bytes, ...]

    @property
    def short(self) -> Command:
        """
        The command for a server that knows the script.
        """
        return (b"EVALSHA", self.script.digest, *self.arguments)

    @property
    def whole(self) -> Command:
        """
        The command for a server that doesn't.
        """
        return (b"EVAL", self.script.source, *self.arguments)


STORE = Script.of("""
local first = redis.pcall('HSETNX', KEYS[1], 'created_at', ARGV[4])
if type(first) == 'table' and first.err then
  if not string.find(first.err, 'WRONGTYPE', 1, true) then return first end
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'created_at', ARGV[4])
end
redis.call('HSET', KEYS[1], 'msg', ARGV[2], 'soft_expiry', ARGV[3],
           'stored_ttl', ARGV[5], 'auth_ttl', ARGV[6])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
""")
"""
Keep an answer: seconds to live, message, soft expiry, creation, stored TTL, own
TTL. A refresh leaves the creation as it is, and something else under the
answer's name gives way.
"""

UNLOCK = Script.of("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")
"""Give a lock back, if it is still the one with this token."""

ADD_HITS = Script.of("""
for i = 1, #KEYS do
  redis.call('INCRBY', KEYS[i], ARGV[i + 1])
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return #KEYS
""")
"""Add to counters, and have each live for a window from now on: the window,
then one number for each counter."""

ANNOUNCE = Script.of("""
local number = redis.call('INCR', KEYS[1])
redis.call('PUBLISH', ARGV[1], string.format('%d', number) .. ' ' .. ARGV[2])
return number
""")
"""Number a clearing and tell of it, the channel and the message, in one: a
number that nobody was told of would make all others drop everything."""


async def run(redis: IRedis, calls: Sequence[Call | Command]) -> list[Reply]:
    """
    Run scripts and commands in one pipeline.

    @return: Their replies, as of L{IRedis.execute}.
    """
    replies = await redis.execute(
        [call.short if isinstance(call, Call) else call for call in calls]
    )
    unknown = [
        place
        for place, reply in enumerate(replies)
        if isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT"
    ]
    if unknown:
        # Nothing of these was done. The first to come with its source teaches
        # the server; the others come with it, too, as each may meet another.
        again: list[Command] = []
        for place in unknown:
            call = calls[place]
            assert isinstance(call, Call)
            again.append(call.whole)
        for place, reply in zip(unknown, await redis.execute(again), strict=True):
            replies[place] = reply
    return replies
