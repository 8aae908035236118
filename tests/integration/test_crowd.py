# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.crowd}, over pairs of connected sockets.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, IReadDescriptor
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from dnsguard.server import crowd
from dnsguard.server.crowd import Crowd, StreamTransport

LARGE = 8 << 20
"""More octets than the sockets of a connection hold."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Noter(Protocol):
    """
    Notes what the transport says.
    """

    transport: Any

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.reply: bytes | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        Note, and reply if there is anything to say.
        """
        self.heard.append(data)
        if self.reply is not None:
            self.transport.write(self.reply)

    def readConnectionLost(self) -> None:
        """
        Note.
        """
        self.heard.append("read lost")

    def writeConnectionLost(self) -> None:
        """
        Note.
        """
        self.heard.append("write lost")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Note.
        """
        self.heard.append(reason.type)

    def pauseProducing(self) -> None:
        """
        Note.
        """
        self.heard.append("pause")

    def resumeProducing(self) -> None:
        """
        Note.
        """
        self.heard.append("resume")

    def stopProducing(self) -> None:
        """
        No matter.
        """


class FakeReactor(Clock):
    """
    A clock that knows who wants to read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.addReader = self.readers.add
        self.removeReader = self.removeWriter = self.readers.discard


class CrowdTestCase(SynchronousTestCase):
    """
    A crowd, and connections in it.
    """

    if not crowd.isAvailable():
        skip = "this system has no epoll"

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.crowd = Crowd(self.reactor)
        self.addCleanup(self.crowd.close)

    def connect(self) -> tuple[socket.socket, Noter]:
        """
        Make a connection: the client's socket and the server's protocol.
        """
        ours, client = socket.socketpair()
        for each in (ours, client):
            self.addCleanup(each.close)
        client.settimeout(5)
        protocol = Noter()
        server: Any = None
        reactor: Any = self.crowd
        transport = StreamTransport(ours, protocol, ("192.0.2.1", 5353), server, 1, reactor)
        protocol.makeConnection(transport)
        return client, protocol


class TransportTests(CrowdTestCase):
    """
    Tests for L{StreamTransport}.
    """

    def test_atOnce(self) -> None:
        """
        What is written is sent at once, and the order is kept.
        """
        client, protocol = self.connect()
        protocol.transport.write(b"one")
        protocol.transport.writeSequence([b"two", b"three"])
        protocol.transport.write(b"")
        self.crowd.doRead()
        self.assertEqual(client.recv(99), b"onetwothree")

    def test_rest(self) -> None:
        """
        What the socket doesn't take is sent when it does, in order, and what
        is written meanwhile comes behind it. The producer is told to pause,
        and to go on.
        """
        client, protocol = self.connect()
        protocol.transport.registerProducer(protocol, True)
        protocol.transport.write(b"a" * LARGE)
        self.assertEqual(protocol.heard, ["pause"])
        protocol.transport.write(b"b" * 5)
        got = b""
        while len(got) < LARGE + 5:
            got += client.recv(1 << 20)
            self.crowd.doRead()
        self.assertEqual(got, b"a" * LARGE + b"b" * 5)
        self.assertEqual((set(protocol.heard[:-1]), protocol.heard[-1]), ({"pause"}, "resume"))
        protocol.transport.write(b"c")
        self.assertEqual(client.recv(9), b"c")

    def test_loseConnection(self) -> None:
        """
        A connection is closed when everything is sent, and nothing is sent
        after that.
        """
        client, protocol = self.connect()
        protocol.transport.write(b"a" * LARGE)
        protocol.transport.loseConnection()
        got = b""
        while more := client.recv(1 << 20):
            got += more
            self.crowd.doRead()
        self.assertEqual(got, b"a" * LARGE)
        self.assertEqual(protocol.heard, [ConnectionDone])
        protocol.transport.write(b"never")
        self.assertEqual(self.crowd.watched, 0)

    def test_gone(self) -> None:
        """
        Writing to a client that is gone ends the connection, but not before
        the writer is done.
        """
        client, protocol = self.connect()
        protocol.transport.stopReading()
        client.close()
        protocol.transport.write(b"to nobody")
        self.assertEqual(protocol.heard, [])
        self.crowd.doRead()
        self.assertEqual(protocol.heard, [ConnectionLost])

    def test_abort(self) -> None:
        """
        An aborted connection sends nothing more.
        """
        _, protocol = self.connect()
        protocol.transport.write(b"a" * LARGE)
        protocol.transport.abortConnection()
        self.assertEqual(protocol.heard, [])
        self.reactor.advance(0)
        self.assertEqual(protocol.heard, [ConnectionAborted])
        self.assertEqual(self.crowd.watched, 0)


