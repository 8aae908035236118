# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.connection}.
"""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dnsguard.query import Transport
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.server.connection import StreamProtocol
from dnsguard.server.stream import StreamFactory, StreamLimits
from tests.support.answering import FakeReplay, RecordingDoor

LIMITS = StreamLimits(idleSeconds=10, readSeconds=5, writeSeconds=3, pipelined=4)
PEER = IPv4Address("TCP", "192.0.2.7", 5353)


def request(number: int, size: int = 17) -> bytes:
    """
    A message that starts with a number.
    """
    return struct.pack("!H", number) + bytes(size - 2)


def framed(*messages: bytes) -> bytes:
    """
    Messages as a stream has them.
    """
    return b"".join(struct.pack("!H", len(message)) + message for message in messages)


def unframed(octets: bytes) -> list[bytes]:
    """
    The messages of a stream.
    """
    messages = []
    while octets:
        end = 2 + int.from_bytes(octets[:2], "big")
        messages.append(octets[2:end])
        octets = octets[end:]
    return messages


class StreamTestCase(SynchronousTestCase):
    """
    One connection, whose server answers when it is told to.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.door = RecordingDoor(drop=b"\xff\xff")
        self.factory = StreamFactory(self.door, Transport.TCP, LIMITS, self.clock)
        self.counters = self.factory.counters
        self.connect()

    def connect(self) -> None:
        """
        Make the connection.
        """
        protocol = self.factory.buildProtocol(PEER)
        assert protocol is not None
        self.protocol: StreamProtocol = protocol
        self.transport = StringTransport(peerAddress=PEER)
        self.protocol.makeConnection(self.transport)

    def lose(self) -> None:
        """
        Lose it.
        """
        self.protocol.connectionLost(Failure(ConnectionError()))

    @property
    def isPaused(self) -> bool:
        """
        Is the client not read from?
        """
        return self.transport.producerState == "paused"

    def answer(self, place: int) -> None:
        """
        Answer one of the requests.
        """
        self.door.answers[place](b"answer" + self.door.requests[place][:2])

    def replies(self) -> list[bytes]:
        """
        What the client has got.
        """
        return unframed(self.transport.value())


class FramingTests(StreamTestCase):
    """
    Tests for messages on streams.
    """

    def test_interfaces(self) -> None:
        """
        It is a half-closeable protocol and the producer of its replies.
        """
        verifyObject(IHalfCloseableProtocol, self.protocol)
        verifyObject(IPushProducer, self.protocol)
        self.assertIs(self.transport.producer, self.protocol)
        self.assertTrue(self.transport.streaming)

    def test_request(self) -> None:
        """
        A request is handed on with the client's address and the transport.
        """
        self.protocol.dataReceived(framed(request(1)))
        self.assertEqual(self.door.requests, [request(1)])
        self.assertEqual(self.door.addresses, [b"\xc0\0\2\7"])
        self.assertEqual(self.door.transports, [Transport.TCP])

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.integers(12, 60), min_size=1, max_size=4),
        st.lists(st.integers(1, 30), min_size=1),
    )
    def test_anyPieces(self, sizes: list[int], pieces: list[int]) -> None:
        """
        However a stream is cut into pieces, the same messages come of it.
        """
        self.setUp()
        messages = [request(number, size) for number, size in enumerate(sizes)]
        octets = framed(*messages)
        while octets:
            piece = pieces[0]
            pieces = pieces[1:] + pieces[:1]
            self.protocol.dataReceived(octets[:piece])
            octets = octets[piece:]
        self.assertEqual(self.door.requests, messages)
        self.assertFalse(self.transport.disconnecting)

    def test_outOfOrder(self) -> None:
        """
        Replies are written in the order in which they come, each in one piece.
        """
        writes: list[bytes] = []
        self.transport.write = writes.append  # type: ignore[method-assign]
        self.protocol.dataReceived(framed(request(1), request(2), request(3)))
        for place in (2, 0, 1):
            self.answer(place)
        self.assertEqual(
            writes, [framed(b"answer\0\3"), framed(b"answer\0\1"), framed(b"answer\0\2")]
        )

    def test_notARequest(self) -> None:
        """
        A frame too short for a header ends the connection once what came
        before it is answered; what follows isn't read.
        """
        for scrap in (b"", b"\0", bytes(11)):
            self.setUp()
            self.protocol.dataReceived(framed(request(1), scrap, request(2)))
            self.protocol.dataReceived(framed(request(3)))
            self.assertEqual(self.door.requests, [request(1)])
            self.assertFalse(self.transport.disconnecting)
            self.answer(0)
            self.assertTrue(self.transport.disconnecting)
            self.assertEqual(self.replies(), [b"answer\0\1"])
            self.assertEqual(self.counters.broken, 1)

    def test_manyScraps(self) -> None:
        """
        A thousand empty frames are one too many after the first.
        """
        self.protocol.dataReceived(bytes(2000))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.counters.broken, 1)

    def test_dropped(self) -> None:
        """
        A message that the server drops, such as a response, ends the
        connection too.
        """
        self.protocol.dataReceived(framed(request(0xFFFF)))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.counters.broken, 1)

    def test_largest(self) -> None:
        """
        A message of 65,535 octets is taken.
        """
        self.protocol.dataReceived(framed(request(1, 65535)))
        self.assertEqual(len(self.door.requests[0]), 65535)

    def test_noDelay(self) -> None:
        """
        Over TCP a reply doesn't wait for the client to confirm the one before.
        """
        set_: list[bool] = []

        @implementer(ITCPTransport)
        class TCPTransport(StringTransport):  # type: ignore[misc]
            def setTcpNoDelay(self, enabled: bool) -> None:
                set_.append(enabled)

        protocol = self.factory.buildProtocol(PEER)
        assert protocol is not None
        protocol.makeConnection(TCPTransport())
        self.assertEqual(set_, [True])


