# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.writebehind}.
"""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.redis import writebehind
from dnsguard.redis.keys import Names
from dnsguard.redis.replies import Command, ErrorReply, Reply
from dnsguard.redis.scripts import STORE
from dnsguard.redis.writebehind import BATCH, GATHER_SECONDS, WriteBehind
from tests.redis.entries import entryFor, keyFor
from tests.redis.wires import FakeRedis

KEY = keyFor()


class WriteBehindTests(SynchronousTestCase):
    """
    Tests for L{WriteBehind}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.redis = FakeRedis(lambda command: 1)
        self.writes = WriteBehind(self.redis, Names(), self.clock, lambda: 1000.0)

    def put(self, number: int = 1) -> None:
        """
        Have answers written.
        """
        for each in range(number):
            key = keyFor(f"n{each}.example.org") if number > 1 else KEY
            self.writes.put(key, entryFor(key, self.clock.seconds()))

    def gather(self) -> None:
        """
        Let the time pass that answers are gathered.
        """
        self.clock.advance(GATHER_SECONDS)

    def test_written(self) -> None:
        """
        An answer goes into the index, then into its hash with its time to live.
        """
        self.put()
        self.assertEqual(self.redis.asked, [])
        self.gather()
        (commands,) = self.redis.asked
        name = b"dns:www.example.org:1:1"
        self.assertEqual(commands[0], (b"ZADD", b"dnsmeta:expiry:index", b"1300", name))
        self.assertEqual(commands[1][:5], (b"EVALSHA", STORE.digest, b"1", name, b"3900"))
        self.assertEqual(commands[1][6:], (b"1300", b"1000", b"300", b"300"))
        self.assertEqual(self.writes.written, 1)

    def test_latest(self) -> None:
        """
        Of one key's answers the last is written.
        """
        self.writes.put(KEY, entryFor(KEY, 0.0, address="192.0.2.1"))
        self.writes.put(KEY, entryFor(KEY, 0.0, address="192.0.2.2"))
        self.gather()
        self.assertTrue(self.redis.commands[1][5].endswith(b"\xc0\x00\x02\x02"))
        self.assertEqual(self.writes.written, 1)

    def test_batches(self) -> None:
        """
        Many go in batches, one at a time.
        """
        self.redis.held = True
        self.put(BATCH + 1)
        self.gather()
        self.assertEqual([len(each) for each in self.redis.asked], [BATCH + 1])
        self.redis.release()
        self.assertEqual([len(each) for each in self.redis.asked], [BATCH + 1, 2])
        self.put()
        self.redis.release()
        self.redis.release()
        self.assertEqual((self.writes.written, len(self.writes)), (BATCH + 2, 0))

    def test_away(self) -> None:
        """
        Nothing waits for a Redis that is away.
        """
        self.redis.available = False
        self.put()
        self.assertEqual((len(self.writes), self.writes.dropped), (0, 1))

    def test_bounded(self) -> None:
        """
        No more wait than there is room for.
        """
        with patch.object(writebehind, "MAX_PENDING", 3):
            self.put(5)
        self.assertEqual((len(self.writes), self.writes.dropped), (3, 2))
        with patch.object(writebehind, "MAX_OCTETS", 200):
            self.put()
        self.assertEqual(self.writes.dropped, 3)

    def test_lost(self) -> None:
        """
        When Redis goes away in between, what waits is let go.
        """

        def gone(command: Command) -> Reply:
            raise StoreError("redis", "gone")

        self.redis.answer = gone
        self.put(BATCH + 5)
        self.gather()
        self.assertEqual(len(self.redis.asked), 1)
        self.assertEqual((len(self.writes), self.writes.written), (0, 0))
        self.assertEqual(self.writes.dropped, BATCH + 5)

    def test_refused(self) -> None:
        """
        A Redis that refuses writes isn't written to for a while, then tried
        with one batch.
        """
        self.redis.answer = lambda command: ErrorReply("redis", "OOM command not allowed")
        self.put()
        self.gather()
        self.assertEqual(self.writes.failed, 1)
        self.put()
        self.gather()
        self.assertEqual(len(self.redis.asked), 1)
        self.clock.advance(1.0)
        self.redis.answer = lambda command: 1
        self.put()
        self.gather()
        self.put()
        self.gather()
        self.assertEqual((len(self.redis.asked), self.writes.written), (3, 2))

    def test_probeLost(self) -> None:
        """
        A batch that was to try it out, and had no answer, isn't the last one.
        """
        self.redis.answer = lambda command: ErrorReply("redis", "READONLY no")
        self.put()
        self.gather()
        for _ in range(3):
            self.clock.advance(60.0)

            def gone(command: Command) -> Reply:
                raise StoreError("redis", "gone")

            self.redis.answer = gone
            before = len(self.redis.asked)
            self.put()
            self.gather()
            self.assertEqual(len(self.redis.asked), before + 1)

    def test_unknownScript(self) -> None:
        """
        A server that doesn't know the script is given it.
        """
        self.redis.answer = lambda command: (
            ErrorReply("redis", "NOSCRIPT No matching script") if command[0] == b"EVALSHA" else 1
        )
        self.put(2)
        self.gather()
        self.assertEqual([each[0] for each in self.redis.asked[1]], [b"EVAL", b"EVAL"])
        self.assertEqual(self.redis.asked[1][0][1], STORE.source)
        self.assertEqual(self.writes.written, 2)

    def test_expired(self) -> None:
        """
        What is past all use isn't written.
        """
        self.writes.put(KEY, entryFor(KEY, -10_000.0))
        self.gather()
        self.assertEqual(self.redis.asked, [])

    def test_forget(self) -> None:
        """
        What isn't on its way yet can be let go.
        """
        self.put(3)
        self.writes.forget()
        self.gather()
        self.assertEqual((self.redis.asked, self.writes.dropped), ([], 3))
        self.put()
        self.gather()
        self.assertEqual(self.writes.written, 1)

    def test_stop(self) -> None:
        """
        Stopping writes what is there.
        """
        self.redis.held = True
        self.put()
        stopped = self.writes.stop()
        assert stopped is not None
        self.assertNoResult(stopped)
        self.redis.release()
        self.successResultOf(stopped)
        self.assertEqual(self.writes.written, 1)
        self.assertIsNone(self.writes.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])