class CrowdTests(CrowdTestCase):
    """
    Tests for L{Crowd}.
    """

    def test_interface(self) -> None:
        """
        The reactor reads from it, until it is closed.
        """
        verifyObject(IReadDescriptor, self.crowd)
        self.assertEqual(self.reactor.readers, {self.crowd})
        self.assertGreater(self.crowd.fileno(), 0)
        self.assertEqual(self.crowd.logPrefix(), "Crowd")
        self.crowd.close()
        self.crowd.close()
        self.assertEqual((self.reactor.readers, self.crowd.fileno()), (set(), -1))

    def test_read(self) -> None:
        """
        Who has something to be read is told, and may answer.
        """
        clients = [self.connect() for _ in range(3)]
        for place in (0, 2):
            clients[place][1].reply = b"answer"
            clients[place][0].send(b"question")
        self.crowd.doRead()
        self.assertEqual(
            [protocol.heard for _, protocol in clients], [[b"question"], [], [b"question"]]
        )
        self.assertEqual(clients[2][0].recv(99), b"answer")

    def test_turns(self) -> None:
        """
        A turn of the reactor sees 64 connections, and the next one others.
        """
        clients = [self.connect() for _ in range(100)]
        for client, _ in clients:
            client.send(b"question")
        heard = []
        for _ in range(2):
            self.crowd.doRead()
            heard.append(sum(len(protocol.heard) for _, protocol in clients))
        self.assertEqual(heard, [64, 100])

    def test_paused(self) -> None:
        """
        Who doesn't want to read isn't told, not even of the end.
        """
        client, protocol = self.connect()
        protocol.transport.pauseProducing()
        client.send(b"question")
        client.close()
        self.crowd.doRead()
        self.assertEqual((protocol.heard, self.crowd.watched), ([], 0))
        protocol.transport.resumeProducing()
        self.crowd.doRead()
        self.assertEqual(protocol.heard, [b"question"])

    def test_halfClosed(self) -> None:
        """
        A client that has sent its last octet can still be written to; when
        that is done the connection is.
        """
        client, protocol = self.connect()
        client.send(b"question")
        client.shutdown(socket.SHUT_WR)
        for _ in range(3):
            self.crowd.doRead()
        self.assertEqual(protocol.heard, [b"question", "read lost"])
        protocol.transport.write(b"answer")
        protocol.transport.loseConnection()
        self.crowd.doRead()
        self.assertEqual(client.recv(99), b"answer")
        self.assertEqual(client.recv(99), b"")
        self.assertEqual(protocol.heard[2:], [ConnectionDone])

    def test_broken(self) -> None:
        """
        A protocol that fails loses its connection, and costs others nothing.
        """
        (first, broken), (second, sound) = self.connect(), self.connect()
        broken.dataReceived = None  # type: ignore[method-assign,assignment]
        first.send(b"question")
        second.send(b"question")
        self.crowd.doRead()
        self.assertEqual((broken.heard, sound.heard), ([TypeError], [b"question"]))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(first.recv(9), b"")

    def test_lostMeanwhile(self) -> None:
        """
        Who is gone because of another one's words isn't told any more.
        """
        (first, one), (second, other) = self.connect(), self.connect()

        def end(data: bytes) -> None:
            for each in (one, other):
                if each.transport.connected:
                    each.transport.connectionLost(Failure(ConnectionDone()))

        one.dataReceived = other.dataReceived = end  # type: ignore[method-assign]
        first.send(b"question")
        second.send(b"question")
        self.crowd.doRead()
        self.crowd.doRead()
        self.assertEqual((one.heard, other.heard), ([ConnectionDone], [ConnectionDone]))

    def test_numberUsedAgain(self) -> None:
        """
        A new connection may get the number of an old one, and is its own.
        """
        client, old = self.connect()
        number = old.transport.fileno()
        old.transport.connectionLost(Failure(ConnectionDone()))
        client.close()
        kept = []
        for _ in range(50):
            kept.append(self.connect())
            if kept[-1][1].transport.fileno() == number:
                break
        client, new = kept[-1]
        self.assertEqual(new.transport.fileno(), number)
        client.send(b"question")
        self.crowd.doRead()
        self.assertEqual((old.heard, new.heard), ([ConnectionDone], [b"question"]))

    def test_reactorEnds(self) -> None:
        """
        At the reactor's end all connections are.
        """
        protocols = [self.connect()[1] for _ in range(3)]
        self.crowd.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([protocol.heard for protocol in protocols], [[ConnectionDone]] * 3)
        self.assertEqual(self.crowd.fileno(), -1)

    def test_closedInTheMiddle(self) -> None:
        """
        It may be closed because of what one of the connections says.
        """
        clients = [self.connect() for _ in range(3)]
        for client, protocol in clients:
            protocol.dataReceived = lambda data: self.crowd.close()  # type: ignore
            client.send(b"question")
        self.crowd.doRead()
        self.assertEqual(self.crowd.fileno(), -1)
        clients[0][1].transport.loseConnection()

    def test_serve(self) -> None:
        """
        Connections that a port accepts are of the crowd; what isn't Twisted's
        port is left alone.
        """
        factory: Any = ServerFactory.forProtocol(Noter)
        reactor: Any = FakeReactor()
        port = Port(0, factory, interface="127.0.0.1", reactor=reactor)
        port.startListening()
        self.addCleanup(port.connectionLost, Failure(ConnectionDone()))
        self.crowd.serve(port)
        self.crowd.serve(object())
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
            port.doRead()
            self.assertEqual(self.crowd.watched, 1)
            self.assertEqual(len(reactor.readers), 1)
            client.close()
            self.crowd.doRead()
