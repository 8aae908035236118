# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.redis.sentinel}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.redis.client import Credentials
from dnsguard.redis.endpoints import Place
from dnsguard.redis.sentinel import ASK_SECONDS, SentinelEndpoint
from tests.redis.wires import FakeEndpoint

ONE, TWO, MASTER = (Place("192.0.2.1", port) for port in (26379, 26380, 6379))


class Nothing(Factory):
    """
    Makes a protocol that does nothing.
    """

    def buildProtocol(self, addr: Any) -> Any:
        """
        Give a mark.
        """
        return Mark()


class Mark:
    """
    A protocol that does nothing.
    """

    def makeConnection(self, transport: Any) -> None:
        pass


class SentinelEndpointTests(SynchronousTestCase):
    """
    Tests for L{SentinelEndpoint}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoints = {place: FakeEndpoint() for place in (ONE, TWO, MASTER)}
        self.endpoint = SentinelEndpoint([ONE, TWO], "house", self.endpointOf, self.clock)

    def endpointOf(self, place: Place) -> IStreamClientEndpoint:
        """
        The way to a place; there are three.
        """
        return self.endpoints[place]

    def answer(self, place: Place, octets: bytes) -> None:
        """
        Have a Sentinel answer.
        """
        wire = self.endpoints[place].wire
        self.assertEqual(wire.commands(), [[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"house"]])
        wire.reply(octets)
        self.assertTrue(wire.aborted)

    def test_asked(self) -> None:
        """
        A Sentinel says where the master is, and is hung up on.
        """
        connecting = self.endpoint.connect(Nothing())
        self.answer(ONE, b"*2\r\n$9\r\n192.0.2.1\r\n$4\r\n6379\r\n")
        self.assertIsInstance(self.successResultOf(connecting), Mark)
        self.assertEqual(self.endpoint.master, MASTER)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_next(self) -> None:
        """
        One that isn't there, says nothing, or knows nothing, is no reason to
        give up.
        """
        self.endpoints[ONE].refusing = ConnectionRefusedError()
        connecting = self.endpoint.connect(Nothing())
        self.answer(TWO, b"*2\r\n$9\r\n192.0.2.1\r\n$4\r\n6379\r\n")
        self.successResultOf(connecting)

        self.endpoints[ONE].refusing = None
        connecting = self.endpoint.connect(Nothing())
        self.clock.advance(ASK_SECONDS)
        self.answer(TWO, b"*-1\r\n")
        error = self.failureResultOf(connecting, StoreError).value
        self.assertIn("knows no master", str(error))

    def test_turns(self) -> None:
        """
        Each attempt begins with another one: the first may be wrong.
        """
        for place in (ONE, TWO, ONE):
            connecting = self.endpoint.connect(Nothing())
            self.answer(place, b"*2\r\n$9\r\n192.0.2.1\r\n$4\r\n6379\r\n")
            self.successResultOf(connecting)

    def test_password(self) -> None:
        """
        Sentinels that want one are told who asks; one that says no, or nothing,
        isn't the last.
        """
        endpoint = SentinelEndpoint(
            [ONE, TWO, ONE],
            "house",
            self.endpointOf,
            self.clock,
            credentials=Credentials("guard", "secret"),
        )
        connecting = endpoint.connect(Nothing())
        wire = self.endpoints[ONE].wire
        self.assertEqual(wire.commands(), [[b"AUTH", b"guard", b"secret"]])
        wire.reply(b"-WRONGPASS no\r\n")
        self.assertTrue(wire.closing)
        wire.drop()
        self.endpoints[TWO].wire.commands()
        self.clock.advance(ASK_SECONDS)
        self.assertTrue(self.endpoints[TWO].wire.aborted)
        wire = self.endpoints[ONE].wire
        wire.commands()
        wire.reply(b"+OK\r\n")
        self.answer(ONE, b"*2\r\n$9\r\n192.0.2.1\r\n$4\r\n6379\r\n")
        self.assertIsInstance(self.successResultOf(connecting), Mark)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """
        That a password is wrong is said.
        """
        endpoint = SentinelEndpoint(
            [ONE], "house", self.endpointOf, self.clock, credentials=Credentials("", "wrong")
        )
        connecting = endpoint.connect(Nothing())
        self.assertEqual(self.endpoints[ONE].wire.commands(), [[b"AUTH", b"wrong"]])
        self.endpoints[ONE].wire.reply(b"-WRONGPASS invalid password\r\n")
        self.endpoints[ONE].wire.drop()
        error = self.failureResultOf(connecting, StoreError).value
        self.assertIn("WRONGPASS invalid password", str(error))

    def test_nonsense(self) -> None:
        """
        An answer that is none is told as such.
        """
        for octets in (
            b":1\r\n",
            b"*1\r\n$1\r\na\r\n",
            b"*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"-ERR\r\n",
        ):
            connecting = self.endpoint.connect(Nothing())
            self.answer(ONE, octets)
            self.answer(TWO, octets)
            self.failureResultOf(connecting, StoreError)

    def test_cancelled(self) -> None:
        """
        An attempt can be given up.
        """
        connecting = self.endpoint.connect(Nothing())
        connecting.addErrback(lambda reason: None)
        connecting.cancel()
        self.assertTrue(self.endpoints[ONE].wire.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
