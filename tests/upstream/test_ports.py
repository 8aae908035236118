# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.upstream.ports}.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import select
import socket

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.upstream import ports, watch
from dnsguard.upstream.ports import PRUNE_SECONDS, USES, Port, PortPool, affordablePorts
from dnsguard.upstream.watch import BATCH
from tests.support.upstreams import FakeSocket


class Reader:
    """
    Notes what arrives.
    """

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.errors: list[OSError] = []
        self.unsent: list[tuple[Port, bytes, OSError]] = []

    def datagramReceived(self, port: Port, datagram: bytes) -> None:
        self.datagrams.append(datagram)
        if datagram == b"raise":
            raise RuntimeError("bad reader")

    def portFailed(self, port: Port, error: OSError) -> None:
        self.errors.append(error)

    def sendFailed(self, port: Port, message: bytes, error: OSError) -> None:
        self.unsent.append((port, message, error))


class FakeSockets(PortPool):
    """
    A pool of sockets that aren't there.
    """

    error: OSError | None = None

    def lot(self) -> Port:
        """
        Draw a port by chance.
        """
        return self.draw(secrets.randbits(24))

    def _connected(self) -> socket.socket:
        if self.error is not None:
            raise self.error
        return FakeSocket()  # type: ignore[return-value]

    def _makeWatch(self):  # type: ignore[no-untyped-def]
        self.watched: set[Port] = set()
        return self

    def add(self, port: Port) -> None:
        self.watched.add(port)

    def remove(self, port: Port) -> None:
        self.watched.remove(port)


class AffordablePortsTests(SynchronousTestCase):
    """
    Tests for L{affordablePorts}.
    """

    def test_affordable(self) -> None:
        """
        As many as are wanted, unless all together would take over half of the
        files that may be open; never less than a handful.
        """
        self.assertEqual(affordablePorts(1024, 3, 20000), 1024)
        self.assertEqual(affordablePorts(1024, 1, 1024), 384)
        self.assertEqual(affordablePorts(1024, 3, 1024), 128)
        self.assertEqual(affordablePorts(1024, 100, 256), 16)
        self.assertEqual(affordablePorts(1024, 0, 20000), 1024)


