# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.stream}.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.query import Transport
from dnsguard.server.connection import StreamProtocol
from dnsguard.server.stream import StreamFactory, StreamLimits
from tests.support.answering import RecordingDoor


def v4(host: str) -> IAddress:
    """
    An IPv4 client.
    """
    return IPv4Address("TCP", host, 5353)


def v6(host: str) -> IAddress:
    """
    An IPv6 client.
    """
    return IPv6Address("TCP", host, 5353)


class StreamFactoryTests(SynchronousTestCase):
    """
    Tests for L{StreamFactory}.
    """

    def setUp(self) -> None:
        limits = StreamLimits(connections=5, connectionsPerAddress=2)
        self.factory = StreamFactory(RecordingDoor(), Transport.TCP, limits, Clock())

    def connect(self, address: IAddress) -> StreamProtocol | None:
        """
        Make a connection, if there may be one.
        """
        protocol = self.factory.buildProtocol(address)
        if protocol is not None:
            protocol.makeConnection(StringTransport(peerAddress=address))
        return protocol

    def lose(self, protocol: StreamProtocol) -> None:
        """
        Lose a connection.
        """
        protocol.connectionLost(Failure(ConnectionError()))

    def test_perAddress(self) -> None:
        """
        One IPv4 address may have so many connections, and another one as
        soon as one of them ends.
        """
        first = self.connect(v4("192.0.2.1"))
        assert first is not None
        self.assertIsNotNone(self.connect(v4("192.0.2.1")))
        self.assertIsNone(self.connect(v4("192.0.2.1")))
        self.assertIsNone(self.connect(v6("::ffff:192.0.2.1")))
        self.assertIsNotNone(self.connect(v4("192.0.2.2")))
        self.lose(first)
        self.assertIsNotNone(self.connect(v4("192.0.2.1")))
        counters = self.factory.counters
        self.assertEqual((counters.accepted, counters.refusedAddress), (4, 2))

    def test_perNetwork(self) -> None:
        """
        An IPv6 host has its whole network to choose addresses from, so that
        is what counts.
        """
        self.connect(v6("2001:db8::1"))
        self.connect(v6("2001:db8::2"))
        self.assertIsNone(self.connect(v6("2001:db8::3")))
        self.assertIsNotNone(self.connect(v6("2001:db8:0:1::3")))

    def test_all(self) -> None:
        """
        There may be so many in all.
        """
        made = [self.connect(v4(f"192.0.2.{number}")) for number in range(6)]
        self.assertIsNone(made[5])
        self.assertEqual(self.factory.counters.refused, 1)
        assert made[0] is not None
        self.lose(made[0])
        self.assertIsNotNone(self.connect(v4("192.0.2.9")))

    def test_forgets(self) -> None:
        """
        Clients that are gone leave nothing behind.
        """
        for number in range(20):
            protocol = self.connect(v4(f"192.0.2.{number}"))
            assert protocol is not None
            self.lose(protocol)
        self.assertEqual((self.factory.connections, self.factory._perNetwork), (set(), {}))

    def test_noAddress(self) -> None:
        """
        A client on a local socket has no address.
        """
        protocol = self.connect(UNIXAddress("/socket"))
        assert protocol is not None
        self.assertEqual(protocol.address, b"")

    def test_finish(self) -> None:
        """
        All can be told to finish, or cut off, and whoever waits for the last
        one's end is told.
        """
        self.assertIsNone(self.successResultOf(self.factory.whenEmpty()))
        made = [self.connect(v4("192.0.2.1")), self.connect(v4("192.0.2.2"))]
        told, untold = self.factory.whenEmpty(), self.factory.whenEmpty()
        untold.cancel()
        self.failureResultOf(untold, CancelledError)
        self.factory.finish()
        for protocol in made:
            assert protocol is not None
            self.assertTrue(protocol.transport.disconnecting)
        self.factory.abort()
        for protocol in made:
            assert protocol is not None
            self.assertTrue(protocol.transport.disconnected)
            self.assertNoResult(told)
            self.lose(protocol)
        self.assertIsNone(self.successResultOf(told))
