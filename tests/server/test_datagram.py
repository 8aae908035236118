# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.datagram}.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.query import Transport
from dnsguard.replay.entry import ReplayedAnswer
from dnsguard.server.datagram import DatagramListener
from dnsguard.server.sockets import IP_PKTINFO
from tests.support.answering import FakeReplay, RecordingDoor

PEER = ("192.0.2.7", 5353)
V4 = bytes([2, 0, 0, 0]) + b"\xc0\0\2\x35" + b"\xff\xff\xff\xff"
V6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x35" + bytes([3, 0, 0, 0])
LINK = b"\xfe\x80" + bytes(13) + b"\x35" + bytes([3, 0, 0, 0])


class FakeSocket:
    """
    A socket with a script: what is received, and how sending goes.
    """

    def __init__(self) -> None:
        self.incoming: list[Any] = []
        self.ancillary: list[tuple[int, int, bytes]] = []
        self.sent: list[tuple[bytes, Any, Any]] = []
        self.refuse: OSError | None = None
        self.isOpen = True

    def fileno(self) -> int:
        """
        A number while open.
        """
        return 7 if self.isOpen else -1

    def close(self) -> None:
        """
        Close it.
        """
        self.isOpen = False

    def getsockname(self) -> tuple[Any, ...]:
        """
        An IPv6 address has four parts.
        """
        return ("::1", 5300, 0, 0)

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        """
        Receive the next thing in the script.
        """
        if not self.isOpen:
            raise OSError(errno.EBADF, "closed")
        if not self.incoming:
            raise BlockingIOError
        item = self.incoming.pop(0)
        if isinstance(item, OSError):
            raise item
        data, peer = item
        return data[:size], peer

    def recvmsg(self, size: int, room: int) -> tuple[bytes, Any, int, Any]:
        """
        Receive the next thing in the script with ancillary data.
        """
        data, peer = self.recvfrom(size)
        return data, self.ancillary, 0, peer

    def sendto(self, data: bytes, peer: Any) -> None:
        """
        Send.
        """
        self.sendmsg((data,), None, 0, peer)

    def sendmsg(self, data: Any, ancillary: Any, flags: int, peer: Any) -> None:
        """
        Send with ancillary data.
        """
        if self.refuse is not None:
            raise self.refuse
        self.sent.append((b"".join(data), peer, ancillary))


class FakeReactor:
    """
    Knows who wants to read and write.
    """

    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self.addReader = self.readers.add
        self.removeReader = self.readers.discard
        self.addWriter = self.writers.add
        self.removeWriter = self.writers.discard


class DatagramTestCase(SynchronousTestCase):
    """
    A listener on a scripted socket.
    """

    wildcard = False

    def setUp(self) -> None:
        self.clock = Clock()
        self.door = RecordingDoor()
        self.socket = FakeSocket()
        self.reactor = FakeReactor()
        self.listener = self.listen()

    def listen(self, **facts: Any) -> DatagramListener:
        """
        Make a listener.
        """
        socket_: Any = self.socket
        reactor: Any = self.reactor
        return DatagramListener(socket_, self.door, reactor, wildcard=self.wildcard, **facts)


