# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.scripts}; what the scripts do is tested with a real
server.
"""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.redis.replies import Command, ErrorReply, Reply
from dnsguard.redis.scripts import STORE, UNLOCK, run
from tests.redis.wires import FakeRedis


class RunTests(SynchronousTestCase):
    """
    Tests for L{run}.
    """

    def run_(self, redis: FakeRedis, *calls: Any) -> list[Reply]:
        """
        The replies.
        """
        return self.successResultOf(Deferred.fromCoroutine(run(redis, calls)))

    def test_digest(self) -> None:
        """
        A script's name is the checksum that Redis makes of it.
        """
        for script in (STORE, UNLOCK):
            digest = hashlib.sha1(script.source, usedforsecurity=False).hexdigest()
            self.assertEqual(script.digest, digest.encode())

    def test_known(self) -> None:
        """
        A script that the server knows isn't sent along.
        """
        redis = FakeRedis(lambda command: command[0])
        call = UNLOCK.call([b"k"], b"token")
        self.assertEqual(self.run_(redis, call, (b"GET", b"k")), [b"EVALSHA", b"GET"])
        self.assertEqual(redis.commands[0], (b"EVALSHA", UNLOCK.digest, b"1", b"k", b"token"))

    def test_unknown(self) -> None:
        """
        Those that it doesn't know are, and nothing else is run twice.
        """

        def answer(command: Command) -> Reply:
            if command[:2] == (b"EVALSHA", UNLOCK.digest):
                return ErrorReply("redis", "NOSCRIPT No matching script.")
            return command[0]

        redis = FakeRedis(answer)
        calls = [UNLOCK.call([b"k"], b"t"), (b"GET", b"k"), STORE.call([b"k"], b"1")]
        self.assertEqual(self.run_(redis, *calls), [b"EVAL", b"GET", b"EVALSHA"])
        self.assertEqual(redis.asked[1], [(b"EVAL", UNLOCK.source, b"1", b"k", b"t")])