class PipelineTests(StreamTestCase):
    """
    Tests for many queries under way.
    """

    def test_limit(self) -> None:
        """
        Beyond the limit queries are neither handed on nor read; each reply
        makes room for one.
        """
        self.protocol.dataReceived(framed(*map(request, range(6))))
        self.assertEqual(len(self.door.requests), 4)
        self.assertTrue(self.isPaused)
        self.assertEqual(self.counters.paused, 1)
        self.answer(0)
        self.assertEqual(len(self.door.requests), 5)
        self.assertTrue(self.isPaused)
        self.answer(1)
        self.answer(2)
        self.assertEqual(len(self.door.requests), 6)
        self.assertFalse(self.isPaused)
        for place in (3, 4, 5):
            self.answer(place)
        self.assertEqual(len(self.replies()), 6)

    def test_answeredAtOnce(self) -> None:
        """
        A thousand queries in one piece that are answered at once all are.
        """
        self.door.immediate = True
        self.protocol.dataReceived(framed(*map(request, range(1000))))
        self.assertEqual(len(self.replies()), 1000)
        self.assertFalse(self.isPaused)

    def test_slowReader(self) -> None:
        """
        A client that leaves replies unread isn't read from, however quickly
        its queries could be answered, until it has caught up.
        """
        self.door.immediate = True
        self.protocol.pauseProducing()
        self.protocol.dataReceived(framed(request(1)))
        self.assertTrue(self.isPaused)
        self.assertEqual(self.door.requests, [])
        self.protocol.resumeProducing()
        self.assertFalse(self.isPaused)
        self.assertEqual(len(self.replies()), 1)

    def test_pausedInTheMiddle(self) -> None:
        """
        When the transport has enough in the middle of a piece, the rest of
        the piece waits.
        """
        self.door.immediate = True
        write = self.transport.write

        def writeAndPause(octets: bytes) -> None:
            write(octets)
            self.protocol.pauseProducing()

        self.transport.write = writeAndPause  # type: ignore[method-assign]
        self.protocol.dataReceived(framed(request(1), request(2)))
        self.assertEqual(len(self.replies()), 1)
        self.assertTrue(self.isPaused)
        self.protocol.resumeProducing()
        self.assertEqual(len(self.replies()), 2)