class ReadTests(DatagramTestCase):
    """
    Tests for reading.
    """

    def test_interface(self) -> None:
        """
        A listener is what reactors read from and write to.
        """
        verifyObject(IReadWriteDescriptor, self.listener)
        self.assertEqual(self.listener.fileno(), 7)
        self.assertEqual(self.listener.logPrefix(), "DatagramListener")
        self.assertEqual(self.listener.getHost(), ("::1", 5300))

    def test_requests(self) -> None:
        """
        All datagrams there are are handed on with their senders' addresses.
        """
        self.socket.incoming = [(b"one", PEER), (b"two", ("2001:db8::1", 53, 0, 0))]
        self.listener.doRead()
        self.assertEqual(self.door.requests, [b"one", b"two"])
        self.assertEqual(
            self.door.addresses, [b"\xc0\0\2\7", b"\x20\x01\x0d\xb8" + bytes(11) + b"\1"]
        )
        self.assertEqual(self.door.transports, [Transport.UDP] * 2)
        self.assertEqual(self.listener.counters.received, 2)

    def test_batch(self) -> None:
        """
        After 128 datagrams others have their turn.
        """
        self.socket.incoming = [(b"x", PEER)] * 200
        self.listener.doRead()
        self.assertEqual(len(self.door.requests), 128)
        self.listener.doRead()
        self.assertEqual(len(self.door.requests), 200)

    def test_portZero(self) -> None:
        """
        A datagram from port 0 can't be answered, so it isn't.
        """
        self.socket.incoming = [(b"x", ("192.0.2.7", 0))]
        self.listener.doRead()
        self.assertEqual((self.door.requests, self.listener.counters.portless), ([], 1))

    def test_errors(self) -> None:
        """
        Errors that earlier replies have brought about are counted, and what
        stands behind them is read.
        """
        refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        self.socket.incoming = [refused, (b"x", PEER), OSError(errno.EHOSTUNREACH, "x")]
        self.listener.doRead()
        self.assertEqual((self.door.requests, self.listener.counters.errors), ([b"x"], 2))

    def test_endlessErrors(self) -> None:
        """
        A socket that has nothing but errors doesn't hold the reactor up, nor
        does a closed one.
        """
        self.socket.incoming = [OSError(errno.ENETDOWN, "down")] * 500
        self.listener.doRead()
        self.assertEqual(self.listener.counters.errors, 128)
        self.socket.close()
        self.listener.doRead()
        self.assertEqual(self.listener.counters.errors, 129)

    def test_large(self) -> None:
        """
        Of a datagram as large as they get only the beginning is read.
        """
        self.socket.incoming = [(bytes(65507), PEER)]
        self.listener.doRead()
        self.assertEqual(len(self.door.requests[0]), 4096)

    def test_closedWhileReading(self) -> None:
        """
        Closing it in the middle of a batch ends the batch.
        """
        self.door.requestReceived = lambda *args: self.listener.close()  # type: ignore
        self.socket.incoming = [(b"x", PEER)] * 3
        self.listener.doRead()
        self.assertEqual(self.listener.counters.received, 1)


class ReplayTests(DatagramTestCase):
    """
    Tests for the replay store.
    """

    def setUp(self) -> None:
        super().setUp()
        self.replay = FakeReplay()
        self.listener = self.listen(replay=self.replay, now=self.clock.seconds)

    def test_replayed(self) -> None:
        """
        What the store has is sent, and the server isn't bothered.
        """
        facts: ReplayedAnswer = None  # type: ignore[assignment]
        self.replay.remember(b"known", b"reply", facts, 1, 0)
        self.clock.advance(4)
        self.socket.incoming = [(b"known", PEER), (b"unknown", PEER)]
        self.listener.doRead()
        self.assertEqual(self.socket.sent, [(b"reply", PEER, None)])
        self.assertEqual(self.door.requests, [b"unknown"])
        self.assertEqual(self.replay.lookups[0], (b"known", b"\xc0\0\2\7", 4))
        self.assertEqual(self.listener.counters.replayed, 1)

    def test_brokenStore(self) -> None:
        """
        A store that fails is counted, logged once in a while and done without.
        """
        replay: Any = object()
        self.listener = self.listen(replay=replay, now=self.clock.seconds)
        self.socket.incoming = [(b"one", PEER), (b"two", PEER)]
        self.listener.doRead()
        self.assertEqual(self.door.requests, [b"one", b"two"])
        self.assertEqual(self.listener.counters.lookupErrors, 2)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_clockNeeded(self) -> None:
        """
        A store without a clock, or a clock without a store, is a mistake.
        """
        self.assertRaises(TypeError, self.listen, replay=self.replay)
        self.assertRaises(TypeError, self.listen, now=self.clock.seconds)


