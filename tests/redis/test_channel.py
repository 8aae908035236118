# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.channel}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.caching.candidate import Clearing
from dnsguard.errors import StoreError
from dnsguard.redis.channel import (
    AGAIN_SECONDS,
    LISTEN_SECONDS,
    ClearingChannel,
    readMessage,
    writeMessage,
)
from dnsguard.redis.client import encode
from dnsguard.redis.replies import Command, Reply
from dnsguard.redis.scripts import ANNOUNCE
from dnsguard.wire.names import fromText
from tests.redis.wires import FakeEndpoint, FakeRedis

CHANNEL = b"dnsmeta:clear"
NAME = Clearing(fromText("example.org"), below=True)


class MessageTests(SynchronousTestCase):
    """
    What is published.
    """

    def test_written(self) -> None:
        """
        A message says who, what and which one it is.
        """
        self.assertEqual(writeMessage(b"me", Clearing()), b"me all")
        self.assertEqual(writeMessage(b"me", NAME), b"me below example.org")

    @given(
        st.integers(0, 10**17),
        st.lists(st.binary(min_size=1, max_size=20), max_size=4),
        st.booleans(),
    )
    @settings(max_examples=100, deadline=None)
    def test_roundTrip(self, number: int, parts: list[bytes], below: bool) -> None:
        """
        What is written is read back, whatever the name.
        """
        qname = b"".join(bytes([len(part)]) + part.lower() for part in parts) + b"\0"
        message = b"%d %b" % (number, writeMessage(b"me", Clearing(qname, below)))
        self.assertEqual(readMessage(message), (number, b"me", Clearing(qname, below)))

    @given(st.binary(max_size=40))
    @settings(max_examples=100, deadline=None)
    def test_anything(self, message: bytes) -> None:
        """
        Anything can be read.
        """
        readMessage(message)
        self.assertIsNone(readMessage(b"x" + message))