class ReplayTests(StreamTestCase):
    """
    Tests for replies from the replay store.
    """

    def setUp(self) -> None:
        super().setUp()
        self.replay = FakeReplay()
        self.factory = StreamFactory(
            self.door, Transport.TCP, LIMITS, self.clock, replay=self.replay
        )
        self.counters = self.factory.counters
        self.connect()

    def know(self, *numbers: int, size: int = 20) -> None:
        """
        Have the store know replies to some requests.
        """
        facts: ReplayedAnswer = None  # type: ignore[assignment]
        for number in numbers:
            self.replay.remember(request(number), request(number, size), facts, 1, 0)

    def writes(self) -> list[bytes]:
        """
        Note each write from now on.
        """
        noted: list[bytes] = []
        write = self.transport.write

        def note(octets: bytes) -> None:
            noted.append(octets)
            write(octets)

        self.transport.write = note  # type: ignore[method-assign]
        return noted

    def test_replayed(self) -> None:
        """
        What the store knows is written at once, in one piece; the server isn't
        bothered, and the store is told who asks, and when.
        """
        self.know(1, 2, 3)
        writes = self.writes()
        self.clock.advance(4)
        self.protocol.dataReceived(framed(request(1), request(2), request(3)))
        self.assertEqual(writes, [framed(*(request(number, 20) for number in (1, 2, 3)))])
        self.assertEqual((self.door.requests, self.counters.replayed), ([], 3))
        self.assertEqual(self.replay.lookups[0], (request(1), b"\xc0\0\2\7", 4))

    def test_unknown(self) -> None:
        """
        What it doesn't know goes to the server, once; what is behind it
        doesn't wait for that.
        """
        self.know(1, 3)
        self.protocol.dataReceived(framed(*map(request, (1, 2, 3, 4))))
        self.assertEqual(self.replies(), [request(1, 20), request(3, 20)])
        self.assertEqual(self.door.requests, [request(2), request(4)])
        self.assertEqual(len(self.replay.lookups), 4)
        self.answer(1)
        self.answer(0)
        self.assertEqual(self.replies()[2:], [b"answer\0\4", b"answer\0\2"])

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(st.integers(0, 9), max_size=20),
        st.sets(st.integers(0, 9)),
        st.lists(st.integers(1, 30)),
    )
    def test_anyPieces(self, numbers: list[int], known: set[int], pieces: list[int]) -> None:
        """
        In whatever pieces they come: each query is answered once, by the store
        or by the server.
        """
        self.setUp()
        self.door.immediate = True
        self.know(*known)
        octets = framed(*map(request, numbers))
        for size in [*pieces, len(octets)]:
            self.protocol.dataReceived(octets[:size])
            octets = octets[size:]
        expected = [
            request(number, 20) if number in known else b"reply to " + request(number)[:2]
            for number in numbers
        ]
        self.assertEqual(self.replies(), expected)
        self.assertEqual(self.counters.replayed, sum(number in known for number in numbers))
        self.lose()

    def test_pausedInTheMiddle(self) -> None:
        """
        Between two portions of replies it is seen whether the client reads
        them; when it doesn't, the rest of its queries waits.
        """
        self.know(1, size=10_000)
        writes = self.writes()
        write = self.transport.write

        def writeAndPause(octets: bytes) -> None:
            write(octets)
            self.protocol.pauseProducing()

        self.transport.write = writeAndPause  # type: ignore[method-assign]
        self.protocol.dataReceived(framed(*[request(1)] * 10))
        self.assertTrue(self.isPaused)
        self.assertEqual([len(each) for each in writes], [4 * 10_002])
        for expected in (8, 10):
            self.protocol.resumeProducing()
            self.assertEqual(len(self.replies()), expected)

    def test_manyPortions(self) -> None:
        """
        A client that reads gets all there is.
        """
        self.know(1, size=10_000)
        self.protocol.dataReceived(framed(*[request(1)] * 50))
        self.assertEqual(len(self.replies()), 50)
        self.assertEqual(len(self.replay.lookups), 50)

    def test_full(self) -> None:
        """
        Behind as many queries under way as there may be, what could be
        replayed waits as well.
        """
        self.know(9)
        self.protocol.dataReceived(framed(*map(request, (1, 2, 3, 4, 9))))
        self.assertTrue(self.isPaused)
        self.assertEqual(self.replies(), [])
        self.answer(2)
        self.assertFalse(self.isPaused)
        self.assertEqual(self.replies(), [b"answer\0\3", request(9, 20)])

    def test_idle(self) -> None:
        """
        A client has its time anew after each of them.
        """
        self.know(1)
        for _ in range(3):
            self.clock.advance(9)
            self.protocol.dataReceived(framed(request(1)))
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(10)
        self.assertTrue(self.transport.disconnecting)

    def test_halfClosed(self) -> None:
        """
        A client that ends behind its queries has its replies, and the end.
        """
        self.know(1)
        self.protocol.dataReceived(framed(request(1), request(1)))
        self.assertFalse(self.transport.disconnecting)
        self.protocol.readConnectionLost()
        self.assertEqual(len(self.replies()), 2)
        self.assertTrue(self.transport.disconnecting)

    def test_closing(self) -> None:
        """
        A connection that is being closed replays nothing.
        """
        self.know(1)
        self.protocol.finish()
        self.protocol.dataReceived(framed(request(1)))
        self.assertEqual((self.replies(), self.replay.lookups), ([], []))

    def test_brokenStore(self) -> None:
        """
        A store that is broken costs time, not answers, and is complained of
        once.
        """
        self.replay.lookupStream = None  # type: ignore[method-assign,assignment]
        self.protocol.dataReceived(framed(request(1), request(2)))
        self.assertEqual(self.door.requests, [request(1), request(2)])
        self.assertEqual(self.counters.lookupErrors, 2)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


