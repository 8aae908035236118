# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.processes.standin}, on loopback.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.processes.standin import DRAIN_SECONDS, SharedSocket, SocketStandIn
from dnsguard.server.address import ListenAddress

ADDRESS = ListenAddress("127.0.0.1", 0)


class FakeListener:
    """
    Reads nothing by itself.
    """

    def __init__(self, bound: socket.socket, address: ListenAddress) -> None:
        self.socket = bound
        self.said: list[str] = []
        self.counters = object()

    def startReading(self) -> None:
        """See L{UDPListener}."""
        self.said.append("start")

    def stopReading(self) -> None:
        """See L{UDPListener}."""
        self.said.append("stop")

    def close(self) -> None:
        """See L{UDPListener}."""
        self.said.append("close")
        self.socket.close()


class SharedSocketTests(SynchronousTestCase):
    """
    Tests for L{SharedSocket}.
    """

    def test_neverBlocks(self) -> None:
        """
        Whatever the other owner does to it, nobody waits here.
        """
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            bound.bind(("127.0.0.1", 0))
            with SharedSocket.of(bound) as shared:
                self.assertEqual(shared.getsockname(), bound.getsockname())
                bound.setblocking(True)
                self.assertRaises(BlockingIOError, shared.recvfrom, 100)
                self.assertRaises(BlockingIOError, shared.recvmsg, 100, 100)
                client.settimeout(5)
                client.connect(bound.getsockname())
                client.send(b"hello")
                octets, peer = shared.recvfrom(100)
                shared.sendto(octets, peer)
                shared.sendmsg((b"again",), [], 0, peer)
                self.assertEqual((client.recv(9), client.recv(9)), (b"hello", b"again"))
            client.send(b"to the other one")
            self.assertEqual(bound.recv(100), b"to the other one")


class StandInTests(SynchronousTestCase):
    """
    Tests for L{SocketStandIn}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.made: list[FakeListener] = []
        self.over: list[Any] = []
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.addCleanup(self.udp.close)
        self.addCleanup(self.tcp.close)
        self.standIn = SocketStandIn(
            [(ADDRESS, self.udp), (ADDRESS, self.tcp)], self.make, self.clock, self.over.append
        )

    def make(self, bound: socket.socket, address: ListenAddress) -> FakeListener:
        """
        Make what reads.
        """
        listener = FakeListener(bound, address)
        self.made.append(listener)
        return listener

    def test_reads(self) -> None:
        """
        It reads UDP sockets until it ends; for a while longer replies are sent.
        """
        self.standIn.begin()
        self.standIn.begin()
        (listener,) = self.made
        self.assertEqual((listener.said, self.standIn.reading), (["start"], 1))
        self.standIn.end()
        self.assertEqual(self.standIn.reading, 0)
        self.assertEqual(listener.said, ["start", "stop"])
        self.assertEqual(self.standIn.listeners, [listener])
        self.clock.advance(DRAIN_SECONDS)
        self.assertEqual(listener.said, ["start", "stop", "close"])
        self.assertEqual((self.over, self.standIn.listeners), ([listener.counters], []))
        self.assertGreaterEqual(self.udp.fileno(), 0)

    def test_again(self) -> None:
        """
        It may begin again while replies are still sent.
        """
        self.standIn.begin()
        self.standIn.end()
        self.standIn.begin()
        self.assertEqual(len(self.standIn.listeners), 2)
        self.assertIsNot(self.made[0].socket, self.made[1].socket)

    def test_close(self) -> None:
        """
        Closing lets go of everything at once.
        """
        self.standIn.begin()
        self.standIn.end()
        self.standIn.begin()
        self.standIn.close()
        self.assertEqual([listener.said[-1] for listener in self.made], ["close", "close"])
        self.assertEqual((self.udp.fileno(), self.tcp.fileno()), (-1, -1))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.standIn.begin()
        self.assertEqual(len(self.made), 2)
