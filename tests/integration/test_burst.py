# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.burst}, and the listener that uses it, on loopback.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dnsguard.replay.batch import RECORD
from dnsguard.replay.store import PythonReplayStore
from dnsguard.server import burst
from dnsguard.server.address import ListenAddress
from dnsguard.server.burst import BURST, Burst
from dnsguard.server.datagram import DatagramListener
from dnsguard.server.sockets import bindDatagram
from dnsguard.server.source import Sources
from tests.support.answering import FakeReplay, RecordingDoor
from tests.support.replay import facts, reply, request

HAS_IPV6 = os.path.exists("/proc/net/if_inet6") and socket.has_ipv6


class BurstTestCase(SynchronousTestCase):
    """
    A socket on loopback, and clients of it.
    """

    if not burst.isAvailable():
        skip = "this system has no calls for many datagrams"

    def bind(self, host: str = "127.0.0.1") -> socket.socket:
        """
        Bind the server's socket.
        """
        if ":" in host and not HAS_IPV6:
            raise SkipTest("this machine has no IPv6")
        bound = bindDatagram(ListenAddress(host, 0), receiveBuffer=4 << 20)
        self.addCleanup(bound.close)
        return bound

    def client(self, bound: socket.socket, host: str | None = None) -> socket.socket:
        """
        Make a client, which takes replies from no other address than it asks.
        """
        client = socket.socket(bound.family, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.settimeout(5)
        name = bound.getsockname()
        client.connect((host or name[0], name[1]))
        return client


class CallTests(BurstTestCase):
    """
    Tests for L{Burst}.
    """

    def test_many(self) -> None:
        """
        What several clients have sent is taken by one call, up to a limit,
        and the replies go to whom they are for.
        """
        bound = self.bind()
        taker = Burst(bound)
        clients = [self.client(bound) for _ in range(BURST + 6)]
        for number, client in enumerate(clients):
            client.send(b"question %d" % number)
        self.assertEqual(taker.receive(), BURST)
        self.assertEqual(taker.requests, [b"question %d" % number for number in range(BURST)])
        self.assertEqual(taker.addresses, [b"\x7f\0\0\1"] * BURST)
        self.assertEqual(taker.peer(3), clients[3].getsockname())
        which = range(1, BURST, 2)
        replies = [b"answer %d" % number for number in which]
        self.assertEqual(taker.send(which, replies), (BURST // 2, 0))
        for number in which:
            self.assertEqual(clients[number].recv(99), b"answer %d" % number)
        self.assertEqual(taker.receive(), 6)
        self.assertEqual(taker.requests[5], b"question %d" % (BURST + 5))
        self.assertRaises(BlockingIOError, taker.receive)

    def test_sizes(self) -> None:
        """
        Datagrams have any length; of one as large as they get only the
        beginning is taken.
        """
        bound = self.bind()
        taker = Burst(bound)
        client = self.client(bound)
        sent = [os.urandom(size) for size in (0, 1, 255, 256, 257, 512, 4095, 4096, 5000, 3)]
        for each in sent:
            client.send(each)
        self.assertEqual(taker.receive(), len(sent))
        self.assertEqual(taker.requests, [each[:4096] for each in sent])

    def test_replySizes(self) -> None:
        """
        Replies have any length up to 4096, all of them at once, too.
        """
        bound = self.bind()
        taker = Burst(bound)
        client = self.client(bound)
        for _ in range(BURST):
            client.send(b"x")
        taker.receive()
        replies = [os.urandom(size) for size in (0, 1, 512, 1232, 4096)]
        self.assertEqual(taker.send(range(5), replies), (5, 0))
        self.assertEqual([client.recv(65535) for _ in replies], replies)
        self.assertEqual(taker.send(range(BURST), [bytes(4096)] * BURST), (BURST, 0))
        self.assertRaises(ValueError, taker.send, range(BURST), [bytes(4097)] * BURST)

    def test_v6(self) -> None:
        """
        IPv6 is no different.
        """
        bound = self.bind("::1")
        taker = Burst(bound)
        client = self.client(bound)
        client.send(b"question")
        self.assertEqual(taker.receive(), 1)
        self.assertEqual(taker.addresses, [bytes(15) + b"\1"])
        self.assertEqual(taker.peer(0), client.getsockname())
        self.assertEqual(taker.send([0], [b"answer"]), (1, 0))
        self.assertEqual(client.recv(99), b"answer")

    def test_wildcard(self) -> None:
        """
        On a wildcard address each reply leaves from the address that was asked.
        """
        for host, asked in [
            ("0.0.0.0", ["127.0.0.1", "127.0.0.2", "127.3.4.5"]),
            *([("::", ["::1"])] if HAS_IPV6 else []),
        ]:
            bound = self.bind(host)
            taker = Burst(bound, Sources())
            clients = [self.client(bound, each) for each in asked]
            for _ in range(2):
                for client in clients:
                    client.send(b"question")
                self.assertEqual(taker.receive(), len(clients))
                which = range(len(clients))
                taker.send(which, [b"answer %d" % place for place in which])
                for place, client in enumerate(clients):
                    self.assertEqual(client.recv(99), b"answer %d" % place)
                source = taker.source(0)
                assert source is not None
                bound.sendmsg([b"later"], source, 0, taker.peer(0))
                self.assertEqual(clients[0].recv(99), b"later")

    def test_portZero(self) -> None:
        """
        What comes from port 0 is counted and left out, and the others keep
        their senders.
        """
        bound = self.bind()
        taker = Burst(bound)
        clients = [self.client(bound) for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(b"question %d" % number)
        receive = taker._receive

        def forge(*arguments: Any) -> int:
            count: int = receive(*arguments)
            taker._ports[1] = 0
            return count

        taker._receive = forge
        self.assertEqual((taker.receive(), taker.portless), (3, 1))
        self.assertEqual(taker.requests, [b"question 0", b"question 2"])
        taker.send([0, 1], [b"answer 0", b"answer 2"])
        self.assertEqual([clients[place].recv(99) for place in (0, 2)], [b"answer 0", b"answer 2"])

    def test_portZeroAlone(self) -> None:
        """
        There may be nothing else.
        """
        bound = self.bind()
        taker = Burst(bound)
        self.client(bound).send(b"question")
        with mock.patch.object(taker, "_ports", memoryview(bytes(2 * BURST)).cast("H")):
            self.assertEqual((taker.receive(), taker.portless, taker.requests), (1, 1, []))

    def test_closed(self) -> None:
        """
        A closed socket is an error.
        """
        bound = self.bind()
        taker = Burst(bound)
        bound.close()
        reason = self.assertRaises(OSError, taker.receive)
        self.assertEqual(reason.errno, errno.EBADF)

    def test_full(self) -> None:
        """
        When the socket's buffer is full the rest is left; what the system
        refuses is passed over; an interruption is none.
        """
        bound = self.bind()
        taker = Burst(bound)
        client = self.client(bound)
        for _ in range(5):
            client.send(b"question")
        taker.receive()
        transmit = taker._transmit
        replies = [b"answer %d" % number for number in range(5)]

        def script(*steps: int) -> Callable[..., int]:
            left = list(steps)

            def fail(*arguments: Any) -> int:
                step = left.pop(0)
                if step <= 0:
                    ctypes.set_errno(-step)
                    return -1
                sent: int = transmit(*arguments[:2], step, *arguments[3:])
                return sent

            return fail

        taker._transmit = script(2, -errno.EAGAIN)
        self.assertEqual(taker.send(range(5), replies), (2, 0))
        self.assertEqual([client.recv(99) for _ in range(2)], replies[:2])
        taker._transmit = script(1, -errno.EINTR, -errno.EPERM, 3)
        self.assertEqual(taker.send(range(5), replies), (5, 1))
        expected = [replies[place] for place in (0, 2, 3, 4)]
        self.assertEqual([client.recv(99) for _ in range(4)], expected)


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


class ListenerTests(BurstTestCase):
    """
    Tests for L{DatagramListener} with bursts.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.door = RecordingDoor()
        self.replay = FakeReplay()
        self.reactor: Any = FakeReactor()
        self.bound = self.bind()
        self.asker = self.client(self.bound)
        self.listener = self.listen()

    def listen(self, **options: Any) -> DatagramListener:
        """
        Make a listener.
        """
        options = {"replay": self.replay, "now": self.clock.seconds, **options}
        return DatagramListener(self.bound, self.door, self.reactor, bursts=True, **options)

    def know(self, *requests: bytes) -> None:
        """
        Have the store know replies.
        """
        for each in requests:
            self.replay.remember(each, b"known " + each, None, 1, 0)  # type: ignore[arg-type]

    def got(self, count: int) -> list[bytes]:
        """
        What the client gets.
        """
        return [self.asker.recv(99) for _ in range(count)]

    def test_replayed(self) -> None:
        """
        What the store has is sent; the rest goes to the server, with the way
        back.
        """
        self.know(b"one", b"three")
        self.clock.advance(4)
        for each in (b"one", b"two", b"three"):
            self.asker.send(each)
        self.listener.doRead()
        self.assertEqual(self.got(2), [b"known one", b"known three"])
        self.assertEqual(self.door.requests, [b"two"])
        self.assertEqual(self.door.addresses, [b"\x7f\0\0\1"])
        self.assertEqual(self.replay.lookups[0], (b"one", b"\x7f\0\0\1", 4))
        self.assertTrue(self.door.answers[0](b"later"))
        self.assertEqual(self.got(1), [b"later"])
        counters = self.listener.counters
        self.assertEqual((counters.received, counters.replayed, counters.sent), (3, 2, 3))

    def test_withoutStore(self) -> None:
        """
        Without a store everything goes to the server.
        """
        self.listener = self.listen(replay=None, now=None)
        self.asker.send(b"one")
        self.listener.doRead()
        self.assertEqual(self.door.requests, [b"one"])

    def test_turns(self) -> None:
        """
        After 128 datagrams others have their turn.
        """
        for _ in range(200):
            self.asker.send(b"x")
        for expected in (128, 200, 200):
            self.listener.doRead()
            self.assertEqual(len(self.door.requests), expected)

    def test_brokenStore(self) -> None:
        """
        A store that is broken costs time, not answers.
        """
        self.know(b"one")
        self.replay.lookupAll = None  # type: ignore[method-assign,assignment]
        self.asker.send(b"one")
        self.asker.send(b"two")
        self.listener.doRead()
        self.assertEqual(self.door.requests, [b"one", b"two"])
        self.assertEqual(self.listener.counters.lookupErrors, 1)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_full(self) -> None:
        """
        Replies that the socket doesn't take wait for it, in their order.
        """
        self.know(b"one", b"two", b"three")
        taker = self.listener._burst
        assert taker is not None
        transmit = taker._transmit
        left = [1, 0]

        def fail(*arguments: Any) -> int:
            if not left.pop(0):
                ctypes.set_errno(errno.EAGAIN)
                return -1
            sent: int = transmit(*arguments[:2], 1, *arguments[3:])
            return sent

        taker._transmit = fail
        full = mock.Mock(wraps=self.bound)
        full.sendto.side_effect = BlockingIOError
        self.listener._socket = full
        for each in (b"one", b"two", b"three"):
            self.asker.send(each)
        self.listener.doRead()
        self.assertEqual(self.got(1), [b"known one"])
        # What comes meanwhile waits behind them.
        self.asker.send(b"one")
        self.listener.doRead()
        self.assertEqual(self.reactor.writers, {self.listener})
        self.assertEqual(self.listener.counters.queued, 3)
        self.listener._socket = self.bound
        self.listener.doWrite()
        self.assertEqual(self.got(3), [b"known two", b"known three", b"known one"])
        self.assertEqual(self.listener.counters.sent, 4)

    def test_closedMeanwhile(self) -> None:
        """
        Closing it in the middle of a batch ends the batch.
        """
        self.door.requestReceived = lambda *_: self.listener.close()  # type: ignore
        for _ in range(3):
            self.asker.send(b"x")
        self.listener.doRead()
        self.listener.doRead()
        self.assertEqual((self.door.requests, self.listener.counters.errors), ([], 1))

    def test_portless(self) -> None:
        """
        What can't be answered is counted.
        """
        self.asker.send(b"x")
        with mock.patch.object(
            self.listener._burst, "_ports", memoryview(bytes(2 * BURST)).cast("H")
        ):
            self.listener.doRead()
        self.assertEqual((self.door.requests, self.listener.counters.portless), ([], 1))

    def test_exactlyOnce(self) -> None:
        """
        With the store in Python each query that was replayed leaves one
        record, and is answered once.
        """
        store = PythonReplayStore()
        self.listener = self.listen(replay=store)
        names = [f"host{number}.example.org" for number in range(10)]
        for name in names:
            store.remember(request(name), reply(request(name), 300), facts(request(name)), 300, 0)
        sent = [request(names[number % 10], id=number) for number in range(300)]
        for start in range(0, 300, 100):
            for each in sent[start : start + 100]:
                self.asker.send(each)
            self.listener.doRead()
            got = [self.asker.recv(999)[:2] for _ in range(100)]
            self.assertEqual(got, [each[:2] for each in sent[start : start + 100]])
        records = [record[1] for record in RECORD.iter_unpack(store.drain().records)]
        self.assertEqual(len(records), 300)
        self.assertEqual({records.count(number) for number in set(records)}, {30})