class WriteTests(DatagramTestCase):
    """
    Tests for replies.
    """

    def setUp(self) -> None:
        super().setUp()
        self.socket.incoming = [(bytes([number]), PEER) for number in range(3)]
        self.listener.doRead()

    def respond(self, place: int, reply: bytes) -> bool:
        """
        Answer one of the requests.
        """
        return self.door.answers[place](reply)

    def test_sent(self) -> None:
        """
        A reply goes to where its request came from.
        """
        self.assertTrue(self.respond(1, b"reply"))
        self.assertEqual(self.socket.sent, [(b"reply", PEER, None)])
        self.assertEqual(self.listener.counters.sent, 1)

    def test_full(self) -> None:
        """
        What a full socket doesn't take waits, keeps its order, and is sent
        when there is room.
        """
        self.socket.refuse = BlockingIOError()
        self.assertTrue(self.respond(0, b"first"))
        self.assertIn(self.listener, self.reactor.writers)
        self.listener.doWrite()
        self.assertEqual(self.socket.sent, [])
        self.socket.refuse = None
        self.assertTrue(self.respond(1, b"second"))
        self.assertEqual(self.socket.sent, [])
        self.listener.doWrite()
        self.assertEqual([reply for reply, _, _ in self.socket.sent], [b"first", b"second"])
        self.assertNotIn(self.listener, self.reactor.writers)
        self.assertTrue(self.respond(2, b"third"))
        self.assertEqual(len(self.socket.sent), 3)
        counters = self.listener.counters
        self.assertEqual((counters.queued, counters.sent, counters.dropped), (2, 3, 0))

    def test_tooFull(self) -> None:
        """
        Only so many replies may wait; the others are dropped, and counted.
        """
        self.socket.refuse = BlockingIOError()
        sent = [self.respond(0, b"x") for _ in range(300)]
        self.assertEqual((sum(sent), self.listener.counters.dropped), (256, 44))

    def test_refused(self) -> None:
        """
        A reply that the system refuses isn't sent, now or later.
        """
        self.socket.refuse = PermissionError(errno.EPERM, "firewall")
        self.assertFalse(self.respond(0, b"x"))
        self.socket.refuse = BlockingIOError()
        self.respond(1, b"y")
        self.respond(2, b"z")
        self.socket.refuse = OSError(errno.EMSGSIZE, "size")
        self.listener.doWrite()
        self.assertEqual(self.listener.counters.unsent, 3)
        self.assertNotIn(self.listener, self.reactor.writers)

    def test_closed(self) -> None:
        """
        Closing it ends everything; a reply that comes later is nobody's.
        """
        self.listener.startReading()
        self.socket.refuse = BlockingIOError()
        self.respond(0, b"x")
        self.listener.connectionLost(Failure(ConnectionError()))
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.assertFalse(self.socket.isOpen)
        self.socket.refuse = OSError(errno.EBADF, "closed")
        self.assertFalse(self.respond(1, b"y"))

    def test_stopReading(self) -> None:
        """
        When it takes no more requests it still sends replies.
        """
        self.listener.startReading()
        self.assertEqual(self.reactor.readers, {self.listener})
        self.listener.stopReading()
        self.assertEqual(self.reactor.readers, set())
        self.assertTrue(self.respond(0, b"x"))


class WildcardTests(DatagramTestCase):
    """
    Tests for a listener on a wildcard address.
    """

    wildcard = True

    def roundTrip(self, *ancillary: tuple[int, int, bytes]) -> Any:
        """
        Receive a datagram with this ancillary data, reply, and give the
        ancillary data of the reply.
        """
        self.socket.ancillary = list(ancillary)
        self.socket.incoming = [(b"x", PEER)]
        self.listener.doRead()
        self.door.answers.pop()(b"reply")
        return self.socket.sent.pop()[2]

    def test_v4(self) -> None:
        """
        A reply leaves from the local address of its request; the interface is
        left to the routes.
        """
        assert IP_PKTINFO is not None
        sent = self.roundTrip((socket.IPPROTO_IP, IP_PKTINFO, V4))
        reply = bytes(4) + b"\xc0\0\2\x35" + bytes(4)
        self.assertEqual(sent, [(socket.IPPROTO_IP, IP_PKTINFO, reply)])

    def test_v6(self) -> None:
        """
        With IPv6 it is the same, but a link-local address needs its interface.
        """
        for data, reply in ((V6, V6[:16] + bytes(4)), (LINK, LINK)):
            sent = self.roundTrip((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, data))
            self.assertEqual(sent, [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, reply)])

    def test_others(self) -> None:
        """
        Ancillary data about other matters is passed over; with none at all
        the system chooses the address.
        """
        other = (socket.SOL_SOCKET, 29, bytes(16))
        assert IP_PKTINFO is not None
        self.assertIsNone(self.roundTrip(other))
        self.assertIsNone(self.roundTrip())
        self.assertIsNotNone(self.roundTrip(other, (socket.IPPROTO_IP, IP_PKTINFO, V4)))

    def test_manySources(self) -> None:
        """
        However many addresses are asked, what is kept of them is bounded.
        """
        assert IP_PKTINFO is not None
        for number in range(3000):
            data = bytes(4) + number.to_bytes(4, "big") + bytes(4)
            sent = self.roundTrip((socket.IPPROTO_IP, IP_PKTINFO, data))
            self.assertEqual(sent[0][2], data)
        sources = self.listener._sources
        assert sources is not None
        self.assertLessEqual(len(sources), 1024)

    def test_errors(self) -> None:
        """
        Errors and ends are as on any other socket.
        """
        self.socket.incoming = [OSError(errno.ECONNREFUSED, "refused"), (b"x", PEER)]
        self.listener.doRead()
        self.assertEqual((len(self.door.requests), self.listener.counters.errors), (1, 1))
        self.socket.close()
        self.listener.doRead()
        self.assertEqual(self.listener.counters.errors, 2)