class TimeTests(StreamTestCase):
    """
    Tests for what takes too long.
    """

    def test_idle(self) -> None:
        """
        A connection on which nothing happens is closed, not cut.
        """
        self.clock.advance(9.9)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual((self.counters.idle, self.transport.disconnected), (1, False))

    def test_idleAfterReplies(self) -> None:
        """
        The time starts anew with each reply, and stands still while a query
        is under way.
        """
        self.clock.advance(9)
        self.protocol.dataReceived(framed(request(1)))
        self.clock.advance(60)
        self.assertFalse(self.transport.disconnecting)
        self.answer(0)
        self.clock.advance(9)
        self.door.immediate = True
        self.protocol.dataReceived(framed(request(2)))
        self.clock.advance(9.9)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.disconnecting)

    def test_slowSender(self) -> None:
        """
        A message must be complete in time; single octets buy none.
        """
        for octet in framed(request(1))[:5]:
            self.protocol.dataReceived(bytes([octet]))
            self.assertFalse(self.transport.disconnecting)
            self.clock.advance(1)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual((self.counters.slow, self.counters.idle), (1, 0))

    def test_slowSenderWithQueriesUnderway(self) -> None:
        """
        That holds while other queries are under way, and those are answered.
        """
        self.protocol.dataReceived(framed(request(1)) + b"\0")
        self.clock.advance(5)
        self.assertFalse(self.transport.disconnecting)
        self.assertEqual(self.counters.slow, 1)
        self.answer(0)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.replies(), [b"answer\0\1"])

    def test_eachMessageHasItsTime(self) -> None:
        """
        A client that sends one message after the other may do so for long.
        """
        self.door.immediate = True
        octets = framed(request(1))
        self.protocol.dataReceived(octets[:3])
        for _ in range(5):
            self.clock.advance(4)
            self.protocol.dataReceived(octets[3:] + octets[:3])
        self.assertFalse(self.transport.disconnecting)
        self.assertEqual(len(self.replies()), 5)

    def test_fullIsntSlow(self) -> None:
        """
        What isn't read for there being too many queries isn't held against
        the client.
        """
        self.protocol.dataReceived(framed(*map(request, range(5))) + b"\0")
        self.clock.advance(100)
        self.assertFalse(self.transport.disconnecting)
        self.answer(0)
        self.answer(1)
        self.clock.advance(5)
        self.assertEqual(self.counters.slow, 1)

    def test_unread(self) -> None:
        """
        A client that leaves replies unread for too long is cut off.
        """
        self.protocol.pauseProducing()
        self.clock.advance(2.9)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.counters.stalled, 1)

    def test_unreadAtTheEnd(self) -> None:
        """
        So is one that leaves the last replies unread.
        """
        self.protocol.finish()
        self.assertTrue(self.transport.disconnecting)
        self.clock.advance(3)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.counters.stalled, 1)

    def test_noTimerLeft(self) -> None:
        """
        A lost connection leaves no timer.
        """
        self.protocol.dataReceived(b"\0")
        self.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EndTests(StreamTestCase):
    """
    Tests for the end of connections.
    """

    def test_halfClosed(self) -> None:
        """
        A client that has sent its last octet gets its replies, those to
        queries that hadn't been taken yet among them, and then the end.
        """
        self.protocol.dataReceived(framed(*map(request, range(6))))
        self.protocol.readConnectionLost()
        for place in range(6):
            self.assertFalse(self.transport.disconnecting)
            self.answer(place)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(len(self.replies()), 6)

    def test_halfClosedAndDone(self) -> None:
        """
        With nothing left to say that is the end at once, even in the middle
        of a message.
        """
        self.protocol.dataReceived(b"\0\x20part")
        self.protocol.readConnectionLost()
        self.assertTrue(self.transport.disconnecting)

    def test_neverReadAfterTheEnd(self) -> None:
        """
        Where nothing comes any more nothing is read.
        """
        self.protocol.dataReceived(framed(*map(request, range(4))))
        self.protocol.readConnectionLost()
        self.answer(0)
        self.assertTrue(self.isPaused)

    def test_cantWrite(self) -> None:
        """
        Where nothing can be written there is no point in going on.
        """
        self.protocol.writeConnectionLost()
        self.assertTrue(self.transport.disconnected)

    def test_replyToNobody(self) -> None:
        """
        A reply to a client that has gone is reported as not sent.
        """
        self.protocol.dataReceived(framed(request(1), request(2)))
        self.lose()
        self.assertEqual([respond(b"late") for respond in self.door.answers], [False, False])
        self.assertEqual(self.transport.value(), b"")

    def test_finish(self) -> None:
        """
        Told to finish, it takes nothing more, answers what is under way and
        closes.
        """
        self.protocol.dataReceived(framed(request(1)))
        self.protocol.finish()
        self.protocol.finish()
        self.assertTrue(self.isPaused)
        self.protocol.dataReceived(framed(request(2)))
        self.answer(0)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.replies(), [b"answer\0\1"])
        self.assertIsNone(self.transport.producer)