class ChannelTests(SynchronousTestCase):
    """
    Tests for L{ClearingChannel}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = FakeEndpoint()
        self.number: bytes | None = b"5"
        self.redis = FakeRedis(self.answer)
        self.told: list[Clearing] = []
        self.channel = ClearingChannel(self.endpoint, self.redis, self.clock, self.told.append)
        self.channel.start()

    def answer(self, command: Command) -> Reply:
        """
        What Redis says.
        """
        return {b"GET": self.number, b"EVALSHA": 6}[command[0]]

    def subscribed(self) -> None:
        """
        Let the server agree to a subscription.
        """
        self.assertEqual(self.endpoint.wire.commands(), [[b"SUBSCRIBE", CHANNEL]])
        self.endpoint.wire.reply(b"*3\r\n$9\r\nsubscribe\r\n$13\r\ndnsmeta:clear\r\n:1\r\n")
        self.assertTrue(self.channel.listening)

    def hear(self, message: bytes) -> None:
        """
        Have the server push a message.
        """
        self.endpoint.wire.reply(encode([(b"message", CHANNEL, message)]))

    def test_heard(self) -> None:
        """
        What others clear is told, what this instance cleared isn't.
        """
        self.subscribed()
        self.assertEqual(self.told, [])
        self.hear(b"6 other below example.org")
        self.hear(b"7 " + self.channel.origin + b" all")
        self.hear(b"rubbish")
        self.hear(b"8 other all")
        self.assertEqual(self.told, [NAME, Clearing()])
        self.assertEqual((self.channel.heard, self.channel.missed), (2, 0))

    def test_gap(self) -> None:
        """
        A number left out means that something was missed: everything goes.
        """
        self.subscribed()
        self.hear(b"8 other below example.org")
        self.assertEqual((self.told, self.channel.missed), ([Clearing()], 1))

    def test_gapBeforeOwn(self) -> None:
        """
        So it does if the next one heard of is this instance's own.
        """
        self.subscribed()
        self.number = b"7"
        self.hear(b"7 " + self.channel.origin + b" all")
        self.assertEqual((self.told, self.channel.heard), ([Clearing()], 0))
        self.assertEqual((self.channel.number, self.channel.missed), (7, 1))

    def test_away(self) -> None:
        """
        So does a number that changed while nobody listened.
        """
        self.subscribed()
        for number, missed in ((b"5", 0), (b"6", 1), (b"6", 1), (None, 2)):
            self.endpoint.wire.drop()
            self.assertFalse(self.channel.listening)
            self.number = number
            self.clock.advance(0.2)
            self.subscribed()
            self.assertEqual(self.channel.missed, missed, number)
        self.assertEqual(self.told, [Clearing()] * 2)

    def test_checkedLater(self) -> None:
        """
        If the number can't be had at once, it is asked for again.
        """
        self.subscribed()
        self.endpoint.wire.drop()
        self.redis.available = False
        self.clock.advance(0.2)
        self.subscribed()
        self.clock.advance(AGAIN_SECONDS)
        self.redis.available, self.number = True, b"9"
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.channel.missed, 1)

    def test_lateAtFirst(self) -> None:
        """
        Who is long there before the number can be had for the first time, may
        have missed what was cleared, if anything ever was.
        """
        for number, missed in ((b"5", 1), (None, 0)):
            self.setUp()
            self.redis.available, self.number = False, number
            self.subscribed()
            self.clock.advance(LISTEN_SECONDS)
            self.clock.advance(AGAIN_SECONDS)
            self.redis.available = True
            self.clock.advance(AGAIN_SECONDS)
            self.assertEqual((self.channel.missed, len(self.told)), (missed, missed))
            self.assertEqual(self.channel.number, int(number or 0))

    def test_cutOffAtFirst(self) -> None:
        """
        So may who is cut off before it could be had.
        """
        self.redis.available = False
        self.subscribed()
        self.endpoint.wire.drop()
        self.redis.available = True
        self.clock.advance(0.2)
        self.subscribed()
        self.assertEqual(self.channel.missed, 1)

    def test_heardAtFirst(self) -> None:
        """
        So may who hears of one before that, unless it is the first of all.
        """
        for message, told in ((b"6 other all", Clearing()), (b"1 other below example.org", NAME)):
            self.setUp()
            self.redis.available = False
            self.subscribed()
            self.clock.advance(LISTEN_SECONDS)
            self.clock.advance(AGAIN_SECONDS)
            self.hear(message)
            self.assertEqual(self.told, [told])

    def test_resumed(self) -> None:
        """
        What is taken over from an earlier time has missed what was cleared
        since, whether that time or the number is known first; if it isn't known
        at all, anything that ever was.
        """
        for number, missed in ((5, 0), (4, 1), (None, 1)):
            self.setUp()
            self.channel.resume(number)
            self.subscribed()
            self.assertEqual((self.channel.number, self.channel.missed), (5, missed), number)
            self.setUp()
            self.subscribed()
            self.channel.resume(number)
            self.assertEqual((self.channel.number, self.channel.missed), (5, missed), number)

    def test_ownWhileAway(self) -> None:
        """
        What this instance cleared itself it didn't miss.
        """
        self.subscribed()
        self.endpoint.wire.drop()
        self.successResultOf(Deferred.fromCoroutine(self.channel.announce(NAME)))
        self.number = b"6"
        self.clock.advance(0.2)
        self.subscribed()
        self.assertEqual((self.told, self.channel.missed), ([], 0))

    def look(self) -> None:
        """
        Let it look again.
        """
        self.endpoint.wire.reply(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
        self.clock.advance(LISTEN_SECONDS)

    def test_unheard(self) -> None:
        """
        A number that has changed, and is another one still at the next look, has
        a message that is lost: everything goes.
        """
        self.subscribed()
        self.look()
        self.number = b"6"
        self.look()
        self.assertEqual(self.channel.missed, 0)
        self.look()
        self.assertEqual((self.told, self.channel.missed), ([Clearing()], 1))
        self.look()
        self.look()
        self.assertEqual(self.channel.missed, 1)

    def test_heardLate(self) -> None:
        """
        One whose message comes between two looks was on its way.
        """
        self.subscribed()
        self.number = b"6"
        self.look()
        self.hear(b"6 other below example.org")
        self.number = b"7"
        self.look()
        self.hear(b"7 other below example.org")
        self.look()
        self.assertEqual((self.told, self.channel.missed), ([NAME, NAME], 0))

    def test_messageWhileChecking(self) -> None:
        """
        A message that comes before the number does is newer.
        """
        self.subscribed()
        self.endpoint.wire.drop()
        self.clock.advance(0.2)
        self.redis.held = True
        self.subscribed()
        self.hear(b"6 other all")
        self.redis.release()
        self.assertEqual((self.told, self.channel.missed), ([Clearing()], 0))

    def test_silence(self) -> None:
        """
        A connection from which nothing comes is made anew.
        """
        self.subscribed()
        self.clock.advance(LISTEN_SECONDS)
        self.assertEqual(self.endpoint.wire.commands(), [[b"PING"]])
        self.endpoint.wire.reply(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n")
        self.clock.advance(LISTEN_SECONDS)
        self.assertFalse(self.endpoint.wire.aborted)
        self.clock.advance(LISTEN_SECONDS)
        self.assertTrue(self.endpoint.wire.aborted)
        self.clock.advance(0.2)
        self.subscribed()

    def test_refused(self) -> None:
        """
        A server that doesn't let one listen is tried again.
        """
        self.endpoint.wire.reply(b"-NOPERM no\r\n")
        self.assertTrue(self.endpoint.wire.aborted)
        self.clock.advance(0.2)
        self.assertEqual(len(self.endpoint.wires), 2)

    def test_announce(self) -> None:
        """
        A clearing is numbered and published in one.
        """
        self.successResultOf(Deferred.fromCoroutine(self.channel.announce(NAME)))
        message = self.channel.origin + b" below example.org"
        self.assertEqual(
            self.redis.commands,
            [(b"EVALSHA", ANNOUNCE.digest, b"1", b"dnsmeta:clearings", CHANNEL, message)],
        )
        self.redis.available = False
        failing = Deferred.fromCoroutine(self.channel.announce(NAME))
        self.failureResultOf(failing, StoreError)

    def test_stop(self) -> None:
        """
        It can be ended.
        """
        self.subscribed()
        self.successResultOf(self.channel.stop())
        self.clock.advance(10)
        self.assertEqual(len(self.endpoint.wires), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
