# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.client}.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import txredisapi
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.redis import client
from dnsguard.redis.client import Credentials, RedisConnection, RedisFactory, Speaking, encode
from dnsguard.redis.replies import ErrorReply
from tests.redis.wires import Wire


class WithoutHiredis(Speaking, txredisapi.BaseRedisProtocol):
    """
    What a connection is where hiredis isn't installed.
    """


class Owner:
    """
    Notes what it is told.
    """

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.gone: list[str] = []

    def replyReceived(self, reply: Any) -> None:
        self.replies.append(reply)

    def connectionGone(self, connection: Any, reason: str) -> None:
        self.gone.append(reason)


class EncodeTests(SynchronousTestCase):
    """
    Tests for L{encode}.
    """

    @given(st.lists(st.lists(st.binary(max_size=20), min_size=1).map(tuple), max_size=5))
    @settings(max_examples=50, deadline=None)
    def test_sameWithoutHiredis(self, commands: list[tuple[bytes, ...]]) -> None:
        """
        Commands are written alike with hiredis and without.
        """
        with patch.object(client, "_pack", None):
            plain = encode(commands)
        self.assertEqual(encode(commands), plain)


class ConnectionRules(SynchronousTestCase):
    """
    What is true of L{RedisConnection}, with hiredis and without.
    """

    make: Any = RedisConnection

    def connect(self, credentials: Credentials | None = None) -> Wire:
        """
        A connection.
        """
        self.owner = Owner()
        factory = RedisFactory("redis", self.owner, credentials, self.make)
        self.connection = factory.buildProtocol(None)
        wire = Wire()
        wire.protocol = self.connection
        self.connection.makeConnection(wire)
        return wire

    def test_withoutPassword(self) -> None:
        """
        Where there is no password there is nothing to wait for.
        """
        wire = self.connect()
        self.assertIs(self.successResultOf(self.connection.ready), self.connection)
        self.assertEqual(wire.commands(), [])

    def test_logIn(self) -> None:
        """
        User, password and database are told before anything else.
        """
        wire = self.connect(Credentials("me", "secret", 3))
        self.assertEqual(wire.commands(), [[b"AUTH", b"me", b"secret"]])
        wire.reply(b"+OK\r\n")
        self.assertNoResult(self.connection.ready)
        self.assertEqual(wire.commands(), [[b"SELECT", b"3"]])
        wire.reply(b"+OK\r\n")
        self.successResultOf(self.connection.ready)
        self.assertEqual(self.owner.replies, [])

    def test_refused(self) -> None:
        """
        A wrong password is told as the reason, itself not.
        """
        wire = self.connect(Credentials(password="secret"))
        wire.reply(b"-WRONGPASS invalid username-password pair\r\n")
        self.assertTrue(wire.closing)
        wire.drop()
        error = self.failureResultOf(self.connection.ready, StoreError).value
        self.assertIn("WRONGPASS", str(error))
        self.assertNotIn("secret", str(error))

    def test_lostWhileLoggingIn(self) -> None:
        """
        A connection that ends before it is logged in was never ready.
        """
        wire = self.connect(Credentials(password="secret"))
        wire.drop()
        self.failureResultOf(self.connection.ready, StoreError)
        self.assertEqual(self.owner.gone, [])

    def test_replies(self) -> None:
        """
        Replies come as they are, octets above all: nothing becomes text or a
        number.
        """
        wire = self.connect()
        wire.reply(b"$3\r\n007\r\n:12\r\n$-1\r\n")
        wire.reply(b"*3\r\n$2\r\n\xff\x00\r\n$-1\r\n$3\r\n1.5\r\n")
        self.flush()
        self.assertEqual(self.owner.replies, [b"007", 12, None, [b"\xff\x00", None, b"1.5"]])

    def test_errors(self) -> None:
        """
        An error is a reply like any other.
        """
        wire = self.connect()
        wire.reply(b"-WRONGTYPE Operation against a key\r\n-ERR no\r\n")
        self.flush()
        one, two = self.owner.replies
        self.assertIsInstance(one, ErrorReply)
        self.assertEqual((one.code, two.code), ("WRONGTYPE", "ERR"))
        self.assertEqual(str(one), "redis: WRONGTYPE Operation against a key")

    def test_lost(self) -> None:
        """
        The owner learns why a connection ended, once.
        """
        wire = self.connect()
        self.connection.abort("too slow")
        self.connection.abort("too slow, really")
        wire.drop()
        self.assertEqual(self.owner.gone, ["too slow"])

    def test_tooLong(self) -> None:
        """
        A reply without end is cut off.
        """
        wire = self.connect()
        with patch.object(client, "MAX_REPLY", 1000):
            wire.reply(b"$100000\r\n" + b"x" * 900)
            self.assertFalse(wire.aborted)
            wire.reply(b"x" * 200)
        self.assertTrue(wire.aborted)
        self.assertEqual(self.owner.gone, ["a reply too long"])

    def flush(self) -> None:
        """
        Let the protocol without hiredis, which reads in several turns, come to
        its end.
        """


class HiredisTests(ConnectionRules):
    """
    Where hiredis is installed.
    """

    def test_garbage(self) -> None:
        """
        What is no reply ends the connection, in one line.
        """
        wire = self.connect()
        wire.reply(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertTrue(wire.aborted)
        self.assertIn("no Redis reply", self.owner.gone[0])


class WithoutHiredisTests(ConnectionRules):
    """
    Where it isn't.
    """

    make = WithoutHiredis

    def setUp(self) -> None:
        self.later: list[Any] = []
        self.patch(
            WithoutHiredis,
            "callLater",
            staticmethod(lambda seconds, call, *rest: self.later.append((call, rest))),
        )

    def flush(self) -> None:
        while self.later:
            call, rest = self.later.pop(0)
            call(*rest)


# Not by itself: it is the base of the two.
del ConnectionRules
