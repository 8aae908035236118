# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.channel}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.channel import (
    LINGER_OCTETS,
    LINGER_SECONDS,
    MAX_BODY,
    MAX_BUFFERED,
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_ADDRESS,
    REQUEST_SECONDS,
    ControlFactory,
)
from dnsguard.control.route import Call, Role, Route
from dnsguard.control.schema import ANYTHING
from tests.support.control import Connection, Fixed, PromptMemoryReactor, factoryOf


class ChannelTests(SynchronousTestCase):
    """
    Tests for L{dnsguard.control.channel.ControlChannel}.
    """

    def setUp(self) -> None:
        self.reactor = PromptMemoryReactor()
        self.calls: list[Call] = []
        self.result: Any = {"ok": True}
        self.factory: ControlFactory = factoryOf(
            self.reactor,
            Fixed(
                [
                    Route(
                        "POST",
                        "/x",
                        self.handle,
                        Role.NOBODY,
                        "X.",
                        body=ANYTHING,
                        bodyMost=MAX_BODY,
                    )
                ]
            ),
        )

    def handle(self, call: Call) -> Any:
        """
        Note a call.
        """
        self.calls.append(call)
        return self.result

    def test_hugeBodyIsRefusedAtItsHead(self) -> None:
        """
        A body of a gigabyte is refused before any of it has come; what comes
        all the same is thrown away, and then the connection ends.
        """
        connection = Connection(self.factory)
        connection.send(b"POST /api/v1/x HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n")
        (response,) = connection.responses()
        self.assertEqual((response.status, response.json), (413, {"error": "content too large"}))
        self.assertTrue(connection.transport.halfClosed)
        for _ in range(64):
            connection.send(b"x" * 65536)
        self.assertEqual(len(connection.responses()), 1)
        self.reactor.advance(LINGER_SECONDS)
        self.assertTrue(connection.transport.aborted)
        self.assertEqual(self.calls, [])

    def test_hugeChunksAreRefused(self) -> None:
        """
        A body that doesn't say how large it is is refused as soon as it is too
        large, and no more than that is kept.
        """
        connection = Connection(self.factory)
        connection.send(b"POST /api/v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(MAX_BODY // 65536 + 5):
            connection.send(chunk)
        self.assertEqual([each.status for each in connection.responses()], [413])
        self.assertLessEqual(connection.channel.requests[0].content.tell(), MAX_BODY)
        self.assertEqual(self.factory.refused[413], 1)

    def test_largestBodyIsTaken(self) -> None:
        """
        A body just as large as allowed is taken.
        """
        body = b'"' + b"x" * (MAX_BODY - 2) + b'"'
        connection = Connection(self.factory)
        connection.send(b"POST /api/v1/x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % MAX_BODY + body)
        self.assertEqual(connection.responses()[0].status, 200)
        self.assertEqual(len(self.calls[0].body), MAX_BODY - 2)

    def test_slowRequestIsCutOff(self) -> None:
        """
        A request that comes octet by octet is given so many seconds in all, not
        anew for each of them: head and body alike.
        """
        for octets in (
            b"POST /api/v1/x HTTP/1.1\r\nX: " + b"y" * 100,
            b"POST /api/v1/x HTTP/1.1\r\nContent-Length: 100\r\n\r\n",
        ):
            connection = Connection(self.factory)
            connection.send(octets)
            for _ in range(int(REQUEST_SECONDS)):
                self.assertEqual(connection.responses(), [])
                self.reactor.advance(1.0)
                connection.send(b"z")
            self.assertEqual(connection.responses()[0].status, 408)
            self.reactor.advance(LINGER_SECONDS)
            self.assertTrue(connection.transport.aborted)

    def test_lingeringIsBounded(self) -> None:
        """
        Of a refused body so much is taken in, and no more: whoever goes on
        sending is cut off, though the time for it isn't up yet.
        """
        connection = Connection(self.factory)
        connection.send(b"POST /api/v1/x HTTP/1.1\r\nContent-Length: 1073741824\r\n\r\n")
        self.assertEqual(connection.responses()[0].status, 413)
        connection.send(b"x" * LINGER_OCTETS)
        self.assertFalse(connection.transport.aborted)
        connection.send(b"x")
        self.assertTrue(connection.transport.aborted)

    def test_longLines(self) -> None:
        """
        A path or a header line that is too long is refused in so many words,
        whether its end has come or not; nobody hangs up on the client.
        """
        long = b"x" * 20_000
        for octets, status in (
            (b"GET /" + long + b" HTTP/1.1\r\n\r\n", 414),
            (b"GET /" + long, 414),
            (b"GET /api/v1/x HTTP/1.1\r\nX: " + long + b"\r\n\r\n", 431),
        ):
            connection = Connection(self.factory)
            connection.send(octets)
            (response,) = connection.responses()
            self.assertEqual(response.status, status)
            self.assertIn("error", response.json)
            self.assertTrue(connection.transport.halfClosed)
        self.assertEqual(self.calls, [])
        self.assertEqual(self.factory.refused, {414: 2, 431: 1})

    def test_idleIsNoSlowRequest(self) -> None:
        """
        Between requests a connection may be idle for longer; and an answer may
        take as long as it takes.
        """
        connection = Connection(self.factory)
        request = b"POST /api/v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
        connection.send(request)
        self.reactor.advance(REQUEST_SECONDS * 2)
        self.result = Deferred()
        connection.send(request)
        self.reactor.advance(REQUEST_SECONDS * 20)
        self.result.callback({"late": True})
        self.assertEqual([each.status for each in connection.responses()], [200, 200])
        self.reactor.advance(61.0)
        self.assertTrue(connection.transport.disconnecting)

    def test_connectionsAreCounted(self) -> None:
        """
        One address has so many connections, all have so many; further ones are
        closed at once, until others leave.
        """
        mine = [Connection(self.factory) for _ in range(MAX_CONNECTIONS_PER_ADDRESS)]
        self.assertIsNone(Connection(self.factory).channel)
        for number in range(MAX_CONNECTIONS - len(mine)):
            self.assertIsNotNone(Connection(self.factory, f"192.0.2.{number}").channel)
        self.assertIsNone(Connection(self.factory, "192.0.2.250").channel)
        self.assertEqual(self.factory.refused[0], 2)
        mine[0].leave()
        self.assertIsNotNone(Connection(self.factory).channel)

    def test_allBodiesTogether(self) -> None:
        """
        Many bodies at once, each of them small enough, take no more than so
        much memory; it is given back when they are answered or their clients
        leave.
        """
        head = b"POST /api/v1/x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % MAX_BODY
        waiting = [Connection(self.factory, f"192.0.2.{number}") for number in range(17)]
        for connection in waiting:
            connection.send(head + b"x" * (MAX_BODY - 1))
        self.assertLessEqual(self.factory.buffered, MAX_BUFFERED)
        statuses = [[each.status for each in connection.responses()] for connection in waiting]
        self.assertEqual(statuses, [[]] * 16 + [[503]])
        for connection in waiting:
            connection.leave()
        self.assertEqual(self.factory.buffered, 0)
        connection = Connection(self.factory)
        for _ in range(40):
            connection.send(head + b'"' + b"x" * (MAX_BODY - 2) + b'"')
        self.assertEqual([each.status for each in connection.responses()], [200] * 40)
        self.assertEqual(self.factory.buffered, 0)

    def test_closeIdle(self) -> None:
        """
        Idle connections are closed at once, others after their answer.
        """
        idle, busy = Connection(self.factory), Connection(self.factory)
        self.result = Deferred()
        busy.send(b"POST /api/v1/x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        self.factory.closeIdle()
        self.assertTrue(idle.transport.disconnecting)
        self.assertFalse(busy.transport.disconnecting)
        self.result.callback({})
        self.assertEqual(busy.responses()[0].status, 200)
        self.assertTrue(busy.transport.disconnecting)
