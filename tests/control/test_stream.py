# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.stream}.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.control.route import Call, Reply, Role, Route
from dnsguard.errors import StoreError
from tests.support.control import Connection, Fixed, PromptMemoryReactor, factoryOf

REQUEST = b"GET /api/v1/x HTTP/1.1\r\nAuthorization: Bearer viewer\r\n\r\n"


class StreamTests(SynchronousTestCase):
    """
    Tests for answers in pieces.
    """

    def setUp(self) -> None:
        self.reactor = PromptMemoryReactor()
        self.next: Deferred[bytes] = Deferred()
        self.given = 0
        self.closed = False

    def connect(self) -> Connection:
        """
        Ask for pieces.
        """
        route = Route("GET", "/x", self.handle, Role.VIEWER, "X.", contentType="text/plain")
        connection = Connection(factoryOf(self.reactor, Fixed([route])))
        connection.send(REQUEST)
        return connection

    def handle(self, call: Call) -> Reply:
        """
        Give pieces.
        """
        return Reply(pieces=self.pieces(), contentType="text/plain")

    async def pieces(self) -> AsyncIterator[bytes]:
        """
        Give what the test has.
        """
        try:
            while True:
                piece = await self.next
                if not piece:
                    return
                self.given += 1
                yield piece
        finally:
            self.closed = True

    def give(self, piece: bytes) -> None:
        """
        Have a piece given.
        """
        now, self.next = self.next, Deferred()
        now.callback(piece)

    def test_asTheyCome(self) -> None:
        """
        Pieces are sent as they come, and the answer ends with the last one.
        """
        connection = self.connect()
        self.give(b"one")
        self.assertIn(b"one", connection.transport.value())
        self.give(b"two")
        self.give(b"")
        (response,) = connection.responses()
        self.assertEqual((response.status, response.body), (200, b"onetwo"))
        self.assertEqual(response.headers["content-type"], "text/plain")

    def test_clientLeaves(self) -> None:
        """
        When the client goes no more pieces are asked for, and whoever makes
        them is told.
        """
        connection = self.connect()
        self.give(b"one")
        connection.leave()
        self.assertTrue(self.closed)

    def test_slowClient(self) -> None:
        """
        A client that takes no more isn't sent more, until it does.
        """
        connection = self.connect()
        connection.channel.pauseProducing()
        self.give(b"one")
        self.give(b"two")
        self.assertNotIn(b"two", connection.transport.value())
        connection.channel.resumeProducing()
        self.give(b"three")
        self.give(b"")
        self.assertTrue(self.closed)

    def test_breaksOff(self) -> None:
        """
        When it can't go on the connection is cut, so that nobody takes half of
        it for the whole.
        """
        connection = self.connect()
        self.give(b"one")
        self.next.errback(StoreError("duckdb", "gone"))
        self.assertTrue(connection.transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)
        self.assertNotIn(b"\r\n0\r\n", connection.transport.value())
        connection.leave()