class PortPoolTests(SynchronousTestCase):
    """
    Tests for L{PortPool}, without sockets.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.pool = FakeSockets(self.reactor, "192.0.2.53", 53, 8)
        self.pool.reader = self.reader = Reader()

    def test_openedWhenDrawn(self) -> None:
        """
        Ports are opened as they are drawn, and each can be drawn.
        """
        self.assertEqual(len(self.pool), 0)
        first = self.pool.lot()
        self.assertEqual(len(self.pool), 1)
        drawn = {self.pool.lot() for _ in range(300)} | {first}
        self.assertEqual((len(drawn), len(self.pool), self.pool.opened), (8, 8, 8))
        self.assertEqual(self.pool.watched, drawn)

    def test_replacedAfterUse(self) -> None:
        """
        A port is used for so many queries, unless one waits there.
        """
        pool = FakeSockets(self.reactor, "192.0.2.53", 53, 1)
        first = pool.lot()
        first.waiting[b"id"] = None  # type: ignore[assignment]
        for _ in range(USES + 10):
            self.assertIs(pool.lot(), first)
        first.waiting.clear()
        second = pool.lot()
        self.assertIsNot(second, first)
        self.assertTrue(first.socket.isClosed)  # type: ignore[attr-defined]
        self.assertEqual(pool.watched, {second})

    def test_unusedAreClosed(self) -> None:
        """
        Ports that weren't used for a while are closed, unless something waits
        there; the clock is left alone when none is open.
        """
        idle, busy = Port(FakeSocket()), None  # type: ignore[arg-type]
        while len(self.pool) < 2:
            busy = self.pool.lot()
        assert busy is not None
        busy.waiting[b"id"] = None  # type: ignore[assignment]
        self.reactor.advance(PRUNE_SECONDS)
        self.assertEqual(len(self.pool), 2)
        self.reactor.advance(PRUNE_SECONDS)
        self.assertEqual(list(self.pool.ports.values()), [busy])
        self.assertIsNot(idle, busy)
        busy.waiting.clear()
        self.reactor.advance(PRUNE_SECONDS)
        self.reactor.advance(PRUNE_SECONDS)
        self.assertEqual(len(self.pool), 0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_shortage(self) -> None:
        """
        When no more sockets can be had, the open ones have to do; with none
        open, that is the error.
        """
        self.pool.error = OSError(errno.EMFILE, "Too many open files")
        self.assertRaises(OSError, self.pool.lot)
        self.pool.error = None
        port = self.pool.lot()
        self.pool.error = OSError(errno.EMFILE, "Too many open files")
        self.assertEqual({self.pool.lot() for _ in range(50)}, {port})
        self.assertGreater(self.pool.shortages, 10)

    def test_shortageKeepsTheOld(self) -> None:
        """
        A port whose successor can't be opened stays.
        """
        pool = FakeSockets(self.reactor, "192.0.2.53", 53, 1)
        port = pool.lot()
        port.uses = USES
        pool.error = OSError(errno.ENFILE, "Too many open files in system")
        self.assertIs(pool.lot(), port)
        self.assertFalse(port.socket.isClosed)  # type: ignore[attr-defined]

    def test_noNetwork(self) -> None:
        """
        Another error is the caller's to know.
        """
        self.pool.lot()
        self.pool.error = OSError(errno.ENETUNREACH, "Network is unreachable")
        error = self.assertRaises(OSError, lambda: [self.pool.lot() for _ in range(100)])
        self.assertEqual(error.errno, errno.ENETUNREACH)

    def test_read(self) -> None:
        """
        What arrives is handed on, and so is what the network reports; a
        reader that raises does no harm.
        """
        port = Port(FakeSocket())  # type: ignore[arg-type]
        refused = ConnectionRefusedError()
        port.socket.received = [b"one", refused, b"raise", b"two"]  # type: ignore[attr-defined]
        for _ in range(6):
            self.pool.read(port)
        self.assertEqual(self.reader.datagrams, [b"one", b"raise", b"two"])
        self.assertEqual(self.reader.errors, [refused])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_lateIdsAreBounded(self) -> None:
        """
        However much is given up on a port, what is remembered of it is
        little.
        """
        port = Port(FakeSocket())  # type: ignore[arg-type]
        for number in range(1000):
            id = number.to_bytes(2, "big")
            port.waiting[id] = object()  # type: ignore[assignment]
            port.giveUp(id)
            self.assertIn(id, port.late)
        self.assertLessEqual(len(port.late), 64)
        port.giveUp(b"no")
        self.assertNotIn(b"no", port.late)


class RealSocketTests(SynchronousTestCase):
    """
    Tests for L{PortPool} with sockets on loopback and a reactor that only
    notes its readers.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.server.close)
        self.server.settimeout(5)
        self.server.bind(("127.0.0.1", 0))

    def pool(self, size: int = 4) -> PortPool:
        host, port = self.server.getsockname()
        pool = PortPool(self.reactor, host, port, size)
        pool.reader = self.reader = Reader()
        self.addCleanup(pool.close)
        return pool

    def pump(self, pool: PortPool, count: int) -> None:
        """
        Let the readers read until so many datagrams have come.
        """
        for _ in range(1000):
            readers = self.reactor.getReaders()
            select.select(readers, [], [], 0.01)
            for reader in readers:
                reader.doRead()
            if len(self.reader.datagrams) >= count or self.reader.errors:
                return

    def check(self, pool: PortPool, readers: int) -> None:
        """
        Send from all ports, and get the replies; strangers' datagrams don't
        come through.
        """
        while len(pool) < 4:
            pool.draw(secrets.randbits(24))
        self.assertEqual(len(self.reactor.getReaders()), readers)
        verifyObject(IReadDescriptor, next(iter(self.reactor.getReaders())))
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(stranger.close)
        numbers = set()
        for port in pool.ports.values():
            port.send(b"question")
            datagram, peer = self.server.recvfrom(100)
            numbers.add(peer[1])
            stranger.sendto(b"forgery", peer)
            self.server.sendto(b"reply to " + datagram, peer)
        self.pump(pool, 4)
        self.assertEqual(self.reader.datagrams, [b"reply to question"] * 4)
        self.assertEqual(len(numbers), 4)
        pool.close()
        self.assertEqual((self.reactor.getReaders(), len(pool)), ([], 0))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_epoll(self) -> None:
        """
        One reader stands for all ports.
        """
        if not hasattr(select, "epoll"):
            raise SkipTest("no epoll here")
        self.check(self.pool(), readers=1)

    def test_oneAtATime(self) -> None:
        """
        Without compiled code each reply is read by itself.
        """
        if not hasattr(select, "epoll"):
            raise SkipTest("no epoll here")
        self.patch(watch, "receiveAll", None)
        self.check(self.pool(), readers=1)

    def test_withoutEpoll(self) -> None:
        """
        Where there is no epoll, each port is a reader.
        """
        if hasattr(select, "epoll"):
            self.patch(select, "epoll", None)
            del select.epoll
        self.check(self.pool(), readers=4)

    def test_refused(self) -> None:
        """
        That nobody listens is heard of.
        """
        pool = self.pool(1)
        self.server.close()
        pool.draw(secrets.randbits(24)).send(b"question")
        self.pump(pool, 1)
        self.assertIsInstance(self.reader.errors[0], ConnectionRefusedError)

    def post(self, pool: PortPool, count: int) -> None:
        """
        Post datagrams from ports drawn by lot.
        """
        for _ in range(count):
            pool.post(pool.draw(secrets.randbits(24)), b"question")

    def arrived(self) -> int:
        """
        Count what has arrived at the server.
        """
        self.server.setblocking(False)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self.assertEqual(self.server.recv(100), b"question")
                count += 1
        return count

    def test_postedTogether(self) -> None:
        """
        What is posted in one turn of the reactor is sent at its end, and at
        once when it is much.
        """
        if ports.sendAll is None:
            raise SkipTest("there are no compiled twins here")
        pool = self.pool()
        self.post(pool, BATCH - 1)
        self.assertEqual(self.arrived(), 0)
        self.post(pool, 2)
        self.assertEqual(self.arrived(), BATCH)
        self.reactor.advance(0)
        self.assertEqual(self.arrived(), 1)
        self.assertEqual(self.reader.unsent, [])

    def test_postedAtOnce(self) -> None:
        """
        Without compiled code what is posted is sent at once.
        """
        self.patch(ports, "sendAll", None)
        self.post(self.pool(), 1)
        self.assertEqual(self.arrived(), 1)

    def test_unsent(self) -> None:
        """
        It is told which datagram couldn't be sent and why; the others are.
        """
        if ports.sendAll is None:
            raise SkipTest("there are no compiled twins here")
        pool = self.pool()
        while len(pool) < 4:
            pool.draw(secrets.randbits(24))
        first, second, *_ = pool.ports.values()
        pool.post(first, bytes(65536))
        pool.post(second, b"question")
        self.reactor.advance(0)
        self.assertEqual(self.arrived(), 1)
        [(port, message, error)] = self.reader.unsent
        self.assertIs(port, first)
        self.assertEqual((len(message), error.errno), (65536, errno.EMSGSIZE))

    def test_closedBeforeItIsSent(self) -> None:
        """
        What was posted before all ports were closed is forgotten.
        """
        pool = self.pool()
        with contextlib.suppress(OSError):
            self.post(pool, 3)
        self.arrived()
        pool.close()
        self.reactor.advance(0)
        self.assertEqual(self.arrived(), 0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
