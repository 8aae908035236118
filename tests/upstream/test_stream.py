# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.stream}.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dnsguard.answer import Outcome
from dnsguard.interfaces import IUpstream
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.connection import PIPELINED, Connection
from dnsguard.upstream.message import Entropy
from dnsguard.upstream.selection import FailureKind, Standing
from dnsguard.upstream.stream import (
    CONNECTIONS,
    QUEUED,
    SHARED,
    ConnectionPool,
    StreamUpstream,
)
from dnsguard.upstream.wheel import TimerWheel
from dnsguard.wire.layout import scan
from tests.support.upstreams import QNAME, QUESTION, Asked, opt, reply


class Transport(StringTransport):
    """
    A connection that tells its protocol when it is closed.
    """

    protocol: Any
    handle: socket.socket | None = None

    def abortConnection(self) -> None:
        super().abortConnection()
        self.lose()

    def lose(self, reason: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    def getHandle(self) -> socket.socket | None:
        return self.handle

    def queries(self) -> list[bytes]:
        """
        The messages written since the last call.
        """
        stream, messages = self.value(), []
        self.clear()
        while stream:
            (length,) = struct.unpack_from("!H", stream)
            messages.append(stream[2 : 2 + length])
            stream = stream[2 + length :]
        return messages


@implementer(IStreamClientEndpoint)
class Endpoint:
    """
    Connections that are made when the test says so.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, Deferred[Any]]] = []
        self.cancelled = 0
        self.error: Exception | None = None

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.error is not None:
            return fail(self.error)
        made: Deferred[Any] = Deferred(self.cancel)
        self.waiting.append((factory, made))
        return made

    def cancel(self, made: Deferred[Any]) -> None:
        self.cancelled += 1

    def accept(self) -> Transport:
        """
        Make the next connection.
        """
        factory, made = self.waiting.pop(0)
        protocol = factory.buildProtocol(None)
        transport = Transport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        made.callback(protocol)
        return transport


def framed(*messages: bytes) -> bytes:
    """
    Messages as a stream carries them.
    """
    return b"".join(struct.pack("!H", len(message)) + message for message in messages)


class StreamTests(SynchronousTestCase):
    """
    Tests for L{StreamUpstream}, L{ConnectionPool} and L{Connection}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.endpoint = Endpoint()
        self.build()

    def build(self, idleTimeout: float = 30.0, validateBeforeReuse: bool = False) -> None:
        self.standing = Standing()
        self.pool = ConnectionPool(
            self.endpoint,
            clock=self.clock,
            entropy=Entropy(),
            standing=self.standing,
            idleTimeout=idleTimeout,
            validateBeforeReuse=validateBeforeReuse,
        )
        self.upstream = StreamUpstream(
            "first",
            UpstreamAddress.parse("tcp://192.0.2.53"),
            connections=self.pool,
            wheel=TimerWheel(self.clock),
        )

    def ask(self, timeout: float = 10.0) -> Asked:
        return Asked(self.upstream, clock=self.clock, timeout=timeout)

    def connected(self) -> tuple[Asked, Transport]:
        """
        A question asked on a new connection.
        """
        asked = self.ask()
        return asked, self.endpoint.accept()

    def answered(self) -> Transport:
        """
        A connection over which a question was answered.
        """
        asked, transport = self.connected()
        transport.protocol.dataReceived(framed(reply(transport.queries()[0][:2])))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
        return transport

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds / 0.05))

    def test_interface(self) -> None:
        """
        It is an upstream.
        """
        verifyObject(IUpstream, self.upstream)

    def test_goodReply(self) -> None:
        """
        A question waits for the connection, and is asked in plain letters;
        the reply comes octet by octet.
        """
        asked, transport = self.connected()
        (message,) = transport.queries()
        layout = scan(message)
        self.assertEqual(message[12 : 12 + len(QUESTION)], QUESTION)
        self.assertEqual((layout.name, layout.counts), (QNAME, (1, 0, 0, 1)))
        for octet in framed(reply(message[:2])):
            self.assertEqual(asked.answers, [])
            transport.protocol.dataReceived(bytes([octet]))
        self.assertEqual(asked.answer.wire, reply(additional=()))
        self.assertEqual((self.standing.queries, self.standing.replies), (1, 1))

    def test_pipelining(self) -> None:
        """
        A connection carries many questions, answered in any order, with an id
        of its own each.
        """
        first, transport = self.connected()
        others = [self.ask() for _ in range(3)]
        ids = [message[:2] for message in transport.queries()]
        self.assertEqual(len(set(ids)), 4)
        transport.protocol.dataReceived(framed(reply(ids[3]), reply(ids[1])))
        self.assertEqual([len(asked.answers) for asked in [first, *others]], [0, 1, 0, 1])
        transport.protocol.dataReceived(framed(reply(ids[0]), reply(ids[2])))
        self.assertEqual([len(asked.answers) for asked in [first, *others]], [1, 1, 1, 1])

    def test_reuse(self) -> None:
        """
        The next question takes the same connection.
        """
        transport = self.answered()
        self.ask()
        self.assertEqual(len(transport.queries()), 1)
        self.assertEqual(self.endpoint.waiting, [])

    def test_idle(self) -> None:
        """
        An idle connection is closed after its time, a busy one isn't.
        """
        transport = self.answered()
        self.clock.advance(29)
        asked = self.ask(timeout=100)
        self.clock.advance(29)
        self.assertFalse(transport.disconnecting)
        transport.protocol.dataReceived(framed(reply(transport.queries()[0][:2])))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
        self.clock.advance(29)
        self.assertEqual(self.pool.connections, [transport.protocol])
        self.clock.advance(2)
        self.assertEqual(self.pool.connections, [])
        self.assertTrue(transport.disconnected)

    def test_neverIdle(self) -> None:
        """
        An idle limit of 0 is none.
        """
        self.build(idleTimeout=0)
        transport = self.answered()
        self.clock.advance(1e6)
        self.assertEqual(self.pool.connections, [transport.protocol])

    def test_deadConnectionIsReplaced(self) -> None:
        """
        A question written to a kept connection that then closes is asked once
        more on a fresh one, and not a third time.
        """
        transport = self.answered()
        asked = self.ask()
        transport.lose()
        self.assertEqual(asked.answers, [])
        fresh = self.endpoint.accept()
        self.assertEqual(len(fresh.queries()), 1)
        self.assertEqual(self.standing.reconnects, 1)
        fresh.lose()
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertEqual(self.standing.failures[FailureKind.CLOSED], 1)
        self.assertEqual(self.endpoint.waiting, [])

    def test_freshConnectionCloses(self) -> None:
        """
        A fresh connection that closes before any reply, or in the middle of
        one, is a failure.
        """
        asked, transport = self.connected()
        transport.protocol.dataReceived(framed(reply(transport.queries()[0][:2]))[:-5])
        transport.lose()
        self.assertIn("Connection was closed cleanly", asked.answer.extendedError.text)

    def test_refused(self) -> None:
        """
        When no connection can be made, that is the reason; the next question
        tries anew.
        """
        self.endpoint.error = ConnectionRefusedError("nobody there")
        self.assertIn("Connection was refused", self.ask().answer.extendedError.text)
        self.assertEqual(self.standing.failures[FailureKind.UNREACHABLE], 1)
        self.endpoint.error = None
        self.answered()

    def test_timeout(self) -> None:
        """
        A connection over which nothing comes is taken for dead.
        """
        asked, transport = self.connected()
        self.wait(10.2)
        self.assertIn("no reply within 10", asked.answer.extendedError.text)
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.pool.connections, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slowQuestion(self) -> None:
        """
        One over which other replies came since isn't; the late reply is
        counted.
        """
        slow, transport = self.connected()
        (message,) = transport.queries()
        self.wait(5)
        quick = self.ask()
        transport.protocol.dataReceived(framed(reply(transport.queries()[0][:2])))
        self.assertEqual(quick.answer.outcome, Outcome.UPSTREAM)
        self.wait(5.2)
        self.assertEqual(slow.answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertEqual(self.pool.connections, [transport.protocol])
        transport.protocol.dataReceived(framed(reply(message[:2])))
        self.assertEqual((self.standing.late, self.standing.mismatched), (1, 0))

    def test_timeoutWhileConnecting(self) -> None:
        """
        A question that waits for a connection gives up in time, and isn't
        asked when the connection is there.
        """
        asked = self.ask(timeout=2)
        self.wait(2.2)
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM_ERROR)
        transport = self.endpoint.accept()
        self.assertEqual(transport.queries(), [])
        self.clock.advance(31)
        self.assertTrue(transport.disconnected)

    def test_abandoned(self) -> None:
        """
        A question nobody waits for is let go, in the queue and on a
        connection; its id stays reserved until the reply comes.
        """
        self.ask().waiter.cancel()
        transport = self.endpoint.accept()
        self.assertEqual(transport.queries(), [])
        asked = self.ask()
        (message,) = transport.queries()
        asked.waiter.cancel()
        transport.protocol.dataReceived(framed(reply(message[:2])))
        self.assertEqual(self.standing.late, 1)
        self.clock.advance(31)
        self.assertTrue(transport.disconnected)

    def test_swallowingConnection(self) -> None:
        """
        A connection that leaves too many questions unanswered is dropped.
        """
        transport = self.answered()
        for _ in range(PIPELINED + 1):
            self.assertFalse(transport.disconnected)
            self.ask().waiter.cancel()
        self.assertTrue(transport.disconnected)

    def test_unaskedReply(self) -> None:
        """
        A message that answers nothing ends the connection; what waits there
        goes elsewhere.
        """
        transport = self.answered()
        asked = self.ask()
        (message,) = transport.queries()
        transport.protocol.dataReceived(framed(reply(bytes([message[0] ^ 1, message[1]]))))
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.standing.mismatched, 1)
        fresh = self.endpoint.accept()
        fresh.protocol.dataReceived(framed(reply(fresh.queries()[0][:2])))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)

    def test_badReplies(self) -> None:
        """
        A reply that isn't one to the question fails the attempt.
        """
        good = reply()[2:]
        for bad in [
            b"",
            b"\x81",
            good[:11],
            good[:-1],
            b"\x01" + good[1:],
            b"\x89" + good[1:],
            b"\x83" + good[1:],
            good[:2] + b"\0\0" + good[4:],
            good[:10] + b"\4evil" + good[14:],
            good[: 8 + len(QUESTION)] + b"\0\x1c" + good[10 + len(QUESTION) :],
        ]:
            asked = self.ask()
            transport = self.endpoint.accept()
            id = transport.queries()[0][:2]
            transport.protocol.dataReceived(framed(id + bad))
            self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM_ERROR, bad)
            transport.lose()
        self.assertEqual(self.standing.failures[FailureKind.MALFORMED], 10)
        self.assertEqual(self.standing.malformed, 10)

    def test_withoutEDNS(self) -> None:
        """
        A server that refuses EDNS is asked without, and so from then on.
        """
        for bad in [
            reply(answers=(), additional=(), rCode=1),
            reply(answers=(), rCode=4)[:4] + b"\0" * 8,
        ]:
            self.build()
            asked, transport = self.connected()
            (message,) = transport.queries()
            transport.protocol.dataReceived(framed(message[:2] + bad[2:]))
            (message,) = transport.queries()
            self.assertEqual(scan(message).counts, (1, 0, 0, 0))
            transport.protocol.dataReceived(framed(reply(message[:2], additional=())))
            self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
            self.ask()
            self.assertEqual(scan(transport.queries()[0]).counts, (1, 0, 0, 0))

    def test_badVersion(self) -> None:
        """
        After BADVERS one question is asked without EDNS, and no other.
        """
        asked, transport = self.connected()
        (message,) = transport.queries()
        bad = reply(answers=(), additional=[opt(1)])
        transport.protocol.dataReceived(framed(message[:2] + bad[2:]))
        (message,) = transport.queries()
        self.assertEqual(scan(message).counts, (1, 0, 0, 0))
        transport.protocol.dataReceived(framed(reply(message[:2], additional=())))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
        self.ask()
        self.assertEqual(scan(transport.queries()[0]).counts, (1, 0, 0, 1))

    def test_badReplyIsNoBackoff(self) -> None:
        """
        One who replies isn't down, however bad the reply.
        """
        asked, transport = self.connected()
        transport.protocol.dataReceived(framed(transport.queries()[0][:2] + b"\x81"))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertTrue(self.standing.usable(self.clock.seconds()))

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_anyStream(self, data: st.DataObject) -> None:
        """
        Whatever comes over a connection, each question is answered once, or
        waits on it, or on its successor.
        """
        self.setUp()
        asked = [self.ask(), self.ask(), self.ask()]
        transport = self.endpoint.accept()
        ids = [message[:2] for message in transport.queries()]
        for _ in range(data.draw(st.integers(1, 4))):
            message = data.draw(st.sampled_from(ids)) + reply()[2:]
            cut = data.draw(st.integers(0, len(message)))
            message = message[:cut] + data.draw(st.binary(max_size=20))
            if data.draw(st.booleans()):
                message = framed(message)
            if not transport.disconnected:
                transport.protocol.dataReceived(message)
        waiting = len(transport.protocol.waiting) + len(self.pool._queue)
        self.assertEqual(sum(len(each.answers) for each in asked) + waiting, 3)

    def test_moreConnections(self) -> None:
        """
        Under load more connections are opened, up to a bound; then they fill
        up, and then questions fail at once.
        """
        asked = [self.ask() for _ in range(SHARED)]
        self.assertEqual(len(self.endpoint.waiting), 1)
        asked += [self.ask() for _ in range(QUEUED - SHARED)]
        self.assertEqual(len(self.endpoint.waiting), CONNECTIONS)
        self.assertIn("too many", self.ask().answer.extendedError.text)
        transports = [self.endpoint.accept() for _ in range(CONNECTIONS)]
        self.assertEqual([len(each.protocol.waiting) for each in transports], [PIPELINED] * 10)
        self.assertIn("too many", self.ask().answer.extendedError.text)
        id = transports[0].queries()[0][:2]
        transports[0].protocol.dataReceived(framed(reply(id)))
        self.assertEqual(asked[0].answer.outcome, Outcome.UPSTREAM)
        self.assertEqual(self.ask().answers, [])
        self.assertEqual(self.endpoint.waiting, [])

    def test_leastBusy(self) -> None:
        """
        Questions go to the connection with the fewest under way.
        """
        for _ in range(2 * SHARED + 1):
            self.ask()
        transports = [self.endpoint.accept() for _ in range(3)]
        self.assertEqual([len(each.protocol.waiting) for each in transports], [33, 0, 0])
        for _ in range(2):
            self.ask()
        self.assertEqual([len(each.protocol.waiting) for each in transports], [33, 1, 1])

    def test_queueIsFedFromReplies(self) -> None:
        """
        A reply makes room on its connection for a question in the queue, if
        the connections asked for aren't there yet.
        """
        asked = [self.ask() for _ in range(PIPELINED + 1)]
        transport = self.endpoint.accept()
        queries = transport.queries()
        self.assertEqual(len(queries), PIPELINED)
        transport.protocol.dataReceived(framed(reply(queries[0][:2])))
        self.assertEqual(len(transport.queries()), 1)
        self.assertEqual(len(asked[0].answers), 1)

    def test_validation(self) -> None:
        """
        Where that is wanted, a kept connection whose other side has closed is
        noticed before it is used.
        """
        self.build(validateBeforeReuse=True)
        transport = self.answered()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        ours.setblocking(False)
        transport.handle = ours
        self.ask()
        self.assertEqual(len(transport.queries()), 1)
        transport.protocol.dataReceived(framed(reply(transport.protocol.waiting.popitem()[0])))
        self.assertTrue(transport.disconnected)

        transport = self.answered()
        transport.handle = ours
        theirs.close()
        self.ask()
        self.assertTrue(transport.disconnected)
        self.assertEqual(len(self.endpoint.waiting), 1)
        ours.close()
        self.assertFalse(transport.protocol.isUsable())

    def test_retire(self) -> None:
        """
        A retired pool closes idle connections at once and others when they
        are.
        """
        idle = self.answered()
        self.upstream.retire()
        self.assertTrue(idle.disconnected)
        self.build()
        asked, busy = self.connected()
        self.upstream.retire()
        self.assertFalse(busy.disconnected)
        busy.protocol.dataReceived(framed(reply(busy.queries()[0][:2])))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM)
        self.assertTrue(busy.disconnected)

    def test_close(self) -> None:
        """
        Closing drops connections and stops making them; what is under way
        fails, and what comes later.
        """
        asked, _ = self.connected()
        self.pool._connect()
        self.successResultOf(self.upstream.close())
        self.assertEqual((self.pool.connections, self.endpoint.cancelled), ([], 1))
        self.assertEqual(asked.answer.outcome, Outcome.UPSTREAM_ERROR)
        self.assertIn("shut down", self.ask().answer.extendedError.text)

    def test_closeWaits(self) -> None:
        """
        Closing isn't over before the connections are closed.
        """
        transport = self.answered()
        self.patch(transport, "abortConnection", lambda: None)
        closed = self.upstream.close()
        self.assertNoResult(closed)
        transport.lose()
        self.successResultOf(closed)
        self.assertIsInstance(transport.protocol, Connection)
